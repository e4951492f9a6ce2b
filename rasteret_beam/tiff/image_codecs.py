"""Tile bytes -> pixels, of the compressions that know what pixels are.

As in ``compression`` every decoder is held to the size that the header promises.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np

from rasteret_beam.errors import DecodeError
from rasteret_beam.tiff.compression import BYTE_DECODERS
from rasteret_beam.tiff.tags import Compression, ExtraSample, Photometric

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rasteret_beam.elements import TileLayout

    PixelDecoder = Callable[[bytes, TileLayout], np.ndarray]


def _empty(layout: TileLayout, samples: int) -> np.ndarray:
    shape: tuple[int, ...] = (layout.tile_height, layout.tile_width)
    return np.empty(shape if samples == 1 else (*shape, samples), layout.dtype)


def _jpeg(data: bytes, layout: TileLayout) -> np.ndarray:
    colour: dict[str, Any] = {}
    if layout.samples == 3:  # noqa: PLR2004 -- three components may be YCbCr inside
        inside = "YCBCR" if layout.photometric == Photometric.YCBCR else "RGB"
        colour = {"colorspace": inside, "outcolorspace": "RGB"}
    elif layout.samples == 4:  # noqa: PLR2004 -- four are stored as they are
        colour = {"colorspace": "CMYK", "outcolorspace": "CMYK"}
    out = _empty(layout, layout.samples)
    return imagecodecs.jpeg8_decode(data, tables=layout.jpeg_tables, out=out, **colour)


def _webp(data: bytes, layout: TileLayout) -> np.ndarray:
    try:
        return imagecodecs.webp_decode(data, out=_empty(layout, layout.samples))
    except ValueError:
        # An opaque tile of an RGBA file may be stored without its alpha, and
        # libwebp hands out alpha for some RGB tiles.
        other = 7 - layout.samples
        pixels = imagecodecs.webp_decode(data, out=_empty(layout, other))
        opaque = np.full((*pixels.shape[:2], 1), 255, pixels.dtype)
        return np.concatenate([pixels[..., :3], opaque], axis=-1)[..., : layout.samples]


def _jpeg_xl(data: bytes, layout: TileLayout) -> np.ndarray:
    return imagecodecs.jpegxl_decode(data, out=_empty(layout, layout.samples))


def _jpeg_2000(data: bytes, layout: TileLayout) -> np.ndarray:
    # OpenJPEG allocates what the codestream declares before it can be held to `out`,
    # so its SIZ marker (ISO 15444-1, A.5.1) is checked first.
    at = _codestream_start(data)
    if data[at : at + 4] != _SOC_SIZ or len(data) < at + 24:
        msg = "JPEG 2000 tile without a SIZ marker"
        raise DecodeError(msg)
    right, bottom, left, top = struct.unpack_from(">4I", data, at + 8)
    if (bottom - top, right - left) != (layout.tile_height, layout.tile_width):
        msg = (
            f"JPEG 2000 tile of {right - left} x {bottom - top} pixels, expected "
            f"{layout.tile_width} x {layout.tile_height}"
        )
        raise DecodeError(msg)
    return imagecodecs.jpeg2k_decode(data, out=_empty(layout, layout.samples))


def _codestream_start(data: bytes) -> int:
    """Where the codestream begins: at once, or in the first jp2c box (ISO 15444-1, annex I)."""
    if data.startswith(_SOC_SIZ):
        return 0
    at = 0
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        header = 8
        if length == 1 and at + 16 <= len(data):
            (length,), header = struct.unpack_from(">Q", data, at + 8), 16
        if kind == b"jp2c":
            return at + header
        if length < header:
            break
        at += length
    return len(data)


_SOC_SIZ = b"\xff\x4f\xff\x51"
_LERC_MAGICS = (b"Lerc2 ", b"CntZImage ")
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


def _lerc(data: bytes, layout: TileLayout) -> np.ndarray:
    """LERC, plain or inside Deflate or ZSTD; masked pixels are NaN, nodata, or 0."""
    if not data.startswith(_LERC_MAGICS):
        # Room for a LERC blob that did not compress at all, and its mask.
        size = 2 * layout.decoded_bytes + 65536
        codec = Compression.ZSTD if data.startswith(_ZSTD_MAGIC) else Compression.DEFLATE
        data = bytes(BYTE_DECODERS[codec](data, size))
    depth, bands = _lerc_shape(data, layout)
    if (depth, bands) == (layout.samples, 1):
        pixels, valid = _lerc_blob(data, _empty(layout, layout.samples))
    elif (depth, bands) == (1, layout.samples):
        # libtiff stores chunky floats band by band where their masks differ.
        shape = (bands, layout.tile_height, layout.tile_width)
        pixels, valid = _lerc_blob(data, np.empty(shape, layout.dtype))
        pixels = np.moveaxis(pixels, 0, -1)
        valid = valid if valid is None or valid.ndim < pixels.ndim else np.moveaxis(valid, 0, -1)
    elif (depth, bands) == (layout.samples - 1, 1) and _ends_in_alpha(layout):
        # libtiff drops an alpha of 0 and 255: the mask tells the same.
        pixels, valid = _lerc_blob(data, _empty(layout, depth))
        opaque = np.ones(pixels.shape[:2], bool) if valid is None else valid
        return np.dstack([pixels, np.where(opaque, 255, 0).astype(np.uint8)])
    else:
        msg = f"LERC tile of {bands} x {depth} samples, expected {layout.samples}"
        raise DecodeError(msg)
    if valid is None:
        return pixels
    if valid.ndim < pixels.ndim:
        valid = np.broadcast_to(valid[..., np.newaxis], pixels.shape)
    return np.where(valid, pixels, np.array(masked_value(layout), layout.dtype))


def _ends_in_alpha(layout: TileLayout) -> bool:
    last = layout.extra_samples[-1:]
    return layout.dtype == "uint8" and last == (ExtraSample.UNASSOCIATED_ALPHA,)


def _lerc_blob(data: bytes, out: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Pixels, and where they are valid (None: everywhere)."""
    decoded: Any = imagecodecs.lerc_decode(data, masks=True, out=out)
    pixels, masks = decoded
    return np.asarray(pixels), None if masks is None else np.asarray(masks, bool)


