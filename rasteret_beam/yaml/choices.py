"""Plain values of a configuration -> what filters and sources take."""

from collections.abc import Mapping, Sequence
from typing import Any

from rasteret_beam.errors import OptionError

_SIDES = 4


def interval(date_range: str | None) -> tuple[str, str] | None:
    """Reads ``START/END``.

    Raises:
        OptionError: Not two dates.
    """
    if not date_range:
        return None
    start, slash, end = date_range.partition("/")
    if not slash or "/" in end:
        msg = f"date_range is {date_range!r}, expected START/END like 2024-01-01/2024-02-01"
        raise OptionError(msg)
    return start, end


def box(bbox: Sequence[float] | None) -> tuple[float, float, float, float] | None:
    """Reads four sides.

    Raises:
        OptionError: Not four.
    """
    if bbox is None:
        return None
    if len(bbox) != _SIDES:
        msg = f"bbox is {list(bbox)}, expected [xmin, ymin, xmax, ymax]"
        raise OptionError(msg)
    xmin, ymin, xmax, ymax = (float(side) for side in bbox)
    return xmin, ymin, xmax, ymax


def mapping(found: Mapping[str, Any] | None) -> dict[str, Any]:
    """Gives a mapping without the lines that the reader of YAML notes in it."""
    return {
        key: mapping(value) if isinstance(value, Mapping) else value
        for key, value in (found or {}).items() if not key.startswith("__")
    }  # fmt: skip
