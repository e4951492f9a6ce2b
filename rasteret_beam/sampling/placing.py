"""Which points have their own pixel in which tile of a batch, and what is in it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rasteret_beam import memory
from rasteret_beam.elements import PointPixels
from rasteret_beam.grid.tiling import tile_origin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rasteret_beam.elements import BlockPoints, TileBatch


class Span(NamedTuple):
    """Owned points of one tile: ``owned[start:stop]``."""

    tile: int
    start: int
    stop: int


class Placement:
    """Which points have their own pixel in which of some tiles.

    The same for all files of a block that are read alike, so it is found once for them.

    Attributes:
        points: The points.
        members: int64, ascending: which of them the file serves; None for all.
        spans: Each tile that owns points, and where they stand in ``owned``.
        owned: int64: the points whose own pixel lies in these tiles, ordered by tile.
        all_owned: Whether those are all points.
    """

    def __init__(
        self,
        points: BlockPoints,
        members: np.ndarray | None,
        tiles: tuple[int, ...],
        failed: tuple[int, ...],
    ) -> None:
        """Places the points.

        Args:
            points: The points.
            members: int64, ascending: which of them the file serves; None for all.
            tiles: Numbers of the tiles that there are.
            failed: Numbers of those that could not be read.
        """
        self.points, self.members, self._tiles, self._failed = points, members, tiles, failed
        tile = points.tile if members is None else points.tile[members]
        here = np.array(sorted({*tiles, *failed}), np.int64)
        first = np.searchsorted(tile, here, side="left").tolist()
        last = np.searchsorted(tile, here, side="right").tolist()
        pieces, self.spans, n_owned = [], [], 0
        for number, start, stop in zip(here.tolist(), first, last, strict=True):
            if stop > start:
                pieces.append(np.arange(start, stop))
                self.spans.append(Span(number, n_owned, n_owned + stop - start))
                n_owned += stop - start
        self._mine = np.concatenate(pieces) if pieces else np.zeros(0, np.int64)
        self.owned = self._mine if members is None else members[self._mine]
        self.all_owned = n_owned == len(points.tile)

    @functools.cached_property
    def halo(self) -> np.ndarray:
        """Points whose own pixel lies elsewhere, of those that the file serves; one a pixel."""
        everyone = self.members
        if everyone is None:
            everyone = np.arange(len(self.points.tile))
        halo = np.delete(everyone, self._mine)
        pixel = self.points.row[halo] * self.points.grid.width + self.points.col[halo]
        return halo[np.sort(np.unique(pixel, return_index=True)[1])]

    @functools.cached_property
    def inside(self) -> np.ndarray:
        """bool, as ``owned``: points that have their whole window in one tile that was read."""
        points, radius = self.points, self.points.radius
        grid, failed = points.grid, set(self._failed)
        inside = np.zeros(len(self.owned), bool)
        for number, start, stop in self.spans:
            if number in failed:
                continue
            top, left = tile_origin(grid, number)
            mine = self.owned[start:stop]
            row, col = points.row[mine] - top, points.col[mine] - left
            bottom = min(grid.tile_height, grid.height - top)
            right = min(grid.tile_width, grid.width - left)
            fits = (row >= radius) & (row < bottom - radius)
            inside[start:stop] = fits & (col >= radius) & (col < right - radius)
        return inside

    @functools.cached_property
    def rest(self) -> Placement:
        """All points but those inside."""
        if self.members is None:
            kept = np.delete(np.arange(len(self.points.tile)), self.owned[self.inside])
        else:
            kept = np.delete(self.members, self._mine[self.inside])
        return Placement(self.points, kept, self._tiles, self._failed)


def place(batch: TileBatch) -> Placement:
    """Places the points of a batch; the files of one block follow each other."""
    tiles, failed = tuple(batch.tiles), tuple(batch.failed)
    if batch.members is None:
        return _place_all(batch.points, tiles, failed)
    return Placement(batch.points, batch.members, tiles, failed)


@functools.lru_cache(maxsize=2)
def _place_all(
    points: BlockPoints, tiles: tuple[int, ...], failed: tuple[int, ...],
) -> Placement:
    return Placement(points, None, tiles, failed)


class PlacedPoints:
    """Points of a tile batch where they have been placed in its tiles.

    Attributes:
        batch: The tiles and points.
        where: Which points have their own pixel in which tile.
        owned: As ``Placement`` has it.
    """

    def __init__(self, batch: TileBatch, where: Placement) -> None:
        """Takes both, for ``where`` is of ``batch`` or a part of it."""
        self.batch, self.where, self.owned = batch, where, where.owned

    def pixels(self, at: int) -> np.ndarray:
        """Gives the owned points' own pixels of one band, the file's dtype; 0 where failed."""
        points, source = self.batch.points, self.batch.source
        sample, found = source.samples[at], memory.empty(len(self.owned), source.layout.dtype)
        for number, start, stop in self.where.spans:
            tile = self.batch.tiles.get(number)
            if tile is None:
                found[start:stop] = 0
                continue
            if isinstance(tile, PointPixels):
                found[start:stop] = tile.pixels[sample]
                continue
            mine: slice | np.ndarray
            if self.where.members is None:
                # Points of one tile follow each other.
                mine = slice(int(self.owned[start]), int(self.owned[start]) + stop - start)
            else:
                mine = self.owned[start:stop]
            if tile.rows is None:
                places = _places_in_tiles(points)[mine]
            else:
                top, left = tile_origin(points.grid, number)
                places = tile.places(points.row[mine] - top, points.col[mine] - left)
            tile.take(sample, places, found[start:stop])
        return found

    def failures(self) -> Iterator[tuple[slice, str]]:
        """Owned points in tiles that could not be read, and the error's code."""
        for number, start, stop in self.where.spans:
            if number in self.batch.failed:
                yield slice(start, stop), self.batch.failed[number]


@functools.lru_cache(maxsize=2)
def _places_in_tiles(points: BlockPoints) -> np.ndarray:
    """Where every point stands in its own whole tile; the same for all files of a block."""
    grid = points.grid
    return points.row % grid.tile_height * grid.tile_width + points.col % grid.tile_width
