"""Sections 3 to 3.2 of rasteret's rules: arguments, what is a point, and its CRS."""

import decimal
import json
import math

import numpy as np
import pyarrow as pa
import pyproj
import pytest
import shapely
from scenes import Scene, make_collection, ramp, run, sample

from rasteret_beam.elements import PointBatch
from rasteret_beam.errors import BandNotFoundError, CrsError, OptionError, PointsError
from rasteret_beam.grid import crs
from rasteret_beam.options import SampleOptions, band_names
from rasteret_beam.points import PointColumns, to_points

DEGREES = Scene(
    name="a", pixels=ramp(40, 40), epsg=4326, origin=(0.0, 40.0), scale=(1.0, -1.0),
)
"""One pixel a degree, so that the pixel (row, col) holds x = col.5, y = (39 - row).5."""

METRES = Scene(name="m", pixels=ramp(40, 40))
AT_9_5 = {"x": [5.5], "y": [30.5]}
EXTENSION_NAME, EXTENSION_METADATA = b"ARROW:extension:name", b"ARROW:extension:metadata"


@pytest.fixture(scope="module")
def degrees(tmp_path_factory):
    return make_collection(tmp_path_factory.mktemp("degrees"), [DEGREES])


@pytest.fixture(scope="module")
def metres(tmp_path_factory):
    return make_collection(tmp_path_factory.mktemp("metres"), [METRES])


def wkb(x, y):
    return shapely.to_wkb(shapely.Point(x, y))


def tagged(name, blobs, **metadata):
    """A table of one column of WKB that says it is GeoArrow."""
    extra = {
        EXTENSION_NAME: b"geoarrow.wkb", EXTENSION_METADATA: json.dumps(metadata).encode(),
    }
    field = pa.field(name, pa.binary(), metadata=extra)
    return pa.table([pa.array(blobs, pa.binary())], schema=pa.schema([field]))


def native(storage, name="geoarrow.point", **metadata):
    """A table of one column of native GeoArrow points."""
    extra = {EXTENSION_NAME: name.encode(), EXTENSION_METADATA: json.dumps(metadata).encode()}
    field = pa.field("where", storage.type, metadata=extra)
    return pa.table([storage], schema=pa.schema([field]))


def values(rows):
    return {row["point_index"]: row["value"] for row in rows}


def columns(**options):
    return PointColumns(**{"crs": "EPSG:4326", **options})


# Section 3: arguments


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"match": "newest"}, "match must be either 'all' or 'latest'"),
        ({"max_distance_pixels": -1}, "max_distance_pixels must be >= 0"),
        (
            {"return_neighbourhood": "on", "max_distance_pixels": 1},
            "return_neighbourhood must be one of: 'off', 'always', 'if_center_nodata'",
        ),
        (
            {"return_neighbourhood": "always"},
            "max_distance_pixels must be > 0 when return_neighbourhood is enabled",
        ),
        (
            {"return_neighbourhood": "if_center_nodata"},
            "max_distance_pixels must be > 0 when return_neighbourhood is enabled",
        ),
    ],
)
def test_rule_3_wrong_options_are_refused_in_rasterets_words(options, words):
    with pytest.raises(ValueError, match=words) as caught:
        SampleOptions(bands=("B1",), **options)
    assert isinstance(caught.value, OptionError)


def test_rule_3_defaults_are_all_records_no_fallback_and_no_neighbourhood():
    options = SampleOptions(bands=("B1",))
    assert (options.match, options.max_distance_pixels) == ("all", 0)
    assert options.return_neighbourhood == "off"
    assert options.unmatched == "omit"


def test_rule_3_an_unknown_band_is_refused_before_anything_is_read(tmp_path):
    collection = make_collection(tmp_path, [DEGREES])
    (tmp_path / "a.tif").unlink()
    words = r"Band\(s\) not found: \['B9'\]. Available bands: \['B1'\]"
    with pytest.raises(BandNotFoundError, match=words) as caught:
        run(collection, AT_9_5, ("B1", "B9"), crs="EPSG:4326")
    assert isinstance(caught.value, ValueError)


