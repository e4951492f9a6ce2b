"""The key directory of a GeoTIFF -> what each geokey says."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rasteret_beam.errors import UnsupportedTiffError
from rasteret_beam.tiff.tags import USER_DEFINED, GeoKey

if TYPE_CHECKING:
    from collections.abc import Sequence

GeoKeys = dict[int, "int | float | str | tuple[float, ...]"]

_KEY_ENTRY_SHORTS = 4
_DOUBLE_PARAMS, _ASCII_PARAMS = 34736, 34737


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
        Key number -> int, float or text; the numbers of ``TO_WGS84`` as a tuple.
    """
    keys: GeoKeys = {}
    directory, doubles, text = directory or (), doubles or (), text or ""
    for at in range(_KEY_ENTRY_SHORTS, len(directory) - 3, _KEY_ENTRY_SHORTS):
        key, location, count, value = (int(v) for v in directory[at : at + _KEY_ENTRY_SHORTS])
        if location == 0:
            keys[key] = value
        elif location == _DOUBLE_PARAMS and value < len(doubles):
            numbers = tuple(map(float, doubles[value : value + max(count, 1)]))
            keys[key] = numbers if key == GeoKey.TO_WGS84 else numbers[0]
        elif location == _ASCII_PARAMS and value < len(text):
            keys[key] = text[value : value + count].rstrip("|\0").strip()
    return keys


def is_code(value: object) -> bool:
    """Tells whether a key's value is a code of EPSG's."""
    return isinstance(value, int) and 0 < value < USER_DEFINED


def first(keys: GeoKeys, candidates: Sequence[GeoKey]) -> float | None:
    """Gives the number of the first of these keys that is there, or None.

    Raises:
        UnsupportedTiffError: It is no finite number.
    """
    return next((number(keys, key) for key in candidates if key in keys), None)


def number(keys: GeoKeys, key: GeoKey) -> float:
    """Gives the number of a key that is there.

    Raises:
        UnsupportedTiffError: It is no finite number.
    """
    value = keys[key]
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        msg = f"User-defined CRS with {key.name} {value!r}, expected a number"
        raise UnsupportedTiffError(msg)
    return float(value)
