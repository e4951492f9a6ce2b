"""The Parquet files: rasteret's contract, row groups, order, rows that are there twice."""

import datetime as dt
import io
import json
import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make_tiff import write_tiff
from scenes import ramp

from rasteret_beam.indexing import parts
from rasteret_beam.indexing.headers import index_file
from rasteret_beam.indexing.items import AssetRef, Item
from rasteret_beam.indexing.layout import Sketch, cell_of
from rasteret_beam.indexing.parts import collection_schema, write_part
from rasteret_beam.indexing.rows import make_row
from rasteret_beam.storage import Store

STORE = Store()
METADATA = pa.struct(
    [
        ("image_width", pa.int32()), ("image_height", pa.int32()), ("tile_width", pa.int32()),
        ("tile_height", pa.int32()), ("dtype", pa.string()),
        ("transform", pa.list_(pa.field("element", pa.float64()))), ("predictor", pa.int32()),
        ("compression", pa.int32()), ("tile_offsets", pa.list_(pa.field("element", pa.int64()))),
        ("tile_byte_counts", pa.list_(pa.field("element", pa.int64()))),
        ("pixel_scale", pa.list_(pa.field("element", pa.float64()))),
        ("tiepoint", pa.list_(pa.field("element", pa.float64()))), ("nodata", pa.float64()),
        ("samples_per_pixel", pa.int32()), ("planar_configuration", pa.int32()),
        ("photometric", pa.int32()), ("extra_samples", pa.list_(pa.field("element", pa.int32()))),
    ],
)  # fmt: skip
"""``{band}_metadata`` of section 1 of rasteret's rules, in its order."""


@pytest.fixture(scope="module")
def cogs(tmp_path_factory):
    """Two files at two places."""
    folder = tmp_path_factory.mktemp("parts")
    paths = [str(write_tiff(folder / f"{n}.tif", ramp(40, 24), epsg=32633 + n)) for n in (0, 1)]
    return {path: index_file(STORE, path) for path in paths}


def utc(*when):
    return dt.datetime(*when)  # noqa: DTZ001 -- UTC, as stored


def rows_of(cogs, n=1, **more):
    hrefs, told = list(cogs), {"datetime": utc(2024, 1, 1), **more}
    items = [Item(f"i{at}", {"B1": AssetRef(hrefs[at % 2])}, **told) for at in range(n)]
    return [make_row(item, cogs)[0] for item in items]


def write(rows, name="", description=None, declared=None):
    """(file, schema's layout) of rows."""
    sketch, file = Sketch(), io.BytesIO()
    for row in rows:
        sketch.add(row)
    layout = sketch.layout(declared)
    counts = write_part(file, rows, collection_schema(layout, description), name)
    return file, counts


def read(rows, **options):
    return pq.read_table(write(rows, **options)[0])


# The contract


def test_columns_are_those_of_the_contract_in_their_types(cogs):
    found = read(rows_of(cogs, properties={"eo:cloud_cover": 1.5})).schema
    asset = pa.struct([("href", pa.string()), ("band_index", pa.int64())])
    bbox = pa.struct([(side, pa.float64()) for side in ("xmin", "ymin", "xmax", "ymax")])
    assert {name: found.field(name).type for name in found.names if name != "B1_tiff"} == {
        "id": pa.string(), "datetime": pa.timestamp("us"), "geometry": pa.binary(),
        "assets": pa.struct([("B1", asset)]), "bbox": bbox, "proj:epsg": pa.int32(),
        "crs": pa.string(), "proj:projjson": pa.string(), "collection": pa.string(),
        "eo:cloud_cover": pa.float64(), "B1_metadata": METADATA,
    }  # fmt: skip


def test_the_members_of_band_metadata_are_in_rasterets_order(cogs):
    kind = read(rows_of(cogs)).schema.field("B1_metadata").type
    names = [kind.field(at).name for at in range(kind.num_fields)]
    assert names == [METADATA.field(at).name for at in range(METADATA.num_fields)]


