"""Bytes of one tile -> array: all of it, or the rows that are wanted."""

from __future__ import annotations

import lzma
import struct
import sys
import zlib
from typing import TYPE_CHECKING, Any, cast

import imagecodecs
import numpy as np
from isal import isal_zlib

from rasteret_beam.elements import DecodedTile
from rasteret_beam.errors import DecodeError
from rasteret_beam.tiff import predictor
from rasteret_beam.tiff.compression import (
    BYTE_DECODERS,
    PIXEL_DECODERS,
    PREDICTABLE,
    PREFIX_DECODERS,
    SWAPPED_PIXELS,
    sparse_value,
)
from rasteret_beam.tiff.tags import Compression, Predictor

if TYPE_CHECKING:
    from rasteret_beam.elements import TileLayout
    from rasteret_beam.tiff.compression import Buffer

_NATIVE, _SWAPPED = ("<", ">") if sys.byteorder == "little" else (">", "<")
_WHOLE_BITS = (8, 16, 32, 64)
_SWAPPED_PACKED_BITS = 24
# What imagecodecs, isal, Arrow (OSError), zlib and numpy raise on broken streams.
# imagecodecs' own errors derive from RuntimeError; a mismatch with the output buffer is
# a ValueError. The stub of isal takes its class for an instance.
_STREAM_ERRORS = (
    RuntimeError, ValueError, TypeError, IndexError, OverflowError, EOFError, OSError,
    MemoryError, struct.error, zlib.error, lzma.LZMAError,
    cast("type[Exception]", isal_zlib.error),
)  # fmt: skip
_SPARED_SHARE = 1 / 8
_SPARED_BYTES = 32768
"""A prefix is decoded where it spares so much of the tile: decoders that can stop are up to
a sixth slower a byte than those of whole tiles, and work ahead by a buffer or a block."""

_FEW_ROWS = 1 / 2
"""Up to this share of a tile's rows, wanted ones are copied out of a whole tile."""


def decode_tile(data: bytes | memoryview, layout: TileLayout) -> np.ndarray:
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
    return decode_rows(data, layout, None).pixels


def decode_rows(
    data: bytes | memoryview,
    layout: TileLayout,
    rows: np.ndarray | None,
    skip: int | None = None,
) -> DecodedTile:
    """Decodes the wanted rows of a stored tile, or all of them where that costs no more.

    Where a stream can be left early it is, behind the last wanted row. It must go on
    there by a byte at least; what else is wrong behind it (a cut, a bad checksum, too
    many bytes) is not seen. So whatever ``decode_tile`` gives, this gives too; and it
    gives rows of some tiles that ``decode_tile`` refuses.

    Args:
        data: The tile's bytes, whole; or what ``stored_rows`` says of them.
        layout: How the tile is stored.
        rows: int64, shape (n_rows,), at least one, ascending, distinct; None for all.
        skip: Where ``data`` begins in the tile, as ``stored_rows`` says; None where
            it is whole.

    Returns:
        The pixels of exactly the wanted rows, copied; or of all the tile's rows.

    Raises:
        DecodeError: As ``decode_tile``, for the part that is decoded.
    """
    if rows is not None and len(rows) == layout.tile_height:
        rows = None
    try:
        if layout.compression in PIXEL_DECODERS:
            pixels = np.asarray(PIXEL_DECODERS[layout.compression](bytes(data), layout))
            if layout.byte_order == _SWAPPED and layout.compression in SWAPPED_PIXELS:
                pixels = pixels.byteswap()
            stored = pixels.reshape(_shape(layout, layout.tile_height))
            kept, rows = _keep(stored, layout, rows)
        else:
            stored, bits, rows = _stored(data, layout, rows, skip)
            kept = _pixels(stored, layout, bits)
    except DecodeError:
        raise
    except _STREAM_ERRORS as error:
        msg = f"{type(error).__name__}: {error}"
        raise DecodeError(msg) from error
    return DecodedTile(np.moveaxis(kept, -1, 0), rows)


def stored_rows(
    layout: TileLayout, byte_count: int, rows: np.ndarray,
) -> tuple[int, int] | None:
    """Finds the bytes of a stored tile that hold its rows from the first to the last wanted.

    Args:
        layout: How the tile is stored.
        byte_count: Size of the stored tile, in bytes.
        rows: int64, shape (n_rows,), at least one, ascending.

    Returns:
        Bytes to skip and bytes to read, for ``decode_rows``. None where that cannot be
        told without reading the tile: it is compressed, shorter than its rows, or may
        hold samples of any number of bits.
    """
    if layout.compression != Compression.NONE:
        return None
    bits = layout.bits_per_sample
    if bits is None:
        if byte_count != layout.decoded_bytes:
            return None
        bits = _own_bits(layout)
    row_bytes = _row_bytes(layout, bits)
    if byte_count < layout.tile_height * row_bytes:
        return None
    first, last = int(rows[0]), int(rows[-1])
    return first * row_bytes, (last + 1 - first) * row_bytes


