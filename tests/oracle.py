"""The slow, obvious way: whole images, plain loops, Python numbers.

Nothing here plans, cuts into tiles or looks at more than one pixel at a time. It shares
no code with the package; only the geotransform's four names.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def is_nodata(value: Any, nodata: Any, dtype: Any) -> bool:
    """Tells whether a pixel is nodata: NaN always, else equal as a value of the dtype.

    Nodata that an integer dtype cannot hold matches no pixel.
    """
    dtype = np.dtype(dtype)
    if dtype.kind == "f" and math.isnan(float(value)):
        return True
    if nodata is None or math.isnan(nodata):
        return False
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return bool(np.array(value, dtype) == np.array(nodata, dtype))
    if math.isinf(nodata) or int(nodata) != nodata:
        return False
    return int(value) == int(nodata)


def position(geotransform: Any, x: float, y: float) -> tuple[float, float]:
    """Gives (row_float, col_float): the offset from the outer corner over the pixel's size."""
    row_float = (float(y) - geotransform.origin_y) / geotransform.scale_y
    col_float = (float(x) - geotransform.origin_x) / geotransform.scale_x
    return row_float, col_float


def pixel_index(
    shape: tuple[int, int], geotransform: Any, x: float, y: float,
) -> tuple[int, int] | None:
    """Gives the (row, col) a point falls in: first edges are inside, last ones outside."""
    row_float, col_float = position(geotransform, x, y)
    if not (math.isfinite(row_float) and math.isfinite(col_float)):
        return None
    row, col = math.floor(row_float), math.floor(col_float)
    if row < 0 or col < 0 or row >= shape[0] or col >= shape[1]:
        return None
    return row, col


def ring(radius: int) -> list[tuple[int, int]]:
    """Gives the (row, col) steps of a ring in tie order: top, bottom, left, right."""
    top = [(-radius, col) for col in range(-radius, radius + 1)]
    bottom = [(radius, col) for col in range(-radius, radius + 1)]
    left = [(row, -radius) for row in range(1 - radius, radius)]
    right = [(row, radius) for row in range(1 - radius, radius)]
    return top + bottom + left + right


def squared_distance(
    geotransform: Any, row_float: float, col_float: float, row: int, col: int,
) -> float:
    """Gives the squared distance from a point to a pixel's rectangle, in CRS units."""
    down = max(row - row_float, row_float - (row + 1), 0.0) * abs(geotransform.scale_y)
    across = max(col - col_float, col_float - (col + 1), 0.0) * abs(geotransform.scale_x)
    return across * across + down * down


def fallback(
    pixels: np.ndarray, geotransform: Any, x: float, y: float, *,
    nodata: Any, max_distance_pixels: int,
) -> Any:
    """Gives the value a point gets where the search for a valid pixel is on.

    The pixel's own value where that is valid; else the nearest valid pixel of the first
    ring that has any; else the pixel's own nodata; None outside the image.
    """
    index = pixel_index(pixels.shape, geotransform, x, y)
    if index is None:
        return None
    own = pixels[index].item()
    if not is_nodata(pixels[index], nodata, pixels.dtype):
        return own
    row_float, col_float = position(geotransform, x, y)
    for radius in range(1, max_distance_pixels + 1):
        best, least = None, math.inf
        for row_step, col_step in ring(radius):
            row, col = index[0] + row_step, index[1] + col_step
            if not (0 <= row < pixels.shape[0] and 0 <= col < pixels.shape[1]):
                continue
            if is_nodata(pixels[row, col], nodata, pixels.dtype):
                continue
            distance = squared_distance(geotransform, row_float, col_float, row, col)
            if distance < least:
                best, least = pixels[row, col].item(), distance
        if best is not None:
            return best
    return own


def neighbourhood(
    pixels: np.ndarray, geotransform: Any, x: float, y: float, radius: int,
) -> list[float] | None:
    """Gives the (2 radius + 1)^2 values around a point's pixel, row by row.

    NaN outside the image; nodata pixels keep their value. None for a point outside.
    """
    index = pixel_index(pixels.shape, geotransform, x, y)
    if index is None:
        return None
    values = []
    for row in range(index[0] - radius, index[0] + radius + 1):
        for col in range(index[1] - radius, index[1] + radius + 1):
            inside = 0 <= row < pixels.shape[0] and 0 <= col < pixels.shape[1]
            values.append(float(pixels[row, col]) if inside else math.nan)
    return values