def test_rule_3_a_radius_may_be_numpys():
    options = SampleOptions(bands=("B1",), max_distance_pixels=np.int8(8))
    assert options.window_pixels == 289


def test_difference_a_radius_above_64_is_refused_at_once():
    assert SampleOptions(bands=("B1",), max_distance_pixels=64).window_pixels == 129 * 129
    with pytest.raises(OptionError, match="<= 64, got 65"):
        SampleOptions(bands=("B1",), max_distance_pixels=65)


def test_difference_a_fractional_radius_is_refused_at_once():
    with pytest.raises(OptionError, match=r"whole number, got 1\.5"):
        SampleOptions(bands=("B1",), max_distance_pixels=1.5)


@pytest.mark.parametrize(
    ("bands", "told"),
    [
        ("B04", r"one text 'B04'; expected .*\['B04'\] for one band"), ((), "bands is empty"),
        (None, "bands is None"), ((4,), r"bands is \[4\]"), (("a", "b", "a"), "Each band once"),
    ],
)  # fmt: skip
def test_difference_what_is_no_list_of_bands_is_refused(bands, told):
    with pytest.raises(OptionError, match=told):
        SampleOptions(bands=bands)


def test_bands_may_be_any_sequence():
    assert SampleOptions(bands=np.array(["B1", "B2"])) == SampleOptions(bands=["B1", "B2"])
    assert hash(SampleOptions(bands=["B1"])) == hash(SampleOptions(bands=("B1",)))
    assert band_names(name for name in "ab") == ("a", "b")


@pytest.mark.parametrize("told", [4326, "4326", pyproj.CRS(4326), pyproj.CRS(4326).to_json_dict()])
def test_a_crs_may_be_a_code_or_what_libraries_have(degrees, told):
    assert PointColumns(crs=told).crs in ("4326", "EPSG:4326")
    assert values(sample(degrees, AT_9_5, crs=told)) == {0: 905.0}


@pytest.mark.parametrize("told", [4326.0, True, 0])
def test_what_is_no_crs_is_refused_at_once(told):
    with pytest.raises(CrsError, match="no coordinate reference system"):
        PointColumns(crs=told)


def test_difference_a_band_listed_twice_is_refused_at_once():
    with pytest.raises(OptionError, match=r"\['B1', 'B2', 'B1'\]"):
        SampleOptions(bands=("B1", "B2", "B1"))


# Section 3.1: what is a point


def test_rule_3_1_a_named_column_of_plain_wkb_holds_the_points(degrees):
    table = {"where": pa.array([wkb(5.5, 30.5), wkb(7.5, 30.5)])}
    rows = sample(degrees, table, crs=columns(geometry_column="where"))
    assert values(rows) == {0: 905.0, 1: 907.0}


def test_rule_3_1_a_plain_binary_column_is_no_geometry_unless_it_is_named(degrees):
    with pytest.raises(PointsError, match="Unsupported table input for point sampling"):
        sample(degrees, {"geometry": pa.array([wkb(5.5, 30.5)])}, crs="EPSG:4326")


def test_rule_3_1_a_geoarrow_column_is_found_without_its_name(degrees):
    rows = sample(degrees, tagged("where", [wkb(5.5, 30.5)], crs="EPSG:4326"), crs=PointColumns())
    assert values(rows) == {0: 905.0}
    assert "where" not in rows[0]


def test_rule_3_1_a_geoarrow_column_beats_columns_x_and_y(degrees):
    table = tagged("where", [wkb(5.5, 30.5)], crs="EPSG:4326")
    table = table.append_column("x", pa.array([1.5])).append_column("y", pa.array([1.5]))
    rows = sample(degrees, table, crs=PointColumns())
    assert values(rows) == {0: 905.0}
    assert (rows[0]["x"], rows[0]["point_x"]) == (1.5, 5.5)


