"""Avro: a schema's text -> the columns of rows, and a message's bytes -> a row."""

from __future__ import annotations

import datetime as dt
import io
import json
import struct
from typing import Any

import fastavro
import pyarrow as pa
from fastavro.schema import SchemaParseException, UnknownType

from rasteret_beam.errors import InvalidPointError, OptionError

_UTC = pa.timestamp("us", "UTC")
_KINDS = {
    "boolean": pa.bool_(), "int": pa.int32(), "long": pa.int64(), "float": pa.float32(),
    "double": pa.float64(), "string": pa.string(), "bytes": pa.binary(), "enum": pa.string(),
    "date": pa.date32(), "timestamp-millis": _UTC, "timestamp-micros": _UTC,
    "uuid": pa.string(),
}  # fmt: skip
_UNITS = {
    "timestamp-millis": dt.timedelta(milliseconds=1),
    "timestamp-micros": dt.timedelta(microseconds=1),
}
_BROKEN = (EOFError, IndexError, KeyError, OverflowError, TypeError, ValueError, struct.error)
"""What the library raises on bytes that are not of the schema."""


def parse_schema(text: str) -> dict[str, Any]:
    """Reads the text of a schema.

    Raises:
        OptionError: It is none.
    """
    try:
        parsed: Any = fastavro.parse_schema(json.loads(text))
        return dict(parsed)
    except (ValueError, TypeError, SchemaParseException, UnknownType) as error:
        msg = f"The schema of the messages is no Avro schema of a record: {error} in {text[:200]}"
        raise OptionError(msg) from error


def columns_of(schema: dict[str, Any]) -> pa.Schema:
    """Gives the Arrow types of a flat record's fields.

    Raises:
        OptionError: It is no record, or a field holds more than one value.
    """
    if schema.get("type") != "record":
        msg = f"The schema of the messages is a {schema.get('type')!r}, expected a record"
        raise OptionError(msg)
    return pa.schema([_field(field["name"], field["type"]) for field in schema["fields"]])


def tags_of(schema: dict[str, Any]) -> dict[str, str]:
    """Gives, by the name of each field that is a union, what JSON calls the type of its values."""
    return {
        field["name"]: kind["name" if kind["type"] == "enum" else "type"]
        if isinstance(kind, dict) else kind
        for field in schema["fields"] if isinstance(field["type"], list)
        for kind in _kinds(field["type"])
    }


def units_of(schema: dict[str, Any]) -> dict[str, dt.timedelta]:
    """Gives, by the name of each field that is a timestamp, what its numbers count."""
    return {
        field["name"]: _UNITS[kind["logicalType"]]
        for field in schema["fields"] for kind in _kinds(field["type"])
        if isinstance(kind, dict) and kind.get("logicalType") in _UNITS
    }


def _kinds(given: Any) -> list[Any]:  # noqa: ANN401 -- JSON
    return [kind for kind in (given if isinstance(given, list) else [given]) if kind != "null"]


def _field(name: str, given: Any) -> pa.Field:  # noqa: ANN401 -- JSON
    kinds = _kinds(given)
    if len(kinds) == 1:
        kind = kinds[0]
        if isinstance(kind, dict):
            kind = kind.get("logicalType", kind.get("type"))
        if kind in _KINDS:
            return pa.field(name, _KINDS[kind])
    msg = (
        f"Field {name!r} of the messages is {given!r}; expected one value, or null: "
        f"{', '.join(_KINDS)}"
    )
    raise OptionError(msg)


def read_record(data: bytes, schema: dict[str, Any]) -> dict[str, Any]:
    """Reads one record, as it is without a header: what Pub/Sub sends for a schema.

    Raises:
        InvalidPointError: The bytes are none of the schema, or go on behind it.
    """
    stream = _Exact(data)
    try:
        row: Any = fastavro.schemaless_reader(stream, schema, None)
    except _BROKEN as error:
        msg = f"no record of the Avro schema: {type(error).__name__}: {error}"
        raise InvalidPointError(msg) from error
    left = len(data) - stream.tell()
    if left:
        msg = f"no record of the Avro schema: {left} bytes are left behind it"
        raise InvalidPointError(msg)
    return {name: str(v) if _is_uuid(v) else v for name, v in row.items()}


def _is_uuid(value: object) -> bool:
    return type(value).__name__ == "UUID"


class _Exact(io.BytesIO):
    """Ends with an error where the library would take what is left for what it asked for."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            msg = f"a length of {size}"
            raise ValueError(msg)
        data = super().read(size)
        if len(data) < size:
            msg = f"{size} bytes announced, {len(data)} there"
            raise EOFError(msg)
        return data
