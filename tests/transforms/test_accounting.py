"""Every point, tile and row is counted once, whatever they are and wherever they are planned."""

import collections
import datetime as dt
import tempfile

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from collecting import collect, counters
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scenes import Scene, make_collection

from rasteret_beam import (
    PointBatch,
    PointColumns,
    ReadPoints,
    SampleOptions,
    SamplePoints,
    WriteSamples,
)

BANDS = ("B1", "B2")
JOINS = ("broadcast", "partitioned")
WORKERS = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
N_POINTS = 90
SAMPLED = {
    "OK": "samples_ok", "FALLBACK": "samples_fallback", "NODATA": "samples_nodata",
    "FETCH_ERROR": "samples_failed", "DECODE_ERROR": "samples_failed",
    "STALE_INDEX": "samples_failed",
}  # fmt: skip
"""Status of a row that was planned -> the counter it is in."""

NOT_SAMPLED = {"OUT_OF_EXTENT", "NO_RECORD", "INVALID_POINT", "BAND_MISSING", "UNSUPPORTED"}


def _scenes(random):
    """Dates of one grid; one in UTM, whose bbox is larger than it; one at the antimeridian."""
    for number, (epsg, origin, scale) in enumerate([
        (4326, (3.0, 42.0), (0.01, -0.01)), (4326, (3.0, 42.0), (0.01, -0.01)),
        (32631, (500000.0, 4650000.0), (2000.0, -2000.0)),
        (4326, (179.6, 42.0), (0.01, -0.01)),
    ]):  # fmt: skip
        pixels = random.integers(0, 4, (2, 50, 50)).astype(np.uint16)
        yield Scene(
            name=f"s{number}", pixels=pixels, nodata="0", epsg=epsg, origin=origin, scale=scale,
            when=dt.datetime(2024, 1, 1 + int(random.integers(0, 3))),  # noqa: DTZ001
            tiff={"planarconfig": str(random.choice(["contig", "separate"]))},
        )


def _spoil(rows, random):
    """Tiles that are sparse, beyond the file or beyond the table; records that lack things."""
    for row in rows:
        for band in BANDS:
            tables = row[f"{band}_metadata"]
            luck = random.random(len(tables["tile_offsets"]))
            offsets, counts = np.array(tables["tile_offsets"]), np.array(tables["tile_byte_counts"])
            offsets[luck < 0.15], counts[luck > 0.85] = 10**9, 0
            if random.random() < 0.1:
                offsets, counts = offsets[:-3], counts[:-3]
            tables["tile_offsets"], tables["tile_byte_counts"] = offsets.tolist(), counts.tolist()
        luck = random.random()
        if luck < 0.1:
            row["B1_metadata"]["compression"] = 7777
        elif luck < 0.2:
            row["B2_metadata"] = None
        elif luck < 0.25:
            row["bbox"] = None
        elif luck < 0.3:
            row["crs"], row["proj:epsg"] = "nonsense", None


def _lonlat(random):
    """On the scenes, on their edges, around them, anywhere; beyond 180; NaN, null, infinite."""
    lon, lat = random.uniform(2.8, 3.7, N_POINTS), random.uniform(41.3, 42.2, N_POINTS)
    far = random.random(N_POINTS) < 0.2
    lon[far] = random.uniform(179.4, 180.3, far.sum())
    lon[random.random(N_POINTS) < 0.05] += 360
    lon[:2], lat[:2] = 3.0, 42.0
    anywhere = random.random(N_POINTS) < 0.1
    lon[anywhere] = random.uniform(-180, 180, anywhere.sum())
    lon[random.random(N_POINTS) < 0.05] = np.nan
    lat[random.random(N_POINTS) < 0.03] = np.inf
    return pa.array(lon, mask=random.random(N_POINTS) < 0.04), lat


def _batches(random):
    for number in range(2):
        lon, lat = _lonlat(random)
        index = np.arange(N_POINTS) + number * N_POINTS
        points = {"point_index": index, "point_x": lon, "point_y": lat}
        yield PointBatch(pa.record_batch(points), "EPSG:4326")


def _make(folder, random):
    return make_collection(folder, list(_scenes(random)), mutate=lambda rows: _spoil(rows, random))


def _run(collection, batches, join, options):
    pipeline = beam.Pipeline("FnApiRunner")
    sampled = pipeline | beam.Create(batches) | SamplePoints(
        collection=collection, options=SampleOptions(bands=BANDS, **options), join=join,
    )
    samples, letters = collect(sampled.samples), collect(sampled.dead_letters)
    result = pipeline.run()
    result.wait_until_finish()
    rows = [row for batch in samples for row in batch.samples.to_pylist()]
    return collections.Counter(counters(result)), rows, letters


def _check_identities(counts, n_points):
    assert counts["points_read"] == n_points
    parts = ("invalid", "unmatched", "with_rows")
    assert counts["points_read"] == sum(counts[f"points_{part}"] for part in parts)
    parts = ("fetched", "sparse", "failed")
    assert counts["tiles_planned"] == sum(counts[f"tiles_{part}"] for part in parts)