def test_year_and_month_are_in_the_folders_alone(cogs):
    assert {"year", "month"}.isdisjoint(read(rows_of(cogs, properties={"year": 5})).column_names)


def test_the_schema_says_what_rasteret_looks_for(cogs):
    told = {"name": "mine", "data_source": "sentinel-2-l2a", "description": "x"}
    found = read(rows_of(cogs), description=told).schema.metadata
    assert found[b"rasteret_collection_version"] == b"1"
    assert (found[b"name"], found[b"data_source"]) == (b"mine", b"sentinel-2-l2a")
    assert found[b"date_range"] == b"2024-01-01T00:00:00,2024-01-01T00:00:00"
    assert dt.datetime.fromisoformat(found[b"created"].decode())


def test_a_collection_without_dates_has_no_date_range(cogs):
    assert read(rows_of(cogs, datetime=None)).schema.metadata[b"date_range"] == b""


def test_the_file_is_geoparquet_1_1(cogs):
    geo = json.loads(read(rows_of(cogs)).schema.metadata[b"geo"])
    column = geo["columns"][geo["primary_column"]]
    assert (geo["version"], column["encoding"]) == ("1.1.0", "WKB")
    assert column["covering"]["bbox"]["ymax"] == ["bbox", "ymax"]


def test_the_geometry_says_that_it_is_wkb_in_crs84(cogs):
    told = read(rows_of(cogs)).schema.field("geometry").metadata
    assert told[b"ARROW:extension:name"] == b"geoarrow.wkb"
    crs = json.loads(told[b"ARROW:extension:metadata"])["crs"]
    assert crs["id"] == {"authority": "OGC", "code": "CRS84"}


def test_files_are_zstd_with_dictionaries(cogs):
    group = pq.ParquetFile(write(rows_of(cogs, 5))[0]).metadata.row_group(0)
    columns = [group.column(at) for at in range(group.num_columns)]
    assert {column.compression for column in columns} == {"ZSTD"}
    assert "RLE_DICTIONARY" in columns[0].encodings


def test_bands_are_the_columns_that_end_in_metadata(cogs):
    (href, _) = cogs
    item = Item("a", {f"B{n}": AssetRef(href) for n in (10, 2, 1)})
    found = read([make_row(item, cogs)[0]])
    names = [n.removesuffix("_metadata") for n in found.column_names if n.endswith("_metadata")]
    assert names == ["B10", "B2", "B1"]
    kind = found.schema.field("assets").type
    assert [kind.field(at).name for at in range(3)] == names


def test_a_band_that_a_row_does_not_have_is_null(cogs):
    first, second = cogs
    rows = [make_row(Item(band, {band: AssetRef(href)}), cogs)[0]
            for band, href in (("B1", first), ("B2", second))]  # fmt: skip
    found = {row["id"]: row for row in read(rows).to_pylist()}
    assert found["B1"]["B2_metadata"] is found["B1"]["assets"]["B2"] is None
    assert found["B2"]["B2_metadata"]["image_width"] == 24


def test_tile_tables_are_those_of_the_header(cogs):
    (row,) = read(rows_of(cogs)).to_pylist()
    header = cogs[row["assets"]["B1"]["href"]].bands[0].metadata
    assert row["B1_metadata"]["tile_offsets"] == header["tile_offsets"].tolist()
    assert row["B1_metadata"]["transform"] == [10.0, 500_000.0, -10.0, 4_000_000.0]


def test_large_offsets_survive(cogs):
    (href, _) = cogs
    file = cogs[href]
    metadata = {**file.bands[0].metadata, "tile_offsets": np.array([0, 2**32 - 1, 2**32, 2**40])}
    changed = file._replace(bands={0: file.bands[0]._replace(metadata=metadata)})
    row, *_ = make_row(Item("a", {"B1": AssetRef(href)}), {href: changed})
    (found,) = read([row]).to_pylist()
    assert found["B1_metadata"]["tile_offsets"] == [0, 2**32 - 1, 2**32, 2**40]


