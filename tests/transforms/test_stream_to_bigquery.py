"""Samples without an end into a table: a load a window, once, whatever is done again."""

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.trigger import AccumulationMode, AfterCount, Repeatedly
from apache_beam.transforms.window import (
    FixedWindows,
    GlobalWindows,
    Sessions,
    SlidingWindows,
    TimestampedValue,
)
from bigquery_server import DATASET, PROJECT, asked_by_our_clients
from collecting import collect
from sample_rows import batch, record
from streams import LOCAL, played, prism, without_run

from rasteret_beam import IntoWindows, OptionError, WriteSamples, WriteSamplesToBigQuery
from rasteret_beam.bigquery import Load, TableName
from rasteret_beam.elements import SampleBatch
from rasteret_beam.errors import OutputError
from rasteret_beam.output import layouts
from rasteret_beam.transforms import _bigquery_jobs
from rasteret_beam.transforms._output_files import listed_files, manifest_of
from rasteret_beam.transforms.write_samples_to_bigquery import _clean, _LoadFn

TABLE = TableName(PROJECT, DATASET, "april")
KEY = f"{DATASET}.april"
LOAD = Load(table=TABLE, write_disposition="append", partition="month")
MINUTES = FixedWindows(60)


@pytest.fixture
def server(monkeypatch):
    with asked_by_our_clients(monkeypatch) as found:
        yield found.tables


@pytest.fixture
def waits(monkeypatch):
    """How long it was waited between tries; nobody does."""
    found = []
    monkeypatch.setattr(_bigquery_jobs.time, "sleep", found.append)
    return found


def _batch(number):
    return batch([1.0, 2.0], [4.0, 5.0], index=[number, number + 100], of=record())


def _samples(pipeline, numbers=(1, 2, 61)):
    """Batches of rows: that of number 61 in the second minute."""
    return (
        pipeline
        | beam.Create([TimestampedValue(number, number) for number in numbers])
        | "Batches" >> beam.Map(_batch).with_output_types(SampleBatch)
    )


def _write(folder, load=LOAD):
    return WriteSamplesToBigQuery(load=load, temp_folder=str(folder))


def _run(folder):
    with beam.Pipeline("FnApiRunner") as pipeline:
        tables = collect(_samples(pipeline) | beam.WindowInto(MINUTES) | _write(folder))
    return list(tables)


def _indexes(server):
    return sorted(row["point_index"] for row in server.tables[KEY]["rows"])


def _loaded(server):
    """The files of each load that was done, by their windows and panes."""
    done = (job for job in server.jobs.values() if "errorResult" not in job["status"])
    uris = [job["configuration"]["load"]["sourceUris"] for job in done]
    return sorted(
        tuple(without_run(uri.rsplit("/", 1)[1].rsplit("-", 3)[0]) for uri in each)
        for each in uris
    )


def _left(folder):
    return [path.name for path in folder.rglob("*") if path.suffix in (".parquet", ".part")]


FIRST = "samples-1970-01-01T00.00.00Z-1970-01-01T00.01.00Z"
SECOND = "samples-1970-01-01T00.01.00Z-1970-01-01T00.02.00Z"


def test_each_window_of_a_stream_is_one_load_and_its_files_go(tmp_path, server):
    with beam.Pipeline(options=LOCAL) as pipeline:
        stream = pipeline | played((1, 1), (2, 2), 60, (61, 61), 120)
        samples = stream | beam.Map(_batch).with_output_types(SampleBatch)
        tables = collect(samples | IntoWindows(seconds=60) | _write(tmp_path))
    assert _indexes(server) == [1, 2, 61, 101, 102, 161]
    assert _loaded(server) == [(FIRST,), (SECOND,)]
    assert list(tables) == [str(TABLE)] * 2
    assert _left(tmp_path) == []


