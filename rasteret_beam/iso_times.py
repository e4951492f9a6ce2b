"""Times in ISO 8601 text, read alike on every Python.

Before 3.11 Python reads only what it writes itself: fractions of three or six digits, and
offsets with a colon. Other programs write ``12:00:00.5Z``, nanoseconds, or ``+0000``.
"""

from __future__ import annotations

import datetime as dt
import re

_FORM = re.compile(
    r"""
    (\d{4})(-?)(\d{2})\2(\d{2})
    (?:\D (\d{2}) (?: (:?)(\d{2}) (?: \6(\d{2}) (?:[.,](\d+))? )? )?
       (?: [ ]?([+-]\d{2}):?(\d{2})? )?
    )?
    """,
    re.VERBOSE | re.ASCII,
)


def read_time(text: str) -> dt.datetime:
    """Reads a date and time; it has a zone where the text has one.

    Args:
        text: ISO 8601, with or without dashes and colons. What is beyond microseconds is
            cut off; a date alone is its midnight.

    Raises:
        ValueError: No date and time.

    >>> read_time("20240131T120000.123456789+0200").isoformat()
    '2024-01-31T12:00:00.123456+02:00'
    """
    return dt.datetime.fromisoformat(_as_python_writes(text))


def read_date(text: str) -> dt.date:
    """Reads a date without a time.

    Args:
        text: ISO 8601, with or without dashes.

    Raises:
        ValueError: No date.

    >>> read_date("20240131")
    datetime.date(2024, 1, 31)
    """
    return dt.date.fromisoformat(_as_python_writes(text))


def _as_python_writes(text: str) -> str:
    """Gives the text of the same time that ``isoformat`` would; other text stays."""
    zoned = f"{text[:-1]}+00:00" if text.endswith(("Z", "z")) else text
    found = _FORM.fullmatch(zoned)
    if not found:
        return zoned
    year, _, month, day, hour, _, minute, second, fraction, hours, minutes = found.groups()
    date = f"{year}-{month}-{day}"
    if hour is None:
        return date
    time = f"T{hour}:{minute or '00'}:{second or '00'}"
    if fraction:
        time += f".{fraction:0<6.6}"
    return f"{date}{time}{hours}:{minutes or '00'}" if hours else f"{date}{time}"
