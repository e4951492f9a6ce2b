"""Both joins give the same rows, statuses and counters, whatever the points and records."""

import collections
import datetime as dt
import json
import pathlib

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.window import FixedWindows, TimestampedValue
from collecting import collect, counters
from scenes import Scene, file_item, index_table, write_scene

from rasteret_beam import (
    BatchPoints,
    CollectionError,
    Filters,
    PointBatch,
    PointColumns,
    SampleOptions,
    SamplePoints,
    WriteSamples,
)
from rasteret_beam.grid import crs
from rasteret_beam.planning import cells
from rasteret_beam.transforms import plan_tiles_by_cell, sample_points

BANDS = ("B1", "B2")
JOINS = ("broadcast", "partitioned")
WORKERS = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
CORNERS = [(10.0, 50.0), (10.3, 50.2), (-0.1, 0.1), (179.4, -17.0), (-180.0, -17.2),
           (-60.0, 89.6), (20.0, -89.4), (140.0, -30.0)]  # fmt: skip
"""Upper left corners of scenes: neighbours, on the equator, the antimeridian, the poles."""


@pytest.fixture(autouse=True)
def _small_cells(monkeypatch):
    """A handful of records fills a cell; a few of them a chunk; a few points a round."""
    monkeypatch.setattr(plan_tiles_by_cell, "CELL_BYTES", 8000)
    monkeypatch.setattr(cells, "CHUNK_BYTES", 5000)
    monkeypatch.setattr(cells, "BATCH_ROWS", 50)
    monkeypatch.setattr(cells, "ROUND_POINTS", 120)


def _scenes(random):
    """Scenes of 0.6 degrees, up to seven dates each, and one far larger than any cell."""
    scenes = []
    for place, (lon, lat) in enumerate(CORNERS):
        for date in range(int(random.integers(1, 8))):
            when = dt.datetime(2024, 1, 1) + dt.timedelta(days=int(random.integers(0, 60)))  # noqa: DTZ001
            pixels = random.integers(0, 5, (2, 48, 48)).astype(np.uint16)
            scenes.append(Scene(
                name=f"{place}-{date}", pixels=pixels, nodata="0", epsg=4326,
                origin=(lon, lat), scale=(0.0125, -0.0125),
                when=None if random.random() < 0.15 else when,
            ))  # fmt: skip
    world = random.integers(0, 5, (2, 36, 72)).astype(np.uint16)
    scenes.append(Scene(name="world", pixels=world, epsg=4326, origin=(-180.0, 90.0),
                        scale=(5.0, -5.0), when=dt.datetime(2024, 1, 20)))  # noqa: DTZ001
    utm = random.integers(0, 5, (2, 64, 64)).astype(np.uint16)
    scenes.append(Scene(name="utm", pixels=utm, scale=(1000.0, -1000.0)))
    return scenes


def _spoil(rows, random):
    """What collections of others hold: broken bands, boxes beyond 180, none, or inside out."""
    for row in rows:
        luck = random.random()
        if luck < 0.05:
            row["B1_metadata"]["compression"] = 7777
        elif luck < 0.1:
            row["B2_metadata"] = None
        elif luck < 0.15:
            row["bbox"] = None
        elif luck < 0.2:
            row["bbox"]["xmax"] += 360
        elif luck < 0.25:
            row["bbox"]["xmin"], row["bbox"]["xmax"] = row["bbox"]["xmax"], row["bbox"]["xmin"]
        elif luck < 0.3:
            row["crs"], row["proj:epsg"] = "nonsense", None
        elif luck < 0.35:
            row["crs"], row["proj:epsg"] = None, None
        elif luck < 0.4:
            row["assets"]["B2"] = row["B2_metadata"] = None


