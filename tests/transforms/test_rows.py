"""Rows one by one: BatchPoints in, ToRows out."""

import dataclasses
import json
import math
import typing

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
import shapely
from apache_beam.transforms.window import FixedWindows, IntervalWindow, TimestampedValue
from apache_beam.utils.timestamp import MIN_TIMESTAMP, Timestamp
from collecting import collect
from hypothesis import given
from hypothesis import strategies as st

from rasteret_beam import BatchPoints, PointColumns, PointsError
from rasteret_beam.points.tabulating import tabulate
from rasteret_beam.transforms.rows import _BatchFn

COLUMNS = PointColumns(crs="EPSG:4326")


class Place(typing.NamedTuple):
    lon: float
    lat: float


@dataclasses.dataclass
class Site:
    lon: float
    lat: float


def _batches(rows, **options):
    """What BatchPoints makes of rows, with each batch's window; and its dead letters."""
    options = {"columns": COLUMNS, **options}
    with beam.Pipeline("FnApiRunner") as pipeline:
        given = pipeline | beam.Create(rows) | beam.WindowInto(FixedWindows(10))
        result = given | BatchPoints(**options)
        seen = result.points | beam.Map(lambda b, w=beam.DoFn.WindowParam: (b, float(w.start)))
        found, letters = collect(seen), collect(result.dead_letters)
    return sorted(found, key=lambda pair: pair[1]), letters


@pytest.mark.parametrize(
    "row",
    [{"lon": 1.0, "lat": 2.0}, beam.Row(lon=1.0, lat=2.0), Place(1.0, 2.0), Site(1.0, 2.0)],
    ids=["dict", "beam.Row", "NamedTuple", "dataclass"],
)
def test_every_kind_of_row_is_a_point(row):
    ((batch, _),), _ = _batches([row])
    assert batch.points.column("point_x").to_pylist() == [1.0]
    assert batch.crs == "EPSG:4326"


def test_times_of_beam_are_times():
    # As rows with a schema have them, of SQL or from another language.
    rows = [beam.Row(lon=1.0, lat=2.0, seen=Timestamp(1.5)), beam.Row(lon=1.0, lat=2.0, seen=None)]
    ((batch, _),), _ = _batches(rows)
    seen = batch.points.column("seen")
    assert seen.type == pa.timestamp("us", "UTC")
    assert sorted(seen.cast(pa.int64()).to_pylist(), key=str) == [1_500_000, None]


def test_a_time_that_no_calendar_has_is_text():
    ((batch, _),), letters = _batches([{"lon": 1.0, "lat": 2.0, "seen": MIN_TIMESTAMP}])
    assert letters == []
    assert batch.points.column("seen").type == pa.string()


@pytest.mark.parametrize("plot", [beam.Row(lon=3.0, lat=4.0), Place(3.0, 4.0)])
def test_a_row_within_a_row_is_a_struct(plot):
    ((batch, _),), _ = _batches([beam.Row(lon=1.0, lat=2.0, plot=plot)])
    assert batch.points.column("plot").to_pylist() == [{"lon": 3.0, "lat": 4.0}]


def test_a_batch_never_crosses_windows_and_keeps_every_time():
    rows = [TimestampedValue({"lon": float(t), "lat": 0.0}, t) for t in (1, 3, 12, 25)]
    found, _ = _batches(rows)
    assert [start for _, start in found] == [0.0, 10.0, 20.0]
    assert [sorted(b.event_time_us) for b, _ in found] == [
        [1_000_000, 3_000_000], [12_000_000], [25_000_000],
    ]  # fmt: skip


def test_many_windows_in_a_bundle_are_not_all_held(monkeypatch):
    monkeypatch.setattr("rasteret_beam.transforms.rows._MOST_HELD_ROWS", 50)
    batching = _BatchFn(COLUMNS, None, None)
    batching.start_bundle()
    found = []
    for number in range(300):
        start = number % 100 * 10
        row, window = {"lon": float(number), "lat": 0.0}, IntervalWindow(start, start + 10)
        found += batching.process(row, window=window, timestamp=Timestamp(start))
        assert sum(len(rows) for rows, _ in batching._held.values()) < 50
    assert found
    found += batching.finish_bundle()
    held = [x for one in found for x in one.value.points.column("point_x").to_pylist()]
    assert sorted(held) == list(range(300))
    assert len({one.windows for one in found}) == 100


