"""The sampling command with tables where files would be."""

import io
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
from scenes import Scene, grid_points, make_collection, ramp

from rasteret_beam.transforms import _bigquery_clients

SCENE = Scene(name="s2_20240512", pixels=ramp(48, 48, bands=2), nodata="0")
PIPELINE = pathlib.Path(__file__).resolve().parents[2] / "pipelines" / "sample_points.py"
VALUES = [102.0, 2030.0, 4747.0, 10102.0, 12030.0, 14747.0]
TABLE = f"bq://{PROJECT}.samples.april"


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


def test_samples_of_a_job_reach_a_table_by_way_of_a_bucket(place, server):
    with serving_bucket(place) as environment:
        client = storage.Client(
            PROJECT, credentials=AnonymousCredentials(),
            client_options={"api_endpoint": environment["STORAGE_EMULATOR_HOST"]},
        )  # fmt: skip
        server.tables.open = lambda uri: io.BytesIO(
            client.bucket("my-bucket").blob(uri.split("/", 3)[3]).download_as_bytes(),
        )
        flags = _flags(
            place, output=TABLE, temp_location="gs://my-bucket/temp", layout="wide",
            partition="month", dead_letters=place / "letters",
        )  # fmt: skip
        done = subprocess.run(  # noqa: S603 -- our own pipeline
            [sys.executable, str(PIPELINE), *flags], capture_output=True, text=True, check=False,
            env={**os.environ, **environment, "BIGQUERY_EMULATOR_HOST": server.address},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert [blob.name for blob in client.list_blobs("my-bucket")] == []
    rows = server.tables.tables["samples.april"]["rows"]
    assert sorted(row[band] for row in rows for band in ("B1", "B2")) == VALUES
    assert sorted(row["plot_id"] for row in rows) == [1, 2, 3]
    (job,) = server.tables.jobs.values()
    (uri,) = job["configuration"]["load"]["sourceUris"]
    assert uri.startswith("gs://my-bucket/temp/rasteret-beam-")
    assert uri.endswith("/samples-00000-of-00001.parquet")


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
