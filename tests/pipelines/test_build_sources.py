"""``pipelines/build_collection.py`` with every kind of source, as a user starts it."""

import json
import pathlib

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import stac_server
from scenes import Scene, ramp, write_scene
from stac_server import serving_stac, stac_item, write_static_catalog

LOCAL_FILES = ("--allow_http", "--allow_schemes", "file")
"""A server on this machine that names files of this machine: nobody else may."""


@pytest.fixture
def items(tmp_path):
    """Four STAC items of a Sentinel-2-like collection, one a month, over two places."""
    found = []
    for month in (1, 2, 3, 4):
        made = Scene(name=f"scene{month}", pixels=ramp(48, 48) + month)
        path = pathlib.Path(write_scene(tmp_path, made)).as_uri()
        found.append(
            stac_item(
                f"item{month}", {"red": path}, when=f"2024-0{month}-15T10:30:00Z",
                bbox=(3.0, 41.5, 3.1, 41.6) if month < 4 else (50.0, 1.0, 51.0, 2.0),
                collection="sentinel-2-l2a", properties={"eo:cloud_cover": month * 10.0},
            ),
        )  # fmt: skip
    return found


def ids(folder):
    dataset = ds.dataset(str(folder), partitioning="hive")
    return sorted(dataset.to_table(columns=["id"])["id"].to_pylist())


def test_a_stac_api_is_searched(items, tmp_path, build):
    with serving_stac(items) as server:
        code = build(
            "--stac_api", server.url, "--stac_collections", "sentinel-2-l2a", *LOCAL_FILES,
            "--bbox", "2,41,4,42", "--date_range", "2024-01-01/2024-12-31",
            "--query", '{"eo:cloud_cover": {"lt": 25}}', "--output", tmp_path / "c",
        )  # fmt: skip
    assert code == 0
    assert ids(tmp_path / "c") == ["item1", "item2"]


def test_an_item_that_an_api_gives_twice_is_written_once(items, tmp_path, build):
    with serving_stac(items) as server:
        # One search a month: items on the border of two are found by both.
        items[0]["properties"]["datetime"] = "2024-02-01T00:00:00Z"
        code = build(
            "--stac_api", server.url, "--stac_collections", "sentinel-2-l2a", *LOCAL_FILES,
            "--date_range", "2024-01-01/2024-03-31", "--output", tmp_path / "c",
        )  # fmt: skip
    assert code == 0
    assert ids(tmp_path / "c") == ["item1", "item2", "item3"]


def test_a_search_stops_after_max_items(items, tmp_path, build):
    with serving_stac(items) as server:
        build(
            "--stac_api", server.url, "--stac_collections", "sentinel-2-l2a", *LOCAL_FILES,
            "--max_items", "3", "--output", tmp_path / "c",
        )  # fmt: skip
    assert len(ids(tmp_path / "c")) == 3


def test_a_search_that_fails_now_and_then_is_tried_again(items, tmp_path, build):
    with serving_stac(items) as server:
        server.fail_searches(503, times=2)
        code = build(
            "--stac_api", server.url, "--stac_collections", "sentinel-2-l2a", *LOCAL_FILES,
            "--output", tmp_path / "c",
        )  # fmt: skip
    assert code == 0
    assert len(ids(tmp_path / "c")) == 4


def test_an_api_that_cannot_be_searched_is_refused_with_its_address(tmp_path, build, capsys):
    code = build(
        "--stac_api", "http://127.0.0.1:9/stac", "--stac_collections", "x", "--allow_http",
        "--output", tmp_path / "c",
    )  # fmt: skip
    assert code == 2
    assert "http://127.0.0.1:9/stac: the search failed" in capsys.readouterr().err


def test_a_catalogue_without_search_is_refused_with_what_reads_it(
    items, tmp_path, build, capsys, monkeypatch,
):
    monkeypatch.setattr(stac_server, "CONFORMANCE", stac_server.CONFORMANCE[:1])
    with serving_stac(items) as server:
        code = build(
            "--stac_api", server.url, "--stac_collections", "sentinel-2-l2a", *LOCAL_FILES,
            "--output", tmp_path / "c",
        )  # fmt: skip
    assert code == 2
    told = capsys.readouterr().err
    assert f"{server.url}: is no STAC API that can be searched" in told
    assert told.rstrip().endswith("--stac")


