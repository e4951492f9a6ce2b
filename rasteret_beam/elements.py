"""What flows: the elements that PCollections carry between stages.

Every element is frozen and holds plain values, numpy arrays or Arrow batches, so
that the pure core can make and read them without Beam. Arrow batches are pickled as
IPC streams: pickling a slice would drag its whole parent along.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
import hashlib
import pickle
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rasteret_beam.packing import Packed, pack, unpack

if TYPE_CHECKING:
    import pyarrow as pa

POINT_DTYPE = np.dtype(
    [
        ("point_index", "<i8"),
        ("x", "<f8"),
        ("y", "<f8"),
        ("row_float", "<f8"),
        ("col_float", "<f8"),
    ],
)
"""One planned point: its index, its input coordinates, its position on the pixel grid."""


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
        tile_offsets: int64, shape (n_tiles,), row-major; bytes from the file's start.
        tile_byte_counts: int64, shape (n_tiles,); 0 marks a sparse tile, -1 one that
            the file's table does not reach.
    """

    href: str
    plane: int
    grid: Grid
    layout: TileLayout
    bands: tuple[str, ...]
    samples: tuple[int, ...]
    tile_offsets: np.ndarray
    tile_byte_counts: np.ndarray


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


class Batch(abc.ABC):
    """What PCollections carry many rows of. Pickles itself; its coder asks for its size."""

    __slots__ = ()

    @property
    @abc.abstractmethod
    def nbytes(self) -> int:
        """Memory of its arrays, in bytes."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class PointBatch(Batch):
    """Some tens of thousands of points.

    Attributes:
        points: ``point_index`` int64, ``point_x`` and ``point_y`` float64 (NaN or null
            where the row holds no point), then the user's columns.
        crs: CRS of the coordinates; None means "as the rasters' own".
        event_time_us: int64, shape (n_points,), the rows' own timestamps in
            microseconds where they came one by one; None for bounded inputs.
    """

    points: pa.RecordBatch
    crs: str | None
    event_time_us: np.ndarray | None = None

    @property
    def nbytes(self) -> int:
        """Memory of the points, in bytes."""
        return int(self.points.nbytes)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the points as an IPC stream."""
        return _point_batch, (pack(self.points), self.crs, self.event_time_us)


def _point_batch(data: Packed, crs: str | None, event_time_us: np.ndarray | None) -> PointBatch:
    return PointBatch(unpack(data), crs, event_time_us)


class TileBlockKey(NamedTuple):
    """A small block of neighbouring tiles, of a few records that share a grid.

    Every (record, tile) belongs to exactly one key, so grouping by it fetches each
    tile once in each window.

    Attributes:
        grid: ``Grid.digest()``; ``planning.NO_TILE`` for rows that need no tile.
        record_group: Which of the records that share the grid: some
            ``planning.RECORDS_PER_KEY`` by rank, or those of one stretch of time.
        block_row: Row of the block.
        block_col: Column of the block.
    """

    grid: int
    record_group: int
    block_row: int
    block_col: int


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Source:
    """One file of a record, and the bands to sample from its tiles.

    Attributes:
        record: The file's record.
        href: Where the file is.
        plane: The band index where samples are planar; 0 where they are chunky.
        layout: How its tiles are stored.
        bands: Names of the bands to sample.
        samples: For each band, the index of its sample inside a decoded tile.
        stored: Equal for sources whose tiles are the same stored bytes.
    """

    record: RecordInfo
    href: str
    plane: int
    layout: TileLayout
    bands: tuple[str, ...]
    samples: tuple[int, ...]
    stored: tuple[object, ...]


