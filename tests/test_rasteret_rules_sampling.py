"""Sections 3.3, 3.4 and 3.7 of rasteret's rules: which record and which pixel a point gets."""

import datetime as dt
import math
import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from scenes import Scene, centre, grid_points, make_collection, ramp, run, sample

from rasteret_beam.collection.filters import Filters
from rasteret_beam.companion import Collection

DEGREES = {"epsg": 4326, "origin": (0.0, 40.0), "scale": (1.0, -1.0)}
"""One pixel a degree: the pixel (row, col) of 40 x 40 holds x = col.5, y = (39 - row).5."""


def degrees(name, pixels, **options):
    return Scene(name=name, pixels=pixels, **{**DEGREES, **options})


def flat(name, value, year=None, **options):
    """A scene of one value."""
    when = None if year is None else dt.datetime(year, 1, 1)  # noqa: DTZ001 -- UTC, as stored
    pixels = np.full((options.pop("n_bands", 1), 40, 40), value, np.int16)
    return degrees(name, pixels, when=when, **options)


def box(xmin, ymin, xmax, ymax):
    return {"xmin": xmin, "ymin": ymin, "xmax": xmax, "ymax": ymax}


def values(rows):
    return {row["point_index"]: row["value"] for row in rows}


def by_record(rows):
    return {row["record_id"]: row["value"] for row in rows}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return make_collection(tmp_path_factory.mktemp("whole"), [degrees("a", ramp(40, 40))])


@pytest.fixture(scope="module")
def inner(tmp_path_factory):
    """A record whose bbox is smaller than its pixels."""

    def shrink(rows):
        rows[0]["bbox"] = box(10.25, 10.25, 20.5, 20.5)

    folder = tmp_path_factory.mktemp("inner")
    return make_collection(folder, [degrees("a", ramp(40, 40))], mutate=shrink)


def sample_lonlat(collection, x, y, **options):
    return sample(collection, {"x": x, "y": y}, crs="EPSG:4326", **options)


# Section 3.3: which record gets which points


def test_rule_3_3_every_record_whose_bbox_holds_the_point_gives_a_row(tmp_path):
    far = flat("far", 3, origin=(100.0, 40.0))
    collection = make_collection(tmp_path, [flat("a", 1), flat("b", 2), far])
    rows = sample_lonlat(collection, [5.5], [5.5])
    assert by_record(rows) == {"a": 1.0, "b": 2.0}


@pytest.mark.parametrize(
    ("x", "y"), [(10.25, 15.5), (20.5, 15.5), (15.5, 10.25), (15.5, 20.5), (20.5, 20.5)],
)
def test_rule_3_3_points_on_the_edge_of_the_bbox_are_in_it(inner, x, y):
    assert len(sample_lonlat(inner, [x], [y])) == 1


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (math.nextafter(10.25, 0), 15.5), (math.nextafter(20.5, 99), 15.5),
        (15.5, math.nextafter(10.25, 0)), (15.5, math.nextafter(20.5, 99)),
    ],
)
def test_rule_3_3_points_on_valid_pixels_beyond_the_bbox_give_no_row(inner, x, y):
    result = run(inner, {"x": [x], "y": [y]}, crs="EPSG:4326", unmatched="emit")
    assert result.samples["status"].to_pylist() == ["NO_RECORD"]
    assert result.counts.points_unmatched == 1


def test_rule_3_3_a_point_in_the_bbox_but_on_no_pixel_gives_no_row(tmp_path):
    def grow(rows):
        rows[0]["bbox"] = box(-10.0, -10.0, 50.0, 50.0)

    collection = make_collection(tmp_path, [flat("a", 1)], mutate=grow)
    table = {"x": [-0.5, 40.5, 5.5, 5.5], "y": [5.5, 5.5, -0.5, 40.5]}
    result = run(collection, table, crs="EPSG:4326", unmatched="emit")
    assert set(result.samples["status"].to_pylist()) == {"OUT_OF_EXTENT"}
    assert sample(collection, table, crs="EPSG:4326") == []


