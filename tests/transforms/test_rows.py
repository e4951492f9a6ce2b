"""Rows one by one: BatchPoints in, ToRows out."""

import typing

import apache_beam as beam
import pytest
from apache_beam.transforms.window import FixedWindows, TimestampedValue
from collecting import collect

from rasteret_beam import BatchPoints, PointColumns, PointsError

COLUMNS = PointColumns(crs="EPSG:4326")


class Place(typing.NamedTuple):
    lon: float
    lat: float


def _batches(rows, **options):
    """What BatchPoints makes of rows, with each batch's window; and its dead letters."""
    with beam.Pipeline("FnApiRunner") as pipeline:
        given = pipeline | beam.Create(rows) | beam.WindowInto(FixedWindows(10))
        result = given | BatchPoints(columns=COLUMNS, **options)
        seen = result.points | beam.Map(lambda b, w=beam.DoFn.WindowParam: (b, float(w.start)))
        found, letters = collect(seen), collect(result.dead_letters)
    return sorted(found, key=lambda pair: pair[1]), letters


@pytest.mark.parametrize(
    "row", [{"lon": 1.0, "lat": 2.0}, beam.Row(lon=1.0, lat=2.0), Place(1.0, 2.0)],
    ids=["dict", "beam.Row", "NamedTuple"],
)
def test_every_kind_of_row_is_a_point(row):
    ((batch, _),), _ = _batches([row])
    assert batch.points.column("point_x").to_pylist() == [1.0]
    assert batch.crs == "EPSG:4326"


def test_a_batch_never_crosses_windows_and_keeps_every_time():
    rows = [TimestampedValue({"lon": float(t), "lat": 0.0}, t) for t in (1, 3, 12, 25)]
    found, _ = _batches(rows)
    assert [start for _, start in found] == [0.0, 10.0, 20.0]
    assert [sorted(b.event_time_us) for b, _ in found] == [
        [1_000_000, 3_000_000], [12_000_000], [25_000_000],
    ]  # fmt: skip


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


@pytest.mark.parametrize("row", [7, "text"])
def test_what_is_no_row_is_refused(row):
    with pytest.raises(PointsError, match="a NamedTuple or a dict"):
        _batches([row])


def test_an_index_that_is_no_int_is_refused():
    with pytest.raises(PointsError, match="index_field 'key' is 'a', expected an int"):
        _batches([{"lon": 1.0, "lat": 2.0, "key": "a"}], index_field="key")
