"""Where an image lies: against every pixel, transformed by pyproj itself."""

import numpy as np
import pyproj
import pytest
import shapely
from hypothesis import assume, given
from hypothesis import strategies as st

from rasteret_beam.grid import crs
from rasteret_beam.indexing.footprint import Extent, Footprint, footprint_of, join

WORLD = (-180.0, -90.0, 180.0, 90.0)
POLAR_NORTH, POLAR_SOUTH, LAEA = "EPSG:3413", "EPSG:3031", "EPSG:3035"


def centres(extent, of_image, n=64):
    """Longitudes and latitudes of pixel centres: all, or n x n with those at the edges."""
    rows = np.unique(np.linspace(0, extent.height - 1, n).round())
    cols = np.unique(np.linspace(0, extent.width - 1, n).round())
    row, col = np.meshgrid(rows, cols, indexing="ij")
    x = extent.origin[0] + (col.ravel() + 0.5) * extent.scale[0]
    y = extent.origin[1] + (row.ravel() + 0.5) * extent.scale[1]
    lon, lat = pyproj.Transformer.from_crs(of_image, 4326, always_xy=True).transform(x, y)
    real = np.isfinite(lon) & np.isfinite(lat)
    return lon[real], lat[real]


def outside(bbox, lon, lat):
    """How many of the places a bbox does not hold, as points are matched: wrapped too.

    PROJ's -180 may be less by a rounding.
    """
    across = [(one >= bbox[0]) & (one <= bbox[2]) for one in (lon, crs.wrapped(lon))]
    held = (across[0] | across[1]) & (lat >= bbox[1]) & (lat <= bbox[3])
    return int((~held).sum())


def square(x, y, size, n=256):
    """A north-up square image, by its upper left corner."""
    return Extent(n, n, (size / n, -size / n), (x, y))


# Plain places


def test_an_image_in_longitude_and_latitude_is_its_own_footprint():
    found = footprint_of(Extent(20, 10, (0.5, -0.25), (3.0, 50.0)), "EPSG:4326")
    assert found.bbox == (3.0, 47.5, 13.0, 50.0)
    assert found.outline.equals(shapely.box(*found.bbox))


def test_south_up_images_have_the_same_footprint():
    up = footprint_of(Extent(20, 10, (0.5, 0.25), (3.0, 47.5)), "EPSG:4326")
    assert up.bbox == (3.0, 47.5, 13.0, 50.0)
    assert up.outline.is_valid


def test_without_a_crs_a_footprint_is_in_the_files_units():
    found = footprint_of(Extent(10, 10, (10.0, -10.0), (500_000.0, 100.0)), None)
    assert found.bbox == (500_000.0, 0.0, 500_100.0, 100.0)


def test_a_utm_tile_lies_where_its_pixels_do():
    extent = square(399_960.0, 5_000_040.0, 109_800.0)
    lon, lat = centres(extent, 32633)
    bbox, outline = footprint_of(extent, "EPSG:32633")
    assert outside(bbox, lon, lat) == 0
    # Half a pixel of 429 m, and the margin, are all that the bbox is wider.
    assert np.allclose(bbox, (lon.min(), lat.min(), lon.max(), lat.max()), atol=0.01)
    assert outline.geom_type == "Polygon"
    assert shapely.contains_xy(outline.buffer(1e-3), lon, lat).all()


def test_an_outline_is_short_and_sound():
    outline = footprint_of(square(399_960.0, 5_000_040.0, 109_800.0), "EPSG:32633").outline
    assert outline.is_valid
    assert len(shapely.to_wkb(outline)) < 1000


def test_an_image_of_one_pixel_has_a_footprint():
    bbox, outline = footprint_of(Extent(1, 1, (10.0, -10.0), (5e5, 5e6)), "EPSG:32633")
    assert 0 < bbox[2] - bbox[0] < 1e-3
    assert outline.area > 0


# Poles


@pytest.mark.parametrize(("crs", "pole"), [(POLAR_NORTH, 90.0), (POLAR_SOUTH, -90.0)])
def test_an_image_over_a_pole_holds_all_longitudes_up_to_it(crs, pole):
    extent = square(-2e6, 3e6, 4e6)
    bbox, outline = footprint_of(extent, crs)
    lon, lat = centres(extent, crs)
    assert (bbox[0], bbox[2]) == (-180.0, 180.0)
    assert pole in bbox
    assert outside(bbox, lon, lat) == 0
    assert outline.equals(shapely.box(*bbox))


def test_an_image_with_its_corner_on_the_pole_holds_it():
    bbox = footprint_of(square(0.0, 1e5, 1e5), POLAR_NORTH).bbox
    assert bbox[0::2] == (-180.0, 180.0)
    assert bbox[3] == 90.0


def test_an_image_beside_a_pole_does_not_hold_it():
    extent = square(5e5, -5e5, 1e5)
    bbox = footprint_of(extent, POLAR_NORTH).bbox
    assert outside(bbox, *centres(extent, POLAR_NORTH)) == 0
    assert bbox[2] - bbox[0] < 20
    assert bbox[3] < 86


@pytest.mark.parametrize("crs", [POLAR_NORTH, POLAR_SOUTH])
def test_an_edge_that_passes_close_to_a_pole_is_seen(crs):
    # 100 km, its left edge 200 m from the pole and half-way between two of its edge points.
    extent = Extent(500, 500, (200.0, -200.0), (200.0, 50_000.0 + 781.25))
    assert outside(footprint_of(extent, crs).bbox, *centres(extent, crs, 500)) == 0


# The antimeridian


