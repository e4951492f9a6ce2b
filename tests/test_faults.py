"""Whole jobs against servers that misbehave: right rows or a named dead letter, never neither."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import time
from typing import NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from collecting import collect, counters
from misbehaving import PERMANENT, TEMPORARY, dead_port, misbehaving
from scenes import Scene, file_item, index_table, write_scene

from rasteret_beam import BatchPoints, PointColumns, SampleOptions, SamplePoints, ToRows
from rasteret_beam.reporting import SAMPLE_IDENTITIES
from rasteret_beam.storage import RetryPolicy, Store

OPTIONS = SampleOptions(bands=("B1", "B2"), unmatched="emit")
FAST = RetryPolicy(
    attempts=4, first_wait_seconds=0.001, max_wait_seconds=0.02, timeout_seconds=0.5,
)
STORE = Store(allow_http=True, retries=FAST)
WORKERS = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")
TIMED = ("stall", "trickle", "slow_head")
FAILED = ("FETCH_ERROR", "DECODE_ERROR", "STALE_INDEX")


class Job(NamedTuple):
    """What a job gave."""

    rows: list[tuple]
    letters: list[dict]
    counts: dict[str, int]
    seconds: float


def _scene(name):
    random = np.random.default_rng(len(name))
    pixels = random.integers(1, 60_000, (2, 160, 160), np.uint16)
    return Scene(name=name, pixels=pixels, tile=(32, 32))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two scenes over the same ground."""
    folder = tmp_path_factory.mktemp("faults")
    paths = {name: write_scene(folder, _scene(name)) for name in ("a", "bb")}
    return {f"{name}.tif": pathlib.Path(path).read_bytes() for name, path in paths.items()}


@pytest.fixture
def server(files):
    with misbehaving() as server:
        server.files.update(files)
        yield server


def _collection(server, folder):
    """Indexes what is served, before it misbehaves; gives the collection's path."""
    choose, server.choose = server.choose, lambda *_: None
    items = [file_item(name[:-4], server.uri(name)) for name in sorted(server.files)]
    path = folder / "collection.parquet"
    pq.write_table(index_table(items, store=Store(allow_http=True)), path)
    server.choose = choose
    server.requests.clear()
    server.faults.clear()
    return str(path)


def _points():
    """Points on every other tile, so that none are read together; beside the scenes; and none."""
    random = np.random.default_rng(5)
    row, col = random.uniform(-1, 6, (2, 400))
    apart = (np.floor(row) + np.floor(col)) % 2 == 0
    row, col = row[apart], col[apart]
    x, y = 500_000 + col * 320, 4_600_000 - row * 320
    x[[3, 77]] = np.nan
    return [
        {"x": one, "y": other, "number": number}
        for number, (one, other) in enumerate(zip(x.tolist(), y.tolist(), strict=True))
    ]


def _job(collection, store=STORE, flags=(), folder=None):
    """Runs the job; its rows come by memory, or by files where workers are processes."""
    began = time.monotonic()
    options = PipelineOptions(["--runner=FnApiRunner", *flags])
    pipeline = beam.Pipeline(options=options)
    batches, _ = (
        pipeline
        | beam.Create(_points())
        | BatchPoints(columns=PointColumns(crs="EPSG:32631"), index_field="number")
    )
    job = SamplePoints(collection=collection, options=OPTIONS, store=store)
    sampled = batches | job
    rows = sampled.samples | ToRows() | "Told" >> beam.Map(
        lambda r: json.dumps([r.point_index, r.record_id or "", r.band or "", r.status, r.value]),
    )
    letters = sampled.dead_letters | "Letters" >> beam.Map(
        lambda letter: json.dumps({**json.loads(letter.element), "code": letter.code,
                                   "msg": letter.msg}),
    )  # fmt: skip
    if folder is None:
        found = [collect(rows), collect(letters)]
    else:
        for name, lines in (("rows", rows), ("letters", letters)):
            _ = lines | f"Write{name}" >> beam.io.WriteToText(str(folder / name))
    result = pipeline.run()
    result.wait_until_finish()
    if folder is not None:
        found = [
            [line for path in folder.glob(f"{name}-*") for line in path.read_text().splitlines()]
            for name in ("rows", "letters")
        ]
    told, broken = sorted(tuple(json.loads(line)) for line in found[0]), map(json.loads, found[1])
    return Job(told, list(broken), counters(result), time.monotonic() - began)


