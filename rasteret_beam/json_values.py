"""Columns of any Arrow type -> what JSON can hold of their values."""

from __future__ import annotations

import base64
import itertools
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Callable

    WriteBytes = Callable[[bytes], str]

_DECIMALS = {"s": 0, "ms": 3, "us": 6, "ns": 9}


def base64_text(data: bytes) -> str:
    """Gives bytes as base64."""
    return base64.b64encode(data).decode()


def json_values(column: Any, write_bytes: WriteBytes = base64_text) -> list[Any]:  # noqa: ANN401, PLR0911 -- Arrow arrays; a case each
    """Gives a column's values as JSON holds them.

    Numbers, booleans and text stay as they are; NaN and infinities, which JSON does not
    have, are null. Dates and times are ISO 8601, timestamps in UTC with a Z, those without
    a zone taken as UTC. Durations are ISO 8601 in seconds (``PT1.5S``), decimals are text.
    Lists are arrays, structs objects, maps arrays of (key, value). What else there is
    becomes its text.

    Args:
        column: An Arrow array, or a chunked one.
        write_bytes: Gives bytes as text.
    """
    if isinstance(column, pa.ChunkedArray):
        return [value for chunk in column.chunks for value in json_values(chunk, write_bytes)]
    if isinstance(column, pa.ExtensionArray):
        return json_values(column.storage, write_bytes)
    kind = column.type
    if pa.types.is_dictionary(kind):
        words = json_values(column.dictionary, write_bytes)
        return [None if at is None else words[at] for at in column.indices.to_pylist()]
    if pa.types.is_run_end_encoded(kind):
        return json_values(pc.run_end_decode(column), write_bytes)
    if pa.types.is_nested(kind):
        return _nested(column, write_bytes)
    if any(is_kind(kind) for is_kind in _BYTES):
        return [None if data is None else write_bytes(data) for data in column.to_pylist()]
    return _single(column)


def json_texts(column: Any, write_bytes: WriteBytes = base64_text) -> list[str | None]:  # noqa: ANN401 -- as above
    """Gives a column's values as text: what is no text in JSON is JSON.

    Args:
        column: An Arrow array, or a chunked one.
        write_bytes: Gives bytes as text.
    """
    return [
        value if value is None or isinstance(value, str) else json.dumps(value)
        for value in json_values(column, write_bytes)
    ]


def _nested(column: Any, write_bytes: WriteBytes) -> list[Any]:  # noqa: ANN401 -- as above
    kind = column.type
    if pa.types.is_struct(kind):
        return _objects(column, write_bytes)
    if pa.types.is_map(kind):
        pair = pa.struct([("key", kind.key_type), ("value", kind.item_type)])
        rows = json_values(column.cast(pa.list_(pair)), write_bytes)
        return [None if row is None else [list(one.values()) for one in row] for row in rows]
    if pa.types.is_union(kind):
        return [None if value is None else str(value) for value in column.to_pylist()]
    # Of lists that are null nothing is left when they are flattened.
    flat = iter(json_values(pc.list_flatten(column), write_bytes))
    lengths = pc.list_value_length(column).to_pylist()
    return [None if n is None else list(itertools.islice(flat, n)) for n in lengths]


def _objects(column: pa.StructArray, write_bytes: WriteBytes) -> list[Any]:
    names = [field.name for field in column.type]
    members = [json_values(member, write_bytes) for member in column.flatten()]
    rows = zip(*members, strict=True) if members else itertools.repeat((), len(column))
    present = column.is_valid().to_pylist()
    return [
        dict(zip(names, row, strict=True)) if there else None
        for there, row in zip(present, rows, strict=True)
    ]


def _single(column: pa.Array) -> list[Any]:
    kind = column.type
    if pa.types.is_floating(kind):
        numbers = column.cast(pa.float64())
        return list(pc.if_else(pc.is_finite(numbers), numbers, None).to_pylist())
    if any(is_kind(kind) for is_kind in _AS_THEY_ARE):
        return list(column.to_pylist())
    return _texts(column)


def _texts(column: pa.Array) -> list[str | None]:
    """Texts that Arrow writes: Python's own types end in year 9999 and at microseconds."""
    kind = column.type
    if pa.types.is_duration(kind):
        digits = _DECIMALS[kind.unit]
        counts = column.cast(pa.int64()).to_pylist()
        return [None if n is None else f"PT{Decimal(n).scaleb(-digits):f}S" for n in counts]
    if not any(is_kind(kind) for is_kind in _PRINTED):
        return [None if value is None else str(value) for value in column.to_pylist()]
    if pa.types.is_timestamp(kind):
        # To print a zone needs a database of zones.
        column = column.cast(pa.timestamp(kind.unit))
    texts = column.cast(pa.string())
    if not pa.types.is_decimal(kind):
        texts = pc.replace_substring_regex(texts, r"\.0+$", "")
    return list(pc.replace_substring_regex(texts, r"^(\S+) (\S+)$", r"\1T\2Z").to_pylist())


_BYTES = (
    pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary,
    pa.types.is_binary_view,
)  # fmt: skip
_AS_THEY_ARE = (
    pa.types.is_null, pa.types.is_boolean, pa.types.is_integer, pa.types.is_string,
    pa.types.is_large_string, pa.types.is_string_view,
)  # fmt: skip
_PRINTED = (pa.types.is_timestamp, pa.types.is_date, pa.types.is_time, pa.types.is_decimal)
