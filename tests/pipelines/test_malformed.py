"""The hostile files of the shared set, through both commands."""

import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from shared_data import SHARED, requires_shared

pytestmark = [
    requires_shared,
    pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc"),
]

MALFORMED = SHARED / "malformed"
WIDTH, HEIGHT, TILE = 48, 40, 16
ROOT = pathlib.Path(__file__).resolve().parents[2]
# The kernel's own high-water mark of this program: ru_maxrss would still hold the
# parent's, from before the exec.
_PEAK = """
import re, runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    status = open("/proc/self/status").read()
    print("peak MB", int(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1]) // 1024)
"""


def _cases():
    if not MALFORMED.is_dir():
        return []
    found = json.loads((MALFORMED / "cases.json").read_text(encoding="utf-8"))
    return [case for case in found if case["file"].endswith(".tif")]


CASES = _cases()


def _command(name, *flags):
    """Runs a command in a process of its own; gives its exit code, output and peak memory."""
    done = subprocess.run(  # noqa: S603 -- this interpreter and our own script
        [sys.executable, "-c", _PEAK, str(ROOT / "pipelines" / f"{name}.py"),
         *[str(flag) for flag in flags]],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    return done, int(done.stdout.rsplit("peak MB", 1)[1])


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """The collection of every case, and its dead letters by file."""
    folder = tmp_path_factory.mktemp("malformed")
    files = [MALFORMED / case["file"] for case in CASES]
    files += sorted((MALFORMED / "real").iterdir())
    (folder / "list.txt").write_text("\n".join(map(str, files)), encoding="utf-8")
    done, peak_mb = _command(
        "build_collection", "--inputs", folder / "list.txt", "--output", folder / "collection",
        "--dead_letters", folder / "letters",
    )  # fmt: skip
    (path,) = (folder / "letters").iterdir()
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    letters = {json.loads(line["element"])["href"]: line["msg"] for line in lines}
    return folder, letters, done, peak_mb


@pytest.fixture(scope="module")
def values(index):
    """By href, an array of (row, col) -> value; NaN where there is none. And the peak memory."""
    folder, _, _, _ = index
    row, col = np.indices((HEIGHT, WIDTH)).reshape(2, -1)
    x, y = 300000 + (col + 0.5) * 20, 8000000 - (row + 0.5) * 20
    pq.write_table(pa.table({"x": x, "y": y, "row": row, "col": col}), folder / "points.parquet")
    done, peak_mb = _command(
        "sample_points", "--collection", folder / "collection", "--bands", "B1",
        "--points", folder / "points.parquet", "--points_crs", "EPSG:32733",
        "--output", folder / "samples", "--error_threshold", "1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    collection = pq.read_table(folder / "collection")
    ids = collection["id"].to_pylist()
    hrefs = [asset["B1"]["href"] for asset in collection["assets"].to_pylist()]
    href_of = dict(zip(ids, hrefs, strict=True))
    table = pq.read_table(folder / "samples")
    found = {href: np.full((HEIGHT, WIDTH), np.nan) for href in hrefs}
    for sample in table.to_pylist():
        if sample["record_id"] is not None and sample["value"] is not None:
            found[href_of[sample["record_id"]]][sample["row"], sample["col"]] = sample["value"]
    return found, peak_mb


def _expected():
    row, col = np.indices((HEIGHT, WIDTH))
    return (row * 311 + col * 5).astype(float)


def _named(case):
    return case["file"]


def test_building_neither_crashes_nor_hoards(index):
    _, letters, done, peak_mb = index
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert peak_mb < 500
    assert letters


def test_sampling_does_not_hoard(values):
    assert values[1] < 500


@pytest.mark.parametrize(
    "case", [c for c in CASES if (c["expect"], c["when"]) == ("refuse", "index")], ids=_named,
)
def test_what_must_be_refused_at_index_time_is_a_dead_letter(index, values, case):
    path = str(MALFORMED / case["file"])
    assert path in index[1]
    assert path in index[1][path]
    assert path not in values[0]


@pytest.mark.parametrize("case", [c for c in CASES if c["expect"] == "ok"], ids=_named)
def test_what_is_odd_but_legal_is_read_right(values, case):
    found, expected = values[0][str(MALFORMED / case["file"])], _expected()
    if case["file"] == "tiles/sparse_one.tif":
        expected[:TILE, :TILE] = 0
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "case", [c for c in CASES if c["when"] == "read" or c["expect"] == "either"], ids=_named,
)
def test_no_value_that_is_given_is_wrong(values, case):
    found = values[0].get(str(MALFORMED / case["file"]))
    if found is None:
        return
    right = (found == _expected()) | np.isnan(found)
    if "bombs" in case["file"]:
        right[:TILE, :TILE] |= found[:TILE, :TILE] == 0
    assert right.all()


@pytest.mark.parametrize(
    "case", [c for c in CASES if (c["expect"], c["when"]) == ("refuse", "read")], ids=_named,
)
def test_a_damaged_tile_loses_its_own_pixels_only(values, case):
    lost = np.isnan(values[0][str(MALFORMED / case["file"])])
    assert 0 < lost.sum() <= TILE * TILE


def test_files_found_in_the_wild_are_refused_by_name(index):
    refused = set(index[1])
    for path in sorted((MALFORMED / "real").iterdir()):
        assert str(path) in refused, path.name


ROW_PROBLEMS = {
    "metadata_null": "no header metadata",
    "meta_offsets_shorter": "8 tile_offsets but 9",
    "meta_tile_width_zero": "tile_width is 0",
    "meta_dtype_bogus": "float99",
    "meta_transform_three": "4 or 6 values",
    "meta_offset_negative": "-5",
    "row_crs_garbage": "EPSG:garbage",
    "row_href_null": "has no href",
    "row_band_index_7": "band_index 7",
    "row_bbox_nan": "bbox",
}


@pytest.fixture
def table(tmp_path):
    """Copies an index table with hrefs that lead to the shared folder."""

    def copy(name):
        rows = pq.read_table(MALFORMED / "index" / f"{name}.parquet")
        assets = rows["assets"].to_pylist()
        for asset in assets:
            if asset["b1"]["href"] is not None:
                asset["b1"]["href"] = str(MALFORMED / asset["b1"]["href"])
        at = rows.schema.get_field_index("assets")
        rows = rows.set_column(at, "assets", pa.array(assets, rows.schema.field(at).type))
        pq.write_table(rows, tmp_path / "index.parquet")
        return tmp_path / "index.parquet"

    return copy


def _sample(sample, collection, points, folder, *more):
    code = sample(
        "--collection", collection, "--points", points, "--bands", "b1", "--output", folder / "out",
        "--points_crs", "EPSG:32733", "--dead_letters", folder / "letters", *more,
    )  # fmt: skip
    text = "".join(p.read_text() for p in (folder / "letters").glob("*")) if code < 2 else ""
    return code, text


@pytest.fixture
def two_points(tmp_path):
    path = tmp_path / "points.parquet"
    pq.write_table(pa.table({"x": [300110.0, 300010.0], "y": [7999930.0, 7999990.0]}), path)
    return path


def test_the_sound_index_gives_values(tmp_path, sample, table, two_points):
    code, letters = _sample(sample, table("valid"), two_points, tmp_path)
    assert (code, letters) == (0, "")
    values = pq.read_table(tmp_path / "out")["value"].to_pylist()
    assert sorted(values) == [0.0, 3 * 311 + 5 * 5]


@pytest.mark.parametrize("name", ROW_PROBLEMS)
def test_a_broken_record_is_named_with_the_reason(tmp_path, sample, table, two_points, name):
    code, letters = _sample(sample, table(name), two_points, tmp_path)
    assert code in (0, 1)
    assert "record 'r'" in letters
    assert ROW_PROBLEMS[name] in letters


@pytest.mark.parametrize("name", ["missing_id", "missing_b1_metadata", "cut", "not_parquet"])
def test_what_is_no_collection_is_refused(tmp_path, sample, two_points, name, capsys):
    shutil.copy(MALFORMED / "index" / f"{name}.parquet", tmp_path / "index.parquet")
    code, _ = _sample(sample, tmp_path / "index.parquet", two_points, tmp_path)
    assert code == 2
    assert "index.parquet" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["nan", "null", "minus_inf"])