def test_difference_the_column_that_geoparquet_metadata_names_beats_columns_x_and_y(degrees):
    geo = {"version": "1.1.0", "primary_column": "g", "columns": {"g": {"encoding": "WKB"}}}
    table = pa.table({"g": pa.array([wkb(5.5, 30.5)]), "x": [0.5], "y": [39.5]})
    table = table.replace_schema_metadata({"geo": json.dumps(geo)})
    assert values(sample(degrees, table, crs="EPSG:4326")) == {0: 905.0}
    assert values(sample(degrees, table, crs=columns(x_column="x", y_column="y"))) == {0: 0.0}


def test_rule_3_1_named_x_and_y_columns_beat_a_geoarrow_column(degrees):
    table = tagged("where", [wkb(5.5, 30.5)], crs="EPSG:4326")
    table = table.append_column("x", pa.array([7.5])).append_column("y", pa.array([30.5]))
    rows = sample(degrees, table, crs=columns(x_column="x", y_column="y"))
    assert values(rows) == {0: 907.0}


def test_rule_3_1_one_of_several_geoarrow_columns_must_be_named(degrees):
    table = tagged("a", [wkb(5.5, 30.5)], crs="EPSG:4326")
    other = tagged("b", [wkb(7.5, 30.5)], crs="EPSG:4326")
    table = table.append_column(other.schema.field(0), other.column(0))
    with pytest.raises(PointsError, match="Multiple GeoArrow geometry columns found"):
        sample(degrees, table, crs=PointColumns())
    rows = sample(degrees, table, crs=PointColumns(geometry_column="b"))
    assert values(rows) == {0: 907.0}


def test_rule_3_1_a_geometry_column_that_is_not_there_is_named_with_those_that_are(degrees):
    words = r"geometry_column='zz' not found in table columns. Available columns: .*'x', 'y'"
    with pytest.raises(PointsError, match=words):
        sample(degrees, AT_9_5, crs=columns(geometry_column="zz"))


def test_rule_3_1_x_and_y_columns_may_have_any_name(degrees):
    table = {"x": [1.5], "y": [1.5], "east": [5.5], "north": [30.5]}
    rows = sample(degrees, table, crs=columns(x_column="east", y_column="north"))
    assert values(rows) == {0: 905.0}


def test_rule_3_1_missing_coordinate_columns_are_named(degrees):
    with pytest.raises(PointsError, match=r"Missing point coordinate columns: \['north'\]"):
        sample(degrees, AT_9_5, crs=columns(x_column="x", y_column="north"))


@pytest.mark.parametrize(
    ("x_name", "y_name"), [("x", "y"), ("lon", "lat"), ("longitude", "latitude"), ("lng", "lat")],
)
def test_rule_3_1_four_pairs_of_names_are_known(degrees, x_name, y_name):
    rows = sample(degrees, {x_name: [5.5], y_name: [30.5]}, crs="EPSG:4326")
    assert values(rows) == {0: 905.0}


def test_rule_3_1_the_first_pair_that_is_there_wins(degrees):
    every = {"lng": [1.5], "longitude": [1.5], "latitude": [1.5], "lon": [7.5], "lat": [30.5]}
    assert values(sample(degrees, every, crs="EPSG:4326")) == {0: 907.0}
    rows = sample(degrees, {**every, "y": [30.5], "x": [5.5]}, crs="EPSG:4326")
    assert values(rows) == {0: 905.0}


def test_rule_3_1_names_of_pairs_are_case_sensitive(degrees):
    with pytest.raises(PointsError, match=r"Provide geometry_column .* or x_column/y_column"):
        sample(degrees, {"X": [5.5], "Y": [30.5]}, crs="EPSG:4326")


