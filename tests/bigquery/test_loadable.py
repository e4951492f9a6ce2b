"""Tables as BigQuery loads them: types, arrays without nulls, and the fields that say so."""

import datetime as dt
import decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from bigquery_server import RefusedError, load_file
from sample_rows import OPTIONS, WINDOWS, batch, one_file, record

from rasteret_beam.bigquery import loadable, table_fields
from rasteret_beam.errors import OutputError
from rasteret_beam.output import Layout

NOON = dt.datetime(2024, 5, 12, 12, tzinfo=dt.timezone.utc)
DAY = NOON.replace(tzinfo=None)
KINDS = {
    "u64": (pa.array([2**63], pa.uint64()), "NUMERIC", decimal.Decimal(2**63)),
    "small": (pa.array([7], pa.uint8()), "INT64", 7),
    "half": (pa.array([1.5], pa.float16()), "FLOAT64", 1.5),
    "text": (pa.array(["a"]).dictionary_encode(), "STRING", "a"),
    "nothing": (pa.nulls(1), "STRING", None),
    "bytes": (pa.array([b"ab"], pa.binary(2)), "BYTES", b"ab"),
    "local": (pa.array([DAY], pa.timestamp("ns")), "TIMESTAMP", NOON),
    "zoned": (pa.array([0], pa.timestamp("s", "Asia/Kolkata")), "TIMESTAMP",
        dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)),
    "day": (pa.array([DAY.date()]), "DATE", DAY.date()),
    "time": (pa.array([1], pa.time32("s")), "TIME", dt.time(0, 0, 1)),
    "money": (pa.array([decimal.Decimal("1.25")]), "NUMERIC", decimal.Decimal("1.25")),
    "exact": (pa.array([decimal.Decimal("1.5")], pa.decimal128(38, 12)), "BIGNUMERIC",
        decimal.Decimal("1.5")),
    "vast": (pa.array([decimal.Decimal(1)], pa.decimal256(76, 0)), "STRING", "1"),
    "lasts": (pa.array([60], pa.duration("s")), "STRING", "PT60S"),
    "map of bytes": (pa.array([[("k", b"\xff")]], pa.map_(pa.string(), pa.binary())), "STRING",
        '[["k", "/w=="]]'),
    "map": (pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int8())), "STRING", '[["k", 1]]'),
}  # fmt: skip


def _loaded(tmp_path, table):
    table = loadable(table)
    fields = table_fields(table.schema)
    pq.write_table(table, tmp_path / "t.parquet")
    return fields, load_file(tmp_path / "t.parquet", fields)


@pytest.mark.parametrize("kind", KINDS)
def test_every_type_of_arrow_loads_as_one_of_bigquery(tmp_path, kind):
    array, name, value = KINDS[kind]
    (field,), (row,) = _loaded(tmp_path, pa.table({"c": array}))
    assert field == {"name": "c", "type": name, "mode": "NULLABLE"}
    assert row["c"] == value


def test_the_check_of_files_sees_a_time_without_zone_and_a_null_in_an_array(tmp_path):
    fields = [{"name": "c", "type": "TIMESTAMP", "mode": "NULLABLE"}]
    pq.write_table(pa.table({"c": pa.array([DAY], pa.timestamp("us"))}), tmp_path / "t.parquet")
    with pytest.raises(RefusedError, match="does not load"):
        load_file(tmp_path / "t.parquet", fields)
    fields = [{"name": "c", "type": "INT64", "mode": "REPEATED"}]
    pq.write_table(pa.table({"c": [[1, None]]}), tmp_path / "t.parquet")
    with pytest.raises(RefusedError, match="null element"):
        load_file(tmp_path / "t.parquet", fields)


def test_an_array_has_nan_and_empty_text_for_nulls_and_records_for_arrays(tmp_path):
    table = pa.table({
        "values": pa.array([[1.0, None], None], pa.list_(pa.float32(), 2)),
        "names": pa.array([["a", None], []]),
        "around": pa.array([[[1.0], None], [[2.0], [3.0]]], pa.list_(pa.list_(pa.float64()), 2)),
    })  # fmt: skip
    fields, rows = _loaded(tmp_path, table)
    assert [(field["type"], field["mode"]) for field in fields] == [
        ("FLOAT64", "REPEATED"), ("STRING", "REPEATED"), ("RECORD", "REPEATED"),
    ]  # fmt: skip
    assert str(rows[0]["values"]) == "[1.0, nan]"
    assert [rows[1]["values"], rows[0]["names"]] == [[], ["a", ""]]
    assert [row["around"] for row in rows] == [
        [{"values": [1.0]}, {"values": []}], [{"values": [2.0]}, {"values": [3.0]}],
    ]  # fmt: skip