def test_rule_3_3_points_are_compared_with_the_bbox_in_degrees(tmp_path):
    scene = Scene(name="a", pixels=ramp(40, 40))
    everything = make_collection(tmp_path, [scene])
    points = grid_points(scene, [(3, 4)])

    def elsewhere(rows):
        rows[0]["bbox"] = box(500000.0, 4599600.0, 500400.0, 4600000.0)

    metres = make_collection(tmp_path, [scene], name="metres", mutate=elsewhere)
    assert values(sample(everything, points)) == {0: 304.0}
    assert sample(metres, points) == []


def test_rule_3_3_filters_choose_records_and_never_drop_points(tmp_path):
    far = flat("far", 2, origin=(100.0, 40.0))
    collection = make_collection(tmp_path, [flat("a", 1), far])
    rows = sample_lonlat(
        collection, [5.5, 35.5, 105.5], [5.5, 35.5, 5.5], filters=Filters(bbox=(0, 0, 10, 10)),
    )
    assert values(rows) == {0: 1.0, 1: 1.0}


def test_rule_3_3_given_geometries_choose_records_by_their_bbox(tmp_path):
    collection = make_collection(tmp_path, [flat("a", 1), flat("b", 2, origin=(30.0, 40.0))])
    # Of the triangle only the bbox counts: it is what reaches into b.
    triangle = shapely.Polygon([(-5, 45), (35, 45), (-5, 5)])
    rows = sample_lonlat(collection, [35.5], [5.5], filters=Filters(geometries=[triangle]))
    assert by_record(rows) == {"a": 1.0, "b": 2.0}
    left = shapely.box(0, 0, 20, 20)
    rows = sample_lonlat(collection, [35.5], [5.5], filters=Filters(geometries=[left]))
    assert by_record(rows) == {"a": 1.0}


@pytest.mark.parametrize("missing", [None, math.nan])
def test_difference_points_without_coordinates_beside_geometries_harm_no_other(whole, missing):
    # rasteret gives no row then: the bbox of all points is NaN.
    points = {"lon": [missing, 5.5], "lat": [30.5, 30.5]}
    with pytest.warns(RuntimeWarning, match="without usable coordinates"):
        found = Collection.from_parquet(whole).sample_points(
            points, ["B1"], geometry_crs=4326, geometries=shapely.box(0, 0, 40, 40),
        )
    assert found["point_index"].to_pylist() == [1]


def test_difference_a_filter_bbox_apart_from_all_points_still_chooses_records_only(whole):
    # rasteret gives no row then; a stream has no bbox of all points.
    rows = sample_lonlat(whole, [5.5], [30.5], filters=Filters(bbox=(30, 0, 39, 10)))
    assert [row["point_index"] for row in rows] == [0]


@pytest.mark.parametrize(
    "bbox", [None, box(None, 0.0, 40.0, 40.0), box(0.0, math.nan, 40.0, 40.0)],
    ids=["null", "null side", "NaN side"],
)
def test_difference_a_record_without_a_usable_bbox_is_a_dead_letter(tmp_path, bbox):
    def spoil(rows):
        rows[0]["bbox"] = bbox

    collection = make_collection(tmp_path, [flat("a", 1), flat("b", 2)], mutate=spoil)
    result = run(collection, {"x": [5.5], "y": [5.5]}, crs="EPSG:4326")
    assert by_record(result.samples.to_pylist()) == {"b": 2.0}
    (letter,) = result.dead_letters
    assert letter.code == "INVALID_RECORD"
    assert "record 'a': bbox is" in letter.msg


