"""The sampling commands with tables where files would be."""

import io
import json
import os
import pathlib
import subprocess
import sys

import grpc
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bigquery_server import PROJECT, BigQueryServer
from gcs import serving_bucket
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from google.cloud.bigquery_storage import BigQueryReadClient
from google.cloud.bigquery_storage_v1.services.big_query_read.transports import (
    BigQueryReadGrpcTransport,
)
from scenes import Scene, centre, grid_points, make_collection, ramp

from rasteret_beam.transforms import _bigquery_clients

SCENE = Scene(name="s2_20240512", pixels=ramp(48, 48, bands=2), nodata="0")
PIPELINE = pathlib.Path(__file__).resolve().parents[2] / "pipelines" / "sample_points.py"
VALUES = [102.0, 2030.0, 4747.0, 10102.0, 12030.0, 14747.0]
TABLE = f"bq://{PROJECT}.samples.april"
STREAM = """
import json, sys
import apache_beam as beam
from dataflow import script
from rasteret_beam.runners import launch
from streams import played
job = script("sample_points_streaming")
options = launch.parse(sys.argv[2:], job.SamplePointsStreamingOptions)
steps = [(at, data.encode()) if data else at for at, data in json.loads(sys.argv[1])]
with beam.Pipeline(options=options) as pipeline:
    messages = pipeline | played(*steps)
    job.sample_messages(messages, options.view_as(job.SamplePointsStreamingOptions))
"""
"""Runs the streaming command over messages and watermarks that are given to it."""


@pytest.fixture
def server():
    found = BigQueryServer()
    yield found
    found.close()


@pytest.fixture
def place(tmp_path):
    points = pa.table(grid_points(SCENE, [(1, 2), (20, 30), (47, 47)]) | {"plot.id": [1, 2, 3]})
    pq.write_table(points, tmp_path / "points.parquet")
    return tmp_path


def _flags(place, **more):
    flags = {
        "collection": make_collection(place, [SCENE]), "points": place / "points.parquet",
        "bands": "B1,B2", "output": place / "samples", "points_crs": "EPSG:32631", **more,
    }  # fmt: skip
    return [f"--{name}={value}" for name, value in flags.items() if value]


@pytest.fixture
def bucket(place, server):
    """Runs a command where BigQuery finds what is in the bucket, which is empty at its end."""
    with serving_bucket(place) as environment:
        client = storage.Client(
            PROJECT, credentials=AnonymousCredentials(),
            client_options={"api_endpoint": environment["STORAGE_EMULATOR_HOST"]},
        )  # fmt: skip
        server.tables.open = lambda uri: io.BytesIO(
            client.bucket("my-bucket").blob(uri.split("/", 3)[3]).download_as_bytes(),
        )

        def run(*command):
            done = subprocess.run(  # noqa: S603 -- our own pipeline
                [sys.executable, *map(str, command)], capture_output=True, text=True, check=False,
                env={**os.environ, **environment, "BIGQUERY_EMULATOR_HOST": server.address,
                     "PYTHONPATH": os.pathsep.join(sys.path)},
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            return [blob.name for blob in client.list_blobs("my-bucket")]

        yield run


def test_samples_of_a_job_reach_a_table_by_way_of_a_bucket(place, server, bucket):
    flags = _flags(
        place, output=TABLE, temp_location="gs://my-bucket/temp", layout="wide",
        partition="month", dead_letters=place / "letters",
    )  # fmt: skip
    assert bucket(PIPELINE, *flags) == []
    rows = server.tables.tables["samples.april"]["rows"]
    assert sorted(row[band] for row in rows for band in ("B1", "B2")) == VALUES
    assert sorted(row["plot_id"] for row in rows) == [1, 2, 3]
    (job,) = server.tables.jobs.values()
    (uri,) = job["configuration"]["load"]["sourceUris"]
    assert uri.startswith("gs://my-bucket/temp/rasteret-beam-")
    assert uri.endswith("/samples-00000-of-00001.parquet")


def test_samples_of_a_stream_reach_a_table_window_by_window(place, server, bucket):
    spots = [(1, (1, 2)), (2, (20, 30)), (61, (47, 47))]
    steps = [[at, json.dumps(dict(zip("xy", centre(SCENE, *spot), strict=True)))]
             for at, spot in spots]  # fmt: skip
    steps = [*steps[:2], [60, None], steps[2], [120, None]]
    flags = _flags(
        place, points=None, output=None, output_table=TABLE, temp_location="gs://my-bucket/temp",
        partition="month", cluster_fields="geog", refresh_seconds="0", runner="DirectRunner",
    )  # fmt: skip
    left = bucket("-c", STREAM, json.dumps(steps), *flags)
    assert [name.rsplit("/", 2)[1] for name in left] == ["_run", "_run"]
    rows = server.tables.tables["samples.april"]["rows"]
    assert sorted(row["value"] for row in rows) == VALUES
    loads = [job["configuration"]["load"] for job in server.tables.jobs.values()]
    assert [load["writeDisposition"] for load in loads] == ["WRITE_APPEND"] * 2
    assert [load["timePartitioning"]["type"] for load in loads] == ["MONTH"] * 2
    assert [load["clustering"]["fields"] for load in loads] == [["geog"]] * 2


def test_points_of_a_table_are_sampled(place, server, sample, monkeypatch):
    channel = grpc.insecure_channel(server.target)
    client = BigQueryReadClient(transport=BigQueryReadGrpcTransport(channel=channel))
    monkeypatch.setattr(_bigquery_clients, "read_client", lambda: client)
    table = pq.read_table(place / "points.parquet").rename_columns(["x", "y", "plot"])
    server.tables.tables["samples.plots"] = {"arrow": table, "created": 0, "shape": {}}
    points = f"bq://{PROJECT}.samples.plots"
    assert sample(*_flags(place, points=points, index_field="plot")) == 0
    rows = pq.read_table(place / "samples").to_pylist()
    assert sorted(row["value"] for row in rows) == VALUES
    assert {row["point_index"] for row in rows} == {1, 2, 3}
    channel.close()


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"output": TABLE}, "--temp_location"),
        ({"output": "bq://samples.april"}, "bq://project.dataset.table"),
        ({"output": TABLE, "mode": "resume"}, "--mode"),
        ({"output": TABLE, "plan_only": "true"}, "--plan_only"),
        ({"output": TABLE, "output_format": "csv"}, "--output_format"),
        ({"output": TABLE, "write_disposition": "merge"}, "truncate, append, empty"),
        ({"points_query": "SELECT 1"}, "--points_query"),
        ({"points": None, "points_query": "SELECT 1"}, "project"),
        ({"index_field": "plot"}, "--index_field"),
        ({"points": None}, "--points"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_flags_that_do_not_go_together_are_refused(place, sample, capsys, flags, told):
    bucket = {} if told == "--temp_location" else {"temp_location": "gs://my-bucket/temp"}
    assert sample(*_flags(place, **{**bucket, **flags})) == 2
    assert told in capsys.readouterr().err
