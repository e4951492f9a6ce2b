"""World <-> pixel, for axis-aligned grids."""

from __future__ import annotations

import numpy as np

from rasteret_beam.elements import Geotransform
from rasteret_beam.errors import RecordError


def world_to_pixel(
    transform: Geotransform, x: np.ndarray, y: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Gives the position of world coordinates on the pixel grid.

    Divides by the pixel size rather than multiplying by the inverse affine, as rasteret
    does: on degree grids the two differ for points exactly on a pixel's edge.

    Args:
        transform: The grid's geotransform.
        x: float64, shape (n_points,), CRS units.
        y: float64, shape (n_points,), CRS units.

    Returns:
        (row_float, col_float), float64, shape (n_points,), in pixels; (0, 0) is the
        outer corner of the first pixel. Not finite where the coordinates are not.

    >>> t = Geotransform(scale_x=10.0, origin_x=500.0, scale_y=-10.0, origin_y=900.0)
    >>> world_to_pixel(t, np.array([515.0]), np.array([880.0]))
    (array([2.]), array([1.5]))
    """
    with np.errstate(all="ignore"):
        row_float = (np.asarray(y, np.float64) - transform.origin_y) / transform.scale_y
        col_float = (np.asarray(x, np.float64) - transform.origin_x) / transform.scale_x
    return row_float, col_float


def inside(row_float: np.ndarray, col_float: np.ndarray, height: int, width: int) -> np.ndarray:
    """Tells which positions lie on a pixel of the image.

    The first row and column's outer edges belong to the image, the last ones' do not
    (rasterio's and rasteret's rule). NaN and infinity are outside.

    Args:
        row_float: float64, shape (n_points,), in pixels.
        col_float: float64, shape (n_points,), in pixels.
        height: Rows of the image.
        width: Columns of the image.

    Returns:
        bool, shape (n_points,).
    """
    with np.errstate(invalid="ignore"):
        rows = (row_float >= 0) & (row_float < height)
        return np.asarray(rows & (col_float >= 0) & (col_float < width))


def from_coefficients(coefficients: object) -> Geotransform:
    """Reads the two spellings of a geotransform that collections carry.

    Args:
        coefficients: Four numbers (scale_x, origin_x, scale_y, origin_y) as rasteret
            writes, or six (a, b, c, d, e, f) in rasterio's Affine order.

    Returns:
        The geotransform.

    Raises:
        RecordError: Missing, of another length, not finite, of scale 0, or rotated.

    >>> from_coefficients([10.0, 0.0, 500.0, 0.0, -10.0, 900.0])
    Geotransform(scale_x=10.0, origin_x=500.0, scale_y=-10.0, origin_y=900.0)
    """
    if coefficients is None:
        msg = "Transform is missing; expected 4 or 6 numbers"
        raise RecordError(msg)
    try:
        values = [float(v) for v in coefficients]  # type: ignore[attr-defined]
    except (TypeError, ValueError) as error:
        msg = f"Transform must be a list of 4 or 6 numbers, got {coefficients!r}"
        raise RecordError(msg) from error
    if len(values) == 6:  # noqa: PLR2004 -- the length is the format
        a, b, c, d, e, f = values
        if not (np.isclose(b, 0) and np.isclose(d, 0)):
            msg = f"Rotated/sheared affine transforms are not supported (b={b}, d={d})"
            raise RecordError(msg)
        values = [a, c, e, f]
    if len(values) != 4:  # noqa: PLR2004
        msg = f"Transform must have 4 or 6 values, got {len(values)}: {values}"
        raise RecordError(msg)
    transform = Geotransform(*values)
    problem = fault(transform)
    if problem:
        raise RecordError(problem)
    return transform


def fault(transform: Geotransform) -> str | None:
    """Names what makes a geotransform unusable, or gives None."""
    numbers = (transform.scale_x, transform.origin_x, transform.scale_y, transform.origin_y)
    if not np.isfinite(numbers).all():
        return f"Transform has a number that is not finite: {transform}"
    if transform.scale_x == 0 or transform.scale_y == 0:
        return f"Transform has a pixel size of 0: {transform}"
    return None
