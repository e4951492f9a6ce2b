"""Output files through Beam: whole or not there, rerun, windows, and what goes wrong."""

import dataclasses
import json
import os
import pathlib
import resource
import subprocess
import sys
import time

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.io.filesystems import FileSystems
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.trigger import AccumulationMode, AfterCount, Repeatedly
from apache_beam.transforms.window import (
    FixedWindows,
    GlobalWindow,
    GlobalWindows,
    IntervalWindow,
    TimestampedValue,
)
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import PaneInfo, PaneInfoTiming
from sample_rows import bands_of, batch, record

from rasteret_beam import WriteDeadLetters, WriteSamples
from rasteret_beam.elements import DeadLetter, SampleBatch
from rasteret_beam.errors import OptionError, OutputError
from rasteret_beam.memory import Allowance
from rasteret_beam.output import Layout
from rasteret_beam.output.manifest import job_of
from rasteret_beam.output.part_writer import PartWriter
from rasteret_beam.output.shard_files import plan_files
from rasteret_beam.schema import REQUIRED_COLUMNS
from rasteret_beam.transforms import write_samples
from rasteret_beam.transforms._folders import create_file, put_in_place, remove_if_empty
from rasteret_beam.transforms._output_files import OutputFiles
from rasteret_beam.transforms._write_files import _PublishFn
from rasteret_beam.transforms.write_samples import _WindowFn, _WritePartsFn


def _batches(n_rows=10, n_records=3):
    random = np.random.default_rng(n_rows)
    lon, lat = random.uniform(0, 9, n_rows), random.uniform(0, 9, n_rows)
    return [batch(lon, lat, of=record(number)) for number in range(n_records)]


def _write(folder, batches, windows=None, **how):
    with beam.Pipeline("FnApiRunner") as pipeline:
        _ = (
            pipeline
            | beam.Create(batches).with_output_types(SampleBatch)
            | beam.WindowInto(windows or GlobalWindows())
            | WriteSamples(folder=str(folder), **how)
        )


def _names(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("_"))


def _manifest(folder):
    return json.loads((folder / "_run" / "manifest.json").read_text())


def test_the_folder_can_be_read_as_one_table(tmp_path):
    _write(tmp_path, _batches())
    assert pq.read_table(tmp_path).num_rows == 30
    assert _names(tmp_path) == ["samples-00000-of-00001.parquet"]


ODD_NAMES = ["out[1]", "out*", "out?", "[]", "[!a]"]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_folder_whose_name_could_be_a_pattern_holds_the_last_run_alone(tmp_path, name):
    beside = tmp_path / "out1" / "samples-00000-of-00002.parquet"
    beside.parent.mkdir()
    beside.write_bytes(b"of another output")
    _write(tmp_path / name, _batches(5), output_format="csv")
    _write(tmp_path / name, _batches())
    assert _names(tmp_path / name) == ["samples-00000-of-00001.parquet"]
    assert [path.name for path in (tmp_path / name / "_run").iterdir()] == ["manifest.json"]
    assert pq.read_table(tmp_path / name / "samples-00000-of-00001.parquet").num_rows == 30
    assert beside.read_bytes() == b"of another output"


def _write_part(path, columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({name: ["a"] for name in columns}), path)


@pytest.mark.parametrize("windows", [None, FixedWindows(10)])
@pytest.mark.parametrize("part", ["part-0.parquet", "year=2024/month=5/part-3.parquet"])
def test_a_collection_takes_in_no_samples(tmp_path, windows, part):
    _write_part(tmp_path / part, REQUIRED_COLUMNS)
    with pytest.raises(Exception, match=rf"holds '.*{part}', a file of a collection; give the"):
        _write(tmp_path, _batches(), windows)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / part]


def test_what_is_no_collection_or_has_samples_already_takes_in_samples(tmp_path):
    _write_part(tmp_path / "part-0.parquet", ["id", "x", "y"])
    _write_part(tmp_path / "beside" / "part-0.parquet", REQUIRED_COLUMNS)
    (tmp_path / "year=2024" / "month=5").mkdir(parents=True)
    (tmp_path / "year=2024" / "month=5" / "part-0.parquet").write_bytes(b"broken")
    _write(tmp_path, _batches())
    _write_part(tmp_path / "part-0.parquet", REQUIRED_COLUMNS)
    _write(tmp_path, _batches(5))
    assert pq.read_table(tmp_path / "samples-00000-of-00001.parquet").num_rows == 15