def test_late_points_are_a_load_of_their_own(tmp_path, server):
    with beam.Pipeline(options=PipelineOptions(prism())) as pipeline:
        stream = pipeline | played((1, 1), (2, 2), 70, (3, 3), (71, 71))
        samples = stream | beam.Map(_batch).with_output_types(SampleBatch)
        _ = samples | IntoWindows(seconds=60, allowed_lateness_seconds=600) | _write(tmp_path)
    assert _indexes(server) == [1, 2, 3, 71, 101, 102, 103, 171]
    assert _loaded(server) == [(FIRST,), (f"{FIRST}-pane-1",), (SECOND,)]
    assert _left(tmp_path) == []


def test_each_pane_is_a_load(tmp_path, server):
    panes = beam.WindowInto(
        GlobalWindows(), trigger=Repeatedly(AfterCount(1)),
        accumulation_mode=AccumulationMode.DISCARDING,
    )
    with beam.Pipeline(options=LOCAL) as pipeline:
        stream = pipeline | played((1, 1), 10, (11, 2), 20)
        samples = stream | beam.Map(_batch).with_output_types(SampleBatch)
        _ = samples | panes | _write(tmp_path)
    assert _indexes(server) == [1, 2, 101, 102]
    assert _loaded(server) == [("samples",), ("samples-pane-1",)]


def test_windows_of_points_with_an_end_are_loads_too(tmp_path, server):
    assert _run(tmp_path) == [str(TABLE)] * 2
    assert _indexes(server) == [1, 2, 61, 101, 102, 161]
    assert _loaded(server) == [(FIRST,), (SECOND,)]


def test_the_files_of_a_window_are_one_load(tmp_path, server, monkeypatch):
    monkeypatch.setattr(layouts, "FILE_ROWS", 2)
    _run(tmp_path)
    assert _indexes(server) == [1, 2, 61, 101, 102, 161]
    assert sorted(map(len, _loaded(server))) == [1, 2]
    assert _left(tmp_path) == []


@pytest.mark.parametrize("windows", [MINUTES, GlobalWindows()], ids=["windows", "whole"])
def test_steps_that_a_runner_runs_again_add_nothing(tmp_path, server, windows):
    with beam.Pipeline(FnApiRunner(bundle_repeat=2)) as pipeline:
        _ = _samples(pipeline) | beam.WindowInto(windows) | _write(tmp_path)
    assert _indexes(server) == [1, 2, 61, 101, 102, 161]
    assert len(server.jobs) == (1 if isinstance(windows, GlobalWindows) else 2)
    # Of a stream, the parts that first tries wrote stay.
    assert not any(name.endswith(".parquet") for name in _left(tmp_path))


def test_a_job_that_is_started_anew_adds_rows_that_look_the_same(tmp_path, server):
    _run(tmp_path)
    _run(tmp_path)
    assert _indexes(server) == sorted([1, 2, 61, 101, 102, 161] * 2)
    assert len(server.jobs) == 4


def test_a_window_without_rows_is_no_load_and_its_files_go(tmp_path, server):
    empty = SampleBatch(_batch(1).samples.slice(0, 0), "EPSG:4326")
    with beam.Pipeline("FnApiRunner") as pipeline:
        stream = pipeline | beam.Create([TimestampedValue(empty, 1)])
        samples = stream | beam.Map(lambda one: one).with_output_types(SampleBatch)
        tables = collect(samples | beam.WindowInto(MINUTES) | _write(tmp_path))
    assert (list(tables), server.jobs) == ([], {})
    assert _left(tmp_path) == []


def test_a_load_that_fails_is_told_in_bigquerys_words_and_files_stay(tmp_path, server, waits):
    server.failures += ["accessDenied"]
    with pytest.raises(OutputError, match=r"my-project\.samples\.april.*Try again"):
        _run(tmp_path)
    assert _left(tmp_path)
    assert waits == []


@pytest.mark.parametrize(("reason", "seconds"), [("backendError", 5), ("quotaExceeded", 600)])
def test_what_may_pass_is_waited_for(tmp_path, server, waits, reason, seconds):
    server.failures += [reason, reason]
    _run(tmp_path)
    assert _indexes(server) == [1, 2, 61, 101, 102, 161]
    assert waits == [seconds, 2 * seconds]


