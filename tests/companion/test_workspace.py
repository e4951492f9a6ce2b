"""Names of collections, and the folder they are listed from."""

import datetime as dt

import pyarrow.parquet as pq
import pytest
from scenes import Scene, make_collection, ramp

from rasteret_beam.companion import Collection
from rasteret_beam.errors import OptionError


@pytest.mark.parametrize(
    ("custom", "dates", "source", "name"),
    [
        ("My fields", ("2024-01-01", "2024-03-31"), "sentinel-2-l2a",
         "my-fields_202401-03_sentinel"),
        ("a_b", ("2023-11-01", "2024-01-31"), "landsat-c2-l2", "a-b_202311-202401_landsat"),
        ("--", ("2024", "2024"), "Sentinel 1/GRD", "collection_202401-01_sentinel-1-grd"),
        ("x", ("2024", "2024"), "", "x_202401-01_source"),
    ],
)  # fmt: skip
def test_a_name_says_what_when_and_from_where(custom, dates, source, name):
    assert Collection.create_name(custom, dates, source) == name
    assert Collection.parse_name(name)["custom_name"] == name.split("_")[0]


def test_a_name_needs_dates():
    with pytest.raises(OptionError, match="'soon' is no date"):
        Collection.create_name("x", ("soon", "2024"), "")


def test_a_name_is_taken_apart_without_its_suffix():
    assert Collection.parse_name("a_202401-03_sentinel_stac") == {
        "name": "a_202401-03_sentinel", "custom_name": "a", "data_source": "sentinel",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["plain", "a_b", "a_2024_b", "a_1-2-3_b"])
def test_another_name_is_left_whole(name):
    found = Collection.parse_name(name)
    assert found == {"name": name, "custom_name": name, "data_source": None}


def test_collections_of_a_workspace_are_listed(tmp_path):
    made = [Scene(name="a", pixels=ramp(20, 20), when=dt.datetime(2024, 1, 5))]  # noqa: DTZ001 -- UTC
    table = pq.read_table(make_collection(tmp_path, made))
    Collection.from_arrow(table, data_source="naip").export(tmp_path / "a_202401-03_sentinel_stac")
    bare = table.replace_schema_metadata(None)
    for name in ("b_source_records", "c_records"):
        (tmp_path / name).mkdir()
        pq.write_table(bare, tmp_path / name / "part-0.parquet")
    (tmp_path / "broken_stac").mkdir()
    (tmp_path / "broken_stac" / "part-0.parquet").write_bytes(b"no Parquet")
    (tmp_path / "empty_records").mkdir()
    found = Collection.list_collections(tmp_path)
    assert [(f["name"], f["kind"], f["data_source"]) for f in found] == [
        ("a_202401-03_sentinel", "stac", "naip"),
        ("b_source", "records", "source"),
        ("c", "records", "unknown"),
    ]
    assert found[0]["date_range"] == ("2024-01-05", "2024-01-05")
    assert {f["size"] for f in found} == {1}
    assert found[0]["created"] == (tmp_path / "a_202401-03_sentinel_stac").stat().st_ctime


def test_the_workspace_is_rasterets(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Collection.list_collections() == []
    make = [Scene(name="a", pixels=ramp(20, 20))]
    Collection.from_parquet(make_collection(tmp_path, make)).export(
        tmp_path / "rasteret_workspace" / "a_records",
    )
    (found,) = Collection.list_collections()
    assert found["date_range"] is None