@pytest.mark.parametrize("name", ODD_NAMES)
def test_letters_of_an_earlier_run_go_whatever_the_folder_is_called(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    for stale in ("dead-letters-00001-of-00002.jsonl", "mine.jsonl"):
        (folder / stale).write_text("{}")
    with beam.Pipeline("FnApiRunner") as p:
        letters = p | beam.Create([DeadLetter("{}", "why", "", "Stage", "CODE")])
        _ = letters | WriteDeadLetters(folder=str(folder))
    assert _names(folder) == ["dead-letters-00000-of-00001.jsonl", "mine.jsonl"]


def test_the_manifest_lists_the_files_and_their_rows(tmp_path):
    _write(tmp_path, _batches(), job="of this test", output_format="csv")
    (path,) = tmp_path.glob("*.csv")
    found = _manifest(tmp_path)
    assert found["files"] == [{"name": path.name, "rows": 30, "bytes": path.stat().st_size}]
    assert (found["rows"], found["format"], found["layout"]) == (30, "csv", "long")
    assert job_of((tmp_path / "_run" / "manifest.json").read_text()) == "of this test"


def test_nothing_else_is_left_behind(tmp_path):
    _write(tmp_path, _batches())
    assert [path.name for path in (tmp_path / "_run").iterdir()] == ["manifest.json"]


def test_a_rerun_gives_the_same_bytes_in_any_order_of_batches(tmp_path):
    _write(tmp_path / "a", _batches(), job="one")
    _write(tmp_path / "b", _batches()[::-1], job="one")
    for name in ("samples-00000-of-00001.parquet", "_run/manifest.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize(("hours", "stays"), [((48, 48), False), ((48, 1), True)])
def test_what_another_job_is_writing_stays_and_what_a_killed_one_left_goes(tmp_path, hours, stays):
    for number, ago in enumerate(hours):
        for folder in ("parts-other", "staged-other"):
            path = tmp_path / "_run" / folder / f"{number}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"of another job")
            os.utime(path, (time.time() - 3600 * ago,) * 2)
    _write(tmp_path, _batches(), job="mine")
    found = sorted(path.relative_to(tmp_path / "_run") for path in tmp_path.glob("_run/*/*"))
    others = ["parts-other/0", "parts-other/1", "staged-other/0", "staged-other/1"]
    assert [str(path) for path in found] == (others if stays else [])
    left = {path.name for path in (tmp_path / "_run").iterdir()}
    assert left == {"manifest.json", *(["parts-other", "staged-other"] if stays else [])}


def test_another_run_takes_the_place_of_the_one_before(tmp_path):
    _write(tmp_path, _batches(), output_format="csv")
    (tmp_path / "samples-00003-of-00009.parquet").write_bytes(b"of a run with more files")
    (tmp_path / "notes.txt").write_text("not ours")
    _write(tmp_path, _batches(5))
    assert _names(tmp_path) == ["notes.txt", "samples-00000-of-00001.parquet"]
    assert _manifest(tmp_path)["rows"] == 15


def test_no_rows_at_all_still_have_columns(tmp_path):
    _write(tmp_path, [batch([], [])])
    table = pq.read_table(tmp_path)
    assert table.num_rows == 0
    assert "record_id" in table.column_names


def test_no_batch_at_all_takes_earlier_files_away(tmp_path):
    _write(tmp_path, _batches())
    _write(tmp_path, [])
    assert _names(tmp_path) == []
    assert _manifest(tmp_path)["files"] == []


def test_each_window_has_files_of_its_own(tmp_path):
    with beam.Pipeline("FnApiRunner") as pipeline:
        _ = (
            pipeline
            | beam.Create([TimestampedValue(one, 60 * at) for at, one in enumerate(_batches())])
            .with_output_types(SampleBatch)
            | beam.WindowInto(FixedWindows(120))
            | WriteSamples(folder=str(tmp_path))
        )
    names = _names(tmp_path)
    assert [name.count("1970-01-01T00.0") for name in names] == [2, 2]
    assert sorted(pq.read_table(tmp_path / name).num_rows for name in names) == [10, 20]
    manifests = sorted(path.name for path in (tmp_path / "_run").glob("manifest-*.json"))
    assert len(manifests) == 2
    assert sorted(path.name for path in (tmp_path / "_run").iterdir()) == manifests


@pytest.mark.parametrize(("time", "told"), [
    # Points of files come before all time; "never" is often the last second of 9999.
    (MIN_TIMESTAMP, "-9223372036854775000us--9223372036800000000us"),
    (253_402_300_799, "9999-12-31T23.59.00Z-253402300800000000us"),
])  # fmt: skip
def test_windows_beyond_pythons_years_have_names_too(tmp_path, time, told):
    with beam.Pipeline("FnApiRunner") as pipeline:
        _ = (
            pipeline
            | beam.Create([TimestampedValue(_batches()[0], time)]).with_output_types(SampleBatch)
            | beam.WindowInto(FixedWindows(60))
            | WriteSamples(folder=str(tmp_path))
        )
    assert _names(tmp_path) == [f"samples-{told}-00000-of-00001.parquet"]


@pytest.mark.parametrize("job", ["named", ""])
@pytest.mark.parametrize("windows", [GlobalWindows(), FixedWindows(10)])
def test_steps_that_a_runner_runs_again_change_nothing(tmp_path, windows, job):
    outputs = []
    for repeats in (0, 1):
        folder = tmp_path / str(repeats)
        with beam.Pipeline(FnApiRunner(bundle_repeat=repeats)) as pipeline:
            _ = (
                pipeline
                | beam.Create([TimestampedValue(one, 8 * at) for at, one in enumerate(_batches())])
                | beam.WindowInto(windows)
                | beam.Map(lambda one: one).with_output_types(SampleBatch)
                | WriteSamples(folder=str(folder), job=job)
            )
        files = [*folder.glob("*.parquet"), *folder.glob("_run/*.json")]
        outputs.append({path.name: path.read_bytes() for path in files})
    assert outputs[0].keys() == outputs[1].keys()
    # Without a job a manifest names the run.
    compared = [name for name in outputs[0] if job or name.endswith(".parquet")]
    assert [outputs[0][name] for name in compared] == [outputs[1][name] for name in compared]
    assert len(outputs[0]) == (2 if isinstance(windows, GlobalWindows) else 4)


def test_a_file_whose_parts_went_when_it_was_published_is_not_written_again(tmp_path):
    files = OutputFiles(str(tmp_path), "parquet", Layout(), "job", "run")
    name = tmp_path / "_run" / "parts-job" / "run-1.part"
    name.parent.mkdir(parents=True)
    writer = PartWriter(with_lonlat=False)
    for one in _batches():
        writer.add(one)
    with name.open("wb") as file:
        part = writer.write(file, str(name), "run")
    (task,) = plan_files([part], None, Layout())
    staged = files.write(task, None)
    (final,) = files.publish([staged])
    data = pathlib.Path(final).read_bytes()
    again = files.write(task, None)
    assert (again.final, again.rows, again.bytes) == (staged.final, staged.rows, staged.bytes)
    assert files.publish([again]) == [final]
    assert pathlib.Path(final).read_bytes() == data
    with pytest.raises(OutputError, match="parts of this run are gone: another run writes"):
        dataclasses.replace(files, job="another").write(task, None)


def _batches_of_points(numbers):
    for n in numbers:
        yield batch([], [])
        yield from bands_of([n], [n], of=record(n), bands=("B1", "B2"))


def test_samples_of_some_points_come_into_one_part(tmp_path, monkeypatch):
    monkeypatch.setattr("rasteret_beam.output.part_writer.PART_BYTES", 1)
    parts = []
    monkeypatch.setattr(
        "rasteret_beam.transforms.write_samples.plan_files",
        lambda found, *how: parts.extend(found) or plan_files(found, *how),
    )
    with beam.Pipeline("FnApiRunner") as pipeline:
        _ = (
            pipeline
            | beam.Create([[0, 1, 2]])
            | beam.FlatMap(_batches_of_points).with_output_types(SampleBatch)
            | WriteSamples(folder=str(tmp_path))
        )
    assert [part.n_rows for part in parts] == [2, 2, 2]
    assert pq.read_table(tmp_path).num_rows == 6


def test_many_windows_in_a_bundle_are_not_all_held(tmp_path, monkeypatch):
    one = batch(np.arange(1000.0) / 100, np.zeros(1000), of=record())
    monkeypatch.setattr("rasteret_beam.output.part_writer.MOST_PART_BYTES", 500_000)
    files = OutputFiles(str(tmp_path), "parquet", Layout(), "job", "run")
    write = _WritePartsFn(str(tmp_path), files)
    write.start_bundle()
    found = []
    for number in range(60):
        window = IntervalWindow(number * 10, number * 10 + 10)
        found += write.process(one, window=window, timestamp=number * 10)
        held = sum(writer.n_bytes for writer, _ in write._open.values())
        assert held == write._n_bytes < 500_000
    assert found
    found += write.finish_bundle()
    assert write._n_bytes == 0
    assert sum(value.value[1].n_rows for value in found) == 60_000
    assert len({value.windows for value in found}) == 60


def test_bundles_of_a_process_share_the_memory_of_rows(tmp_path, monkeypatch):
    one = batch(np.arange(1000.0) / 100, np.zeros(1000), of=record())
    shared = Allowance(500_000)
    monkeypatch.setattr(write_samples, "_HELD", shared)
    monkeypatch.setattr(write_samples, "_SHARE_BYTES", 100_000)
    files = OutputFiles(str(tmp_path), "parquet", Layout(), "job", "run")
    bundles = [_WritePartsFn(str(tmp_path), files) for _ in range(3)]
    for bundle in bundles:
        bundle.start_bundle()
    found, most = [], 0
    for _ in range(30):
        for bundle in bundles:
            found += bundle.process(one, window=_WINDOW, timestamp=0)
            most = max(most, shared.held_bytes)
    assert shared.held_bytes == sum(bundle._n_bytes for bundle in bundles)
    assert 400_000 < most < 500_000 + 3 * 100_000
    assert len(found) > 3
    # One fails, and begins anew.
    bundles[0].start_bundle()
    found += [value for bundle in bundles for value in bundle.finish_bundle()]
    assert shared.held_bytes == 0


def test_a_part_that_a_stream_gives_twice_is_written_once(tmp_path):
    files = OutputFiles(str(tmp_path), "parquet", Layout("long", ()), "", "run")
    write = _WritePartsFn(str(tmp_path / "_run" / "parts-run"), files)
    write.start_bundle()
    for one in _batches():
        list(write.process(one, window=_WINDOW, timestamp=0))
    parts = [value.value[1] for value in write.finish_bundle()]
    (name,) = _WindowFn(files, "").process(("", parts * 2), window=_WINDOW, pane=_PANE)
    assert pq.read_table(name).num_rows == 30


def test_panes_of_the_global_window_do_not_take_each_others_parts(tmp_path):
    with beam.Pipeline("FnApiRunner") as pipeline:
        _ = (
            pipeline
            | beam.Create(_batches()).with_output_types(SampleBatch)
            | beam.WindowInto(
                GlobalWindows(), trigger=Repeatedly(AfterCount(1)),
                accumulation_mode=AccumulationMode.DISCARDING,
            )
            | WriteSamples(folder=str(tmp_path))
        )
    assert sum(pq.read_table(tmp_path / name).num_rows for name in _names(tmp_path)) == 30
    assert all(path.suffix == ".json" for path in (tmp_path / "_run").iterdir())


def test_a_folder_that_another_window_takes_away_is_made_again(tmp_path, monkeypatch):
    folder, create, taken = tmp_path / "parts", FileSystems.create, []

    def create_late(name, **how):
        if len(taken) < 3:
            taken.append(name)
            remove_if_empty(str(folder))
            assert not folder.exists()
            raise FileNotFoundError(name)
        return create(name, **how)

    monkeypatch.setattr(FileSystems, "create", create_late)
    with create_file(str(folder / "a")) as file:
        file.write(b"whole")
    assert (folder / "a").read_bytes() == b"whole"
    remove_if_empty(str(folder))
    assert (folder / "a").exists()


def test_two_tries_of_one_publish_at_once_leave_the_file(tmp_path, monkeypatch):
    files = [(str(tmp_path / "hidden"), str(tmp_path / "final"))]
    (tmp_path / "final").write_text("of before")
    (tmp_path / "hidden").write_text("rows")
    exists, others = FileSystems.exists, [files]

    def exists_until_the_other_try_is_done(name):
        found = exists(name)
        while others:
            put_in_place(others.pop())
        return found

    monkeypatch.setattr(FileSystems, "exists", exists_until_the_other_try_is_done)
    put_in_place(files)
    put_in_place(files)
    assert (tmp_path / "final").read_text() == "rows"


def test_a_final_name_is_never_without_a_file(tmp_path, monkeypatch):
    (tmp_path / "final").write_text("of before")
    (tmp_path / "hidden").write_text("rows")
    seen = []
    replace, unlink = pathlib.Path.replace, pathlib.Path.unlink
    monkeypatch.setattr(
        pathlib.Path, "replace", lambda *to: (seen.append((tmp_path / "final").read_text()),
                                              replace(*to)))  # fmt: skip
    monkeypatch.setattr(
        pathlib.Path, "unlink", lambda path, **how: (seen.append("deleted"), unlink(path, **how)))
    put_in_place([(str(tmp_path / "hidden"), str(tmp_path / "final"))])
    assert seen == ["of before"]


def test_a_file_that_is_nowhere_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="gone"):
        put_in_place([(str(tmp_path / "gone"), str(tmp_path / "final"))])


_WINDOW = IntervalWindow(0, 10)
_PANE = PaneInfo(is_first=True, is_last=True, timing=PaneInfoTiming.ON_TIME, index=0,
                 nonspeculative_index=0)  # fmt: skip


def _publish_letters(folder, ids, run="run", window=_WINDOW):
    """Publishes what was written of a window; gives what its files hold."""
    hidden = f"{folder}/.letters-run"
    publish = _PublishFn(
        str(folder), "letters", ".jsonl", f"{folder}/.letters-{run}", f"-{run}", is_whole=False,
    )
    list(publish.process(("", [(f"{hidden}-{one * 32}", 0) for one in ids]), window, _PANE))
    return sorted(path.read_text() for path in folder.iterdir() if path.name[0] != ".")


def test_a_window_that_is_published_again_has_what_was_written_the_second_time(tmp_path):
    # As after a checkpoint: b comes from before it, what c held was written anew to a.
    for one, held in {"b": "from before", "c": "tried"}.items():
        (tmp_path / f".letters-run-{one * 32}").write_text(held)
    assert _publish_letters(tmp_path, "bc") == ["from before", "tried"]
    (tmp_path / f".letters-run-{'a' * 32}").write_text("done")
    assert _publish_letters(tmp_path, "ab") == ["done", "from before"]
    assert _publish_letters(tmp_path, "ab") == ["done", "from before"]


def test_a_window_that_fires_with_nothing_keeps_its_files(tmp_path):
    (tmp_path / f".letters-run-{'b' * 32}").write_text("told")
    assert _publish_letters(tmp_path, "b") == ["told"]
    assert _publish_letters(tmp_path, "") == ["told"]


def test_a_job_that_is_updated_publishes_what_the_one_before_it_wrote(tmp_path):
    (tmp_path / f".letters-run-{'b' * 32}").write_text("before the update")
    assert _publish_letters(tmp_path, "b", run="other") == ["before the update"]
    assert [path.name[-42:] for path in tmp_path.iterdir()] == [f"other-{'b' * 32}.jsonl"[-42:]]


def test_panes_of_the_global_window_do_not_take_each_others_dead_letters(tmp_path):
    for one in "ab":
        (tmp_path / f".letters-run-{one * 32}").write_text(one)
    assert _publish_letters(tmp_path, "a", window=GlobalWindow()) == ["a"]
    assert (tmp_path / f".letters-run-{'b' * 32}").read_text() == "b"


def test_a_wide_layout_goes_through(tmp_path):
    bands = [batch([1.0], [2.0], of=record(), band=band, value=[7.0]) for band in ("B1", "B2")]
    _write(tmp_path, bands, layout="wide", bands=("B1", "B2"))
    (row,) = pq.read_table(tmp_path).to_pylist()
    assert (row["B1"], row["B2"], row["status"]) == (7.0, 7.0, "OK")


@pytest.mark.parametrize("how", [
    {"layout": "wide", "bands": ("B1",)}, {"output_format": "geoparquet"},
])  # fmt: skip
def test_a_column_that_the_output_gives_is_refused_with_the_first_row(tmp_path, how):
    columns = pa.record_batch({name: [1] for name in ("B1", "geometry")})
    rows = batch([1.0], [2.0], of=record(), columns=columns)
    with pytest.raises(OptionError, match="rename them in the input"):
        _write(tmp_path, [rows], **how)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_laid_out_is_refused_when_built():
    with pytest.raises(OptionError, match="needs the bands"):
        WriteSamples(folder="x", layout="wide")
    with pytest.raises(OptionError, match="output_format"):
        WriteSamples(folder="x", output_format="xlsx")
    with pytest.raises(OptionError, match=r"Bands \['status'\]"):
        WriteSamples(folder="x", layout="wide", bands=("B1", "status"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_to_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match=r"samples.*cannot be written: .*[Pp]ermission"):
        _write(tmp_path / "samples", _batches())


def test_a_folder_that_cannot_be_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file/samples.*: the output cannot be written"):
        _write(tmp_path / "file" / "samples", _batches())


def test_dead_letters_that_cannot_be_written_are_an_error_too(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"), beam.Pipeline("FnApiRunner") as p:
        _ = (
            p
            | beam.Create([DeadLetter("{}", "why", "", "Stage", "CODE")])
            | WriteDeadLetters(folder=str(tmp_path / "file" / "letters"))
        )


def _write_on_a_full_disk(folder):
    """No file may grow beyond some kilobytes: to a program that is a disk that is full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    try:
        _write(folder, _batches(20_000))
    except OutputError as error:
        print(error)
        return 0
    return 1


def test_a_full_disk_leaves_no_file_and_what_was_there_before(tmp_path):
    _write(tmp_path, _batches(5))
    before = (tmp_path / "samples-00000-of-00001.parquet").read_bytes()
    code = (
        "import pathlib, sys; sys.path[:0] = sys.argv[2:];"
        "import test_write_samples as t;"
        "sys.exit(t._write_on_a_full_disk(pathlib.Path(sys.argv[1])))"
    )
    here = pathlib.Path(__file__).parent
    done = subprocess.run(  # noqa: S603 -- this interpreter, on this file
        [sys.executable, "-c", code, str(tmp_path), str(here), str(here.parent)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "the output cannot be written" in done.stdout
    assert "File too large" in done.stdout
    assert _names(tmp_path) == ["samples-00000-of-00001.parquet"]
    assert (tmp_path / "samples-00000-of-00001.parquet").read_bytes() == before
    _write(tmp_path, _batches(5))
    assert _manifest(tmp_path)["rows"] == 15


def test_user_columns_keep_one_type_over_all_files(tmp_path, monkeypatch):
    monkeypatch.setattr("rasteret_beam.output.layouts.FILE_ROWS", 5)
    rows = [
        batch([10.0 * n], [0.0], of=record(), index=[n], columns=pa.record_batch({
            "note": pa.array(["text"]) if n == 3 else pa.nulls(1),
        })) for n in range(9)
    ]  # fmt: skip
    _write(tmp_path, rows)
    schemas = [pq.read_schema(path) for path in tmp_path.glob("*.parquet")]
    assert len(schemas) == 2
    assert {schema.field("note").type for schema in schemas} == {pa.string()}
