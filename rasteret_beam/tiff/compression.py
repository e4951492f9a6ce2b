"""Tile bytes -> the bytes a writer put in, by the compression tag.

Every decoder writes into a buffer of the size that the header promises, so a stream
that would grow beyond it fails (or is cut, where libtiff cuts) before it takes memory.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
import pyarrow as pa
from isal import isal_zlib

from rasteret_beam.tiff import lzw
from rasteret_beam.tiff.tags import Compression

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Stored = bytes | memoryview
    Buffer = bytes | memoryview | np.ndarray
    ByteDecoder = Callable[[Stored, int], Buffer]
    PrefixDecoder = Callable[[Stored, int, int], Buffer]


def _fill(decode: Callable[..., Any], data: Stored, size: int) -> Buffer:
    # Not into a bytearray: to clear it costs up to a fifth of the decoding.
    return decode(data, out=np.empty(size, np.uint8))


def _copy(data: Stored, size: int) -> Buffer:
    return memoryview(data)[:size]


def _deflate(data: Stored, size: int) -> Buffer:
    try:
        return _fill(imagecodecs.deflate_decode, data, size)
    except imagecodecs.DeflateError:
        # libdeflate takes a stream whole or not at all. libtiff takes the first `size`
        # bytes of a longer one, and so does this; a broken stream still raises.
        return zlib.decompressobj().decompress(data, size + 1)[:size]


def _deflate_prefix(data: Stored, size: int, whole_size: int) -> Buffer:
    inflater, stream = isal_zlib.decompressobj(), memoryview(data)
    parts: list[bytes] = []
    # ISA-L decodes up to 64 kB ahead of what it is asked for, and copies the input that
    # it leaves: so it is given little more than it should need.
    start, piece = 0, len(stream) * size * 9 // (whole_size * 8) + 512
    while size > 0 and start < len(stream) and not inflater.eof:
        parts.append(inflater.decompress(stream[start : start + piece], size))
        size -= len(parts[-1])
        start, piece = start + piece, 2 * piece
    return b"".join(parts)


def _lzw_prefix(data: Stored, size: int, _whole_size: int) -> Buffer:
    return lzw.decode(data, size)


def _zstd(data: Stored, size: int) -> Buffer:
    return _fill(imagecodecs.zstd_decode, data, size)


def _zstd_prefix(data: Stored, size: int, _whole_size: int) -> Buffer:
    return pa.CompressedInputStream(pa.BufferReader(data), "zstd").read(size)


def _lzma(data: Stored, size: int) -> Buffer:
    return _fill(imagecodecs.lzma_decode, data, size)


def _lzma_prefix(data: Stored, size: int, _whole_size: int) -> Buffer:
    return _lzma(data, size)


def _packbits(data: Stored, size: int) -> Buffer:
    return _fill(imagecodecs.packbits_decode, data, size)


BYTE_DECODERS: Mapping[int, ByteDecoder] = {
    Compression.NONE: _copy,
    Compression.LZW: lzw.decode,
    Compression.ADOBE_DEFLATE: _deflate,
    Compression.DEFLATE: _deflate,
    Compression.PACKBITS: _packbits,
    Compression.LZMA: _lzma,
    Compression.ZSTD: _zstd,
}
"""Codecs that give back the bytes a writer put in; predictors and byte order follow."""

PREFIX_DECODERS: Mapping[int, PrefixDecoder] = {
    Compression.LZW: _lzw_prefix,
    Compression.ADOBE_DEFLATE: _deflate_prefix,
    Compression.DEFLATE: _deflate_prefix,
    Compression.LZMA: _lzma_prefix,
    Compression.ZSTD: _zstd_prefix,
}
"""Those that can stop: (stream, bytes wanted, bytes it holds) -> the first bytes, in time
that grows with them. Fewer come where the stream ends before."""

PREDICTABLE = frozenset(
    {
        Compression.LZW,
        Compression.ADOBE_DEFLATE,
        Compression.DEFLATE,
        Compression.LZMA,
        Compression.ZSTD,
    },
)
"""Codecs that heed the predictor tag, as in libtiff."""