def test_difference_longitudes_beyond_180_match_as_they_are_and_wrapped(tmp_path):
    west = flat("west", 1, origin=(-180.0, 40.0))
    wide = flat("wide", 2, origin=(160.0, 40.0))
    collection = make_collection(tmp_path, [west, wide])
    rows = sample_lonlat(collection, [185.5], [5.5])
    assert by_record(rows) == {"wide": 2.0}
    # West's bbox holds the wrapped point; its pixels are looked for where the point is.
    (row,) = sample_lonlat(
        collection, [185.5], [5.5], unmatched="emit", filters=Filters(where="id = 'west'"),
    )
    assert row["status"] == "OUT_OF_EXTENT"


def test_rule_3_3_rasters_in_degrees_hold_points_in_their_own_turn_only(tmp_path):
    scenes = [flat("to360", 1, origin=(340.0, 40.0)), flat("from180", 2, origin=(-180.0, 40.0))]
    collection = make_collection(tmp_path, scenes)
    rows = sample_lonlat(collection, [345.5, -14.5, 185.5, -174.5], [5.5] * 4)
    assert values(rows) == {0: 1.0, 3: 2.0}


def test_difference_a_wrapped_longitude_finds_records_in_another_crs(tmp_path):
    scene = Scene(
        name="a", pixels=ramp(40, 40), epsg=32601, origin=(500000.0, 10000.0),
        scale=(10.0, -10.0),
    )  # zone 1: central meridian -177
    collection = make_collection(tmp_path, [scene])
    (x, y) = centre(scene, 3, 4)
    native = sample(collection, {"x": [x], "y": [y]}, crs="EPSG:32601")
    lon = -177 + (x - 500000.0) / 0.9996 / 111319.49079327358
    lat = (y / 0.9996) / 110574.27582159
    rows = sample_lonlat(collection, [lon, lon + 360], [lat, lat])
    assert values(native) == {0: 304.0}
    assert values(rows) == {0: 304.0, 1: 304.0}


# Section 3.4: pixel selection


@pytest.mark.parametrize(
    ("x", "y", "value"),
    [
        (0.0, 39.5, 0.0),  # the left edge belongs to the first column
        (5.5, 40.0, 5.0),  # the top edge to the first row
        (1.0, 39.0, 101.0),  # an inner edge to the pixel right and below of it
        (math.nextafter(40.0, 0), 0.5, 3939.0),
        (39.5, 1e-9, 3939.0),
    ],
)
def test_rule_3_4_north_up_left_and_top_edges_belong_to_the_pixel(whole, x, y, value):
    assert values(sample_lonlat(whole, [x], [y])) == {0: value}


@pytest.mark.parametrize(("x", "y"), [(40.0, 39.5), (5.5, 0.0), (40.0, 0.0), (0.0, 0.0)])
def test_rule_3_4_north_up_right_and_bottom_edges_are_outside(whole, x, y):
    result = run(whole, {"x": [x], "y": [y]}, crs="EPSG:4326", unmatched="emit")
    assert result.samples["status"].to_pylist() == ["OUT_OF_EXTENT"]


def test_rule_3_4_there_is_no_tolerance_at_the_edges(whole):
    x = [math.nextafter(0.0, -1), 0.0, math.nextafter(40.0, 0), 40.0]
    rows = sample_lonlat(whole, x, [39.5] * 4)
    assert values(rows) == {1: 0.0, 2: 39.0}


@pytest.fixture(scope="module")
def south_up(tmp_path_factory):
    scene = degrees("a", ramp(40, 40), origin=(0.0, 0.0), scale=(1.0, 1.0))
    return make_collection(tmp_path_factory.mktemp("south"), [scene])


def test_rule_3_4_south_up_rows_grow_northwards(south_up):
    assert values(sample_lonlat(south_up, [5.5, 5.5], [0.5, 39.5])) == {0: 5.0, 1: 3905.0}


def test_rule_3_4_south_up_the_bottom_edge_is_inside_and_the_top_edge_outside(south_up):
    assert values(sample_lonlat(south_up, [5.5, 5.5], [0.0, 40.0])) == {0: 5.0}


