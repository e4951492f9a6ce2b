"""GDAL's own metadata in a TIFF: nodata as text, scale, offset and unit of each sample."""

from __future__ import annotations

import html
import math
import re
from typing import NamedTuple

_NODATA_ITEM = re.compile(r'<Item name="NODATA_VALUES?"[^>]*>\s*([^\s<]+)')
_CALIBRATION_ITEM = re.compile(
    r'<Item name="[^"]*" sample="(\d{1,5})" role="(scale|offset|unittype)"[^>]*>([^<]*)<',
)

_MICROSOFT_NAN = re.compile(r"[+-]?1\.#(IND|[QS]NAN)0*")
_MAX_INTEGER = 2**64 - 1
"""No pixel is an integer beyond it; numpy takes none."""


class Calibration(NamedTuple):
    """What GDAL's metadata says of one sample: value = stored * scale + offset, in unit.

    Attributes:
        scale: Factor, or None.
        offset: Summand, or None.
        unit: Unit of the value, or None.
    """

    scale: float | None = None
    offset: float | None = None
    unit: str | None = None


def calibrations_of(text: str) -> dict[int, Calibration]:
    """Gives the items of GDAL's metadata with the roles scale, offset and unittype.

    Args:
        text: Tag 42112.

    Returns:
        0-based sample -> its calibration; what is no finite number is none.
    """
    found: dict[int, Calibration] = {}
    for sample, role, value in _CALIBRATION_ITEM.findall(text):
        before = found.get(int(sample), Calibration())
        if role == "unittype":
            found[int(sample)] = before._replace(unit=html.unescape(value).strip() or None)
        elif _is_number(value):
            number = float(value)
            at = {"scale": (number, before.offset), "offset": (before.scale, number)}[role]
            found[int(sample)] = Calibration(*at, before.unit)
    return found


def nodata_item(text: str) -> str | None:
    """Gives the first nodata value of GDAL's metadata as spelled, or None."""
    found = _NODATA_ITEM.search(text)
    return found.group(1) if found else None


def parse_nodata(text: str | None) -> float | None:
    """Gives the number a nodata text spells: an exact int where it is one, else a float.

    Microsoft's old libraries print NaN as ``-1.#IND`` or ``1.#QNAN``.

    >>> parse_nodata("-9223372036854775807"), parse_nodata("-1.#IND"), parse_nodata("n/a")
    (-9223372036854775807, nan, None)
    """
    if text is None:
        return None
    if _MICROSOFT_NAN.fullmatch(text):
        return math.nan
    try:
        number = int(text)
    except ValueError:
        number = None
    if number is not None and abs(number) <= _MAX_INTEGER:
        return number
    try:
        return float(text)
    except ValueError:
        return None


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