class Sources:
    """What to sample for points that share a pixel grid.

    Pickled once however many messages carry it, and unpickled once in each process.

    Attributes:
        grid: The pixel grid.
        items: The files, each of this grid.
    """

    __slots__ = ("_packed", "grid", "items")

    def __init__(self, grid: Grid, items: tuple[Source, ...], packed: bytes | None = None) -> None:
        """Holds what both are."""
        self.grid, self.items, self._packed = grid, items, packed

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles as bytes that are made once."""
        if self._packed is None:
            self._packed = pickle.dumps((self.grid, self.items), pickle.HIGHEST_PROTOCOL)
        return _sources, (self._packed,)


@functools.lru_cache(maxsize=1024)
def _sources(packed: bytes) -> Sources:
    grid, items = pickle.loads(packed)  # noqa: S301 -- our own bytes
    return Sources(grid, items, packed)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class PlannedPoints:
    """Points with their positions on one pixel grid, and the columns they carry.

    Attributes:
        points: ``POINT_DTYPE``, shape (n_points,).
        columns: The user's columns, n_points rows, or None where there are none.
        crs: CRS of the input coordinates, or None.
        event_time_us: int64, shape (n_points,), or None.
    """

    points: np.ndarray
    columns: pa.RecordBatch | None
    crs: str | None
    event_time_us: np.ndarray | None

    @property
    def nbytes(self) -> int:
        """Memory of the points and their columns, in bytes."""
        return self.points.nbytes + (0 if self.columns is None else self.columns.nbytes)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the columns as an IPC stream."""
        columns = None if self.columns is None else pack(self.columns)
        return _planned_points, (self.points.tobytes(), columns, self.crs, self.event_time_us)