def sparse_tile(layout: TileLayout) -> np.ndarray:
    """Gives the pixels of a tile that has no bytes, as GDAL reads it.

    Returns:
        ``layout.dtype``, shape (sample, row, col), read-only: nodata, or 0 without one.
    """
    shape = (layout.samples, layout.tile_height, layout.tile_width)
    with np.errstate(over="ignore"):  # a nodata beyond the floats of the file
        value = np.array(sparse_value(layout), layout.dtype)
    return np.broadcast_to(value, shape)


def _stored(
    data: bytes | memoryview, layout: TileLayout, rows: np.ndarray | None, skip: int | None,
) -> tuple[np.ndarray, int, np.ndarray | None]:
    """Decompresses: uint8, shape (row, byte), the bits of a sample, and which rows they are."""
    decoder = BYTE_DECODERS.get(layout.compression)
    if decoder is None:
        msg = f"Unsupported TIFF compression: {layout.compression}"
        raise DecodeError(msg)
    bits, height = layout.bits_per_sample, layout.tile_height
    if rows is not None and skip is not None:
        bits = _own_bits(layout) if bits is None else bits
        row_bytes = _row_bytes(layout, bits)
        first = skip // row_bytes
        size = (int(rows[-1]) + 1 - first) * row_bytes
        return _by_row(decoder(data, size), size, row_bytes)[rows - first], bits, rows
    if rows is not None and bits is not None:
        row_bytes = _row_bytes(layout, bits)
        prefix = _prefix(data, layout, (int(rows[-1]) + 1) * row_bytes, height * row_bytes)
        if prefix is not None:
            return _by_row(prefix, len(prefix), row_bytes)[rows], bits, rows
    size = layout.decoded_bytes if bits is None else height * _row_bytes(layout, bits)
    raw = decoder(data, size)
    if bits is None:
        size = len(raw)
        bits = _bits_from_length(size, layout)
    kept, rows = _keep(_by_row(raw, size, _row_bytes(layout, bits)), layout, rows)
    return kept, bits, rows


def _prefix(
    data: bytes | memoryview, layout: TileLayout, size: int, whole_size: int,
) -> Buffer | None:
    """Decompresses ``size`` bytes and one more, which tells that the stream goes on there.

    None where that spares too little or fails: decoding the whole tells what is wrong.
    """
    decoder = PREFIX_DECODERS.get(layout.compression)
    if decoder is None or whole_size - size < max(whole_size * _SPARED_SHARE, _SPARED_BYTES):
        return None
    try:
        raw = decoder(data, size + 1, whole_size)
    except _STREAM_ERRORS:
        return None
    return raw if len(raw) > size else None


def _by_row(raw: Buffer, size: int, row_bytes: int) -> np.ndarray:
    """Views decoded bytes as uint8, shape (row, byte); bytes that fill no row are left out."""
    if len(raw) < size:
        msg = f"Tile decodes to {len(raw)} bytes, expected {size}"
        raise DecodeError(msg)
    return np.frombuffer(raw, np.uint8, size // row_bytes * row_bytes).reshape(-1, row_bytes)


def _keep(
    stored: np.ndarray, layout: TileLayout, rows: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Copies the wanted rows where they are few of many: less to undo, and less to hold."""
    small = stored.nbytes <= _SPARED_BYTES
    if rows is None or small or len(rows) > layout.tile_height * _FEW_ROWS:
        return stored, None
    return stored[rows], rows


def _pixels(stored: np.ndarray, layout: TileLayout, bits: int) -> np.ndarray:
    """Turns rows as they were written, uint8 (row, byte), into pixels (row, col, sample)."""
    dtype = np.dtype(layout.dtype)
    shape = _shape(layout, len(stored))
    if bits not in _WHOLE_BITS:
        return _unpack_bits(stored, layout, bits).reshape(shape)
    if layout.predictor == Predictor.FLOATING_POINT and layout.compression in PREDICTABLE:
        return predictor.undo_floating_point(stored.reshape(*shape, dtype.itemsize), dtype)
    order: Any = layout.byte_order or _NATIVE
    pixels = stored.view(dtype.newbyteorder(order)).reshape(shape)
    if not pixels.dtype.isnative:
        pixels = pixels.astype(dtype)
    if layout.predictor == Predictor.HORIZONTAL and layout.compression in PREDICTABLE:
        pixels = pixels if pixels.flags.writeable else pixels.copy()
        predictor.undo_horizontal(pixels)
    return pixels


def _shape(layout: TileLayout, rows: int) -> tuple[int, int, int]:
    return rows, layout.tile_width, layout.samples


def _own_bits(layout: TileLayout) -> int:
    return np.dtype(layout.dtype).itemsize * 8


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
