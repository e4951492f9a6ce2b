"""Numbers in as few bytes as hold them exactly."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_EXACT = 2**53
"""Floats hold all whole numbers up to here."""


class Narrow(NamedTuple):
    """Whole numbers as what each is above the least.

    Attributes:
        dtype: Their type.
        least: The least of them.
        above: uint8, uint16 or uint32, shape (n,).
    """

    dtype: str
    least: int
    above: np.ndarray


def narrowed(values: np.ndarray) -> Narrow | np.ndarray:
    """Gives numbers as narrow as they are; as they came where nothing narrower holds them.

    Args:
        values: int64 or float64, shape (n,), at least one.
    """
    low, high = values.min(), values.max()
    # Nor is a NaN within these.
    if not -_EXACT <= low <= high <= _EXACT:
        return np.ascontiguousarray(values)
    above = (values - low).astype(np.min_scalar_type(int(high) - int(low)))
    if above.itemsize >= values.itemsize or not _is_same(above, values, int(low)):
        return np.ascontiguousarray(values)
    return Narrow(values.dtype.str, int(low), above)


def widened(numbers: Narrow | np.ndarray) -> np.ndarray:
    """Gives the numbers back."""
    if not isinstance(numbers, Narrow):
        return numbers
    return numbers.above.astype(numbers.dtype) + np.dtype(numbers.dtype).type(numbers.least)


def _is_same(above: np.ndarray, values: np.ndarray, least: int) -> bool:
    """Whether whole numbers are all that there is; of floats also the sign of zero."""
    back = widened(Narrow(values.dtype.str, least, above))
    return bool((back.view(np.int64) == values.view(np.int64)).all())