def test_rule_3_4_positions_are_divided_by_the_pixel_size_not_multiplied_by_its_inverse(tmp_path):
    size, columns = 0.0001, 400
    scene = degrees("a", ramp(1, columns), origin=(0.0, 40.0), scale=(size, -size))
    x = np.arange(1, columns) * size
    divided = np.floor(x / size)
    assert (divided != np.floor(x * (1 / size))).any()
    rows = sample_lonlat(make_collection(tmp_path, [scene]), x, [40.0 - size / 2] * len(x))
    assert [row["value"] for row in rows] == divided.tolist()


def test_rule_3_4_every_pixel_of_every_tile_is_found(whole):
    pixels = [(row, col) for row in range(40) for col in range(40)]
    scene = degrees("a", ramp(40, 40))
    rows = sample(whole, grid_points(scene, pixels), crs="EPSG:4326")
    assert [row["value"] for row in rows] == [row * 100.0 + col for row, col in pixels]


def test_rule_3_4_tiles_may_be_wider_than_high(tmp_path):
    scene = degrees("a", ramp(40, 70), tile=(16, 64))
    pixels = [(row, col) for row in range(0, 40, 3) for col in range(0, 70, 3)]
    rows = sample(make_collection(tmp_path, [scene]), grid_points(scene, pixels), crs="EPSG:4326")
    assert [row["value"] for row in rows] == [row * 100.0 + col for row, col in pixels]


def test_rule_3_4_64_bit_integers_become_float64(tmp_path):
    pixels = np.full((1, 40, 40), 2**53 + 1, np.int64)
    rows = sample_lonlat(make_collection(tmp_path, [degrees("a", pixels)]), [5.5], [5.5])
    assert values(rows) == {0: float(2**53)}


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int32", "float32", "float64"])
def test_rule_3_4_values_are_float64_whatever_the_file_holds(tmp_path, dtype):
    pixels = np.full((1, 40, 40), 42, dtype)
    result = run(
        make_collection(tmp_path, [degrees("a", pixels)]), {"x": [5.5], "y": [5.5]},
        crs="EPSG:4326",
    )
    assert result.samples.schema.field("value").type == pa.float64()
    assert result.samples["value"].to_pylist() == [42.0]


def test_rule_3_4_alpha_masks_nothing(tmp_path):
    pixels = np.stack([np.full((40, 40), 42, np.uint8), np.zeros((40, 40), np.uint8)])
    scene = degrees("a", pixels, tiff={"extrasamples": ["unassalpha"]})
    collection = make_collection(tmp_path, [scene])
    rows = sample_lonlat(collection, [5.5], [5.5], max_distance_pixels=2, bands=("B1",))
    assert values(rows) == {0: 42.0}


# Section 3.7: match


def latest(collection, x, y, bands=("B1",), **options):
    table = {"x": x, "y": y}
    return sample(collection, table, bands, crs="EPSG:4326", match="latest", **options)


def test_rule_3_7_latest_gives_the_newest_record_in_whatever_order_they_are_stored(tmp_path):
    scenes = [flat("b", 2, 2022), flat("c", 3, 2023), flat("a", 1, 2021)]
    rows = latest(make_collection(tmp_path, scenes), [5.5], [5.5])
    assert by_record(rows) == {"c": 3.0}


def test_rule_3_7_all_gives_every_record(tmp_path):
    scenes = [flat("b", 2, 2022), flat("c", 3, 2023), flat("a", 1, 2021)]
    rows = sample_lonlat(make_collection(tmp_path, scenes), [5.5], [5.5])
    assert by_record(rows) == {"a": 1.0, "b": 2.0, "c": 3.0}


def test_rule_3_7_of_equal_datetimes_the_first_in_scan_order_wins(tmp_path):
    scenes = [flat("z", 1, 2022), flat("m", 2, 2022), flat("a", 3, 2022)]
    rows = latest(make_collection(tmp_path, scenes), [5.5], [5.5])
    assert by_record(rows) == {"z": 1.0}


