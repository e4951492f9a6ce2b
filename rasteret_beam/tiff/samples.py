"""Rows of a tile as they are stored -> pixels: bits, byte order, predictors."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np

from rasteret_beam.errors import DecodeError
from rasteret_beam.tiff import predictor
from rasteret_beam.tiff.compression import PREDICTABLE
from rasteret_beam.tiff.tags import Predictor

if TYPE_CHECKING:
    from rasteret_beam.elements import TileLayout

NATIVE, SWAPPED = ("<", ">") if sys.byteorder == "little" else (">", "<")
"""Byte orders: this machine's and the other."""

_WHOLE_BITS = (8, 16, 32, 64)
_SWAPPED_PACKED_BITS = 24


def pixels_of(stored: np.ndarray, layout: TileLayout, bits: int) -> np.ndarray:
    """Turns rows as they were written into pixels.

    Args:
        stored: uint8, shape (row, byte), decompressed.
        layout: How they are stored.
        bits: Bits of a sample.

    Returns:
        ``layout.dtype`` in native byte order, shape (row, col, sample).

    Raises:
        DecodeError: No such pixels have so many bits.
    """
    dtype = np.dtype(layout.dtype)
    shape = pixel_shape(layout, len(stored))
    if bits not in _WHOLE_BITS:
        return _unpack_bits(stored, layout, bits).reshape(shape)
    if layout.predictor == Predictor.FLOATING_POINT and layout.compression in PREDICTABLE:
        return predictor.undo_floating_point(stored.reshape(*shape, dtype.itemsize), dtype)
    order: Any = layout.byte_order or NATIVE
    pixels = stored.view(dtype.newbyteorder(order)).reshape(shape)
    if not pixels.dtype.isnative:
        pixels = pixels.astype(dtype)
    if layout.predictor == Predictor.HORIZONTAL and layout.compression in PREDICTABLE:
        pixels = pixels if pixels.flags.writeable else pixels.copy()
        predictor.undo_horizontal(pixels)
    return pixels


def pixel_shape(layout: TileLayout, rows: int) -> tuple[int, int, int]:
    """Gives the shape of so many rows: (row, col, sample)."""
    return rows, layout.tile_width, layout.samples


def native_bits(layout: TileLayout) -> int:
    """Gives the bits of a sample that fills its type."""
    return np.dtype(layout.dtype).itemsize * 8


def row_bytes(layout: TileLayout, bits: int) -> int:
    """Gives the bytes of a stored row: samples are packed, rows begin with a byte."""
    return -(-layout.tile_width * layout.samples * bits // 8)


def bits_from_length(length: int, layout: TileLayout) -> int:
    """Finds the bits per sample of an index that does not tell, from the decoded size.

    Raises:
        DecodeError: No number of bits gives that size.
    """
    of_row, rest = divmod(length, layout.tile_height)
    bits = of_row * 8 // (layout.tile_width * layout.samples)
    if rest or not bits or row_bytes(layout, bits) != of_row:
        msg = f"Tile decodes to {length} bytes, expected {layout.decoded_bytes}"
        raise DecodeError(msg)
    return bits


def _unpack_bits(stored: np.ndarray, layout: TileLayout, bits: int) -> np.ndarray:
    """Unpacks samples that do not fill whole bytes: most significant bit first, rows padded."""
    dtype = np.dtype(layout.dtype)
    run = layout.tile_width * layout.samples
    if dtype.kind == "f" or bits > dtype.itemsize * 8:
        msg = f"{bits} bits a sample do not make a {layout.dtype}"
        raise DecodeError(msg)
    if bits == _SWAPPED_PACKED_BITS and layout.byte_order == ">":
        # GDAL and libtiff store 24-bit samples of a big-endian file byte-swapped.
        stored = stored.reshape(len(stored), -1, 3)[..., ::-1].reshape(len(stored), -1)
    unsigned = np.dtype(f"u{dtype.itemsize}")
    if bits <= 32 and bits != _SWAPPED_PACKED_BITS:  # noqa: PLR2004 -- what imagecodecs unpacks
        pixels = imagecodecs.packints_decode(stored.tobytes(), unsigned, bits, runlen=run)
    else:
        ones = np.unpackbits(stored, axis=1)[:, : run * bits].reshape(-1, bits)
        wide = np.zeros((len(ones), 64), np.uint8)
        wide[:, 64 - bits :] = ones
        pixels = np.packbits(wide, axis=1).view(">u8").astype(unsigned)
    if dtype.kind == "i":
        spare = dtype.itemsize * 8 - bits
        return (np.asarray(pixels).reshape(-1) << spare).view(dtype) >> spare
    return np.asarray(pixels)