@pytest.fixture
def published(tmp_path):
    """The manifest of a window whose files wait to be loaded."""
    with beam.Pipeline("FnApiRunner") as pipeline:
        samples = _samples(pipeline, (1, 2)) | beam.WindowInto(MINUTES)
        names = collect(samples | WriteSamples(folder=str(tmp_path), output_format="bigquery"))
    (name,) = names
    return manifest_of(name)


def _load(manifest):
    (loaded,) = _LoadFn(LOAD, "long", None, PROJECT).process(manifest)
    return loaded


def test_a_load_that_is_done_again_adds_nothing(server, published):
    table, names = _load(published)
    assert (table, names) == (str(TABLE), [file.name for file in listed_files(published)])
    assert _load(published) == (table, names)
    assert _indexes(server) == [1, 2, 101, 102]
    assert len(server.jobs) == 1


def test_a_load_that_is_done_again_after_its_files_went_adds_nothing(tmp_path, server, published):
    assert list(_clean(_load(published), None)) == [str(TABLE)]
    assert _left(tmp_path) == []
    assert list(_clean(_load(published), None)) == [str(TABLE)]
    assert _indexes(server) == [1, 2, 101, 102]


def test_files_that_went_unloaded_are_an_error(tmp_path, server, published):
    for path in tmp_path.glob("*.parquet"):
        path.unlink()
    with pytest.raises(OutputError, match=r"my-project\.samples\.april"):
        _load(published)
    assert server.jobs == {}


def test_a_load_that_failed_a_thousand_times_goes_on_after_the_newest(server, published, waits):
    tried = []
    server.on_insert = tried.append
    server.failures += ["accessDenied"]
    with pytest.raises(OutputError, match="Try again"):
        _load(published)
    ((first, job),) = server.jobs.items()
    job_id = first.removesuffix("_0")
    for number in range(1, 1000):
        name = f"{job_id}_{number}"
        server.jobs[name] = {**job, "jobReference": {**job["jobReference"], "jobId": name}}
    _load(published)
    assert tried == [first, f"{job_id}_1000"]
    assert _indexes(server) == [1, 2, 101, 102]
    assert waits == []


@pytest.mark.usefixtures("server")
def test_a_dataset_that_is_not_there_is_told(tmp_path):
    nowhere = Load(table=TABLE._replace(dataset="nowhere"), write_disposition="append")
    pipeline = beam.Pipeline(options=LOCAL)
    stream = pipeline | played((1, 1)) | beam.Map(_batch).with_output_types(SampleBatch)
    _ = stream | IntoWindows(seconds=60) | _write(tmp_path, nowhere)
    with pytest.raises(OutputError, match=r"nowhere\.april.*Not found"):
        pipeline.run().wait_until_finish()


@pytest.mark.parametrize("disposition", ["truncate", "empty"])
def test_a_stream_takes_no_rows_away(tmp_path, disposition):
    load = Load(table=TABLE, write_disposition=disposition)
    samples = _samples(beam.Pipeline("FnApiRunner")) | beam.WindowInto(MINUTES)
    with pytest.raises(OptionError, match=f"'{disposition}'.*give 'append'"):
        _ = samples | _write(tmp_path, load)


@pytest.mark.parametrize("windows", [FixedWindows(30), SlidingWindows(600, 30)])
def test_windows_of_more_loads_than_a_day_takes_are_refused(tmp_path, windows):
    samples = _samples(beam.Pipeline("FnApiRunner")) | beam.WindowInto(windows)
    with pytest.raises(OptionError, match=r"30 s is 2880 a day.*1500.*BigQuery subscription"):
        _ = samples | _write(tmp_path)


@pytest.mark.parametrize("windows", [FixedWindows(60), SlidingWindows(600, 60), Sessions(1)])
def test_longer_windows_and_such_of_no_length_are_taken(tmp_path, windows):
    samples = _samples(beam.Pipeline("FnApiRunner")) | beam.WindowInto(windows)
    assert isinstance(samples | _write(tmp_path), beam.PCollection)