def _collection(folder, seed, *, spoilt=True):
    """Scenes in several files of small row groups."""
    random = np.random.default_rng(seed)
    items = [
        file_item(scene.name, write_scene(folder, scene), None, scene.when)
        for scene in _scenes(random)
    ]
    table = index_table(items)
    rows = [table.to_pylist()[at] for at in random.permutation(table.num_rows)]
    if spoilt:
        _spoil(rows, random)
    home = folder / "collection"
    home.mkdir()
    for number, part in enumerate(np.array_split(np.arange(len(rows)), 3)):
        piece = pa.Table.from_pylist([rows[at] for at in part], schema=table.schema)
        pq.write_table(piece, home / f"part-{number}.parquet", row_group_size=3)
    return str(home)


def _lonlat(random, n_points):
    """Points on scenes, on their edges, anywhere, beyond 180, and some that are none."""
    corner = np.array(CORNERS)[random.integers(0, len(CORNERS), n_points)]
    lon = corner[:, 0] + random.uniform(-0.1, 0.8, n_points)
    lat = corner[:, 1] - random.uniform(-0.1, 0.8, n_points)
    anywhere = random.random(n_points) < 0.2
    lon[anywhere] = random.uniform(-540, 540, anywhere.sum())
    lat[anywhere] = random.uniform(-100, 100, anywhere.sum())
    lon[random.random(n_points) < 0.1] += 360
    on_edge = random.random(n_points) < 0.1
    lon[on_edge], lat[on_edge] = corner[on_edge].T
    lon[random.random(n_points) < 0.05] = np.nan
    lat[random.random(n_points) < 0.02] = np.inf
    lon[-2:], lat[-2:] = (180.0, -180.0), (90.0, -90.0)
    return lon, lat


def _batches(random, points_crs="EPSG:4326", n_batches=4, n_points=150):
    for number in range(n_batches):
        lon, lat = _lonlat(random, n_points)
        if points_crs == "EPSG:32631":
            lon, lat = crs.transform(crs.LONLAT, points_crs, lon, lat)
            lon[:3] = 1e30
        points = pa.record_batch({
            "point_index": np.arange(n_points) + n_points * number, "point_x": lon,
            "point_y": lat, "name": [f"p{i}" for i in range(n_points)],
        })  # fmt: skip
        yield PointBatch(points, points_crs)


def _run(collection, batches, join, filters=None, **options):
    """Rows as text, sorted; counters; dead letters of records."""
    pipeline = beam.Pipeline("FnApiRunner")
    sampled = pipeline | beam.Create(batches) | SamplePoints(
        collection=collection, options=SampleOptions(bands=BANDS, **options),
        filters=filters or Filters(), join=join,
    )  # fmt: skip
    found, letters = collect(sampled.samples), collect(sampled.unusable_records)
    result = pipeline.run()
    result.wait_until_finish()
    rows = sorted(str(row) for batch in found for row in batch.samples.to_pylist())
    return rows, counters(result), sorted(letters)


def _without_records(counts, letters):
    """Counters but for those of unusable records: these are what the dead letters say."""
    codes = collections.Counter(letter.code for letter in letters)
    unusable = {letter.element for letter in letters if letter.code != "BAND_MISSING"}
    ids = {json.loads(element)["record_id"] for element in unusable}
    of_records = {"records_failed": len(ids), "bands_missing": codes["BAND_MISSING"]}
    of_records |= {f"dead_letters_{code}": n_letters for code, n_letters in codes.items()}
    assert {name: counts.get(name, 0) for name in of_records} == of_records
    return {name: count for name, count in counts.items() if name not in of_records}


def _check(collection, batches, **options):
    batches = list(batches)
    broadcast, partitioned = (_run(collection, batches, join, **options) for join in JOINS)
    assert partitioned[0] == broadcast[0]
    assert len(set(partitioned[2])) == len(partitioned[2])
    # Of records that no point is near to the partitioned join does not tell.
    assert set(partitioned[2]) <= set(broadcast[2])
    counts, expected = (_without_records(found[1], found[2]) for found in (partitioned, broadcast))
    assert counts == expected
    return expected, broadcast[0]


