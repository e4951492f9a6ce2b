"""What is fuzzed: the tile decoder and the header path, from real bytes that are damaged.

Whatever comes in, only the package's own errors come out, and no more pixels than the
layout declares.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import itertools
import zlib

import numpy as np
from hypothesis import strategies as st
from make_tiff import NORTH_UP, TiffOptions, encode_tile, make_tiff
from shared_data import SHARED

from rasteret_beam.elements import FileInfo, TileLayout
from rasteret_beam.errors import DecodeError, FetchError, RasteretBeamError
from rasteret_beam.indexing.headers import Head, parse_head
from rasteret_beam.storage.files import HEADER_BYTES, BeyondHeadError
from rasteret_beam.tiff.header import read_header
from rasteret_beam.tiff.tags import Compression, Photometric
from rasteret_beam.tiff.tile import decode_rows, sparse_tile, stored_rows

SIDE = 32
_BYTE_CODECS = (
    Compression.NONE, Compression.LZW, Compression.ADOBE_DEFLATE, Compression.PACKBITS,
    Compression.LZMA, Compression.ZSTD,
)  # fmt: skip
_PIXEL_CODECS = (
    (Compression.LERC, "uint8", 1), (Compression.LERC, "float32", 1),
    (Compression.LERC, "int16", 3), (Compression.LERC, "float64", 2),
    (Compression.JPEG, "uint8", 1), (Compression.JPEG, "uint8", 3), (Compression.JPEG, "uint8", 4),
    (Compression.WEBP, "uint8", 3), (Compression.WEBP, "uint8", 4),
    (Compression.JPEG_XL, "uint8", 1), (Compression.JPEG_XL, "uint16", 1),
    (Compression.JPEG_XL, "uint8", 3),
    (Compression.JPEG_2000, "uint8", 1), (Compression.JPEG_2000, "uint16", 3),
)  # fmt: skip
_DTYPES = ("uint8", "int16", "uint32", "int64", "float16", "float32", "float64")
_REAL_FILES = ("malformed/*/*.tif", "gdalw/*.tif")
_MOST_REAL_BYTES = 200_000
_INTERESTING = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 62)


class WrongError(AssertionError):
    """A target gave what it never should."""


# Damage


@st.composite
def damaged(draw, originals):
    """Bytes of an original with some edits."""
    data = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        _EDITS[draw(st.integers(0, len(_EDITS) - 1))](draw, data, at)
    return bytes(data)


def _flip(draw, data, at):
    if data:
        data[at] ^= 1 << draw(st.integers(0, 7))


def _overwrite(draw, data, at):
    new = draw(st.binary(min_size=1, max_size=8))
    data[at : at + len(new)] = new


def _number(draw, data, at):
    """A number that programs stumble over, in either byte order, often where a field is."""
    width, order = draw(st.sampled_from((2, 4, 8))), draw(st.sampled_from(("little", "big")))
    value = draw(st.sampled_from(_INTERESTING)) & ((1 << 8 * width) - 1)
    at -= at % 2
    data[at : at + width] = value.to_bytes(width, order)


def _cut(draw, data, at):
    del data[at : at + draw(st.integers(1, 64))]


def _end(_draw, data, at):
    del data[at:]


def _repeat(draw, data, at):
    data[at:at] = data[at : at + draw(st.integers(1, 256))]


_EDITS = (_flip, _flip, _overwrite, _number, _number, _cut, _end, _repeat)


# Tiles


@functools.lru_cache(maxsize=1)
def tile_seeds():
    """(stream, layout) of every codec, predictor and type."""
    rng = np.random.default_rng(3)
    found = []
    for codec, dtype, predictor, order in itertools.product(
        _BYTE_CODECS, _DTYPES, (1, 2, 3), "<>",
    ):
        if predictor == 3 and not dtype.startswith("float"):
            continue
        pixels = rng.integers(0, 50, (SIDE, SIDE, 2)).astype(dtype)
        options = TiffOptions(
            tile=(SIDE, SIDE), compression=codec, predictor=predictor, byte_order=order,
        )
        found.append((encode_tile(pixels, options), _layout(options, pixels)))
    for codec, dtype, samples in _PIXEL_CODECS:
        pixels = np.cumsum(rng.integers(0, 3, (SIDE, SIDE, samples)), axis=1).astype(dtype)
        options = TiffOptions(tile=(SIDE, SIDE), compression=codec)
        found.append((encode_tile(pixels, options), _layout(options, pixels)))
    found += [(zlib.compress(bytes(1 << 22)), found[0][1])]
    return found


def _layout(options, pixels):
    return TileLayout(
        tile_width=SIDE, tile_height=SIDE, dtype=pixels.dtype.name, samples=pixels.shape[2],
        compression=options.compression, predictor=options.predictor,
        bits_per_sample=8 * pixels.itemsize, byte_order=options.byte_order,
    )


_CHANGES = {
    "tile_width": st.sampled_from((1, 16, 31, 33, 1024)),
    "tile_height": st.sampled_from((1, 16, 31, 33, 1024)),
    "dtype": st.sampled_from(_DTYPES),
    "samples": st.integers(1, 5),
    "compression": st.sampled_from([int(codec) for codec in Compression]),
    "predictor": st.sampled_from((1, 2, 3)),
    "bits_per_sample": st.none() | st.integers(1, 64),
    "byte_order": st.sampled_from((None, "<", ">")),
    "photometric": st.none() | st.sampled_from([int(p) for p in Photometric]) | st.just(1),
    "extra_samples": st.sampled_from(((), (0,), (2,))),
    "jpeg_tables": st.none() | st.binary(max_size=64),
    "nodata": st.sampled_from((None, 0, -1.5, float("nan"), float("inf"), 1e300, 2**64 - 1)),
}


@st.composite
def tiles(draw):
    """(stream, layout, rows that are wanted or None)."""
    stream, layout = draw(st.sampled_from(tile_seeds()))
    if draw(st.booleans()):
        names = draw(st.lists(st.sampled_from(sorted(_CHANGES)), max_size=3))
        layout = dataclasses.replace(layout, **{name: draw(_CHANGES[name]) for name in names})
    rows = None
    if draw(st.booleans()):
        rows = draw(st.sets(st.integers(0, layout.tile_height - 1), min_size=1, max_size=40))
        rows = np.array(sorted(rows), np.int64)
    return draw(damaged([stream])), layout, rows


def check_tile(stream, layout, rows):
    """Decodes a tile; holds what comes of it to what the layout declares."""
    sparse_tile(layout)
    skip = None
    if rows is not None and (part := stored_rows(layout, len(stream), rows)) is not None:
        skip, length = part
        stream = stream[skip : skip + length]
    try:
        found = decode_rows(stream, layout, rows, skip)
    except DecodeError:
        return
    n_rows = layout.tile_height if found.rows is None else len(rows)
    expected = (layout.samples, n_rows, layout.tile_width)
    if found.pixels.shape != expected or found.pixels.dtype != np.dtype(layout.dtype):
        msg = f"{found.pixels.shape} of {found.pixels.dtype}, expected {expected}"
        raise WrongError(msg)


# Headers


@functools.lru_cache(maxsize=1)
def header_seeds():
    """Whole files: our own of every dialect, and those that others made or broke."""
    pixels = np.arange(2 * 40 * 48, dtype=np.uint16).reshape(2, 40, 48)
    found = [
        make_tiff(pixels, byte_order=order, big=big, planar=planar, as_matrix=matrix, **more)
        for order, big, planar, matrix in itertools.product("<>", *[(False, True)] * 3)
        for more in ({}, {"descending": True, "nodata": "7", "ifd_at_end": True})
    ]
    found.append(make_tiff(pixels, geotransform=dataclasses.replace(NORTH_UP, scale_y=10.0)))
    found.append(make_tiff(pixels, epsg=None, geokeys={1024: 1, 3072: 32767, 3075: 1}))
    for pattern in _REAL_FILES:
        paths = sorted(SHARED.glob(pattern))
        found += [path.read_bytes()[:_MOST_REAL_BYTES] for path in paths]
    return found


def headers():
    """Bytes of a file."""
    return damaged(header_seeds())


def check_header(data):
    """Reads the header of a whole file, and indexes it from its first bytes."""
    sizes = []
    for read in (_whole, _head):
        try:
            sizes.append(read(data))
        except (RasteretBeamError, BeyondHeadError) as error:
            if isinstance(error, FetchError):
                msg = f"{error!r} of what is in memory"
                raise WrongError(msg) from error


def _whole(data):
    header = read_header(io.BytesIO(data))
    if header.tile_offsets.shape != header.tile_byte_counts.shape or header.tile_offsets.ndim != 1:
        msg = f"tables of {header.tile_offsets.shape} and {header.tile_byte_counts.shape}"
        raise WrongError(msg)


def _head(data):
    file = parse_head(Head(data[:HEADER_BYTES], FileInfo(len(data), None)))
    for sample in range(min(file.samples, 4)):
        repr(file.bands[sample])


TARGETS = {
    "tiles": (tiles, lambda case: check_tile(*case)),
    "headers": (headers, check_header),
}
"""Name -> strategy of cases, and what is done with one."""
