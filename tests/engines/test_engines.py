"""Prism and Flink, with worker processes, give what the runner in this process gives."""

import ast
import contextlib
import datetime as dt
import hashlib
import json
import pathlib
import shutil
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from engines import getting, running, streaming_job
from scenes import Scene, make_collection
from streams import without_run

ROOT = pathlib.Path(__file__).resolve().parents[2]
BATCH = ROOT / "pipelines" / "sample_points.py"
LONG = ("--join=broadcast", "--error_threshold=1", "--max_distance_pixels=2")
WIDE = ("--join=partitioned", "--error_threshold=1", "--max_distance_pixels=1", "--layout=wide")
START = 1_704_067_200.0
# Without the last a bundle's rows may wait for the next bundle. Nothing ends the job: a source
# that has ended makes Flink wait, without a checkpoint, for all that it began.
CHECKPOINTS = (
    "--streaming", "--checkpointing_interval=1000", "--finish_bundle_before_checkpointing",
)  # fmt: skip
pytestmark = pytest.mark.skipif(bool(getting.NOT_ASKED_FOR), reason=getting.NOT_ASKED_FOR)
_SECONDS, _STREAM_SECONDS, _WINDOWS = 300, 20, 4
_SECONDS_BETWEEN_LOOKS = 0.05


