"""Bytes of one tile -> array."""

from __future__ import annotations

import lzma
import struct
import sys
import zlib
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np

from rasteret_beam.errors import DecodeError
from rasteret_beam.tiff import predictor
from rasteret_beam.tiff.compression import (
    BYTE_DECODERS,
    PIXEL_DECODERS,
    PREDICTABLE,
    sparse_value,
)
from rasteret_beam.tiff.tags import Predictor

if TYPE_CHECKING:
    from rasteret_beam.elements import TileLayout

_NATIVE = "<" if sys.byteorder == "little" else ">"
_WHOLE_BITS = (8, 16, 32, 64)
_SWAPPED_PACKED_BITS = 24
# What imagecodecs, zlib and numpy raise on broken streams. imagecodecs' own errors
# derive from RuntimeError; a mismatch with the output buffer is a ValueError.
_STREAM_ERRORS = (
    RuntimeError, ValueError, TypeError, IndexError, OverflowError, EOFError,
    MemoryError, struct.error, zlib.error, lzma.LZMAError,
)  # fmt: skip


def decode_tile(data: bytes, layout: TileLayout) -> np.ndarray:
    """Decodes one stored tile.

    Masks and alpha are not applied, scale and offset neither (rasteret's rule): the
    values are those the writer put in.

    Args:
        data: The tile's bytes, whole.
        layout: How the tile is stored.

    Returns:
        ``layout.dtype`` in native byte order, shape (sample, row, col); a view, edge
        tiles with their padding.

    Raises:
        DecodeError: The bytes do not give the promised pixels, or would give more than
            the codec lets be cut off.
    """
    try:
        if layout.compression in PIXEL_DECODERS:
            pixels = PIXEL_DECODERS[layout.compression](data, layout)
        else:
            pixels = _decode_bytes(data, layout)
    except DecodeError:
        raise
    except _STREAM_ERRORS as error:
        msg = f"{type(error).__name__}: {error}"
        raise DecodeError(msg) from error
    shape = (layout.tile_height, layout.tile_width, layout.samples)
    return np.moveaxis(np.asarray(pixels).reshape(shape), -1, 0)


def sparse_tile(layout: TileLayout) -> np.ndarray:
    """Gives the pixels of a tile that has no bytes, as GDAL reads it.

    Returns:
        ``layout.dtype``, shape (sample, row, col), read-only: nodata, or 0 without one.
    """
    shape = (layout.samples, layout.tile_height, layout.tile_width)
    return np.broadcast_to(np.array(sparse_value(layout), layout.dtype), shape)


def _decode_bytes(data: bytes, layout: TileLayout) -> np.ndarray:
    decoder = BYTE_DECODERS.get(layout.compression)
    if decoder is None:
        msg = f"Unsupported TIFF compression: {layout.compression}"
        raise DecodeError(msg)
    dtype = np.dtype(layout.dtype)
    shape = (layout.tile_height, layout.tile_width, layout.samples)
    bits = layout.bits_per_sample
    size = layout.decoded_bytes if bits is None else shape[0] * _row_bytes(layout, bits)
    raw = decoder(data, size)
    if bits is None:
        bits = _bits_from_length(len(raw), layout)
    elif len(raw) < size:
        msg = f"Tile decodes to {len(raw)} bytes, expected {size}"
        raise DecodeError(msg)
    if bits not in _WHOLE_BITS:
        return _unpack_bits(raw, layout, bits).reshape(shape)
    if layout.predictor == Predictor.FLOATING_POINT and layout.compression in PREDICTABLE:
        encoded = np.frombuffer(raw, np.uint8).reshape(*shape, dtype.itemsize)
        return predictor.undo_floating_point(encoded, dtype)
    order: Any = layout.byte_order or _NATIVE
    pixels = np.frombuffer(raw, dtype.newbyteorder(order)).reshape(shape)
    if not pixels.dtype.isnative:
        pixels = pixels.astype(dtype)
    if layout.predictor == Predictor.HORIZONTAL and layout.compression in PREDICTABLE:
        pixels = pixels if pixels.flags.writeable else pixels.copy()
        predictor.undo_horizontal(pixels)
    return pixels


def _row_bytes(layout: TileLayout, bits: int) -> int:
    return -(-layout.tile_width * layout.samples * bits // 8)


def _bits_from_length(length: int, layout: TileLayout) -> int:
    """Finds the bits per sample of an index that does not tell, from the decoded size."""
    row_bytes, rest = divmod(length, layout.tile_height)
    bits = row_bytes * 8 // (layout.tile_width * layout.samples)
    if rest or not bits or _row_bytes(layout, bits) != row_bytes:
        msg = f"Tile decodes to {length} bytes, expected {layout.decoded_bytes}"
        raise DecodeError(msg)
    return bits


def _unpack_bits(raw: bytes | bytearray | memoryview, layout: TileLayout, bits: int) -> np.ndarray:
    """Unpacks samples that do not fill whole bytes: most significant bit first, rows padded."""
    dtype = np.dtype(layout.dtype)
    run = layout.tile_width * layout.samples
    if dtype.kind == "f" or bits > dtype.itemsize * 8:
        msg = f"{bits} bits a sample do not make a {layout.dtype}"
        raise DecodeError(msg)
    if bits == _SWAPPED_PACKED_BITS and layout.byte_order == ">":
        # GDAL and libtiff store 24-bit samples of a big-endian file byte-swapped.
        raw = np.frombuffer(raw, np.uint8).reshape(-1, 3)[:, ::-1].tobytes()
    unsigned = np.dtype(f"u{dtype.itemsize}")
    if bits <= 32 and bits != _SWAPPED_PACKED_BITS:  # noqa: PLR2004 -- what imagecodecs unpacks
        pixels = imagecodecs.packints_decode(bytes(raw), unsigned, bits, runlen=run)
    else:
        ones = np.unpackbits(np.frombuffer(raw, np.uint8).reshape(layout.tile_height, -1), axis=1)
        ones = ones[:, : run * bits].reshape(-1, bits)
        wide = np.zeros((len(ones), 64), np.uint8)
        wide[:, 64 - bits :] = ones
        pixels = np.packbits(wide, axis=1).view(">u8").astype(unsigned)
    if dtype.kind == "i":
        spare = dtype.itemsize * 8 - bits
        return (np.asarray(pixels).reshape(-1) << spare).view(dtype) >> spare
    return np.asarray(pixels)
