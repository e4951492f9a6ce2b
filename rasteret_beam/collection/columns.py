"""Arrow columns of a collection -> Python values, once a batch; tile tables stay arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence

TABLES = ("tile_offsets", "tile_byte_counts")
"""Fields of ``{band}_metadata`` that are most of a collection."""


def columns_of(batch: pa.RecordBatch) -> dict[str, Sequence[Any]]:
    """Gives the values of a batch, column by column.

    Args:
        batch: Rows of a collection.

    Returns:
        Name -> one value a row; band metadata as dicts whose tile tables are int64
        arrays, or None where they are null or hold nulls.
    """
    return {name: _values(batch.column(name)) for name in batch.schema.names}


def _values(column: pa.Array) -> Sequence[Any]:
    kind = column.type
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        # Python has no nanoseconds.
        column = column.cast(pa.timestamp("us", kind.tz), safe=False)
    if not (pa.types.is_struct(kind) and all(kind.get_field_index(n) >= 0 for n in TABLES)):
        return list(column.to_pylist())
    names = [kind.field(i).name for i in range(kind.num_fields)]
    fields = [
        tables_of(column.field(name)) if name in TABLES else column.field(name).to_pylist()
        for name in names
    ]
    valid = column.is_valid().to_pylist()
    rows = zip(*fields, strict=True)
    return [
        dict(zip(names, row, strict=True)) if there else None
        for row, there in zip(rows, valid, strict=True)
    ]


def tables_of(lists: pa.Array) -> list[np.ndarray | None]:
    """Gives one int64 array a row, views of one; None where it is no list of whole numbers."""
    kind = lists.type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)
            or pa.types.is_fixed_size_list(kind)) or not pa.types.is_integer(kind.value_type):
        return [None] * len(lists)
    if pa.types.is_fixed_size_list(kind):
        lists = lists.cast(pa.list_(kind.value_type))
    values = lists.values
    if values.null_count:
        rows = (row.as_py() for row in lists)
        return [None if row is None or None in row else np.array(row, np.int64) for row in rows]
    numbers = values.to_numpy(zero_copy_only=False).astype(np.int64, copy=False)
    starts = lists.offsets.to_numpy().tolist()
    valid = lists.is_valid().to_pylist()
    return [
        numbers[start:end] if there else None
        for start, end, there in zip(starts[:-1], starts[1:], valid, strict=True)
    ]
