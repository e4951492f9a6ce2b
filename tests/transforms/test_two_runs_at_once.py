"""Two runs that write to one folder at once never mix their rows."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from sample_rows import batch, record

from rasteret_beam.errors import OutputError
from rasteret_beam.options import SampleOptions
from rasteret_beam.output import Layout
from rasteret_beam.output.part_writer import PartWriter
from rasteret_beam.output.shard_files import plan_files
from rasteret_beam.transforms import _output_files
from rasteret_beam.transforms._output_files import OutputFiles, parts_folder

N_POINTS = 400
OMIT = SampleOptions(bands=("B1",))
STEPS = ("delete", "put_in_place", "remove", "create_file", "sizes_of")
"""What putting files in place is made of."""


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
