"""GeoKeys -> CRS, held against PROJ's own definitions of the same CRS."""

from __future__ import annotations

import io

import numpy as np
import pyproj
import pytest
from hypothesis import given
from hypothesis import strategies as st
from make_tiff import geokey_tags, make_tiff

from rasteret_beam.errors import UnsupportedTiffError
from rasteret_beam.grid.crs import normalise
from rasteret_beam.tiff.geokey_crs import crs_text
from rasteret_beam.tiff.geokeys import parse_geokeys
from rasteret_beam.tiff.header import read_header
from rasteret_beam.tiff.tags import USER_DEFINED, GeoKey, Tag

US_FOOT = 9003
GRS80 = {GeoKey.SEMI_MAJOR_AXIS: 6378137.0, GeoKey.INVERSE_FLATTENING: 298.257222101}
WGS84_AXES = {GeoKey.SEMI_MAJOR_AXIS: 6378137.0, GeoKey.INVERSE_FLATTENING: 298.257223563}
PROJECTED = {GeoKey.GT_MODEL_TYPE: 1, GeoKey.PROJECTED_CRS: USER_DEFINED}

# EPSG code -> (a point inside its area, as lon and lat; the keys that spell it out).
SPELLED_OUT = {
    32633: ((15.5, 47.1), {
        GeoKey.GEODETIC_CRS: 4326, GeoKey.PROJECTION_METHOD: 1, GeoKey.NAT_ORIGIN_LAT: 0.0,
        GeoKey.NAT_ORIGIN_LONG: 15.0, GeoKey.SCALE_AT_NAT_ORIGIN: 0.9996,
        GeoKey.FALSE_EASTING: 500_000.0, GeoKey.FALSE_NORTHING: 0.0,
    }),
    3395: ((-70.0, 12.0), {
        GeoKey.GEODETIC_CRS: 4326, GeoKey.PROJECTION_METHOD: 7, GeoKey.NAT_ORIGIN_LAT: 0.0,
        GeoKey.NAT_ORIGIN_LONG: 0.0, GeoKey.SCALE_AT_NAT_ORIGIN: 1.0,
        GeoKey.FALSE_EASTING: 0.0, GeoKey.FALSE_NORTHING: 0.0,
    }),
    2154: ((2.3, 48.8), {
        **GRS80, GeoKey.PROJECTION_METHOD: 8, GeoKey.STD_PARALLEL_1: 49.0,
        GeoKey.STD_PARALLEL_2: 44.0, GeoKey.FALSE_ORIGIN_LAT: 46.5, GeoKey.FALSE_ORIGIN_LONG: 3.0,
        GeoKey.FALSE_ORIGIN_EASTING: 700_000.0, GeoKey.FALSE_ORIGIN_NORTHING: 6_600_000.0,
    }),
    2451: ((139.5, 35.5), {
        **GRS80, GeoKey.PROJECTION_METHOD: 1, GeoKey.NAT_ORIGIN_LAT: 36.0,
        GeoKey.NAT_ORIGIN_LONG: 139 + 50 / 60, GeoKey.SCALE_AT_NAT_ORIGIN: 0.9999,
        GeoKey.FALSE_EASTING: 0.0, GeoKey.FALSE_NORTHING: 0.0,
    }),
    3448: ((-77.0, 18.0), {
        **WGS84_AXES, GeoKey.PROJECTION_METHOD: 9, GeoKey.NAT_ORIGIN_LAT: 18.0,
        GeoKey.NAT_ORIGIN_LONG: -77.0, GeoKey.SCALE_AT_NAT_ORIGIN: 1.0,
        GeoKey.FALSE_EASTING: 750_000.0, GeoKey.FALSE_NORTHING: 650_000.0,
    }),
    3035: ((8.0, 50.0), {
        **GRS80, GeoKey.PROJECTION_METHOD: 10, GeoKey.CENTER_LAT: 52.0, GeoKey.CENTER_LONG: 10.0,
        GeoKey.FALSE_EASTING: 4_321_000.0, GeoKey.FALSE_NORTHING: 3_210_000.0,
    }),
    5070: ((-100.0, 40.0), {
        **GRS80, GeoKey.PROJECTION_METHOD: 11, GeoKey.STD_PARALLEL_1: 29.5,
        GeoKey.STD_PARALLEL_2: 45.5, GeoKey.NAT_ORIGIN_LAT: 23.0, GeoKey.NAT_ORIGIN_LONG: -96.0,
        GeoKey.FALSE_EASTING: 0.0, GeoKey.FALSE_NORTHING: 0.0,
    }),
    3031: ((30.0, -75.0), {
        GeoKey.GEODETIC_CRS: 4326, GeoKey.PROJECTION_METHOD: 15, GeoKey.NAT_ORIGIN_LAT: -71.0,
        GeoKey.STRAIGHT_VERTICAL_POLE_LONG: 0.0, GeoKey.FALSE_EASTING: 0.0,
        GeoKey.FALSE_NORTHING: 0.0,
    }),
    3413: ((-50.0, 75.0), {
        GeoKey.GEODETIC_CRS: 4326, GeoKey.PROJECTION_METHOD: 15, GeoKey.NAT_ORIGIN_LAT: 70.0,
        GeoKey.STRAIGHT_VERTICAL_POLE_LONG: -45.0, GeoKey.FALSE_EASTING: 0.0,
        GeoKey.FALSE_NORTHING: 0.0,
    }),
    4087: ((20.0, -33.0), {
        GeoKey.GEODETIC_CRS: 4326, GeoKey.PROJECTION_METHOD: 17, GeoKey.STD_PARALLEL_1: 0.0,
        GeoKey.CENTER_LONG: 0.0, GeoKey.FALSE_EASTING: 0.0, GeoKey.FALSE_NORTHING: 0.0,
    }),
    6933: ((20.0, -33.0), {
        GeoKey.GEODETIC_CRS: 4326, GeoKey.PROJECTION_METHOD: 28, GeoKey.STD_PARALLEL_1: 30.0,
        GeoKey.NAT_ORIGIN_LONG: 0.0, GeoKey.FALSE_EASTING: 0.0, GeoKey.FALSE_NORTHING: 0.0,
    }),
    2263: ((-73.9, 40.7), {
        **GRS80, GeoKey.PROJECTION_METHOD: 8, GeoKey.PROJECTED_LINEAR_UNITS: US_FOOT,
        GeoKey.STD_PARALLEL_1: 41 + 2 / 60, GeoKey.STD_PARALLEL_2: 40 + 40 / 60,
        GeoKey.FALSE_ORIGIN_LAT: 40 + 10 / 60, GeoKey.FALSE_ORIGIN_LONG: -74.0,
        GeoKey.FALSE_ORIGIN_EASTING: 984_250.0, GeoKey.FALSE_ORIGIN_NORTHING: 0.0,
    }),
}  # fmt: skip


