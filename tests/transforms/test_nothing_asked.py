"""To import, to construct and to wire asks nobody: a launcher may have no account at all."""

import socket
import subprocess
import sys

import apache_beam as beam
import google.auth
import pytest

import rasteret_beam as rb
from rasteret_beam.storage import Account, PlanetaryComputer, accounts

STORE = rb.Store(
    account=Account(billing_project="p", s3_requester_pays=True), signer=PlanetaryComputer(),
)
OPTIONS = rb.SampleOptions(bands=("B1",))
QUERY = rb.CollectionQuery("gs://bucket/c", ("B1",), rb.Filters(), None, STORE)
_HOOKED = """
import sys
def refuse(event, _arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        raise RuntimeError(event)
sys.addaudithook(refuse)
import rasteret_beam
import rasteret_beam.companion, rasteret_beam.runners.launch, rasteret_beam.storage.signing
"""


@pytest.fixture
def asked(monkeypatch):
    """What was asked for on the way: credentials, clients, names of hosts, connections."""
    found = []

    def refuse(name):
        def noted(*_arguments, **_options):
            found.append(name)
            raise OSError(name)

        return noted

    monkeypatch.setattr(google.auth, "default", refuse("credentials"))
    monkeypatch.setattr(accounts, "_opened", refuse("client"))
    monkeypatch.setattr(socket, "getaddrinfo", refuse("name"))
    monkeypatch.setattr(socket.socket, "connect", refuse("connection"))
    accounts._google.cache_clear()
    return found


def test_to_import_asks_nobody():
    subprocess.run([sys.executable, "-c", _HOOKED], check=True)  # noqa: S603 -- our own text


@pytest.mark.parametrize("join", ["broadcast", "partitioned"])
def test_to_wire_a_sampling_job_asks_nobody(asked, join):
    pipeline = beam.Pipeline("FnApiRunner")
    read = pipeline | rb.ReadPoints(pattern="gs://bucket/*.parquet", store=STORE)
    earlier = pipeline | rb.ReadEarlierRun(folder="gs://bucket/s", job="j")
    sampled = read.points | rb.SamplePoints(
        collection="gs://bucket/c", options=OPTIONS, store=STORE, join=join,
        replay="gs://bucket/letters", earlier=earlier,
    )  # fmt: skip
    _ = sampled.samples | rb.WriteSamples(folder="gs://bucket/s", kept=sampled.kept, job="j")
    _ = sampled.dead_letters | rb.WriteDeadLetters(folder="s3://bucket/letters")
    assert asked == []


@pytest.mark.parametrize("mode", ["replace", "update"])
@pytest.mark.parametrize(
    "source",
    [
        rb.FileSource(inputs="gs://bucket/*.tif"),
        rb.StacFiles(inputs="s3://bucket/items/*.json", reading=rb.StacReading()),
        rb.RecordTable(table="s3://bucket/t.parquet", reading=rb.StacReading()),
        rb.StacSearch(url="https://h.invalid", collections=("c",), reading=rb.StacReading()),
    ],
)
def test_to_wire_an_indexing_job_asks_nobody(asked, source, mode):
    pipeline = beam.Pipeline("FnApiRunner")
    _ = pipeline | rb.BuildCollection(source=source, folder="gs://b/c", mode=mode, store=STORE)
    assert asked == []


def test_to_wire_the_other_transforms_asks_nobody(asked):
    pipeline = beam.Pipeline("FnApiRunner")
    read = pipeline | "ReadCollection" >> rb.ReadCollection(query=QUERY)
    points = pipeline | rb.ReadPoints(pattern="gs://bucket/*.parquet", store=STORE)
    planned = points.points | rb.PlanTiles(records=read.records, options=OPTIONS)
    _ = planned | rb.SummarizePlan() | rb.WritePlan(folder="gs://bucket/plan")
    _ = pipeline | rb.ExportCollection(collection="gs://b/c", folder="gs://b/d", store=STORE)
    _ = pipeline | rb.ReadDeadLetters(folder="gs://bucket/letters", bands=("B1",), store=STORE)
    assert asked == []


def test_a_job_is_wired_though_its_collection_cannot_be_looked_at(asked):
    pipeline = beam.Pipeline("FnApiRunner")
    read = pipeline | rb.ReadPoints(pattern="gs://bucket/*.parquet")
    sampled = read.points | rb.SamplePoints(collection="gs://bucket/c", options=OPTIONS)
    assert isinstance(sampled.samples, beam.PCollection)
    assert set(asked) == {"client"}