def _planned_points(
    points: bytes, data: Packed | None, crs: str | None, event_time_us: np.ndarray | None,
) -> PlannedPoints:
    columns = None if data is None else unpack(data)
    return PlannedPoints(np.frombuffer(points, POINT_DTYPE), columns, crs, event_time_us)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class TilePoints(Batch):
    """The points of one batch that need one block, and the byte ranges of its tiles.

    Attributes:
        sources: What to sample for them.
        planned: The points.
        radius: How many pixels around a point's own are needed.
        members: For each source, int32, shape (n_members,): which points it serves;
            None for all.
        tile_ids: int64, shape (n_tiles,), row-major numbers of the tiles that the points
            need, ascending.
        tile_offsets: int64, shape (n_sources, n_tiles), bytes from the file's start.
        tile_byte_counts: int64, shape (n_sources, n_tiles); 0 marks a sparse tile, -1 one
            that the file's table does not reach.
    """

    sources: Sources
    planned: PlannedPoints
    radius: int
    members: tuple[np.ndarray | None, ...]
    tile_ids: np.ndarray
    tile_offsets: np.ndarray
    tile_byte_counts: np.ndarray

    @property
    def nbytes(self) -> int:
        """Memory of the points and byte ranges, in bytes."""
        return self.planned.nbytes + self.tile_offsets.nbytes + self.tile_byte_counts.nbytes

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the byte ranges as one run of bytes: there are millions of small ones."""
        ranges = np.vstack([self.tile_ids, self.tile_offsets, self.tile_byte_counts])
        what = self.sources, self.planned, self.radius, self.members
        return _tile_points, (*what, ranges.shape, ranges.astype(np.int64).tobytes())


def _tile_points(
    sources: Sources,
    planned: PlannedPoints,
    radius: int,
    members: tuple[np.ndarray | None, ...],
    shape: tuple[int, int],
    data: bytes,
) -> TilePoints:
    ranges, middle = np.frombuffer(data, np.int64).reshape(shape), 1 + shape[0] // 2
    offsets, counts = ranges[1:middle], ranges[middle:]
    return TilePoints(sources, planned, radius, members, ranges[0], offsets, counts)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class BlockPoints:
    """Points of one block, from one or many ``TilePoints``, in the order of their tiles.

    Attributes:
        grid: The block's pixel grid.
        planned: The points, ordered by tile and row.
        tile: int64, shape (n_points,), ascending: the tile of each point's own pixel; it
            may lie in another block where only the point's surroundings lie in this one.
        row: int64, shape (n_points,): row of the point's own pixel in the image.
        col: int64, shape (n_points,): its column.
        radius: How many pixels around a point's own are needed.
    """

    grid: Grid
    planned: PlannedPoints
    tile: np.ndarray
    row: np.ndarray
    col: np.ndarray
    radius: int


class DecodedTile(NamedTuple):
    """Pixels of one tile, or of those of its rows that were wanted.

    Attributes:
        pixels: The file's dtype in native byte order, shape (sample, row, col).
        rows: int64, shape (n_rows,), ascending: which of the tile's rows ``pixels``
            holds; None for all of them.
    """

    pixels: np.ndarray
    rows: np.ndarray | None


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class TileBatch(Batch):
    """Decoded tiles of one file in one block, with the points that need them.

    Lives inside a fused stage; it can cross a coder, but should not be shuffled.

    Attributes:
        key: The block.
        points: The points; those outside these tiles are left to other batches.
        source: The file that was read.
        members: int64, shape (n_members,), ascending: which points the file serves; None
            for all.
        tiles: By tile number, its pixels.
        failed: By tile number, the error code of a tile that could not be read.
    """

    key: TileBlockKey
    points: BlockPoints
    source: Source
    members: np.ndarray | None
    tiles: dict[int, DecodedTile]
    failed: dict[int, str]

    @property
    def nbytes(self) -> int:
        """Memory of the pixels and points, in bytes."""
        return self.points.planned.nbytes + sum(t.pixels.nbytes for t in self.tiles.values())


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class PixelWindows:
    """What one batch of tiles knows of the pixels around some samples.

    A window is the (2r + 1)^2 pixels around a centre, row-major. Windows that cross
    a batch's edge are partial; parts from other batches complete them.

    Attributes:
        key: The block that owns the centre pixels.
        row: int64, shape (n,): the sample's row in ``SampleBatch.samples``; -1 where
            another batch holds the sample.
        identity: int64, shape (n, 4): the centre's row and column, the record's ordinal,
            the band's number. Windows of equal identity hold equal pixels.
        position: float64, shape (n, 2): row_float, col_float of the point.
        values: The file's dtype, shape (n, (2r + 1)^2), 0 where unknown.
        state: uint8, same shape: ``reading.UNKNOWN`` and its like.
        scale: Size of a pixel (x, y) in CRS units, both positive.
    """

    key: TileBlockKey
    row: np.ndarray
    identity: np.ndarray
    position: np.ndarray
    values: np.ndarray
    state: np.ndarray
    scale: tuple[float, float]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class SampleBatch(Batch):
    """Sample rows, and what ``FallbackRing`` needs to finish them.

    Attributes:
        samples: Rows in the schema of ``schema.sample_schema``.
        crs: CRS of their coordinates; None means "as the rasters' own".
        event_time_us: int64, shape (n_rows,), or None.
        windows: Pixels around the rows (and around rows of other batches); empty
            once ``FallbackRing`` is through.
        neighbours: The file's dtype, shape (n_rows, (2r + 1)^2): what is to become of
            the rows' ``neighbourhood_values``; None once ``FallbackRing`` is through.
            Several times smaller than the column.
    """

    samples: pa.RecordBatch
    crs: str | None
    event_time_us: np.ndarray | None = None
    windows: tuple[PixelWindows, ...] = ()
    neighbours: np.ndarray | None = None

    @property
    def nbytes(self) -> int:
        """Memory of the rows and windows, in bytes."""
        around = 0 if self.neighbours is None else self.neighbours.nbytes
        return int(self.samples.nbytes) + around + sum(w.values.nbytes for w in self.windows)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the samples as an IPC stream."""
        rest = (self.crs, self.event_time_us, self.windows, self.neighbours)
        return _sample_batch, (pack(self.samples), *rest)


def _sample_batch(data: Packed, *rest: Any) -> SampleBatch:  # noqa: ANN401 -- the other fields
    return SampleBatch(unpack(data), *rest)


class DeadLetter(NamedTuple):
    """Input that can never succeed: what it was, where it failed, and why.

    The first three fields are those of Beam's error-handling rows.

    Attributes:
        element: JSON text that names the input: file, record, band, tile, points.
        msg: What went wrong, with the offending value.
        stack: Traceback text, or "".
        stage: The transform that gave up on it.
        code: The status code of the condition, as in sample rows.
    """

    element: str
    msg: str
    stack: str
    stage: str
    code: str
