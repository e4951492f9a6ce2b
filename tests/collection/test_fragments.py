"""The files of a collection: which there are, and what their folders say."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rasteret_beam.collection.fragments import find_files
from rasteret_beam.storage import Store

NAMES = ["here/c/year=2024/part-0.parquet", "here/c/part-1.parquet"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    for name in [*NAMES, "here/c/_run/part-0.parquet", "here/c/.hidden.parquet"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"id": ["a"]}), tmp_path / name)
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


@pytest.mark.parametrize("spelled", ["c", "./c", "c/", ".//c//", "../here/c", "file://{}/here/c"])
def test_a_local_folder_may_be_spelled_in_any_way(here, spelled):
    found = find_files(Store(), spelled.format(here))
    assert sorted(fragment.keys for fragment in found) == [(), (("year", 2024),)]


def test_a_local_folder_may_be_the_one_we_are_in(here, monkeypatch):
    monkeypatch.chdir(here / "here" / "c")
    assert sorted(f.keys for f in find_files(Store(), ".")) == [(), (("year", 2024),)]
