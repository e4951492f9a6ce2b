"""Sample files: row groups, types, GeoParquet, CSV, and who can read them."""

import datetime as dt
import decimal
import io
import json

import duckdb
import geopandas
import geoparquet_validator
import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
import shapely
from sample_rows import WINDOWS, batch, one_file, record

from rasteret_beam.errors import OptionError
from rasteret_beam.output.formats import FORMATS, check_format


def _written(output_format, *batches):
    return one_file(*batches, output_format=output_format)


def _row_groups(file):
    metadata = pq.read_metadata(file)
    return [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]


def test_small_batches_share_a_row_group():
    batches = [batch([1.0] * 10, [2.0] * 10, of=record(number)) for number in range(30)]
    assert _row_groups(_written("parquet", *batches)) == [300]


@pytest.mark.parametrize("n_rows", [49_999, 150_000, 151_000, 350_000, 1_030_000])
def test_row_groups_have_50_000_to_150_000_rows_but_for_a_small_file(n_rows):
    lon = np.linspace(0, 10, n_rows)
    sizes = _row_groups(_written("parquet", batch(lon, lon / 2, of=record())))
    assert sum(sizes) == n_rows
    assert max(sizes) <= 150_000
    assert min(sizes) >= min(50_000, n_rows)


def test_to_bigquery_longitudes_are_within_half_a_turn():
    lon = [185.5, -174.5, 10.1, 180.0, -540.0]
    table = pq.read_table(_written("bigquery", batch(lon, [5.0] * 5, of=record())))
    found = dict(zip(table["point_x"].to_pylist(), table["geog"].to_pylist(), strict=True))
    places = {lon: shapely.from_wkb(wkb).x for lon, wkb in found.items()}
    assert places == {185.5: -174.5, -174.5: -174.5, 10.1: 10.1, 180.0: 180.0, -540.0: -180.0}


def test_points_at_one_place_still_make_several_row_groups():
    sizes = _row_groups(_written("parquet", batch(np.zeros(400_000), np.zeros(400_000))))
    assert sum(sizes) == 400_000
    assert max(sizes) <= 150_000


def test_a_row_group_covers_a_small_area():
    random = np.random.default_rng(3)
    lon, lat = random.uniform(10, 11, 800_000), random.uniform(50, 51, 800_000)
    file = pq.ParquetFile(_written("parquet", batch(lon, lat, of=record())))
    areas = []
    for number in range(file.num_row_groups):
        table = file.read_row_group(number, columns=["point_x", "point_y"])
        areas.append(np.ptp(table["point_x"]) * np.ptp(table["point_y"]))
    assert file.num_row_groups == 8
    assert sum(areas) < 3


def test_dictionaries_are_made_of_what_repeats():
    rows = batch(np.arange(2000.0) / 100, np.zeros(2000), of=record())
    file = pq.read_metadata(_written("geoparquet", rows))
    found = {}
    for number in range(file.num_columns):
        column = file.row_group(0).column(number)
        found[column.path_in_schema] = column.encodings
    in_dictionary = {name for name, told in found.items() if "RLE_DICTIONARY" in told}
    assert {"record_id", "band", "value", "status"} <= in_dictionary
    assert not {"point_index", "point_x", "point_y", "geometry"} & in_dictionary
    assert "DELTA_BINARY_PACKED" in found["point_index"]


def test_text_is_stored_as_plain_strings():
    table = pq.read_table(_written("parquet", batch([1.0], [2.0], of=record())))
    for name in ("record_id", "collection", "band", "status"):
        assert table.schema.field(name).type == pa.string()


def test_a_users_dictionary_has_its_words_in_the_order_of_the_rows():
    def part(lon, words):
        kinds = pa.array(words).dictionary_encode().cast(pa.dictionary(pa.int8(), pa.string()))
        columns = pa.record_batch({"kind": kinds})
        return batch(lon, [1.0] * 3, index=np.array(lon), of=record(), columns=columns)

    parts = part([1, 2, 3], ["a", "b", None]), part([4, 5, 6], ["c", "b", "d"])
    files = [one_file(*order).read() for order in (parts, parts[::-1])]
    assert files[0] == files[1]
    found = pq.read_table(io.BytesIO(files[0]))
    assert found.schema.field("kind").type == pa.dictionary(pa.int8(), pa.string())
    order = np.argsort(found["point_index"].to_numpy())
    assert found["kind"].take(pa.array(order)).to_pylist() == ["a", "b", None, "c", "b", "d"]