def _text(keys: dict) -> str | None:
    """Lays the keys into a file and reads them back."""
    data = make_tiff(np.zeros((1, 16, 16), np.uint8), epsg=None, geokeys=keys)
    return read_header(io.BytesIO(data)).crs_text


def _project(crs: pyproj.CRS, lon: float, lat: float) -> tuple[float, float]:
    """Projects from the CRS's own longitude and latitude: no datum shift in between."""
    return pyproj.Transformer.from_crs(crs.geodetic_crs, crs, always_xy=True).transform(lon, lat)


@pytest.mark.parametrize("code", SPELLED_OUT)
def test_spelled_out_projections_are_those_of_epsg(code):
    (lon, lat), keys = SPELLED_OUT[code]
    found = _project(pyproj.CRS(_text({**PROJECTED, **keys})), lon, lat)
    assert found == pytest.approx(_project(pyproj.CRS.from_epsg(code), lon, lat), abs=1e-3)


def test_sinusoidal_on_a_sphere_is_spelled_out():
    sphere = 6371007.181
    keys = {
        **PROJECTED, GeoKey.PROJECTION_METHOD: 24, GeoKey.NAT_ORIGIN_LONG: 0.0,
        GeoKey.SEMI_MAJOR_AXIS: sphere, GeoKey.SEMI_MINOR_AXIS: sphere,
    }  # fmt: skip
    x, y = _project(pyproj.CRS(_text(keys)), 30.0, 60.0)
    assert y == pytest.approx(sphere * np.radians(60), abs=1e-3)
    assert x == pytest.approx(sphere * np.radians(30) * 0.5, abs=1e-3)


