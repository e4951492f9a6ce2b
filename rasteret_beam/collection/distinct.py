"""Which rows of an Arrow column are alike: what is said a million times is read once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST_CODES = 2**31


def alike(columns: Sequence[pa.Array], n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Finds the distinct rows of columns taken together.

    Args:
        columns: Arrays of one length and any type.
        n_rows: Their length.

    Returns:
        int64, shape (n_rows,): for each row the number of its kind; and int64, shape
        (n_kinds,): a row of each kind.

    >>> import pyarrow as pa
    >>> alike([pa.array([1, 1, 2, 1]), pa.array(["a", "b", None, "a"])], 4)[0].tolist()
    [0, 1, 2, 0]
    """
    if n_rows <= 1:
        return np.zeros(n_rows, np.int64), np.arange(n_rows)
    codes = np.zeros(n_rows, np.int64)
    for column in columns:
        codes = _refined(codes, column)
    _, first, kinds = np.unique(codes, return_index=True, return_inverse=True)
    return kinds.reshape(-1), first


def field_of(column: pa.StructArray, name: str) -> pa.Array:
    """Gives a field of a struct, null where the struct is, or has no such field."""
    at = column.type.get_field_index(name)
    return pa.nulls(len(column)) if at < 0 else pc.struct_field(column, [at])


def field_names(kind: pa.StructType) -> list[str]:
    """Gives the names of a struct's fields."""
    return [kind.field(at).name for at in range(kind.num_fields)]


def _refined(codes: np.ndarray, column: pa.Array) -> np.ndarray:
    """Tells rows apart that differ in one more column."""
    kind = column.type
    if pa.types.is_struct(kind):
        if column.null_count:
            codes = _combined(codes, column.is_valid().to_numpy(zero_copy_only=False))
        for at in range(kind.num_fields):
            codes = _refined(codes, pc.struct_field(column, [at]))
        return codes
    if pa.types.is_list(kind) and not pa.types.is_nested(kind.value_type):
        return _refined_by_lists(codes, column)
    if pa.types.is_null(kind):
        return codes
    if pa.types.is_nested(kind):
        texts = pa.array([repr(value) for value in column.to_pylist()], pa.string())
        return _refined(codes, texts)
    encoded = column if pa.types.is_dictionary(kind) else column.dictionary_encode("encode")
    if len(encoded.dictionary) == 1 and not encoded.indices.null_count:
        return codes
    return _combined(codes, pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False))


def _refined_by_lists(codes: np.ndarray, column: pa.ListArray) -> np.ndarray:
    lengths = pc.fill_null(pc.list_value_length(column), -1).to_numpy(zero_copy_only=False)
    codes = _combined(codes, lengths)
    values, rows = column.flatten(), pc.list_parent_indices(column).to_numpy()
    within = np.arange(len(rows)) - np.searchsorted(rows, rows)
    for place in range(int(lengths.max(initial=0))):
        here = within == place
        one = np.full(len(codes), -1, np.int64)
        kinds = _refined(np.zeros(int(here.sum()), np.int64), values.filter(pa.array(here)))
        one[rows[here]] = kinds
        codes = _combined(codes, one)
    return codes


def _combined(codes: np.ndarray, more: np.ndarray) -> np.ndarray:
    """One number for each pair, small."""
    more = more.astype(np.int64)
    low, high = int(more.min(initial=0)), int(more.max(initial=0))
    if low == high:
        return codes
    if int(codes.max(initial=0) + 1) * (high - low + 1) > _MOST_CODES:
        codes = np.unique(codes, return_inverse=True)[1].reshape(-1)
    return codes * (high - low + 1) + more - low
