"""A plan through Beam equals the run's counters, and budgets stop a run before it begins."""

import tempfile

import apache_beam as beam
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.trigger import AccumulationMode, AfterCount, Repeatedly
from apache_beam.transforms.window import FixedWindows, GlobalWindows, TimestampedValue
from collecting import collect, counters
from fakes import serving
from hypothesis import given, settings
from hypothesis import strategies as st
from planned_scenes import BANDS, STORE, asked, batches, point_tables, scene_lists, serve
from scenes import Scene, grid_points, ramp

from rasteret_beam import (
    Budget,
    BudgetError,
    OptionError,
    PointBatch,
    SampleOptions,
    SamplePoints,
    SummarizePlan,
)
from rasteret_beam.forecast.summary import PlanSummary

WORKERS = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
SCENE = Scene(name="a", pixels=ramp(200, 200, bands=2), tiff={"planarconfig": "contig"})
PIXELS = [(row, col) for row in range(0, 200, 7) for col in range(0, 200, 9)]
N_TILES = len({(row // 16, col // 16) for row, col in PIXELS})


def _job(collection, join="broadcast", budget=None, **options):
    return SamplePoints(
        collection=collection, options=SampleOptions(bands=BANDS, **options), store=STORE,
        join=join, budget=budget or Budget(),
    )


def _plan(job, table, flags=(), window=None):
    """The summaries of a plan, without a run."""
    pipeline = beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner", *flags]))
    planned, _ = job.plan(_source(pipeline, table, window))
    found = collect(planned | SummarizePlan())
    pipeline.run().wait_until_finish()
    return found


def _run(job, table, window=None):
    """The counters of a run."""
    pipeline = beam.Pipeline("FnApiRunner")
    _ = _source(pipeline, table, window) | job
    result = pipeline.run()
    result.wait_until_finish()
    return counters(result)


def _source(pipeline, table, window):
    """The points; a third of the batches in each of three minutes."""
    timed = [TimestampedValue(b, at % 3 * 60) for at, b in enumerate(batches(table))]
    points = pipeline | beam.Create(timed).with_output_types(PointBatch)
    return points if window is None else points | beam.WindowInto(window)


@pytest.mark.parametrize("join", ["broadcast", "partitioned"])
@given(
    scenes=scene_lists(), table=point_tables(), holes=st.integers(0, 99),
    match=st.sampled_from(["all", "latest"]), radius=st.sampled_from([0, 0, 3]),
)
@settings(max_examples=5, deadline=None)
def test_a_plan_equals_the_counters_of_its_run(join, scenes, table, holes, match, radius):
    options = {"match": match, "max_distance_pixels": radius}
    with tempfile.TemporaryDirectory() as folder, serving({}) as server:
        collection = serve(server, folder, scenes, holes)
        (plan,) = _plan(_job(collection, join, **options), table)
        assert asked(server) == (0, 0)
        budget = Budget(
            max_tiles=plan.tiles, max_bytes=plan.n_bytes, max_requests=plan.requests,
        )
        counts = _run(_job(collection, join, budget, **options), table)
        assert asked(server) == (plan.requests, plan.n_bytes)
    assert plan.counts._asdict() == {n: counts.get(n, 0) for n in plan.counts._fields}
    assert plan.tiles == counts.get("tiles_planned", 0)
    assert plan.sparse == counts.get("tiles_sparse", 0)
    assert plan.requests == counts.get("requests", 0)
    assert plan.n_bytes == counts.get("bytes_fetched", 0)


@pytest.fixture
def server(tmp_path):
    with serving({}) as server:
        serve(server, tmp_path, [SCENE], 3)
        yield server


@pytest.fixture
def collection(tmp_path, server):
    assert server.files
    return str(tmp_path / "collection.parquet")


@pytest.mark.parametrize("join", ["broadcast", "partitioned"])
@pytest.mark.parametrize("limit", ["max_tiles", "max_bytes", "max_requests"])
def test_a_budget_of_one_less_than_the_plan_stops_before_the_first_request(
    server, collection, join, limit,
):
    table = grid_points(SCENE, PIXELS)
    (plan,) = _plan(_job(collection, join), table)
    planned = {"max_tiles": plan.tiles, "max_bytes": plan.n_bytes, "max_requests": plan.requests}
    job = _job(collection, join, Budget(**{limit: planned[limit] - 1}))
    with pytest.raises(BudgetError, match=f"{planned[limit]:,} .* planned, .* allowed"):
        _run(job, table)
    assert asked(server) == (0, 0)


def test_worker_processes_make_the_same_plan(tmp_path, collection):
    table = grid_points(SCENE, PIXELS)
    (here,) = _plan(_job(collection), table)
    assert here.tiles == N_TILES
    pipeline = beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner", *WORKERS]))
    planned, _ = _job(collection, "partitioned").plan(_source(pipeline, table, None))
    _ = (
        planned | SummarizePlan() | beam.Map(lambda plan: str(plan.facts()))
        | beam.io.WriteToText(str(tmp_path / "plan"), num_shards=1)
    )  # fmt: skip
    pipeline.run().wait_until_finish()
    (path,) = tmp_path.glob("plan*")
    assert path.read_text().strip() == str(here.facts())


def test_no_points_make_a_plan_of_nothing(collection):
    (plan,) = _plan(_job(collection), {"x": [0.0], "y": [0.0]})
    assert isinstance(plan, PlanSummary)
    assert (plan.tiles, plan.counts.points_unmatched) == (0, 1)


def test_each_window_has_a_plan_and_a_budget_of_its_own(server, collection):
    table, window = grid_points(SCENE, PIXELS), FixedWindows(60)
    plans = _plan(_job(collection), table, window=window)
    assert len(plans) == 3
    most = max(plan.tiles for plan in plans)
    assert most < sum(plan.tiles for plan in plans)
    counts = _run(_job(collection, budget=Budget(max_tiles=most)), table, window)
    assert counts["tiles_planned"] == sum(plan.tiles for plan in plans)
    with pytest.raises(BudgetError):
        _run(_job(collection, budget=Budget(max_tiles=most - 1)), table, window)
    assert asked(server)[0] == counts["requests"]


def test_without_a_budget_the_fetch_waits_for_nothing(collection):
    assert not [label for label in _labels(collection, Budget()) if "SumPlan" in label]
    assert [label for label in _labels(collection, Budget(max_tiles=1)) if "SumPlan" in label]


def _labels(collection, budget):
    pipeline = beam.Pipeline("FnApiRunner")
    _ = _source(pipeline, grid_points(SCENE, PIXELS), None) | _job(collection, budget=budget)
    return pipeline.applied_labels


def test_a_budget_for_panes_that_fire_early_is_refused(collection):
    early = {
        "trigger": Repeatedly(AfterCount(1)), "accumulation_mode": AccumulationMode.DISCARDING,
    }
    pipeline = beam.Pipeline("FnApiRunner")
    points = _source(pipeline, grid_points(SCENE, PIXELS), None)
    points |= beam.WindowInto(GlobalWindows(), **early)
    with pytest.raises(OptionError, match="points with an end, and the default trigger"):
        _ = points | _job(collection, budget=Budget(max_tiles=1))


def test_a_budget_for_points_without_an_end_is_refused(collection):
    pipeline = beam.Pipeline("FnApiRunner")
    points = _source(pipeline, grid_points(SCENE, PIXELS), FixedWindows(60))
    points.is_bounded = False
    with pytest.raises(OptionError, match="points with an end"):
        _ = points | _job(collection, budget=Budget(max_tiles=1))


def test_a_negative_budget_is_refused():
    with pytest.raises(OptionError, match="max_bytes is -1, expected 0 or above"):
        Budget(max_bytes=-1)


def test_a_tile_of_impossible_size_is_planned_but_never_asked_for(tmp_path, server, collection):
    table = pq.read_table(collection)
    rows = table.to_pylist()
    for band in BANDS:
        rows[0][f"{band}_metadata"]["tile_byte_counts"][0] = 10**9
        rows[0][f"{band}_metadata"]["tile_offsets"][0] = 8
    pq.write_table(table.from_pylist(rows, schema=table.schema), tmp_path / "lying.parquet")
    points = grid_points(SCENE, [(0, 0)])
    (plan,) = _plan(_job(str(tmp_path / "lying.parquet")), points)
    counts = _run(_job(str(tmp_path / "lying.parquet")), points)
    assert (plan.tiles, plan.refused, plan.requests) == (1, 1, 0)
    assert (counts["tiles_planned"], counts["tiles_failed"]) == (1, 1)
    assert asked(server) == (0, 0)
