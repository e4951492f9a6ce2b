"""The local runner: what stands behind a Flatten is moved before it, and gives the same."""

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.coders import VarIntCoder
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import common_urns
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec
from collecting import collect, counters
from scenes import Scene, grid_points, make_collection, ramp

from rasteret_beam import PointBatch, SampleOptions, SamplePoints, WriteSamples
from rasteret_beam.runners import launch
from rasteret_beam.runners.local_runner import LocalRunner, unzipped
from rasteret_beam.transforms.fallback_ring import PassingFlatten

FLATTEN = common_urns.primitives.FLATTEN.urn
OPTIONS = SampleOptions(
    bands=("B1",), max_distance_pixels=3, return_neighbourhood="always", unmatched="emit",
)  # fmt: skip


SEEN = ReadModifyWriteStateSpec("seen", VarIntCoder())


class _Stateful(beam.DoFn):
    def process(self, element, seen=beam.DoFn.StateParam(SEEN)):  # noqa: B008 -- Beam's way
        known = seen.read() or 0
        seen.write(known + 1)
        yield element[0], known


def _passing(pipeline):
    """Two streams through a Flatten whose rows are to pass."""
    first = pipeline | "First" >> beam.Create([1, 2, 3], reshuffle=False)
    second = pipeline | "Second" >> beam.Create([10, 20], reshuffle=False)
    return (first, second) | PassingFlatten()


def _read_by(pipeline):
    """Of the changed graph: for each Flatten the names of the steps that read it."""
    steps = unzipped(pipeline.to_runner_api()).components.transforms.values()
    return [
        sorted(
            step.unique_name for step in steps
            if not step.subtransforms and set(step.inputs.values()) & set(one.outputs.values())
        )
        for one in steps if one.spec.urn == FLATTEN
    ]


def test_steps_behind_the_flatten_stand_before_it():
    pipeline = beam.Pipeline(LocalRunner())
    _ = (
        _passing(pipeline)
        | "Double" >> beam.Map(lambda number: (number % 2, 2 * number))
        | "Group" >> beam.GroupByKey()
    )
    assert _read_by(pipeline) == [["Group"]]


def test_what_comes_out_is_the_same():
    with beam.Pipeline(LocalRunner()) as pipeline:
        passed = _passing(pipeline)
        doubled = passed | "Double" >> beam.Map(lambda number: 2 * number)
        split = doubled | "Split" >> beam.ParDo(
            lambda number: [beam.pvalue.TaggedOutput("large", number)] if number > 5 else [number],
        ).with_outputs("large", main="small")
        assert_that(doubled | beam.combiners.Count.Globally(), equal_to([5]), label="all")
        assert_that(split.small, equal_to([2, 4]), label="small")
        assert_that(split.large, equal_to([6, 20, 40]), label="large")


def test_a_moved_step_keeps_its_side_input():
    with beam.Pipeline(LocalRunner()) as pipeline:
        more = pipeline | "More" >> beam.Create([100])
        found = _passing(pipeline) | "Add" >> beam.Map(
            lambda number, added: number + added, beam.pvalue.AsSingleton(more),
        )
        assert_that(found, equal_to([101, 102, 103, 110, 120]))


@pytest.mark.parametrize("kind", ["group", "state", "side input"])
def test_what_needs_all_elements_stays_behind_the_flatten(kind):
    with beam.Pipeline(LocalRunner()) as pipeline:
        passed = _passing(pipeline)
        if kind == "group":
            found = passed | beam.GroupBy(lambda number: number > 5) | beam.Map(
                lambda group: sorted(group[1]),
            )
            expected = [[1, 2, 3], [10, 20]]
        elif kind == "state":
            keyed = pipeline | beam.Create([("a", 1)]) | beam.Map(lambda pair: pair)
            more = pipeline | "More" >> beam.Create([("a", 2)]) | "Same" >> beam.Map(
                lambda pair: pair,
            )
            found = (keyed, more) | "Passing" >> PassingFlatten() | beam.ParDo(_Stateful())
            expected = [("a", 0), ("a", 1)]
        else:
            found = pipeline | beam.Create([0]) | beam.Map(
                lambda one, others: one + sum(others), beam.pvalue.AsIter(passed),
            )
            expected = [36]
        assert_that(found, equal_to(expected))


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    pixels = ramp(200, 200)
    pixels[:, np.arange(200) % 7 == 0] = 0
    scene = Scene(name="s", pixels=pixels, nodata="0")
    return make_collection(tmp_path_factory.mktemp("local"), [scene])


def _sampled(pipeline, collection):
    columns = grid_points(Scene(name="s", pixels=ramp(200, 200)), [
        (row, col) for row in range(1, 200, 3) for col in range(1, 200, 5)
    ])
    points = pa.record_batch({
        "point_index": pa.array(range(len(columns["x"])), pa.int64()),
        "point_x": columns["x"], "point_y": columns["y"],
    })  # fmt: skip
    return pipeline | beam.Create([PointBatch(points, "EPSG:32631")]) | SamplePoints(
        collection=collection, options=OPTIONS,
    )


def _rows(runner, collection):
    pipeline = beam.Pipeline(runner)
    samples = collect(_sampled(pipeline, collection).samples)
    result = pipeline.run()
    result.wait_until_finish()
    rows = [row for batch in samples for row in batch.samples.to_pylist()]
    return counters(result), sorted(map(str, rows))


def test_samples_and_counters_are_those_of_fn_api_runner(collection):
    counts, rows = _rows(LocalRunner(), collection)
    assert counts["samples_fallback"] > 0
    assert (counts, rows) == _rows("FnApiRunner", collection)


def test_rows_with_windows_are_written_without_being_held(collection, tmp_path):
    pipeline = beam.Pipeline(LocalRunner())
    sampled = _sampled(pipeline, collection)
    _ = sampled.samples | WriteSamples(folder=str(tmp_path))
    # What is held are parts' names: the next Flatten of WriteSamples reads them.
    assert ["WriteSamples/WithNothing"] in _read_by(pipeline)
    assert all("WriteParts" not in name for names in _read_by(pipeline) for name in names)


def test_it_runs_where_no_runner_is_named():
    options = launch.parse([], PipelineOptions)
    assert isinstance(beam.Pipeline(options=options).runner, LocalRunner)
