"""Two runs that write to one folder at once never mix, nor lose, what they write in silence."""

import concurrent.futures
import itertools
import json
import threading

import numpy as np
import pyarrow.parquet as pq
import pytest
from apache_beam.transforms.window import GlobalWindow, IntervalWindow
from apache_beam.utils.windowed_value import PANE_INFO_UNKNOWN
from sample_rows import batch, record

from rasteret_beam.errors import OutputError
from rasteret_beam.options import SampleOptions
from rasteret_beam.output import Layout
from rasteret_beam.output.part_writer import PartWriter
from rasteret_beam.output.shard_files import plan_files
from rasteret_beam.transforms import _output_files, _write_files
from rasteret_beam.transforms._output_files import OutputFiles, parts_folder
from rasteret_beam.transforms._write_files import _PublishFn

N_POINTS = 400
OMIT = SampleOptions(bands=("B1",))
STEPS = ("delete", "put_in_place", "remove", "create_file", "sizes_of")
"""What putting files in place is made of."""

WINDOW = IntervalWindow(0, 10)
N_STEPS, DEADLINE_SECONDS = 5, 120


@pytest.fixture(autouse=True)
def _small_files(monkeypatch):
    monkeypatch.setattr("rasteret_beam.output.layouts.FILE_ROWS", 100)


class _Run:
    """A run of a job: its files, and the parts that it has written so far."""

    def __init__(self, folder, name, job):
        self.files = OutputFiles(str(folder), "parquet", Layout(), job, name)
        self.parts = []

    def write_part(self, points):
        """Writes rows of some points, as a run does that could not read the others'."""
        lon = np.linspace(-170, 170, N_POINTS)[points]
        value = np.random.default_rng(len(points)).random(len(points))
        writer = PartWriter(with_lonlat=False)
        rows = batch(lon, lon * 0, index=points, of=record(), value=value, options=OMIT)
        writer.add(rows)
        name = f"{self.files.run}-{len(self.parts)}.part"
        folder = parts_folder(self.files.folder, self.files.job)
        path = f"{folder}/{name}"
        with _output_files.create_file(path) as file:
            self.parts.append(writer.write(file, path, self.files.run))
        return self

    def stage(self):
        tasks = plan_files(self.parts, None, self.files.layout)
        return [self.files.write(task, None) for task in tasks]


def _points_of(folder):
    """The points of the files, which are those that the manifest lists, and as it does."""
    listed = json.loads((folder / "_run" / "manifest.json").read_text())["files"]
    there = sorted(folder.glob("samples-*"))
    assert [(file["name"], file["bytes"]) for file in listed] == [
        (path.name, path.stat().st_size) for path in there
    ]
    return sorted(i for path in there for i in pq.read_table(path)["point_index"].to_pylist())


SOME, ALL = list(range(60, N_POINTS)), list(range(N_POINTS))


def test_a_run_whose_first_parts_another_took_away_does_not_mix_its_rows_with_the_others(tmp_path):
    first = _Run(tmp_path, "a", "job").write_part(SOME)
    second = _Run(tmp_path, "b", "job").write_part(ALL[:200])
    first.files.publish(first.stage())
    staged = second.write_part(ALL[200:]).stage()
    assert len(staged) == 4
    with pytest.raises(OutputError, match="files of this run are gone: another run writes to"):
        second.files.publish(staged)
    assert _points_of(tmp_path) == SOME


def test_a_run_whose_parts_another_took_away_leaves_the_others_output_whole(tmp_path):
    first, second = (_Run(tmp_path, name, "job") for name in "ab")
    staged = first.write_part(SOME).stage()
    # Of one that is further its files are taken away, too.
    second.write_part(SOME).stage()
    first.files.publish(staged)
    assert second.files.publish(second.stage()) == first.files.publish(staged)
    assert _points_of(tmp_path) == SOME


@pytest.mark.parametrize("step", range(9))
@pytest.mark.parametrize("job", ["one", "another"])
def test_two_runs_that_put_files_in_place_at_once_end_with_one_output_or_an_error(
    tmp_path, monkeypatch, step, job,
):
    first = _Run(tmp_path, "a", "one").write_part(ALL)
    second = _Run(tmp_path, "b", job).write_part(ALL[:60])
    staged, others = first.stage(), second.stage()
    assert len(staged) > len(others)
    waiting, counted = [others], [0]

    def interrupted(of):
        def run(*given, **how):
            counted[0] += 1
            if counted[0] == step + 1 and waiting:
                second.files.publish(waiting.pop())
            return of(*given, **how)
        return run

    for name in STEPS:
        monkeypatch.setattr(_output_files, name, interrupted(getattr(_output_files, name)))
    try:
        first.files.publish(staged)
    except OutputError:
        if (tmp_path / "_run" / "manifest.json").exists():
            assert _points_of(tmp_path) == ALL[:60]
    else:
        assert _points_of(tmp_path) in (ALL, ALL[:60])