def test_geoparquet_passes_the_specifications_own_checks(tmp_path):
    random = np.random.default_rng(4)
    lon, lat = random.uniform(-180, 180, 200_000), random.uniform(-90, 90, 200_000)
    path = tmp_path / "samples.parquet"
    path.write_bytes(_written("geoparquet", batch(lon, lat, of=record())).getvalue())
    report = geoparquet_validator.check(str(path))
    assert geoparquet_validator.failed(report) == []
    assert {outcome["status"] for outcome in report["outcomes"]} >= {"pass"}


def test_the_check_of_geoparquet_sees_what_is_wrong(tmp_path):
    table = pq.read_table(_written("geoparquet", batch([1.0], [2.0], of=record())))
    geo = json.loads(table.schema.metadata[b"geo"])
    geo["columns"]["geometry"]["encoding"] = "none"
    pq.write_table(
        table.replace_schema_metadata({"geo": json.dumps(geo)}), tmp_path / "broken.parquet",
    )
    report = geoparquet_validator.check(str(tmp_path / "broken.parquet"))
    assert geoparquet_validator.failed(report) != []


def test_geoparquet_names_its_geometry_crs_bounds_and_covering():
    found = pq.read_schema(_written("geoparquet", batch([1.0, 3.0], [2.0, -5.0], of=record())))
    geo = json.loads(found.metadata[b"geo"])
    column = geo["columns"][geo["primary_column"]]
    assert (geo["version"], column["encoding"]) == ("1.1.0", "WKB")
    assert column["crs"]["id"] == {"authority": "OGC", "code": "CRS84"}
    assert column["covering"]["bbox"]["xmin"] == ["geometry_bbox", "xmin"]
    assert column["geometry_types"] == ["Point"]
    assert column["bbox"] == [1.0, -5.0, 3.0, 2.0]


def test_geometries_are_longitude_and_latitude_whatever_the_points_crs():
    batches = (
        batch([500000.0], [4600000.0], crs="EPSG:32631", of=record(0)),
        batch([3.0], [41.0], of=record(1)),
    )
    table = pq.read_table(_written("geoparquet", *batches)).sort_by("record_id")
    points = shapely.from_wkb(table["geometry"].to_pylist())
    assert points[0].x == pytest.approx(3.0)
    assert points[0].y == pytest.approx(41.55, abs=0.01)
    assert (points[1].x, points[1].y) == (3.0, 41.0)
    assert table["geometry_bbox"][1].as_py() == {"xmin": 3.0, "ymin": 41.0, "xmax": 3.0, "ymax": 41}


def test_points_that_are_nowhere_on_earth_have_no_geometry():
    nan = float("nan")
    batches = (
        batch([nan, 1.0], [1.0, float("inf")]),
        batch([5.0], [6.0], crs=None),
        batch([5.0], [90.5]),
        batch([7.0], [8.0], of=record()),
    )
    table = pq.read_table(_written("geoparquet", *batches))
    assert table["geometry"].is_valid().to_pylist().count(True) == 1
    assert table["geometry_bbox"].is_valid().to_pylist().count(True) == 1
    (point,) = shapely.from_wkb(table["geometry"].drop_null().to_pylist())
    assert (point.x, point.y) == (7.0, 8.0)


def test_csv_holds_lists_as_json_and_bytes_as_hexadecimal():
    columns = pa.record_batch({"tags": [["a", "b"]], "raw": [b"\x01\xff"]})
    table = pacsv.read_csv(_written("csv", batch([1.0], [2.0], columns=columns)))
    assert table["tags"].to_pylist() == ['["a", "b"]']
    assert table["raw"].to_pylist() == ["01ff"]


NOON = dt.datetime(2024, 5, 12, 12)  # noqa: DTZ001 -- naive UTC
INNER = {
    "when": NOON, "day": NOON.date(), "at": NOON.time(), "price": decimal.Decimal("1.50"),
    "raw": b"\x01\xff", "nan": float("nan"),
}  # fmt: skip


