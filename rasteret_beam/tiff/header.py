"""Header bytes -> what a reader of tiles must know.

Holds tags to the specification and to what this package reads, so that nothing wrong
gets into an index.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, runtime_checkable

import numpy as np
from pyproj.exceptions import ProjError

from rasteret_beam.errors import MalformedTiffError, UnsupportedTiffError
from rasteret_beam.tiff.compression import BYTE_DECODERS, PIXEL_DECODERS, PREDICTABLE
from rasteret_beam.tiff.gdal_metadata import (
    Calibration,
    calibrations_of,
    nodata_item,
    parse_nodata,
)
from rasteret_beam.tiff.geokey_crs import crs_text
from rasteret_beam.tiff.geokeys import GeoKeys, parse_geokeys
from rasteret_beam.tiff.ifd import read_directory, read_values
from rasteret_beam.tiff.tags import (
    RASTER_PIXEL_IS_POINT,
    Compression,
    GeoKey,
    Photometric,
    PlanarConfiguration,
    Predictor,
    SampleFormat,
    Tag,
)

if TYPE_CHECKING:
    import io
    from collections.abc import Sequence

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
_TIEPOINT_NUMBERS = 6
_MATRIX_NUMBERS = 16
_ALIGNED_RTOL = 1e-8


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
    return _Reader(read_values(file, directory)).header(directory.byte_order)


class _Reader:
    """Checks the tags of one image directory, one idea a method."""

    def __init__(self, tags: dict[int, Any]) -> None:
        self._tags = tags

    def header(self, byte_order: str) -> TiffHeader:
        width, height = self._size(Tag.IMAGE_WIDTH), self._size(Tag.IMAGE_LENGTH)
        if Tag.TILE_WIDTH not in self._tags:
            msg = "Striped, not tiled (no TileWidth): make it a COG first"
            raise UnsupportedTiffError(msg)
        tile_width, tile_height = self._size(Tag.TILE_WIDTH), self._size(Tag.TILE_LENGTH)
        samples = self._integer(Tag.SAMPLES_PER_PIXEL, 1)
        planar = self._one_of(Tag.PLANAR_CONFIGURATION, PlanarConfiguration)
        dtype, bits = self._pixel_type()
        tile_samples = 1 if planar == PlanarConfiguration.PLANAR else samples
        compression, predictor = self._compression(dtype, bits, tile_samples)
        if self._integer(Tag.FILL_ORDER, 1) != 1:
            msg = "FillOrder 2 (bits from the low end) is not read"
            raise UnsupportedTiffError(msg)
        self._check_tile_size(tile_width, tile_height, tile_samples, bits)
        scale, origin = self._georeferencing()
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
            photometric=self._optional_integer(Tag.PHOTOMETRIC_INTERPRETATION),
            extra_samples=self._integers(Tag.EXTRA_SAMPLES),
            byte_order=byte_order,
            tile_offsets=self._table(Tag.TILE_OFFSETS),
            tile_byte_counts=self._table(Tag.TILE_BYTE_COUNTS),
            jpeg_tables=self._jpeg_tables(),
            nodata_text=self._nodata_text(),
            calibrations=calibrations_of(str(self._tags.get(Tag.GDAL_METADATA, ""))),
            scale=scale,
            origin=origin,
            pixel_scale=self._floats(Tag.MODEL_PIXEL_SCALE),
            tiepoint=self._floats(Tag.MODEL_TIEPOINT),
            crs_text=self._crs_text(),
        )
        _check_tables(header)
        return header

    def _values(self, tag: Tag) -> Sequence[Any]:
        value: Any = self._tags.get(tag)
        if value is None:
            return ()
        return value if isinstance(value, (tuple, list, np.ndarray)) else (value,)  # type: ignore[return-value]

    def _integers(self, tag: Tag) -> tuple[int, ...]:
        values = self._values(tag)
        if len(values) == 1 and type(values[0]) is int and values[0] >= 0:
            return (values[0],)
        try:
            numbers = tuple(int(v) for v in values)
        except (TypeError, ValueError, OverflowError):
            numbers = (-1,)
        if any(n < 0 or n != v for n, v in zip(numbers, values, strict=False)):
            found = values[0] if len(values) == 1 else values
            msg = f"{tag.name} is {found!r:.80}, expected a whole number"
            raise MalformedTiffError(msg)
        return numbers

    def _optional_integer(self, tag: Tag) -> int | None:
        return next(iter(self._integers(tag)), None)

    def _integer(self, tag: Tag, default: int) -> int:
        number = self._optional_integer(tag)
        return default if number is None else number

    def _size(self, tag: Tag) -> int:
        number = self._optional_integer(tag)
        if not number or number >= 2**31:  # 0, missing, or no image anyone wrote
            msg = f"{tag.name} is {number}, expected 1 to 2147483647"
            raise MalformedTiffError(msg)
        return number

    def _one_of(self, tag: Tag, enumeration: type[PlanarConfiguration | Predictor]) -> int:
        number = self._integer(tag, 1)
        if number not in list(enumeration):
            msg = f"{tag.name} is {number}, expected one of {[int(v) for v in enumeration]}"
            raise UnsupportedTiffError(msg)
        return number

    def _pixel_type(self) -> tuple[str, int]:
        bits = set(self._integers(Tag.BITS_PER_SAMPLE)) or {1}
        formats = set(self._integers(Tag.SAMPLE_FORMAT)) or {int(SampleFormat.UNSIGNED)}
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

    def _compression(self, dtype: str, bits: int, samples: int) -> tuple[int, int]:
        compression = self._integer(Tag.COMPRESSION, Compression.NONE)
        if compression not in BYTE_DECODERS and compression not in PIXEL_DECODERS:
            msg = f"Compression {compression} is not read"
            raise UnsupportedTiffError(msg)
        photometric = self._optional_integer(Tag.PHOTOMETRIC_INTERPRETATION)
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
        predictor = self._one_of(Tag.PREDICTOR, Predictor)
        if compression not in PREDICTABLE:
            return compression, Predictor.NONE
        if predictor == Predictor.FLOATING_POINT and not dtype.startswith("float"):
            msg = f"Predictor 3 on {dtype}, expected floats"
            raise MalformedTiffError(msg)
        if predictor != Predictor.NONE and bits not in _WHOLE_BITS:
            msg = f"Predictor {predictor} on {bits} bits a sample is not read"
            raise UnsupportedTiffError(msg)
        return compression, predictor

    @staticmethod
    def _check_tile_size(tile_width: int, tile_height: int, samples: int, bits: int) -> None:
        size = tile_width * tile_height * samples * max(bits, 8) // 8
        if not 0 < size <= MAX_TILE_BYTES:
            msg = f"A tile of {size} decoded bytes, expected 1 to {MAX_TILE_BYTES}"
            raise UnsupportedTiffError(msg)

    def _table(self, tag: Tag) -> np.ndarray:
        try:
            table = np.asarray(self._values(tag), np.int64)
        except (TypeError, ValueError, OverflowError) as error:
            msg = f"{tag.name} is no table of file positions: {error}"
            raise MalformedTiffError(msg) from error
        if table.ndim != 1 or (table < 0).any():
            msg = f"{tag.name} holds a position that is negative or beyond 2**63"
            raise MalformedTiffError(msg)
        return table

    def _floats(self, tag: Tag) -> tuple[float, ...]:
        try:
            return tuple(float(v) for v in self._values(tag))
        except (TypeError, ValueError) as error:
            msg = f"{tag.name} holds what is no number: {error}"
            raise MalformedTiffError(msg) from error

    @functools.cached_property
    def _geokeys(self) -> GeoKeys:
        text = self._tags.get(Tag.GEO_ASCII_PARAMS)
        return parse_geokeys(
            self._integers(Tag.GEO_KEY_DIRECTORY),
            self._floats(Tag.GEO_DOUBLE_PARAMS),
            text if isinstance(text, str) else None,
        )

    def _georeferencing(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """GeoTIFF 1.1, section 7.6.1; half a pixel less where PixelIsPoint, as GDAL."""
        matrix = self._floats(Tag.MODEL_TRANSFORMATION)
        pixel_scale = self._floats(Tag.MODEL_PIXEL_SCALE)
        tiepoints = self._floats(Tag.MODEL_TIEPOINT)
        if len(matrix) >= _MATRIX_NUMBERS:
            scale_x, shear_x, _, origin_x, shear_y, scale_y, _, origin_y = matrix[:8]
            tolerance = _ALIGNED_RTOL * min(abs(scale_x), abs(scale_y))
            if not (abs(shear_x) <= tolerance and abs(shear_y) <= tolerance):
                msg = f"Rotated or sheared grid (ModelTransformation {matrix[:8]})"
                raise UnsupportedTiffError(msg)
        elif len(pixel_scale) > 1 and len(tiepoints) >= _TIEPOINT_NUMBERS:
            # GDAL takes ScaleY for a size: north is up whatever its sign.
            scale_x, scale_y = pixel_scale[0], -abs(pixel_scale[1])
            origin_x, origin_y = tiepoints[3], tiepoints[4]
            if all(map(math.isfinite, (scale_x, scale_y, *tiepoints))):
                origin_x, origin_y = _origin(tiepoints, scale_x, scale_y)
            else:
                origin_x = float("nan")
        elif len(tiepoints) > _TIEPOINT_NUMBERS:
            msg = f"Located by {len(tiepoints) // _TIEPOINT_NUMBERS} GCPs only, without a grid"
            raise UnsupportedTiffError(msg)
        else:
            msg = "No georeferencing: neither ModelTransformation nor PixelScale and Tiepoint"
            raise UnsupportedTiffError(msg)
        if self._geokeys.get(GeoKey.GT_RASTER_TYPE) == RASTER_PIXEL_IS_POINT:
            origin_x, origin_y = origin_x - scale_x / 2, origin_y - scale_y / 2
        numbers = (scale_x, scale_y, origin_x, origin_y)
        if not all(map(math.isfinite, numbers)) or 0 in (scale_x, scale_y):
            msg = (
                f"Pixel size ({scale_x}, {scale_y}) at origin ({origin_x}, {origin_y}): "
                "expected finite numbers, and sizes other than 0"
            )
            raise MalformedTiffError(msg)
        return (scale_x, scale_y), (origin_x, origin_y)

    def _crs_text(self) -> str | None:
        try:
            return crs_text(self._geokeys)
        except ProjError as error:
            msg = f"The geokeys define no CRS: {error}"
            raise MalformedTiffError(msg) from error

    def _jpeg_tables(self) -> bytes | None:
        tables = self._tags.get(Tag.JPEG_TABLES)
        if tables is not None and not isinstance(tables, bytes):
            msg = f"JPEG_TABLES is {tables!r:.40}, expected bytes"
            raise MalformedTiffError(msg)
        return tables

    def _nodata_text(self) -> str | None:
        """GDAL's tag, else its metadata item, where that is a number (rasteret's rule)."""
        value = self._tags.get(Tag.GDAL_NODATA)
        text = str(value).strip().strip("\0 ") if value is not None else None
        if text is None:
            text = nodata_item(str(self._tags.get(Tag.GDAL_METADATA, "")))
        return text if text is not None and parse_nodata(text) is not None else None


def _origin(tiepoints: Sequence[float], scale_x: float, scale_y: float) -> tuple[float, float]:
    origins = [
        (x - col * scale_x, y - row * scale_y)
        for col, row, _, x, y, _ in zip(*[iter(tiepoints)] * _TIEPOINT_NUMBERS, strict=False)
    ]
    tolerance = abs(scale_x) / 100
    if len(origins) > 1 and not np.allclose(origins, origins[0], rtol=1e-9, atol=tolerance):
        msg = f"{len(origins)} tiepoints that do not agree on an axis-aligned grid: {origins[:3]}"
        raise UnsupportedTiffError(msg)
    return origins[0]


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