@pytest.mark.parametrize("code", [4035, 4047])
def test_a_projection_of_ones_own_over_the_code_of_a_sphere_is_on_that_sphere(code):
    keys = {
        **PROJECTED, GeoKey.PROJECTION_METHOD: 24, GeoKey.NAT_ORIGIN_LONG: 0.0,
        GeoKey.GEODETIC_CRS: code, GeoKey.GEOG_ANGULAR_UNITS: 9102,
    }  # fmt: skip
    crs, sphere = pyproj.CRS(_text(keys)), pyproj.CRS.from_epsg(code)
    assert crs.geodetic_crs.datum == sphere.datum
    radius = sphere.ellipsoid.semi_major_metre
    assert _project(crs, 30.0, 60.0)[1] == pytest.approx(radius * np.radians(60), abs=1e-3)


@pytest.mark.parametrize(("code", "epsg"), [(16033, 32633), (16133, 32733), (16001, 32601)])
def test_a_utm_zone_named_by_its_projection_is_known(code, epsg):
    keys = {**PROJECTED, GeoKey.GEODETIC_CRS: 4326, GeoKey.PROJECTION: code}
    lon = (epsg % 100) * 6 - 182.0
    found = _project(pyproj.CRS(_text(keys)), lon, 10.0)
    assert found == pytest.approx(_project(pyproj.CRS.from_epsg(epsg), lon, 10.0), abs=1e-3)


def test_a_projected_code_is_an_epsg_code():
    assert _text({GeoKey.PROJECTED_CRS: 32733}) == "EPSG:32733"


def test_a_geodetic_code_is_an_epsg_code():
    assert _text({GeoKey.GT_MODEL_TYPE: 2, GeoKey.GEODETIC_CRS: 4326}) == "EPSG:4326"


def test_a_projected_code_goes_before_a_geodetic_one():
    assert _text({GeoKey.PROJECTED_CRS: 3035, GeoKey.GEODETIC_CRS: 4258}) == "EPSG:3035"


@pytest.mark.parametrize("code", [0, 65535])
def test_a_code_that_stands_for_nothing_is_no_crs(code):
    assert _text({GeoKey.GEODETIC_CRS: code}) is None


def test_no_keys_are_no_crs():
    assert _text({}) is None
    assert crs_text({}) is None


def test_the_wkt_that_esri_keeps_in_a_citation_is_the_crs():
    wkt = pyproj.CRS.from_epsg(2154).to_wkt("WKT1_ESRI")
    keys = {**PROJECTED, GeoKey.PROJECTED_CITATION: f"ESRI PE String = {wkt}"}
    assert _text(keys) == wkt


def test_a_geodetic_crs_of_ones_own_has_its_axes():
    keys = {
        GeoKey.GT_MODEL_TYPE: 2, GeoKey.GEODETIC_CRS: USER_DEFINED,
        GeoKey.SEMI_MAJOR_AXIS: 3396190.0, GeoKey.INVERSE_FLATTENING: 169.8944472236118,
    }  # fmt: skip
    crs = pyproj.CRS(_text(keys))
    assert crs.is_geographic
    assert crs.ellipsoid.semi_major_metre == 3396190.0
    assert crs.ellipsoid.inverse_flattening == pytest.approx(169.8944472236118)


