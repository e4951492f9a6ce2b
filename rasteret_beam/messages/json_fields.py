"""Values of a JSON object -> those of the columns that a schema names."""

from __future__ import annotations

import contextlib
import datetime as dt
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from rasteret_beam.errors import InvalidPointError
from rasteret_beam.iso_times import read_date, read_time

if TYPE_CHECKING:
    from collections.abc import Mapping

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
_MICROSECOND = dt.timedelta(microseconds=1)
_DAY = dt.timedelta(days=1)
MILLISECOND = dt.timedelta(milliseconds=1)


def untagged(row: dict[str, Any], tags: Mapping[str, str]) -> dict[str, Any]:
    """Takes the names of types off values: ``{"string": "a"}`` is "a" in Avro's JSON.

    So a topic with a schema gives what may be null, where its messages are JSON.

    Args:
        row: The object.
        tags: By column, the name of the type that it may hold besides null.
    """
    found = {
        name: row[name][tag] for name, tag in tags.items()
        if isinstance(row.get(name), dict) and list(row[name]) == [tag]
    }
    return {**row, **found} if found else row


def fitted(
    name: str, value: Any, kind: pa.DataType, unit: dt.timedelta = MILLISECOND,  # noqa: ANN401 -- JSON
) -> Any:  # noqa: ANN401 -- JSON
    """Gives a value as its column holds it; one that does not fit stays, or is its text.

    JSON has one kind of numbers, and none of times: those are ISO 8601 text, or numbers as
    Avro counts them.

    Args:
        name: The column, for messages.
        value: The value.
        kind: The column's type.
        unit: What numbers count in a column of times.
    """
    if value is None or isinstance(value, bool):
        return value
    if pa.types.is_floating(kind) and isinstance(value, int):
        with contextlib.suppress(OverflowError):
            return float(value)
    if pa.types.is_timestamp(kind):
        try:
            return moment(name, value, unit)
        except InvalidPointError:
            return str(value)
    if pa.types.is_date(kind):
        return _date(value)
    return value


def moment(name: str, value: object, unit: dt.timedelta = MILLISECOND) -> dt.datetime:
    """Gives a time of the years 1 to 9999; text without a zone is UTC.

    Args:
        name: Its column, for messages.
        value: RFC 3339 text, a number, or a ``datetime``.
        unit: What a number counts since 1970.

    Raises:
        InvalidPointError: It is none.
    """
    try:
        if isinstance(value, str):
            value = read_time(value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            value = _EPOCH + value * unit
        if isinstance(value, dt.datetime):
            zoned = value if value.tzinfo else value.replace(tzinfo=dt.timezone.utc)
            return zoned.astimezone(dt.timezone.utc)
    except (ValueError, OverflowError) as error:
        msg = f"time {name!r} is {str(value)[:100]!r}: {error}"
        raise InvalidPointError(msg) from error
    msg = (
        f"time {name!r} is {str(value)[:100]!r}, expected RFC 3339 text or milliseconds since 1970"
    )
    raise InvalidPointError(msg)


def microseconds(time: dt.datetime) -> int:
    """Gives the microseconds of a time since 1970."""
    return (time - _EPOCH) // _MICROSECOND


def _date(value: object) -> object:
    """A day: ISO 8601 text, or a number of days since 1970."""
    with contextlib.suppress(ValueError, OverflowError):
        if isinstance(value, str):
            return read_date(value)
        if isinstance(value, int):
            return (_EPOCH + value * _DAY).date()
    return str(value)
