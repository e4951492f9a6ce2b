"""A run that is killed, and the one that goes on from there: the bytes of a clean run."""

import datetime as dt
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fakes import RangeServer
from scenes import (
    Scene,
    file_item,
    grid_points,
    index_table,
    make_collection,
    ramp,
    write_scene,
)
from serving_thread import running

from rasteret_beam.errors import OutputError
from rasteret_beam.output.parts import MAGIC
from rasteret_beam.storage import Store
from rasteret_beam.transforms._output_files import OutputFiles

N_SCENES, SIDE = 60, 64
SCENE = Scene(name="a", pixels=ramp(32, 32))
PIPELINE = pathlib.Path(__file__).resolve().parents[2] / "pipelines" / "sample_points.py"
DEADLINE_SECONDS = 120
START, DAY = dt.datetime(2024, 1, 1), dt.timedelta(days=1)  # noqa: DTZ001 -- as rasteret's


class SlowServer(RangeServer):
    """Answers one request after another while it is slow, and none that is too many."""

    def __init__(self):
        super().__init__({})
        self._one = threading.Lock()
        self._left = threading.Semaphore(1_000_000)
        self._seconds = 0.0

    def note(self, method, target, wanted):
        left = self._left
        if self._seconds:
            with self._one:
                time.sleep(self._seconds)
        left.acquire()
        if left is not self._left:
            # Whoever asked was killed since.
            return "", 404
        return super().note(method, target, wanted)

    def begin(self, *, seconds=0.0, n_answers=1_000_000):
        """Counts anew; who still waits goes away."""
        before, self._left = self._left, threading.Semaphore(n_answers)
        self._seconds = seconds
        self.requests.clear()
        before.release(1_000_000)

    def files_asked_for(self):
        return {path for path, _ in self.requests}


@pytest.fixture(scope="module")
def server():
    with running(SlowServer()) as slow:
        yield slow
        slow.begin()


@pytest.fixture(scope="module")
def job(server, tmp_path_factory):
    """Flags of a job over some scenes side by side, one file and block each."""
    folder = tmp_path_factory.mktemp("resume")
    items, xy = [], {"x": [], "y": []}
    for number in range(N_SCENES):
        pixels = ramp(SIDE, SIDE) + number
        pixels[:, np.arange(SIDE) % 5 == 0] = 0
        scene = Scene(
            name=f"s{number}", pixels=pixels, nodata="0",
            origin=(500000.0 + SIDE * 10.0 * number, 4600000.0),
        )  # fmt: skip
        name = f"s{number}.tif"
        server.files[name] = pathlib.Path(write_scene(folder, scene)).read_bytes()
        items.append(file_item(scene.name, server.uri(name)))
        for axis, values in grid_points(scene, [(r, c) for r in (3, 40) for c in (5, 63)]).items():
            xy[axis] += values
    pq.write_table(index_table(items, store=Store(allow_http=True)), folder / "collection.parquet")
    xy["plot"] = [f"plot {number}" for number in range(len(xy["x"]))]
    pq.write_table(pa.table(xy), folder / "points.parquet")
    return folder, [
        "--collection", folder / "collection.parquet", "--points", folder / "points.parquet",
        "--points_crs", "EPSG:32631", "--bands", "B1", "--allow_http",
    ]  # fmt: skip


def _start(flags, *more):
    command = [sys.executable, PIPELINE, *flags, *more]
    return subprocess.Popen(  # noqa: S603 -- this interpreter and our own script
        [str(word) for word in command], stderr=subprocess.PIPE, text=True, start_new_session=True,
    )


@pytest.fixture
def run(sample, capsys):
    """Runs the job in this process; gives the exit code and what was said."""
    def finish(flags, *more):
        return sample(*flags, *more), capsys.readouterr().err

    return finish


def _kill_half_way(server, flags, output, *more):
    """Kills a run when the first part of its output is there; how many answers it had."""
    # The last answer never comes: however slow this machine is, the run is not through.
    server.begin(seconds=0.05, n_answers=2 * N_SCENES - 1)
    process = _start(flags, "--output", output, *more)
    try:
        deadline = time.monotonic() + DEADLINE_SECONDS
        # Whole: a part that the kill cuts off is none.
        while not any(
            part.read_bytes().endswith(MAGIC) for part in output.glob("_run/parts-*/*.part")
        ):
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=DEADLINE_SECONDS)
    answered = sum(server.requests.values())
    server.begin()
    return answered


def _bytes_of(output):
    found = {path.name: path.read_bytes() for path in output.glob("samples-*")}
    return found | {"manifest": (output / "_run" / "manifest.json").read_bytes()}


