"""Geokeys of the geodetic part -> what a user-defined CRS rests on."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import pyproj
from pyproj.crs import Datum, GeographicCRS  # type: ignore[attr-defined]  # not in its stub
from pyproj.exceptions import CRSError

from rasteret_beam.errors import UnsupportedTiffError
from rasteret_beam.tiff.geokeys import GeoKeys, first, is_code, number
from rasteret_beam.tiff.tags import USER_DEFINED, GeoKey

_DEGREES, _GREENWICH = 9102, 8901
_SAME_AXIS_METRES, _SAME_FLATTENING, _SAME_LONGITUDE = 1e-3, 1e-6, 1e-6
_SHIFT_LENGTHS = (3, 7)
_DATUM_ABOVE_CRS = 2000


class Body(NamedTuple):
    """What a CRS rests on.

    Attributes:
        words: Ellipsoid and prime meridian as PROJ words, and the shift to WGS 84 where
            the keys spell it and no datum is known.
        base: The geographic CRS of a known datum; None where the keys name none, or
            their axes say otherwise.
    """

    words: str
    base: pyproj.CRS | None


def read_body(keys: GeoKeys) -> Body:
    """Reads what the keys say; explicit axes go before a code's, as in GDAL.

    Raises:
        UnsupportedTiffError: They do not say enough.
    """
    base = _named_base(keys)
    major = keys.get(GeoKey.SEMI_MAJOR_AXIS)
    if isinstance(major, float):
        words = f"{_ellipsoid(keys, major)}{_prime_meridian(keys)}"
    elif base is not None:
        coded = is_code(keys.get(GeoKey.GEODETIC_CRS))
        words = _spheroid(*_axes(base))
        words += "" if coded else _prime_meridian(keys)
    else:
        msg = (
            f"User-defined CRS over geodetic CRS {keys.get(GeoKey.GEODETIC_CRS)} and datum "
            f"{keys.get(GeoKey.GEODETIC_DATUM)}, without the axes of its ellipsoid"
        )
        raise UnsupportedTiffError(msg)
    if base is not None and _agrees(words, base, keys):
        return Body(words, base)
    return Body(words + _shift(keys), None)


def check_degrees(keys: GeoKeys, base: pyproj.CRS | None = None) -> None:
    """Holds the keys to angles in degrees.

    Args:
        keys: The keys.
        base: The CRS whose unit angles have where no key tells.

    Raises:
        UnsupportedTiffError: Angles are in another unit.
    """
    unit = keys.get(GeoKey.GEOG_ANGULAR_UNITS)
    if unit is None and base is not None and base.axis_info[0].unit_name != "degree":
        unit = int(base.axis_info[0].unit_code)
    if unit not in (None, _DEGREES):
        msg = f"User-defined CRS in angular unit {unit}, not degrees"
        raise UnsupportedTiffError(msg)


def _named_base(keys: GeoKeys) -> pyproj.CRS | None:
    """The geographic CRS that a code names, or else its datum's."""
    code, datum = keys.get(GeoKey.GEODETIC_CRS), keys.get(GeoKey.GEODETIC_DATUM)
    if is_code(code):
        try:
            return pyproj.CRS.from_epsg(str(code))
        except CRSError as error:
            msg = f"User-defined CRS over geodetic CRS {code}, which is not known"
            raise UnsupportedTiffError(msg) from error
    return _over_datum(int(str(datum))) if is_code(datum) else None


@functools.lru_cache(maxsize=256)
def _over_datum(code: int) -> pyproj.CRS | None:
    """The geographic CRS in degrees of one of EPSG's datums; None where EPSG has none such."""
    try:
        datum = Datum.from_epsg(str(code))
    except CRSError:
        return None  # then its axes tell
    try:
        # EPSG's numbers of the time of GeoTIFF 1.0: 6267 is the datum of 4267. Its own CRS
        # has an area of use, which PROJ chooses transformations by.
        crs = pyproj.CRS.from_epsg(code - _DATUM_ABOVE_CRS)
    except CRSError:
        crs = None
    if crs is not None and crs.datum == datum and crs.axis_info[0].unit_name == "degree":
        return crs
    return GeographicCRS(name=datum.name, datum=datum)


def _ellipsoid(keys: GeoKeys, major: float) -> str:
    if GeoKey.SEMI_MINOR_AXIS in keys:
        return f"+a={major!r} +b={number(keys, GeoKey.SEMI_MINOR_AXIS)!r}"
    return _spheroid(major, first(keys, (GeoKey.INVERSE_FLATTENING,)))


def _spheroid(major: float, flattening: float | None) -> str:
    """An ellipsoid as PROJ words; a sphere (an inverse flattening of 0, or none) by its axes."""
    return f"+a={major!r} +rf={flattening!r}" if flattening else f"+a={major!r} +b={major!r}"


def _prime_meridian(keys: GeoKeys) -> str:
    longitude = first(keys, (GeoKey.PRIME_MERIDIAN_LONGITUDE,))
    code = keys.get(GeoKey.PRIME_MERIDIAN, _GREENWICH)
    if longitude is None and code not in (_GREENWICH, USER_DEFINED):
        msg = f"User-defined CRS over prime meridian {code}, without its longitude"
        raise UnsupportedTiffError(msg)
    return f" +pm={longitude!r}" if longitude else ""


def _shift(keys: GeoKeys) -> str:
    shift = keys.get(GeoKey.TO_WGS84)
    if shift is None:
        return ""
    numbers = shift if isinstance(shift, tuple) else ()
    if len(numbers) not in _SHIFT_LENGTHS or not all(map(math.isfinite, numbers)):
        msg = f"User-defined CRS with TO_WGS84 {shift!r:.80}, expected 3 or 7 numbers"
        raise UnsupportedTiffError(msg)
    return f" +towgs84={','.join(map(repr, numbers))}"


def _agrees(words: str, base: pyproj.CRS, keys: GeoKeys) -> bool:
    """Whether the keys' own numbers are those of the base; a code's meridian goes before theirs."""
    crs = pyproj.CRS(f"+proj=longlat {words} +no_defs +type=crs")
    mine, theirs = _axes(crs), _axes(base)
    coded = is_code(keys.get(GeoKey.GEODETIC_CRS))
    return (
        (coded or abs(_meridian(crs) - _meridian(base)) <= _SAME_LONGITUDE)
        and abs(mine[0] - theirs[0]) <= _SAME_AXIS_METRES
        and abs(mine[1] - theirs[1]) <= _SAME_FLATTENING
    )


def _axes(crs: pyproj.CRS) -> tuple[float, float]:
    """Semi-major axis in metres, and inverse flattening (0 for a sphere)."""
    ellipsoid = crs.ellipsoid
    if ellipsoid is None:
        msg = f"User-defined CRS over {crs.name}, which has no ellipsoid"
        raise UnsupportedTiffError(msg)
    return ellipsoid.semi_major_metre, ellipsoid.inverse_flattening


def _meridian(crs: pyproj.CRS) -> float:
    """Longitude of the prime meridian, in degrees."""
    meridian = crs.prime_meridian
    if meridian is None:
        return 0.0
    return math.degrees(meridian.longitude * float(meridian.unit_conversion_factor))
