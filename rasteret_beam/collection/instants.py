"""Dates and times as text -> instants."""

from __future__ import annotations

import datetime as dt
import re

import pyarrow as pa

from rasteret_beam.errors import OptionError

_FRACTION = re.compile(r"\.(\d+)")
_PARTIAL_DATE = re.compile(r"\d{4}(-\d{2})?")


def parse_instant(text: str) -> dt.datetime:
    """Reads a date or time as an instant; what is left out is the earliest.

    Args:
        text: ``2024``, ``2024-01``, ``2024-01-31`` or RFC 3339; UTC without an offset.

    Returns:
        The instant, in UTC, without tzinfo.

    Raises:
        OptionError: No date.

    >>> parse_instant("2024"), parse_instant("2024-01-31T12:00:00+02:00")
    (datetime.datetime(2024, 1, 1, 0, 0), datetime.datetime(2024, 1, 31, 10, 0))
    """
    padded = text.strip().upper()
    if _PARTIAL_DATE.fullmatch(padded):
        padded = f"{padded}-01-01"[:10]
    try:
        padded = _FRACTION.sub(lambda found: f".{found[1]:0<6.6}", padded)
        instant = dt.datetime.fromisoformat(padded.replace("Z", "+00:00"))
        if instant.tzinfo is not None:
            instant = instant.astimezone(dt.timezone.utc).replace(tzinfo=None)
    except (ValueError, OverflowError) as error:
        msg = f"Invalid date range: {text!r} is no date; expected YYYY-MM-DD or RFC 3339"
        raise OptionError(msg) from error
    return instant


def instant_scalar(text: str, kind: pa.DataType) -> pa.Scalar:
    """Gives an instant as columns of a type compare with it, with a zone or without.

    Raises:
        OptionError: No date.
    """
    instant = parse_instant(text)
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        instant = instant.replace(tzinfo=dt.timezone.utc)
    return pa.scalar(instant, kind if pa.types.is_timestamp(kind) else None)