@pytest.fixture(scope="module")
def clean(files, tmp_path_factory):
    """The job against the same files, well served."""
    with misbehaving() as server:
        server.files.update(files)
        job = _job(_collection(server, tmp_path_factory.mktemp("clean")))
        assert server.requests.total() == job.counts["requests"]
    assert job.letters == []
    assert job.counts["requests"] > 40
    return job


def _check(job, clean):
    """Nothing is lost, doubled, or wrong; what is missing is named."""
    for identity in SAMPLE_IDENTITIES:
        assert identity.holds(job.counts), identity.told(job.counts)
    assert job.counts["points_read"] == len(_points())
    keys = [row[:3] for row in job.rows]
    assert keys == [row[:3] for row in clean.rows]
    assert len(set(keys)) == len(keys)
    right = dict(zip(keys, clean.rows, strict=True))
    bad = [row for row in job.rows if row != right[row[:3]]]
    assert all(row[3] in FAILED and row[4] is None for row in bad)
    named = {(letter["record_id"], letter["code"]) for letter in job.letters}
    assert {(row[1], row[3]) for row in bad} == named
    assert len(job.letters) == job.counts.get("tiles_failed", 0)


@pytest.mark.parametrize("fault", [*TEMPORARY, "redirect", "whole"])
def test_a_fault_that_passes_changes_no_row(server, clean, tmp_path, fault):
    server.once(fault) if fault in TEMPORARY else server.always(fault)
    job = _job(_collection(server, tmp_path))
    assert server.faults[fault] > 10
    assert (job.rows, job.letters) == (clean.rows, [])
    _check(job, clean)
    assert job.counts["requests"] == clean.counts["requests"]
    retried = server.requests.total() - job.counts["requests"]
    if fault in TEMPORARY:
        # A slow machine may time out once more; nothing is asked for twice in vain.
        assert job.counts["requests_retried"] >= server.faults[fault]
        assert retried <= job.counts["requests_retried"]
    assert job.seconds < 60


@pytest.mark.parametrize("fault", ["busy", "busy_with_seconds", "busy_with_date", "reset"])
def test_a_fifth_of_bad_answers_changes_no_row(server, clean, tmp_path, fault):
    server.sometimes(fault, 0.2)
    store = Store(allow_http=True, retries=RetryPolicy(
        attempts=12, first_wait_seconds=0.001, max_wait_seconds=0.02, timeout_seconds=5,
    ))  # fmt: skip
    job = _job(_collection(server, tmp_path), store)
    assert server.faults[fault] > 0
    assert (job.rows, job.letters) == (clean.rows, [])
    assert job.counts["requests_retried"] == server.faults[fault]
    assert server.requests.total() == job.counts["requests"] + server.faults[fault]


@pytest.mark.parametrize("fault", [*TEMPORARY, *PERMANENT, "garbage"])
def test_a_file_whose_fault_stays_costs_its_own_rows_alone(server, clean, tmp_path, fault):
    server.only(fault, "bb.tif")
    # Where no fault takes time, no slow machine may look like one.
    retries = FAST if fault in TIMED else dataclasses.replace(FAST, timeout_seconds=30.0)
    job = _job(_collection(server, tmp_path), Store(allow_http=True, retries=retries))
    _check(job, clean)
    assert {letter["record_id"] for letter in job.letters} == {"bb"}
    code = "DECODE_ERROR" if fault == "garbage" else "FETCH_ERROR"
    assert {letter["code"] for letter in job.letters} == {code}
    assert {row[1] for row in job.rows if row[3] in FAILED} == {"bb"}
    asked = {name: server.count(f"{name}.tif") for name in ("a", "bb")}
    planned = job.counts["requests"] / 2
    assert asked["a"] <= planned * 1.2
    hops = {"loop": 6}.get(fault, 1)
    assert asked["bb"] <= planned * (FAST.attempts if fault in TEMPORARY else hops)
    assert job.seconds < 60


