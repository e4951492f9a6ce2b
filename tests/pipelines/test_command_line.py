"""Both commands as a user gives them: flags in, files and an exit code out."""

import datetime as dt
import json
import pathlib

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from scenes import RASTERET_SCHEMA, Scene, grid_points, ramp, write_scene

SCENE = Scene(name="s2_20240512", pixels=ramp(48, 48, bands=2), nodata="0")
@pytest.fixture
def place(tmp_path):
    """A scene, points inside and outside of it, and room for more."""
    (tmp_path / "scenes").mkdir()
    write_scene(tmp_path / "scenes", SCENE)
    columns = grid_points(SCENE, [(1, 2), (20, 30), (47, 47)])
    columns["x"].append(0.0)
    columns["y"].append(0.0)
    columns["plot"] = ["a", "b", "c", "outside"]
    pq.write_table(pa.table(columns), tmp_path / "points.parquet")
    return tmp_path


@pytest.fixture
def collection(place, build):
    assert build("--inputs", place / "scenes/*.tif", "--output", place / "collection") == 0
    return place / "collection"


def _flags(place, **more):
    flags = {
        "collection": place / "collection", "points": place / "points.parquet", "bands": "B1,B2",
        "output": place / "samples", "points_crs": "EPSG:32631", **more,
    }  # fmt: skip
    return [word for name, value in flags.items() if value for word in (f"--{name}", value)]


def test_folders_may_be_file_uris(place, build, sample):
    assert build("--inputs", place / "scenes/*.tif", "--output", (place / "c").as_uri()) == 0
    uris = {name: (place / name).as_uri() for name in ("output", "dead_letters", "points.parquet")}
    uris["points"] = uris.pop("points.parquet")
    assert sample(*_flags(place, collection=(place / "c").as_uri(), **uris)) == 0
    assert pq.read_table(place / "output").num_rows == 7
    assert (place / "output/_run/summary.json").is_file()
    assert list((place / "dead_letters").glob("*.jsonl")) == []


def test_a_folder_of_another_machine_is_refused(place, build, capsys):
    with pytest.raises(SystemExit) as ended:
        build("--inputs", place / "scenes/*.tif", "--output", "file://host/c")
    assert ended.value.code == 2
    assert "expected a path, or file:///path" in capsys.readouterr().err


@pytest.mark.usefixtures("collection")
def test_omit_gives_rasterets_columns_and_then_the_users(place, sample):
    assert sample(*_flags(place, unmatched="omit")) == 0
    table = pq.read_table(place / "samples")
    users = [("x", pa.float64()), ("y", pa.float64()), ("plot", pa.string())]
    assert table.schema.equals(pa.schema([*RASTERET_SCHEMA, *users]))
    assert sorted(table["value"].to_pylist()) == [102.0, 2030.0, 4747.0, 10102.0, 12030.0, 14747.0]


@pytest.mark.usefixtures("collection")
def test_every_point_has_a_row_and_a_status_by_default(place, sample):
    assert sample(*_flags(place)) == 0
    rows = pq.read_table(place / "samples").to_pylist()
    assert {row["point_index"] for row in rows} == {0, 1, 2, 3}
    assert {(row["plot"], row["status"]) for row in rows} == {
        ("a", "OK"), ("b", "OK"), ("c", "OK"), ("outside", "NO_RECORD"),
    }  # fmt: skip


@pytest.mark.usefixtures("collection")
@pytest.mark.parametrize("output_format", ["parquet", "geoparquet", "csv"])
def test_every_format_holds_the_same_values(place, sample, output_format):
    assert sample(*_flags(place, output_format=output_format, unmatched="omit")) == 0
    (path,) = (place / "samples").glob("samples-*")
    table = pacsv.read_csv(path) if output_format == "csv" else pq.read_table(path)
    assert sorted(table["value"].to_pylist()) == [102.0, 2030.0, 4747.0, 10102.0, 12030.0, 14747.0]
    assert (b"geo" in (table.schema.metadata or {})) == (output_format == "geoparquet")


