"""Building a collection with Beam: sources in, Parquet out, and what a second run reads."""

import datetime as dt
import functools
import json
import os
import pathlib

import apache_beam as beam
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from building import STORE, build, files, rows
from fakes import serving
from scenes import Scene, ramp, write_scene

from rasteret_beam import (
    AssetRef,
    BuildCollection,
    ExportCollection,
    FileSource,
    Filters,
    IndexItems,
    Item,
    OptionError,
    RecordTable,
    StacFiles,
    StacReading,
    WriteCollection,
    WriteDeadLetters,
    WriteSamples,
)
from rasteret_beam.transforms.read_earlier_run import ReadEarlierRun
from rasteret_beam.transforms.summarize_plan import WritePlan

MAY = dt.datetime(2024, 5, 1)  # noqa: DTZ001 -- UTC, as stored


@pytest.fixture
def server(tmp_path):
    """Three files, a_20240501 to c_20240703, that can change."""
    names = ("a_20240501", "b_20240602", "c_20240703")
    data = {
        f"{name}.tif": pathlib.Path(
            write_scene(tmp_path, Scene(name=name, pixels=ramp(48, 48, bands=2) + number)),
        ).read_bytes()
        for number, name in enumerate(names)
    }
    with serving(data) as found:
        yield found


def source_of(server, *names):
    hrefs = tuple(server.uri(f"{name}.tif") for name in names)
    return FileSource(inputs=hrefs, datetime_pattern=r"_(\d{8})")


def test_a_file_is_read_with_one_request(server, tmp_path):
    counts, _ = build(source_of(server, "a_20240501", "b_20240602"), tmp_path / "c")
    assert server.count("a_20240501.tif") == server.count("b_20240602.tif") == 1
    assert (counts["files_seen"], counts["files_indexed"]) == (2, 2)


def test_rows_lie_in_folders_by_month(server, tmp_path):
    build(source_of(server, "a_20240501", "b_20240602"), tmp_path / "c")
    assert files(tmp_path / "c") == [
        "year=2024/month=5/part-0.parquet", "year=2024/month=6/part-0.parquet",
    ]  # fmt: skip


def test_update_reads_no_header_of_an_unchanged_file(server, tmp_path):
    source = source_of(server, "a_20240501", "b_20240602")
    build(source, tmp_path / "c")
    before = rows(tmp_path / "c")
    server.requests.clear()
    counts, _ = build(source, tmp_path / "c", mode="update")
    assert server.requests == {}
    assert counts["files_unchanged"] == 2
    assert rows(tmp_path / "c") == before


def test_update_reads_files_that_are_new_or_changed(server, tmp_path):
    build(source_of(server, "a_20240501", "b_20240602"), tmp_path / "c")
    server.files["b_20240602.tif"] = server.files["c_20240703.tif"] + b"\0"
    server.requests.clear()
    every = source_of(server, "a_20240501", "b_20240602", "c_20240703")
    build(every, tmp_path / "c", mode="update")
    assert {path for path, _ in server.requests} == {"b_20240602.tif", "c_20240703.tif"}
    updated = rows(tmp_path / "c")
    build(every, tmp_path / "fresh")
    assert updated == rows(tmp_path / "fresh")


def test_update_drops_records_that_the_source_has_no_more(server, tmp_path):
    build(source_of(server, "a_20240501", "b_20240602"), tmp_path / "c")
    build(source_of(server, "b_20240602"), tmp_path / "c", mode="update")
    assert files(tmp_path / "c") == ["year=2024/month=6/part-0.parquet"]


def test_append_keeps_records_that_the_source_does_not_have(server, tmp_path):
    build(source_of(server, "a_20240501"), tmp_path / "c")
    counts, _ = build(source_of(server, "c_20240703"), tmp_path / "c", mode="append")
    assert list(rows(tmp_path / "c")) == ["a_20240501", "c_20240703"]
    assert counts["items_kept"] == 1
    assert server.count("a_20240501.tif") == 1


@pytest.mark.parametrize("mode", ["update", "append"])
def test_the_first_run_may_update_or_append(server, tmp_path, mode):
    build(source_of(server, "a_20240501"), tmp_path / "c", mode=mode)
    assert list(rows(tmp_path / "c")) == ["a_20240501"]


def test_a_mode_that_is_none_is_refused(tmp_path):
    with pytest.raises(OptionError, match="mode is 'merge', expected one of"):
        BuildCollection(source=FileSource(inputs="a.tif"), folder=str(tmp_path), mode="merge")


