"""Dates and times, as text or as Python has them -> instants."""

from __future__ import annotations

import datetime as dt
import re

import numpy as np
import pyarrow as pa

from rasteret_beam.errors import OptionError
from rasteret_beam.iso_times import read_time

_PARTIAL_DATE = re.compile(r"\d{4}(-\d{2})?")
_EPOCH, _MICROSECOND = dt.datetime(1970, 1, 1), dt.timedelta(microseconds=1)  # noqa: DTZ001 -- UTC
_LAST_NANOSECOND = 2**63 - 1


Moment = str | dt.date | np.datetime64
"""A date or time; pandas' Timestamp is a datetime."""


def instant_text(when: object) -> str:
    """Gives a date or time as the text that ``parse_instant`` reads.

    Raises:
        OptionError: No date.

    >>> instant_text(dt.date(2024, 1, 31)), instant_text(dt.datetime(2024, 1, 31))
    ('2024-01-31', '2024-01-31T00:00:00')
    """
    if isinstance(when, str):
        return when
    if isinstance(when, dt.date):
        return when.isoformat()
    if isinstance(when, np.datetime64):
        return str(when)
    msg = (
        f"Invalid date range: {when!r} is no date; expected YYYY-MM-DD, RFC 3339, a date or a "
        "datetime"
    )
    raise OptionError(msg)


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
        instant = read_time(padded)
        if instant.tzinfo is not None:
            instant = instant.astimezone(dt.timezone.utc).replace(tzinfo=None)
    except (ValueError, OverflowError) as error:
        msg = f"Invalid date range: {text!r} is no date; expected YYYY-MM-DD or RFC 3339"
        raise OptionError(msg) from error
    return instant


def instant_scalar(text: str, kind: pa.DataType) -> pa.Scalar:
    """Gives an instant as columns of a type compare with it, with a zone or without.

    Nanoseconds reach from 1677 to 2262: an instant beyond is the first or last of them.

    Raises:
        OptionError: No date.
    """
    instant = parse_instant(text)
    if not pa.types.is_timestamp(kind):
        return pa.scalar(instant)
    if kind.unit == "ns":
        nanoseconds = (instant - _EPOCH) // _MICROSECOND * 1000
        return pa.scalar(min(max(nanoseconds, -_LAST_NANOSECOND), _LAST_NANOSECOND), kind)
    return pa.scalar(instant if kind.tz is None else instant.replace(tzinfo=dt.timezone.utc), kind)