@pytest.mark.usefixtures("collection")
def test_a_rerun_replaces_what_the_run_before_left(place, sample):
    assert sample(*_flags(place)) == 0
    stale = place / "samples" / "samples-00001-of-00002.parquet"
    stale.write_bytes(b"of an earlier run with more shards")
    assert sample(*_flags(place)) == 0
    names = sorted(path.name for path in (place / "samples").iterdir())
    assert names == ["_run", "samples-00000-of-00001.parquet"]


@pytest.mark.usefixtures("collection")
def test_no_points_give_a_file_with_the_whole_schema(place, sample):
    empty = pq.read_table(place / "points.parquet").slice(0, 0)
    pq.write_table(empty, place / "points.parquet")
    assert sample(*_flags(place, unmatched="omit")) == 0
    table = pq.read_table(place / "samples")
    assert (table.num_rows, table.column_names[-1]) == (0, "plot")


@pytest.mark.usefixtures("collection")
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"points_crs": None}, "the points' CRS is not in the file's metadata"),
        ({"points_crs": "EPSG:99999"}, "'EPSG:99999' is no coordinate reference system"),
        ({"bands": "B9"}, "Band(s) not found: ['B9']. Available bands: ['B1', 'B2']"),
        ({"bands": None}, "--bands is required"),
        ({"match": "oldest"}, "match must be either 'all' or 'latest', got 'oldest'"),
        ({"max_distance_pixels": "-1"}, "max_distance_pixels must be >= 0"),
        ({"return_neighbourhood": "always"}, "max_distance_pixels must be > 0"),
        ({"date_range": "2024"}, "--date_range is '2024', expected START/END"),
        ({"date_range": "2025-01-01/2024-01-01"}, "Invalid date range"),
        ({"bbox": "1,2,3"}, "--bbox is '1,2,3', expected xmin,ymin,xmax,ymax"),
        ({"cloud_cover_lt": "20"}, "Collection has no cloud cover data"),
        ({"where": "import os"}, "where='import os' is no condition"),
        ({"where": "nothing == 1"}, "names column 'nothing'"),
        ({"output_format": "xlsx"}, "output_format must be one of"),
        ({"layout": "wide", "bands": "B1,datetime"}, "Bands ['datetime'] have names that other"),
        ({"error_threshold": "2"}, "--error_threshold is 2.0, expected 0 to 1"),
        ({"x_column": "x"}, "give both or none"),
        ({"geometry_column": "shape"}, "geometry_column='shape' not found"),
        ({"points": "gone.parquet"}, "gone.parquet"),
        ({"collection": "gone"}, "Parquet not found at gone"),
        ({"band": "B1"}, "Unknown option(s): --band B1"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_in_one_line(place, sample, capsys, wrong, message):
    assert sample(*_flags(place, **wrong)) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last


@pytest.mark.usefixtures("collection")
@pytest.mark.parametrize(("wanted", "column"), [
    ({"output_format": "geoparquet"}, "geometry"), ({"layout": "wide"}, "B2"),
    ({"layout": "array"}, "values"),
])  # fmt: skip
def test_a_column_that_the_output_gives_is_refused_before_any_tile_is_read(
    place, sample, capsys, wanted, column,
):
    points = pq.read_table(place / "points.parquet").rename_columns({"plot": column})
    pq.write_table(points, place / "points.parquet")
    # Of a run that only plans the output has no rows, which could tell.
    assert sample(*_flags(place, **wanted), "--plan_only") == 2
    assert f"Columns ['{column}'] have names that" in capsys.readouterr().err


@pytest.mark.usefixtures("collection")
def test_a_tile_that_cannot_be_read_fails_the_run_above_the_threshold(place, sample, capsys):
    path = place / "scenes" / "s2_20240512.tif"
    table = pq.read_table(place / "collection")
    metadata = table["B1_metadata"][0].as_py()
    data = bytearray(path.read_bytes())
    start = metadata["tile_offsets"][0]
    data[start : start + 40] = bytes(40)
    path.write_bytes(bytes(data))
    flags = _flags(place, dead_letters=place / "letters")
    assert sample(*flags) == 1
    assert "1 of 6 tiles failed (16.67 %)" in capsys.readouterr().err
    (letters,) = (place / "letters").iterdir()
    (letter,) = [json.loads(line) for line in letters.read_text().splitlines()]
    assert (letter["stage"], letter["code"]) == ("FetchTiles", "DECODE_ERROR")
    assert json.loads(letter["element"])["tile"] == 0
    rows = pq.read_table(place / "samples").to_pylist()
    assert [r["status"] for r in rows if r["value"] is None and r["band"]] == ["DECODE_ERROR"]
    assert sample(*flags, "--error_threshold", "0.5") == 0
    told = capsys.readouterr().err.splitlines()
    at = told.index("WARNING   1 of 6 tiles failed (16.67 %), of 50.00 % tolerated")
    assert told[at + 1].startswith("          1 DECODE_ERROR, like: ")


@pytest.mark.usefixtures("collection")
@pytest.mark.parametrize("gap", [None, float("nan"), float("inf")])
def test_points_without_coordinates_are_dead_letters_and_failed_points(place, sample, capsys, gap):
    table = pq.read_table(place / "points.parquet")
    x = [gap, table["x"][1].as_py(), gap, 0.0]
    points = place / "gaps.parquet"
    pq.write_table(table.set_column(0, "x", pa.array(x, pa.float64())), points)
    flags = _flags(place, points=points, unmatched="omit", dead_letters=place / "letters")
    assert sample(*flags) == 1
    assert "2 of 4 points failed (50.00 %)" in capsys.readouterr().err
    (path,) = (place / "letters").iterdir()
    letters = [json.loads(line) for line in path.read_text().splitlines()]
    assert {(letter["stage"], letter["code"]) for letter in letters} == {
        ("ReadPoints", "INVALID_POINT"),
    }  # fmt: skip
    named = [json.loads(letter["element"]) for letter in letters]
    assert sorted(name["point_index"] for name in named) == [0, 2]
    assert {name["source"] for name in named} == {str(points)}
    assert pq.read_table(place / "samples")["plot"].to_pylist() == ["b", "b"]
    assert sample(*flags, "--error_threshold", "0.5") == 0


def test_a_rerun_without_failures_takes_the_old_dead_letters_away(place, sample, collection):
    (place / "letters").mkdir()
    (place / "letters" / "dead-letters-00000-of-00001.jsonl").write_text("{}\n")
    assert sample(*_flags(place, dead_letters=place / "letters")) == 0
    assert list((place / "letters").iterdir()) == []
    assert collection.is_dir()


@pytest.mark.usefixtures("collection")
def test_the_summary_accounts_for_every_point(place, sample, capsys):
    assert sample(*_flags(place)) == 0
    told = capsys.readouterr().err
    assert "Points    4 read, 3 sampled, 1 unmatched, 0 invalid" in told
    assert "Tiles     6 planned, 6 read" in told
    assert "Rows      7 written" in told


def test_one_bad_file_is_a_dead_letter_not_the_end(place, build):
    (place / "scenes" / "broken.tif").write_bytes(b"no TIFF")
    flags = ["--inputs", place / "scenes/*.tif", "--output", place / "collection"]
    assert build(*flags, "--dead_letters", place / "letters") == 1
    assert build(*flags, "--error_threshold", "0.5") == 0
    assert pq.read_table(place / "collection")["id"].to_pylist() == ["s2_20240512"]
    (letters,) = (place / "letters").iterdir()
    assert "broken.tif" in letters.read_text()


@pytest.mark.parametrize(
    "workers", [(), ("--direct_running_mode=multi_processing", "--direct_num_workers=2")],
)
def test_a_run_that_failed_tells_why_without_a_second_run(place, build, capsys, workers):
    flags = ["--inputs", place / "scenes/*.tif", "--output", place / "collection"]
    assert build(*flags, "--datetime_pattern", r"X(\d{8})", *workers) == 1
    told = capsys.readouterr().err.splitlines()
    at = told.index("          --dead_letters DIR would have them all")
    assert told[at - 1].startswith("          1 INVALID_RECORD, like: href '")
    assert "datetime_pattern" in told[at - 1]
    (cause,) = json.loads((place / "collection/_run/summary.json").read_text())["causes"]
    assert (cause["code"], cause["n_letters"]) == ("INVALID_RECORD", 1)


@pytest.mark.usefixtures("collection")
def test_rows_that_are_no_points_are_told_with_an_example(place, sample, capsys):
    polygon = {"type": "Polygon", "coordinates": [[[3, 41], [4, 41], [4, 42], [3, 41]]]}
    features = [{"type": "Feature", "properties": {}, "geometry": polygon}] * 3
    text = json.dumps({"type": "FeatureCollection", "features": features})
    (place / "fields.geojson").write_text(text)
    assert sample(*_flags(place, points=place / "fields.geojson", points_crs=None)) == 1
    told = capsys.readouterr().err
    assert "3 of 3 points failed (100.00 %)" in told
    assert "3 INVALID_POINT, like: " in told


@pytest.mark.usefixtures("collection")
def test_a_data_source_that_nobody_knows_is_told_though_it_is_a_name(place, sample, capsys):
    assert sample(*_flags(place, data_source="sentinel2-l2a", bands="B4")) == 2
    first, *_, last = capsys.readouterr().err.splitlines()
    assert first.startswith("WARNING   --data_source sentinel2-l2a is not in the catalogue")
    assert "sentinel-2-l2a" in first
    assert "Band(s) not found: ['B4']" in last
    assert sample(*_flags(place, data_source="sentinel-2-l2a", bands="B1")) == 0
    assert "WARNING" not in capsys.readouterr().err


def _swapped(place):
    table = pq.read_table(place / "points.parquet").slice(0, 3)
    names = ["y" if name == "x" else "x" if name == "y" else name for name in table.column_names]
    pq.write_table(table.rename_columns(names), place / "swapped.parquet")
    return {"points": place / "swapped.parquet"}


def _without_rows(place):
    pq.write_table(pq.read_table(place / "points.parquet").slice(0, 0), place / "none.parquet")
    return {"points": place / "none.parquet"}


@pytest.mark.usefixtures("collection")
@pytest.mark.parametrize("join", ["broadcast", "partitioned"])
@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (_swapped, "no point lies in any of the records (1 read): points span lon "),
        (lambda _: {"points_crs": "EPSG:32632"}, "is --points_crs EPSG:32632 that of the points"),
        (lambda _: {"bbox": "41,3,42,4"}, "no record meets --bbox 41,3,42,4; --bbox is xmin,ymin"),
        (_without_rows, "none.parquet has no rows"),
    ],
)
def test_a_run_without_a_sample_asks_what_was_meant(place, sample, capsys, join, wrong, told):
    assert sample(*_flags(place, join=join, **wrong(place))) == 0
    (line,) = [li for li in capsys.readouterr().err.splitlines() if li.startswith("WARNING   ")]
    assert told in line
    summary = json.loads((place / "samples/_run/summary.json").read_text())
    assert (summary["warnings"], summary["complaints"]) == ([line.removeprefix("WARNING   ")], [])


