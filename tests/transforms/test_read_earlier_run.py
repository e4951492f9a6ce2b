"""Whatever was planned in another way since a run was killed: no row is lost, none comes twice."""

import contextlib
import datetime as dt

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.transforms.window import FixedWindows
from collecting import counters
from scenes import Scene, grid_points, make_collection, ramp

from rasteret_beam import (
    PointColumns,
    ReadEarlierRun,
    ReadPoints,
    SampleOptions,
    SamplePoints,
    SummarizePlan,
    WriteSamples,
)
from rasteret_beam.errors import OptionError, OutputError
from rasteret_beam.transforms._output_files import OutputFiles

N_DATES, N_POINTS, SIDE = 40, 6, 264


def _scene(number, name=None):
    pixels = ramp(SIDE, SIDE) + number
    pixels[:, np.arange(SIDE) % 3 == 0] = 0
    return Scene(
        name=name or f"r{number:02d}", pixels=pixels, nodata="0", tile=(16, 16),
        when=dt.datetime(2024, 1, 1) + dt.timedelta(days=number),  # noqa: DTZ001 -- as rasteret's
    )  # fmt: skip


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Many dates of one grid, without and with one more record before them; and points.

    The points lie in several of its blocks, some of them at a seam.
    """
    folder = tmp_path_factory.mktemp("scenes")
    dates = [_scene(number) for number in range(N_DATES)]
    make_collection(folder, dates)
    make_collection(folder, [_scene(0, "before"), *dates], name="more")
    pixels = [(r, c) for r in (3, 255, 256) for c in (6, 256)]
    pq.write_table(pa.table(grid_points(dates[0], pixels)), folder / "points.parquet")
    return folder


def _run(scenes, output, *, resume=True, collection="collection", **how):
    """Runs the job; gives its counters."""
    options = SampleOptions(bands=("B1",), unmatched="emit", **how.pop("options", {}))
    with beam.Pipeline("FnApiRunner") as pipeline:
        points, _ = pipeline | ReadPoints(
            pattern=str(scenes / "points.parquet"), columns=PointColumns(crs="EPSG:32631"),
        )
        earlier = None
        if resume:
            earlier = pipeline | ReadEarlierRun(folder=str(output), job="j")
        job = SamplePoints(
            collection=str(scenes / f"{collection}.parquet"), options=options, earlier=earlier,
            **how,
        )
        sampled = points | job
        _ = sampled.samples | WriteSamples(folder=str(output), job="j", kept=sampled.kept)
    return counters(pipeline.result)


@pytest.fixture
def killed(monkeypatch):
    """Runs a job that is killed when all its rows are in parts."""
    def publish(*_arguments):
        msg = "killed"
        raise OutputError(msg)

    def run(*arguments, **how):
        with monkeypatch.context() as patch:
            patch.setattr(OutputFiles, "publish", publish)
            with pytest.raises(OutputError, match="killed"):
                _run(*arguments, **how)

    return run


@contextlib.contextmanager
def _gone(scenes, numbers):
    """Files that cannot be read meanwhile."""
    paths = [scenes / f"r{number:02d}.tif" for number in numbers]
    for path in paths:
        path.rename(path.with_suffix(".away"))
    yield
    for path in paths:
        path.with_suffix(".away").rename(path)


def _bytes_of(output):
    return {path.name: path.read_bytes() for path in output.glob("samples-*")}


def _rows(output):
    table = pq.read_table(output)
    names = ("point_index", "record_id", "status")
    return sorted(zip(*(table[name].to_pylist() for name in names), strict=True))


@pytest.mark.parametrize(("first", "then", "radius"), [
    ("broadcast", "partitioned", 0), ("partitioned", "broadcast", 2),
])  # fmt: skip
def test_a_run_may_go_on_by_another_join(scenes, tmp_path, killed, first, then, radius):
    how = {"options": {"max_distance_pixels": radius}}
    # The last group of each join failed, and another of the one with more.
    with _gone(scenes, (5, *range(32, N_DATES))):
        killed(scenes, tmp_path / "samples", join=first, **how)
    _run(scenes, tmp_path / "samples", join=then, **how)
    _run(scenes, tmp_path / "clean", join=first, resume=False, **how)
    assert _bytes_of(tmp_path / "samples") == _bytes_of(tmp_path / "clean")


@pytest.mark.parametrize(("join", "radius"), [("broadcast", 2), ("partitioned", 0)])
def test_by_the_same_join_only_what_failed_is_read_again(scenes, tmp_path, killed, join, radius):
    how = {"options": {"max_distance_pixels": radius}, "join": join}
    with _gone(scenes, (39,)):
        killed(scenes, tmp_path / "samples", **how)
    again = _run(scenes, tmp_path / "samples", **how)
    clean = _run(scenes, tmp_path / "clean", resume=False, **how)
    assert 0 < again["tiles_planned"] <= clean["tiles_planned"] / 2
    assert _bytes_of(tmp_path / "samples") == _bytes_of(tmp_path / "clean")
    # As after a kill when all was done.
    killed(scenes, tmp_path / "whole", **how)
    assert _run(scenes, tmp_path / "whole", **how).get("tiles_planned", 0) == 0
    assert _bytes_of(tmp_path / "whole") == _bytes_of(tmp_path / "clean")


@pytest.mark.parametrize(("join", "radius"), [("broadcast", 0), ("partitioned", 2)])
@pytest.mark.parametrize("both", [("collection", "more"), ("more", "collection")])
def test_records_that_come_or_go_after_the_kill_lose_no_row(
    scenes, tmp_path, killed, both, join, radius,
):
    how = {"options": {"max_distance_pixels": radius}, "join": join}
    before, after = both
    killed(scenes, tmp_path / "samples", collection=before, **how)
    _run(scenes, tmp_path / "samples", collection=after, **how)
    _run(scenes, tmp_path / "clean", collection=after, resume=False, **how)
    rows = _rows(tmp_path / "samples")
    assert len(set(rows)) == len(rows) == N_POINTS * (N_DATES + (after == "more"))
    assert _bytes_of(tmp_path / "samples") == _bytes_of(tmp_path / "clean")


def test_of_runs_that_were_planned_in_two_ways_each_row_counts_once(scenes, tmp_path, killed):
    for number, join in enumerate(("broadcast", "partitioned", "broadcast")):
        with _gone(scenes, (number, 38)):
            killed(scenes, tmp_path / "samples", join=join)
    _run(scenes, tmp_path / "samples", join="partitioned")
    _run(scenes, tmp_path / "clean", resume=False)
    assert _bytes_of(tmp_path / "samples") == _bytes_of(tmp_path / "clean")


def test_rows_in_windows_cannot_go_on_from_an_earlier_run(tmp_path):
    pipeline = beam.Pipeline("FnApiRunner")
    earlier = pipeline | ReadEarlierRun(folder=str(tmp_path), job="j")
    points, _ = pipeline | ReadPoints(pattern="p.csv", columns=PointColumns(crs="EPSG:4326"))
    windows = points | beam.WindowInto(FixedWindows(60))
    how = {"collection": "c", "options": SampleOptions(bands=("B1",)), "join": "broadcast"}
    with pytest.raises(OptionError, match="global window"):
        _ = windows | SamplePoints(earlier=earlier, **how)
    planned, _ = SamplePoints(**how).plan(windows)
    with pytest.raises(OptionError, match="global window"):
        _ = planned | SummarizePlan(earlier=earlier)
    kept = (points | "Global" >> SamplePoints(earlier=earlier, **how)).kept
    sampled = windows | "Windows" >> SamplePoints(**how)
    with pytest.raises(OptionError, match="global window"):
        _ = sampled.samples | WriteSamples(folder="s", kept=kept)
