"""How many bytes the values of columns have: the same in whatever batches they come."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_LISTS = (
    pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list,
    pa.types.is_list_view, pa.types.is_large_list_view,
)  # fmt: skip
_TEXTS = (
    pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_binary,
    pa.types.is_binary_view,
)  # fmt: skip


def row_bytes(rows: pa.RecordBatch) -> np.ndarray:
    """Gives the bytes of the values of each row; int64, shape (n_rows,)."""
    total = np.zeros(rows.num_rows, np.int64)
    for column in rows.columns:
        total += value_bytes(column)
    return total


def value_bytes(column: pa.Array) -> np.ndarray:
    """Gives the bytes of each value.

    A null has none, whatever its type; a word of a dictionary counts wherever it stands,
    since which words a dictionary has, and how often, is up to the batch. What tells
    where values begin is not counted.

    Args:
        column: Of any type.

    Returns:
        int64, shape (n_rows,).

    >>> value_bytes(pa.array(["four", None, ""])).tolist()
    [4, 0, 0]
    """
    column = _plain(column)
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _ints(pa.array(value_bytes(column.dictionary)).take(column.indices))
    if pa.types.is_struct(kind):
        return sum(map(value_bytes, column.flatten()), np.zeros(len(column), np.int64))
    if any(is_list(kind) for is_list in _LISTS):
        ends = np.cumsum(_ints(pc.list_value_length(column)))
        sums = np.concatenate([[0], np.cumsum(value_bytes(column.flatten()))])
        return np.diff(sums[ends], prepend=0)
    if pa.types.is_large_binary(kind):
        return _ints(pc.binary_length(column))
    there = column.is_valid().to_numpy(zero_copy_only=False)
    return there.astype(np.int64) * _width(kind)


def _plain(column: pa.Array) -> pa.Array:
    """The same values as one of fewer types."""
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        return _plain(column.storage)
    if pa.types.is_run_end_encoded(kind):
        return _plain(pc.run_end_decode(column))
    if pa.types.is_map(kind):
        return column.cast(pa.list_(pa.struct([("key", kind.key_type), ("value", kind.item_type)])))
    if any(is_text(kind) for is_text in _TEXTS):
        return column.cast(pa.large_binary())
    return column


def _width(kind: pa.DataType) -> int:
    """Bytes of a value of a type whose values are all of one size; 0 for other types."""
    try:
        return -(-kind.bit_width // 8)
    except ValueError:
        # Nulls; and unions, which no format takes.
        return 0


def _ints(counts: pa.Array) -> np.ndarray:
    return np.asarray(counts.fill_null(0).to_numpy(zero_copy_only=False), np.int64)