def test_rule_3_7_records_without_a_datetime_come_last(tmp_path):
    scenes = [flat("none", 1), flat("old", 2, 1901), flat("none2", 3)]
    rows = latest(make_collection(tmp_path, scenes), [5.5], [5.5])
    assert by_record(rows) == {"old": 2.0}


def test_rule_3_7_of_records_without_a_datetime_the_first_wins(tmp_path):
    rows = latest(make_collection(tmp_path, [flat("b", 1), flat("a", 2)]), [5.5], [5.5])
    assert by_record(rows) == {"b": 1.0}


def test_rule_3_7_each_point_has_its_own_newest_record(tmp_path):
    scenes = [flat("old", 1, 2021), flat("new", 2, 2022, origin=(20.0, 40.0))]
    rows = latest(make_collection(tmp_path, scenes), [5.5, 25.5, 45.5], [5.5] * 3)
    assert values(rows) == {0: 1.0, 1: 2.0, 2: 2.0}


def test_rule_3_7_a_winner_by_bbox_without_a_pixel_there_leaves_no_row(tmp_path):
    def grow(rows):
        rows[1]["bbox"] = box(-20.0, -20.0, 60.0, 60.0)

    scenes = [flat("old", 1, 2021), flat("new", 2, 2022, origin=(20.0, 40.0))]
    collection = make_collection(tmp_path, scenes, mutate=grow)
    assert values(latest(collection, [5.5, 25.5], [5.5, 5.5])) == {1: 2.0}
    (row,) = latest(collection, [5.5], [5.5], unmatched="emit")
    assert row["status"] == "OUT_OF_EXTENT"


def test_rule_3_7_a_winner_with_nodata_keeps_its_nodata(tmp_path):
    scenes = [flat("old", 1, 2021), flat("new", -9, 2022, nodata="-9")]
    rows = latest(make_collection(tmp_path, scenes), [5.5], [5.5], max_distance_pixels=2)
    assert by_record(rows) == {"new": -9.0}


def test_rule_3_7_a_winner_whose_file_is_gone_gives_no_row_of_an_older_one(tmp_path):
    scenes = [flat("old", 1, 2021), flat("new", 2, 2022)]
    collection = make_collection(tmp_path, scenes)
    pathlib.Path(tmp_path / "new.tif").unlink()
    result = run(collection, {"x": [5.5], "y": [5.5]}, crs="EPSG:4326", match="latest")
    assert result.samples.num_rows == 0
    assert [letter.code for letter in result.dead_letters] == ["FETCH_ERROR"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("transform", [1.0, 0.5, 0.0, 0.0, -1.0, 40.0]), ("compression", 34925999)],
    ids=["rotated", "unknown compression"],
)
def test_rule_3_7_a_winner_that_cannot_be_read_gives_no_row_of_an_older_one(tmp_path, name, value):
    def spoil(rows):
        rows[1]["B1_metadata"][name] = value

    scenes = [flat("old", 1, 2021), flat("new", 2, 2022)]
    collection = make_collection(tmp_path, scenes, mutate=spoil)
    result = run(collection, {"x": [5.5], "y": [5.5]}, crs="EPSG:4326", match="latest")
    assert [letter.code for letter in result.dead_letters] == ["INVALID_RECORD"]
    assert by_record(result.samples.to_pylist()) == {}


@pytest.mark.parametrize("column", ["B1_metadata", "assets"])
def test_rule_3_7_a_record_without_the_bands_metadata_wins_nothing(tmp_path, column):
    def spoil(rows):
        rows[1][column] = None

    scenes = [flat("old", 1, 2021), flat("new", 2, 2022)]
    collection = make_collection(tmp_path, scenes, mutate=spoil)
    assert by_record(latest(collection, [5.5], [5.5])) == {"old": 1.0}


def without_address(rows):
    rows[1]["assets"]["B1"]["href"] = None


def without_transform(rows):
    rows[1]["B1_metadata"]["transform"] = None