def _lerc_shape(data: bytes, layout: TileLayout) -> tuple[int, int]:
    """Samples a pixel and number of bands of a LERC stream, by its blobs' headers.

    Lerc2: key, version, a checksum since version 3, rows, columns, samples a pixel since
    version 4, valid pixels, block size, bytes of the blob. Bands are blobs in a row.
    """
    if not data.startswith(b"Lerc2 "):
        return 1, 1
    depth, bands, at = 1, 0, 0
    while data[at : at + 6] == b"Lerc2 ":
        (version,) = struct.unpack_from("<i", data, at + 6)
        fields = at + (14 if version >= 3 else 10)  # noqa: PLR2004 -- versions as above
        rows, cols = struct.unpack_from("<2i", data, fields)
        if (rows, cols) != (layout.tile_height, layout.tile_width):
            msg = (
                f"LERC tile of {cols} x {rows} pixels, expected "
                f"{layout.tile_width} x {layout.tile_height}"
            )
            raise DecodeError(msg)
        fields += 8
        if version >= 4:  # noqa: PLR2004
            (depth,) = struct.unpack_from("<i", data, fields)
            fields += 4
        (size,) = struct.unpack_from("<i", data, fields + 8)
        bands, at = bands + 1, at + max(size, 1)
    return depth, bands


def masked_value(layout: TileLayout) -> float:
    """Gives what a pixel without data reads as: NaN (floats), nodata where it fits, or 0."""
    dtype, nodata = np.dtype(layout.dtype), layout.nodata
    if dtype.kind == "f":
        return float("nan")
    if nodata is None or not np.isfinite(nodata):
        return 0
    info = np.iinfo(dtype)
    return int(nodata) if int(nodata) == nodata and info.min <= nodata <= info.max else 0


def sparse_value(layout: TileLayout) -> float:
    """Gives what the pixels of a sparse tile read as: nodata, or 0 without one.

    GDAL's rule, for tiles that have no bytes. Of integers the nearest that the type
    holds: 255 for a nodata of 300 in a byte.
    """
    dtype, nodata = np.dtype(layout.dtype), layout.nodata
    if nodata is None:
        return 0
    if dtype.kind == "f":
        return float(nodata)
    if np.isnan(nodata):
        return 0
    info = np.iinfo(dtype)
    if not info.min <= nodata <= info.max:
        return info.max if nodata > 0 else info.min
    rounded = math.floor(abs(nodata) + 0.5) if isinstance(nodata, float) else abs(nodata)
    return min(rounded, info.max) if nodata > 0 else -rounded


PIXEL_DECODERS: Mapping[int, PixelDecoder] = {
    Compression.JPEG: _jpeg,
    Compression.WEBP: _webp,
    Compression.LERC: _lerc,
    Compression.JPEG_XL: _jpeg_xl,
    Compression.JPEG_XL_DNG: _jpeg_xl,
    Compression.JPEG_2000: _jpeg_2000,
}
"""Codecs that give pixels of shape (row, col) or (row, col, sample)."""

SWAPPED_PIXELS = frozenset(
    {Compression.LERC, Compression.JPEG_XL, Compression.JPEG_XL_DNG},
)
"""Codecs of whole numbers and floats that libtiff gives a big-endian file's samples as bytes:
what comes out of them is to be swapped, whatever order their own streams have."""
