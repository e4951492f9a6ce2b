"""Points without an end: windows, late points, and tiles that are kept across windows."""

import json
import math
import pathlib
import time

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_runner_api_pb2 as pb
from apache_beam.transforms.window import FixedWindows, TimestampedValue
from apache_beam.utils.windowed_value import PaneInfoTiming
from collecting import collect, counters
from fakes import serving
from scenes import Scene, centre, file_item, index_table, make_collection, ramp, write_scene
from streams import LOCAL, played, prism

from rasteret_beam import (
    BatchMessages,
    BatchPoints,
    DecodeMessages,
    EncodeSamples,
    FallbackRing,
    IntoWindows,
    MessageReader,
    OptionError,
    PointColumns,
    SampleOptions,
    SamplePoints,
    Store,
    ToRows,
)
from rasteret_beam.reporting import SAMPLE_IDENTITIES

SCENE = Scene(name="a", pixels=ramp(64, 64))
STORE = Store(allow_http=True)
READER = MessageReader(columns=PointColumns(crs="EPSG:32631"), id_column="id")


def _message(row, col, number):
    x, y = centre(SCENE, row, col)
    return json.dumps({"x": x, "y": y, "id": number}).encode()


def _rows(pipeline, stream, windows, **how):
    """What the whole job gives: (point_index, value, window's start)."""
    decoded = pipeline | stream | DecodeMessages(reader=READER)
    points, _ = decoded.rows | windows | BatchMessages(reader=READER)
    sampled = points | SamplePoints(options=SampleOptions(bands=("B1",)), store=STORE, **how)
    return collect(sampled.samples | EncodeSamples() | beam.Map(_told))


def _all_at_once(steps):
    """The elements of a stream as an input with an end: for runners that play none."""
    return beam.Create([TimestampedValue(element, time) for time, element in steps])


def _told(data, window=beam.DoFn.WindowParam):
    row = json.loads(data)
    return row["point_index"], row["value"], float(window.start)


@pytest.fixture
def server(tmp_path):
    data = pathlib.Path(write_scene(tmp_path, SCENE)).read_bytes()
    with serving({"a.tif": data}) as server:
        table = index_table([file_item("a", server.uri("a.tif"))], store=STORE)
        pq.write_table(table, tmp_path / "c.parquet")
        server.requests.clear()
        yield server


# Three windows, the same tile in each.
STEPS = [(1, _message(1, 2, 1)), (2, _message(3, 4, 2)), (11, _message(1, 2, 3)),
         (21, _message(5, 6, 4))]  # fmt: skip
EXPECTED = [(1, 102.0, 0.0), (2, 304.0, 0.0), (3, 102.0, 10.0), (4, 506.0, 20.0)]


@pytest.mark.parametrize(("cache_bytes", "requests"), [(0, 3), (1 << 20, 1)])
def test_a_tile_is_fetched_once_a_window_and_with_a_cache_once(
    server, tmp_path, cache_bytes, requests,
):
    with beam.Pipeline("FnApiRunner") as pipeline:
        rows = _rows(
            pipeline, _all_at_once(STEPS), IntoWindows(seconds=10),
            collection=str(tmp_path / "c.parquet"), cache_bytes=cache_bytes,
        )  # fmt: skip
    assert sorted(rows) == EXPECTED
    assert server.count("a.tif") == requests
    counts = counters(pipeline.result)
    assert counts["tiles_planned"] == 3
    assert counts["tiles_fetched"] == counts["requests"] == requests
    assert counts.get("tiles_cached", 0) == 3 - requests
    assert all(identity.holds(counts) for identity in SAMPLE_IDENTITIES)


def test_tiles_of_files_that_nothing_identifies_are_not_kept(server, tmp_path):
    server.etag = None
    path = tmp_path / "c.parquet"
    table = pq.read_table(path)
    bare = [name for name in table.column_names if name.endswith("_tiff")]
    pq.write_table(table.drop_columns(bare), path)
    with beam.Pipeline("FnApiRunner") as pipeline:
        rows = _rows(
            pipeline, _all_at_once(STEPS), IntoWindows(seconds=10), collection=str(path),
            cache_bytes=1 << 20,
        )
    assert sorted(rows) == EXPECTED
    assert counters(pipeline.result)["tiles_fetched"] == 3