@pytest.mark.usefixtures("collection")
@pytest.mark.parametrize("join", ["broadcast", "partitioned"])
@pytest.mark.parametrize(
    ("points", "spans", "asked"),
    [
        ("x,y\n41.55,3\n41.53,3.001\n", "lon 41.5300..41.5500, lat 3.0000..3.0010", "swapped?"),
        ("x,y\n9,50\n9.25,51\n", "lon 9.0000..9.2500, lat 50.0000..51.0000", "was meant?"),
    ],
)
def test_points_beside_all_records_are_told_with_where_both_are(
    place, sample, capsys, join, *, points, spans, asked,
):
    (place / "beside.csv").write_text(points)
    flags = _flags(place, points=place / "beside.csv", points_crs="EPSG:4326", join=join)
    assert sample(*flags) == 0
    (line,) = [li for li in capsys.readouterr().err.splitlines() if li.startswith("WARNING   ")]
    records = "records lon 3.0000..3.0058, lat 41.5473..41.5517: are x and y swapped"
    assert f"points span {spans}, {records}" in line
    assert line.endswith(asked)


def test_inputs_can_be_a_list_of_paths(place, build):
    listed = place / "list.txt"
    path = place / "scenes" / "s2_20240512.tif"
    listed.write_text(f"# a comment\n\n{path}\n{path}\n")
    assert build("--inputs", listed, "--output", place / "collection") == 0
    assert pq.read_table(place / "collection").num_rows == 1


