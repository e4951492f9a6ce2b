"""A job is another one where its files are others, however many there are."""

import os

import pytest

from rasteret_beam.elements import FileInfo
from rasteret_beam.runners.resuming import name_of
from rasteret_beam.storage import Store
from rasteret_beam.storage.addresses import matching


class Listed:
    """A bucket that only tells of its files, and counts how often it is asked for one."""

    def __init__(self, n_files):
        self.files = {f"gs://b/p/{n:03d}.parquet": FileInfo(100, f"e{n}") for n in range(n_files)}
        self.n_asked = 0

    def info(self, uri):
        self.n_asked += 1
        return self.files.get(uri)

    def glob(self, pattern):
        return matching(pattern, list(self.files))

    def list_sizes(self, folder):
        return [(uri, info.size) for uri, info in self.files.items() if uri.startswith(folder)]

    def list_files(self, folder):
        return [uri for uri, _ in self.list_sizes(folder)]


def _name(store, uri):
    return name_of("resume", store, (str(uri),), ("choices",))


@pytest.mark.parametrize("uri", ["gs://b/p", "gs://b/p/*.parquet"])
@pytest.mark.parametrize("n_files", [3, 100])
def test_a_file_of_another_size_makes_another_job(uri, n_files):
    store = Listed(n_files)
    before = _name(store, uri)
    assert _name(store, uri) == before
    store.files["gs://b/p/002.parquet"] = FileInfo(101, "e2")
    assert _name(store, uri) != before


@pytest.mark.parametrize("uri", ["gs://b/p", "gs://b/p/*.parquet"])
def test_of_few_files_the_etag_counts_and_many_are_not_asked_for_one_by_one(uri):
    store = Listed(3)
    before = _name(store, uri)
    store.files["gs://b/p/002.parquet"] = FileInfo(100, "other")
    assert _name(store, uri) != before
    many = Listed(100)
    _name(many, uri)
    assert many.n_asked <= 1


@pytest.mark.parametrize("pattern", ["", "*.parquet"])
@pytest.mark.parametrize("n_files", [3, 100])
def test_a_local_file_that_was_written_again_makes_another_job(tmp_path, pattern, n_files):
    for number in range(n_files):
        (tmp_path / f"{number}.parquet").write_bytes(b"rows")
    uri = tmp_path / pattern
    before = _name(Store(), uri)
    assert _name(Store(), uri) == before
    os.utime(tmp_path / "2.parquet", ns=(1, 1))
    assert _name(Store(), uri) != before
