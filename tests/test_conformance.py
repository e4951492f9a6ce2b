"""Every raster of the shared sets, read through the public transforms, against GDAL's values."""

import math
import pathlib

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from shared_data import SHARED, requires_shared

from rasteret_beam import (
    BuildCollection,
    CollectionQuery,
    FallbackRing,
    FetchTiles,
    FileSource,
    PlanTiles,
    PointColumns,
    ReadCollection,
    ReadPoints,
    SampleNearest,
    SampleOptions,
    WriteDeadLetters,
    WriteSamples,
)
from rasteret_beam.points import NO_CRS

pytestmark = requires_shared

EXPECTED = SHARED / "realdata" / "expected"

STRIPS = "Striped"
ROTATED = "Rotated"
NOT_LOCATED = "No georeferencing"
REFUSED = {
    "gdal__cfloat32.tif": STRIPS,
    "gdal__float16.tif": STRIPS,
    "gdal__int64.tif": STRIPS,
    "gdal__sparse_tiled_contig.tif": NOT_LOCATED,
    "gdalw__c64_zstd.tif": "Complex",
    "gdalw__geo_rotated.tif": ROTATED,
    "image-tiff__tiled-gray-i1.tif": NOT_LOCATED,
    "odc-geo__au-3577-rotated.tif": ROTATED,
    "odc-geo__au-gcp.tif": "GCPs only",
    "proj__test_vgrid_pixelisarea.tif": STRIPS,
    "proj__test_vgrid_pixelispoint.tif": STRIPS,
    "raquet__n37_w123_1arc_v2.tif": STRIPS,
}
"""Files that are not read, and what the refusal must say. Every other file must be right."""


@pytest.fixture(scope="module")
def files():
    rows = pq.read_table(EXPECTED / "files.parquet").to_pylist()
    return {row["file"]: row for row in rows}


@pytest.fixture(scope="module")
def index(files, tmp_path_factory):
    """The collection of all files, and the dead letters of building it."""
    folder = tmp_path_factory.mktemp("index")
    with beam.Pipeline("FnApiRunner") as pipeline:
        built = (
            pipeline
            | BuildCollection(
                source=FileSource(inputs=tuple(_path(name) for name in files)),
                folder=str(folder / "collection"),
            )
        )
        _ = built.dead_letters | WriteDeadLetters(folder=str(folder / "dead_letters"))
    return folder


def _path(name):
    folder, file = name.split("/")
    return str(SHARED / folder / file)


def _stem(name):
    return pathlib.PurePath(name).stem


def _sample(folder, tables, options):
    """Samples tables of points, each with its CRS, in one pipeline of all six transforms."""
    with beam.Pipeline("FnApiRunner") as pipeline:
        records, _ = pipeline | ReadCollection(
            query=CollectionQuery(str(folder / "collection"), options.bands),
        )
        batches = []
        for number, (crs, table) in enumerate(tables):
            path = folder / f"points-{number}.parquet"
            pq.write_table(table, path)
            columns = PointColumns(crs=crs, x_column="x", y_column="y")
            read = pipeline | f"Read{number}" >> ReadPoints(pattern=str(path), columns=columns)
            batches.append(read.points)
        planned = batches | beam.Flatten() | PlanTiles(records=records, options=options)
        fetched = planned | FetchTiles()
        samples = fetched.tiles | SampleNearest(options=options) | FallbackRing(options=options)
        _ = samples | WriteSamples(folder=str(folder / "samples"))
    return pq.read_table(folder / "samples")


def _tables(rows, files, columns):
    """Points by the CRS they are in, EPSG:4326 or the raster's own."""
    by_crs = {}
    for row in rows:
        crs = "EPSG:4326"
        if row.get("space", "native") == "native":
            crs = files[row["file"]]["crs_wkt"] or NO_CRS
        by_crs.setdefault(crs, []).append({name: row[name] for name in columns})
    return [(crs, pa.Table.from_pylist(group)) for crs, group in by_crs.items()]


def _kept(samples):
    """Rows of the file that the point was drawn for, by (file, point, band)."""
    found = {}
    ids = samples["record_id"].to_pylist()
    for at, file in enumerate(samples["file"].to_pylist()):
        if ids[at] == _stem(file):
            key = (file, samples["key"][at].as_py(), samples["band"][at].as_py())
            assert key not in found, f"two rows for {key}"
            found[key] = samples["value"][at].as_py()
    return found


def test_no_file_is_left_out_in_silence(files, index):
    text = "".join(path.read_text() for path in (index / "dead_letters").glob("*.jsonl"))
    refused = {name: reason for name, reason in REFUSED.items() if name in text}
    indexed = set(pq.read_table(index / "collection")["id"].to_pylist())
    assert refused == REFUSED
    assert indexed == {_stem(name) for name in files if name.split("/")[1] not in REFUSED}
    for line in text.splitlines():
        assert any(name in line and reason in line for name, reason in REFUSED.items()), line


def test_every_point_has_the_value_that_gdal_reads(files, index):
    rows = pq.read_table(EXPECTED / "points.parquet").to_pylist()
    rows = [row for row in rows if row["file"].split("/")[1] not in REFUSED]
    points = {(r["file"], r["space"], r["point_id"]): r for r in rows}.values()
    keyed = [{**row, "key": f"{row['space']}/{row['point_id']}"} for row in points]
    bands = tuple(f"B{number}" for number in range(1, max(r["band"] for r in rows) + 1))
    tables = _tables(keyed, files, ["x", "y", "file", "key"])
    found = _kept(_sample(index, tables, SampleOptions(bands=bands)))
    wrong = []
    for row in rows:
        key = (row["file"], f"{row['space']}/{row['point_id']}", f"B{row['band']}")
        if not _is_right(row, found.get(key, "absent")):
            wrong.append((key, row["kind"], row["x"], row["y"], row["accept"], found.get(key)))
    assert not wrong, f"{len(wrong)} of {len(rows)}: {wrong[:5]}"


def _is_right(row, value):
    if value == "absent":
        return row["accept_outside"] or not row["inside"]
    if not row["inside"] and not row["edge"]:
        return False
    if math.isnan(value):
        return row["accept_nan"] or row["is_nan"]
    return value in row["accept"]


@pytest.mark.parametrize("radius", [1, 2, 4, 8, 16])
def test_every_fallback_takes_the_nearest_pixel_of_the_first_ring(files, index, radius):
    rows = pq.read_table(EXPECTED / "ring.parquet").to_pylist()
    rows = [
        row for row in rows
        if row["file"].split("/")[1] not in REFUSED and row["max_distance_pixels"] == radius
    ]
    keyed = [{**row, "key": f"{row['kind']}/{row['point_id']}/{row['band']}"} for row in rows]
    bands = tuple(sorted({f"B{row['band']}" for row in rows}))
    tables = _tables(keyed, files, ["x", "y", "file", "key"])
    found = _kept(_sample(index, tables, SampleOptions(bands=bands, max_distance_pixels=radius)))
    wrong = []
    for row in keyed:
        value = found.get((row["file"], row["key"], f"B{row['band']}"))
        right = value is not None and (
            value in row["accept"] if row["found"] else _same(value, row["base_value"])
        )
        if not right:
            wrong.append((row["file"], row["key"], row["accept"], row["base_value"], value))
    assert not wrong, f"{len(wrong)} of {len(rows)}: {wrong[:5]}"


def _same(value, expected):
    return value == expected or (math.isnan(value) and (expected is None or math.isnan(expected)))