def test_windows_of_a_stream_share_the_cache(server, tmp_path):
    steps = [*STEPS[:2], 10, STEPS[2], 20, STEPS[3], 30]
    with beam.Pipeline(options=PipelineOptions(prism())) as pipeline:
        rows = _rows(
            pipeline, played(*steps), IntoWindows(seconds=10),
            collection=str(tmp_path / "c.parquet"), cache_bytes=1 << 20,
        )
    assert sorted(rows) == EXPECTED
    assert server.count("a.tif") == 1
    counts = counters(pipeline.result)
    assert (counts["tiles_planned"], counts["tiles_cached"]) == (3, 2)


def test_late_points_have_their_rows_in_a_later_pane_and_none_comes_twice(tmp_path):
    steps = [(1, _message(1, 2, 1)), 15, (2, _message(3, 4, 2)), 100, (3, _message(5, 6, 3))]
    options = PipelineOptions(prism())
    collection = make_collection(tmp_path, [SCENE])
    with beam.Pipeline(options=options) as pipeline:
        windows = IntoWindows(seconds=10, allowed_lateness_seconds=50)
        rows = _rows(pipeline, played(*steps), windows, collection=collection)
    # The last came beyond the lateness.
    assert sorted(rows) == [(1, 102.0, 0.0), (2, 304.0, 0.0)]


def test_points_without_an_end_do_not_run_past_their_records(tmp_path):
    # Beam's own player of TestStream hands over side inputs before they are there.
    steps = [*STEPS[:2], 10, STEPS[2], 20, STEPS[3], 30]
    collection = make_collection(tmp_path, [SCENE])
    with beam.Pipeline(options=LOCAL) as pipeline:
        rows = _rows(pipeline, played(*steps), IntoWindows(seconds=10), collection=collection)
    assert sorted(rows) == EXPECTED


@pytest.mark.parametrize("form", [ToRows(), EncodeSamples()], ids=["rows", "messages"])
def test_samples_of_late_points_say_so(tmp_path, form):
    steps = [(1, _message(1, 2, 1)), 15, (2, _message(3, 4, 2))]
    collection = make_collection(tmp_path, [SCENE])
    with beam.Pipeline(options=LOCAL) as pipeline:
        decoded = pipeline | played(*steps) | DecodeMessages(reader=READER)
        windows = IntoWindows(seconds=10, allowed_lateness_seconds=50)
        points, _ = decoded.rows | windows | BatchMessages(reader=READER)
        sampled = points | SamplePoints(
            options=SampleOptions(bands=("B1",)), collection=collection,
        )
        told = collect(sampled.samples | form | beam.Map(_pane))
    assert sorted(told) == [(0, "ON_TIME"), (1, "LATE")]


def _pane(_, pane=beam.DoFn.PaneInfoParam):
    return pane.index, PaneInfoTiming.to_string(pane.timing)


def test_without_lateness_late_points_are_dropped(tmp_path):
    steps = [(1, _message(1, 2, 1)), 15, (2, _message(3, 4, 2))]
    options = PipelineOptions(prism())
    collection = make_collection(tmp_path, [SCENE])
    with beam.Pipeline(options=options) as pipeline:
        rows = _rows(pipeline, played(*steps), IntoWindows(seconds=10), collection=collection)
    assert sorted(rows) == [(1, 102.0, 0.0)]


def test_a_late_pane_holds_late_elements_only():
    steps = [(1, "a"), (2, "b"), 15, (3, "late"), 200, (4, "too late")]
    options = PipelineOptions(prism())
    with beam.Pipeline(options=options) as pipeline:
        panes = collect(
            pipeline
            | played(*steps)
            | IntoWindows(seconds=10, allowed_lateness_seconds=50)
            | beam.WithKeys(0).with_output_types(tuple[int, str])
            | beam.GroupByKey()
            | beam.Map(lambda group, pane=beam.DoFn.PaneInfoParam: (sorted(group[1]), pane.index)),
        )
    assert [pane for pane in panes if pane[0]] == [(["a", "b"], 0), (["late"], 1)]


def test_a_message_that_is_no_row_is_a_dead_letter_and_the_others_go_on():
    bad = [(1, b"\xff no JSON"), (2, b'{"id": 1}')]
    with beam.Pipeline("FnApiRunner") as pipeline:
        messages = pipeline | _all_at_once([*bad, (3, _message(1, 2, 1))])
        decoded = messages | DecodeMessages(reader=READER)
        rows, letters = collect(decoded.rows), collect(decoded.dead_letters)
    assert len(rows) == 1
    assert {(letter.stage, letter.code) for letter in letters} == {
        ("DecodeMessages", "INVALID_POINT"),
    }
    held = [json.loads(letter.element) for letter in letters]
    assert {"n_bytes": 9, "data": '{"id": 1}'} in held
    assert {"n_bytes": 9, "data_base64": "/yBubyBKU09O"} in held
    counts = counters(pipeline.result)
    assert (counts["messages_read"], counts["messages_failed"]) == (3, 2)


