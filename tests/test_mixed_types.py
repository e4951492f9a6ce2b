"""Columns of several types become text, whether their values meet in a batch or in a file."""

import datetime as dt
from decimal import Decimal

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import Scene, grid_points, make_collection, ramp

from rasteret_beam import BatchPoints, PointColumns, SampleOptions, SamplePoints, WriteSamples
from rasteret_beam.mixed_types import as_text, conformed, texts, unified

SCENE = Scene(name="s", pixels=ramp(40, 40))
PLACES = grid_points(SCENE, [(1, 1), (2, 2), (30, 30), (31, 31)])


def _sampled(place, name, groups):
    """The column ``a`` of the output, by point, where each group is a bundle of its own."""
    points = iter(zip(PLACES["x"], PLACES["y"], strict=True))
    with beam.Pipeline("FnApiRunner") as pipeline:
        batches = []
        for number, values in enumerate(groups):
            rows = [
                {"x": x, "y": y, "a": value}
                for value, (x, y) in zip(values, points, strict=False)
            ]
            batched, letters = (
                pipeline
                | f"Create{number}" >> beam.Create([rows])
                | f"Rows{number}" >> beam.FlatMap(lambda rows: rows)
                | f"Batch{number}" >> BatchPoints(columns=PointColumns(crs=32631))
            )
            _ = letters | f"None{number}" >> beam.Map(pytest.fail)
            batches.append(batched)
        options = SampleOptions(bands=("B1",))
        sampled = batches | beam.Flatten() | SamplePoints(
            collection=str(place / "collection.parquet"), options=options,
        )  # fmt: skip
        sampled.samples | WriteSamples(folder=str(place / name))
    return sorted(pq.read_table(place / name).select(["value", "a"]).to_pydict()["a"], key=str)


@pytest.mark.parametrize(
    "values", [[1, 2.5, "str", None], [[1], ["a"], None, 7], [{"n": 1}, {"n": "x"}, b"\0", True]],
    ids=["numbers", "lists", "structs"],
)  # fmt: skip
def test_no_value_is_lost_however_bundles_fall_and_files_are_the_same(tmp_path, values):
    make_collection(tmp_path, [SCENE])
    together = _sampled(tmp_path, "one", [values])
    apart = _sampled(tmp_path, "four", [[value] for value in values])
    assert together == apart
    assert len(together) == 4
    assert together.count(None) == values.count(None)


def test_files_that_have_values_of_one_type_only_have_the_columns_of_the_others(tmp_path):
    make_collection(tmp_path, [SCENE])
    assert _sampled(tmp_path, "out", [[1, 2], ["a", "b"]]) == ["1", "2", "a", "b"]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_read_back_from_its_text(number):
    assert [float(text) for text in as_text(pa.array([number])).to_pylist()] == [number]


def test_texts_are_those_of_columns():
    values = [1, 2.0, True, dt.date(2024, 1, 2), Decimal("1.50"), b"\1", [1, None], None]
    found = texts(values).to_pylist()
    assert found == ["1", "2", "true", "2024-01-02", "1.50", "AQ==", "[1, null]", None]
    alone = [as_text(pa.array([value])).to_pylist()[0] for value in values]
    assert alone == found


def test_types_that_go_together_stay_and_others_are_text():
    one = pa.schema([("n", pa.int64()), ("a", pa.int64()), ("b", pa.null())])
    two = pa.schema([("n", pa.float64()), ("a", pa.list_(pa.int8())), ("b", pa.date32())])
    both = unified([one, two])
    assert both == pa.schema([("n", pa.float64()), ("a", pa.string()), ("b", pa.date32())])
    table = conformed(pa.table([[1.0], [[5]], [None]], schema=two), both)
    assert table["a"].to_pylist() == ["[5]"]