def test_a_folder_may_be_given_as_a_file_uri(server, tmp_path):
    folder = tmp_path / "a b"
    build(source_of(server, "a_20240501"), folder.as_uri())
    assert list(rows(folder)) == ["a_20240501"]
    counts, _ = build(source_of(server, "a_20240501"), folder.as_uri(), mode="update")
    assert (list(rows(folder)), counts["files_unchanged"]) == (["a_20240501"], 1)


@pytest.mark.parametrize(
    "transform",
    [
        WriteCollection, WriteDeadLetters, WriteSamples, WritePlan,
        functools.partial(ReadEarlierRun, job="j"),
    ],
)
def test_a_folder_of_another_machine_is_refused_before_anything_runs(transform):
    with pytest.raises(OptionError, match="file://host/c' is a folder of another machine"):
        transform(folder="file://host/c")


def test_a_failed_file_is_a_dead_letter_and_the_rest_is_written(server, tmp_path):
    server.files["b_20240602.tif"] = b"<Error>AccessDenied</Error>"
    counts, letters = build(source_of(server, "a_20240501", "b_20240602"), tmp_path / "c")
    assert list(rows(tmp_path / "c")) == ["a_20240501"]
    assert (counts["files_failed"], counts["items_failed"]) == (1, 1)
    assert json.loads(letters[0].element)["href"] == server.uri("b_20240602.tif")


def test_a_file_whose_name_is_no_text_is_a_dead_letter_and_the_rest_is_written(tmp_path):
    path = write_scene(tmp_path, Scene(name="a", pixels=ramp(48, 48)))
    pathlib.Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.tif")).write_bytes(
        pathlib.Path(path).read_bytes(),
    )
    counts, (letter,) = build(FileSource(inputs=str(tmp_path)), tmp_path / "c")
    assert list(rows(tmp_path / "c")) == ["a"]
    assert "caf\\\\xe9.tif" in letter.msg
    assert counts["items_refused"] == 1


def test_an_update_tries_again_what_failed(server, tmp_path):
    good = server.files["a_20240501.tif"]
    server.files["a_20240501.tif"] = b""
    items = [
        Item("one", {"red": AssetRef(server.uri("a_20240501.tif"), 0),
                     "nir": AssetRef(server.uri("b_20240602.tif"), 0)}, MAY),
    ]  # fmt: skip
    with beam.Pipeline("FnApiRunner") as pipeline:
        indexed = pipeline | beam.Create(items) | IndexItems(store=STORE)
        _ = indexed.rows | WriteCollection(folder=str(tmp_path / "c"))
    assert rows(tmp_path / "c")["one"]["red_metadata"] is None
    server.files["a_20240501.tif"] = good
    server.requests.clear()
    with beam.Pipeline("FnApiRunner") as pipeline:
        again = IndexItems(store=STORE, earlier=str(tmp_path / "c"))
        indexed = pipeline | beam.Create(items) | again
        _ = indexed.rows | WriteCollection(folder=str(tmp_path / "c"))
    assert {path for path, _ in server.requests} == {"a_20240501.tif"}
    assert rows(tmp_path / "c")["one"]["red_metadata"]["image_width"] == 48


def test_columns_of_a_table_keep_their_types(server, tmp_path):
    table = pa.table({
        "id": ["one"],
        "datetime": pa.array([MAY], pa.timestamp("us")),
        "href": [server.uri("a_20240501.tif")],
        "quality": pa.array([3], pa.int8()),
        "score": pa.array([0.5], pa.float32()),
        "tags": pa.array([["x"]], pa.list_(pa.string())),
    })  # fmt: skip
    pq.write_table(table, tmp_path / "table.parquet")
    source = RecordTable(
        table=str(tmp_path / "table.parquet"),
        href_column="href",
        reading=StacReading(band_index_map={"red": 0, "nir": 1}),
    )
    build(source, tmp_path / "c")
    found = ds.dataset(str(tmp_path / "c"), partitioning="hive").schema
    kinds = {name: found.field(name).type for name in ("quality", "score", "tags")}
    assert kinds == {"quality": pa.int8(), "score": pa.float32(), "tags": pa.list_(pa.string())}
    assert rows(tmp_path / "c")["one"]["href"] == server.uri("a_20240501.tif")


