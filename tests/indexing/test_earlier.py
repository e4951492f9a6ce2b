"""What an earlier run found: rows of a collection, and files that need no second look."""

import datetime as dt
import math
import os
import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fakes import range_server  # noqa: F401 -- a fixture
from make_tiff import make_tiff, write_tiff
from scenes import index_table, ramp

from rasteret_beam.indexing.earlier import known_files, list_earlier, look_at, read_earlier
from rasteret_beam.indexing.headers import Head, IndexedFile, index_file, parse_head
from rasteret_beam.indexing.in_process import index_items
from rasteret_beam.indexing.items import EVERY_SAMPLE, AssetRef, Item
from rasteret_beam.indexing.layout import Sketch, cell_of
from rasteret_beam.indexing.parts import collection_schema, to_table
from rasteret_beam.indexing.rows import make_row
from rasteret_beam.storage import Store

STORE = Store(allow_http=True)
NOON = dt.datetime(2024, 1, 1, 12)  # noqa: DTZ001 -- UTC, as stored


def write_collection(path, items):
    """The collection of items, as one file; its path."""
    pq.write_table(index_table(items, store=STORE), path)
    return str(path)


def rows_of(uri):
    return [row for f in list_earlier(STORE, str(uri)) for found in read_earlier(STORE, f)
            for row in found.rows]  # fmt: skip


def columns_of(uri):
    (fragment,) = list_earlier(STORE, str(uri))
    return next(found.columns for found in read_earlier(STORE, fragment))


def local(folder, *, bands=1, name="a", **options):
    path = pathlib.Path(folder) / f"{name}.tif"
    return str(write_tiff(path, ramp(40, 24, bands=bands), **options))


def item(href, **more):
    return Item("a", {EVERY_SAMPLE: AssetRef(href)}, NOON, **more)


def known(folder, href, **more):
    path = write_collection(pathlib.Path(folder) / "earlier.parquet", [item(href, **more)])
    return known_files(rows_of(path), {})[href]


# Files that have not changed


def test_an_unchanged_file_is_not_read_again(range_server, tmp_path):  # noqa: F811
    range_server.files["a.tif"] = make_tiff(ramp(40, 24))
    href = range_server.uri("a.tif")
    before = known(tmp_path, href)
    range_server.requests.clear()
    assert look_at(STORE, href, None, before) is before
    assert (range_server.count("a.tif"), range_server.heads["a.tif"]) == (0, 1)


def test_a_file_that_nobody_knows_is_read_with_one_request(range_server):  # noqa: F811
    range_server.files["a.tif"] = make_tiff(ramp(40, 24))
    assert isinstance(look_at(STORE, range_server.uri("a.tif"), None, None), Head)
    assert (range_server.count("a.tif"), range_server.heads["a.tif"]) == (1, 0)


def test_a_file_of_another_size_is_read_again(range_server, tmp_path):  # noqa: F811
    range_server.files["a.tif"] = make_tiff(ramp(40, 24))
    href = range_server.uri("a.tif")
    before = known(tmp_path, href)
    range_server.files["a.tif"] = make_tiff(ramp(80, 24))
    assert isinstance(look_at(STORE, href, None, before), Head)


def test_a_file_of_another_etag_is_read_again(range_server, tmp_path):  # noqa: F811
    range_server.files["a.tif"] = make_tiff(ramp(40, 24))
    href = range_server.uri("a.tif")
    before = known(tmp_path, href)
    old = before._replace(info=before.info._replace(etag='"fake-0"'))
    assert isinstance(look_at(STORE, href, None, old), Head)


def test_a_server_that_refuses_head_is_asked_for_one_byte(range_server, tmp_path):  # noqa: F811
    range_server.files["a.tif"] = make_tiff(ramp(40, 24))
    href = range_server.uri("a.tif")
    before = known(tmp_path, href)
    range_server.requests.clear()
    range_server.head_status = 403
    assert look_at(STORE, href, None, before) is before
    assert range_server.requests == {("a.tif", "bytes=0-0"): 1}


def test_a_server_that_does_not_tell_has_its_file_read(range_server, tmp_path):  # noqa: F811
    range_server.files["a.tif"] = make_tiff(ramp(40, 24))
    href = range_server.uri("a.tif")
    before = known(tmp_path, href)
    range_server.fail_next("a.tif", 403, 403)
    assert isinstance(look_at(STORE, href, None, before), Head)


def test_a_local_file_is_known_by_when_it_was_modified(tmp_path):
    href = local(tmp_path)
    before = known(tmp_path, href)
    assert look_at(STORE, href, None, before) is before
    os.utime(href, ns=(0, 1))
    assert isinstance(look_at(STORE, href, None, before), Head)


