"""Points files of every format, through ReadPoints."""

import datetime as dt
import json
import re

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pyproj
import pytest
import shapely
from collecting import collect
from fakes import serving
from scenes import Scene, make_collection

from rasteret_beam import PointColumns, PointsError, ReadPoints, SampleOptions, SamplePoints
from rasteret_beam.local import read_points
from rasteret_beam.point_files import inspect_file, number_files, read_piece
from rasteret_beam.point_files.kinds import kind_of
from rasteret_beam.storage import Store

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


def _at(*clock):
    return dt.datetime(2024, 1, 1, *clock)  # noqa: DTZ001 -- no zone is written


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


def test_a_batch_of_wide_rows_and_what_is_read_ahead_of_it_take_bounded_memory(
    monkeypatch,
):
    notes = [np.random.default_rng(row).bytes(2000) for row in range(2000)]
    table = pa.table({"x": np.arange(2000.0), "y": np.zeros(2000), "note": notes})
    file = pa.BufferOutputStream()
    pq.write_table(table, file, write_batch_size=8, data_page_size=16_384, use_dictionary=False)
    monkeypatch.setattr("rasteret_beam.point_files.reading._BATCH_BYTES", 400_000)
    monkeypatch.setattr("rasteret_beam.point_files.reading._WHOLE_BYTES", 1_000_000)
    monkeypatch.setattr("rasteret_beam.point_files.reading._BUFFER_BYTES", 600_000)
    with serving({"wide.parquet": file.getvalue().to_pybytes()}) as server:
        store, uri = Store(allow_http=True), server.uri("wide.parquet")
        (piece,) = number_files([inspect_file(store, uri, LONLAT)], LONLAT)
        batches = [batch.points for batch, _ in read_piece(store, piece)]
        asked = server.ranges("wide.parquet")
    assert max(batch.nbytes for batch in batches) < 500_000
    assert max(last - first for first, last in asked) < 300_000
    found = pa.Table.from_batches(batches)
    assert found["point_index"].to_pylist() == list(range(2000))
    assert found["note"].to_pylist() == notes


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


@pytest.mark.parametrize(
    "texts",
    [["01001", "02003"], ["17000000000000000001", "17000000000000000002"], ["2e7", "3e1"],
     ["NA"], ["N/A", "null"], ["+5"], ["-0"], [" 5"], ["0x10"], ["1.10", "1.1"], ["1.0", "1"],
     [".5"], ["5."], ["nan"], ["1234567890123456.5"], ["0.12345678901234567890"], ["1,5"],
     ["2024-01-01T12:00:00+01:00"], ["2024-1-1"], ["12:30"], ["1", "true"], ["yes"], ["1" * 19]],
    ids=lambda texts: texts[0],
)  # fmt: skip
def test_what_of_csv_would_be_written_otherwise_again_is_text(tmp_path, texts):
    lines = "".join(f'1,2,"{text}"\n' for text in [*texts, ""])
    (tmp_path / "p.csv").write_text(f"x,y,id\n{lines}", encoding="utf-8")
    kept = [int(text) if len(text) == 19 else text for text in texts]
    assert [row[4]["id"] for row in _read(tmp_path / "p.csv")[0]] == [*kept, None]


@pytest.mark.parametrize(
    ("texts", "values"),
    [(["0", "-7", "9223372036854775807"], [0, -7, 9223372036854775807]),
     (["1", "2.5"], [1.0, 2.5]), (["2.0", "0.25", "1e-05"], [2.0, 0.25, 1e-05]),
     (["12.50", "3.00"], [12.5, 3.0]), (["0.30000000000000004"], [0.30000000000000004]),
     (["True", "False"], [True, False]), (["2024-02-29"], [dt.date(2024, 2, 29)]),
     (["2024-01-01T12:00:00"], [_at(12)]),
     (["2024-01-01 12:00:00.250"], [_at(12, 0, 0, 250_000)]),
     (["2024-01-01T12:00:00Z"], [_at(12).replace(tzinfo=dt.timezone.utc)])],
    ids=lambda texts: str(texts[0]),
)  # fmt: skip
def test_what_of_csv_is_written_like_a_value_is_one(tmp_path, texts, values):
    lines = "".join(f"1,2,{text}\n" for text in [*texts, ""])
    (tmp_path / "p.csv").write_text(f"x,y,n\n{lines}", encoding="utf-8")
    found = [row[4]["n"] for row in _read(tmp_path / "p.csv")[0]]
    assert found == [*values, None]
    assert [type(value) for value in found[:-1]] == [type(value) for value in values]


