"""Transforms with several outputs: which one is meant must be said."""

import apache_beam as beam
import pytest

from rasteret_beam import (
    BatchPoints,
    PointColumns,
    ReadPoints,
    SampleOptions,
    SamplePoints,
    ToRows,
)

OPTIONS = SampleOptions(bands=("B1",))


def test_a_transform_of_one_input_says_which_output_it_may_take():
    points = beam.Pipeline("FnApiRunner") | ReadPoints(pattern="nowhere")
    with pytest.raises(TypeError, match=r"SamplePoints takes one: .* outputs.points, of points, "):
        _ = points | SamplePoints(collection="nowhere", options=OPTIONS)


def test_a_transform_with_a_label_says_so_too():
    rows = beam.Pipeline("FnApiRunner") | beam.Create([{"x": 1.0, "y": 2.0}])
    batched = rows | BatchPoints(columns=PointColumns(crs="EPSG:4326"))
    sampled = batched.points | SamplePoints(collection="nowhere", options=OPTIONS)
    with pytest.raises(TypeError, match="SamplePointsResult has several outputs, and Mine takes"):
        _ = sampled | "Mine" >> ToRows()
