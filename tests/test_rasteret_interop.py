"""Collections of rasteret sampled here, and ours sampled by it: the tables must be equal.

``rasteret_env`` says where rasteret comes from.
"""

import json
import subprocess

import apache_beam as beam
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import rasteret_env
from scenes import Scene, ramp, run, write_scene

from rasteret_beam import BuildCollection, RecordTable, StacFiles, StacReading
from rasteret_beam.points import PointColumns

PYTHON, REASON = rasteret_env.find()
pytestmark = pytest.mark.skipif(PYTHON is None, reason=REASON)

SCENES = (
    # Two dates in one zone, one in the next; chunky and planar; every seventh row is nodata.
    ("a", "2024-01-01T10:11:12Z", 32631, 500000.0, "contig"),
    ("b", "2024-02-01T10:11:12Z", 32631, 500000.0, "separate"),
    ("c", "2024-01-15T10:11:12Z", 32632, 250000.0, "contig"),
)
BANDS = {"red": 0, "nir": 1}
BUILD = """
import pathlib, sys
import rasteret
folder = sys.argv[1]
rasteret.build_from_table(
    folder + "/table.parquet", name="theirs", workspace_dir=folder, href_column="path",
    column_map={"fid": "id"}, band_index_map={"red": 0, "nir": 1}, enrich_cog=True,
    data_source="mine")
rasteret.build_from_stac(
    name="stac", stac_api=folder + "/catalog.json", collection="mine", data_source="mine",
    band_map={"red": "visual", "nir": "visual"}, band_index_map={"red": 0, "nir": 1},
    static_catalog=True, workspace_dir=pathlib.Path(folder) / "theirs_stac")
"""
SAMPLE = """
import json, sys, warnings
import pyarrow.parquet as pq
import rasteret
warnings.simplefilter("ignore")
folder, name, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
collection = rasteret.load(folder + "/" + name)
table = collection.sample_points(
    pq.read_table(folder + "/points.parquet"), ["red", "nir"], geometry_crs=4326,
    bbox=(-10, 30, 20, 60), **options)
pq.write_table(table, folder + "/sampled.parquet")
"""
COLLECTIONS = ("ours_table", "ours_stac", "theirs_records", "theirs_stac")
OPTIONS = (
    {}, {"match": "latest"}, {"max_distance_pixels": 3},
    {"max_distance_pixels": 2, "return_neighbourhood": "always"},
    {"max_distance_pixels": 2, "return_neighbourhood": "if_center_nodata"},
)  # fmt: skip
KEY = [(name, "ascending") for name in ("point_index", "record_id", "band")]


def rasteret(script, *arguments):
    subprocess.run([PYTHON, "-c", script, *map(str, arguments)], check=True, cwd=arguments[0])  # noqa: S603


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The same files as a table and as a static catalogue, indexed here and by rasteret."""
    folder = tmp_path_factory.mktemp("interop")
    paths = []
    for number, (name, _, epsg, x, planar) in enumerate(SCENES):
        pixels = ramp(200, 200, bands=2) + number
        pixels[:, ::7] = 0
        made = Scene(
            name=name, pixels=pixels, epsg=epsg, origin=(x, 4600000.0), nodata="0",
            tiff={"planarconfig": planar},
        )
        paths.append(write_scene(folder, made))
    _write_table(folder, paths)
    _write_catalogue(folder, paths)
    pq.write_table(
        pa.table({
            "lon": [3.0 + 0.0004 * number for number in range(60)],
            "lat": [41.55 - 0.0003 * number for number in range(60)],
            "name": [f"p{number}" for number in range(60)],
        }),
        folder / "points.parquet",
    )  # fmt: skip
    rasteret(BUILD, folder)
    reading = StacReading(band_index_map=BANDS)
    visual = StacReading(band_map=dict.fromkeys(BANDS, "visual"), band_index_map=BANDS)
    sources = {
        "ours_table": RecordTable(
            table=str(folder / "table.parquet"), column_map={"fid": "id"}, href_column="path",
            reading=reading,
        ),
        "ours_stac": StacFiles(inputs=str(folder / "catalog.json"), reading=visual),
    }
    for name, source in sources.items():
        with beam.Pipeline("FnApiRunner") as pipeline:
            _ = pipeline | BuildCollection(
                source=source, folder=str(folder / name), name="mine", data_source="mine",
            )
    return folder


def _write_table(folder, paths):
    table = pa.table({
        "fid": [1, 2, 3],
        "datetime": [when for _, when, *_ in SCENES],
        "geometry": pa.array([b""] * 3, pa.binary()),
        "path": paths,
        "eo:cloud_cover": [1.0, 2.0, None],
        "bbox": pa.array([{"xmin": 2.9, "ymin": 41.0, "xmax": 9.0, "ymax": 42.0}] * 3),
    })  # fmt: skip
    pq.write_table(table, folder / "table.parquet")


def _write_catalogue(folder, paths):
    links = []
    for (name, when, epsg, _, _), path in zip(SCENES, paths, strict=True):
        box = [2.9, 41.0, 9.0, 42.0]
        ring = [[box[i], box[j]] for i, j in ((0, 1), (2, 1), (2, 3), (0, 3), (0, 1))]
        item = {
            "type": "Feature", "stac_version": "1.0.0", "id": name, "bbox": box,
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "properties": {"datetime": when, "proj:code": f"EPSG:{epsg}", "eo:cloud_cover": 3.0},
            "assets": {"visual": {"href": path}}, "links": [],
        }  # fmt: skip
        (folder / f"{name}.json").write_text(json.dumps(item), encoding="utf-8")
        links.append({"rel": "item", "href": f"./{name}.json"})
    catalogue = {
        "type": "Catalog", "stac_version": "1.0.0", "id": "root", "description": "x",
        "links": links,
    }  # fmt: skip
    (folder / "catalog.json").write_text(json.dumps(catalogue), encoding="utf-8")


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("name", COLLECTIONS)
def test_rasteret_gives_the_same_table(folder, name, options):
    rasteret(SAMPLE, folder, name, json.dumps(options))
    theirs = pq.read_table(folder / "sampled.parquet").sort_by(KEY)
    points = pq.read_table(folder / "points.parquet")
    ours = run(
        str(folder / name), points, ("red", "nir"), crs=PointColumns(crs="EPSG:4326"), **options,
    ).samples.sort_by(KEY)
    assert theirs.num_rows > 0
    assert ours.schema.equals(theirs.schema)
    assert list(map(repr, ours.to_pylist())) == list(map(repr, theirs.to_pylist()))


@pytest.mark.parametrize(("ours", "theirs"), [("ours_table", "theirs_records"),
                                              ("ours_stac", "theirs_stac")])  # fmt: skip
def test_indexes_agree_in_every_column_that_both_have(folder, ours, theirs):
    tables = [
        ds.dataset(str(folder / name), partitioning="hive").to_table().sort_by("id")
        for name in (ours, theirs)
    ]
    # Footprints differ on purpose: ours come from the pixels, its from the catalogue.
    own = {"geometry", "bbox", "collection"}
    names = [n for n in tables[1].schema.names if n in tables[0].schema.names and n not in own]
    assert {"id", "datetime", "assets", "proj:epsg", "crs", "red_metadata", "year"} <= set(names)
    for name in names:
        assert tables[0].schema.field(name).type == tables[1].schema.field(name).type, name
        assert tables[0][name].to_pylist() == tables[1][name].to_pylist(), name
