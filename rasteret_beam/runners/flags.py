"""Flag text -> values: lists, pairs, boxes, date ranges."""

import json
import re
from collections.abc import Callable
from typing import Any, TypeVar

from rasteret_beam.errors import OptionError

_Value = TypeVar("_Value")


def listed(text: str | None) -> tuple[str, ...]:
    """Reads names separated by commas, semicolons or spaces.

    >>> listed("B04, B08;SCL")
    ('B04', 'B08', 'SCL')
    """
    return tuple(name for name in re.split(r"[,;\s]+", text or "") if name)


def pairs(flag: str, text: str | None, read: Callable[[str], _Value]) -> dict[str, _Value]:
    """Reads ``NAME=VALUE`` pairs, separated as in ``listed``.

    Raises:
        OptionError: A pair is none, a name is there twice, or a value cannot be read.

    >>> pairs("--bands", "red=0,nir=3", index)
    {'red': 0, 'nir': 3}
    """
    found: dict[str, _Value] = {}
    for part in listed(text):
        name, _, value = part.partition("=")
        if not name or not value or name in found:
            msg = f"{flag} has {part!r}, expected NAME=VALUE with each name once"
            raise OptionError(msg)
        try:
            found[name] = read(value)
        except ValueError as error:
            msg = f"{flag} has {part!r}: {error}"
            raise OptionError(msg) from error
    return found


def index(text: str) -> int:
    """Reads a 0-based index.

    Raises:
        ValueError: It is none.
    """
    if not text.isdigit():
        msg = f"{text!r} is no index, expected 0 or above"
        raise ValueError(msg)
    return int(text)


def bbox(text: str | None) -> tuple[float, float, float, float] | None:
    """Reads ``xmin,ymin,xmax,ymax``.

    Raises:
        OptionError: Not four numbers.
    """
    if not text:
        return None
    try:
        xmin, ymin, xmax, ymax = (float(part) for part in text.split(","))
    except ValueError as error:
        msg = f"--bbox is {text!r}, expected xmin,ymin,xmax,ymax"
        raise OptionError(msg) from error
    return xmin, ymin, xmax, ymax


def date_range(text: str | None) -> tuple[str, str] | None:
    """Reads ``START/END``.

    Raises:
        OptionError: Not two dates.
    """
    if not text:
        return None
    parts = text.split("/")
    if len(parts) != 2:  # noqa: PLR2004 -- start and end
        msg = f"--date_range is {text!r}, expected START/END like 2024-01-01/2024-02-01"
        raise OptionError(msg)
    return parts[0], parts[1]


def json_object(flag: str, text: str | None) -> dict[str, Any] | None:
    """Reads a JSON object.

    Raises:
        OptionError: It is none.
    """
    if not text:
        return None
    try:
        value = json.loads(text)
    except ValueError as error:
        msg = f"{flag} is {text!r}, which is no JSON: {error}"
        raise OptionError(msg) from error
    if not isinstance(value, dict):
        msg = f"{flag} is {text!r}, expected a JSON object"
        raise OptionError(msg)
    return value