def test_an_arrow_table_is_a_source_as_it_is(server, tmp_path):
    table = pa.table({
        "id": ["one", "two"],
        "datetime": pa.array([MAY, MAY], pa.timestamp("us")),
        "href": [server.uri("a_20240501.tif"), server.uri("b_20240602.tif")],
    })  # fmt: skip
    source = RecordTable(
        table=table, href_column="href", where="id == 'two'",
        reading=StacReading(band_index_map={"red": 0}),
    )
    build(source, tmp_path / "c")
    assert list(rows(tmp_path / "c")) == ["two"]


def test_an_item_given_twice_is_written_once(server, tmp_path):
    stac = {
        "type": "Feature", "stac_version": "1.0.0", "id": "one", "geometry": None,
        "properties": {"datetime": "2024-05-01T10:00:00Z", "eo:cloud_cover": 3},
        "assets": {"red": {"href": server.uri("a_20240501.tif")}}, "links": [],
    }  # fmt: skip
    (tmp_path / "items.ndjson").write_text("\n".join([json.dumps(stac)] * 2), encoding="utf-8")
    reading = StacReading(band_map={"red": "red"}, band_index_map={"red": 0})
    counts, _ = build(
        StacFiles(inputs=str(tmp_path / "items.ndjson"), reading=reading), tmp_path / "c",
    )
    assert (counts["records_written"], counts["duplicates_dropped"]) == (1, 1)
    assert rows(tmp_path / "c")["one"]["eo:cloud_cover"] == 3


@pytest.mark.parametrize("name", ["c", "c[1]", "c*"])
def test_a_run_with_other_folders_leaves_nothing_of_the_earlier_one(server, tmp_path, name):
    build(source_of(server, "a_20240501", "b_20240602"), tmp_path / name)
    undated = FileSource(inputs=(server.uri("c_20240703.tif"),))
    build(undated, tmp_path / name)
    assert files(tmp_path / name) == ["part-0.parquet"]


def test_a_run_in_which_every_file_fails_leaves_the_collection_that_is_there(server, tmp_path):
    build(source_of(server, "a_20240501"), tmp_path / "c")
    server.files.clear()
    counts, _ = build(source_of(server, "a_20240501"), tmp_path / "c")
    assert counts["files_failed"] == 1
    assert list(rows(tmp_path / "c")) == ["a_20240501"]


def test_no_hidden_file_is_left(server, tmp_path):
    build(source_of(server, "a_20240501"), tmp_path / "c")
    assert [name for name in files(tmp_path / "c") if "/." in name or name.startswith(".")] == []


def test_a_file_with_far_tile_tables_takes_one_request_more(tmp_path):
    # Tables of 256 kB and 128 kB: more than any one block that is read ahead.
    path = write_scene(tmp_path, Scene(name="far_20240501", pixels=ramp(4096, 4096), tile=(16, 16)))
    with serving({"far_20240501.tif": pathlib.Path(path).read_bytes()}) as server:
        build(source_of(server, "far_20240501"), tmp_path / "c")
        assert server.count("far_20240501.tif") == 2
    assert len(rows(tmp_path / "c")["far_20240501"]["B1_metadata"]["tile_offsets"]) == 256 * 256


def test_an_export_has_the_records_that_meet_the_filters(server, tmp_path):
    build(source_of(server, "a_20240501", "b_20240602"), tmp_path / "c", name="scenes",
          data_source="mine")  # fmt: skip
    server.requests.clear()
    with beam.Pipeline("FnApiRunner") as pipeline:
        _ = pipeline | ExportCollection(
            collection=str(tmp_path / "c"), folder=str(tmp_path / "out"),
            filters=Filters(date_range=("2024-06", "2024-07")),
        )
    assert files(tmp_path / "out") == ["year=2024/month=6/part-0.parquet"]
    assert rows(tmp_path / "out")["b_20240602"] == rows(tmp_path / "c")["b_20240602"]
    metadata = pq.read_schema(tmp_path / "out/year=2024/month=6/part-0.parquet").metadata
    assert (metadata[b"name"], metadata[b"data_source"]) == (b"scenes", b"mine")
    assert server.requests == {}


@pytest.mark.parametrize(("collection", "folder"), [
    ("gs://b/c", "gs://b/c/"), ("{here}/c", "file://{here}/c"), ("{here}/link", "{here}/c"),
])  # fmt: skip
def test_an_export_into_what_it_reads_is_refused(tmp_path, collection, folder):
    (tmp_path / "link").symlink_to(tmp_path / "c")
    with pytest.raises(OptionError, match="give the copy a folder of its own"):
        ExportCollection(
            collection=collection.format(here=tmp_path), folder=folder.format(here=tmp_path),
        )