@pytest.mark.parametrize(("crs", "x"), [("EPSG:32660", 5.5e5), ("EPSG:32701", 2e5)])
def test_a_utm_tile_across_the_antimeridian_holds_both_sides(crs, x):
    extent = square(x, 6.9e6, 3e5)
    lon, lat = centres(extent, crs)
    assert lon.min() < -170 < 170 < lon.max()
    bbox, outline = footprint_of(extent, crs)
    assert outside(bbox, lon, lat) == 0
    assert bbox[0::2] == (-180.0, 180.0)
    # The outline stays near: it is two boxes, each on its side.
    assert outline.geom_type == "MultiPolygon"
    assert not shapely.intersects_xy(outline, 0.0, lat.mean())
    assert shapely.contains_xy(outline.buffer(0.1), lon, lat).all()


def test_a_utm_tile_that_ends_at_the_antimeridian_does_not_hold_the_world():
    extent = square(5e5, 6.9e6, 1e5)
    bbox = footprint_of(extent, "EPSG:32660").bbox
    assert 176 < bbox[0] < bbox[2] < 180
    assert outside(bbox, *centres(extent, 32660)) == 0


def test_longitudes_beyond_180_stay_as_they_are():
    assert footprint_of(Extent(20, 10, (1.0, -1.0), (170.0, 5.0)), "EPSG:4326").bbox == (
        170.0, -5.0, 190.0, 5.0,
    )  # fmt: skip


def test_another_datum_beyond_180_holds_both_sides():
    extent = Extent(20, 10, (1.0, -1.0), (170.0, 5.0))
    assert outside(footprint_of(extent, "EPSG:4269").bbox, *centres(extent, 4269)) == 0


# Where there is no answer


GEOSTATIONARY = pyproj.CRS.from_proj4(
    "+proj=geos +h=35785831 +lon_0=0 +sweep=y +a=6378169 +b=6356583.8 +units=m",
).to_json()


def test_a_full_disk_is_the_whole_world():
    found = footprint_of(square(-5_570_248.0, 5_570_248.0, 11_140_496.0), GEOSTATIONARY)
    assert found.bbox == WORLD
    assert found.outline.equals(shapely.box(*WORLD))


def test_a_part_of_the_disk_is_a_place():
    extent = square(0.0, 1e6, 1e6)
    bbox = footprint_of(extent, GEOSTATIONARY).bbox
    assert outside(bbox, *centres(extent, GEOSTATIONARY)) == 0
    assert bbox[2] < 20


def test_a_sinusoidal_tile_at_the_rim_holds_what_is_on_earth():
    sinusoidal = pyproj.CRS.from_proj4("+proj=sinu +R=6371007.181 +units=m").to_json()
    extent = square(-17_789_883.0, 5_559_753.0, 1_111_951.0)
    assert outside(footprint_of(extent, sinusoidal).bbox, *centres(extent, sinusoidal)) == 0


def test_web_mercator_from_edge_to_edge():
    half = 20_037_508.342789244
    bbox = footprint_of(square(-half, half, 2 * half), "EPSG:3857").bbox
    assert outside(bbox, *centres(square(-half, half, 2 * half), 3857)) == 0
    assert 85 < bbox[3] < 86


# Always


@given(
    zone=st.integers(1, 60),
    south=st.booleans(),
    x=st.floats(1.5e5, 8e5),
    northing=st.floats(1e5, 9.3e6),
    size=st.floats(10, 3e5),
)
def test_every_pixel_of_a_utm_image_is_in_its_bbox(zone, south, x, northing, size):
    code = (32700 if south else 32600) + zone
    extent = square(x, 1e7 - northing if south else northing, size)
    assert outside(footprint_of(extent, f"EPSG:{code}").bbox, *centres(extent, code, 33)) == 0


@given(x=st.floats(2e6, 7e6), y=st.floats(1e6, 6e6), size=st.floats(10, 2e6))
def test_every_pixel_of_an_equal_area_image_is_in_its_bbox(x, y, size):
    extent = square(x, y, size)
    assert outside(footprint_of(extent, LAEA).bbox, *centres(extent, 3035, 33)) == 0


@given(x=st.floats(-3e6, 3e6), y=st.floats(-3e6, 3e6), size=st.floats(10, 1e6))
def test_every_pixel_of_a_polar_image_is_in_its_bbox(x, y, size):
    # Edges that pass a pole within two edge points have a test of their own.
    edge = 2 * size / 64
    beside_x = min(abs(x), abs(x + size)) < edge and y - size - edge < 0 < y + edge
    beside_y = min(abs(y), abs(y - size)) < edge and x - edge < 0 < x + size + edge
    holds = x <= 0 <= x + size and y - size <= 0 <= y
    assume(holds or not (beside_x or beside_y))
    extent = square(x, y, size)
    assert outside(footprint_of(extent, POLAR_NORTH).bbox, *centres(extent, 3413, 33)) == 0


# Several files of one item


def test_equal_footprints_join_to_themselves():
    one = footprint_of(square(5e5, 5e6, 1e5), "EPSG:32633")
    assert join([one, footprint_of(square(5e5, 5e6, 1e5, n=64), "EPSG:32633")]).bbox == one.bbox


def test_joined_footprints_hold_each():
    boxes = [(0.0, 0.0, 1.0, 1.0), (5.0, -2.0, 6.0, 0.5)]
    found = join([Footprint(box, shapely.box(*box)) for box in boxes])
    assert found.bbox == (0.0, -2.0, 6.0, 1.0)
    assert found.outline.area == pytest.approx(3.5)
