"""Samples into a table, by Google's own client and a server of BigQuery's API."""

import pathlib

import apache_beam as beam
import pyarrow.parquet as pq
import pytest
from bigquery_server import DATASET, PROJECT, asked_by_our_clients
from sample_rows import batch, record

from rasteret_beam import WriteSamplesToBigQuery
from rasteret_beam.bigquery import Load, TableName, table_fields
from rasteret_beam.elements import SampleBatch
from rasteret_beam.errors import OptionError, OutputError
from rasteret_beam.transforms import _bigquery_jobs

TABLE = TableName(PROJECT, DATASET, "april")
KEY = f"{DATASET}.april"


@pytest.fixture
def server(monkeypatch):
    with asked_by_our_clients(monkeypatch) as found:
        yield found.tables


def _batches(first=0.0):
    return [
        batch([1.0, 2.0, 3.0], [4.0, 5.0, 6.0], of=record(n), band=band, value=[first, n, 9.0])
        for n in range(2) for band in ("B1", "B2")
    ]  # fmt: skip


def _write(folder, batches, disposition="truncate", **how):
    load = Load(table=TABLE, write_disposition=disposition, partition="month")
    with beam.Pipeline("FnApiRunner") as pipeline:
        _ = (
            pipeline
            | beam.Create(batches).with_output_types(SampleBatch)
            | WriteSamplesToBigQuery(load=load, temp_folder=str(folder), **how)
        )


def _values(server):
    rows = server.tables[KEY]["rows"]
    return sorted((r["point_index"], r["record_id"], r["band"], r["value"]) for r in rows)


def test_all_rows_are_loaded_by_one_job_and_the_files_are_gone(tmp_path, server):
    _write(tmp_path, _batches())
    assert len(_values(server)) == 12
    assert [point["geog"] is not None for point in server.tables[KEY]["rows"]] == [True] * 12
    (job,) = server.jobs.values()
    assert job["configuration"]["load"]["timePartitioning"]["type"] == "MONTH"
    assert job["configuration"]["load"]["clustering"]["fields"][0] == "record_id"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("layout", ["wide", "array"])
def test_a_row_a_point_and_record_in_the_other_layouts(tmp_path, server, layout):
    _write(tmp_path, _batches(), layout=layout, bands=("B1", "B2"))
    rows = server.tables[KEY]["rows"]
    found = sorted((row.get("B2"), *row.get("values", ())) for row in rows)
    of_array = [(None, v, v) for v in (0.0, 0.0, 0.0, 1.0, 9.0, 9.0)]
    assert found == (of_array if layout == "array" else [(v,) for _, v, _ in of_array])


def test_a_band_named_like_the_column_of_points_is_refused_when_built():
    load = Load(table=TableName("p", "d", "t"))
    with pytest.raises(OptionError, match=r"Bands \['Geog'\]"):
        WriteSamplesToBigQuery(load=load, temp_folder="x", layout="wide", bands=("Geog",))


def test_a_rerun_that_replaces_leaves_its_own_rows_only(tmp_path, server):
    _write(tmp_path, _batches(first=5.0))
    _write(tmp_path, _batches())
    assert len(_values(server)) == 12
    assert {value for *_, value in _values(server)} == {0.0, 1.0, 9.0}


def test_a_rerun_that_appends_doubles_nothing_and_other_rows_are_added(tmp_path, server):
    _write(tmp_path / "first", _batches(), "append")
    _write(tmp_path / "again", _batches()[::-1], "append")
    assert len(_values(server)) == 12
    _write(tmp_path / "more", _batches(first=5.0), "append")
    assert len(_values(server)) == 24


def test_rows_appended_to_a_table_that_was_deleted_since_come_back(tmp_path, server):
    _write(tmp_path, _batches(), "append")
    del server.tables[KEY]
    _write(tmp_path, _batches(), "append")
    assert len(_values(server)) == 12
    assert sorted(name[-2:] for name in server.jobs) == ["_0", "_1"]


def test_rows_appended_to_a_table_that_was_made_anew_come_back(tmp_path, server):
    _write(tmp_path, _batches(), "append")
    server.tables[KEY] |= {"rows": [], "created": server.tables[KEY]["created"] + 3600}
    _write(tmp_path, _batches(), "append")
    assert len(_values(server)) == 12


def test_a_table_with_rows_is_refused_where_an_empty_one_is_asked_for(tmp_path, server):
    _write(tmp_path, _batches(), "empty")
    with pytest.raises(OutputError, match="Already Exists"):
        _write(tmp_path, _batches(first=5.0), "empty")
    assert {value for *_, value in _values(server)} == {0.0, 1.0, 9.0}


@pytest.mark.parametrize("disposition", ["truncate", "append"])
def test_a_failure_that_may_pass_is_tried_again_and_loads_once(
    tmp_path, server, disposition, monkeypatch,
):
    monkeypatch.setattr(_bigquery_jobs.time, "sleep", lambda _: None)
    server.failures += ["backendError", "rateLimitExceeded"]
    _write(tmp_path, _batches(), disposition)
    assert len(_values(server)) == 12
    assert len(server.jobs) == 3


def test_a_failure_that_stays_is_told_and_the_files_are_kept(tmp_path, server):
    server.failures += ["accessDenied"]
    with pytest.raises(OutputError, match=r"my-project\.samples\.april.*Try again"):
        _write(tmp_path, _batches())
    assert len(server.jobs) == 1
    assert list(tmp_path.rglob("samples-*.parquet"))


def test_a_rerun_gets_past_a_job_that_failed_before(tmp_path, server):
    server.failures += ["accessDenied"]
    with pytest.raises(OutputError):
        _write(tmp_path, _batches(), "append")
    _write(tmp_path, _batches(), "append")
    assert len(_values(server)) == 12


@pytest.mark.parametrize("disposition", ["truncate", "append", "empty"])
def test_a_worker_that_is_lost_after_it_began_the_job_doubles_nothing(
    tmp_path, server, disposition,
):
    def insert_first(name):
        # As if another had asked for the job a moment before, with the same files.
        server.on_insert = lambda _: None
        load = Load(table=TABLE, write_disposition=disposition, partition="month")
        paths = [str(path) for path in pathlib.Path(tmp_path).rglob("samples-*.parquet")]
        fields = table_fields(pq.read_schema(paths[0]))
        job = {"jobReference": {"projectId": PROJECT, "jobId": name},
               "configuration": load.configuration(paths, fields, "long", None)}  # fmt: skip
        job["configuration"]["load"]["destinationTable"] = {
            "projectId": PROJECT, "datasetId": DATASET, "tableId": "april",
        }  # fmt: skip
        assert server.insert(job)

    server.on_insert = insert_first
    _write(tmp_path, _batches(), disposition)
    assert len(_values(server)) == 12
    assert len(server.jobs) == 1


@pytest.mark.usefixtures("server")
def test_a_dataset_that_is_not_there_is_told_before_anything_is_written(tmp_path):
    load = Load(table=TABLE._replace(dataset="nowhere"))
    pipeline = beam.Pipeline("FnApiRunner")
    samples = pipeline | beam.Create(_batches()).with_output_types(SampleBatch)
    _ = samples | WriteSamplesToBigQuery(load=load, temp_folder=str(tmp_path))
    with pytest.raises(OutputError, match=r"nowhere\.april.*Not found"):
        pipeline.run()
    assert list(tmp_path.rglob("*.parquet")) == []


def test_a_job_without_any_batch_leaves_the_table_as_it_was(tmp_path, server):
    _write(tmp_path, _batches())
    _write(tmp_path, [])
    assert len(_values(server)) == 12