@pytest.mark.parametrize("late", ["01", "2e7", "17000000000000000001", "NA"])
def test_ids_of_csv_that_show_only_late_are_text_from_the_start(tmp_path, late):
    lines = ["x,y,id", *(f"1,2,{n}" for n in range(1, 1_000_000)), f"1,2,{late}"]
    (tmp_path / "p.csv").write_text("\n".join(lines), encoding="utf-8")
    file = inspect_file(Store(), str(tmp_path / "p.csv"), LONLAT)
    assert file.row_counts == (1_000_000,)
    assert pa.ipc.read_schema(pa.py_buffer(file.schema)).field("id").type == pa.string()


@pytest.mark.parametrize("texts", [["01.50", "+2", " 3 ", "2e1"], ["1", "2", "3", "4.25"]])
def test_coordinates_of_csv_are_numbers_however_they_are_written(tmp_path, texts):
    lines = "".join(f"{text},2\n" for text in texts)
    (tmp_path / "p.csv").write_text(f"x,y\n{lines}", encoding="utf-8")
    rows, letters = _read(tmp_path / "p.csv")
    assert letters == []
    assert [row[1] for row in rows] == [row[4]["x"] for row in rows] == [*map(float, texts)]


def test_a_coordinate_that_is_no_number_is_a_dead_letter_of_its_row(tmp_path):
    (tmp_path / "p.csv").write_text("x,y\n1,2\nhere,3\n4,\n", encoding="utf-8")
    rows, letters = _read(tmp_path / "p.csv")
    assert [row[1] == row[1] and row[2] == row[2] for row in rows] == [True, False, False]
    assert len(letters) == 2
    assert "point 1: column 'x' holds 'here', expected a number" in letters[0]
    assert "point 2: column 'y' is empty, expected a number" in letters[1]


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
    assert len(rows) == 3
    assert "point 1: geometry is null, expected a Point with coordinates" in letters[0]
    assert "point 2" in letters[1]


@pytest.mark.parametrize(
    "found", [{"type": "FeatureCollection", "features": FEATURES}, FEATURES[0]["geometry"]],
    ids=lambda found: found["type"],
)
def test_a_line_of_geojson_that_is_no_feature_is_not_taken_for_one(tmp_path, found):
    lines = "\n".join(map(json.dumps, [FEATURES[0], found]))
    (tmp_path / "p.geojsonl").write_text(lines, encoding="utf-8")
    told = f"number 1 is of type '{found['type']}', expected a Feature"
    with pytest.raises(PointsError, match=told):
        _read(tmp_path / "p.geojsonl", PointColumns())


def test_a_property_may_hold_what_unicode_calls_a_line_end(tmp_path):
    feature = {**FEATURES[0], "properties": {"name": "a\u2028b"}}
    text = "\n".join(json.dumps(feature, ensure_ascii=False) for _ in range(2))
    (tmp_path / "p.geojsonl").write_text(text, encoding="utf-8")
    rows, _ = _read(tmp_path / "p.geojsonl", PointColumns())
    assert [row[4]["name"] for row in rows] == ["a\u2028b"] * 2


