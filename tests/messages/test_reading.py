"""One message -> one row; what is none says why."""

import datetime as dt
import io
import json
import pickle
import uuid

import fastavro
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rasteret_beam.errors import InvalidPointError, OptionError
from rasteret_beam.messages import INDEX_FIELD, MessageReader
from rasteret_beam.points import PointColumns
from rasteret_beam.points.tabulating import tabulate

SCHEMA = {
    "type": "record",
    "name": "Point",
    "fields": [
        {"name": "lon", "type": "double"},
        {"name": "lat", "type": "double"},
        {"name": "id", "type": "long"},
        {"name": "when", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "label", "type": ["null", "string"]},
        {"name": "key", "type": {"type": "string", "logicalType": "uuid"}},
    ],
}
TEXT = json.dumps(SCHEMA)
WHEN = dt.datetime(2024, 3, 1, 12, tzinfo=dt.timezone.utc)
WHEN_US = 1_709_294_400_000_000
ROW = {"lon": 1.5, "lat": 2.5, "id": 7, "when": WHEN, "label": "a", "key": str(uuid.UUID(int=3))}


def _avro(row=None, **changed):
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(SCHEMA), {**(row or ROW), **changed})
    return out.getvalue()


def _json(**row):
    return json.dumps(row).encode()


def _error(reader, data):
    with pytest.raises(InvalidPointError) as caught:
        reader.read(data)
    return str(caught.value)


def test_json_without_a_schema_keeps_point_id_and_time():
    reader = MessageReader(id_column="id", time_column="t")
    row, time_us = reader.read(_json(lon=1, lat=2, id=9, t="2024-03-01T12:00:00Z", other=[1]))
    assert row == {"x": 1, "y": 2, "id": None, "t": WHEN, INDEX_FIELD: 9}
    assert time_us == WHEN_US
    assert set(reader.schema.names) | {INDEX_FIELD} == set(row)


def test_all_messages_of_a_reader_have_the_same_columns():
    reader = MessageReader(id_column="id")
    rows = [reader.read(_json(**row)).row for row in (
        {"x": 1, "y": 2, "id": 1}, {"lng": 1, "lat": 2, "id": "b", "status": "boo"},
    )]  # fmt: skip
    assert {frozenset(row) for row in rows} == {frozenset({"x", "y", "id", INDEX_FIELD})}


def test_text_ids_stay_and_give_their_hash_in_every_process():
    reader = MessageReader(id_column="id")
    first, again = (reader.read(_json(x=1, y=2, id="site-7")).row for _ in range(2))
    assert first["id"] == "site-7"
    assert first[INDEX_FIELD] == again[INDEX_FIELD] == 2_628_560_372_130_058_562


@pytest.mark.parametrize(
    "text", ["2024-03-01T12:00:00Z", "2024-03-01T13:00:00+01:00", "2024-03-01T12:00:00",
             "2024-03-01T12:00:00.0Z", "2024-03-01T12:00:00.000000001Z",
             "2024-03-01 12:00:00+0000", 1_709_294_400_000],
)  # fmt: skip
def test_times_are_rfc_3339_or_milliseconds(text):
    assert MessageReader(time_column="t").read(_json(x=1, y=2, t=text)).time_us == WHEN_US


@pytest.mark.parametrize("time", ["soon", None, True, [1], 1e300, float("nan"), 10**20])
def test_what_is_no_time_says_so(time):
    assert "'t'" in _error(MessageReader(time_column="t"), _json(x=1, y=2, t=time))


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "no JSON"), (b"\xff\xfe", "no JSON"), (b"[1, 2]", "a JSON list"),
        (b"3", "a JSON int"),
        (b"[" * 100_000, "no JSON"), (b'{"x": 1}', "no coordinates in it"),
        (b'{"x": 1, "y": 2}', "id 'id' is 'None'"), (b'{"x": 1, "y": 2, "id": true}', "'True'"),
        (b'{"x": 1, "y": 2, "id": 1e99}', "1e+99"), (b'{"x": 1, "y": 2, "id": ""}', "text"),
        (b'{"x": 1, "y": 2, "id": 9223372036854775808}', "63 bits"),
    ],
)  # fmt: skip
def test_what_is_no_row_says_why(data, told):
    assert told in _error(MessageReader(id_column="id"), data)


def test_named_columns_must_be_there():
    reader = MessageReader(columns=PointColumns(x_column="east", y_column="north"))
    assert reader.read(_json(east=1, north=2)).row == {"east": 1, "north": 2}
    assert "no north" in _error(reader, _json(east=1))


def test_avro_gives_the_columns_of_its_schema():
    reader = MessageReader("avro", avro_schema=TEXT, id_column="id", time_column="when")
    row, time_us = reader.read(_avro())
    assert row == {**{k: v for k, v in ROW.items() if k != "id"}, INDEX_FIELD: 7}
    assert time_us == WHEN_US
    assert reader.point_columns == PointColumns(x_column="lon", y_column="lat")
    assert reader.schema.field("when").type == pa.timestamp("us", "UTC")
    assert pa.Table.from_pylist([row], schema=reader.schema)["label"].to_pylist() == ["a"]


def test_a_schema_types_the_columns_of_json_too():
    reader = MessageReader(avro_schema=TEXT, id_column="id")
    row = reader.read(_json(lon=1, lat=2, id=1, when="2024-03-01T12:00:00", label="b", z=3)).row
    assert row == {"lon": 1, "lat": 2, "when": WHEN, "label": "b", "key": None, INDEX_FIELD: 1}


