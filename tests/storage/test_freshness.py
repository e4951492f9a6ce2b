"""Bytes of a file that is not the one that was indexed are refused."""

from __future__ import annotations

import os

import pytest
from fakes import range_server  # noqa: F401 -- a fixture

from rasteret_beam.elements import FileInfo
from rasteret_beam.errors import OptionError, StaleIndexError
from rasteret_beam.storage import Store
from rasteret_beam.storage.ranges import ByteRange

CONTENT = bytes(range(256)) * 4
SIZE = len(CONTENT)
SPANS = [ByteRange(0, 4), ByteRange(900, 4)]


@pytest.fixture
def server(range_server):  # noqa: F811 -- the fixture above
    range_server.files["f.bin"] = CONTENT
    return range_server


def read(server, expected, freshness="etag"):
    store = Store(allow_http=True, freshness=freshness)
    return store.read_ranges(server.uri("f.bin"), SPANS, expected)


@pytest.mark.parametrize(
    "expected",
    [
        None,
        FileInfo(SIZE, '"fake-1"'),
        FileInfo(SIZE, 'W/"fake-1"'),
        FileInfo(SIZE, "fake-1"),
        FileInfo(SIZE, None),
        # Made when the server told no ETag: nothing to compare.
        FileInfo(SIZE, "2020-01-01T00:00:00+00:00"),
    ],
)
def test_a_file_that_is_as_indexed_is_read(server, expected):
    assert read(server, expected) == [CONTENT[:4], CONTENT[900:904]]
    assert server.count("f.bin") == 1


@pytest.mark.parametrize(
    ("expected", "told"),
    [
        (FileInfo(SIZE, '"fake-0"'), 'has ETag "fake-1", but was indexed with ETag "fake-0"'),
        (FileInfo(SIZE + 1, '"fake-1"'), "has 1024 bytes, but was indexed with 1025 bytes"),
    ],
)
def test_a_file_that_has_changed_is_stale(server, expected, told):
    found = read(server, expected)
    assert all(isinstance(one, StaleIndexError) for one in found)
    assert found[0].code == "STALE_INDEX"
    assert told in str(found[0])
    assert "--mode update" in str(found[0])
    assert server.count("f.bin") == 1


def test_a_shorter_file_is_stale_though_the_range_lies_beyond_its_end(server):
    server.files["f.bin"] = CONTENT[:800]
    found = read(server, FileInfo(SIZE, '"fake-1"'))
    assert all(isinstance(one, StaleIndexError) for one in found)


def test_without_an_etag_the_time_of_the_last_change_counts(server):
    server.etag = None
    assert read(server, FileInfo(SIZE, "2026-01-01T00:00:00+00:00"))[0] == CONTENT[:4]
    assert isinstance(read(server, FileInfo(SIZE, "2025-01-01T00:00:00+00:00"))[0], StaleIndexError)
    assert read(server, FileInfo(SIZE, '"fake-0"'))[0] == CONTENT[:4]


@pytest.mark.parametrize(
    ("freshness", "stale"),
    [("etag", [True, True]), ("size", [False, True]), ("none", [False, False])],
)
def test_as_much_is_compared_as_is_asked_for(server, freshness, stale):
    other_etag, other_size = FileInfo(SIZE, '"fake-0"'), FileInfo(SIZE - 1, '"fake-1"')
    found = [read(server, expected, freshness)[0] for expected in (other_etag, other_size)]
    assert [isinstance(one, StaleIndexError) for one in found] == stale


def test_a_local_file_of_another_size_is_stale(tmp_path):
    path = tmp_path / "f.bin"
    path.write_bytes(CONTENT)
    store, indexed = Store(), Store().info(str(path))
    path.write_bytes(CONTENT + b"more")
    assert isinstance(store.read_ranges(str(path), SPANS, indexed)[0], StaleIndexError)


def test_a_copy_of_a_local_file_is_not_stale(tmp_path):
    path = tmp_path / "f.bin"
    path.write_bytes(CONTENT)
    store, indexed = Store(), Store().info(str(path))
    os.utime(path, ns=(0, 0))
    assert store.read_ranges(str(path), SPANS, indexed) == [CONTENT[:4], CONTENT[900:904]]


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(OptionError, match="freshness is 'md5', expected one of etag, size, none"):
        Store(freshness="md5")
