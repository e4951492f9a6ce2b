"""A collection that changes while points arrive: new scenes are seen, broken states passed over."""

import concurrent.futures
import datetime as dt
import functools
import pathlib
import threading

import apache_beam as beam
import obstore
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.window import FixedWindows
from collecting import collect, counters
from scenes import Scene, centre, file_item, index_table, ramp, write_scene
from streams import played, prism

from rasteret_beam import (
    BatchPoints,
    CollectionError,
    CollectionQuery,
    FetchTiles,
    PlanTilesOfNewest,
    PointColumns,
    SampleNearest,
    SampleOptions,
    SamplePoints,
    Store,
    ToRows,
    WatchCollection,
)
from rasteret_beam.collection.records import read_fragment
from rasteret_beam.collection.refreshing import (
    Newest,
    collection_digest,
    query_digest,
    read_snapshot,
)
from rasteret_beam.errors import OptionError
from rasteret_beam.storage import buckets

OPTIONS = SampleOptions(bands=("B1",), match="latest")
POINT = dict(zip(("x", "y"), centre(Scene(name="", pixels=ramp(16, 16)), 1, 2), strict=True))


def _add_scene(folder, name, day, offset):
    """Indexes one more scene into a collection of several files."""
    pathlib.Path(folder).mkdir(exist_ok=True)
    scene = Scene(name=name, pixels=ramp(16, 16) + offset)
    path = write_scene(pathlib.Path(folder).parent, scene)
    when = dt.datetime(2024, 1, day, tzinfo=dt.timezone.utc)
    pq.write_table(index_table([file_item(name, path, None, when)]), f"{folder}/{name}.parquet")


@pytest.fixture
def folder(tmp_path):
    _add_scene(tmp_path / "c", "old", 1, 0)
    return str(tmp_path / "c")


def _query(folder):
    return CollectionQuery(folder, ("B1",))


def _grow(row, folder):
    if row.pop("grow", False):
        _add_scene(folder, "new", 2, 1000)
    return row


def test_a_new_scene_is_seen_without_a_restart(folder):
    steps = [(1, POINT), 5, (6, {**POINT, "grow": True}), 10, (11, POINT), 15]
    with beam.Pipeline(options=PipelineOptions(prism())) as pipeline:
        rows = pipeline | played(*steps) | "Grow" >> beam.Map(_grow, folder)
        windowed = rows | beam.WindowInto(FixedWindows(5))
        points, _ = windowed | BatchPoints(columns=PointColumns(crs="EPSG:32631"))
        planned = points | PlanTilesOfNewest(
            query=_query(folder), options=OPTIONS, refresh_seconds=1e-6,
        )
        fetched = planned | FetchTiles(store=Store().guarded(folder))
        rows = collect(
            fetched.tiles | SampleNearest(options=OPTIONS) | ToRows()
            | beam.Map(lambda row, time=beam.DoFn.TimestampParam:
                       (float(time), row.record_id, row.value)),
        )  # fmt: skip
    assert sorted(rows) == [(1.0, "old", 102.0), (6.0, "new", 1102.0), (11.0, "new", 1102.0)]


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def _newest(folder, seconds=10.0):
    clock, query = Clock(), _query(folder)
    newest = Newest(query, query_digest(query), seconds, clock)
    return newest, clock, lambda: [r.info.record_id for r in newest.records()[0].records]


def test_the_records_are_read_again_when_a_look_is_due_and_finds_a_change(folder):
    newest, clock, names = _newest(folder)
    first = newest.records()[0]
    _add_scene(folder, "new", 2, 0)
    clock.now = 9.9
    assert newest.records()[0] is first
    clock.now = 10.0
    assert names() == ["new", "old"]


def test_nothing_is_read_where_nothing_changed(folder):
    newest, clock, _ = _newest(folder)
    first = newest.records()[0]
    clock.now = 100.0
    assert newest.records()[0] is first


def test_a_look_at_a_bucket_is_one_listing_however_many_files_there_are(folder, monkeypatch):
    memory = obstore.store.MemoryStore()
    content = pathlib.Path(folder, "old.parquet").read_bytes()
    for number in range(9):
        obstore.put(memory, f"c/year=2024/{number}.parquet", content)
    monkeypatch.setattr(buckets, "open_client", lambda _: memory)
    monkeypatch.setattr(buckets, "head", lambda uri, _: None if uri == "s3://b/c" else 1 / 0)
    first = collection_digest(_query("s3://b/c"))
    obstore.put(memory, "c/_run/manifest.json", b"{}")
    assert collection_digest(_query("s3://b/c")) == first
    # As many bytes: what tells them apart is their ETag.
    obstore.put(memory, "c/year=2024/3.parquet", content)
    assert collection_digest(_query("s3://b/c")) != first


def test_a_collection_that_breaks_leaves_the_old_records_until_it_is_mended(folder):
    newest, clock, names = _newest(folder)
    first = newest.records()[0]
    broken = pathlib.Path(folder) / "z.parquet"
    broken.write_bytes(b"no Parquet")
    clock.now = 10.0
    snapshot, failure = newest.records()
    assert snapshot is first
    assert isinstance(failure, CollectionError)
    assert newest.records()[1] is None
    broken.unlink()
    _add_scene(folder, "new", 2, 0)
    clock.now = 20.0
    assert names() == ["new", "old"]


