"""GeoKeys -> a CRS that PROJ understands: EPSG code, WKT, PROJJSON or PROJ string."""

from __future__ import annotations

import functools
import json
import math
import re
from typing import TYPE_CHECKING

import pyproj
from pyproj.database import get_units_map
from pyproj.exceptions import CRSError

from rasteret_beam.errors import UnsupportedTiffError
from rasteret_beam.tiff.geodetic import check_degrees, read_body
from rasteret_beam.tiff.geokeys import first, is_code, number
from rasteret_beam.tiff.tags import USER_DEFINED, GeoKey

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rasteret_beam.tiff.geokeys import GeoKeys

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
_METRE = 9001
_SAME_UNIT = 1e-9


def crs_text(keys: GeoKeys) -> str | None:
    """Gives the horizontal CRS that the keys name or define.

    Returns:
        ``EPSG:n``, WKT, PROJJSON or a PROJ string; None where the keys name no CRS.

    Raises:
        UnsupportedTiffError: The keys define a CRS in a way that is not known here.
    """
    projected, geodetic = keys.get(GeoKey.PROJECTED_CRS), keys.get(GeoKey.GEODETIC_CRS)
    if is_code(projected):
        return _coded(int(str(projected)), _metres_per_unit(keys))
    for citation in (GeoKey.PROJECTED_CITATION, GeoKey.GT_CITATION):
        found = _WKT.search(str(keys.get(citation, "")))
        if found:
            return found.group(1)
    if projected == USER_DEFINED or GeoKey.PROJECTION_METHOD in keys:
        return _projected(keys)
    if is_code(geodetic):
        return f"EPSG:{geodetic}"
    return _geographic(keys) if geodetic == USER_DEFINED else None


@functools.lru_cache(maxsize=4096)
def _coded(code: int, metres: float | None) -> str:
    """EPSG's projected CRS; in the file's own unit where that is another, as in GDAL."""
    name = f"EPSG:{code}"
    if metres is None:
        return name
    try:
        described = pyproj.CRS.from_epsg(code).to_json_dict()
        factors = [axis.unit_conversion_factor for axis in pyproj.CRS.from_epsg(code).axis_info]
    except CRSError:
        return name  # who uses it says that it is not known
    if all(math.isclose(metres, factor, rel_tol=_SAME_UNIT) for factor in factors):
        return name
    for axis in described["coordinate_system"]["axis"]:
        axis["unit"] = {"type": "LinearUnit", "name": "unknown", "conversion_factor": metres}
    described.pop("id", None)
    described["name"] += f" in units of {metres!r} metres"
    return json.dumps(described)


def _metres_per_unit(keys: GeoKeys) -> float | None:
    """Size of the linear unit that the keys name or define; None where they do neither."""
    unit = keys.get(GeoKey.PROJECTED_LINEAR_UNITS)
    if unit == USER_DEFINED and GeoKey.PROJECTED_LINEAR_UNIT_SIZE in keys:
        return number(keys, GeoKey.PROJECTED_LINEAR_UNIT_SIZE)
    return None if unit is None else _linear_units().get(str(unit))


@functools.cache
def _linear_units() -> dict[str, float]:
    """EPSG's code of each linear unit -> metres."""
    units = get_units_map(auth_name="EPSG", category="linear")
    return {unit.code: unit.conv_factor for unit in units.values()}


def _geographic(keys: GeoKeys) -> str:
    check_degrees(keys)
    body = read_body(keys)
    if body.base is not None:
        return str(body.base.to_json())
    return f"+proj=longlat {body.words} +no_defs +type=crs"


def _projected(keys: GeoKeys) -> str:
    unit = keys.get(GeoKey.PROJECTED_LINEAR_UNITS, _METRE)
    metres = 1.0 if unit == _METRE else _metres_per_unit(keys)
    if not metres or metres < 0:
        msg = f"User-defined CRS in linear unit {unit}, which EPSG does not know"
        raise UnsupportedTiffError(msg)
    body = read_body(keys)
    code = keys.get(GeoKey.PROJECTION)
    if is_code(code):
        projection = _utm_parameters(code)
    else:
        check_degrees(keys, body.base)
        projection = _method_parameters(keys)
    # PROJ takes false origins in metres whatever the unit of the coordinates.
    for name, candidates in (("x_0", _FALSE_EASTING), ("y_0", _FALSE_NORTHING)):
        value = first(keys, candidates)
        if value is not None:
            projection[name] = value * metres
    words = " ".join(f"+{name}={value!r}" for name, value in projection.items() if name != "proj")
    proj = (
        f"+proj={projection['proj']} {words} {body.words} "
        f"+to_meter={metres!r} +no_defs +type=crs"
    )
    if body.base is None:
        return proj
    described = pyproj.CRS(proj).to_json_dict()
    described["base_crs"] = body.base.to_json_dict()
    return json.dumps(described)


def _method_parameters(keys: GeoKeys) -> dict[str, float | str]:
    method = keys.get(GeoKey.PROJECTION_METHOD)
    if method not in _METHODS:
        msg = f"User-defined CRS with projection method {method}: known are {sorted(_METHODS)}"
        raise UnsupportedTiffError(msg)
    name, wanted = _METHODS[int(str(method))]
    parameters: dict[str, float | str] = {"proj": name}
    for parameter, candidates in wanted:
        value = first(keys, candidates)
        if value is not None:
            parameters[parameter] = value
    if method == _POLAR_STEREOGRAPHIC:
        parameters["lat_0"] = -90.0 if float(parameters.get("lat_ts", 90.0)) < 0 else 90.0
    return parameters


def _utm_parameters(code: object) -> dict[str, float | str]:
    """EPSG 160zz and 161zz are the UTM zones' projections, north and south."""
    hemisphere, zone = divmod(int(str(code)), 100)
    if hemisphere not in (160, 161) or not 1 <= zone <= 60:  # noqa: PLR2004
        msg = f"User-defined CRS over projection EPSG:{code}: only UTM zones are known"
        raise UnsupportedTiffError(msg)
    south = 10_000_000.0 if hemisphere == 161 else 0.0  # noqa: PLR2004
    return {"proj": "tmerc", "lat_0": 0.0, "lon_0": zone * 6.0 - 183.0, "k_0": 0.9996,
            "x_0": 500_000.0, "y_0": south}