def test_an_item_without_a_collection_has_the_runs_name(cogs):
    rows = [*rows_of(cogs), *rows_of(cogs, collection="own", datetime=utc(2024, 1, 2))]
    assert sorted(read(rows, name="run")["collection"].to_pylist()) == ["own", "run"]


# Row groups


def test_row_groups_have_a_bounded_number_of_rows(cogs, monkeypatch):
    monkeypatch.setattr(parts, "_ROW_GROUP_ROWS", 10)
    metadata = pq.ParquetFile(write(rows_of(cogs, 25))[0]).metadata
    assert [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)] == [10, 10, 5]


def test_row_groups_have_a_bounded_size(cogs, monkeypatch):
    rows = rows_of(cogs, 9)
    monkeypatch.setattr(parts, "_ROW_GROUP_BYTES", 2 * rows[0].n_bytes)
    metadata = pq.ParquetFile(write(rows)[0]).metadata
    assert [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)] == [
        2, 2, 2, 2, 1,
    ]


def test_a_row_larger_than_a_group_has_one_alone(cogs, monkeypatch):
    monkeypatch.setattr(parts, "_ROW_GROUP_BYTES", 1)
    file, counts = write(rows_of(cogs, 3))
    assert pq.ParquetFile(file).metadata.num_row_groups == 3
    assert counts == (3, 0)


def test_no_row_of_a_known_layout_gives_a_file_without_rows(cogs):
    sketch, file = Sketch(), io.BytesIO()
    sketch.add(rows_of(cogs)[0])
    assert write_part(file, [], collection_schema(sketch.layout())) == (0, 0)
    assert pq.read_table(file).num_rows == 0


# Order, and rows that are there twice


def test_rows_are_in_order_of_their_places(cogs):
    found = read(rows_of(cogs, 20)).to_pylist()
    cells = [cell_of(tuple(row["bbox"].values())) for row in found]
    assert cells == sorted(cells)
    assert len(set(cells)) == 2


def test_equal_rows_are_written_once(cogs):
    _, counts = write([*rows_of(cogs, 3), *rows_of(cogs, 3), *rows_of(cogs, 1)])
    assert counts == (3, 4)


def test_rows_of_one_id_that_differ_are_both_kept(cogs):
    rows = [*rows_of(cogs, properties={"v": 1}), *rows_of(cogs, properties={"v": 2})]
    assert sorted(read(rows)["v"].to_pylist()) == [1, 2]


def test_equal_rows_are_equal_whatever_the_order_of_their_properties(cogs):
    told = {"a": 1, "b": 2}, {"b": 2, "a": 1}
    rows = [row for properties in told for row in rows_of(cogs, properties=properties)]
    assert write(rows)[1] == (1, 1)


def test_equal_rows_are_equal_whether_or_not_they_share_a_text(cogs):
    text, equal = "some text"[:4], "text of some"[8:]
    assert text == equal
    rows = [*rows_of(cogs, properties={"a": text, "b": text}),
            *rows_of(cogs, properties={"a": text, "b": equal})]  # fmt: skip
    assert write(rows)[1] == (1, 1)


@pytest.mark.parametrize("seed", range(5))
def test_the_content_does_not_depend_on_the_order_of_rows(cogs, seed):
    days = [utc(2024, 1, 2), None, utc(2024, 1, 1)]
    rows = [row for day in days for row in rows_of(cogs, 6, datetime=day, properties={"p": 1})]
    whole = read(rows)
    random.Random(seed).shuffle(rows)
    assert read(rows).equals(whole)


def test_a_column_of_structs_without_members_is_text(cogs):
    deep = pa.struct({"a": pa.list_(pa.struct([])), "b": pa.int8()})
    rows = rows_of(cogs, properties={"odd": {}, "deep": {"a": [{}], "b": 1}}, typed=True)
    declared = pa.schema({"odd": pa.struct([]), "deep": deep})
    assert read(rows, declared=declared).select(["odd", "deep"]).to_pylist() == [
        {"odd": "{}", "deep": '{"a": [{}], "b": 1}'},
    ]