@pytest.mark.parametrize("cut", [1, 8, 20, -1])
def test_avro_that_is_cut_is_no_row(cut):
    assert "EOFError" in _error(MessageReader("avro", avro_schema=TEXT), _avro()[:cut])


def test_avro_that_goes_on_is_no_row():
    assert "1 bytes are left" in _error(MessageReader("avro", avro_schema=TEXT), _avro() + b"\0")


@given(st.binary(max_size=80))
def test_any_bytes_are_a_row_or_an_error_of_ours(data):
    readers = [MessageReader(id_column="id"), MessageReader("avro", avro_schema=TEXT)]
    for reader in readers:
        try:
            row = reader.read(data).row
        except InvalidPointError:
            continue
        assert set(reader.schema.names) <= set(row)


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"message_format": "xml"}, "json, avro"),
        ({"message_format": "avro"}, "need their schema"),
        ({"avro_schema": "{"}, "no Avro schema"),
        ({"avro_schema": '{"type": "records"}'}, "no Avro schema"),
        ({"avro_schema": '"long"'}, "no Avro schema"),
        ({"avro_schema": '{"type": "long"}'}, "expected a record"),
        ({"avro_schema": TEXT, "id_column": "nr"}, "no nr"),
        ({"avro_schema": TEXT.replace('"lon"', '"east"')}, "no coordinates"),
        ({"avro_schema": TEXT.replace('"long"}', '{"type": "array", "items": "long"}}')},
         "one value"),
        ({"avro_schema": TEXT.replace('"double"', '"bytes"', 1)}, "no form for bytes"),
        ({"columns": PointColumns(geometry_column="geom")}, "needs WKB"),
    ],
)  # fmt: skip
def test_readers_that_cannot_work_are_refused(how, told):
    with pytest.raises(OptionError, match=told):
        MessageReader(**how)


def test_a_reader_can_be_pickled():
    reader = MessageReader("avro", avro_schema=TEXT, id_column="id")
    reader.read(_avro())
    again = pickle.loads(pickle.dumps(reader))  # noqa: S301 -- our own bytes
    assert again.read(_avro()) == reader.read(_avro())


@pytest.mark.parametrize("schema", [None, TEXT.replace('"long"', '"double"')])
def test_coordinates_of_json_may_be_text_as_in_files(schema):
    reader = MessageReader(avro_schema=schema)
    row = reader.read(_json(lon="9.01", lat="-1e1")).row
    assert [row[name] for name in reader.schema.names[:2]] == [9.01, -10.0]
    empty = reader.read(_json(lon="", lat=None)).row
    table = pa.Table.from_pylist([row, empty], schema=reader.schema)
    assert table.num_rows == 2
    # The point alone is lost then: the row is batched, and its dead letter tells of the text.
    elsewhere = reader.read(_json(lon="here", lat="1")).row
    assert [elsewhere[name] for name in reader.schema.names[:2]] == ["here", 1.0]


def _typed(kind, value, **how):
    """What a column of a schema holds of a value in JSON."""
    fields = [{"name": name, "type": "double"} for name in ("x", "y")]
    fields.append({"name": "v", "type": kind})
    schema = json.dumps({"type": "record", "name": "P", "fields": fields})
    reader = MessageReader(avro_schema=schema, **how)
    row, time_us = reader.read(_json(x=1, y=2, v=value))
    table, unfit = tabulate([row], reader.schema, set())
    return table["v"].to_pylist()[0], unfit, time_us


_MICROS = {"type": "long", "logicalType": "timestamp-micros"}
_MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
_DATE = {"type": "int", "logicalType": "date"}
_KIND = {"type": "enum", "name": "Kind", "namespace": "org", "symbols": ["A"]}


@pytest.mark.parametrize(
    ("kind", "value", "held"),
    [
        (_MICROS, WHEN_US, WHEN), (_MILLIS, WHEN_US // 1000, WHEN),
        (_MICROS, "2024-03-01T12:00:00", WHEN), (_DATE, "2024-03-01", WHEN.date()),
        (_DATE, 19783, WHEN.date()), ("double", 2**53 + 1, float(2**53)), ("float", 2**30, 2.0**30),
        (["null", "string"], {"string": "a"}, "a"), (["null", "double"], {"double": 2.5}, 2.5),
        (["null", _MICROS], {"long": WHEN_US}, WHEN), (["null", _KIND], {"org.Kind": "A"}, "A"),
        (["null", "string"], None, None), ("int", 2.0, 2),
    ],
)  # fmt: skip
def test_values_of_json_are_what_the_schema_says_they_are(kind, value, held):
    assert _typed(kind, value)[:2] == (held, {})


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (_MICROS, "n/a"), (_MICROS, 10**18), (_MICROS, True), (_DATE, "soon"), (_DATE, 10**9),
        (_DATE, 1.5), ("int", 1.5), ("long", 1.5), ("double", True), ("double", 10**400),
        ("double", "1"), (["null", "string"], {"int": 1}), ("string", {"string": "a"}),
    ],
)
def test_a_value_that_does_not_fit_is_null_and_told_and_costs_no_point(kind, value):
    held, unfit, _ = _typed(kind, value)
    assert held is None
    assert list(unfit) == [0]
    assert "expected" in unfit[0]


@pytest.mark.parametrize("kind", [_MICROS, ["null", _MICROS]])
def test_the_time_of_a_row_counts_as_its_schema_says(kind):
    value = {"long": WHEN_US} if isinstance(kind, list) else WHEN_US
    assert _typed(kind, value, time_column="v")[2] == WHEN_US
