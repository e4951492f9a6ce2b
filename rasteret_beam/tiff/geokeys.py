"""GeoKeys -> a CRS that PROJ understands: EPSG code, WKT, or PROJ string."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING

import pyproj
from pyproj.exceptions import CRSError

from rasteret_beam.errors import UnsupportedTiffError
from rasteret_beam.tiff.tags import USER_DEFINED, GeoKey

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

GeoKeys = dict[int, "int | float | str"]

_KEY_ENTRY_SHORTS = 4
_DOUBLE_PARAMS, _ASCII_PARAMS = 34736, 34737
_WKT = re.compile(r"ESRI PE String = ((?:PROJCS|GEOGCS)\[.*\])", re.DOTALL)

_LAT_0 = ("lat_0", (GeoKey.NAT_ORIGIN_LAT, GeoKey.CENTER_LAT, GeoKey.FALSE_ORIGIN_LAT))
_LON_0 = ("lon_0", (GeoKey.NAT_ORIGIN_LONG, GeoKey.CENTER_LONG, GeoKey.FALSE_ORIGIN_LONG))
_POLE_LON_0 = ("lon_0", (GeoKey.STRAIGHT_VERTICAL_POLE_LONG, GeoKey.NAT_ORIGIN_LONG))
_LAT_1 = ("lat_1", (GeoKey.STD_PARALLEL_1,))
_LAT_2 = ("lat_2", (GeoKey.STD_PARALLEL_2,))
_LAT_TS = ("lat_ts", (GeoKey.STD_PARALLEL_1,))
_POLE_LAT_TS = ("lat_ts", (GeoKey.NAT_ORIGIN_LAT,))
_K_0 = ("k_0", (GeoKey.SCALE_AT_NAT_ORIGIN,))

# GeoTIFF 1.1 annex C.4, "ProjMethodGeoKey values": method -> PROJ name and its parameters.
_METHODS: Mapping[int, tuple[str, tuple[tuple[str, tuple[GeoKey, ...]], ...]]] = {
    1: ("tmerc", (_LAT_0, _LON_0, _K_0)),
    7: ("merc", (_LON_0, _LAT_TS, _K_0)),
    8: ("lcc", (_LAT_0, _LON_0, _LAT_1, _LAT_2)),
    9: ("lcc", (_LAT_0, _LON_0, ("lat_1", (GeoKey.NAT_ORIGIN_LAT,)), _K_0)),
    10: ("laea", (_LAT_0, _LON_0)),
    11: ("aea", (_LAT_0, _LON_0, _LAT_1, _LAT_2)),
    12: ("aeqd", (_LAT_0, _LON_0)),
    13: ("eqdc", (_LAT_0, _LON_0, _LAT_1, _LAT_2)),
    14: ("stere", (_LAT_0, _LON_0, _K_0)),
    15: ("stere", (_POLE_LAT_TS, _POLE_LON_0, _K_0)),
    16: ("sterea", (_LAT_0, _LON_0, _K_0)),
    17: ("eqc", (_LAT_0, _LON_0, _LAT_TS)),
    18: ("cass", (_LAT_0, _LON_0)),
    19: ("gnom", (_LAT_0, _LON_0)),
    20: ("mill", (_LON_0,)),
    21: ("ortho", (_LAT_0, _LON_0)),
    22: ("poly", (_LAT_0, _LON_0)),
    23: ("robin", (_LON_0,)),
    24: ("sinu", (_LON_0,)),
    25: ("vandg", (_LON_0,)),
    28: ("cea", (_LON_0, _LAT_TS)),
}
_POLAR_STEREOGRAPHIC = 15
_FALSE_EASTING = (GeoKey.FALSE_EASTING, GeoKey.FALSE_ORIGIN_EASTING, GeoKey.CENTER_EASTING)
_FALSE_NORTHING = (GeoKey.FALSE_NORTHING, GeoKey.FALSE_ORIGIN_NORTHING, GeoKey.CENTER_NORTHING)
_METRES_PER_UNIT = {9001: 1.0, 9002: 0.3048, 9003: 1200 / 3937, 9036: 1000.0}
_DEGREES, _GREENWICH = 9102, 8901
_SAME_AXIS_METRES, _SAME_FLATTENING = 1e-3, 1e-6


def parse_geokeys(
    directory: Sequence[int] | None, doubles: Sequence[float] | None, text: str | None,
) -> GeoKeys:
    """Reads the key directory (GeoTIFF 1.1, section 7.1.2) into a dict.

    Keys that point outside the directory or the parameter tags are left out, as GDAL
    does; what is missing shows where it is needed.

    Args:
        directory: Values of GeoKeyDirectoryTag.
        doubles: Values of GeoDoubleParamsTag.
        text: Value of GeoAsciiParamsTag.

    Returns:
        Key number -> int, float or text.
    """
    keys: GeoKeys = {}
    directory, doubles, text = directory or (), doubles or (), text or ""
    for at in range(_KEY_ENTRY_SHORTS, len(directory) - 3, _KEY_ENTRY_SHORTS):
        key, location, count, value = (int(v) for v in directory[at : at + _KEY_ENTRY_SHORTS])
        if location == 0:
            keys[key] = value
        elif location == _DOUBLE_PARAMS and value < len(doubles):
            keys[key] = float(doubles[value])
        elif location == _ASCII_PARAMS and value < len(text):
            keys[key] = text[value : value + count].rstrip("|\0").strip()
    return keys


def crs_text(keys: GeoKeys) -> str | None:
    """Gives the horizontal CRS that the keys name or define.

    Returns:
        ``EPSG:n``, WKT or a PROJ string; None where the keys name no CRS.

    Raises:
        UnsupportedTiffError: The keys define a CRS in a way that is not known here.
    """
    projected, geodetic = keys.get(GeoKey.PROJECTED_CRS), keys.get(GeoKey.GEODETIC_CRS)
    if _is_code(projected):
        return f"EPSG:{projected}"
    for citation in (GeoKey.PROJECTED_CITATION, GeoKey.GT_CITATION):
        found = _WKT.search(str(keys.get(citation, "")))
        if found:
            return found.group(1)
    if projected == USER_DEFINED or GeoKey.PROJECTION_METHOD in keys:
        return _projected(keys)
    if _is_code(geodetic):
        return f"EPSG:{geodetic}"
    if geodetic == USER_DEFINED:
        _check_degrees(keys)
        return f"+proj=longlat {_body(keys)} +no_defs +type=crs"
    return None


def _is_code(value: object) -> bool:
    return isinstance(value, int) and 0 < value < USER_DEFINED


def _projected(keys: GeoKeys) -> str:
    unit = keys.get(GeoKey.PROJECTED_LINEAR_UNITS, 9001)
    if unit not in _METRES_PER_UNIT:
        msg = f"User-defined CRS in linear unit {unit}: known are {sorted(_METRES_PER_UNIT)}"
        raise UnsupportedTiffError(msg)
    metres = _METRES_PER_UNIT[int(unit)]
    code = keys.get(GeoKey.PROJECTION)
    projection = _utm_parameters(code) if _is_code(code) else _method_parameters(keys)
    # PROJ takes false origins in metres whatever the unit of the coordinates.
    for name, candidates in (("x_0", _FALSE_EASTING), ("y_0", _FALSE_NORTHING)):
        value = _first(keys, candidates)
        if value is not None:
            projection[name] = value * metres
    words = " ".join(f"+{name}={value!r}" for name, value in projection.items() if name != "proj")
    proj = (
        f"+proj={projection['proj']} {words} {_body(keys)} "
        f"+to_meter={metres!r} +no_defs +type=crs"
    )
    return _with_datum(proj, keys)


def _method_parameters(keys: GeoKeys) -> dict[str, float | str]:
    method = keys.get(GeoKey.PROJECTION_METHOD)
    if method not in _METHODS:
        msg = f"User-defined CRS with projection method {method}: known are {sorted(_METHODS)}"
        raise UnsupportedTiffError(msg)
    _check_degrees(keys)
    name, wanted = _METHODS[int(method or 0)]
    parameters: dict[str, float | str] = {"proj": name}
    for parameter, candidates in wanted:
        value = _first(keys, candidates)
        if value is not None:
            parameters[parameter] = value
    if method == _POLAR_STEREOGRAPHIC:
        parameters["lat_0"] = -90.0 if float(parameters.get("lat_ts", 90.0)) < 0 else 90.0
    return parameters


def _check_degrees(keys: GeoKeys) -> None:
    unit = keys.get(GeoKey.GEOG_ANGULAR_UNITS, _DEGREES)
    if unit != _DEGREES:
        msg = f"User-defined CRS in angular unit {unit}, not degrees"
        raise UnsupportedTiffError(msg)


def _utm_parameters(code: object) -> dict[str, float | str]:
    """EPSG 160zz and 161zz are the UTM zones' projections, north and south."""
    hemisphere, zone = divmod(int(str(code)), 100)
    if hemisphere not in (160, 161) or not 1 <= zone <= 60:  # noqa: PLR2004
        msg = f"User-defined CRS over projection EPSG:{code}: only UTM zones are known"
        raise UnsupportedTiffError(msg)
    south = 10_000_000.0 if hemisphere == 161 else 0.0  # noqa: PLR2004
    return {"proj": "tmerc", "lat_0": 0.0, "lon_0": zone * 6.0 - 183.0, "k_0": 0.9996,
            "x_0": 500_000.0, "y_0": south}