def test_a_field_that_only_later_rows_have_is_kept():
    rows = [{"lon": 1.0, "lat": 2.0}, {"lon": 3.0, "lat": 4.0, "plot": "b"}]
    ((batch, _),), letters = _batches(rows)
    assert letters == []
    assert batch.points.column("plot").to_pylist() == [None, "b"]


def test_a_field_becomes_the_index():
    ((batch, _),), _ = _batches([{"lon": 1.0, "lat": 2.0, "key": 77}], index_field="key")
    assert batch.points.column("point_index").to_pylist() == [77]
    assert "key" not in batch.points.schema.names


def test_without_a_field_equal_rows_have_equal_indexes_in_every_run():
    rows = [{"lon": 1.0, "lat": 2.0}, {"lon": 1.0, "lat": 2.5}]
    first, again = (_batches(rows)[0][0][0].points.column("point_index") for _ in range(2))
    assert sorted(first.to_pylist()) == sorted(again.to_pylist())
    assert len(set(first.to_pylist())) == 2


def test_a_row_that_is_no_point_is_a_dead_letter_and_keeps_its_place():
    ((batch, _),), (letter,) = _batches([{"lon": "here", "lat": "2"}, {"lon": "1", "lat": "2"}])
    assert batch.points.num_rows == 2
    assert "'here'" in letter.msg


@pytest.mark.parametrize("gap", [None, float("nan"), float("-inf"), ""])
def test_a_row_without_coordinates_is_one_dead_letter_and_keeps_its_place(gap):
    rows = [{"lon": gap, "lat": gap, "key": 5}, {"lon": "1" if gap == "" else 1.0, "lat": 2.0,
             "key": 6}]  # fmt: skip
    if gap == "":
        rows[1]["lat"] = "2"
    ((batch, _),), (letter,) = _batches(rows, index_field="key")
    assert batch.points.num_rows == 2
    assert (letter.code, json.loads(letter.element)["point_index"]) == ("INVALID_POINT", 5)
    assert "column 'lon' " in letter.msg
    assert "column 'lat' " in letter.msg


@pytest.mark.parametrize("row", [7, "text"])
def test_what_is_no_row_is_refused(row):
    with pytest.raises(PointsError, match="a NamedTuple, a dataclass or a dict"):
        _batches([row])


@pytest.mark.parametrize("kind", [np.int64, np.uint8, int])
def test_an_index_may_be_an_integer_of_numpys(kind):
    ((batch, _),), letters = _batches([{"lon": 1.0, "lat": 2.0, "key": kind(7)}], index_field="key")
    assert letters == []
    assert batch.points.select(["point_index", "point_x"]).to_pylist() == [
        {"point_index": 7, "point_x": 1.0},
    ]


def test_a_row_whose_index_is_no_whole_number_is_a_dead_letter_and_harms_no_other():
    keys = ("a", 5, 1 << 70, None, True, np.True_, 6.0)
    rows = [{"lon": 1.0, "lat": 2.0, "key": key} for key in keys]
    ((batch, _),), letters = _batches(rows, index_field="key")
    assert batch.points.column("point_x").to_pylist().count(1.0) == 1
    assert 5 in batch.points.column("point_index").to_pylist()
    assert sorted(letter.msg.split("'key' is ")[-1] for letter in letters) == sorted(
        f"{key!r}, expected a whole number of 63 bits" for key in keys if key != 5
    )