def test_a_prime_meridian_is_kept():
    keys = {GeoKey.GEODETIC_CRS: USER_DEFINED, **GRS80, GeoKey.PRIME_MERIDIAN_LONGITUDE: 2.5}
    assert pyproj.CRS(_text(keys)).prime_meridian.longitude == 2.5


AIRY = {GeoKey.SEMI_MAJOR_AXIS: 6377563.396, GeoKey.INVERSE_FLATTENING: 299.3249646}
CLARKE_1866 = {GeoKey.SEMI_MAJOR_AXIS: 6378206.4, GeoKey.INVERSE_FLATTENING: 294.978698213898}
OWN_GEODETIC = {GeoKey.GT_MODEL_TYPE: 2, GeoKey.GEODETIC_CRS: USER_DEFINED}
PARIS = {GeoKey.PRIME_MERIDIAN_LONGITUDE: 2.33722917}
NAD27, UTM_14N = 6267, 16014


def _from_wgs84(crs: str, lon: float, lat: float) -> tuple[float, float]:
    """Where a place of EPSG:4326 is in a CRS, datum shift and all."""
    return pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(lon, lat)


@pytest.mark.parametrize("axes", [{}, CLARKE_1866], ids=["its code", "its code and axes"])
def test_a_geodetic_crs_of_ones_own_over_a_known_datum_is_shifted_as_the_datum_is(axes):
    text = _text({**OWN_GEODETIC, GeoKey.GEODETIC_DATUM: NAD27, **axes})
    expected = _from_wgs84("EPSG:4267", -67.0, 45.0)
    assert expected[0] != pytest.approx(-67.0, abs=1e-4)
    assert _from_wgs84(text, -67.0, 45.0) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("code", [4267, 4314, 4326])
def test_a_datum_alone_is_its_geographic_crs(code):
    assert normalise(_text({**OWN_GEODETIC, GeoKey.GEODETIC_DATUM: code + 2000})) == f"EPSG:{code}"


def test_a_datum_without_a_crs_in_degrees_is_a_crs_in_degrees():
    ntf_paris = 6807
    crs = pyproj.CRS(_text({**OWN_GEODETIC, GeoKey.GEODETIC_DATUM: ntf_paris, **PARIS}))
    assert crs.axis_info[0].unit_name == "degree"
    assert crs.datum.name == "Nouvelle Triangulation Francaise (Paris)"


def test_a_projection_of_ones_own_over_a_known_datum_is_shifted_as_the_datum_is():
    keys = {**PROJECTED, GeoKey.GEODETIC_CRS: USER_DEFINED, GeoKey.GEODETIC_DATUM: NAD27}
    text = _text({**keys, GeoKey.PROJECTION: UTM_14N, **CLARKE_1866})
    expected = _from_wgs84("EPSG:26714", -101.0, 40.0)
    assert _from_wgs84(text, -101.0, 40.0) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("own", [AIRY, {**CLARKE_1866, GeoKey.PRIME_MERIDIAN_LONGITUDE: 2.5}])
def test_axes_and_meridian_of_ones_own_go_before_those_of_the_datum(own):
    crs = pyproj.CRS(_text({**OWN_GEODETIC, GeoKey.GEODETIC_DATUM: NAD27, **own}))
    assert crs.ellipsoid.semi_major_metre == own[GeoKey.SEMI_MAJOR_AXIS]
    assert crs.prime_meridian.longitude == own.get(GeoKey.PRIME_MERIDIAN_LONGITUDE, 0)


def test_a_datum_that_is_not_known_leaves_the_axes():
    crs = pyproj.CRS(_text({**OWN_GEODETIC, GeoKey.GEODETIC_DATUM: 6999, **AIRY}))
    assert crs.ellipsoid.semi_major_metre == AIRY[GeoKey.SEMI_MAJOR_AXIS]


