"""The same calls on the same files, here and in rasteret itself.

``rasteret_env`` says where rasteret comes from.
"""

import datetime as dt
import json
import subprocess

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasteret_env
from scenes import Scene, make_collection, ramp

from rasteret_beam.companion import Collection

PYTHON, REASON = rasteret_env.find()
pytestmark = pytest.mark.skipif(PYTHON is None, reason=REASON)

CALLS = """
def facts(c):
    return {"len": len(c), "bounds": c.bounds, "crs": c.crs, "epsg": c.epsg, "bands": c.bands}

def ids(c):
    return c.to_table(columns=["id"])["id"].to_pylist()

def subsets(c):
    return [ids(c.subset(**filters)) for filters in FILTERS]

def error(call):
    try:
        call()
    except ValueError as error:
        return str(error)

def answers(Collection, path, workspace):
    c = Collection.from_parquet(path, name="n", data_source="sentinel-2-l2a")
    some = c.subset(cloud_cover_lt=50)
    return {
        "facts": [facts(c), facts(some), facts(c.subset(cloud_cover_lt=0))],
        "described": {k: v for k, v in c.describe().data.items() if k != "dates"},
        "compared": {k: v for k, v in c.compare_to_catalog().data.items() if k != "dates"},
        "subsets": subsets(c),
        "chained": [ids(some.subset(split="train")), ids(some.select_split(["test", "val"]))],
        "where": ids(c.where(pc.field("eo:cloud_cover") >= 20)),
        "head": c.head(2, columns=["id", "split"]).to_pylist(),
        "columns": c.to_table().schema.names,
        "names": [Collection.create_name(*given) for given in NAMES],
        "parsed": [Collection.parse_name(name) for name in PARSED],
        "listed": sorted(Collection.list_collections(workspace), key=lambda found: found["name"]),
        "errors": [bool(error(lambda f=f: c.subset(**f))) for f in REFUSED],
    }
"""
SETTING = """
import json, pathlib, sys, warnings
import pyarrow.compute as pc
warnings.simplefilter("ignore")
FILTERS = [
    {"cloud_cover_lt": 20}, {"cloud_cover_lt": 100}, {"date_range": ("2024-01-01", "2024-01-31")},
    {"date_range": ("2024", "2024-02-01")}, {"bbox": (3.0, 41.0, 3.01, 42.0)},
    {"bbox": (0.0, 0.0, 1.0, 1.0)}, {"split": "train"}, {"split": ["train", "val"]},
    {"geometries": (3.0, 41.0, 3.01, 42.0)}, {"split": "x", "split_column": "fold"},
    {"cloud_cover_lt": 99, "date_range": ("2023", "2025"), "split": "test"},
]
REFUSED = [
    {}, {"cloud_cover_lt": 101}, {"cloud_cover_lt": -1}, {"date_range": ("2025", "2024")},
    {"date_range": ("", "2024")}, {"bbox": (1, 0, 0, 1)}, {"bbox": (0, 0, 1)}, {"split": []},
    {"split": "a", "split_column": "zz"},
]
NAMES = [
    ("My fields", ("2024-01-01", "2024-03-31"), "sentinel-2-l2a"),
    ("a_b", ("2023-11-01", "2024-01-31"), "landsat-c2-l2"),
    ("--", ("2024-01-01", "2024-01-02"), "Sentinel 1/GRD"),
    ("x.y", ("2024-01-01", "2024-01-02"), ""),
]
PARSED = ["my-fields_202401-03_sentinel", "a_202401-03_b_stac", "plain", "a_2024_b", "a_b"]
"""
ASK = (
    SETTING + CALLS + "from rasteret import Collection\n"
    "found = answers(Collection, sys.argv[1], pathlib.Path(sys.argv[2]))\nprint(json.dumps(found))"
)
SAMPLE = """
import json, sys, warnings
import pyarrow.parquet as pq
import rasteret
warnings.simplefilter("ignore")
folder, options = sys.argv[1], json.loads(sys.argv[2])
points = pq.read_table(folder + "/points.parquet")
table = rasteret.load(folder + "/out").sample_points(points, ["B04", "B08"], **options)
pq.write_table(table, folder + "/theirs.parquet")
"""