def test_a_coordinate_of_geojson_beyond_all_numbers_is_a_dead_letter(tmp_path):
    far = {"type": "Point", "coordinates": [10**400, 1]}
    lines = [{**FEATURES[0], "geometry": far}, FEATURES[0]]
    (tmp_path / "p.geojsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    rows, letters = _read(tmp_path / "p.geojsonl", PointColumns())
    assert [row[1] == row[1] for row in rows] == [False, True]
    assert "(b'coordinates that are no numbers'), expected one Point a row" in letters[0]


@pytest.mark.parametrize(
    ("kind", "coordinates", "told"),
    [("MultiPoint", [[1, 2], [3, 4]], "a MultiPoint"), ("MultiPoint", 7, r"no valid WKB \(b'a Mul"),
     ("Blob", [], r"no valid WKB \(b'a Blob'\)")],
)  # fmt: skip
def test_a_geometry_of_geojson_that_is_no_point_is_told_as_what_it_is(
    tmp_path, kind, coordinates, told,
):
    feature = {**FEATURES[0], "geometry": {"type": kind, "coordinates": coordinates}}
    (tmp_path / "p.geojson").write_text(json.dumps(feature), encoding="utf-8")
    _, (letter,) = _read(tmp_path / "p.geojson", PointColumns())
    assert re.search(f"geometry is {told}.*, expected one Point a row", letter)


@pytest.mark.parametrize(
    ("ids", "kept"), [((7, 8), [7, 8]), (("a", "b"), ["a", "b"]), ((7, "b"), ["7", "b"])],
)
def test_ids_of_features_are_a_column_of_their_own(tmp_path, ids, kept):
    lines = [json.dumps({**FEATURES[0], "id": key}) for key in ids]
    (tmp_path / "p.geojsonl").write_text("\n".join(lines), encoding="utf-8")
    rows, _ = _read(tmp_path / "p.geojsonl", PointColumns())
    assert [row[4] for row in rows] == [{"id": key, "name": "a"} for key in kept]


def test_a_property_named_id_counts_and_not_the_features_own(tmp_path):
    feature = {**FEATURES[0], "id": 7, "properties": {"id": "mine"}}
    (tmp_path / "p.geojson").write_text(json.dumps(feature), encoding="utf-8")
    rows, _ = _read(tmp_path / "p.geojson", PointColumns())
    assert rows[0][4] == {"id": "mine"}


def _warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.name.endswith(".points")]


def test_of_two_pairs_of_coordinates_it_is_told_which_were_taken(tmp_path, caplog):
    (tmp_path / "p.csv").write_text("lon,lat,x,y\n1,2,3,4\n", encoding="utf-8")
    rows, _ = _read(tmp_path / "p.csv")
    assert rows[0][1:3] == (3.0, 4.0)
    (told,) = _warnings(caplog)
    assert "p.csv: the points are taken from columns x, y, although there are lon, lat too" in told
    caplog.clear()
    _read(tmp_path / "p.csv", PointColumns("EPSG:4326", "lon", "lat"))
    assert _warnings(caplog) == []


def test_a_crs_that_is_told_against_the_files_own_is_told(tmp_path, caplog):
    path = _geoparquet(tmp_path / "p.parquet")
    _read(path, PointColumns("EPSG:4326"))
    assert _warnings(caplog) == []
    assert _read(path, PointColumns("EPSG:32632"))[0][0][3] == "EPSG:32632"
    (told,) = _warnings(caplog)
    assert "p.parquet: read in points_crs=EPSG:32632, although the file says EPSG:4326" in told


def test_a_named_crs_of_geojson_is_heeded(tmp_path):
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}}
    body = {"type": "FeatureCollection", "crs": crs, "features": FEATURES[:1]}
    (tmp_path / "p.geojson").write_text(json.dumps(body), encoding="utf-8")
    assert _read(tmp_path / "p.geojson", PointColumns())[0][0][3] == "EPSG:32633"


ZONES = {"a": "EPSG:32632", "b": "EPSG:32633"}


def _zone_geojson(path, crs, name):
    body = {"type": "FeatureCollection", "features": [
        {"type": "Feature", "geometry": {"type": "Point", "coordinates": [500000, 5.5e6]},
         "properties": {"name": name}},
    ]}  # fmt: skip
    if crs is not None:
        body["crs"] = {"type": "name", "properties": {"name": crs}}
    path.write_text(json.dumps(body), encoding="utf-8")


def test_geoparquet_files_of_two_utm_zones_are_each_read_in_its_own(tmp_path):
    for name, crs in ZONES.items():
        projjson = json.loads(pyproj.CRS(crs).to_json())
        _geoparquet(tmp_path / f"{name}.parquet", projjson)
    rows, _ = _read(tmp_path / "*.parquet", PointColumns())
    assert [row[3] for row in rows] == ["EPSG:32632"] * 2 + ["EPSG:32633"] * 2
    assert [row[3] for row in _read(tmp_path / "*.parquet")[0]] == ["EPSG:4326"] * 4


@pytest.mark.parametrize("named", ["a", "b"])
def test_a_geojson_that_names_its_crs_names_it_for_no_other(tmp_path, named):
    for name, crs in ZONES.items():
        _zone_geojson(tmp_path / f"{name}.geojson", crs if name == named else None, name)
    rows, _ = _read(tmp_path / "*.geojson", PointColumns())
    assert {row[4]["name"]: row[3] for row in rows} == {
        "a": "EPSG:4326", "b": "EPSG:4326", named: ZONES[named],
    }  # fmt: skip