def _body(keys: GeoKeys) -> str:
    """The ellipsoid, as PROJ words; explicit axes go before a code's, as in GDAL."""
    major = keys.get(GeoKey.SEMI_MAJOR_AXIS)
    if not isinstance(major, float):
        return "+a={!r} +rf={!r}".format(*_axes(_geodetic_crs(keys)))
    words = f"+a={major!r}{_prime_meridian(keys)}"
    if GeoKey.SEMI_MINOR_AXIS in keys:
        return f"{words} +b={_number(keys, GeoKey.SEMI_MINOR_AXIS)!r}"
    flattening = _first(keys, (GeoKey.INVERSE_FLATTENING,))
    return f"{words} +rf={flattening!r}" if flattening else f"{words} +b={major!r}"


def _prime_meridian(keys: GeoKeys) -> str:
    longitude = _first(keys, (GeoKey.PRIME_MERIDIAN_LONGITUDE,))
    code = keys.get(GeoKey.PRIME_MERIDIAN, _GREENWICH)
    if longitude is None and code not in (_GREENWICH, USER_DEFINED):
        msg = f"User-defined CRS over prime meridian {code}, without its longitude"
        raise UnsupportedTiffError(msg)
    return f" +pm={longitude!r}" if longitude else ""


def _axes(crs: pyproj.CRS) -> tuple[float, float]:
    """Semi-major axis in metres, and inverse flattening (0 for a sphere)."""
    ellipsoid = crs.ellipsoid
    if ellipsoid is None:
        msg = f"User-defined CRS over {crs.name}, which has no ellipsoid"
        raise UnsupportedTiffError(msg)
    return ellipsoid.semi_major_metre, ellipsoid.inverse_flattening


