"""Runs of things, as indexes."""

from __future__ import annotations

import numpy as np


def members(first: np.ndarray, count: np.ndarray, step: np.ndarray | int = 1) -> np.ndarray:
    """Gives the indexes that runs are of, one run after another.

    Args:
        first: int64, shape (n_runs,): where each starts.
        count: int64, shape (n_runs,): how many there are.
        step: int64, shape (n_runs,): how far they are apart.

    Returns:
        int64, shape (count.sum(),).

    >>> members(np.array([5, 0]), np.array([2, 3])).tolist()
    [5, 6, 0, 1, 2]
    """
    ends = np.cumsum(count)
    nth = np.arange(ends[-1] if len(ends) else 0)
    if isinstance(step, int):
        return nth * step + np.repeat(first - (ends - count) * step, count)
    return nth * np.repeat(step, count) + np.repeat(first - (ends - count) * step, count)


def changes(keys: list[np.ndarray]) -> np.ndarray:
    """Tells where a run starts: where any key differs from the one before.

    Args:
        keys: Of the same shape (n,) each.

    Returns:
        bool, shape (n,).
    """
    new = np.zeros(len(keys[0]), bool)
    new[:1] = True
    for key in keys:
        new[1:] |= key[1:] != key[:-1]
    return new