def test_a_datetime_pattern_dates_and_partitions(place, build):
    flags = ["--inputs", place / "scenes", "--output", place / "collection"]
    assert build(*flags, "--datetime_pattern", r"_(\d{8})") == 0
    assert (place / "collection/year=2024/month=5/part-0.parquet").is_file()
    table = pq.read_table(place / "collection")
    assert table["datetime"].to_pylist() == [dt.datetime(2024, 5, 12)]  # noqa: DTZ001 -- naive UTC


def test_a_rebuild_replaces_the_collection(place, build):
    flags = ["--inputs", place / "scenes", "--output", place / "collection"]
    assert build(*flags, "--datetime_pattern", r"_(\d{8})") == 0
    assert build(*flags) == 0
    found = [p for p in (place / "collection").rglob("*.parquet") if p.is_file()]
    assert found == [place / "collection" / "part-0.parquet"]


def test_bands_are_named_by_sample(place, build):
    flags = ["--inputs", place / "scenes", "--output", place / "collection"]
    assert build(*flags, "--bands", "nir=1,red=0") == 0
    table = pq.read_table(place / "collection")
    assert table["assets"][0].as_py()["nir"]["band_index"] == 1
    assert build(*flags, "--bands", "nir=7", "--error_threshold", "1") == 1
    assert build(*flags, "--bands", "nir") == 2