@pytest.mark.parametrize("at", [0, 1, 6, 9])
def test_a_value_of_another_type_is_a_dead_letter_and_harms_no_other(at):
    rows = [{"lon": float(n), "lat": 2, "key": n} for n in range(10)]
    rows[4]["lat"] = 2.5  # ints and floats fit
    rows[at]["lon"] = ["no", "number"]
    ((batch, _),), letters = _batches(rows, index_field="key")
    found = dict(zip(*(batch.points.column(n).to_pylist() for n in ("point_index", "point_x")),
                     strict=True))  # fmt: skip
    assert {n for n, x in found.items() if x == n} == set(range(10)) - {at}
    assert [json.loads(letter.element)["point_index"] for letter in letters] == [at]
    assert """column 'lon' holds '["no", "number"]', expected a number""" in letters[0].msg


def test_values_that_do_not_fit_the_schema_are_dead_letters():
    schema = pa.schema([("lon", pa.float64()), ("lat", pa.float64()), ("n", pa.int8())])
    rows = [{"lon": 1.0, "lat": 2.0, "n": n} for n in (1, 1000, 3)]
    ((batch, _),), letters = _batches(rows, schema=schema)
    found = {row["n"]: row["point_x"] for row in batch.points.to_pylist()}
    assert found == {1: 1.0, None: 1.0, 3: 1.0}
    (letter,) = letters
    assert "column 'n' holds 1000 of type int, expected int8: null in its place" in letter.msg


def test_a_column_whose_values_are_of_several_types_is_text_and_no_point_is_lost():
    rows = [{"lon": 1.0 + n, "lat": 2.0, "a": a} for n, a in enumerate([1, 2.0, "str", [1], None])]
    ((batch, _),), letters = _batches(rows)
    assert letters == []
    found = sorted((row["point_x"], row["a"]) for row in batch.points.to_pylist())
    assert found == [(1.0, "1"), (2.0, "2"), (3.0, "str"), (4.0, "[1]"), (5.0, None)]


def test_coordinates_that_are_numbers_in_some_rows_and_their_text_in_others_are_read():
    rows = [{"lon": 0.1, "lat": 1}, {"lon": "0.2", "lat": "2"}]
    ((batch, _),), letters = _batches(rows)
    assert letters == []
    assert sorted(batch.points.column("point_x").to_pylist()) == [0.1, 0.2]


def test_a_geometry_of_another_type_is_a_dead_letter_and_harms_no_other():
    columns = PointColumns(crs="EPSG:4326", geometry_column="place")
    rows = [{"place": shapely.Point(n, 0).wkb, "n": n} for n in range(3)] + [{"place": 7, "n": 3}]
    ((batch, _),), (letter,) = _batches(rows, columns=columns)
    found = {row["n"]: row["point_x"] for row in batch.points.to_pylist()}
    assert [found[n] for n in range(3)] == [0.0, 1.0, 2.0]
    assert math.isnan(found[3])
    assert "column 'place' holds 7 of type int, expected bytes as in most rows" in letter.msg


_VALUES = st.one_of(st.floats(), st.text(), st.none(), st.binary(), st.lists(st.floats()))
_VALUES |= st.integers() | st.booleans() | st.dates() | st.decimals() | st.characters()


@given(st.lists(_VALUES))
def test_every_value_is_kept_whatever_is_beside_it(values):
    rows = [{"lon": value, "n": n} for n, value in enumerate(values)]
    table, unfit = tabulate(rows, None, set())
    assert unfit == {}
    assert (table["n"].to_pylist() if rows else []) == list(range(len(rows)))
    kept = table["lon"].is_valid().to_pylist() if rows else []
    assert kept == [value is not None for value in values]


@given(st.lists(_VALUES))
def test_what_does_not_fit_a_schema_is_told_and_what_does_is_kept(values):
    rows = [{"a": value, "n": n} for n, value in enumerate(values)]
    schema = pa.schema([("a", pa.int64()), ("n", pa.int64())])
    table, unfit = tabulate(rows, schema, set())
    assert table["n"].to_pylist() == list(range(len(rows)))
    there = table["a"].is_valid().to_pylist()
    absent = [value is None for value in values]
    assert [at in unfit for at in range(len(rows))] == [
        not (is_there or is_absent) for is_there, is_absent in zip(there, absent, strict=True)
    ]