def test_an_address_that_is_no_catalogue_is_refused(items, tmp_path, build, capsys):
    with serving_stac(items) as server:
        address = f"{server.url}/conformance"
        code = build(
            "--stac_api", address, "--stac_collections", "sentinel-2-l2a", *LOCAL_FILES,
            "--output", tmp_path / "c",
        )  # fmt: skip
    assert code == 2
    assert f"{address}: the search failed: ClientTypeError" in capsys.readouterr().err


def test_a_static_catalogue_is_walked(items, tmp_path, build):
    write_static_catalog(tmp_path / "catalogue", items)
    code = build(
        "--stac", tmp_path / "catalogue" / "catalog.json", "--output", tmp_path / "c",
        "--date_range", "2024-02-01/2024-03-31",
    )  # fmt: skip
    assert code == 0
    assert ids(tmp_path / "c") == ["item2", "item3"]


def test_bands_of_a_known_data_source_are_found_by_themselves(items, tmp_path, build):
    (tmp_path / "items.json").write_text(
        json.dumps({"type": "FeatureCollection", "features": items}), encoding="utf-8",
    )
    assert build("--stac", tmp_path / "items.json", "--output", tmp_path / "c") == 0
    schema = ds.dataset(str(tmp_path / "c"), partitioning="hive").schema
    assert [name for name in schema.names if name.endswith("_metadata")] == ["B04_metadata"]


def test_a_table_of_addresses_is_indexed(items, tmp_path, build):
    table = pa.table({
        "fid": [1, 2],
        "year": [2023, 2024],
        "path": [f"https://example.org/{name}.tif" for name in ("scene1", "scene2")],
    })  # fmt: skip
    pq.write_table(table, tmp_path / "table.parquet")
    assert len(items) == 4
    code = build(
        "--table", tmp_path / "table.parquet", "--column_map", "fid=id,year=datetime",
        "--href_column", "path", "--bands", "red=0",
        "--url_rewrite", f"https://example.org/={tmp_path}/", "--where", "fid > 1",
        "--output", tmp_path / "c",
    )  # fmt: skip
    assert code == 0
    (row,) = ds.dataset(str(tmp_path / "c"), partitioning="hive").to_table().to_pylist()
    assert (row["id"], row["year"], row["month"], row["fid"]) == ("2", 2024, 1, 2)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "One source is required, of --inputs, --stac, --stac_api, --table, --dataset"),
        (("--inputs", "a.tif", "--stac", "b.json"), "given: --inputs and --stac"),
        (("--inputs", "a.tif", "--bbox", "1,2,3,4"), "--bbox does nothing with --inputs"),
        (("--inputs", "a.tif", "--mode", "merge"), "mode is 'merge', expected one of"),
        (("--inputs", "a.tif", "--bands", "red"), "--bands has 'red', expected NAME=VALUE"),
        (("--inputs", "a.tif", "--bands", "red=x"), "'x' is no index, expected 0 or above"),
        (("--stac_api", "https://a.org"), "expected ids like ('sentinel-2-l2a',)"),
        (("--stac", "a.json", "--date_range", "2024-05-01/2024-01-01"), "start is after its end"),
        (("--stac", "a.json", "--bbox", "4,1,2,3"), "expected xmin <= xmax"),
        (("--stac", "a.json", "--band_map", "R=image,G=image"), "no sample for ['R', 'G']"),
        (("--table", "a.parquet", "--where", "1 +"), "where='1 +' is no condition"),
        (("--dataset", "esa/worldcover"), "dataset 'esa/worldcover' is not in the catalogue"),
        (("--stac_api", "https://a.org", "--stac_collections", "x", "--query", "[1]"),
         "--query is '[1]', expected a JSON object"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_in_one_line(tmp_path, build, capsys, flags, message):
    assert build(*flags, "--output", tmp_path / "c") == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last


def test_a_search_that_finds_nothing_has_failed_and_leaves_what_was_there(
    items, tmp_path, build, capsys,
):
    flags = ("--stac_collections", "sentinel-2-l2a", *LOCAL_FILES, "--output", tmp_path / "c")
    with serving_stac(items) as server:
        assert build("--stac_api", server.url, *flags) == 0
        assert build("--stac_api", server.url, *flags, "--bbox", "100,1,101,2") == 1
    assert "nothing was written" in capsys.readouterr().err
    assert len(ids(tmp_path / "c")) == 4
