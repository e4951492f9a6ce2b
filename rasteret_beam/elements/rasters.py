"""What a collection knows of rasters: records, their files, grids and tile tables."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import NamedTuple

import numpy as np


@dataclasses.dataclass(frozen=True, slots=True)
class Geotransform:
    """Axis-aligned mapping from pixel to world, by the outer corner of pixel (0, 0).

    Attributes:
        scale_x: Width of a pixel in CRS units; never 0.
        origin_x: x of the outer corner of pixel (0, 0).
        scale_y: Height of a pixel in CRS units, negative where north is up.
        origin_y: y of the outer corner of pixel (0, 0).
    """

    scale_x: float
    origin_x: float
    scale_y: float
    origin_y: float


@dataclasses.dataclass(frozen=True, slots=True)
class Grid:
    """Where the pixels and tiles of an asset lie. Assets with equal grids share a plan.

    Attributes:
        width: Columns of the image, in pixels.
        height: Rows of the image, in pixels.
        tile_width: Columns of a tile, in pixels.
        tile_height: Rows of a tile, in pixels.
        geotransform: Pixel to world.
        crs: The CRS as ``EPSG:n`` or PROJJSON; None where the record declares none.
    """

    width: int
    height: int
    tile_width: int
    tile_height: int
    geotransform: Geotransform
    crs: str | None

    @property
    def tiles_across(self) -> int:
        """Number of tile columns."""
        return -(-self.width // self.tile_width)

    @property
    def tiles_down(self) -> int:
        """Number of tile rows."""
        return -(-self.height // self.tile_height)

    def digest(self) -> int:
        """A 63-bit number that is equal for equal grids, in every process."""
        raw = hashlib.blake2b(repr(dataclasses.astuple(self)).encode(), digest_size=8).digest()
        return int.from_bytes(raw, "big") >> 1


@dataclasses.dataclass(frozen=True, slots=True)
class TileLayout:
    """What a decoder must know to turn one stored tile into pixels.

    Attributes:
        tile_width: Columns of a tile, in pixels.
        tile_height: Rows of a tile, in pixels.
        dtype: Numpy name of the pixel type, native byte order.
        samples: Samples stored in one tile: all of the file's when chunky, 1 when planar.
        compression: TIFF tag 259.
        predictor: TIFF tag 317.
        bits_per_sample: TIFF tag 258; None where the index does not say.
        byte_order: ``<`` or ``>``; None where the index does not say.
        photometric: TIFF tag 262, or None.
        extra_samples: TIFF tag 338.
        jpeg_tables: TIFF tag 347, or None.
        nodata: The declared nodata value, or None. Equals GDAL_NODATA as a number: an
            int where that is exact (64-bit files), else a float.
    """

    tile_width: int
    tile_height: int
    dtype: str
    samples: int
    compression: int
    predictor: int = 1
    bits_per_sample: int | None = None
    byte_order: str | None = None
    photometric: int | None = None
    extra_samples: tuple[int, ...] = ()
    jpeg_tables: bytes | None = None
    nodata: float | None = None

    @property
    def decoded_bytes(self) -> int:
        """Size of one decoded tile, in bytes."""
        return self.tile_width * self.tile_height * self.samples * np.dtype(self.dtype).itemsize


class FileInfo(NamedTuple):
    """What a listing, a first read or an index tells of a file.

    Attributes:
        size: Bytes.
        etag: What changes when the file does: the server's entity tag, or else when it
            was last modified; None where nobody tells.
    """

    size: int
    etag: str | None


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Asset:
    """One file of a record, with the bands wanted from the tiles of one plane set.

    Attributes:
        href: Where the file is.
        plane: The band index where samples are planar; 0 where they are chunky.
        grid: Where its pixels lie.
        layout: How its tiles are stored.
        bands: Names of the wanted bands.
        samples: For each band, the index of its sample inside a decoded tile.
        tile_offsets: int64, row-major; bytes from the file's start. May end before the
            last tile.
        tile_byte_counts: int64, same shape; 0 marks a sparse tile.
        info: The file's size and ETag when it was indexed; None where the index does
            not say.
    """

    href: str
    plane: int
    grid: Grid
    layout: TileLayout
    bands: tuple[str, ...]
    samples: tuple[int, ...]
    tile_offsets: np.ndarray
    tile_byte_counts: np.ndarray
    info: FileInfo | None = None

    def ranges_of(self, tile_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gives where tiles are.

        Args:
            tile_ids: int64, row-major numbers.

        Returns:
            int64, same shape: offsets, and byte counts, -1 of tiles that the tables do not
            reach. (Those are not held: an index can declare any number of them.)
        """
        known = tile_ids < len(self.tile_offsets)
        if known.all():
            return self.tile_offsets[tile_ids], self.tile_byte_counts[tile_ids]
        offsets, counts = np.zeros(len(tile_ids), np.int64), np.full(len(tile_ids), -1)
        offsets[known] = self.tile_offsets[tile_ids[known]]
        counts[known] = self.tile_byte_counts[tile_ids[known]]
        return offsets, counts


class RecordInfo(NamedTuple):
    """What every sample row says of its record.

    Attributes:
        record_id: The record's id.
        ordinal: Scan order in the collection; ties of ``match="latest"`` go by it.
        datetime_us: Microseconds since 1970 UTC, or None.
        collection: Name of the record's collection, or "".
        epsg: EPSG code of the raster CRS, or None.
    """

    record_id: str
    ordinal: int
    datetime_us: int | None
    collection: str
    epsg: int | None


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Record:
    """One row of a collection, projected to the wanted bands.

    Attributes:
        info: What sample rows say of the record.
        bbox: (xmin, ymin, xmax, ymax) in degrees, EPSG:4326, closed.
        assets: The files to read.
        missing: (band, code) of wanted bands that cannot be read, in band order:
            BAND_MISSING where there is no metadata, UNSUPPORTED where it is unusable.
    """

    info: RecordInfo
    bbox: tuple[float, float, float, float]
    assets: tuple[Asset, ...]
    missing: tuple[tuple[str, str], ...] = ()