@pytest.mark.parametrize(
    "shift", [(-87.0, -98.0, -121.0), (446.448, -125.157, 542.06, 0.15, 0.247, 0.842, -20.489)],
)
def test_a_shift_to_wgs84_that_the_keys_spell_is_kept(shift):
    words = f"+ellps=airy +towgs84={','.join(map(str, shift))} +type=crs"
    text = _text({**OWN_GEODETIC, **AIRY, GeoKey.TO_WGS84: shift})
    expected = _from_wgs84(f"+proj=longlat {words}", -1.0, 52.0)
    assert expected[0] != pytest.approx(-1.0, abs=1e-4)
    assert _from_wgs84(text, -1.0, 52.0) == pytest.approx(expected, abs=1e-9)
    keys = {**PROJECTED, **AIRY, GeoKey.PROJECTION_METHOD: 24, GeoKey.TO_WGS84: shift}
    expected = _from_wgs84(f"+proj=sinu {words}", -1.0, 52.0)
    assert _from_wgs84(_text(keys), -1.0, 52.0) == pytest.approx(expected, abs=1e-3)


def test_a_known_datum_goes_before_a_shift_to_wgs84():
    keys = {**OWN_GEODETIC, GeoKey.GEODETIC_DATUM: NAD27, GeoKey.TO_WGS84: (0.0, 0.0, 0.0)}
    expected = _from_wgs84("EPSG:4267", -67.0, 45.0)
    assert _from_wgs84(_text(keys), -67.0, 45.0) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("unit", "metres"), [(9002, 0.3048), (US_FOOT, 1200 / 3937)])
def test_a_projected_code_in_another_unit_has_the_units_of_the_file(unit, metres):
    text = _text({GeoKey.PROJECTED_CRS: 26910, GeoKey.PROJECTED_LINEAR_UNITS: unit})
    easting, northing = _from_wgs84("EPSG:26910", -122.0, 45.0)
    found = _from_wgs84(text, -122.0, 45.0)
    assert found == pytest.approx((easting / metres, northing / metres), abs=1e-3)
    assert normalise(text) != "EPSG:26910"


@pytest.mark.parametrize(("code", "unit"), [(32633, 9001), (2263, US_FOOT), (32633, 8999)])
def test_a_projected_code_in_its_own_unit_or_one_that_says_nothing_is_the_code(code, unit):
    keys = {GeoKey.PROJECTED_CRS: code, GeoKey.PROJECTED_LINEAR_UNITS: unit}
    assert _text(keys) == f"EPSG:{code}"


@pytest.mark.parametrize(
    ("unit", "metres"),
    [({GeoKey.PROJECTED_LINEAR_UNITS: 9039}, 0.201166195164),
     ({GeoKey.PROJECTED_LINEAR_UNITS: 32767, GeoKey.PROJECTED_LINEAR_UNIT_SIZE: 5.0}, 5.0)],
    ids=["links", "own"],
)  # fmt: skip
def test_a_projection_of_ones_own_may_be_in_any_unit_that_has_a_size(unit, metres):
    sphere = {GeoKey.SEMI_MAJOR_AXIS: 6371000.0, GeoKey.SEMI_MINOR_AXIS: 6371000.0}
    keys = {**PROJECTED, GeoKey.PROJECTION_METHOD: 24, **sphere, **unit}
    _, y = _project(pyproj.CRS(_text(keys)), 0.0, 60.0)
    assert y == pytest.approx(6371000.0 * np.radians(60) / metres, rel=1e-9)