def test_csv_holds_structs_of_any_type_as_json_that_every_reader_takes():
    columns = pa.record_batch({"told": [INNER], "prices": [[INNER["price"], None]]})
    table = pacsv.read_csv(_written("csv", batch([1.0], [2.0], columns=columns)))
    assert json.loads(table["told"][0].as_py(), parse_constant=pytest.fail) == {
        "when": "2024-05-12T12:00:00Z", "day": "2024-05-12", "at": "12:00:00", "price": "1.50",
        "raw": "01ff", "nan": None,
    }  # fmt: skip
    assert table["prices"].to_pylist() == ['["1.50", null]']


@pytest.mark.parametrize(
    ("array", "text"),
    [(pa.array([b"\xff\xfe"], pa.binary(2)), "fffe"),
     (pa.array([b"\xff"]).dictionary_encode(), "ff"),
     (pa.array([b"0" * 16], pa.uuid()), "30" * 16),
     (pa.array([1500], pa.duration("ms")), "PT1.500S"),
     (pa.array([NOON.time()]), "12:00:00.000000"),
     (pa.array([INNER["price"]]), "1.50")],
    ids=lambda value: str(getattr(value, "type", "")),
)  # fmt: skip
def test_csv_holds_columns_of_every_type(array, text):
    columns = pa.RecordBatch.from_arrays([array], ["mine"])
    file = _written("csv", batch([1.0], [2.0], columns=columns))
    read = pacsv.ConvertOptions(column_types={"mine": pa.string()})
    assert pacsv.read_csv(file, convert_options=read)["mine"].to_pylist() == [text]


@pytest.mark.parametrize("output_format", ["parquet", "geoparquet"])
@pytest.mark.parametrize(
    ("array", "text"),
    [(pa.array([{}]), "{}"),
     (pa.array([[{}]]), "[{}]"),
     (pa.array([{"a": 1, "b": {}}]), '{"a": 1, "b": {}}'),
     (pa.array([[("k", {})]], pa.map_(pa.string(), pa.struct([]))), '[["k", {}]]')],
    ids=lambda value: str(getattr(value, "type", "")),
)  # fmt: skip
def test_objects_without_members_which_parquet_does_not_know_are_text(array, text, output_format):
    columns = pa.RecordBatch.from_arrays([array], ["mine"])
    file = _written(output_format, batch([1.0], [2.0], columns=columns))
    assert pq.read_table(file)["mine"].to_pylist() == [text]


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_file_without_rows_has_every_column(output_format):
    file = _written(output_format, batch([], [], options=WINDOWS))
    table = pacsv.read_csv(file) if output_format == "csv" else pq.read_table(file)
    assert table.num_rows == 0
    assert {"point_index", "record_id", "value", "neighbourhood_values", "status"} <= set(
        table.column_names,
    )


def test_a_column_that_is_null_in_one_batch_takes_the_others_type():
    first = batch([1.0], [2.0], columns=pa.record_batch({"n": pa.nulls(1)}), of=record(0))
    second = batch([1.0], [2.0], columns=pa.record_batch({"n": [5]}), of=record(1))
    assert pq.read_table(_written("parquet", first, second))["n"].to_pylist() == [None, 5]


def test_duckdb_and_geopandas_read_what_pyarrow_reads(tmp_path):
    random = np.random.default_rng(5)
    lon, lat = random.uniform(10, 11, 5000), random.uniform(50, 51, 5000)
    path = tmp_path / "samples.parquet"
    path.write_bytes(_written("geoparquet", batch(lon, lat, of=record())).getvalue())
    table = pq.read_table(path)
    found = duckdb.sql(
        f"select point_index, value, record_id, datetime, status from read_parquet('{path}')",  # noqa: S608 -- a test's path
    ).to_arrow_table()
    for name in found.column_names:
        assert found[name].to_pylist() == table[name].to_pylist()
    frame = geopandas.read_parquet(path)
    assert frame.crs == "OGC:CRS84"
    assert frame.geometry.x.tolist() == table["point_x"].to_pylist()
    inside = geopandas.read_parquet(path, bbox=(10.0, 50.0, 10.5, 50.5))
    assert 0 < len(inside) == int(((lon <= 10.5) & (lat <= 50.5)).sum())


def test_an_unknown_format_is_refused_with_those_known():
    with pytest.raises(OptionError, match=r"one of .*'parquet'.* got 'xlsx'"):
        check_format("xlsx")
