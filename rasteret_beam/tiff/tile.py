"""Bytes of one tile -> array: all of it, or the rows that are wanted."""

from __future__ import annotations

import lzma
import struct
import zlib
from typing import TYPE_CHECKING, cast

import numpy as np
from isal import isal_zlib

from rasteret_beam.elements import DecodedTile
from rasteret_beam.errors import DecodeError
from rasteret_beam.tiff.compression import BYTE_DECODERS, PREFIX_DECODERS
from rasteret_beam.tiff.image_codecs import PIXEL_DECODERS, SWAPPED_PIXELS, sparse_value
from rasteret_beam.tiff.samples import (
    SWAPPED,
    bits_from_length,
    native_bits,
    pixel_shape,
    pixels_of,
    row_bytes,
)
from rasteret_beam.tiff.tags import Compression

if TYPE_CHECKING:
    from rasteret_beam.elements import TileLayout
    from rasteret_beam.tiff.compression import Buffer

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
            if layout.byte_order == SWAPPED and layout.compression in SWAPPED_PIXELS:
                pixels = pixels.byteswap()
            stored = pixels.reshape(pixel_shape(layout, layout.tile_height))
            kept, rows = _keep(stored, layout, rows)
        else:
            stored, bits, rows = _stored(data, layout, rows, skip)
            kept = pixels_of(stored, layout, bits)
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
        bits = native_bits(layout)
    of_row = row_bytes(layout, bits)
    if byte_count < layout.tile_height * of_row:
        return None
    first, last = int(rows[0]), int(rows[-1])
    return first * of_row, (last + 1 - first) * of_row


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
        bits = native_bits(layout) if bits is None else bits
        of_row = row_bytes(layout, bits)
        first = skip // of_row
        size = (int(rows[-1]) + 1 - first) * of_row
        return _by_row(decoder(data, size), size, of_row)[rows - first], bits, rows
    if rows is not None and bits is not None:
        of_row = row_bytes(layout, bits)
        prefix = _prefix(data, layout, (int(rows[-1]) + 1) * of_row, height * of_row)
        if prefix is not None:
            return _by_row(prefix, len(prefix), of_row)[rows], bits, rows
    size = layout.decoded_bytes if bits is None else height * row_bytes(layout, bits)
    raw = decoder(data, size)
    if bits is None:
        size = len(raw)
        bits = bits_from_length(size, layout)
    kept, rows = _keep(_by_row(raw, size, row_bytes(layout, bits)), layout, rows)
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


def _by_row(raw: Buffer, size: int, of_row: int) -> np.ndarray:
    """Views decoded bytes as uint8, shape (row, byte); bytes that fill no row are left out."""
    if len(raw) < size:
        msg = f"Tile decodes to {len(raw)} bytes, expected {size}"
        raise DecodeError(msg)
    return np.frombuffer(raw, np.uint8, size // of_row * of_row).reshape(-1, of_row)


def _keep(
    stored: np.ndarray, layout: TileLayout, rows: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Copies the wanted rows where they are few of many: less to undo, and less to hold."""
    small = stored.nbytes <= _SPARED_BYTES
    if rows is None or small or len(rows) > layout.tile_height * _FEW_ROWS:
        return stored, None
    return stored[rows], rows
