"""Prism and Flink, with worker processes, give what the runner in this process gives."""

import datetime as dt
import hashlib
import json
import pathlib
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from engines import checkpointed_job, getting, running
from scenes import Scene, make_collection

ROOT = pathlib.Path(__file__).resolve().parents[2]
BATCH = ROOT / "pipelines" / "sample_points.py"
STREAMING = pathlib.Path(__file__).parent / "streaming_job.py"
LONG = ("--join=broadcast", "--error_threshold=1", "--max_distance_pixels=2")
WIDE = ("--join=partitioned", "--error_threshold=1", "--max_distance_pixels=1", "--layout=wide")
START = 1_704_067_200.0
# Without the second a bundle's rows may wait for the next bundle, and without the third a source
# that has ended keeps its job alive.
CHECKPOINTS = (
    "--streaming", "--checkpointing_interval=1000", "--finish_bundle_before_checkpointing",
    "--shutdown_sources_after_idle_ms=1",
)  # fmt: skip
pytestmark = pytest.mark.skipif(bool(getting.NOT_ASKED_FOR), reason=getting.NOT_ASKED_FOR)
_SECONDS = 300
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


def _stream(inputs, folder, *flags):
    chosen = ("--window_seconds=10", "--id_column=number", "--refresh_seconds=0", *flags)
    points = inputs / "points.parquet"
    return _start(STREAMING, points, START, 40, *_flags(inputs, folder), *chosen)


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
    assert _bytes(tmp_path / "apart" / "out") == _bytes(tmp_path / "here" / "out")
    assert len(_bytes(tmp_path / "here" / "out")) == 4


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


def test_windows_outlive_a_killed_task_manager(engine, inputs, tmp_path):
    if engine.lose_manager is None:
        pytest.skip("only Flink has task managers")
    start = time.time() // checkpointed_job.WINDOW_SECONDS * checkpointed_job.WINDOW_SECONDS
    where = [(inputs / "collection.parquet", inputs / "points.parquet", tmp_path / name, start, 60)
             for name in ("apart", "here")]  # fmt: skip
    job = _start(checkpointed_job.__file__, *where[0], *engine.flags, *CHECKPOINTS)
    _lose_manager_when(engine, job, lambda: list(tmp_path.glob("apart/*.parquet")))
    code, told = _end(job)
    assert code == 0, told
    assert _restarts(engine) >= 1
    code, told = _end(_start(checkpointed_job.__file__, *where[1], "--runner=FnApiRunner"))
    assert code == 0, told
    assert _bytes(tmp_path / "apart") == _bytes(tmp_path / "here")
    assert len(_bytes(tmp_path / "here")) == 6


def _lose_manager_when(engine, job, has_begun):
    ends = time.monotonic() + _SECONDS
    while not has_begun() and job.poll() is None and time.monotonic() < ends:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    if job.poll() is not None or not has_begun():
        job.kill()
        pytest.fail(f"the job ended, or did not begin: {job.communicate()[1]}")
    engine.lose_manager()


def _restarts(engine):
    """How often tasks of the last job were run again."""
    jobs = sorted(engine.ask("/jobs/overview")["jobs"], key=lambda job: job["start-time"])
    found = engine.ask(f"/jobs/{jobs[-1]['jid']}/exceptions")
    return len(found["exceptionHistory"]["entries"])
