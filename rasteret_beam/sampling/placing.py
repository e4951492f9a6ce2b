"""Which points have their own pixel in which tile of a batch, and what is in it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rasteret_beam import memory
from rasteret_beam.grid.tiling import tile_origin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rasteret_beam.elements import BlockPoints, DecodedTile, TileBatch


class Span(NamedTuple):
    """Owned points of one tile: ``owned[start:stop]``."""

    tile: int
    start: int
    stop: int


class PlacedPoints:
    """Which points of a tile batch have their own pixel in which of its tiles.

    Attributes:
        batch: The tiles and points.
        spans: Each tile that owns points, and where they stand in ``owned``.
        owned: int64: the points whose own pixel lies in these tiles, ordered by tile.
        all_owned: Whether those are all points of the batch.
    """

    def __init__(self, batch: TileBatch) -> None:
        """Places the points."""
        self.batch = batch
        tile = batch.points.tile
        if batch.members is not None:
            tile = tile[batch.members]
        here = np.array(sorted({*batch.tiles, *batch.failed}), np.int64)
        first = np.searchsorted(tile, here, side="left").tolist()
        last = np.searchsorted(tile, here, side="right").tolist()
        pieces, self.spans, n_owned = [], [], 0
        for number, start, stop in zip(here.tolist(), first, last, strict=True):
            if stop > start:
                pieces.append(np.arange(start, stop))
                self.spans.append(Span(number, n_owned, n_owned + stop - start))
                n_owned += stop - start
        owned = np.concatenate(pieces) if pieces else np.zeros(0, np.int64)
        self._mine = owned
        self.owned = owned if batch.members is None else batch.members[owned]
        self.all_owned = n_owned == len(batch.points.tile)

    @property
    def halo(self) -> np.ndarray:
        """The points that the file serves, but whose own pixel lies elsewhere."""
        members = self.batch.members
        everyone = np.arange(len(self.batch.points.tile)) if members is None else members
        return np.delete(everyone, self._mine)

    def pixels(self, at: int) -> np.ndarray:
        """Gives the owned points' own pixels of one band, the file's dtype; 0 where failed."""
        points, layout = self.batch.points, self.batch.source.layout
        found = memory.empty(len(self.owned), layout.dtype)
        for number, start, stop in self.spans:
            tile = self.batch.tiles.get(number)
            if tile is None:
                found[start:stop] = 0
                continue
            mine: slice | np.ndarray
            if self.batch.members is None:
                # Points of one tile follow each other.
                mine = slice(int(self.owned[start]), int(self.owned[start]) + stop - start)
            else:
                mine = self.owned[start:stop]
            if tile.rows is None:
                flat = _places_in_tiles(points)[mine]
            else:
                top, left = tile_origin(points.grid, number)
                flat = flat_index(tile, points.row[mine] - top, points.col[mine] - left)
            take_pixels(tile, self.batch.source.samples[at], flat, found[start:stop])
        return found

    def failures(self) -> Iterator[tuple[slice, str]]:
        """Owned points in tiles that could not be read, and the error's code."""
        for number, start, stop in self.spans:
            if number in self.batch.failed:
                yield slice(start, stop), self.batch.failed[number]


@functools.lru_cache(maxsize=2)
def _places_in_tiles(points: BlockPoints) -> np.ndarray:
    """``flat_index`` of every point in its own whole tile; the same for all files of a block."""
    grid = points.grid
    return points.row % grid.tile_height * grid.tile_width + points.col % grid.tile_width


def flat_index(tile: DecodedTile, row: np.ndarray, col: np.ndarray) -> np.ndarray:
    """Where pixels stand in one sample's plane of a tile; rows and columns of the tile."""
    if tile.rows is not None:
        row = np.searchsorted(tile.rows, row)
    return row * tile.pixels.shape[2] + col


def take_pixels(tile: DecodedTile, sample: int, flat: np.ndarray, out: np.ndarray) -> None:
    """Copies pixels of one sample out of a tile.

    Args:
        tile: The tile.
        sample: Index of the sample.
        flat: int64, any shape: of ``flat_index``.
        out: The tile's dtype, same shape.
    """
    stored = np.moveaxis(tile.pixels, 0, -1)
    if stored.flags.c_contiguous:
        n_samples = stored.shape[2]
        at = flat if n_samples == 1 else flat * n_samples + sample
        # With an output, only this mode writes without a copy.
        np.take(stored.reshape(-1), at, out=out, mode="clip")
    else:
        out[...] = tile.pixels[sample][np.divmod(flat, stored.shape[1])]
