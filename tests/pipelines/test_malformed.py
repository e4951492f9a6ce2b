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
from measured import run_measured
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


def _cases(suffix):
    if not MALFORMED.is_dir():
        return []
    found = json.loads((MALFORMED / "cases.json").read_text(encoding="utf-8"))
    return [case for case in found if case["file"].endswith(suffix)]


CASES = _cases(".tif")
CASES_OF_TABLES = [c for c in _cases(".parquet") if c["group"] != "polygons"]


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
POINTS_OK = {"nan", "null", "minus_inf"}
MEMORY_MB = 1000


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """A program of its own has run every index, and every table of points, one by one.

    Gives (kind, name) -> how it ended, its rows by point_index, and its dead letters.
    """
    folder = tmp_path_factory.mktemp("tables")
    two = folder / "two.parquet"
    pq.write_table(pa.table({"x": [300110.0, 300010.0], "y": [7999930.0, 7999990.0]}), two)
    cases = [("index", path.stem, path, two) for path in _parquet("index")]
    sound = MALFORMED / "index" / "valid.parquet"
    cases += [("points", path.stem, sound, path) for path in _parquet("points")]
    jobs = []
    for kind, name, index, points in cases:
        home = folder / kind / name
        home.mkdir(parents=True)
        flags = ("--geometry_column", "geometry") if name.startswith("wkb") else ()
        jobs.append([
            "sample_points", "--collection", _index_at(index, home), "--points", points,
            "--bands", "b1", "--output", home / "out", "--points_crs", "EPSG:32733",
            "--dead_letters", home / "letters", *flags,
        ])  # fmt: skip
    found = {}
    for (kind, name, _, _), job in zip(cases, run_measured(folder, jobs), strict=True):
        home = folder / kind / name
        rows = pq.read_table(home / "out").to_pylist() if job.code in (0, 1) else []
        letters = "".join(p.read_text() for p in sorted(home.glob("letters/*.jsonl")))
        found[kind, name] = job, {row["point_index"]: row for row in rows}, letters
    return found


def _parquet(group):
    return sorted((MALFORMED / group).glob("*.parquet"))


def _index_at(path, home):
    """A copy whose hrefs lead to the shared folder; what cannot be read as it is."""
    copy = home / "index.parquet"
    try:
        rows = pq.read_table(path)
    except pa.ArrowInvalid:
        shutil.copy(path, copy)
        return copy
    assets = rows["assets"].to_pylist()
    for asset in assets:
        if asset["b1"]["href"] is not None:
            asset["b1"]["href"] = str(MALFORMED / asset["b1"]["href"])
    at = rows.schema.get_field_index("assets")
    rows = rows.set_column(at, "assets", pa.array(assets, rows.schema.field(at).type))
    pq.write_table(rows, copy)
    return copy


_TABLES = [
    pytest.param(case["group"], pathlib.Path(case["file"]).stem, case["expect"], id=case["file"])
    for case in CASES_OF_TABLES
]


@pytest.mark.parametrize(("group", "name", "expect"), _TABLES)
def test_every_table_ends_as_expected_and_in_bounded_memory(tables, group, name, expect):
    job, _, letters = tables[group, name]
    allowed = {"refuse": {2}, "ok": {0}, "null": {0, 1}, "error": {0, 1}, "either": {0, 1, 2}}
    assert job.code in allowed[expect], job.told
    assert "Traceback" not in job.told
    assert job.peak_mb < MEMORY_MB
    if expect == "refuse":
        assert "parquet" in job.told or "column" in job.told
    if expect == "error":
        assert letters


def test_the_sound_index_gives_values(tables):
    _, rows, letters = tables["index", "valid"]
    assert [rows[at]["value"] for at in (0, 1)] == [3 * 311 + 5 * 5, 0]
    assert letters == ""


@pytest.mark.parametrize("name", ROW_PROBLEMS)
def test_a_broken_record_is_named_with_the_reason(tables, name):
    _, _, letters = tables["index", name]
    assert "record 'r'" in letters
    assert ROW_PROBLEMS[name] in letters


def test_a_broken_geometry_of_a_record_does_not_matter(tables):
    _, rows, _ = tables["index", "row_geometry_bad_wkb"]
    assert [rows[at]["value"] for at in (0, 1)] == [3 * 311 + 5 * 5, 0]


@pytest.mark.parametrize("name", ["missing_id", "missing_b1_metadata", "cut", "not_parquet"])
def test_what_is_no_collection_is_refused_by_name(tables, name):
    assert "index.parquet" in tables["index", name][0].told