class _Letters:
    """A run that has written dead letters, some in each of its files."""

    def __init__(self, folder, run, texts, window):
        self.texts, self._window = sorted(texts), window
        hidden = f"{folder}/.letters-{run}"
        self._publish = _PublishFn(
            str(folder), "letters", ".jsonl", hidden, "", is_whole=isinstance(window, GlobalWindow),
        )
        self._files = [("", 0)]
        for number, text in enumerate(texts):
            name = f"{hidden}-{run * 31}{number:x}"
            with _write_files.create_file(name) as file:
                file.write(text.encode())
            self._files.append((name, len(text)))

    def publish(self):
        return list(self._publish.process(("", self._files), self._window, PANE_INFO_UNKNOWN))


def _texts(folder):
    return sorted(path.read_text() for path in folder.glob("letters-*"))


class _Turns:
    """Lets two threads do their steps in one order, one step at a time."""

    def __init__(self, order):
        self._order, self._changed = list(order), threading.Condition()

    def step(self, of):
        def run(*given, **how):
            me = threading.current_thread().name
            with self._changed:
                assert self._changed.wait_for(lambda: self._may_go(me), DEADLINE_SECONDS)
                found = of(*given, **how)
                if me in self._order:
                    self._order.remove(me)
                self._changed.notify_all()
            return found
        return run

    def _may_go(self, name):
        return name not in self._order or self._order[0] == name

    def end(self):
        with self._changed:
            me = threading.current_thread().name
            self._order = [name for name in self._order if name != me]
            self._changed.notify_all()


def _told(name, run, turns):
    """What a run says that is in the way of its dead letters; "" where nothing is."""
    threading.current_thread().name = name
    try:
        run.publish()
    except OutputError as error:
        return str(error)
    finally:
        turns.end()
    return ""


@pytest.mark.parametrize("window", [GlobalWindow(), WINDOW], ids=["global", "window"])
@pytest.mark.parametrize("others", [["of b"], ["b", "of b, too"], []], ids=len)
def test_dead_letters_of_two_runs_at_once_are_those_of_one_or_it_is_told(
    tmp_path, monkeypatch, window, others,
):
    steps = {name: getattr(_write_files, name) for name in ("put_in_place", "remove", "sizes_of")}
    endings = set()
    for number, of_first in enumerate(itertools.combinations(range(2 * N_STEPS), N_STEPS)):
        turns = _Turns("a" if at in of_first else "b" for at in range(2 * N_STEPS))
        folder = tmp_path / str(number)
        runs = [_Letters(folder, "a", ["a", "of a"], window), _Letters(folder, "b", others, window)]
        with monkeypatch.context() as patch:
            for name, of in steps.items():
                patch.setattr(_write_files, name, turns.step(of))
            with concurrent.futures.ThreadPoolExecutor(2) as pool:
                told = list(pool.map(_told, "ab", runs, [turns, turns]))
        assert all("another run writes to this folder" in text for text in told if text)
        assert any(told) or _texts(folder) in (runs[0].texts, runs[1].texts), of_first
        endings.add(tuple(map(bool, told)))
    # Each of them can be the one that is told of it.
    assert {(False, False), (False, True), (True, False)} <= endings


@pytest.mark.parametrize("window", [GlobalWindow(), WINDOW], ids=["global", "window"])
def test_dead_letters_that_are_published_twice_are_there_once(tmp_path, window):
    run = _Letters(tmp_path, "a", ["a", "of a"], window)
    assert run.publish() == run.publish()
    assert _texts(tmp_path) == run.texts


def test_a_try_again_leaves_the_dead_letters_of_a_run_that_replaced_its_own(tmp_path):
    first = _Letters(tmp_path, "a", ["a", "of a"], GlobalWindow())
    second = _Letters(tmp_path, "b", ["b"], GlobalWindow())
    first.publish()
    second.publish()
    with pytest.raises(OutputError, match="put in place is gone: another run writes"):
        first.publish()
    assert _texts(tmp_path) == second.texts
