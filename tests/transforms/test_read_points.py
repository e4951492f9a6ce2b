"""Points files of every format, through ReadPoints."""

import json

import apache_beam as beam
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pyproj
import pytest
import shapely
from collecting import collect

from rasteret_beam import PointColumns, PointsError, ReadPoints

LONLAT = PointColumns(crs="EPSG:4326")


def _read(pattern, columns=LONLAT):
    """(point_index, x, y, crs, user columns) of every row, and the dead letters' texts."""
    with beam.Pipeline("FnApiRunner") as pipeline:
        result = pipeline | ReadPoints(pattern=str(pattern), columns=columns)
        batches, letters = collect(result.points), collect(result.dead_letters)
    rows = []
    for batch in batches:
        for row in batch.points.to_pylist():
            index, x, y = (row.pop(n) for n in ("point_index", "point_x", "point_y"))
            rows.append((index, x, y, batch.crs, row))
    return sorted(rows, key=lambda row: row[0]), [letter.msg for letter in letters]


def _wkb(*xy):
    return bytes(shapely.to_wkb(shapely.Point(*xy)))


def _geoparquet(path, crs="absent", column="where"):
    entry = {"encoding": "WKB", "geometry_types": ["Point"]}
    if crs != "absent":
        entry["crs"] = crs
    geo = {"version": "1.1.0", "primary_column": column, "columns": {column: entry}}
    table = pa.table({column: [_wkb(1, 2), None], "name": ["a", "b"]})
    pq.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), path)
    return path


def test_rows_are_numbered_across_files_and_row_groups(tmp_path):
    for name, xs in (("b", [10.0, 11.0]), ("a", [0.0, 1.0, 2.0])):
        table = pa.table({"x": xs, "y": xs})
        pq.write_table(table, tmp_path / f"{name}.parquet", row_group_size=2)
    rows, _ = _read(tmp_path / "*.parquet")
    assert [(index, x) for index, x, *_ in rows] == [(0, 0), (1, 1), (2, 2), (3, 10), (4, 11)]
    assert _read(tmp_path / "*.parquet")[0] == rows


def test_geoparquet_without_a_crs_is_longitude_and_latitude(tmp_path):
    rows, _ = _read(_geoparquet(tmp_path / "p.parquet"), PointColumns())
    assert rows[0] == (0, 1.0, 2.0, "EPSG:4326", {"name": "a"})
    assert rows[1][1] != rows[1][1]


def test_geoparquet_says_its_crs(tmp_path):
    projjson = json.loads(pyproj.CRS.from_epsg(32633).to_json())
    rows, _ = _read(_geoparquet(tmp_path / "p.parquet", projjson), PointColumns())
    assert rows[0][3] == "EPSG:32633"


def test_geoparquet_of_unknown_crs_needs_one(tmp_path):
    path = _geoparquet(tmp_path / "p.parquet", None)
    with pytest.raises(PointsError, match="give it as points_crs"):
        _read(path, PointColumns())
    assert _read(path)[0][0][3] == "EPSG:4326"


def test_a_csv_column_that_turns_to_text_late_is_text(tmp_path):
    lines = ["lon,lat,code", *(f"{n}.5,{n},{n}" for n in range(300_000)), "1,2,last"]
    (tmp_path / "p.csv").write_text("\n".join(lines), encoding="utf-8")
    rows, _ = _read(tmp_path / "p.csv")
    assert len(rows) == 300_001
    assert (rows[7][4]["code"], rows[-1][4]["code"]) == ("7", "last")


def test_a_coordinate_that_is_no_number_is_a_dead_letter_of_its_row(tmp_path):
    (tmp_path / "p.csv").write_text("x,y\n1,2\nhere,3\n4,\n", encoding="utf-8")
    rows, letters = _read(tmp_path / "p.csv")
    assert [row[1] == row[1] and row[2] == row[2] for row in rows] == [True, False, False]
    assert len(letters) == 1
    assert "point 1: column 'x' holds 'here'" in letters[0]


FEATURES = [
    {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 2, 9]},
     "properties": {"name": "a"}},
    {"type": "Feature", "geometry": None, "properties": {"size": 3}},
    {"type": "Feature", "geometry": {"type": "LineString", "coordinates": [[1, 2], [3, 4]]},
     "properties": None},
]  # fmt: skip


@pytest.mark.parametrize("lines", [False, True], ids=["collection", "one a line"])
def test_geojson_features_are_points_with_their_properties(tmp_path, lines):
    path = tmp_path / ("p.geojsonl" if lines else "p.geojson")
    whole = json.dumps({"type": "FeatureCollection", "features": FEATURES})
    path.write_text("\n".join(map(json.dumps, FEATURES)) if lines else whole, encoding="utf-8")
    rows, letters = _read(path, PointColumns())
    assert rows[0] == (0, 1.0, 2.0, "EPSG:4326", {"name": "a", "size": None})
    assert (len(rows), len(letters)) == (3, 1)
    assert "point 2" in letters[0]


def test_a_named_crs_of_geojson_is_heeded(tmp_path):
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}}
    body = {"type": "FeatureCollection", "crs": crs, "features": FEATURES[:1]}
    (tmp_path / "p.geojson").write_text(json.dumps(body), encoding="utf-8")
    assert _read(tmp_path / "p.geojson", PointColumns())[0][0][3] == "EPSG:32633"


def test_files_of_one_input_share_a_schema(tmp_path):
    pacsv.write_csv(pa.table({"x": [1.0], "y": [2.0], "n": [1]}), tmp_path / "a.csv")
    pacsv.write_csv(pa.table({"x": [3.0], "y": [4.0], "m": ["t"]}), tmp_path / "b.csv")
    rows, _ = _read(tmp_path / "*.csv")
    assert [row[4] for row in rows] == [
        {"x": 1.0, "y": 2.0, "n": 1, "m": None}, {"x": 3.0, "y": 4.0, "n": None, "m": "t"},
    ]  # fmt: skip


def test_an_input_without_rows_is_one_empty_batch_with_its_schema(tmp_path):
    pq.write_table(pa.table({"x": [1.0], "y": [2.0], "n": [1]}).slice(0, 0), tmp_path / "p.parquet")
    with beam.Pipeline("FnApiRunner") as pipeline:
        result = pipeline | ReadPoints(pattern=str(tmp_path / "p.parquet"), columns=LONLAT)
        found = collect(result.points)
    (batch,) = found
    assert batch.points.num_rows == 0
    assert batch.points.schema.names == ["point_index", "point_x", "point_y", "x", "y", "n"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.shp", b"", "not a points file by its name"),
        ("p.parquet", b"no parquet", "cannot be read as points"),
        ("p.geojson", b"{", "not GeoJSON features"),
        ("p.geojson", b'{"type": "Topology"}', "expected a FeatureCollection"),
        ("p.csv", b"a,b\n1,2\n", "Unsupported table input for point sampling"),
        ("p.csv", b"point_index,x,y\n1,2,3\n", "collide with Rasteret output columns"),
    ],
)
def test_what_holds_no_points_is_refused_with_the_file(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PointsError, match=message):
        _read(tmp_path / name)


def test_a_pattern_without_files_is_refused(tmp_path):
    with pytest.raises(PointsError, match="no file matches"):
        _read(tmp_path / "*.parquet")