def _geodetic_crs(keys: GeoKeys) -> pyproj.CRS:
    code = keys.get(GeoKey.GEODETIC_CRS)
    try:
        return pyproj.CRS.from_epsg(str(code))
    except CRSError as error:
        msg = f"User-defined CRS over geodetic CRS {code}, without the axes of its ellipsoid"
        raise UnsupportedTiffError(msg) from error


def _with_datum(proj: str, keys: GeoKeys) -> str:
    """The CRS over the geodetic CRS that a code names, unless the axes say otherwise."""
    if not _is_code(keys.get(GeoKey.GEODETIC_CRS)):
        return proj
    crs, base = pyproj.CRS(proj), _geodetic_crs(keys)
    mine, theirs = _axes(crs), _axes(base)
    if abs(mine[0] - theirs[0]) > _SAME_AXIS_METRES or abs(mine[1] - theirs[1]) > _SAME_FLATTENING:
        return proj
    described = crs.to_json_dict()
    described["base_crs"] = base.to_json_dict()
    return json.dumps(described)


def _first(keys: GeoKeys, candidates: Sequence[GeoKey]) -> float | None:
    for key in candidates:
        if key in keys:
            return _number(keys, key)
    return None


def _number(keys: GeoKeys, key: GeoKey) -> float:
    value = keys[key]
    if isinstance(value, str) or not math.isfinite(value):
        msg = f"User-defined CRS with {key.name} {value!r}, expected a number"
        raise UnsupportedTiffError(msg)
    return float(value)
