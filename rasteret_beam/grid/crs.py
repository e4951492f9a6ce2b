"""Which coordinate reference system, and the way from one to another."""

from __future__ import annotations

import functools
import json
from typing import Any

import numpy as np
import pyproj
from pyproj.exceptions import CRSError, ProjError

from rasteret_beam.errors import CrsError

LONLAT = "EPSG:4326"
"""The CRS of record footprints; OGC:CRS84 is the same with x, y order."""

HALF_TURN = 180
"""Half a turn of longitude, in degrees."""

_LONLAT_SPELLINGS = frozenset({"OGC:CRS84", "CRS84", "EPSG:4326", "URN:OGC:DEF:CRS:OGC:1.3:CRS84"})


@functools.lru_cache(maxsize=4096)
def normalise(text: str) -> str:
    """Gives the one spelling under which a CRS is stored and compared.

    Args:
        text: An authority string (``EPSG:32633``), a bare EPSG code, WKT, PROJJSON, or
            a PROJ string.

    Returns:
        ``EPSG:n`` where the CRS is one of EPSG's (OGC:CRS84 counts as EPSG:4326, as in
        rasteret), else PROJJSON.

    Raises:
        CrsError: The text names no CRS.

    >>> normalise("32633"), normalise("OGC:CRS84")
    ('EPSG:32633', 'EPSG:4326')
    """
    text = str(text).strip()
    if text.upper() in _LONLAT_SPELLINGS:
        return LONLAT
    crs = _parse(f"EPSG:{text}" if text.isdigit() else text)
    if not (crs.is_geographic or crs.is_projected):
        msg = f"{text[:80]!r} has no horizontal part: expected a geographic or projected CRS"
        raise CrsError(msg)
    if _is_crs84(crs):
        return LONLAT
    authority = crs.to_authority(min_confidence=100)
    if authority is not None and authority[0] == "EPSG":
        return f"EPSG:{authority[1]}"
    return json.dumps(crs.to_json_dict(), separators=(",", ":"), sort_keys=True)


def normalise_any(value: Any) -> str:  # noqa: ANN401 -- JSON as file metadata carries it
    """Gives ``normalise`` of a CRS that may also be a PROJJSON object or a number."""
    return normalise(json.dumps(value) if isinstance(value, dict) else str(value))


def told(value: Any) -> Any:  # noqa: ANN401 -- columns of several types
    """Gives what a cell says that may declare a CRS; None where that is nothing.

    Columns of codes that pandas held are floats, where some are missing.

    >>> told(32631.0), told(float("nan")), told("")
    (32631, None, None)
    """
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return None if value == "" or value != value else value  # noqa: PLR0124 -- NaN


def epsg(crs: str | None) -> int | None:
    """Gives the EPSG code of a normalised CRS, or None."""
    if crs is None or not crs.startswith("EPSG:"):
        return None
    return int(crs.removeprefix("EPSG:"))


def to_projjson(crs: str) -> dict[str, Any]:
    """Gives the PROJJSON object of a normalised CRS."""
    return dict(_parse(crs).to_json_dict())


def transform(
    source: str | None, target: str | None, x: np.ndarray, y: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Transforms coordinates; x is east or longitude, y is north or latitude.

    Args:
        source: Normalised CRS of the coordinates.
        target: Normalised CRS to reach. Where either is None, or both are equal,
            coordinates pass unchanged (rasteret's rule).
        x: float64, shape (n_points,).
        y: float64, shape (n_points,).

    Returns:
        (x, y), float64, shape (n_points,); infinite where PROJ finds no answer.

    Raises:
        CrsError: There is no way between the two (other celestial bodies).
    """
    if source is None or target is None or source == target:
        return x, y
    try:
        with np.errstate(all="ignore"):
            out_x, out_y = _transformer(source, target).transform(x, y)
    except ProjError as error:
        msg = f"No transformation from {short(source)} to {short(target)}: {error}"
        raise CrsError(msg) from error
    return np.asarray(out_x, np.float64), np.asarray(out_y, np.float64)


@functools.lru_cache(maxsize=4096)
def lonlat_of(crs: str | None) -> str | None:
    """Gives the longitude/latitude CRS in which footprints under a CRS are compared.

    EPSG:4326 on Earth; on another body (PROJ knows no way from Europa to Earth) the
    CRS's own longitude and latitude.
    """
    if crs is None:
        return None
    try:
        _transformer(LONLAT, crs)
    except CrsError:
        geodetic = _parse(crs).geodetic_crs
        return None if geodetic is None else normalise(geodetic.to_json())
    return LONLAT


def wrapped(lon: np.ndarray) -> np.ndarray:
    """Gives longitudes within +-180, without losing a digit; those there stay as they are.

    Args:
        lon: float64, in degrees.

    Returns:
        float64, same shape; NaN where it is not finite.

    >>> wrapped(np.array([10.1, 180.0, 185.5, -540.0])).tolist()
    [10.1, 180.0, -174.5, -180.0]
    """
    with np.errstate(invalid="ignore"):
        rest = np.fmod(lon, 2 * HALF_TURN)
        turns = (rest >= HALF_TURN) * 1 - (rest < -HALF_TURN) * 1
    return np.where(np.abs(lon) <= HALF_TURN, lon, rest - 2 * HALF_TURN * turns)


def short(crs: str | None) -> str:
    """Gives a name for messages: ``EPSG:n``, or the name inside the PROJJSON."""
    if crs is None or len(crs) <= len("EPSG:1234567"):
        return str(crs)
    return str(_parse(crs).name)


def _is_crs84(crs: pyproj.CRS) -> bool:
    return crs.to_authority() == ("OGC", "CRS84")


@functools.lru_cache(maxsize=4096)
def _parse(text: str) -> pyproj.CRS:
    try:
        return pyproj.CRS.from_user_input(text)
    except CRSError as error:
        msg = f"{text[:80]!r} is no coordinate reference system: give EPSG:<code>, WKT or PROJJSON"
        raise CrsError(msg) from error


@functools.lru_cache(maxsize=1024)
def _transformer(source: str, target: str) -> pyproj.Transformer:
    try:
        return pyproj.Transformer.from_crs(_parse(source), _parse(target), always_xy=True)
    except (ProjError, CRSError) as error:
        msg = f"No transformation from {short(source)} to {short(target)}: {error}"
        raise CrsError(msg) from error
