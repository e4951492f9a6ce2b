"""Header bytes -> what a reader of tiles must know.

Holds tags to the specification and to what this package reads, so that nothing wrong
gets into an index.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, BinaryIO, Protocol, runtime_checkable

from rasteret_beam.errors import MalformedTiffError, UnsupportedTiffError
from rasteret_beam.tiff.compression import BYTE_DECODERS, PREDICTABLE
from rasteret_beam.tiff.gdal_metadata import (
    Calibration,
    calibrations_of,
    nodata_item,
    parse_nodata,
)
from rasteret_beam.tiff.georeferencing import read_georeferencing
from rasteret_beam.tiff.ifd import read_directory, read_values
from rasteret_beam.tiff.image_codecs import PIXEL_DECODERS
from rasteret_beam.tiff.tag_values import TagValues
from rasteret_beam.tiff.tags import (
    Compression,
    Photometric,
    PlanarConfiguration,
    Predictor,
    SampleFormat,
    Tag,
)

if TYPE_CHECKING:
    import io
    from collections.abc import Sequence

    import numpy as np

MAX_TILE_BYTES = 256 * 1024 * 1024
"""No tile whose decoded size is declared beyond this is read."""

_WHOLE_BITS = (8, 16, 32, 64)
_KINDS = {
    SampleFormat.UNSIGNED: "uint",
    SampleFormat.SIGNED: "int",
    SampleFormat.FLOAT: "float",
    SampleFormat.UNDEFINED: "uint",
}
_MAX_BITS = 64


@runtime_checkable
class Prefetching(Protocol):
    """A file that likes to know what will be read."""

    def prefetch(self, spans: Sequence[tuple[int, int]]) -> None:
        """Reads (offset, length) spans, in bytes, together."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class TiffHeader:
    """The first image of a tiled, axis-aligned, real-valued GeoTIFF.

    Attributes:
        width: Columns, in pixels.
        height: Rows, in pixels.
        tile_width: Columns of a tile, in pixels.
        tile_height: Rows of a tile, in pixels.
        dtype: Numpy name of the pixel type.
        bits_per_sample: Tag 258.
        samples_per_pixel: Tag 277.
        planar_configuration: Tag 284.
        compression: Tag 259.
        predictor: Tag 317.
        photometric: Tag 262, or None.
        extra_samples: Tag 338.
        byte_order: ``<`` or ``>``.
        tile_offsets: int64, all planes one after another.
        tile_byte_counts: int64, same shape.
        jpeg_tables: Tag 347, or None.
        nodata_text: GDAL's nodata tag as spelled, or None.
        calibrations: 0-based sample -> scale, offset and unit, where the file has any.
        scale: (x, y) size of a pixel, y negative where north is up.
        origin: (x, y) of the outer corner of the first pixel.
        pixel_scale: Tag 33550 as stored, or ().
        tiepoint: Tag 33922 as stored, or ().
        crs_text: ``EPSG:n``, WKT, PROJJSON or a PROJ string; None where the file names no CRS.
    """

    width: int
    height: int
    tile_width: int
    tile_height: int
    dtype: str
    bits_per_sample: int
    samples_per_pixel: int
    planar_configuration: int
    compression: int
    predictor: int
    photometric: int | None
    extra_samples: tuple[int, ...]
    byte_order: str
    tile_offsets: np.ndarray
    tile_byte_counts: np.ndarray
    jpeg_tables: bytes | None
    nodata_text: str | None
    calibrations: dict[int, Calibration]
    scale: tuple[float, float]
    origin: tuple[float, float]
    pixel_scale: tuple[float, ...]
    tiepoint: tuple[float, ...]
    crs_text: str | None

    @property
    def tiles_per_plane(self) -> int:
        """Number of tiles that cover the image once."""
        return -(-self.width // self.tile_width) * -(-self.height // self.tile_height)


def read_header(file: io.RawIOBase | BinaryIO) -> TiffHeader:
    """Reads the header of the first image in a TIFF.

    Args:
        file: Seekable, opened for reading bytes.

    Returns:
        The header.

    Raises:
        MalformedTiffError: The bytes break the specification.
        UnsupportedTiffError: A legal file that is not read: strips, rotation, GCPs
            only, complex samples, an unknown compression, ...
    """
    directory = read_directory(file)
    if isinstance(file, Prefetching):
        file.prefetch([(field.offset, field.length) for field in directory.fields.values()])
    return _header(TagValues(read_values(file, directory)), directory.byte_order)


def _header(tags: TagValues, byte_order: str) -> TiffHeader:
    width, height = tags.size(Tag.IMAGE_WIDTH), tags.size(Tag.IMAGE_LENGTH)
    if Tag.TILE_WIDTH not in tags:
        msg = "Striped, not tiled (no TileWidth): make it a COG first"
        raise UnsupportedTiffError(msg)
    tile_width, tile_height = tags.size(Tag.TILE_WIDTH), tags.size(Tag.TILE_LENGTH)
    samples = tags.integer(Tag.SAMPLES_PER_PIXEL, 1)
    planar = tags.one_of(Tag.PLANAR_CONFIGURATION, PlanarConfiguration)
    dtype, bits = _pixel_type(tags)
    tile_samples = 1 if planar == PlanarConfiguration.PLANAR else samples
    compression, predictor = _compression(tags, dtype, bits, tile_samples)
    if tags.integer(Tag.FILL_ORDER, 1) != 1:
        msg = "FillOrder 2 (bits from the low end) is not read"
        raise UnsupportedTiffError(msg)
    _check_tile_size(tile_width, tile_height, tile_samples, bits)
    place = read_georeferencing(tags)
    header = TiffHeader(
        width=width,
        height=height,
        tile_width=tile_width,
        tile_height=tile_height,
        dtype=dtype,
        bits_per_sample=bits,
        samples_per_pixel=samples,
        planar_configuration=planar,
        compression=compression,
        predictor=predictor,
        photometric=tags.optional_integer(Tag.PHOTOMETRIC_INTERPRETATION),
        extra_samples=tags.integers(Tag.EXTRA_SAMPLES),
        byte_order=byte_order,
        tile_offsets=tags.table(Tag.TILE_OFFSETS),
        tile_byte_counts=tags.table(Tag.TILE_BYTE_COUNTS),
        jpeg_tables=_jpeg_tables(tags),
        nodata_text=_nodata_text(tags),
        calibrations=calibrations_of(str(tags.get(Tag.GDAL_METADATA) or "")),
        scale=place.scale,
        origin=place.origin,
        pixel_scale=tags.floats(Tag.MODEL_PIXEL_SCALE),
        tiepoint=tags.floats(Tag.MODEL_TIEPOINT),
        crs_text=place.crs_text,
    )
    _check_tables(header)
    return header


def _pixel_type(tags: TagValues) -> tuple[str, int]:
    bits = set(tags.integers(Tag.BITS_PER_SAMPLE)) or {1}
    formats = set(tags.integers(Tag.SAMPLE_FORMAT)) or {int(SampleFormat.UNSIGNED)}
    if len(bits) > 1 or len(formats) > 1:
        msg = f"Samples of different types: bits {sorted(bits)}, formats {sorted(formats)}"
        raise UnsupportedTiffError(msg)
    width, kind = bits.pop(), formats.pop()
    if kind in (SampleFormat.COMPLEX_INT, SampleFormat.COMPLEX_FLOAT):
        msg = f"Complex samples (SampleFormat {kind}) are not read"
        raise UnsupportedTiffError(msg)
    if kind not in _KINDS:
        msg = f"SAMPLE_FORMAT is {kind}, expected 1, 2, 3 or 4"
        raise MalformedTiffError(msg)
    if not 1 <= width <= _MAX_BITS:
        msg = f"BITS_PER_SAMPLE is {width}, expected 1 to {_MAX_BITS}"
        raise MalformedTiffError(msg)
    name = _KINDS[SampleFormat(kind)]
    if name == "float" and width not in _WHOLE_BITS[1:]:
        msg = f"Floats of {width} bits are not read, only 16, 32 and 64"
        raise UnsupportedTiffError(msg)
    return f"{name}{next(whole for whole in _WHOLE_BITS if whole >= width)}", width


def _compression(tags: TagValues, dtype: str, bits: int, samples: int) -> tuple[int, int]:
    compression = tags.integer(Tag.COMPRESSION, Compression.NONE)
    if compression not in BYTE_DECODERS and compression not in PIXEL_DECODERS:
        msg = f"Compression {compression} is not read"
        raise UnsupportedTiffError(msg)
    photometric = tags.optional_integer(Tag.PHOTOMETRIC_INTERPRETATION)
    if photometric == Photometric.YCBCR and compression in BYTE_DECODERS:
        msg = "YCbCr samples are read from JPEG tiles only"
        raise UnsupportedTiffError(msg)
    if compression == Compression.JPEG and samples not in (1, 3, 4):
        msg = f"JPEG tiles of {samples} samples are not read, only 1, 3 and 4"
        raise UnsupportedTiffError(msg)
    if compression == Compression.WEBP and (samples not in (3, 4) or bits != 8):  # noqa: PLR2004
        # GDAL writes band-interleaved ones too, of tiles that are too large by those samples.
        msg = f"WebP tiles of {samples} samples of {bits} bits, expected 3 or 4 of 8"
        raise UnsupportedTiffError(msg)
    predictor = tags.one_of(Tag.PREDICTOR, Predictor)
    if compression not in PREDICTABLE:
        return compression, Predictor.NONE
    if predictor == Predictor.FLOATING_POINT and not dtype.startswith("float"):
        msg = f"Predictor 3 on {dtype}, expected floats"
        raise MalformedTiffError(msg)
    if predictor != Predictor.NONE and bits not in _WHOLE_BITS:
        msg = f"Predictor {predictor} on {bits} bits a sample is not read"
        raise UnsupportedTiffError(msg)
    return compression, predictor


def _check_tile_size(tile_width: int, tile_height: int, samples: int, bits: int) -> None:
    size = tile_width * tile_height * samples * max(bits, 8) // 8
    if not 0 < size <= MAX_TILE_BYTES:
        msg = f"A tile of {size} decoded bytes, expected 1 to {MAX_TILE_BYTES}"
        raise UnsupportedTiffError(msg)


def _jpeg_tables(tags: TagValues) -> bytes | None:
    tables = tags.get(Tag.JPEG_TABLES)
    if tables is not None and not isinstance(tables, bytes):
        msg = f"JPEG_TABLES is {tables!r:.40}, expected bytes"
        raise MalformedTiffError(msg)
    return tables


def _nodata_text(tags: TagValues) -> str | None:
    """GDAL's tag, else its metadata item, where that is a number (rasteret's rule)."""
    value = tags.get(Tag.GDAL_NODATA)
    text = str(value).strip().strip("\0 ") if value is not None else None
    if text is None:
        text = nodata_item(str(tags.get(Tag.GDAL_METADATA) or ""))
    return text if text is not None and parse_nodata(text) is not None else None


def _check_tables(header: TiffHeader) -> None:
    planes = 1
    if header.planar_configuration == PlanarConfiguration.PLANAR:
        planes = header.samples_per_pixel
    needed = header.tiles_per_plane * planes
    lengths = (len(header.tile_offsets), len(header.tile_byte_counts))
    if lengths != (needed, needed):
        msg = (
            f"{lengths[0]} tile offsets and {lengths[1]} byte counts for {needed} tiles: "
            "the tables do not fit the image"
        )
        raise MalformedTiffError(msg)