def test_rule_3_1_half_a_pair_is_passed_over(degrees):
    rows = sample(degrees, {"x": [1.5], "lon": [5.5], "lat": [30.5]}, crs="EPSG:4326")
    assert values(rows) == {0: 905.0}


def test_difference_one_coordinate_column_alone_is_an_error():
    with pytest.raises(PointsError, match="give both or none"):
        PointColumns(crs="EPSG:4326", x_column="x")
    with pytest.raises(PointsError, match="give both or none"):
        PointColumns(crs="EPSG:4326", y_column="y")


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (pa.array([decimal.Decimal("5.50")]), pa.array([decimal.Decimal("30.5")])),
        (pa.array(["5.5"]), pa.array(["30.5"])),
        (pa.array([5.5], pa.float32()), pa.array([30.5], pa.float32())),
    ],
    ids=["decimals", "text", "float32"],
)
def test_rule_3_1_coordinates_are_cast_to_float64(degrees, x, y):
    rows = sample(degrees, {"x": x, "y": y}, crs="EPSG:4326")
    assert values(rows) == {0: 905.0}
    assert isinstance(rows[0]["point_x"], float)


def test_rule_3_1_coordinates_may_be_integers(degrees):
    table = {"x": pa.array([5], pa.int16()), "y": pa.array([30], pa.uint8())}
    rows = sample(degrees, table, crs="EPSG:4326")
    assert values(rows) == {0: 1005.0}
    assert isinstance(rows[0]["point_x"], float)


def test_difference_text_that_is_no_number_loses_only_its_own_row(degrees):
    table = {"x": ["east", "5.5"], "y": ["30.5", "30.5"]}
    result = run(degrees, table, crs="EPSG:4326")
    assert values(result.samples.to_pylist()) == {1: 905.0}
    (letter,) = result.dead_letters
    assert letter.code == "INVALID_POINT"
    assert "'east', expected a number" in letter.msg


@pytest.mark.parametrize(
    "shape",
    [
        shapely.box(5, 30, 6, 31),
        shapely.LineString([(5, 30), (6, 31)]),
        shapely.MultiPoint([(5.5, 30.5)]),
    ],
    ids=lambda shape: shape.geom_type,
)
def test_difference_a_shape_that_is_no_point_loses_only_its_own_row(degrees, shape):
    table = {"where": [shapely.to_wkb(shape), wkb(5.5, 30.5)]}
    result = run(degrees, table, crs=columns(geometry_column="where"))
    assert values(result.samples.to_pylist()) == {1: 905.0}
    (letter,) = result.dead_letters
    assert letter.code == "INVALID_POINT"
    assert shape.geom_type in letter.msg


def test_difference_bytes_that_are_no_wkb_lose_only_their_own_row(degrees):
    result = run(
        degrees, {"where": [b"\x00nonsense", wkb(5.5, 30.5)]},
        crs=columns(geometry_column="where"),
    )
    assert values(result.samples.to_pylist()) == {1: 905.0}
    (letter,) = result.dead_letters
    assert "WKB" in letter.msg


def test_rule_3_1_a_column_of_text_holds_no_geometries(degrees):
    with pytest.raises(PointsError, match="ST_AsWKB"):
        sample(degrees, {"where": ["POINT (5.5 30.5)"]}, crs=columns(geometry_column="where"))


def test_rule_3_1_z_is_dropped(degrees):
    table = {"where": [wkb(5.5, 30.5), shapely.to_wkb(shapely.Point(5.5, 30.5, 99.0))]}
    rows = sample(degrees, table, crs=columns(geometry_column="where"))
    assert values(rows) == {0: 905.0, 1: 905.0}


