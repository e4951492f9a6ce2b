"""Sample rows -> messages."""

import datetime as dt
import decimal
import json

import pyarrow as pa

from rasteret_beam.messages import json_messages


def test_a_row_is_an_object_that_every_json_reader_takes():
    when = dt.datetime(2024, 3, 1, 12, 30, 0, 250_000, dt.timezone.utc)
    table = pa.table({
        "point_index": [1, 2],
        "point_x": [0.5, None],
        "value": [float("nan"), 3.5],
        "around": [[1.0, float("inf")], None],
        "datetime": pa.array([when, None], pa.timestamp("us")),
        "at": pa.array([when, None], pa.timestamp("us", "UTC")),
        "blob": [b"\x00\xff", None],
        "status": pa.array(["OK", "NODATA"]).dictionary_encode(),
    })  # fmt: skip
    first, second = (json.loads(data, parse_constant=_refuse) for data in json_messages(table))
    assert first == {
        "point_index": 1, "point_x": 0.5, "value": None, "around": [1.0, None], "status": "OK",
        "blob": "AP8=",
        "datetime": "2024-03-01T12:30:00.250000Z", "at": "2024-03-01T12:30:00.250000Z",
    }  # fmt: skip
    assert (second["value"], second["status"], second["datetime"]) == (3.5, "NODATA", None)
    assert list(first) == table.column_names


def test_a_row_may_hold_values_of_any_type_at_any_depth():
    told = {"price": decimal.Decimal("1.50"), "at": dt.time(12), "nan": float("nan"),
            "when": dt.datetime(2024, 3, 1), "raw": [b"\xff"]}  # fmt: skip # noqa: DTZ001 -- UTC
    table = pa.table({"price": [told["price"]], "at": [told["at"]], "told": [told]})
    (row,) = (json.loads(data, parse_constant=_refuse) for data in json_messages(table))
    plain = {"price": "1.50", "at": "12:00:00"}
    more = {"nan": None, "when": "2024-03-01T00:00:00Z", "raw": ["/w=="]}
    assert row == {**plain, "told": {**plain, **more}}


def _refuse(name):
    raise AssertionError(name)