@pytest.mark.parametrize("join", ["broadcast", "partitioned"])
def test_points_of_two_utm_zones_get_the_pixels_of_their_own(tmp_path, join):
    scenes = [
        Scene(name=name, pixels=np.full((1, 40, 40), value, "uint16"), epsg=int(crs[5:]),
              origin=(499800.0, 5500200.0))
        for (name, crs), value in zip(ZONES.items(), (7, 9), strict=True)
    ]  # fmt: skip
    collection = make_collection(tmp_path, scenes)
    for name, crs in ZONES.items():
        _zone_geojson(tmp_path / f"{name}.geojson", crs, name)
    options = SampleOptions(("B1",), max_distance_pixels=20, return_neighbourhood="always")
    with beam.Pipeline("FnApiRunner") as pipeline:
        points = pipeline | ReadPoints(pattern=str(tmp_path / "*.geojson"))
        sampling = SamplePoints(collection=str(collection), options=options, join=join)
        found = points.points | sampling
        batches = collect(found.samples)
    rows = [row for batch in batches for row in batch.samples.to_pylist()]
    assert sorted((r["name"], r["record_id"], r["point_crs"], r["value"]) for r in rows) == [
        ("a", "a", 32632, 7.0), ("b", "b", 32633, 9.0),
    ]  # fmt: skip


def test_each_file_has_a_column_of_geometries_of_its_own(tmp_path):
    _geoparquet(tmp_path / "a.parquet", column="where")
    _geoparquet(tmp_path / "b.parquet", column="place")
    rows, _ = _read(tmp_path / "*.parquet", PointColumns())
    assert [row[1:3] for row in rows[::2]] == [(1.0, 2.0), (1.0, 2.0)]
    assert [row[4] for row in rows] == [{"name": "a"}, {"name": "b"}] * 2


def test_a_column_that_is_only_elsewhere_the_geometries_is_kept(tmp_path):
    _geoparquet(tmp_path / "a.parquet", column="where")
    table = pa.table({"x": [3.0], "y": [4.0], "where": [b"field"], "name": ["c"]})
    pq.write_table(table, tmp_path / "b.parquet")
    rows, _ = _read(tmp_path / "*.parquet")
    assert [row[1:3] for row in rows[::2]] == [(1.0, 2.0), (3.0, 4.0)]
    assert rows[2][4] == {"x": 3.0, "y": 4.0, "where": b"field", "name": "c"}


def test_each_file_has_coordinate_columns_of_its_own(tmp_path):
    (tmp_path / "a.csv").write_text("lon,lat\n1,2\n", encoding="utf-8")
    (tmp_path / "b.csv").write_text("x,y\n3,4\n", encoding="utf-8")
    assert [row[1:3] for row in _read(tmp_path / "*.csv")[0]] == [(1.0, 2.0), (3.0, 4.0)]