def _check_emitted(counts, rows, n_points):
    """Every point has a row; rows are counted by their status; so are the points of them."""
    assert {row["point_index"] for row in rows} == set(range(n_points))
    by_status = collections.Counter(row["status"] for row in rows)
    assert set(by_status) <= set(SAMPLED) | NOT_SAMPLED
    for counter in set(SAMPLED.values()):
        found = sum(by_status[status] for status, name in SAMPLED.items() if name == counter)
        assert counts[counter] == found, counter
    sampled = {row["point_index"] for row in rows if row["status"] in SAMPLED}
    invalid = {row["point_index"] for row in rows if row["status"] == "INVALID_POINT"}
    assert counts["points_with_rows"] == len(sampled)
    assert counts["points_invalid"] == len(invalid)


def _without_status(rows):
    found = [{k: v for k, v in row.items() if k != "status"} for row in rows]
    return collections.Counter(map(repr, found))


@pytest.mark.parametrize("window", [
    {}, {"max_distance_pixels": 2},
    {"max_distance_pixels": 2, "return_neighbourhood": "always"},
    {"max_distance_pixels": 2, "return_neighbourhood": "if_center_nodata"},
], ids=["nearest", "fallback", "always", "if_center_nodata"])  # fmt: skip
@pytest.mark.parametrize("match", ["all", "latest"])
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=2, deadline=None, phases=[Phase.explicit, Phase.generate])
def test_every_point_tile_and_row_is_counted_once(match, window, seed):
    random = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        collection = _make(folder, random)
        batches = list(_batches(random))
        n_points = len(batches) * N_POINTS
        emitted = {}
        for join in JOINS:
            options = {"match": match, "unmatched": "emit", **window}
            counts, rows, letters = _run(collection, batches, join, options)
            _check_identities(counts, n_points)
            _check_emitted(counts, rows, n_points)
            assert counts["tiles_failed"] == len(letters)
            emitted[join] = counts
        told = [name for name in counts if name.split("_")[0] in ("points", "samples", "tiles")]
        assert [emitted["broadcast"][n] for n in told] == [emitted["partitioned"][n] for n in told]
        counts, omitted, _ = _run(collection, batches, "broadcast", {"match": match, **window})
    _check_identities(counts, n_points)
    # The same is counted, and rows without a sample are missing: no others.
    assert [counts[name] for name in told] == [emitted["broadcast"][name] for name in told]
    kept = [row for row in rows if row["status"] in ("OK", "FALLBACK", "NODATA")]
    assert _without_status(omitted) == _without_status(kept)


def test_a_point_whose_every_tile_failed_has_rows_by_the_plan_but_none_where_omitted(tmp_path):
    scene = Scene(name="a", pixels=np.ones((2, 16, 16), np.uint16))

    def spoil(rows):
        for band in BANDS:
            rows[0][f"{band}_metadata"]["tile_offsets"] = [10**9]

    collection = make_collection(tmp_path, [scene], mutate=spoil)
    points = {"point_index": [0], "point_x": [500005.0], "point_y": [4599995.0]}
    batch = PointBatch(pa.record_batch(points), "EPSG:32631")
    counts, rows, _ = _run(collection, [batch], "broadcast", {})
    assert rows == []
    assert (counts["points_with_rows"], counts["samples_failed"]) == (1, 2)


@pytest.mark.parametrize("unmatched", ["emit", "omit"])
@pytest.mark.parametrize("join", JOINS)
def test_counts_hold_on_worker_processes(tmp_path, join, unmatched):
    random = np.random.default_rng(11)
    collection = _make(tmp_path, random)
    table = pa.Table.from_batches([batch.points for batch in _batches(random)])
    pq.write_table(table.select(["point_x", "point_y"]).rename_columns(["x", "y"]),
                   tmp_path / "points.parquet", row_group_size=50)  # fmt: skip
    found = []
    for number, flags in enumerate((WORKERS, [])):
        pipeline = beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner", *flags]))
        points, _ = pipeline | ReadPoints(
            pattern=str(tmp_path / "points.parquet"), columns=PointColumns(crs="EPSG:4326"),
        )
        options = SampleOptions(bands=BANDS, max_distance_pixels=2, unmatched=unmatched)
        sampled = points | SamplePoints(collection=collection, options=options, join=join)
        _ = sampled.samples | WriteSamples(folder=str(tmp_path / f"out{number}"))
        result = pipeline.run()
        result.wait_until_finish()
        counts = collections.Counter(counters(result))
        rows = pq.read_table(tmp_path / f"out{number}").to_pylist()
        _check_identities(counts, table.num_rows)
        if unmatched == "emit":
            _check_emitted(counts, rows, table.num_rows)
        assert counts["rows_written"] == len(rows)
        found.append(counts)
    kinds = ("points", "samples", "tiles", "rows")
    told = [name for name in found[0] if name.split("_")[0] in kinds]
    assert [found[0][name] for name in told] == [found[1][name] for name in told]
