"""Undoing the TIFF predictors, in place."""

from __future__ import annotations

import imagecodecs
import numpy as np

_CACHED_BYTES = 65536


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
    rows, _, samples, planes = encoded.shape
    bits = np.empty((rows, encoded[0, :, :, 0].size), f"u{planes}")
    # A few rows at a time, which stay in the cache: four times as fast as all at once.
    step = max(_CACHED_BYTES // encoded[0].size, 1)
    for top in range(0, rows, step):
        deltas = encoded[top : top + step].reshape(-1, encoded[0].size // samples, samples)
        sums = imagecodecs.delta_decode(deltas, axis=1).reshape(len(deltas), planes, -1)
        out = bits[top : top + step]
        out[...] = sums[:, 0]
        for plane in range(1, planes):
            out <<= 8
            out |= sums[:, plane]
    return bits.view(dtype).reshape(encoded.shape[:3])