def test_the_text_of_a_message_stays_text_where_a_letter_is_cut_in_two():
    data = ("a" + "ö" * 40_000).encode()
    with beam.Pipeline("FnApiRunner") as pipeline:
        decoded = pipeline | beam.Create([data]) | DecodeMessages(reader=READER)
        letters = collect(decoded.dead_letters)
    (letter,) = letters
    assert json.loads(letter.element) == {"n_bytes": 80_001, "data": "a" + "ö" * 32_767}


def test_values_of_other_types_are_dead_letters_and_break_no_batch():
    bad = [(1, b'{"x": "east", "y": 1, "id": 1}'), (2, b'{"x": [1], "y": 1, "id": 2}')]
    with beam.Pipeline(options=LOCAL) as pipeline:
        decoded = pipeline | played(*bad, (3, _message(1, 2, 3))) | DecodeMessages(reader=READER)
        points, broken = decoded.rows | BatchMessages(reader=READER)
        found, letters = collect(points), collect(broken)
    assert sorted(json.loads(letter.element)["point_index"] for letter in letters) == [1, 2]
    index = [i for batch in found for i in batch.points.column("point_index").to_pylist()]
    assert sorted(index) == [1, 2, 3]


def test_a_fallback_takes_no_windows_that_fire_twice():
    pipeline = beam.Pipeline(options=LOCAL)
    options = SampleOptions(bands=("B1",), max_distance_pixels=1)
    late = pipeline | played(1) | IntoWindows(seconds=1, allowed_lateness_seconds=1)
    with pytest.raises(OptionError, match="fire more than once"):
        late | FallbackRing(options=options)


def test_a_fallback_takes_windows_that_fire_once():
    pipeline = beam.Pipeline(options=LOCAL)
    options = SampleOptions(bands=("B1",), max_distance_pixels=1)
    once = pipeline | played(1) | IntoWindows(seconds=1)
    assert not once.is_bounded
    assert isinstance(once | FallbackRing(options=options), beam.PCollection)


@pytest.mark.parametrize("join", ["broadcast", "partitioned"])
def test_a_stream_waits_for_no_side_input_and_tells_of_records_in_time(tmp_path, join):
    path = make_collection(tmp_path, [SCENE])
    other = Scene(name="two", pixels=ramp(64, 64), bands=("B2",))
    table = index_table([file_item("two", write_scene(tmp_path, other), {"B2": 0})])
    both = pa.concat_tables([pq.read_table(path), table], promote_options="default")
    pq.write_table(both, path)
    job = SamplePoints(
        collection=str(path), options=SampleOptions(bands=("B1",), unmatched="omit"), join=join,
        refresh_seconds=math.inf,
    )  # fmt: skip
    begun = time.time()
    with beam.Pipeline(options=LOCAL) as pipeline:
        decoded = pipeline | played(*STEPS) | DecodeMessages(reader=READER)
        points, _ = decoded.rows | IntoWindows(seconds=10) | BatchMessages(reader=READER)
        sampled = points | job
        rows = collect(sampled.samples | EncodeSamples() | beam.Map(_told))
        letters = collect(sampled.unusable_records | beam.Map(_timed))
    assert sorted(rows) == EXPECTED
    ((letter, told_at),) = letters
    assert letter.code == "BAND_MISSING"
    # Of a look at the collection, or of the points that it was read for: never at the end of time.
    assert 0 <= told_at <= 30 or begun - 1 <= told_at <= time.time()
    steps = pipeline.to_runner_api().components.transforms.values()
    works = [pb.ParDoPayload.FromString(step.spec.payload) for step in steps
             if step.spec.urn == "beam:transform:pardo:v1"]  # fmt: skip
    assert len(works) > 5
    assert not any(work.side_inputs for work in works)


def _timed(letter, time=beam.DoFn.TimestampParam):
    return letter, float(time)


def test_points_with_an_end_cannot_be_refreshed():
    pipeline = beam.Pipeline(options=LOCAL)
    rows = pipeline | beam.Create([{"x": 1.0, "y": 2.0}]) | beam.WindowInto(FixedWindows(1))
    points, _ = rows | BatchPoints(columns=PointColumns(crs="EPSG:4326"))
    job = SamplePoints(
        collection="c", options=SampleOptions(bands=("B1",)), refresh_seconds=1.0,
        join="broadcast",
    )  # fmt: skip
    with pytest.raises(OptionError, match="points without an end"):
        points | job