def rasteret(script, *arguments):
    """What a script prints that rasteret's interpreter runs."""
    run = subprocess.run(  # noqa: S603 -- our own script
        [PYTHON, "-c", script, *map(str, arguments)],
        check=True, capture_output=True, text=True, cwd="/",
    )  # fmt: skip
    return run.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A collection of four records in two zones; one lacks date, cloud cover and split."""
    folder = tmp_path_factory.mktemp("parity")
    made = [
        Scene(name=name, pixels=ramp(60, 60, bands=2) + at, when=when, epsg=epsg,
              origin=(x, 4600000.0), bands=("B04", "B08"), nodata="105")
        for at, (name, when, epsg, x) in enumerate((
            ("c", dt.datetime(2024, 1, 1), 32631, 500000.0),  # noqa: DTZ001 -- UTC
            ("a", dt.datetime(2024, 1, 31), 32631, 500100.0),  # noqa: DTZ001 -- UTC
            ("b", dt.datetime(2024, 1, 31, 12), 32632, 250000.0),  # noqa: DTZ001 -- UTC
            ("d", None, 32631, 500000.0),
        ))
    ]  # fmt: skip
    table = pq.read_table(make_collection(folder, made)).replace_schema_metadata(None)
    for name, values in (
        ("eo:cloud_cover", [0.0, 20.0, 99.5, None]),
        ("split", ["train", "test", "val", None]),
        ("fold", ["x", "x", "y", "y"]),
    ):
        table = table.append_column(name, pa.array(values))
    pq.write_table(table, folder / "collection.parquet")
    for name in ("one_202401-02_sentinel_stac", "two_records"):
        Collection.from_arrow(table, data_source="naip").export(folder / "workspace" / name)
    Collection.from_arrow(table, name="n").export(folder / "out")
    # Points in grid order, so that several lie in each tile of each record.
    lon = [3.0001 + 0.0002 * number for number in range(40)]
    points = {"lon": lon, "lat": [41.5512 - 0.0001 * n for n in range(40)], "label": ["p"] * 40}
    pq.write_table(pa.table(points), folder / "points.parquet")
    return folder


@pytest.fixture(scope="module", params=["collection.parquet", "out"])
def both(request, folder):
    """Ours and theirs, on one file and on a folder of months."""
    path, workspace = folder / request.param, folder / "workspace"
    names: dict = {}
    exec(SETTING + CALLS, names)  # noqa: S102 -- the very text that the other process runs
    ours = names["answers"](Collection, str(path), workspace)
    return json.loads(json.dumps(ours)), json.loads(rasteret(ASK, path, workspace))


@pytest.mark.parametrize(
    "answer",
    ["facts", "described", "compared", "subsets", "chained", "where", "head", "columns", "names",
     "parsed", "listed", "errors"],
)  # fmt: skip
def test_rasteret_answers_the_same(both, answer):
    ours, theirs = both
    assert ours[answer] == theirs[answer]


@pytest.mark.parametrize(
    "options",
    [{}, {"match": "latest"}, {"max_distance_pixels": 2}, {"cloud_cover_lt": 50},
     {"max_distance_pixels": 1, "return_neighbourhood": "always"}],
    ids=str,
)  # fmt: skip
def test_rasteret_samples_an_export_row_by_row_the_same(folder, options):
    options = {"geometry_crs": 4326, **options}
    rasteret(SAMPLE, folder, json.dumps(options))
    theirs = pq.read_table(folder / "theirs.parquet")
    points = pq.read_table(folder / "points.parquet")
    opened = Collection.from_parquet(folder / "out")
    ours = opened.sample_points(points, ["B04", "B08"], **options)
    assert theirs.num_rows > 0
    assert ours.schema.equals(theirs.schema)
    assert list(map(repr, ours.to_pylist())) == list(map(repr, theirs.to_pylist()))


def test_rasteret_takes_a_view_over_the_arrow_interface(folder):
    script = (
        "import sys, rasteret, pyarrow.parquet as pq\n"
        "table = pq.read_table(sys.argv[1])\n"
        "print(len(rasteret.as_collection(table)), rasteret.as_collection(table).bands)"
    )
    view = Collection.from_parquet(folder / "out").subset(cloud_cover_lt=50)
    pq.write_table(view.to_table(), folder / "view.parquet")
    assert rasteret(script, folder / "view.parquet").strip() == "2 ['B04', 'B08']"
