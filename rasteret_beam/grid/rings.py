"""Square rings of pixels around a centre, in the order ties are broken."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np


class Rings(NamedTuple):
    """The pixels of a window around its centre, nearest ring first.

    Attributes:
        row_offset: int64, shape (n,), rows from the centre.
        col_offset: int64, shape (n,), columns from the centre.
        window_index: int64, shape (n,), position in the row-major window.
        ring_start: int64, shape (radius,), where each ring begins.
        ring: int64, shape (n,), Chebyshev distance from the centre, 1..radius.
    """

    row_offset: np.ndarray
    col_offset: np.ndarray
    window_index: np.ndarray
    ring_start: np.ndarray
    ring: np.ndarray


def ring_offsets(radius: int) -> list[tuple[int, int]]:
    """Gives the (row, col) offsets of one ring in PostGIS's perimeter order.

    Top row left to right, bottom row left to right, left column top to bottom, right
    column top to bottom; rasteret breaks ties by this order.

    >>> ring_offsets(1)
    [(-1, -1), (-1, 0), (-1, 1), (1, -1), (1, 0), (1, 1), (0, -1), (0, 1)]
    """
    span = range(-radius, radius + 1)
    sides = range(-radius + 1, radius)
    return [
        *((-radius, col) for col in span),
        *((radius, col) for col in span),
        *((row, -radius) for row in sides),
        *((row, radius) for row in sides),
    ]


@functools.lru_cache(maxsize=64)
def rings(radius: int) -> Rings:
    """Gives rings 1..radius laid end to end; 8 r pixels each."""
    offsets = [offset for ring in range(1, radius + 1) for offset in ring_offsets(ring)]
    row = np.array([offset[0] for offset in offsets], np.int64)
    col = np.array([offset[1] for offset in offsets], np.int64)
    ring = np.maximum(np.abs(row), np.abs(col))
    side = 2 * radius + 1
    start = np.searchsorted(ring, np.arange(1, radius + 1))
    return Rings(row, col, (row + radius) * side + col + radius, start, ring)


def window_offsets(radius: int) -> tuple[np.ndarray, np.ndarray]:
    """Gives the row-major (row, col) offsets of a window, int64, shape ((2r + 1)^2,)."""
    span = np.arange(-radius, radius + 1)
    return np.repeat(span, span.size), np.tile(span, span.size)


def squared_distance(
    position: np.ndarray, row: np.ndarray, col: np.ndarray, scale: tuple[float, float],
) -> np.ndarray:
    """Gives the exact squared distance from points to pixel rectangles.

    rasteret's rule: raster CRS units, no geodesic correction; 0 inside the pixel.

    Args:
        position: float64, shape (n, 2): row_float, col_float of each point.
        row: int64, shape (n, k), pixel rows.
        col: int64, shape (n, k), pixel columns.
        scale: Size of a pixel (x, y) in CRS units, positive.

    Returns:
        float64, shape (n, k), squared CRS units.
    """
    row_float, col_float = position[:, :1], position[:, 1:]
    scale_x, scale_y = scale
    dy = np.maximum(np.maximum(row - row_float, row_float - (row + 1)), 0) * scale_y
    dx = np.maximum(np.maximum(col - col_float, col_float - (col + 1)), 0) * scale_x
    return np.asarray(dx * dx + dy * dy)