def test_a_file_without_points_among_others_is_refused_by_its_name(tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n1,2\n", encoding="utf-8")
    (tmp_path / "b.csv").write_text("easting,northing\n3,4\n", encoding="utf-8")
    with pytest.raises(PointsError, match=r"b\.csv: Unsupported table input"):
        _read(tmp_path / "*.csv")


@pytest.mark.parametrize(
    ("texts", "kept"),
    [(("007", "abc"), ["007", "abc"]), (("true", "1"), ["true", "1"]),
     (("2024-01-01", "2024-01-01T12:00:00Z"), ["2024-01-01", "2024-01-01T12:00:00Z"]),
     (("007", "1.5"), ["007", "1.5"]), (("7", "1.5"), [7.0, 1.5]),
     (("9007199254740993", "1.5"), ["9007199254740993", "1.5"])],
)  # fmt: skip
def test_texts_of_csv_that_are_numbers_in_one_file_only_are_texts(tmp_path, texts, kept):
    for name, text in zip("ab", texts, strict=True):
        (tmp_path / f"{name}.csv").write_text(f"x,y,id\n1,2,{text}\n", encoding="utf-8")
    assert [row[4]["id"] for row in _read(tmp_path / "*.csv")[0]] == kept


def test_a_csv_whose_coordinate_is_no_number_harms_no_other_file(tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n1,2\n", encoding="utf-8")
    (tmp_path / "b.csv").write_text("x,y\nhere,3\n4,5\n", encoding="utf-8")
    rows, letters = _read(tmp_path / "*.csv")
    assert [row[1] for row in rows[::2]] == [1.0, 4.0]
    assert len(letters) == 1
    assert "column 'x' holds 'here'" in letters[0]


def test_texts_of_csv_take_the_type_that_a_parquet_file_says(tmp_path):
    (tmp_path / "a.csv").write_text("x,y,id\n1,2,007\n", encoding="utf-8")
    pq.write_table(pa.table({"x": [3.0], "y": [4.0], "id": ["abc"]}), tmp_path / "b.parquet")
    assert [row[4]["id"] for row in _read(tmp_path / "[ab].*")[0]] == ["007", "abc"]


def test_types_that_cannot_be_one_are_refused_with_their_files(tmp_path):
    (tmp_path / "a.csv").write_text("x,y,id\n1,2,abc\n", encoding="utf-8")
    pq.write_table(pa.table({"x": [3.0], "y": [4.0], "id": [7]}), tmp_path / "b.parquet")
    told = r"column 'id' is string in .*a\.csv, int64 in .*b\.parquet; give it one type"
    with pytest.raises(PointsError, match=told):
        _read(tmp_path / "[ab].*")


@pytest.mark.parametrize(
    ("uri", "kind"),
    [("s3://b/a?1#2.csv", "csv"), ("gs://b/a%3F.geojson", "geojson"),
     ("https://h/a.parquet?v=1.csv#x", "parquet"), ("/data/a?b.TSV.gz", "csv")],
)  # fmt: skip
def test_a_file_is_known_by_the_end_of_its_name_whatever_is_in_it(uri, kind):
    assert kind_of(uri) == kind


def test_a_points_file_may_have_a_question_mark_in_its_name(tmp_path):
    (tmp_path / "a?b.tsv").write_text("lon\tlat\n1\t2\n", encoding="utf-8")
    ((index, x, y, *_),), letters = _read(tmp_path / "a?b.tsv")
    assert (index, x, y, letters) == (0, 1.0, 2.0, [])


@pytest.mark.parametrize("files", ["b.parquet", "[ab].parquet"], ids=["alone", "beside others"])
def test_text_and_geometries_may_come_as_views(tmp_path, files):
    _geoparquet(tmp_path / "a.parquet")
    table = pq.read_table(tmp_path / "a.parquet")
    views = [table["where"].cast(pa.binary_view()), table["name"].cast(pa.string_view())]
    table = pa.table(views, table.column_names).replace_schema_metadata(table.schema.metadata)
    pq.write_table(table, tmp_path / "b.parquet")
    with beam.Pipeline("FnApiRunner") as pipeline:
        found = collect((pipeline | ReadPoints(pattern=str(tmp_path / files))).points)
    for batch in found:
        rows = batch.points.take(pa.array([1, 0]))
        assert rows.select(["point_x", "name"]).to_pylist()[1] == {"point_x": 1.0, "name": "a"}
    table = table.select(["name"]).append_column("x", pa.array([1.0, 2.0]))
    (batch, _), *_ = read_points(table.append_column("y", table["x"]), LONLAT)
    assert batch.points.schema.field("name").type == pa.string()


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
        ("p", b"", r"of a folder give its files, like .*/p/\*\.parquet"),
        ("p.parquet", b"no parquet", "cannot be read as points"),
        ("p.geojson", b"{", "not GeoJSON features"),
        ("p.geojson", b'{"type": "Topology"}', "expected a FeatureCollection"),
        ("p.geojson", b'{"type": "FeatureCollection"}', "'features' is missing, expected a list"),
        ("p.geojson", b'{"type": "FeatureCollection", "features": {}}', "'features' is dict"),
        ("p.geojson", b"[" * 100_000, "not GeoJSON features: maximum recursion depth"),
        ("p.geojson", b'{"type": "Feature", "geometry": "here"}', "not GeoJSON features"),
        ("p.geojson", b'{"type": "Feature", "properties": {"n": 1%s}}' % (b"0" * 30),
         "property 'n' has values that are of no one type"),
        ("p.csv", b"x,y\n1,2\n1,2\n3\n", r"p\.csv: row 4 has 1 fields, the header 2: '3'"),
        ("p.csv", b"x,y,z\n1,2,a\n1,2,Z\xfcrich\n", r"p\.csv: row 3: column 'z' is not in UTF-8"),
        ("p.csv", b"x,y,a,a\n1,2,3,4\n", r"several columns are named \['a'\]"),
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