@pytest.mark.parametrize("name", sorted(POINTS_OK))
def test_a_point_without_coordinates_is_a_dead_letter_and_harms_no_other(tables, name):
    job, rows, letters = tables["points", name]
    assert (job.code, letters.count("\n")) == (1, 1)
    assert "point 0" in letters
    assert (rows[0]["status"], rows[0]["value"]) == ("INVALID_POINT", None)
    assert rows[1]["value"] == 3 * 311 + 5 * 5


@pytest.mark.parametrize("name", ["wkb_cut", "wkb_linestring"])
def test_a_geometry_that_is_no_point_is_a_dead_letter_and_harms_no_other(tables, name):
    job, rows, letters = tables["points", name]
    assert job.code == 1
    assert "point 0" in letters
    assert (rows[0]["status"], rows[1]["value"]) == ("INVALID_POINT", 3 * 311 + 5 * 5)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Every hostile TIFF indexed and sampled by itself, in one program: by file, both ends."""
    folder = tmp_path_factory.mktemp("alone")
    points = folder / "points.parquet"
    x, y = [300010.0, 300470.0, 300930.0], [7999990.0, 7999610.0, 7999230.0]
    pq.write_table(pa.table({"x": x, "y": y}), points)
    files = [MALFORMED / case["file"] for case in CASES] + sorted((MALFORMED / "real").iterdir())
    jobs = []
    for number, path in enumerate(files):
        home = folder / str(number)
        jobs.append(["build_collection", "--inputs", path, "--output", home / "collection"])
        jobs.append([
            "sample_points", "--collection", home / "collection", "--points", points,
            "--points_crs", "EPSG:32733", "--bands", "B1", "--output", home / "samples",
            "--max_distance_pixels", "3",
        ])  # fmt: skip
    ends = run_measured(folder, jobs)
    return {path: ends[2 * at : 2 * at + 2] for at, path in enumerate(files)}


def test_no_hostile_tiff_takes_more_memory_than_allowed_or_crashes_a_command(alone):
    ends = [(path.name, job) for path, both in alone.items() for job in both]
    assert [(name, job.code) for name, job in ends if job.code not in (0, 1, 2)] == []
    assert [(name, job.peak_mb) for name, job in ends if job.peak_mb >= MEMORY_MB] == []
    assert [name for name, job in ends if "Traceback" in job.told] == []


def test_what_must_be_refused_at_index_time_leaves_no_collection(alone):
    refused = [c for c in CASES if (c["expect"], c["when"]) == ("refuse", "index")]
    built, sampled = zip(*(alone[MALFORMED / case["file"]] for case in refused), strict=True)
    assert {job.code for job in built} == {1}
    assert {job.code for job in sampled} == {2}


# What nobody has put into the shared set: sizes that are declared in an index of one's own.


ABSURD = {
    "image_width": (2**31 - 1, "tiles"),
    "tile_width": (2**31 - 1, "decoded bytes"),
    "samples_per_pixel": (2**31 - 1, "decoded bytes"),
    "dtype": ("float128", "float128"),
}


@pytest.mark.parametrize("field", ABSURD)
def test_absurd_sizes_in_an_index_are_a_dead_letter_and_take_no_memory(tmp_path, field):
    value, reason = ABSURD[field]
    rows = pq.read_table(_index_at(MALFORMED / "index" / "valid.parquet", tmp_path))
    records = rows.to_pylist()
    broken = {**records[0], "id": "absurd"}
    broken["b1_metadata"] = {**broken["b1_metadata"], field: value}
    collection = tmp_path / "absurd.parquet"
    pq.write_table(pa.Table.from_pylist([*records, *[broken] * 50], schema=rows.schema), collection)
    points = tmp_path / "points.csv"
    points.write_text("x,y\n300110,7999930\n", encoding="utf-8")
    (job,) = run_measured(tmp_path, [[
        "sample_points", "--collection", collection, "--points", points, "--bands", "b1",
        "--points_crs", "EPSG:32733", "--output", tmp_path / "out", "--unmatched", "omit",
        "--dead_letters", tmp_path / "letters", "--error_threshold", "1",
    ]])  # fmt: skip
    assert job.code == 0, job.told
    assert job.peak_mb < MEMORY_MB
    assert pq.read_table(tmp_path / "out")["value"].to_pylist() == [3 * 311 + 5 * 5]
    letters = [json.loads(line) for p in tmp_path.glob("letters/*.jsonl")
               for line in p.read_text().splitlines()]  # fmt: skip
    assert len(letters) == 50
    assert reason in letters[0]["msg"]