def test_a_dead_host_is_named_and_costs_bounded_time(server, clean, tmp_path):
    collection = _collection(server, tmp_path)
    dead = dead_port()
    table = pq.read_table(collection)
    rows = table.to_pylist()
    for asset in rows[1]["assets"].values():
        asset["href"] = f"{dead}/bb.tif"
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), collection)
    job = _job(collection)
    _check(job, clean)
    assert {letter["href"] for letter in job.letters} == {f"{dead}/bb.tif"}
    assert job.seconds < 30


@pytest.mark.parametrize("change", ["size", "etag"])
def test_a_file_that_changed_since_it_was_indexed_is_stale(server, clean, tmp_path, change):
    collection = _collection(server, tmp_path)
    if change == "size":
        server.files["bb.tif"] += bytes(100)
    else:
        server.etag = '"fake-2"'
    job = _job(collection)
    _check(job, clean)
    assert {letter["code"] for letter in job.letters} == {"STALE_INDEX"}
    stale = {"bb"} if change == "size" else {"a", "bb"}
    assert {letter["record_id"] for letter in job.letters} == stale
    assert "--mode update" in job.letters[0]["msg"]
    assert server.requests.total() == job.counts["requests"]


def test_a_mirror_that_changes_etags_is_read_where_sizes_are_enough(server, clean, tmp_path):
    collection = _collection(server, tmp_path)
    server.etag = '"fake-2"'
    job = _job(collection, Store(allow_http=True, retries=FAST, freshness="size"))
    assert (job.rows, job.letters) == (clean.rows, [])


def test_a_collection_from_elsewhere_makes_no_worker_read_local_files(server, files, tmp_path):
    collection = _collection(server, tmp_path)
    local = tmp_path / "a.tif"
    local.write_bytes(files["a.tif"])
    table = pq.read_table(collection)
    rows = table.to_pylist()
    for row, href in zip(rows, (str(local), "http://169.254.169.254/bb.tif"), strict=True):
        for asset in row["assets"].values():
            asset["href"] = href
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), collection)
    server.files["collection.parquet"] = pathlib.Path(collection).read_bytes()
    remote = _job(server.uri("collection.parquet"))
    assert all(row[4] is None for row in remote.rows)
    told = {letter["record_id"]: letter["msg"] for letter in remote.letters}
    assert "a local file, named by content" in told["a"]
    assert "169.254.169.254 is a metadata service" in told["bb"]
    here = _job(collection, Store(allow_http=True, retries=FAST, freshness="none"))
    assert {letter["record_id"] for letter in here.letters} == {"bb"}


def test_no_dead_letter_tells_a_secret(server, tmp_path):
    collection = _collection(server, tmp_path)
    table = pq.read_table(collection)
    rows = table.to_pylist()
    for row in rows:
        for asset in row["assets"].values():
            asset["href"] = asset["href"].replace("http://", "http://me:s3cret@") + "?sig=s3cret"
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), collection)
    server.always("busy")
    job = _job(collection)
    assert job.letters
    assert "s3cret" not in json.dumps(job.letters)


@pytest.mark.parametrize("fault", ["busy", "reset"])
def test_worker_processes_meet_faults_as_one_process_does(server, clean, tmp_path, fault):
    server.once(fault)
    job = _job(_collection(server, tmp_path), flags=WORKERS, folder=tmp_path)
    assert (job.rows, job.letters) == (clean.rows, [])
    _check(job, clean)
    assert job.counts["requests_retried"] >= server.faults[fault] > 0


def test_worker_processes_name_what_they_cannot_read(server, clean, tmp_path):
    server.only("truncated", "bb.tif")
    job = _job(_collection(server, tmp_path), flags=WORKERS, folder=tmp_path)
    _check(job, clean)
    assert {letter["code"] for letter in job.letters} == {"FETCH_ERROR"}
