"""Undoing the TIFF predictors, in place."""

from __future__ import annotations

import imagecodecs
import numpy as np


def undo_horizontal(pixels: np.ndarray) -> None:
    """Undoes predictor 2 (TIFF 6.0, section 14) in place.

    Differences wrap around in the integer of the pixel's width, for floats too, as
    libtiff does.

    Args:
        pixels: Native byte order, shape (row, col, sample), C-contiguous.
    """
    bits = pixels.view(f"u{pixels.dtype.itemsize}")
    imagecodecs.delta_decode(bits, axis=-2, out=bits)


def undo_floating_point(encoded: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Undoes predictor 3 (TIFF technical note 3).

    The bytes of each row lie as byte planes, most significant first whatever the
    file's byte order.

    Args:
        encoded: uint8, shape (row, col, sample, itemsize), C-contiguous.
        dtype: Pixel type, native byte order.

    Returns:
        ``dtype``, shape (row, col, sample).
    """
    pixels = encoded.view(dtype)[..., 0]
    return np.asarray(imagecodecs.floatpred_decode(np.ascontiguousarray(pixels), axis=-2))
