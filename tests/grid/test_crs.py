"""CRS spellings, and the way from one to another."""

from __future__ import annotations

import json
import math

import numpy as np
import pyproj
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rasteret_beam.errors import CrsError
from rasteret_beam.grid import crs

MARS = "+proj=longlat +a=3396190 +b=3376200 +no_defs +type=crs"
MARS_GRID = "+proj=eqc +lat_ts=0 +a=3396190 +b=3376200 +units=m +no_defs +type=crs"
OWN_SINUSOIDAL = "+proj=sinu +lon_0=0 +R=6371007.181 +units=m +no_defs +type=crs"


@pytest.mark.parametrize(
    "text",
    ["EPSG:32633", "epsg:32633", "32633", " EPSG:32633 ", "urn:ogc:def:crs:EPSG::32633",
     pyproj.CRS.from_epsg(32633).to_wkt(), pyproj.CRS.from_epsg(32633).to_json(),
     pyproj.CRS.from_epsg(32633).to_wkt("WKT1_GDAL")],
    ids=["code", "lower", "bare", "spaces", "urn", "wkt2", "projjson", "wkt1"],
)  # fmt: skip
def test_spellings_of_an_epsg_crs_are_one(text):
    assert crs.normalise(text) == "EPSG:32633"


@pytest.mark.parametrize(
    "text",
    ["EPSG:4326", "OGC:CRS84", "CRS84", "crs84", "ogc:crs84", "urn:ogc:def:crs:OGC:1.3:CRS84",
     "4326", pyproj.CRS("OGC:CRS84").to_json(), pyproj.CRS("OGC:CRS84").to_wkt()],
)  # fmt: skip
def test_longitude_and_latitude_are_epsg_4326(text):
    assert crs.normalise(text) == crs.LONLAT


def test_a_crs_of_ones_own_is_projjson():
    text = crs.normalise(OWN_SINUSOIDAL)
    assert json.loads(text)["type"] == "ProjectedCRS"
    assert pyproj.CRS(text) == pyproj.CRS(OWN_SINUSOIDAL)


@pytest.mark.parametrize("text", ["EPSG:3857", OWN_SINUSOIDAL, MARS])
def test_normalising_twice_changes_nothing(text):
    once = crs.normalise(text)
    assert crs.normalise(once) == once


def test_a_crs_close_to_one_of_epsg_is_not_taken_for_it():
    other = pyproj.CRS.from_epsg(32633).to_wkt().replace("500000", "500001")
    assert not crs.normalise(other).startswith("EPSG:")


@pytest.mark.parametrize(
    "text", ["", "nowhere", "EPSG:999999", "EPSG:", "0", "PROJCS[", "{}", '{"type": "x"}', "-1"],
)
def test_text_that_names_no_crs_is_an_error_with_the_text(text):
    with pytest.raises(CrsError, match="no coordinate reference system") as caught:
        crs.normalise(text)
    assert f"{text}'" in str(caught.value)


def test_normalise_any_takes_objects_and_numbers():
    assert crs.normalise_any(32633) == "EPSG:32633"
    assert crs.normalise_any(pyproj.CRS.from_epsg(32633).to_json_dict()) == "EPSG:32633"
    assert crs.normalise_any("EPSG:32633") == "EPSG:32633"


def test_epsg_is_the_code_or_none():
    assert crs.epsg("EPSG:32633") == 32633
    assert crs.epsg(crs.normalise(OWN_SINUSOIDAL)) is None
    assert crs.epsg(None) is None


def test_projjson_of_a_crs_is_its_own_description():
    assert crs.to_projjson("EPSG:32633")["id"] == {"authority": "EPSG", "code": 32633}


def test_short_names_fit_a_message():
    assert crs.short("EPSG:32633") == "EPSG:32633"
    assert crs.short(None) == "None"
    assert len(crs.short(crs.normalise(OWN_SINUSOIDAL))) < 80


# Transforming


def test_axes_are_always_east_then_north():
    x, y = crs.transform("EPSG:4326", "EPSG:32633", np.array([15.0]), np.array([47.0]))
    assert x[0] == pytest.approx(500_000.0, abs=1e-6)
    assert 5_200_000 < y[0] < 5_210_000


def test_a_crs_that_counts_north_first_is_turned_round():
    x, y = crs.transform("EPSG:4326", "EPSG:3035", np.array([10.0]), np.array([52.0]))
    assert (x[0], y[0]) == pytest.approx((4_321_000.0, 3_210_000.0), abs=1e-3)