@pytest.fixture(scope="module", params=range(3))
def made(request, tmp_path_factory):
    return _collection(tmp_path_factory.mktemp("joins"), request.param), request.param


@pytest.mark.parametrize("match", ["all", "latest"])
@pytest.mark.parametrize("unmatched", ["emit", "omit"])
def test_both_joins_give_the_same_rows_and_counts(made, match, unmatched):
    collection, seed = made
    batches = _batches(np.random.default_rng(seed + 100))
    counts, rows = _check(collection, batches, match=match, unmatched=unmatched)
    assert counts["points_read"] == 600
    assert counts["tiles_planned"] > 50
    assert len(rows) > 200


@pytest.mark.parametrize("points_crs", ["EPSG:32631", None])
def test_points_in_other_crs_and_in_the_rasters_own(made, points_crs):
    collection, seed = made
    batches = _batches(np.random.default_rng(seed + 200), points_crs)
    counts, _ = _check(collection, batches, unmatched="emit", max_distance_pixels=2)
    assert counts["tiles_planned"] > 0


def test_points_of_another_body_and_without_longitude(made):
    collection, _ = made
    batches = [
        PointBatch(
            pa.record_batch({"point_index": [7 * n, 7 * n + 1], "point_x": [5e6, 0.0],
                             "point_y": [5e6, 0.0]}), found,
        )
        for n, found in enumerate([
            crs.normalise("+proj=geos +h=35785831 +lon_0=0 +ellps=WGS84 +units=m"),
            crs.normalise("+proj=longlat +R=1560800 +no_defs"),
        ])
    ]  # fmt: skip
    _check(collection, batches, unmatched="emit")


@pytest.mark.parametrize("filters", [
    Filters(date_range=("2024-01-10", "2024-02-10")),
    Filters(bbox=(9, 49, 11, 51)),
    Filters(geometries=[(10.0, 49.9, 10.1, 50.1), (178.0, -18.0, 181.0, -17.0)]),
    Filters(where="id != 'world'"),
    Filters(where="id == 'none'"),
], ids=["date range", "bbox", "geometries", "where", "no record"])  # fmt: skip
def test_filters(made, filters):
    collection, seed = made
    batches = _batches(np.random.default_rng(seed + 300))
    _check(collection, batches, filters=filters, unmatched="emit")


def test_no_points(made):
    pipeline = beam.Pipeline("FnApiRunner")
    sampled = pipeline | beam.Create([]) | SamplePoints(
        collection=made[0], options=SampleOptions(bands=BANDS), join="partitioned",
    )
    found = collect(sampled.samples)
    pipeline.run().wait_until_finish()
    assert found == []


def test_an_empty_batch_keeps_its_schema(made):
    empty = PointBatch(next(_batches(np.random.default_rng(0))).points.slice(0, 0), "EPSG:4326")
    pipeline = beam.Pipeline("FnApiRunner")
    sampled = pipeline | beam.Create([empty]) | SamplePoints(
        collection=made[0], options=SampleOptions(bands=BANDS), join="partitioned",
    )
    found = collect(sampled.samples)
    pipeline.run().wait_until_finish()
    assert [batch.samples.num_rows for batch in found] == [0]
    assert "name" in found[0].samples.schema.names


@pytest.mark.parametrize("match", ["all", "latest"])
def test_in_each_window_a_tile_is_fetched_once(made, match):
    collection, seed = made
    random = np.random.default_rng(seed + 400)
    lon, lat = _lonlat(random, 300)
    rows = [
        TimestampedValue({"lon": float(x), "lat": float(y)}, 10 * (number % 3))
        for number, (x, y) in enumerate(zip(lon, lat, strict=True))
    ]
    outcomes = []
    for join in JOINS:
        pipeline = beam.Pipeline("FnApiRunner")
        points = pipeline | beam.Create(rows) | beam.WindowInto(FixedWindows(10))
        batched, _ = points | BatchPoints(columns=PointColumns(crs="EPSG:4326"))
        sampled = batched | SamplePoints(
            collection=collection, join=join,
            options=SampleOptions(bands=BANDS, match=match, unmatched="emit"),
        )
        times = collect(sampled.samples | beam.Map(_windowed))
        result = pipeline.run()
        result.wait_until_finish()
        values = collections.Counter(row for rows in times for row in rows)
        outcomes.append((counters(result)["tiles_planned"], values))
    assert outcomes[0] == outcomes[1]