@pytest.mark.parametrize("more", [
    (), ("--layout", "wide", "--output_format", "geoparquet"), ("--max_distance_pixels", "2"),
], ids=["long", "wide", "fallback"])  # fmt: skip
def test_a_killed_run_is_gone_on_from(server, job, run, tmp_path, more):
    _, flags = job
    output = tmp_path / "resumed"
    assert 0 < _kill_half_way(server, flags, output, *more) < 2 * N_SCENES
    assert list(output.glob("samples-*")) == []
    code, text = run(flags, "--output", output, "--mode", "resume", *more)
    assert code == 0, text
    again = server.files_asked_for()
    assert again < {f"s{number}.tif" for number in range(N_SCENES)}
    assert set(server.requests.values()) == {1}
    code, text = run(flags, "--output", tmp_path / "clean", *more)
    assert code == 0, text
    assert _bytes_of(output) == _bytes_of(tmp_path / "clean")
    assert sorted(path.name for path in (output / "_run").iterdir()) == [
        "manifest.json", "summary.json",
    ]  # fmt: skip


def test_a_complete_output_is_left_as_it_is(server, job, run, tmp_path):
    _, flags = job
    flags = [*flags, "--output", tmp_path / "samples"]
    assert run(flags)[0] == 0
    before = _bytes_of(tmp_path / "samples")
    server.requests.clear()
    code, text = run(flags, "--mode", "resume")
    assert code == 0
    assert "is complete" in text
    assert server.files_asked_for() == set()
    assert _bytes_of(tmp_path / "samples") == before


def _summary(output):
    return json.loads((output / "_run" / "summary.json").read_text())


@pytest.fixture
def done(tmp_path, run):
    """Flags of a job that is done, and its output."""
    output = tmp_path / "samples"
    flags = [
        "--collection", make_collection(tmp_path, [SCENE]), "--points_crs", "EPSG:32631",
        "--points", tmp_path / "points.parquet", "--bands", "B1", "--output", output,
    ]  # fmt: skip
    pq.write_table(pa.table(grid_points(SCENE, [(5, 5)])), tmp_path / "points.parquet")
    assert run(flags)[0] == 0
    return flags, output


def test_a_refused_run_leaves_the_summary_of_the_output_that_it_leaves(run, done):
    flags, output = done
    before = _summary(output)
    assert before["counters"]["rows_written"] == 1
    assert run([*flags, "--max_tiles", "0"])[0] == 2
    assert _summary(output) == before
    assert run(flags, "--mode", "resume")[0] == 0
    assert _summary(output) == before


@pytest.mark.parametrize("told", ['{"error": {"name": "OutputError"}, "job": null}', "", None])
def test_a_complete_output_has_a_summary_that_says_so_once_it_is_resumed(run, done, told):
    flags, output = done
    # Of a run that failed since, or that was killed before it came to write its own.
    summary = output / "_run" / "summary.json"
    summary.unlink()
    if told is not None:
        summary.write_text(told)
    assert run(flags, "--mode", "resume")[0] == 0
    found = _summary(output)
    assert (found["state"], found["exit_code"], found["error"]) == ("DONE", 0, None)
    assert (found["manifest"], found["options"]["mode"]) == ("manifest.json", "resume")
    assert "is complete: there is nothing to resume" in found["warnings"][0]


def test_the_summary_of_another_jobs_output_is_none_of_the_output_that_took_its_place(run, done):
    flags, output = done
    text = (output / "_run" / "summary.json").read_text()
    other = [*flags, "--unmatched", "omit"]
    assert run(other)[0] == 0
    # Killed when the files were in place.
    (output / "_run" / "summary.json").write_text(text)
    assert run(other, "--mode", "resume")[0] == 0
    assert _summary(output)["options"]["unmatched"] == "omit"


def test_parts_of_another_job_are_not_taken_up(server, job, run, tmp_path):
    _, flags = job
    output = tmp_path / "samples"
    _kill_half_way(server, flags, output)
    code, text = run(flags, "--output", output, "--mode", "resume", "--unmatched", "omit")
    assert code == 0, text
    assert len(server.files_asked_for()) == N_SCENES
    assert "status" not in pq.read_schema(next(output.glob("samples-*"))).names
    # The other job might still be at work.
    assert len(list((output / "_run").glob("parts-*"))) == 1


