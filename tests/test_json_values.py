"""Columns of every Arrow type, as JSON holds them."""

import datetime as dt
import decimal
import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rasteret_beam.json_values import json_texts, json_values

BERLIN = pa.timestamp("ns", "Europe/Berlin")
NOWHERE = pa.timestamp("s", "Nowhere/AtAll")
PAIRS = pa.map_(pa.string(), pa.duration("s"))
KINDS = {
    "whole numbers": (pa.array([2**63], pa.uint64()), 2**63),
    "halves": (pa.array([1.5], pa.float16()), 1.5),
    "NaN": (pa.array([float("nan")], pa.float32()), None),
    "infinity": (pa.array([float("-inf")]), None),
    "truth": (pa.array([True]), True),
    "views of text": (pa.array(["a"], pa.string_view()), "a"),
    "words": (pa.array([decimal.Decimal("0.0000001")]).dictionary_encode(), "1E-7"),
    "runs": (pa.RunEndEncodedArray.from_arrays([1], [b"a"]), "YQ=="),
    "views of bytes": (pa.array([b"a"], pa.binary_view()), "YQ=="),
    "bytes of one length": (pa.array([b"a"], pa.binary(1)), "YQ=="),
    "ids": (pa.array([b"a" * 16], pa.uuid()), "YWFhYWFhYWFhYWFhYWFhYQ=="),
    "decimals": (pa.array([decimal.Decimal("10.0")]), "10.0"),
    "days": (pa.array([dt.date(2024, 2, 29)]), "2024-02-29"),
    "days in milliseconds": (pa.array([dt.date(2024, 2, 29)], pa.date64()), "2024-02-29"),
    "times": (pa.array([1], pa.time32("s")), "00:00:01"),
    "times of nanoseconds": (pa.array([1], pa.time64("ns")), "00:00:00.000000001"),
    "whole seconds": (pa.array([1000], pa.timestamp("ms")), "1970-01-01T00:00:01Z"),
    "parts of seconds": (pa.array([1500], pa.timestamp("ms")), "1970-01-01T00:00:01.500Z"),
    "nanoseconds in a zone": (pa.array([1], BERLIN), "1970-01-01T00:00:00.000000001Z"),
    "a zone that nobody knows": (pa.array([1], NOWHERE), "1970-01-01T00:00:01Z"),
    "a year of five digits": (pa.array([300_000_000_000], pa.timestamp("s")),
                              "11476-08-15T05:20:00Z"),
    "durations": (pa.array([-1500], pa.duration("ms")), "PT-1.500S"),
    "months, days and nanoseconds": (pa.array([(1, 2, 3)], pa.month_day_nano_interval()),
                                     "MonthDayNano(months=1, days=2, nanoseconds=3)"),
    "nothing": (pa.nulls(1), None),
    "maps": (pa.array([[("a", 60), ("b", None)]], PAIRS), [["a", "PT60S"], ["b", None]]),
    "structs without a member": (pa.array([{}], pa.struct([])), {}),
    "views of lists": (pa.array([[1.0, float("nan")]], pa.list_view(pa.float64())), [1.0, None]),
}  # fmt: skip
LISTS = [pa.list_, pa.large_list, pa.list_view, lambda kind: pa.list_(kind, 1)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_type_of_arrow_is_one_of_json(kind):
    array, value = KINDS[kind]
    assert json_values(array) == [value]
    assert json.dumps(json_values(array), allow_nan=False)


@pytest.mark.parametrize("kind", KINDS)
def test_every_type_may_lie_in_a_struct(kind):
    array, value = KINDS[kind]
    struct = pa.StructArray.from_arrays([array], ["it"])
    assert json_values(pa.concat_arrays([pa.nulls(1, struct.type), struct])[1:]) == [{"it": value}]


@pytest.mark.parametrize("as_list", LISTS, ids=["list", "large", "view", "of one length"])
def test_lists_keep_their_places_beside_nulls_and_in_slices(as_list):
    times = pa.array([[dt.time(n)] for n in range(4)], as_list(pa.time64("us")))
    lists = pa.concat_arrays([times[:1], pa.nulls(1, times.type), times[2:]])
    found = [["00:00:00"], None, ["02:00:00"], ["03:00:00"]]
    assert json_values(lists) == found
    assert json_values(lists[1:3]) == found[1:3]
    assert json_values(pa.chunked_array([lists[:2], lists[2:]])) == found


def test_texts_stay_as_they_are_and_all_else_is_json():
    struct = pa.array([{"a": [1.0, None], "b": b"\x01"}, None])
    assert json_texts(struct, bytes.hex) == ['{"a": [1.0, null], "b": "01"}', None]
    assert json_texts(pa.array(["a", None])) == ["a", None]


JSON = st.recursive(
    st.none() | st.integers(-(2**53), 2**53),
    lambda inner: st.lists(inner, max_size=3) | st.fixed_dictionaries({"a": inner, "b": inner}),
)


@given(st.lists(JSON, max_size=5))
def test_what_is_json_already_stays_as_it_is(values):
    try:
        array = pa.array(values)
    except pa.ArrowInvalid:
        return
    assert json_values(array) == array.to_pylist()
