"""Stage by stage: empty input, windows, dead letters, counters, and elements that travel."""

import dataclasses
import json
import pickle

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam import coders
from apache_beam.testing.util import assert_that, equal_to, is_empty
from apache_beam.transforms.window import FixedWindows, TimestampedValue
from collecting import collect, counters
from scenes import Scene, grid_points, make_collection, ramp

from rasteret_beam import (
    CollectionQuery,
    FallbackRing,
    FetchTiles,
    Filters,
    PlanTiles,
    PointBatch,
    ReadCollection,
    SampleBatch,
    SampleNearest,
    SampleOptions,
    SamplePoints,
    TileBlockKey,
    TilePoints,
    WriteDeadLetters,
)
from rasteret_beam.planning import NO_TILE

BANDS = ("B1", "B2")
SCENE = Scene(name="a", pixels=ramp(200, 200, bands=2), nodata="0")


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    return make_collection(tmp_path_factory.mktemp("stages"), [SCENE])


def _batch(pixels, n_outside=0, n_invalid=0):
    columns = grid_points(SCENE, pixels)
    x = [*columns["x"], *[0.0] * n_outside, *[float("nan")] * n_invalid]
    y = [*columns["y"], *[0.0] * n_outside, *[1.0] * n_invalid]
    points = pa.record_batch(
        {"point_index": pa.array(range(len(x)), pa.int64()), "point_x": x, "point_y": y},
    )
    return PointBatch(points, "EPSG:32631")


def _run(collection, batches, **options):
    """Runs the composite; gives its counters, rows and dead letters."""
    pipeline = beam.Pipeline("FnApiRunner")
    sampled = pipeline | beam.Create(batches) | SamplePoints(
        collection=collection, options=SampleOptions(bands=BANDS, **options),
    )
    batches, letters = collect(sampled.samples), collect(sampled.dead_letters)
    result = pipeline.run()
    result.wait_until_finish()
    rows = [row for batch in batches for row in batch.samples.to_pylist()]
    return counters(result), rows, letters


def test_points_read_are_invalid_unmatched_or_have_rows(collection):
    batches = [_batch([(1, 2), (3, 4)], n_outside=3), _batch([(190, 190)], n_invalid=2)]
    counts, rows, _ = _run(collection, batches, unmatched="emit")
    assert counts["points_read"] == 8
    assert [counts[f"points_{name}"] for name in ("invalid", "unmatched", "with_rows")] == [2, 3, 3]
    assert len(rows) == 3 * 2 + 3 + 2


def test_tiles_planned_are_fetched_sparse_or_failed(tmp_path):
    def spoil(rows):
        metadata = rows[0]["B1_metadata"]
        metadata["tile_byte_counts"][0] = 0
        metadata["tile_offsets"][1] = 10**9

    collection = make_collection(tmp_path, [SCENE], mutate=spoil)
    counts, rows, letters = _run(collection, [_batch([(1, 2), (1, 20), (1, 40)])])
    assert counts["tiles_planned"] == 6
    assert [counts[f"tiles_{name}"] for name in ("fetched", "sparse", "failed")] == [4, 1, 1]
    assert [letter.code for letter in letters] == ["FETCH_ERROR"]
    assert len(rows) == 5


@pytest.mark.parametrize("join", ["broadcast", "partitioned"])
def test_dead_letters_of_tiles_and_records_go_into_one_flatten_in_windows_too(tmp_path, join):
    def spoil(rows):
        rows[0]["B1_metadata"]["tile_offsets"][0] = 10**9
        rows[1]["B2_metadata"] = None

    scenes = [SCENE, dataclasses.replace(SCENE, name="b")]
    collection = make_collection(tmp_path, scenes, mutate=spoil)
    with beam.Pipeline("FnApiRunner") as pipeline:
        points = (
            pipeline
            | beam.Create([TimestampedValue(_batch([(1, 2)]), 3)]).with_output_types(PointBatch)
            | beam.WindowInto(FixedWindows(10))
        )
        sampled = points | SamplePoints(
            collection=collection, options=SampleOptions(bands=BANDS), join=join,
        )
        letters = (sampled.dead_letters, sampled.unusable_records) | beam.Flatten()
        _ = letters | WriteDeadLetters(folder=str(tmp_path / "letters"))
    lines = [line for path in (tmp_path / "letters").iterdir() for line in path.open()]
    assert sorted(json.loads(line)["code"] for line in lines) == ["FETCH_ERROR", "INVALID_RECORD"]


