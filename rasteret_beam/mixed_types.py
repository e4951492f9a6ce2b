"""Columns whose values are of several types, which become text: no value is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from rasteret_beam.json_values import json_texts

if TYPE_CHECKING:
    from collections.abc import Sequence

MISFITS = (pa.ArrowException, TypeError, ValueError, OverflowError)
"""What Arrow raises on values that are not of one type."""


def as_text(column: pa.Array) -> pa.Array:
    """Gives a column as text: numbers as Arrow prints them, lists and structs as JSON.

    The text of a number does not depend on the numbers around it.

    >>> as_text(pa.array([1.0, 2.5])).to_pylist(), as_text(pa.array([1, None])).to_pylist()
    (['1', '2.5'], ['1', None])
    """
    if pa.types.is_floating(column.type):
        return column.cast(pa.string())
    return pa.array(json_texts(column), pa.string())


def texts(values: Sequence[Any]) -> pa.Array:
    """Gives Python's values as ``as_text`` has those of columns."""
    found: list[str | None] = [None] * len(values)
    kinds: dict[type, list[int]] = {}
    for at, value in enumerate(values):
        if value is not None:
            kinds.setdefault(type(value), []).append(at)
    for rows in kinds.values():
        for at, text in zip(rows, _texts([values[at] for at in rows]), strict=True):
            found[at] = text
    return pa.array(found, pa.string())


def _texts(values: list[Any]) -> list[str | None]:
    """Texts of values of one type of Python's, which may be several of Arrow's."""
    try:
        return list(as_text(pa.array(values)).to_pylist())
    except MISFITS:
        if len(values) == 1:
            # Half a surrogate pair has no UTF-8.
            return [str(values[0]).encode(errors="backslashreplace").decode()]
    return [text for value in values for text in _texts([value])]


def unified(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """Gives one schema for rows of several; columns whose types do not go together are text."""
    names = dict.fromkeys(name for schema in schemas for name in schema.names)
    fields = []
    for name in names:
        same = [schema.field(name) for schema in schemas if name in schema.names]
        fields.append(_unified(same))
    return pa.schema(fields, metadata=schemas[0].metadata)


def conformed(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Gives a table whose columns are text where those of a ``unified`` schema are."""
    for at, field in enumerate(table.schema):
        wanted = schema.field(field.name).type if field.name in schema.names else field.type
        if wanted == pa.string() != field.type:
            chunks = [as_text(chunk) for chunk in table.column(at).chunks]
            column = pa.chunked_array(chunks, pa.string())
            table = table.set_column(at, field.with_type(wanted), column)
    return table


def _unified(fields: list[pa.Field]) -> pa.Field:
    try:
        return pa.unify_schemas(
            [pa.schema([field]) for field in fields], promote_options="permissive",
        ).field(0)
    except pa.ArrowException:
        return pa.field(fields[0].name, pa.string())