def _pixels(rng, side):
    pixels = rng.integers(1, 60_000, (2, side, side)).astype("uint16")
    pixels[:, rng.random((side, side)) < 0.3] = 0
    pixels[:, side // 3 : side // 2, side // 3 : 2 * side // 3] = 0
    return pixels


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Scenes that overlap, one of them broken, and points on, between and beside them."""
    folder, rng = tmp_path_factory.mktemp("inputs"), np.random.default_rng(6)
    scenes = [
        Scene(
            name=f"s{k}", pixels=_pixels(rng, 300), nodata="0",
            when=dt.datetime(2024, 5, 1 + k),  # noqa: DTZ001
            origin=(500_000.0 + 1500 * k, 4_600_000.0 - 700 * k),
        )
        for k in range(4)
    ]  # fmt: skip
    make_collection(folder, scenes)
    (folder / "s2.tif").write_bytes(b"II*\0" + bytes(100))
    n_points = 4000
    points = {
        "x": rng.uniform(499_000, 508_500, n_points),
        "y": rng.uniform(4_594_000, 4_600_500, n_points),
        "name": [f"p{i}" for i in range(n_points)],
    }
    points["x"][7] = np.nan
    pq.write_table(pa.table(points), folder / "points.parquet", row_group_size=1000)
    return folder


@pytest.fixture(scope="module", params=["prism", "flink"])
def engine(request, tmp_path_factory):
    """A running engine."""
    found, reason = getattr(getting, f"find_{request.param}")()
    if found is None:
        pytest.skip(reason)
    logs = tmp_path_factory.mktemp(request.param)
    with getattr(running, request.param)(found, logs) as engine:
        yield engine


def _start(script, *arguments):
    command = [sys.executable, script, *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT)  # noqa: S603


def _end(process):
    """Waits for a job; gives its exit code and what it told."""
    try:
        _, told = process.communicate(timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return process.returncode, told


def _flags(inputs, folder):
    return (
        f"--collection={inputs}/collection.parquet", "--points_crs=EPSG:32631", "--bands=B1,B2",
        f"--output={folder}/out", f"--dead_letters={folder}/letters",
    )  # fmt: skip


def _sample(inputs, folder, *flags):
    points = f"--points={inputs}/points.parquet"
    return _start(BATCH, *_flags(inputs, folder), points, *flags)


def _stream(inputs, folder, *flags, start=START, seconds=_STREAM_SECONDS):
    chosen = (f"--window_seconds={streaming_job.WINDOW_SECONDS}", "--id_column=number")
    told = (*_flags(inputs, folder), "--refresh_seconds=0", *chosen, *flags)
    return _start(streaming_job.__file__, inputs / "points.parquet", start, seconds, *told)


def _bytes(folder):
    files = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.glob("*.parquet")}
    assert files
    return files


def _letters(folder):
    """Dead letters in an order of their own: whoever writes them has none."""
    lines = [line for p in folder.glob("letters/*.jsonl") for line in p.read_text().splitlines()]
    told = [{k: v for k, v in json.loads(line).items() if k != "stack"} for line in lines]
    return sorted(map(str, told))


def _counters(folder):
    told = json.loads((folder / "out" / "_run" / "summary.json").read_text())
    assert all(identity["holds"] for identity in told["identities"].values())
    return told["counters"]


@pytest.fixture(scope="module")
def here(inputs, tmp_path_factory):
    """The same jobs in their own process, each once."""
    known = {}

    def run(how):
        if how not in known:
            known[how] = tmp_path_factory.mktemp("here")
            code, told = _end(_sample(inputs, known[how], *how))
            assert code == 0, told
        return known[how]

    return run


@pytest.mark.parametrize("how", [LONG, WIDE], ids=["long", "wide"])
def test_files_are_the_same_byte_by_byte(engine, inputs, here, tmp_path, how):
    code, told = _end(_sample(inputs, tmp_path, *how, *engine.flags))
    assert code == 0, told
    assert _bytes(tmp_path / "out") == _bytes(here(how) / "out")
    assert _letters(tmp_path) == _letters(here(how))
    assert len(_letters(tmp_path)) > 1


def test_counters_add_up_to_those_of_one_process(engine, inputs, here, tmp_path):
    code, told = _end(_sample(inputs, tmp_path, *LONG, *engine.flags))
    assert code == 0, told
    counted, expected = _counters(tmp_path), _counters(here(LONG))
    exact = [name for name in expected if name.startswith(("points_", "tiles_", "samples_"))]
    assert len(exact) > 10
    assert {name: counted[name] for name in exact} == {name: expected[name] for name in exact}


def test_what_is_refused_is_told_in_one_line(engine, inputs, tmp_path):
    flags = (*LONG, *engine.flags, "--collection=/nowhere/at-all")
    code, told = _end(_sample(inputs, tmp_path, *flags))
    assert code == 2, told
    assert told.splitlines()[-1] == "error: Parquet not found at /nowhere/at-all"


def test_an_option_that_the_engine_does_not_know_is_refused(engine, inputs, tmp_path):
    code, told = _end(_sample(inputs, tmp_path, *engine.flags, "--parallelisms=2"))
    assert code == 2
    assert "Unknown option(s): --parallelisms=2" in told


def test_windows_of_points_without_an_end_are_the_same(engine, inputs, tmp_path):
    for name, flags in (("apart", (*engine.flags, "--streaming")),
                        ("here", ("--runner=FnApiRunner",))):  # fmt: skip
        code, told = _end(_stream(inputs, tmp_path / name, *flags))
        assert code == 0, told
    _check_the_same(tmp_path)


def _check_the_same(folder):
    apart, here = folder / "apart", folder / "here"
    found, expected = (
        {without_run(name): data for name, data in _bytes(each / "out").items()}
        for each in (apart, here)
    )
    assert found == expected
    assert len(expected) == len(_bytes(apart / "out")) == _WINDOWS
    assert _letters(apart) == _letters(here)
    assert {letter["stage"] for letter in map(ast.literal_eval, _letters(here))} == {
        "DecodeMessages", "ReadPoints", "FetchTiles",
    }


def test_a_killed_task_manager_loses_and_doubles_nothing(engine, inputs, here, tmp_path):
    if engine.lose_manager is None:
        pytest.skip("only Flink has task managers")
    job = _sample(inputs, tmp_path, *LONG, *engine.flags)
    _lose_manager_when(engine, job, lambda: list(tmp_path.glob("out/_run/parts-*/*")))
    code, told = _end(job)
    assert code == 0, told
    assert _restarts(engine) >= 1
    assert _bytes(tmp_path / "out") == _bytes(here(LONG) / "out")
    assert _letters(tmp_path) == _letters(here(LONG))


@pytest.mark.parametrize("join", ["broadcast", "partitioned"])
def test_windows_outlive_a_killed_task_manager(engine, inputs, tmp_path, join):
    if engine.lose_manager is None:
        pytest.skip("only Flink has task managers")
    flags, start = (f"--join={join}", "--max_distance_pixels=2"), tmp_path / "start"
    apart, here = tmp_path / "apart", tmp_path / "here"
    job = _stream(inputs, apart, *flags, *engine.flags, *CHECKPOINTS, start=start)

    def published():
        return len(list(apart.glob("out/*.parquet")))

    _lose_manager_when(engine, job, lambda: published() and _checkpoints(engine, "completed"))
    _wait(job, lambda: published() == _WINDOWS)
    code, told = _end(_stream(inputs, here, *flags, "--runner=FnApiRunner", start=start))
    assert code == 0, told
    _wait(job, lambda: len(_letters(apart)) >= len(_letters(here)))
    _cancel(engine, job)
    assert _restarts(engine) >= 1
    # Not from the start: what was done before the kill stayed done.
    assert _checkpoints(engine, "restored") >= 1
    _check_the_same(tmp_path)


def test_a_record_that_is_added_in_mid_stream_is_sampled(engine, inputs, tmp_path):
    if engine.lose_manager is None:
        pytest.skip("Prism's test plays the points: test_a_new_scene_is_seen_without_a_restart")
    collection = tmp_path / "collection"
    collection.mkdir()
    shutil.copy(inputs / "collection.parquet", collection / "first.parquet")
    new = Scene(name="new", pixels=_pixels(np.random.default_rng(7), 300), nodata="0",
                when=dt.datetime(2024, 6, 1))  # noqa: DTZ001  # fmt: skip
    flags = (*engine.flags, *CHECKPOINTS, f"--collection={collection}", "--refresh_seconds=0.5")
    job = _stream(inputs, tmp_path, *flags, start=tmp_path / "start", seconds=2 * _SECONDS)

    def seen():
        files = tmp_path.glob("out/*.parquet")
        return {name for file in files for name in pq.read_table(file)["record_id"].to_pylist()}

    _wait(job, lambda: "s0" in seen())
    assert "new" not in seen()
    pathlib.Path(make_collection(tmp_path, [new])).rename(collection / "new.parquet")
    _wait(job, lambda: "new" in seen())
    _cancel(engine, job)


def _wait(job, is_so):
    ends = time.monotonic() + _SECONDS
    while job.poll() is None and time.monotonic() < ends:
        # What is looked at may be replaced in that moment.
        with contextlib.suppress(OSError):
            if is_so():
                return
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    job.kill()
    pytest.fail(f"the job ended, or did not get there: {job.communicate()[1]}")


def _lose_manager_when(engine, job, has_begun):
    _wait(job, has_begun)
    engine.lose_manager()


def _cancel(engine, job):
    """Ends a job that has no end; who started it is told when its tasks are gone."""
    engine.ask(f"/jobs/{_last_job(engine)}?mode=cancel", "PATCH")
    assert "Job was cancelled" in _end(job)[1]


def _checkpoints(engine, kind):
    """How many of the last job were completed, restored, ..."""
    return engine.ask(f"/jobs/{_last_job(engine)}/checkpoints")["counts"][kind]


def _restarts(engine):
    """How often tasks of the last job were run again."""
    found = engine.ask(f"/jobs/{_last_job(engine)}/exceptions")
    return len(found["exceptionHistory"]["entries"])


def _last_job(engine):
    jobs = sorted(engine.ask("/jobs/overview")["jobs"], key=lambda job: job["start-time"])
    return jobs[-1]["jid"]