def _changing(monkeypatch, *changes):
    """While the records are read something happens, as long as there is a change left."""
    left, reads = list(changes), []

    def read(query, fragment):
        found = list(read_fragment(query, fragment))
        if fragment.number == 0:
            reads.append(fragment.uri)
            if left:
                left.pop(0)()
        return found

    monkeypatch.setattr("rasteret_beam.collection.refreshing.read_fragment", read)
    return reads


def test_a_collection_that_changes_while_it_is_read_is_read_again(folder, monkeypatch):
    reads = _changing(monkeypatch, lambda: _add_scene(folder, "new", 2, 0))
    _, clock, names = _newest(folder)
    assert (names(), len(reads)) == (["new", "old"], 2)
    clock.now = 10.0
    assert (names(), len(reads)) == (["new", "old"], 2)


def test_so_is_one_of_which_a_file_goes_while_it_is_read(folder, monkeypatch):
    _add_scene(folder, "z", 2, 0)
    reads = _changing(monkeypatch, pathlib.Path(folder, "z.parquet").unlink)
    _, _, names = _newest(folder)
    assert (names(), len(reads)) == (["old"], 2)


def test_a_collection_that_never_rests_is_taken_as_it_is(folder, monkeypatch):
    changes = [functools.partial(_add_scene, folder, f"z{n}", 2, 0) for n in range(9)]
    reads = _changing(monkeypatch, *changes)
    _, _, names = _newest(folder)
    assert (names(), len(reads)) == (["old", "z0", "z1"], 3)


def test_while_one_thread_looks_the_others_go_on(folder, monkeypatch):
    newest, clock, _ = _newest(folder)
    first = newest.records()[0]
    looking, go_on = threading.Event(), threading.Event()

    def slowly(_):
        looking.set()
        go_on.wait(5)
        return "new"

    monkeypatch.setattr("rasteret_beam.collection.refreshing.collection_digest", slowly)
    clock.now = 10.0
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        other = pool.submit(newest.records)
        looking.wait(5)
        assert newest.records() == (first, None)
        go_on.set()
        assert other.result(5)[0].digest == "new"


def _watched(folder, ticks):
    with beam.Pipeline("FnApiRunner") as pipeline:
        changed = pipeline | beam.Create(ticks, reshuffle=False)
        letters = collect(changed | WatchCollection(query=_query(folder)))
    return letters, counters(pipeline.result)


def test_ticks_without_a_change_read_nothing(folder):
    letters, counts = _watched(folder, ["a", "b", "c"])
    assert letters == []
    assert (counts["revisions_read"], counts["records_read"]) == (1, 1)


def test_a_look_that_fails_is_a_dead_letter_and_the_next_one_goes_on(folder, monkeypatch):
    looks = iter(["sound", "broken", "sound", "new"])
    module = "rasteret_beam.transforms.refresh_collection"
    monkeypatch.setattr(f"{module}.collection_digest", lambda _: next(looks))
    monkeypatch.setattr(f"{module}.read_snapshot", _read_unbroken)
    letters, counts = _watched(folder, list("abcd"))
    assert [(letter.stage, letter.code) for letter in letters] == [
        ("WatchCollection", "INVALID_COLLECTION"),
    ]
    assert counts["revisions_read"] == 2


def _read_unbroken(query, name, digest):
    if digest == "broken":
        msg = "half written"
        raise CollectionError(msg)
    return read_snapshot(query, name, digest)


def test_a_record_without_a_band_is_told_once_for_each_revision(folder):
    scene = Scene(name="two", pixels=ramp(16, 16), bands=("B2",))
    path = write_scene(pathlib.Path(folder).parent, scene)
    table = index_table([file_item("two", path, {"B2": 0})])
    both = pa.concat_tables(
        [pq.read_table(f"{folder}/old.parquet"), table], promote_options="default",
    )
    pq.write_table(both, f"{folder}/old.parquet")
    letters, counts = _watched(folder, ["a", "b"])
    assert [letter.code for letter in letters] == ["BAND_MISSING"]
    assert (counts["records_read"], counts["bands_missing"]) == (2, 1)


def test_the_first_look_must_find_a_collection(tmp_path):
    with pytest.raises(CollectionError, match="Parquet not found"):
        _watched(str(tmp_path / "nowhere"), ["a"])


def test_a_file_that_changes_within_its_size_is_another_revision(folder):
    path = pathlib.Path(folder) / "old.parquet"
    before = collection_digest(_query(folder))
    assert collection_digest(_query(folder)) == before
    path.write_bytes(bytes(path.stat().st_size))
    assert collection_digest(_query(folder)) != before


def test_records_are_read_once_in_a_process_and_again_for_another_query(folder):
    query, other = _query(folder), CollectionQuery(folder, ("B1",), data_source="x")
    first = read_snapshot(query, query_digest(query), "1")
    assert read_snapshot(query, query_digest(query), "1") is first
    assert read_snapshot(query, query_digest(query), "2") is not first
    assert read_snapshot(other, query_digest(other), "1") is not first


def test_a_collection_that_is_read_cell_by_cell_cannot_be_refreshed(folder):
    job = SamplePoints(
        collection=folder, options=OPTIONS, join="partitioned", refresh_seconds=10.0,
    )
    pipeline = beam.Pipeline(options=PipelineOptions(["--streaming"]))
    rows = pipeline | played((1, POINT))
    points, _ = rows | BatchPoints(columns=PointColumns(crs="EPSG:32631"))
    with pytest.raises(OptionError, match="cell by cell"):
        points | job