REFUSED = {
    "oblique mercator": ({**PROJECTED, GeoKey.PROJECTION_METHOD: 3, **GRS80}, "method 3"),
    "no method": ({**PROJECTED, **GRS80}, "method None"),
    "a projection beside utm": ({**PROJECTED, GeoKey.PROJECTION: 19916, **GRS80}, "EPSG:19916"),
    "no unit of EPSG's": (
        {**PROJECTED, GeoKey.PROJECTION_METHOD: 1, GeoKey.PROJECTED_LINEAR_UNITS: 8999, **GRS80},
        "linear unit 8999",
    ),
    "a unit without its size": (
        {
            **PROJECTED, GeoKey.PROJECTION_METHOD: 1, **GRS80,
            GeoKey.PROJECTED_LINEAR_UNITS: USER_DEFINED,
        },
        "linear unit 32767",
    ),
    "grads": (
        {**PROJECTED, GeoKey.PROJECTION_METHOD: 1, GeoKey.GEOG_ANGULAR_UNITS: 9105, **GRS80},
        "angular unit 9105",
    ),
    "grads of the geodetic code": (
        {**PROJECTED, GeoKey.PROJECTION_METHOD: 1, GeoKey.GEODETIC_CRS: 4807}, "angular unit 9105",
    ),
    "a shift of two numbers": (
        {GeoKey.GEODETIC_CRS: USER_DEFINED, **GRS80, GeoKey.TO_WGS84: (1.0, 2.0)}, "3 or 7",
    ),
    "no body": ({**PROJECTED, GeoKey.PROJECTION_METHOD: 1}, "axes"),
    "own datum without axes": ({GeoKey.GEODETIC_CRS: USER_DEFINED}, "axes"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_crs_that_is_not_fully_known_is_refused_with_the_reason(name):
    keys, reason = REFUSED[name]
    with pytest.raises(UnsupportedTiffError, match=reason):
        _text(keys)


def test_a_geodetic_crs_of_ones_own_in_grads_is_refused():
    keys = {GeoKey.GEODETIC_CRS: USER_DEFINED, **GRS80, GeoKey.GEOG_ANGULAR_UNITS: 9105}
    with pytest.raises(UnsupportedTiffError, match="9105"):
        _text(keys)


def test_a_prime_meridian_known_by_its_code_alone_is_not_greenwich():
    paris = 8903
    keys = {GeoKey.GEODETIC_CRS: USER_DEFINED, **GRS80, GeoKey.PRIME_MERIDIAN: paris}
    try:
        found = _text(keys)
    except UnsupportedTiffError:
        return
    assert pyproj.CRS(found).prime_meridian.longitude == pytest.approx(2.33722917)


# The key directory


def test_keys_are_ints_doubles_and_texts():
    keys = {1024: 1, 1026: "a citation", 2057: 6378137.0, 3073: "another"}
    tags = geokey_tags(keys)
    directory, doubles = tags[Tag.GEO_KEY_DIRECTORY][1], tags[Tag.GEO_DOUBLE_PARAMS][1]
    assert parse_geokeys(directory, doubles, tags[Tag.GEO_ASCII_PARAMS][1]) == keys


def test_keys_that_point_outside_are_left_out():
    directory = [1, 1, 0, 3, 2057, 34736, 1, 5, 1026, 34737, 4, 99, 1024, 0, 1, 2]
    assert parse_geokeys(directory, [1.0], "text|") == {1024: 2}


def test_a_directory_that_counts_more_keys_than_it_holds_gives_those_it_holds():
    assert parse_geokeys([1, 1, 0, 900, 1024, 0, 1, 1, 3072, 0], None, None) == {1024: 1}


@pytest.mark.parametrize("directory", [None, [], [1, 1, 0], [1, 1, 0, 0]])
def test_a_directory_without_keys_is_empty(directory):
    assert parse_geokeys(directory, None, None) == {}


@given(
    st.lists(st.integers(0, 65535), max_size=40), st.lists(st.floats(), max_size=3),
    st.text(max_size=20),
)  # fmt: skip
def test_any_directory_can_be_read(directory, doubles, text):
    keys = parse_geokeys(directory, doubles, text)
    assert len(keys) <= len(directory) // 4
    assert all(isinstance(value, (int, float, str)) for value in keys.values())


@pytest.mark.parametrize("key", [GeoKey.FALSE_EASTING, GeoKey.NAT_ORIGIN_LONG])
@pytest.mark.parametrize("value", ["east", float("nan")])
def test_a_parameter_that_is_no_number_is_refused(key, value):
    keys = {**SPELLED_OUT[32633][1], **PROJECTED, key: value}
    with pytest.raises(UnsupportedTiffError):
        _text(keys)