@pytest.mark.parametrize("bad", [None, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("axis", ["x", "y"])
def test_rule_3_1_a_coordinate_that_is_no_number_gives_no_row_and_ends_nothing(degrees, bad, axis):
    table = {"x": [5.5, 5.5], "y": [30.5, 30.5], axis: [bad, {"x": 5.5, "y": 30.5}[axis]]}
    result = run(degrees, table, crs="EPSG:4326")
    assert values(result.samples.to_pylist()) == {1: 905.0}
    (letter,) = result.dead_letters
    assert (letter.code, json.loads(letter.element)["point_index"]) == ("INVALID_POINT", 0)
    assert f"column {axis!r} " in letter.msg
    assert result.counts.points_invalid == 1


def test_rule_3_1_null_and_empty_points_give_no_row_and_end_nothing(degrees):
    table = {"where": pa.array([None, shapely.to_wkb(shapely.Point()), wkb(5.5, 30.5)])}
    result = run(degrees, table, crs=columns(geometry_column="where"))
    assert values(result.samples.to_pylist()) == {2: 905.0}
    told = [letter.msg.partition("geometry is ")[2] for letter in result.dead_letters]
    wanted = "expected a Point with coordinates"
    assert told == [f"null, {wanted}", f"an empty Point, {wanted}"]


def test_rule_3_1_geoarrow_points_may_be_structs_of_x_and_y(degrees):
    points = pa.array([{"x": 5.5, "y": 30.5}, None], pa.struct({"x": "f8", "y": "f8"}))
    rows = sample(degrees, native(points, crs="EPSG:4326"), crs=PointColumns())
    assert values(rows) == {0: 905.0}


def test_rule_3_1_geoarrow_points_may_be_pairs(degrees):
    points = pa.array([None, [5.5, 30.5]], pa.list_(pa.float64(), 2))
    rows = sample(degrees, native(points, crs="EPSG:4326"), crs=PointColumns())
    assert values(rows) == {1: 905.0}


def test_rule_3_1_an_empty_table_gives_no_rows(degrees):
    table = pa.table({"x": pa.array([], pa.float64()), "y": pa.array([], pa.float64())})
    result = run(degrees, table, crs="EPSG:4326")
    assert result.samples.num_rows == 0
    assert result.counts.points_read == 0


# Section 3.2: CRS


def test_rule_3_2_plain_columns_must_be_given_a_crs(degrees):
    with pytest.raises(PointsError, match="CRS is not in the file's metadata"):
        sample(degrees, AT_9_5, crs=PointColumns())


def test_rule_3_2_geoarrow_without_a_crs_must_be_given_one(degrees):
    table = tagged("where", [wkb(5.5, 30.5)])
    with pytest.raises(PointsError, match="CRS is not in the file's metadata"):
        sample(degrees, table, crs=PointColumns())


@pytest.mark.parametrize(
    "spelling", ["EPSG:32631", crs.to_projjson("EPSG:32631")], ids=["code", "PROJJSON"],
)
def test_rule_3_2_the_crs_is_taken_from_geoarrow_metadata(metres, spelling):
    rows = sample(metres, tagged("where", [wkb(500055.0, 4599905.0)], crs=spelling),
                  crs=PointColumns())
    assert values(rows) == {0: 905.0}
    assert rows[0]["point_crs"] == 32631


def test_rule_3_2_a_given_crs_wins_over_metadata(metres):
    table = tagged("where", [wkb(500055.0, 4599905.0)], crs="EPSG:3857")
    rows = sample(metres, table, crs=PointColumns(crs="EPSG:32631"))
    assert values(rows) == {0: 905.0}
    assert rows[0]["point_crs"] == 32631


def test_rule_3_2_a_bare_number_is_an_epsg_code(metres):
    rows = sample(metres, {"x": [500055.0], "y": [4599905.0]}, crs="32631")
    assert (rows[0]["value"], rows[0]["point_crs"]) == (905.0, 32631)


@pytest.mark.parametrize("spelling", ["OGC:CRS84", crs.to_projjson("OGC:CRS84")])
def test_rule_3_2_crs84_counts_as_epsg_4326(degrees, spelling):
    rows = sample(degrees, tagged("where", [wkb(5.5, 30.5)], crs=spelling), crs=PointColumns())
    assert (rows[0]["value"], rows[0]["point_crs"]) == (905.0, 4326)


def test_rule_3_2_wkt_of_an_epsg_crs_is_its_code(metres):
    wkt = crs._parse("EPSG:32631").to_wkt()
    rows = sample(metres, {"x": [500055.0], "y": [4599905.0]}, crs=wkt)
    assert (rows[0]["value"], rows[0]["point_crs"]) == (905.0, 32631)


def test_rule_3_2_text_that_is_no_crs_is_refused():
    with pytest.raises(CrsError, match="'EPSG:0' is no coordinate reference system"):
        PointColumns(crs="EPSG:0")


def test_difference_a_crs_without_an_epsg_code_is_accepted(metres):
    laea = "+proj=laea +lat_0=41.5 +lon_0=3 +datum=WGS84 +units=m"
    x, y = crs.transform(
        "EPSG:32631", crs.normalise(laea), np.array([500055.0]), np.array([4599905.0]),
    )
    rows = sample(metres, {"x": x, "y": y}, crs=laea)
    assert values(rows) == {0: 905.0}
    assert rows[0]["point_crs"] is None


def test_rule_3_2_crs_none_uses_the_coordinates_for_bbox_and_raster_alike(degrees, metres):
    rows = sample(degrees, AT_9_5, crs="none")
    assert (rows[0]["value"], rows[0]["point_crs"]) == (905.0, None)
    assert rows[0]["raster_crs"] == 4326
    # Metres lie outside every bbox in degrees.
    assert sample(metres, {"x": [500055.0], "y": [4599905.0]}, crs="none") == []


def test_rule_3_2_x_is_longitude_whatever_the_authority_says(metres):
    lon, lat = crs.transform(
        "EPSG:32631", "EPSG:4326", np.array([500055.0]), np.array([4599905.0]),
    )
    rows = sample(metres, {"x": lon, "y": lat}, crs="EPSG:4326")
    assert values(rows) == {0: 905.0}
    assert (rows[0]["point_crs"], rows[0]["raster_crs"]) == (4326, 32631)


def test_rule_3_2_a_record_without_a_crs_takes_the_coordinates_as_they_are(tmp_path):
    scene = Scene(
        name="a", pixels=ramp(40, 40), epsg=None, origin=(600000.0, 5000040.0), scale=(1.0, -1.0),
    )
    lon, lat = crs.transform(
        "EPSG:3857", "EPSG:4326", np.array([600005.5]), np.array([5000030.5]),
    )

    def place(rows):
        # The bbox is compared in degrees all the same.
        rows[0]["bbox"] = {
            "xmin": lon[0] - 1, "ymin": lat[0] - 1, "xmax": lon[0] + 1, "ymax": lat[0] + 1,
        }

    collection = make_collection(tmp_path, [scene], mutate=place)
    rows = sample(collection, {"x": [600005.5], "y": [5000030.5]}, crs="EPSG:3857")
    assert values(rows) == {0: 905.0}
    assert (rows[0]["point_crs"], rows[0]["raster_crs"]) == (3857, None)


def test_rule_3_2_spherical_edges_are_refused_unless_a_crs_is_given(degrees):
    table = tagged("where", [wkb(5.5, 30.5)], crs="EPSG:4326", edges="spherical")
    assert values(sample(degrees, table, crs="EPSG:4326")) == {0: 905.0}
    with pytest.raises(PointsError, match="edges"):
        sample(degrees, table, crs=PointColumns())


def test_rule_3_8_point_indexes_count_input_rows_from_the_first():
    rows = pa.RecordBatch.from_pydict({"x": [1.0, 2.0], "y": [3.0, 4.0]})
    batch, letters = to_points(rows, PointColumns(crs="EPSG:4326"), 7, "table")
    assert isinstance(batch, PointBatch)
    assert batch.points.column("point_index").to_pylist() == [7, 8]
    assert letters == []