def test_a_run_anew_takes_away_what_a_killed_run_left(server, job, run, tmp_path):
    _, flags = job
    output = tmp_path / "samples"
    _kill_half_way(server, flags, output)
    assert run(flags, "--output", output)[0] == 0
    assert len(server.files_asked_for()) == N_SCENES
    assert run(flags, "--output", tmp_path / "clean")[0] == 0
    assert _bytes_of(output) == _bytes_of(tmp_path / "clean")
    assert list((output / "_run").glob("parts-*")) == []


def test_tiles_that_failed_before_the_kill_are_tried_again(server, job, run, tmp_path):
    folder, flags = job
    output, letters = tmp_path / "samples", tmp_path / "letters"
    whole = dict(server.files)
    # Some files are gone while the first run lasts.
    for number in range(0, N_SCENES, 2):
        del server.files[f"s{number}.tif"]
    _kill_half_way(server, flags, output, "--dead_letters", letters, "--error_threshold", "1")
    server.files.update(whole)
    code, text = run(flags, "--output", output, "--mode", "resume", "--dead_letters", letters)
    assert code == 0, text
    assert run(flags, "--output", tmp_path / "clean")[0] == 0
    assert _bytes_of(output) == _bytes_of(tmp_path / "clean")
    assert _summary(output)["counters"].get("tiles_failed", 0) == 0
    assert folder.exists()


@pytest.mark.parametrize(("first", "then", "workers"), [
    ("broadcast", "partitioned", ()),
    ("partitioned", "broadcast", ("--direct_running_mode", "multi_processing")),
])  # fmt: skip
def test_a_run_that_goes_on_by_another_join_loses_no_row(
    run, tmp_path, monkeypatch, first, then, workers,
):
    # The joins put the dates of a grid into other groups.
    scenes = [
        Scene(name=f"r{number:02d}", pixels=ramp(32, 32) + number, when=START + number * DAY)
        for number in range(40)
    ]
    flags = [
        "--collection", make_collection(tmp_path, scenes), "--points", tmp_path / "points.parquet",
        "--points_crs", "EPSG:32631", "--bands", "B1", "--output", tmp_path / "samples",
    ]  # fmt: skip
    pq.write_table(pa.table(grid_points(scenes[0], [(5, 5)])), tmp_path / "points.parquet")
    gone = [tmp_path / f"{scene.name}.tif" for scene in scenes[32:]]
    for path in gone:
        path.rename(path.with_suffix(".away"))
    with monkeypatch.context() as patch:
        patch.setattr(OutputFiles, "publish", _killed)
        assert run(flags, "--join", first)[0] == 1
    for path in gone:
        path.with_suffix(".away").rename(path)
    code, text = run(flags, "--join", then, "--mode", "resume", *workers)
    assert code == 0, text
    table = pq.read_table(tmp_path / "samples")
    assert sorted(table["record_id"].to_pylist()) == [scene.name for scene in scenes]
    assert set(table["status"].to_pylist()) == {"OK"}


def _killed(*_arguments):
    msg = "killed"
    raise OutputError(msg)


def test_an_unknown_mode_is_refused(job, run, tmp_path):
    _, flags = job
    code, text = run(flags, "--output", tmp_path / "samples", "--mode", "again")
    assert code == 2
    assert "replace, resume" in text


def _workers_of(process):
    """Process ids of a run's SDK workers."""
    found, waiting = [], [process.pid]
    while waiting:
        pid = waiting.pop()
        for children in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
            waiting += [int(child) for child in children.read_text().split()]
        command = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
        if b"sdk_worker_main" in command and b"/sh\0" not in command[:16]:
            found.append(pid)
    return found


@pytest.mark.skipif(not pathlib.Path("/proc/self/task").exists(), reason="looks into /proc")
def test_a_worker_that_is_killed_in_a_bundle_leaves_nothing_half_done(server, job, run, tmp_path):
    _, flags = job
    output = tmp_path / "samples"
    server.begin(n_answers=N_SCENES // 2)
    process = _start(
        flags, "--output", output,
        "--direct_running_mode", "multi_processing", "--direct_num_workers", "2",
    )  # fmt: skip
    deadline = time.monotonic() + DEADLINE_SECONDS
    while sum(server.requests.values()) < N_SCENES // 2:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(_workers_of(process)[0], signal.SIGKILL)
    server.begin()
    process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode != 0
    assert list(output.glob("samples-*")) == []
    assert not (output / "_run" / "manifest.json").exists()
    code, text = run(flags, "--output", output, "--mode", "resume")
    assert code == 0, text
    assert run(flags, "--output", tmp_path / "clean")[0] == 0
    assert _bytes_of(output) == _bytes_of(tmp_path / "clean")
