"""Blocks of tiles, planned and decoded, with the points that need them."""

from __future__ import annotations

import dataclasses
import functools
import pickle
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rasteret_beam.elements.batch import Batch

if TYPE_CHECKING:
    from rasteret_beam.elements.points import PlannedPoints
    from rasteret_beam.elements.rasters import FileInfo, Grid, RecordInfo, TileLayout


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


class BlockRows(NamedTuple):
    """All sample rows whose points' own pixels lie in one block.

    Travels with the rows, so that whoever gathers them can tell when all are there.

    Attributes:
        key: The block.
        n_rows: How many rows were planned.
        row_sum: ``row_sums.row_sum`` of them.
    """

    key: TileBlockKey
    n_rows: int
    row_sum: int


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
        info: The file's size and ETag when it was indexed, or None.
    """

    record: RecordInfo
    href: str
    plane: int
    layout: TileLayout
    bands: tuple[str, ...]
    samples: tuple[int, ...]
    stored: tuple[object, ...]
    info: FileInfo | None = None


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
        ids = self.tile_ids[np.newaxis]
        ranges = np.concatenate([ids, self.tile_offsets, self.tile_byte_counts])
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

    def places(self, row: np.ndarray, col: np.ndarray) -> np.ndarray:
        """Gives where pixels stand in one sample's plane, by rows and columns of the tile."""
        return self.stored_rows(row) * self.pixels.shape[2] + col

    def stored_rows(self, row: np.ndarray) -> np.ndarray:
        """Gives which rows of ``pixels`` those of the tile are."""
        return row if self.rows is None else np.searchsorted(self.rows, row)

    def picked(self, places: np.ndarray) -> np.ndarray:
        """Gives pixels of all samples: the tile's dtype, shape (sample, ``len(places)``)."""
        stored = self.pixels.transpose(1, 2, 0)
        if not stored.flags.c_contiguous:
            row, col = np.divmod(places, stored.shape[1])
            return self.pixels[:, row, col]
        # With an output, only this mode writes without a copy.
        out = np.empty((len(places), stored.shape[2]), stored.dtype)
        np.take(stored.reshape(-1, stored.shape[2]), places, axis=0, out=out, mode="clip")
        return out.T

    def take(self, sample: int, places: np.ndarray, out: np.ndarray) -> None:
        """Copies pixels of one sample to ``out``, of the tile's dtype and ``places``' shape."""
        stored = self.pixels.transpose(1, 2, 0)
        if stored.flags.c_contiguous:
            n_samples = stored.shape[2]
            at = places if n_samples == 1 else places * n_samples + sample
            np.take(stored.reshape(-1), at, out=out, mode="clip")
        else:
            out[...] = self.pixels[sample][np.divmod(places, stored.shape[1])]


class PointPixels(NamedTuple):
    """The pixels of one tile that contain points: what is kept where they need no others.

    Attributes:
        pixels: The file's dtype in native byte order, shape (sample, point): the pixel of
            each point that the file serves and whose pixel lies in the tile, in their
            order.
    """

    pixels: np.ndarray


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class TileBatch(Batch):
    """Decoded tiles of one file in one block, with the points that need them.

    Lives inside a fused stage; it can cross a coder, but should not be shuffled.

    Attributes:
        block: The block, and what its rows are in all.
        points: The points; those outside these tiles are left to other batches.
        source: The file that was read.
        members: int64, shape (n_members,), ascending: which points the file serves; None
            for all.
        tiles: By tile number, its pixels; as ``PointPixels`` where the points need nothing
            around them, and all that need the tile are these.
        failed: By tile number, the error code of a tile that could not be read.
    """

    block: BlockRows
    points: BlockPoints
    source: Source
    members: np.ndarray | None
    tiles: dict[int, DecodedTile | PointPixels]
    failed: dict[int, str]

    @property
    def nbytes(self) -> int:
        """Memory of the pixels and points, in bytes."""
        return self.points.planned.nbytes + sum(t.pixels.nbytes for t in self.tiles.values())