def test_batches_share_a_tile_of_a_file_whose_nodata_is_nan(tmp_path):
    pixels = ramp(64, 64).astype(np.float32)
    scene = Scene(name="n", pixels=pixels, nodata="nan")
    collection = make_collection(tmp_path, [scene])
    pipeline = beam.Pipeline("FnApiRunner")
    sampled = pipeline | beam.Create([_batch([(1, 2)]), _batch([(1, 3)])]) | SamplePoints(
        collection=collection, options=SampleOptions(bands=("B1",)),
    )
    samples = collect(sampled.samples)
    result = pipeline.run()
    result.wait_until_finish()
    assert sorted(v for b in samples for v in b.samples["value"].to_pylist()) == [102.0, 103.0]
    assert counters(result)["tiles_fetched"] == 1


def test_no_points_give_no_rows_and_no_request(collection):
    counts, rows, letters = _run(collection, [])
    assert (rows, letters) == ([], [])
    assert "tiles_planned" not in counts


def test_a_filter_that_leaves_no_record_leaves_every_point_unmatched(collection):
    with beam.Pipeline("FnApiRunner") as pipeline:
        query = CollectionQuery(collection, BANDS, Filters(where="id == 'other'"))
        records, letters = pipeline | ReadCollection(query=query)
        options = SampleOptions(bands=BANDS, unmatched="emit")
        planned = pipeline | beam.Create([_batch([(1, 2)])]) | PlanTiles(
            records=records, options=options,
        )
        assert_that(records, is_empty(), label="records")
        assert_that(letters, is_empty(), label="letters")
        tiles = planned | beam.Filter(lambda pair: pair[0].grid != NO_TILE)
        assert_that(tiles, is_empty(), label="tiles")
        statuses = planned | beam.FlatMap(lambda p: p[1].samples.column("status").to_pylist())
        assert_that(statuses, equal_to(["NO_RECORD"]), label="statuses")


def test_every_element_survives_a_pickle(collection):
    kinds = (TilePoints, SampleBatch)
    options = SampleOptions(bands=BANDS, max_distance_pixels=3)
    with beam.Pipeline("FnApiRunner") as pipeline:
        records, _ = pipeline | ReadCollection(query=CollectionQuery(collection, BANDS))
        points = pipeline | beam.Create([_batch([(0, 0), (127, 127), (128, 5)])])
        planned = points | PlanTiles(records=records, options=options)
        fetched = planned | FetchTiles()
        nearest = fetched.tiles | SampleNearest(options=options)
        stages = [planned | beam.Values(), fetched.tiles, nearest]
        lists = [collect(stage) for stage in [*stages, nearest | FallbackRing(options=options)]]
    found = [element for elements in lists for element in elements]
    assert {type(element) for element in found} > set(kinds)
    for element in found:
        copy = pickle.loads(pickle.dumps(element))  # noqa: S301 -- our own bytes
        assert type(copy) is type(element)
        assert _content(copy) == _content(element)


def _content(element):
    """All that an element holds, as text."""
    with np.printoptions(threshold=100_000):
        return str([_plain(getattr(element, name)) for name in element.__slots__])


def _plain(value):
    if isinstance(value, pa.RecordBatch):
        return value.to_pylist()
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return tuple(value)
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    if hasattr(value, "__slots__") and not isinstance(value, (str, bytes, np.ndarray)):
        return [_plain(getattr(value, name)) for name in value.__slots__]
    return value


def test_a_slice_of_points_does_not_drag_its_parent_along():
    whole = _batch([(row, col) for row in range(100) for col in range(100)])
    part = PointBatch(whole.points.slice(3, 1), whole.crs)
    assert len(pickle.dumps(part)) < 2000


def test_a_key_keeps_its_type_and_equal_keys_have_equal_bytes():
    coder = coders.registry.get_coder(TileBlockKey)
    key = TileBlockKey(2**62, 0, 7, -1)
    assert coder.is_deterministic()
    assert coder.decode(coder.encode(key)) == key
    assert type(coder.decode(coder.encode(key))) is TileBlockKey


def test_labels_are_stable():
    pipeline = beam.Pipeline("FnApiRunner")
    points = pipeline | beam.Create([_batch([])])
    _ = points | SamplePoints(collection="nowhere", options=SampleOptions(bands=("B1",)))
    labels = {label for label in pipeline.applied_labels if label.startswith("SamplePoints/")}
    assert {
        "SamplePoints/ReadCollection", "SamplePoints/PlanTiles", "SamplePoints/FetchTiles",
        "SamplePoints/FetchTiles/GroupByBlock", "SamplePoints/SampleNearest",
        "SamplePoints/FallbackRing",
    } <= labels  # fmt: skip
