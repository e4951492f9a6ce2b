"""One message -> one row: a point, its id and its time."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from rasteret_beam.errors import InvalidPointError, OptionError
from rasteret_beam.messages import avro, json_fields
from rasteret_beam.points import COORDINATE_PAIRS, PointColumns, number
from rasteret_beam.points import index as point_index

if TYPE_CHECKING:
    import datetime as dt

MESSAGE_FORMATS = ("json", "avro")

INDEX_FIELD = "_point_index"
"""Field of a row that is to become its ``point_index``."""

_X, _Y = COORDINATE_PAIRS[0]


class MessageRow(NamedTuple):
    """What a message says.

    Attributes:
        row: Value by column: those of the reader's ``schema``, and ``INDEX_FIELD`` where
            the reader takes an id.
        time_us: Microseconds since 1970 UTC, or None where the reader takes no time.
    """

    row: dict[str, Any]
    time_us: int | None


@dataclasses.dataclass(frozen=True)
class MessageReader:
    """Reads messages that hold one row each.

    Every message gives the same columns, whatever it holds, so that no message can
    break the rows around it: those of the Avro schema. Without one a row has its
    coordinates, its id and its time, and what else a message holds is left.

    Attributes:
        message_format: ``json``: an object. ``avro``: a record without a header, as
            Pub/Sub sends it for a topic's schema.
        columns: Where in a row the point is.
        avro_schema: Text of the schema; needed for ``avro``. For ``json`` it names the
            columns to keep and their types: dates and times are ISO 8601 text, or numbers as
            Avro counts them; a value may come with its type, as ``{"string": "a"}``.
        id_column: Column that becomes ``point_index``: whole numbers as they are; of
            text its 63-bit hash, and the text stays as a column.
        time_column: Column of the row's time: RFC 3339 text (UTC where it does not
            say), milliseconds since 1970, or one of Avro's timestamps (whose numbers, in
            JSON too, are microseconds where the schema says so).

    Raises:
        OptionError: A value that cannot work, or a column that the schema does not have.
    """

    message_format: str = "json"
    columns: PointColumns = dataclasses.field(default_factory=PointColumns)
    avro_schema: str | None = None
    id_column: str | None = None
    time_column: str | None = None

    def __post_init__(self) -> None:
        """Checks every value."""
        if self.message_format not in MESSAGE_FORMATS:
            formats = ", ".join(MESSAGE_FORMATS)
            msg = f"message_format must be one of {formats}, got {self.message_format!r}"
            raise OptionError(msg)
        if self.message_format == "avro" and not self.avro_schema:
            msg = "Avro messages need their schema: a record without a header has none"
            raise OptionError(msg)
        if self.columns.geometry_column is not None and self.message_format != "avro":
            msg = "geometry_column needs WKB, which only Avro messages can hold; give x_column"
            raise OptionError(msg)
        if self._parsed is not None:
            self._check_columns()

    @functools.cached_property
    def schema(self) -> pa.Schema:
        """Columns of all rows, beside ``INDEX_FIELD``."""
        if self._parsed is None:
            names = self._coordinates or (_X, _Y)
            fields = [pa.field(name, pa.float64()) for name in names]
            if self.id_column:
                fields.append(pa.field(self.id_column, pa.string()))
            if self.time_column:
                fields.append(pa.field(self.time_column, pa.timestamp("us", "UTC")))
            return pa.schema(fields)
        fields = list(avro.columns_of(self._parsed))
        # Numbers become the index, and need no column.
        return pa.schema(
            [f for f in fields if f.name != self.id_column or pa.types.is_string(f.type)],
        )

    @property
    def point_columns(self) -> PointColumns:
        """Where in the rows that are given the point is."""
        if self.columns.geometry_column is not None or self.columns.x_column is not None:
            return self.columns
        x, y = self._coordinates or (_X, _Y)
        return dataclasses.replace(self.columns, x_column=x, y_column=y)

    def read(self, data: bytes) -> MessageRow:
        """Reads one message.

        Raises:
            InvalidPointError: It is no row, or has no coordinates, id or time.
        """
        given = self._decode(data)
        row = {name: given.get(name) for name in self.schema.names}
        if self.columns.geometry_column is None and self._coordinates is None:
            x, y = self._found_pair(given)
            row[_X], row[_Y] = given[x], given[y]
        elif self._coordinates is not None:
            absent = [name for name in self._coordinates if name not in given]
            if absent:
                msg = f"no {' and no '.join(absent)} in it; it has {_names(given)}"
                raise InvalidPointError(msg)
        if self.message_format == "json":
            for field in self.schema:
                unit = self._units.get(field.name, json_fields.MILLISECOND)
                row[field.name] = json_fields.fitted(
                    field.name, row[field.name], field.type, unit,
                )
            for name in self._numbers:
                row[name] = _coordinate(row[name])
        time_us = None
        if self.time_column:
            unit = self._units.get(self.time_column, json_fields.MILLISECOND)
            time = json_fields.moment(self.time_column, given.get(self.time_column), unit)
            time_us = json_fields.microseconds(time)
        if self.id_column:
            row[INDEX_FIELD] = _index(self.id_column, given.get(self.id_column))
            if self.id_column in row and not isinstance(row[self.id_column], str):
                row[self.id_column] = None
        return MessageRow(row, time_us)

    def _decode(self, data: bytes) -> dict[str, Any]:
        if self.message_format == "avro" and self._parsed is not None:
            return avro.read_record(data, self._parsed)
        try:
            given = json.loads(data)
        except (ValueError, RecursionError) as error:
            msg = f"no JSON: {error}"
            raise InvalidPointError(msg) from error
        if not isinstance(given, dict):
            msg = f"a JSON {type(given).__name__}, expected an object with a point's columns"
            raise InvalidPointError(msg)
        return json_fields.untagged(given, self._tags)

    @functools.cached_property
    def _parsed(self) -> dict[str, Any] | None:
        return avro.parse_schema(self.avro_schema) if self.avro_schema else None

    @functools.cached_property
    def _coordinates(self) -> tuple[str, str] | None:
        """The columns of x and y, where they are the same in every message."""
        if self.columns.x_column is not None and self.columns.y_column is not None:
            return self.columns.x_column, self.columns.y_column
        if self._parsed is None or self.columns.geometry_column is not None:
            return None
        names = set(avro.columns_of(self._parsed).names)
        return next((pair for pair in COORDINATE_PAIRS if set(pair) <= names), None)

    @functools.cached_property
    def _tags(self) -> dict[str, str]:
        return avro.tags_of(self._parsed) if self._parsed else {}

    @functools.cached_property
    def _units(self) -> dict[str, dt.timedelta]:
        return avro.units_of(self._parsed) if self._parsed else {}

    @functools.cached_property
    def _numbers(self) -> list[str]:
        """The columns of coordinates that are to hold numbers."""
        names = () if self.columns.geometry_column is not None else self._coordinates or (_X, _Y)
        return [name for name in names if pa.types.is_floating(self.schema.field(name).type)]

    def _found_pair(self, given: dict[str, Any]) -> tuple[str, str]:
        for pair in COORDINATE_PAIRS:
            if all(name in given for name in pair):
                return pair
        msg = f"no coordinates in it, like x and y or lon and lat; it has {_names(given)}"
        raise InvalidPointError(msg)

    def _check_columns(self) -> None:
        fields = avro.columns_of(self._parsed or {})
        place = self.columns.geometry_column
        named = [*(self._coordinates or ()), place, self.id_column, self.time_column]
        absent = [name for name in named if name is not None and name not in fields.names]
        if absent or (place is None and self._coordinates is None):
            wanted = ", ".join(absent) or "coordinates, like x and y or lon and lat"
            msg = f"The schema of the messages has no {wanted}; it has {', '.join(fields.names)}"
            raise OptionError(msg)
        if self.message_format == "json":
            binary = [field.name for field in fields if pa.types.is_binary(field.type)]
            if binary:
                msg = f"JSON has no form for bytes: leave {', '.join(binary)} out of the schema"
                raise OptionError(msg)


def _names(given: dict[str, Any]) -> str:
    return ", ".join(map(repr, list(given)[:20])) or "nothing"


def _index(name: str, value: object) -> int:
    number = point_index.whole_number(value)
    if number is not None:
        return number
    if isinstance(value, str) and value:
        return point_index.hashed(value.encode(errors="surrogatepass"))
    msg = f"id {name!r} is {str(value)[:100]!r}, expected a whole number of 63 bits or text"
    raise InvalidPointError(msg)


def _coordinate(value: object) -> object:
    """A coordinate, which may be text as it may in files; other text costs the point alone."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            return number(value)
    return value
