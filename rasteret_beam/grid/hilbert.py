"""Places -> numbers: near numbers are near places."""

from __future__ import annotations

from typing import Any

import numpy as np


def hilbert_index(lon: float, lat: float, order: int) -> int:
    """Gives the place of a cell along a Hilbert curve over the whole Earth.

    Args:
        lon: Longitude, in degrees; clipped to -180 .. 180.
        lat: Latitude, in degrees; clipped to -90 .. 90.
        order: The Earth has 2**order x 2**order cells.

    Returns:
        0 .. 4**order - 1; neighbours on the curve are neighbours on Earth.

    >>> sorted(hilbert_index(x, y, 1) for x in (-90, 90) for y in (-45, 45))
    [0, 1, 2, 3]
    """
    side = 1 << order
    x = min(max(int((lon + 180) / 360 * side), 0), side - 1)
    y = min(max(int((lat + 90) / 180 * side), 0), side - 1)
    return int(_along_curve(x, y, order))


def hilbert_indexes(lon: np.ndarray, lat: np.ndarray, order: int) -> np.ndarray:
    """Gives ``hilbert_index`` of many places.

    Args:
        lon: float64, longitudes in degrees, finite.
        lat: float64, same shape, latitudes in degrees, finite.
        order: As for ``hilbert_index``, at most 31.

    Returns:
        int64, same shape.
    """
    side = 1 << order
    x, y = (
        np.clip((part + half) / (2 * half) * side, 0, side - 1).astype(np.int64)
        for part, half in ((lon, 180), (lat, 90))
    )
    return np.asarray(_along_curve(x, y, order))


def _along_curve(x: Any, y: Any, order: int) -> Any:  # noqa: ANN401 -- ints, or arrays of them
    """The place of cell (x, y): from the largest quadrant to the smallest."""
    index, all_bits = x * 0, (1 << order) - 1
    for bit in reversed(range(order)):
        right, up = (x >> bit) & 1, (y >> bit) & 1
        index = (index << 2) | ((3 * right) ^ up)
        # The lower quadrants are turned: mirrored at the right, then transposed.
        mirrored = (right & (1 - up)) * all_bits
        x, y = x ^ mirrored, y ^ mirrored
        swapped = (x ^ y) * (1 - up)
        x, y = x ^ swapped, y ^ swapped
    return index