def test_a_point_without_coordinates_has_no_value_and_harms_no_other(
    tmp_path, sample, table, name,
):
    points = MALFORMED / "points" / f"{name}.parquet"
    code, letters = _sample(sample, table("valid"), points, tmp_path)
    rows = {row["point_index"]: row for row in pq.read_table(tmp_path / "out").to_pylist()}
    assert (code, letters) == (0, "")
    assert (rows[0]["status"], rows[0]["value"]) == ("INVALID_POINT", None)
    assert rows[1]["value"] == 3 * 311 + 5 * 5


@pytest.mark.parametrize("name", ["wkb_cut", "wkb_linestring"])
def test_a_geometry_that_is_no_point_is_a_dead_letter_and_harms_no_other(
    tmp_path, sample, table, name,
):
    points = MALFORMED / "points" / f"{name}.parquet"
    flags = ("--geometry_column", "geometry")
    code, letters = _sample(sample, table("valid"), points, tmp_path, *flags)
    rows = {row["point_index"]: row for row in pq.read_table(tmp_path / "out").to_pylist()}
    assert code == 1
    assert "point 0" in letters
    assert (rows[0]["status"], rows[1]["value"]) == ("INVALID_POINT", 3 * 311 + 5 * 5)


@pytest.mark.parametrize("name", ["missing_y", "collides_band"])
def test_points_that_cannot_be_told_are_refused(tmp_path, sample, table, name):
    points = MALFORMED / "points" / f"{name}.parquet"
    code, _ = _sample(sample, table("valid"), points, tmp_path)
    assert code == 2
