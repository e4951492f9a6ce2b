"""Rows that came one by one -> a table; what does not fit it is told apart."""

from __future__ import annotations

import contextlib
from typing import Any

import pyarrow as pa

_MISFITS = (pa.ArrowException, TypeError, ValueError, OverflowError)
"""What Arrow raises on values that are not of one type."""


def tabulate(
    rows: list[dict[str, Any]], schema: pa.Schema | None, without: set[int],
) -> tuple[pa.Table, dict[int, str]]:
    """Makes a table of rows that came one by one.

    Args:
        rows: The rows.
        schema: Types of their fields, of which others are left out; None takes all fields,
            and their types from the values.
        without: Rows that are known to be broken.

    Returns:
        The table, nulls in place of rows that are broken or do not fit the others; and
        by row, why those do not.
    """
    if schema is None:
        rows = _alike(rows)
    if not without:
        with contextlib.suppress(*_MISFITS):
            return pa.Table.from_pylist(rows, schema=schema).combine_chunks(), {}
    sound = [at for at in range(len(rows)) if at not in without]
    kept = sound
    unfit: dict[int, str] = {}
    if _fault(rows, sound, schema) is not None:
        kept = _fitting(rows, sound, schema)
        # What lost a tie to a broken neighbour may fit after all.
        kept += [
            at for at in sorted(set(sound) - set(kept))
            if _fault(rows, [*kept[:1], at], schema) is None
        ]  # fmt: skip
        if _fault(rows, kept, schema) is not None:
            kept = _fitting(rows, kept, schema)
        for at in sorted(set(sound) - set(kept)):
            fault = _fault(rows, [*kept[:1], at], schema)
            unfit[at] = f"its values do not fit the other rows: {fault}"
    names = list(dict.fromkeys(name for at in kept or range(len(rows)) for name in rows[at]))
    fields = names if schema is None else schema.names
    nothing, there = dict.fromkeys(fields), set(kept)
    full = [{**nothing, **row} if at in there else nothing for at, row in enumerate(rows)]
    return pa.Table.from_pylist(full, schema=schema).combine_chunks(), unfit


def _alike(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with the fields of all: Arrow would take those of the first for all there are."""
    first = rows[0].keys() if rows else ()
    if all(row.keys() == first for row in rows):
        return rows
    nothing = dict.fromkeys(name for row in rows for name in row)
    return [{**nothing, **row} for row in rows]


def _fitting(rows: list[dict[str, Any]], some: list[int], schema: pa.Schema | None) -> list[int]:
    """Rows that fit each other: of halves that do not, the larger."""
    if _fault(rows, some, schema) is None:
        return some
    if len(some) == 1:
        return []
    middle = len(some) // 2
    halves = [_fitting(rows, part, schema) for part in (some[:middle], some[middle:])]
    together = halves[0] + halves[1]
    return together if _fault(rows, together, schema) is None else max(halves, key=len)


def _fault(rows: list[dict[str, Any]], some: list[int], schema: pa.Schema | None) -> str | None:
    """Why rows do not make a table; None where they do."""
    try:
        pa.Table.from_pylist([rows[at] for at in some], schema=schema)
    except _MISFITS as error:
        return str(error)
    return None