def test_a_slice_of_a_table_loads_as_itself(tmp_path):
    table = pa.table({"c": [[1], [2, 3], [4]], "s": [{"a": 1}, {"a": 2}, {"a": 3}]})
    _, rows = _loaded(tmp_path, table.slice(1, 1))
    assert rows == [{"c": [2, 3], "s": {"a": 2}}]


def test_a_null_among_whole_numbers_is_refused_by_its_column():
    with pytest.raises(OutputError, match=r"'tags.n'"):
        loadable(pa.table({"tags": [{"n": [1, None]}]}))


def test_names_within_records_are_made_safe_too(tmp_path):
    (field,), (row,) = _loaded(tmp_path, pa.table({"site.info": [{"a.b": 1, "a:b": 2}]}))
    assert (field["name"], [sub["name"] for sub in field["fields"]]) == (
        "site_info", ["a_b", "a_b_2"],
    )  # fmt: skip
    assert row["site_info"] == {"a_b": 1, "a_b_2": 2}


@pytest.mark.parametrize("options", [OPTIONS, WINDOWS], ids=["values", "windows"])
@pytest.mark.parametrize("layout", ["long", "wide", "array"])
def test_samples_of_every_layout_load(tmp_path, layout, options):
    columns = pa.record_batch({"plot.id": ["a", "b"], "seen": [DAY, None]})
    common = {"of": record(), "columns": columns, "options": options, "status": ["OK", "NODATA"]}
    batches = [batch([1.0, 2.0], [3.0, 4.0], band=band, **common) for band in options.bands]
    data = one_file(*batches, output_format="bigquery", layout=Layout(layout, options.bands))
    (tmp_path / "t.parquet").write_bytes(data.getvalue())
    fields = table_fields(pq.read_schema(tmp_path / "t.parquet"))
    rows = load_file(tmp_path / "t.parquet", fields)
    types = {field["name"]: field["type"] for field in fields}
    assert [types[name] for name in ("geog", "datetime", "plot_id")] == [
        "GEOGRAPHY", "TIMESTAMP", "STRING",
    ]  # fmt: skip
    assert {row["plot_id"] for row in rows} == {"a", "b"}
    assert len(rows) == (2 * len(options.bands) if layout == "long" else 2)


def test_the_fields_of_long_samples_are_these():
    data = one_file(batch([1.0], [2.0], of=record()), output_format="bigquery")
    fields = table_fields(pq.read_schema(data))
    assert {field["mode"] for field in fields} == {"NULLABLE"}
    assert {field["name"]: field["type"] for field in fields} == {
        "point_index": "INT64", "point_x": "FLOAT64", "point_y": "FLOAT64", "point_crs": "INT64",
        "record_id": "STRING", "datetime": "TIMESTAMP", "collection": "STRING", "band": "STRING",
        "value": "FLOAT64", "raster_crs": "INT64", "status": "STRING", "geog": "GEOGRAPHY",
    }  # fmt: skip


def test_points_off_the_earth_have_no_geography_and_longitudes_go_around(tmp_path):
    x, y = [190.0, -200.0, 180.0, 5.0, 5.0, float("nan")], [1.0, 2.0, 3.0, 95.0, -90.0, 0.0]
    data = one_file(batch(x, y, of=record()), output_format="bigquery")
    (tmp_path / "t.parquet").write_bytes(data.getvalue())
    rows = load_file(tmp_path / "t.parquet", table_fields(pq.read_schema(data)))
    found = {row["point_index"]: shapely.from_wkb(row["geog"]) for row in rows}
    assert [found[at] and found[at].coords[0] for at in range(6)] == [
        (-170, 1), (160, 2), (180, 3), None, (5, -90), None,
    ]  # fmt: skip