@pytest.mark.parametrize(("source", "target"), [(None, "EPSG:32633"), ("EPSG:32633", None)])
def test_coordinates_pass_unchanged_where_a_crs_is_unknown(source, target):
    x, y = np.array([1.5]), np.array([2.5])
    assert crs.transform(source, target, x, y) == (x, y)


def test_coordinates_pass_unchanged_between_equal_crss():
    x, y = np.array([np.nan, 1e308]), np.array([2.5, -1e308])
    found_x, found_y = crs.transform("EPSG:4326", "EPSG:4326", x, y)
    assert found_x is x
    assert found_y is y


def test_there_and_back_is_the_same_point():
    lon, lat = np.array([14.1, 15.9]), np.array([46.0, 48.0])
    x, y = crs.transform("EPSG:4326", "EPSG:32633", lon, lat)
    back = crs.transform("EPSG:32633", "EPSG:4326", x, y)
    np.testing.assert_allclose(back, (lon, lat), atol=1e-9)


def test_points_without_an_answer_are_infinite_and_leave_the_others_alone():
    lon, lat = np.array([15.0, np.nan, np.inf, 15.0]), np.array([47.0, 47.0, 47.0, 1000.0])
    x, y = crs.transform("EPSG:4326", "EPSG:32633", lon, lat)
    assert np.isfinite([x[0], y[0]]).all()
    assert not np.isfinite(x[1:]).any()
    assert not np.isfinite(y[1:]).any()


def test_input_arrays_are_not_written_to():
    lon, lat = np.array([15.0]), np.array([47.0])
    crs.transform("EPSG:4326", "EPSG:32633", lon, lat)
    assert (lon[0], lat[0]) == (15.0, 47.0)


def test_both_sides_of_the_antimeridian_meet():
    x, y = crs.transform("EPSG:4326", "EPSG:32601", np.array([-180.0, 180.0]), np.full(2, 10.0))
    np.testing.assert_allclose(x[0], x[1], atol=1e-6)
    np.testing.assert_allclose(y[0], y[1], atol=1e-6)


def test_a_point_east_of_the_antimeridian_is_west_of_its_zones_middle():
    x, _ = crs.transform("EPSG:4326", "EPSG:32601", np.array([179.5, -179.5]), np.full(2, 10.0))
    assert x[0] < x[1] < 500_000.0


def test_no_points_give_no_points():
    x, y = crs.transform("EPSG:4326", "EPSG:32633", np.array([]), np.array([]))
    assert x.shape == y.shape == (0,)


# Turns


@given(st.integers(-1500, 1500).map(float) | st.floats(-1500, 1500))
def test_wrapping_loses_no_digit(lon):
    (found,) = crs.wrapped(np.array([lon])).tolist()
    assert -180 <= found <= 180
    assert math.remainder(found - math.fmod(lon, 360), 360) == 0
    assert found == lon or abs(lon) > 180


@pytest.mark.parametrize("lon", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_has_no_place(lon):
    assert np.isnan(crs.wrapped(np.array([lon]))).all()


# Other celestial bodies


def test_there_is_no_way_from_one_body_to_another():
    with pytest.raises(CrsError, match="No transformation from EPSG:4326"):
        crs.transform("EPSG:4326", crs.normalise("IAU_2015:49900"), np.zeros(1), np.zeros(1))


def test_footprints_on_another_body_are_in_its_own_longitude_and_latitude():
    grid = crs.normalise("IAU_2015:49910")
    lonlat = crs.lonlat_of(grid)
    assert lonlat != crs.LONLAT
    assert pyproj.CRS(lonlat).is_geographic
    x, y = crs.transform(lonlat, grid, np.array([0.0]), np.array([0.0]))
    np.testing.assert_allclose((x[0], y[0]), 0, atol=1e-6)


@pytest.mark.parametrize("text", ["EPSG:32633", "EPSG:4326", OWN_SINUSOIDAL])
def test_footprints_on_earth_are_in_epsg_4326(text):
    assert crs.lonlat_of(crs.normalise(text)) == crs.LONLAT


def test_an_unknown_crs_has_no_longitude_and_latitude():
    assert crs.lonlat_of(None) is None


@pytest.mark.parametrize("text", [MARS, MARS_GRID])
def test_a_body_that_is_only_an_ellipsoid_has_one_spelling(text):
    assert json.loads(crs.normalise(text))