def test_a_sample_that_was_not_indexed_has_its_file_read(tmp_path):
    href = local(tmp_path, bands=3, planar=True)
    path = write_collection(
        tmp_path / "earlier.parquet", [Item("a", {"r": AssetRef(href, 0), "b": AssetRef(href, 2)})],
    )
    before = known_files(rows_of(path), {})[href]
    assert look_at(STORE, href, [2, 0], before) is before
    assert isinstance(look_at(STORE, href, [1], before), Head)
    assert isinstance(look_at(STORE, href, None, before), Head)


def test_a_file_that_is_gone_is_an_error(tmp_path):
    href = local(tmp_path)
    before = known(tmp_path, href)
    pathlib.Path(href).unlink()
    with pytest.raises(OSError, match="FileNotFoundError"):
        look_at(STORE, href, None, before)


# What is known of them


@pytest.mark.parametrize(
    "options",
    [
        {}, {"bands": 3, "planar": True}, {"bands": 3}, {"nodata": "7", "epsg": 32634},
        {"byte_order": ">", "big": True}, {"epsg": None}, {"nodata": "inf"},
    ],
    ids=["plain", "planar", "chunky", "nodata", "big", "no crs", "infinite"],
)  # fmt: skip
def test_what_is_known_is_what_the_header_says(tmp_path, options):
    href = local(tmp_path, **options)
    before, fresh = known(tmp_path, href), index_file(STORE, href)
    assert before[:4] == fresh[:4]
    assert sorted(before.bands) == list(range(fresh.samples))
    for sample, (metadata, tiff) in before.bands.items():
        assert tiff == fresh.bands[sample].tiff
        for name, value in fresh.bands[sample].metadata.items():
            assert np.array_equal(metadata[name], value), name


def test_rows_made_of_known_files_are_the_rows_made_of_headers(tmp_path):
    href = local(tmp_path, bands=2)
    kept, *_ = make_row(item(href), {href: known(tmp_path, href)})
    fresh, *_ = make_row(item(href), {href: index_file(STORE, href)})
    schema = collection_schema(_layout(fresh))
    assert to_table([kept.row()], schema).equals(to_table([fresh.row()], schema))


def _layout(row):
    sketch = Sketch()
    sketch.add(row)
    return sketch.layout()


def test_a_scale_that_the_catalogue_took_back_is_forgotten(tmp_path):
    href = local(tmp_path)
    scaled = Item("a", {"B1": AssetRef(href, 0, scale=2.0)}, NOON)
    path = write_collection(tmp_path / "earlier.parquet", [scaled])
    assert known_files(rows_of(path), {"B1": AssetRef(href, 0)}) == {}
    assert list(known_files(rows_of(path), {"B1": AssetRef(href, 0, scale=3.0)})) == [href]


def test_files_whose_etag_nobody_knows_are_not_known(tmp_path):
    table = index_table([item(local(tmp_path))])
    field = table.schema.field("B1_tiff")
    told = [{**struct, "etag": None} for struct in table["B1_tiff"].to_pylist()]
    at = table.schema.get_field_index("B1_tiff")
    table = table.set_column(at, field, pa.array(told, field.type))
    pq.write_table(table, tmp_path / "earlier.parquet")
    assert known_files(rows_of(tmp_path / "earlier.parquet"), {}) == {}


# Rows


def test_rows_come_back_as_they_were(tmp_path):
    href = local(tmp_path, bands=2)
    (table, _) = index_items([item(href, collection="c", properties={"gsd": 10, "l": ["x"]})])
    pq.write_table(table, tmp_path / "earlier.parquet")
    (row,) = rows_of(tmp_path / "earlier.parquet")
    assert (row.id, row.datetime, row.bands) == ("a", NOON, ("B1", "B2"))
    sketch = Sketch()
    sketch.add(row)
    layout = sketch.layout(columns_of(tmp_path / "earlier.parquet"))
    again = to_table([row.row()], collection_schema(layout, {"name": ""}))
    assert again.select(table.column_names).equals(table)


def test_types_of_properties_come_back(tmp_path):
    table = index_table([item(local(tmp_path), properties={"p": 1})])
    at = table.schema.get_field_index("p")
    pq.write_table(table.set_column(at, "p", pa.array([1], pa.int8())), tmp_path / "x.parquet")
    assert columns_of(tmp_path / "x.parquet").field("p").type == pa.int8()


