"""Rows that came one by one -> a table, a column at a time; what does not fit is told apart."""

from __future__ import annotations

import collections
from typing import Any

import pyarrow as pa

from rasteret_beam.mixed_types import MISFITS, texts


def tabulate(
    rows: list[dict[str, Any]],
    schema: pa.Schema | None,
    without: set[int],
    geometry: str | None = None,
) -> tuple[pa.Table, dict[int, str]]:
    """Makes a table of rows that came one by one.

    A column whose values are of several types is text: a value costs no other one, and
    no row. Where a type is told, or wanted as of a geometry, values of others are null.

    Args:
        rows: The rows.
        schema: Types of their fields, of which others are left out; None takes all fields,
            and their types from the values.
        without: Rows that are known to be broken.
        geometry: The field that is never text: what most of its values are, it is.

    Returns:
        The table, nulls in place of rows that are broken and of values that do not fit;
        and by row, which values those are.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    fields = [pa.field(name, pa.null()) for name in names] if schema is None else list(schema)
    unfit: dict[int, list[str]] = {}
    columns = []
    for field in fields:
        values = [
            None if at in without else row.get(field.name) for at, row in enumerate(rows)
        ]
        kind = None if schema is None else field.type
        try:
            column = _array(values, kind)
        except MISFITS:
            if kind is None and field.name != geometry:
                column = texts(values)
            else:
                column, wrong = _sifted(values, kind)
                for at, told in wrong.items():
                    unfit.setdefault(at, []).append(f"column {field.name!r} holds {told}")
        columns.append(column)
    whole = schema or pa.schema(
        [pa.field(name, column.type) for name, column in zip(names, columns, strict=True)],
    )
    table = pa.Table.from_arrays(columns, schema=whole).combine_chunks()
    return table, {at: "; ".join(told) for at, told in unfit.items()}


def _sifted(values: list[Any], kind: pa.DataType | None) -> tuple[pa.Array, dict[int, str]]:
    """A column of the values that fit, and what the others are."""
    wrong: dict[int, str] = {}
    if kind is None:
        counts = collections.Counter(type(value) for value in values if value is not None)
        ((most, _),) = counts.most_common(1)
        wanted = f"{most.__name__} as in most rows"
        fits = [isinstance(value, most) and _fits(value, None) for value in values]
    else:
        wanted = str(kind)
        fits = [_fits(value, kind) for value in values]
    for at, (value, is_fit) in enumerate(zip(values, fits, strict=True)):
        if value is not None and not is_fit:
            found = f"{value!r:.100} of type {type(value).__name__}"
            wrong[at] = f"{found}, expected {wanted}: null in its place"
    kept = [value if is_fit else None for value, is_fit in zip(values, fits, strict=True)]
    return pa.array(kept, kind), wrong


def _fits(value: Any, kind: pa.DataType | None) -> bool:  # noqa: ANN401 -- any value
    try:
        _array([value], kind)
    except MISFITS:
        return False
    return True


def _array(values: list[Any], kind: pa.DataType | None) -> pa.Array:
    """A column of the values as they are: Arrow makes 1 of 1.5 and of True where it is told to.

    Raises:
        ValueError: A value would be another one. Arrow's own errors too.
    """
    column = pa.array(values, kind)
    if kind is None:
        return column
    changed: list[float]
    if pa.types.is_floating(kind):
        changed = [value for value in values if isinstance(value, bool)]
    elif pa.types.is_integer(kind) or pa.types.is_temporal(kind):
        changed = [v for v in values if isinstance(v, float) and not v.is_integer()]
    else:
        return column
    if changed:
        msg = f"{changed[0]!r} is none of {kind}"
        raise ValueError(msg)
    return column