@pytest.mark.parametrize("spoil", [without_address, without_transform])
def test_rule_3_7_a_record_without_address_or_transform_wins_nothing(tmp_path, spoil):
    scenes = [flat("old", 1, 2021), flat("new", 2, 2022)]
    collection = make_collection(tmp_path, scenes, mutate=spoil)
    assert by_record(latest(collection, [5.5], [5.5])) == {"old": 1.0}


def test_rule_3_7_a_winner_with_an_unknown_crs_gives_no_row_of_an_older_one(tmp_path):
    def spoil(rows):
        rows[1].update({"proj:epsg": 32767, "crs": None})

    scenes = [flat("old", 1, 2021), flat("new", 2, 2022)]
    collection = make_collection(tmp_path, scenes, mutate=spoil)
    result = run(collection, {"x": [5.5], "y": [5.5]}, crs="EPSG:4326", match="latest")
    assert by_record(result.samples.to_pylist()) == {}
    assert ["EPSG:32767" in letter.msg for letter in result.dead_letters] == [True]


def test_rule_3_7_bands_of_one_point_may_come_from_different_records(tmp_path):
    def drop(rows):
        rows[1]["B2_metadata"] = None

    scenes = [flat("old", 1, 2021, n_bands=2), flat("new", 2, 2022, n_bands=2)]
    collection = make_collection(tmp_path, scenes, mutate=drop)
    rows = latest(collection, [5.5], [5.5], ("B1", "B2"))
    found = {row["band"]: (row["record_id"], row["value"]) for row in rows}
    assert found == {"B1": ("new", 2.0), "B2": ("old", 1.0)}


def test_rule_3_7_microseconds_decide(tmp_path):
    early = dt.datetime(2022, 1, 1, 0, 0, 0, 1)  # noqa: DTZ001 -- UTC, as stored
    late = dt.datetime(2022, 1, 1, 0, 0, 0, 2)  # noqa: DTZ001 -- UTC, as stored
    ones, twos = np.full((2, 1, 40, 40), [[[[1]]], [[[2]]]], np.int16)
    scenes = [degrees("early", ones, when=early), degrees("late", twos, when=late)]
    assert by_record(latest(make_collection(tmp_path, scenes), [5.5], [5.5])) == {"late": 2.0}


def test_rule_3_7_scan_order_is_by_path_then_row(tmp_path):
    table = pq.read_table(make_collection(tmp_path, [flat("second", 2, 2022), flat("x", 9, 2022)]))
    first = pq.read_table(make_collection(tmp_path, [flat("first", 1, 2022)]))
    folder = tmp_path / "folder"
    folder.mkdir()
    # As text, month=10 comes before month=2.
    pq.write_table(table, folder / "part-2.parquet")
    pq.write_table(first, folder / "part-10.parquet")
    assert by_record(latest(str(folder), [5.5], [5.5])) == {"first": 1.0}


def test_rule_3_7_filters_come_before_the_choice_of_the_newest(tmp_path):
    scenes = [flat("old", 1, 2021), flat("new", 2, 2022)]
    rows = latest(
        make_collection(tmp_path, scenes), [5.5], [5.5],
        filters=Filters(date_range=("2020", "2021-06")),
    )
    assert by_record(rows) == {"old": 1.0}


def test_difference_a_band_missing_in_one_record_loses_only_that_band(tmp_path):
    def drop(rows):
        rows[1]["B2_metadata"] = None
        rows[1]["assets"]["B2"] = None

    scenes = [flat("a", 1, n_bands=2), flat("b", 2, n_bands=2)]
    collection = make_collection(tmp_path, scenes, mutate=drop)
    result = run(collection, {"x": [5.5], "y": [5.5]}, ("B1", "B2"), crs="EPSG:4326")
    found = {(row["record_id"], row["band"]) for row in result.samples.to_pylist()}
    assert found == {("a", "B1"), ("a", "B2"), ("b", "B1")}
    assert [letter.code for letter in result.dead_letters] == ["BAND_MISSING"]