def test_files_of_one_name_get_ids_that_tell_them_apart(place, build):
    for folder in ("2023", "2024"):
        (place / "scenes" / folder).mkdir()
        source = place / "scenes" / "s2_20240512.tif"
        (place / "scenes" / folder / "B04.tif").write_bytes(source.read_bytes())
    assert build("--inputs", place / "scenes", "--output", place / "collection") == 0
    ids = pq.read_table(place / "collection")["id"].to_pylist()
    assert sorted(ids) == ["2023/B04", "2024/B04", "s2_20240512"]


def test_help_lists_the_flags_of_the_pipeline(sample, capsys):
    with pytest.raises(SystemExit) as stop:
        sample("--help")
    assert stop.value.code == 0
    told = capsys.readouterr().out
    assert all(flag in told for flag in ("--points_crs", "--unmatched", "--where"))


def test_hrefs_of_local_files_are_whole_paths(place, build, monkeypatch):
    monkeypatch.chdir(place)
    assert build("--inputs", "scenes/*.tif", "--output", "collection") == 0
    asset = pq.read_table("collection")["assets"][0].as_py()["B1"]
    assert pathlib.Path(asset["href"]).is_absolute()


@pytest.mark.usefixtures("collection")
@pytest.mark.parametrize("join", ["broadcast", "partitioned"])
def test_either_join_gives_the_rows(place, sample, join):
    assert sample(*_flags(place, join=join)) == 0
    values = [value for value in pq.read_table(place / "samples")["value"].to_pylist() if value]
    assert sorted(values) == [102.0, 2030.0, 4747.0, 10102.0, 12030.0, 14747.0]


@pytest.mark.usefixtures("collection")
def test_a_join_that_is_none_is_refused(place, sample, capsys):
    assert sample(*_flags(place, join="sideways")) == 2
    assert "broadcast, partitioned" in capsys.readouterr().err