def _windowed(batch, window=beam.DoFn.WindowParam):
    drop = ("point_index",)
    rows = batch.samples.to_pylist()
    return [
        (float(window.start), str({k: v for k, v in row.items() if k not in drop}))
        for row in rows
    ]


def test_with_worker_processes(tmp_path):
    collection = _collection(tmp_path, 11)
    batches = list(_batches(np.random.default_rng(12)))
    for join in JOINS:
        options = PipelineOptions(["--runner=FnApiRunner", *WORKERS])
        with beam.Pipeline(options=options) as pipeline:
            sampled = pipeline | beam.Create(batches) | SamplePoints(
                collection=collection, join=join,
                options=SampleOptions(bands=BANDS, unmatched="emit"),
            )
            _ = sampled.samples | WriteSamples(folder=str(tmp_path / join))
    broadcast, partitioned = (
        sorted(str(row) for row in pq.read_table(tmp_path / join).to_pylist()) for join in JOINS
    )
    assert partitioned == broadcast
    assert len(broadcast) > 500


@pytest.mark.parametrize("join", JOINS)
def test_a_file_that_is_not_parquet_is_refused(tmp_path, join):
    collection = _collection(tmp_path, 1)
    pathlib.Path(collection, "part-9.parquet").write_bytes(b"no Parquet")
    with pytest.raises(CollectionError, match=r"part-9.parquet: cannot be read as Parquet"):
        _run(collection, list(_batches(np.random.default_rng(0), n_batches=1)), join)


def test_the_join_follows_from_the_footers(tmp_path, monkeypatch):
    collection = _collection(tmp_path, 1)
    monkeypatch.setattr(sample_points, "BROADCAST_BYTES", 10_000)
    assert "SamplePoints/PlanTiles/GroupByCell" in _labels(collection)
    monkeypatch.setattr(sample_points, "BROADCAST_BYTES", 10_000_000)
    assert "SamplePoints/ReadCollection" in _labels(collection)
    assert "SamplePoints/PlanTiles/GroupByCell" in _labels(collection, join="partitioned")


def test_what_cannot_be_looked_at_is_broadcast(tmp_path):
    assert "SamplePoints/ReadCollection" in _labels(str(tmp_path / "gone"))
    (tmp_path / "broken.parquet").write_bytes(b"no Parquet" * 2_000_000)
    assert "SamplePoints/ReadCollection" in _labels(str(tmp_path))


def test_a_small_listing_costs_no_footer(tmp_path):
    (tmp_path / "broken.parquet").write_bytes(b"no Parquet")
    assert not sample_points.is_larger(sample_points.CollectionQuery(str(tmp_path), BANDS), 2**28)


def test_the_graph_does_not_grow_with_the_collection(tmp_path):
    (tmp_path / "few").mkdir()
    (tmp_path / "many").mkdir()
    few, many = _collection(tmp_path / "few", 1), _collection(tmp_path / "many", 2)
    for number in range(20):
        source = pathlib.Path(many) / "part-0.parquet"
        (pathlib.Path(many) / f"copy-{number}.parquet").write_bytes(source.read_bytes())
    assert _labels(few, join="partitioned") == _labels(many, join="partitioned")


def _labels(collection, join="auto"):
    pipeline = beam.Pipeline("FnApiRunner")
    points = pipeline | beam.Create(list(_batches(np.random.default_rng(0), n_batches=1)))
    _ = points | SamplePoints(collection=collection, options=SampleOptions(bands=BANDS), join=join)
    return pipeline.applied_labels
