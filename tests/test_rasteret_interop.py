"""A collection built here, sampled by rasteret itself: the tables must be equal.

rasteret needs Python 3.12 and more packages than this project's tests; name an
interpreter that has it:

    RASTERET_PYTHON=/path/to/python python -m pytest tests/test_rasteret_interop.py
"""

import json
import os
import subprocess

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scenes import Scene, ramp, run, write_scene

from rasteret_beam import BuildCollection, FileSource
from rasteret_beam.points import PointColumns

PYTHON = os.environ.get("RASTERET_PYTHON")
pytestmark = pytest.mark.skipif(
    PYTHON is None, reason="RASTERET_PYTHON names no interpreter that has rasteret",
)
SCRIPT = """
import json, sys, warnings
import pyarrow.parquet as pq
import rasteret
warnings.simplefilter("ignore")
folder, options = sys.argv[1], json.loads(sys.argv[2])
collection = rasteret.load(folder + "/collection")
table = collection.sample_points(
    pq.read_table(folder + "/points.parquet"), ["B1", "B2"], geometry_crs=4326,
    bbox=(-10, 30, 20, 60), **options)
pq.write_table(table, folder + "/rasteret.parquet")
"""
KEY = [(name, "ascending") for name in ("point_index", "record_id", "band")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two dates in one zone and one in the next; every seventh row is nodata."""
    folder = tmp_path_factory.mktemp("interop")
    paths = []
    for name, epsg, x in (("a_20240101", 32631, 500000.0), ("a_20240201", 32631, 500000.0),
                          ("b_20240115", 32632, 250000.0)):  # fmt: skip
        pixels = ramp(200, 200, bands=2) + len(paths)
        pixels[:, ::7] = 0
        scene = Scene(name=name, pixels=pixels, epsg=epsg, origin=(x, 4600000.0), nodata="0")
        paths.append(write_scene(folder, scene))
    with beam.Pipeline("FnApiRunner") as pipeline:
        _ = pipeline | BuildCollection(
            source=FileSource(inputs=tuple(paths), datetime_pattern=r"_(\d{8})"),
            folder=str(folder / "collection"),
        )
    lon = [3.0 + 0.0004 * number for number in range(60)]
    lat = [41.55 - 0.0003 * number for number in range(60)]
    table = pa.table({"lon": lon, "lat": lat, "name": [f"p{n}" for n in range(60)]})
    pq.write_table(table, folder / "points.parquet")
    return folder


@pytest.mark.parametrize(
    "options",
    ["{}", '{"match": "latest"}', '{"max_distance_pixels": 3}',
     '{"max_distance_pixels": 2, "return_neighbourhood": "always"}',
     '{"max_distance_pixels": 2, "return_neighbourhood": "if_center_nodata"}'],
)  # fmt: skip
def test_rasteret_gives_the_same_table(folder, options):
    subprocess.run([PYTHON, "-c", SCRIPT, str(folder), options], check=True)  # noqa: S603
    theirs = pq.read_table(folder / "rasteret.parquet").sort_by(KEY)
    points = pq.read_table(folder / "points.parquet")
    ours = run(
        str(folder / "collection"), points, ("B1", "B2"), crs=PointColumns(crs="EPSG:4326"),
        **json.loads(options),
    ).samples.sort_by(KEY)  # fmt: skip
    assert theirs.num_rows > 0
    assert ours.schema.equals(theirs.schema)
    assert list(map(repr, ours.to_pylist())) == list(map(repr, theirs.to_pylist()))