def test_hive_folders_of_year_and_month_are_no_properties(tmp_path):
    folder = tmp_path / "c" / "year=2024" / "month=1"
    folder.mkdir(parents=True)
    write_collection(folder / "part-0.parquet", [item(local(tmp_path))])
    (row,) = rows_of(tmp_path / "c")
    assert {"year", "month"}.isdisjoint(row.row())
    assert {"year", "month"}.isdisjoint(columns_of(tmp_path / "c").names)


def test_where_there_is_no_collection_there_are_no_rows(tmp_path):
    assert list_earlier(STORE, str(tmp_path / "nowhere")) == []
    assert list_earlier(STORE, str(tmp_path)) == []


def test_many_rows_come_in_batches(tmp_path):
    href = local(tmp_path)
    items = [Item(str(n), {"B1": AssetRef(href)}) for n in range(1025)]
    write_collection(tmp_path / "x.parquet", items)
    (fragment,) = list_earlier(STORE, str(tmp_path / "x.parquet"))
    batches = [found.rows for found in read_earlier(STORE, fragment)]
    assert [len(rows) for rows in batches] == [512, 512, 1]
    assert [row.id for rows in batches for row in rows] == [item.id for item in items]


def test_a_band_that_a_row_does_not_have_stays_null(tmp_path):
    first, second = local(tmp_path), local(tmp_path, name="b")
    items = [Item("a", {"B1": AssetRef(first)}), Item("b", {"B2": AssetRef(second)})]
    path = write_collection(tmp_path / "x.parquet", items)
    found = [row.row() for row in rows_of(path)]
    assert [row["B2_metadata"] is None for row in found] == [True, False]
    assert [sorted(row["assets"]) for row in found] == [["B1"], ["B2"]]
    assert sorted(known_files(rows_of(path), {})) == [first, second]


# Collections that rasteret wrote


def as_rasterets(table, **changes):
    """A table as rasteret writes it: none of our columns; and as told."""
    columns = {name: table[name] for name in table.column_names
               if not name.endswith("_tiff") and name != "proj:projjson"}  # fmt: skip
    columns |= {name: column for name, column in changes.items() if name in columns}
    return pa.table(columns)


def written_by_rasteret(folder, **changes):
    path = pathlib.Path(folder) / "rasteret.parquet"
    pq.write_table(as_rasterets(index_table([item(local(folder))]), **changes), path)
    return path


def test_rows_of_rasterets_collection_are_kept(tmp_path):
    (row,) = rows_of(written_by_rasteret(tmp_path))
    found = row.row()
    assert found["B1_metadata"]["image_width"] == 24
    assert (found["proj:epsg"], found["proj:projjson"]) == (32633, None)


def test_files_of_rasterets_collection_are_not_known(tmp_path):
    assert known_files(rows_of(written_by_rasteret(tmp_path)), {}) == {}


def test_assets_may_be_addresses_alone(tmp_path):
    path = written_by_rasteret(tmp_path, assets=pa.array([{"B1": "s3://b/a.tif"}]))
    (row,) = rows_of(path)
    assert row.row()["assets"] == {"B1": {"href": "s3://b/a.tif", "band_index": None}}


def test_a_row_without_a_bbox_stays_without_and_lies_with_those_that_have_no_place(tmp_path):
    bbox = pa.struct([(side, pa.float64()) for side in ("xmin", "ymin", "xmax", "ymax")])
    (row,) = rows_of(written_by_rasteret(tmp_path, bbox=pa.nulls(1, bbox)))
    assert row.row()["bbox"] is None
    assert row.row()["B1_metadata"]["image_width"] == 24
    assert _layout(row).shard_of(row) == ("year=2024/month=1", 0)
    assert cell_of(row.bbox) == cell_of((math.inf, 0.0, math.inf, 0.0)) == 0


def test_a_datetime_in_utc_loses_its_tzinfo(tmp_path):
    path = written_by_rasteret(tmp_path, datetime=pa.array([NOON], pa.timestamp("us", "UTC")))
    assert rows_of(path)[0].datetime == NOON


def test_a_column_that_ends_in_metadata_may_be_no_band(tmp_path):
    table = as_rasterets(index_table([item(local(tmp_path))]))
    table = table.append_column("qa_metadata", pa.array(["text"]))
    pq.write_table(table, tmp_path / "x.parquet")
    (row,) = rows_of(tmp_path / "x.parquet")
    assert row.bands == ("B1",)


def test_a_head_is_a_file_once_it_is_parsed(tmp_path):
    href = local(tmp_path)
    found = parse_head(look_at(STORE, href, None, None))
    assert isinstance(found, IndexedFile)
    assert found[:4] == index_file(STORE, href)[:4]
