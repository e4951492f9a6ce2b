"""Which pixels hold no data."""

from __future__ import annotations

import numpy as np


def may_be_nodata(dtype: np.dtype, nodata: float | None) -> bool:
    """Tells whether pixels of a type can be nodata at all."""
    return nodata is not None or dtype.kind == "f"


def is_nodata(values: np.ndarray, nodata: float | None) -> np.ndarray:
    """Tells which pixels are nodata. NaN always is.

    Compared in the file's own type: a float32 file's 0.1 is nodata 0.1. (rasteret
    compares in float64, where it is not.) A 64-bit
    integer is compared exactly where nodata is known exactly, as an int.

    Args:
        values: Pixels, any shape, the file's dtype.
        nodata: The declared nodata value, or None.

    Returns:
        bool, same shape.

    >>> is_nodata(np.array([0.1, np.nan, 1.0], np.float32), 0.1)
    array([ True,  True, False])
    """
    kind = values.dtype.kind
    missing = np.isnan(values) if kind == "f" else np.zeros(values.shape, bool)
    if nodata is None or nodata != nodata:  # noqa: PLR0124 -- NaN
        return np.asarray(missing)
    if kind == "f":
        with np.errstate(over="ignore"):
            own = values.dtype.type(nodata)
        # A nodata beyond the type's range must not make infinite pixels nodata.
        if np.isinf(own) and not np.isinf(nodata):
            return np.asarray(missing)
        return np.asarray(missing | (values == own))
    if isinstance(nodata, int):
        info = np.iinfo(values.dtype)
        return values == nodata if info.min <= nodata <= info.max else missing
    return np.asarray(values.astype(np.float64) == nodata)
