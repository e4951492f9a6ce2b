"""Which points have their own pixel in which tile of a batch, and what is in it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rasteret_beam.elements import PointPixels
from rasteret_beam.grid.tiling import block_shape, tile_origin, touched_tiles

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rasteret_beam.elements import BlockPoints, TileBatch


WHOLE, CUT, OPEN = range(3)
"""What tiles hold of a window: all of it, all there will ever be, or a part of it.

Of a cut one the rest lies off the image, or in tiles that could not be read."""


class Span(NamedTuple):
    """Owned points of one tile: ``owned[start:stop]``."""

    tile: int
    start: int
    stop: int


class _Touched(NamedTuple):
    """Each tile that each window touches: the window's number, and whether the tile was read."""

    point: np.ndarray
    read: np.ndarray
    failed: np.ndarray


class Placement:
    """Which points have their own pixel in which of some tiles.

    The same for all files of a block that are read alike, so it is found once for them.

    Attributes:
        points: The points.
        members: int64, ascending: which of them the file serves; None for all.
        tiles: Numbers of the tiles that were read.
        failed: Numbers of those that could not be read.
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
            tiles: Numbers of the tiles that were read.
            failed: Numbers of those that could not be read.
        """
        self.points, self.members, self.tiles, self.failed = points, members, tiles, failed
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
        """int64: points of other tiles whose window reaches into these; one a pixel.

        Ordered by the block of their own pixel, and then by pixel.
        """
        everyone, grid = self.members, self.points.grid
        if everyone is None:
            everyone = np.arange(len(self.points.tile))
        halo = np.delete(everyone, self._mine)
        pixel = self.points.row[halo] * grid.width + self.points.col[halo]
        halo = halo[np.unique(pixel, return_index=True)[1]]
        touched = self._touched(halo)
        halo = halo[np.unique(touched.point[touched.read | touched.failed])]
        return halo[np.lexsort(self.owners(halo)[::-1])]

    def owners(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gives row and column of the blocks that hold points' own pixels."""
        grid = self.points.grid
        shape = block_shape(grid)
        return (
            self.points.row[points] // (grid.tile_height * shape.rows),
            self.points.col[points] // (grid.tile_width * shape.cols),
        )

    @functools.cached_property
    def inside(self) -> np.ndarray:
        """bool, as ``owned``: points that have their whole window in one tile that was read."""
        points, radius = self.points, self.points.radius
        grid, failed = points.grid, set(self.failed)
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
    def is_read(self) -> np.ndarray:
        """bool, as ``owned``: points whose own tile was read."""
        is_read, failed = np.ones(len(self.owned), bool), set(self.failed)
        for number, start, stop in self.spans:
            is_read[start:stop] = number not in failed
        return is_read

    @functools.cached_property
    def reach(self) -> np.ndarray:
        """int8, as ``owned``: what of their windows these tiles hold, ``WHOLE`` and its like."""
        points, grid = self.points, self.points.grid
        reach = np.full(len(self.owned), WHOLE, np.int8)
        crossing = np.flatnonzero(~self.inside)
        around = self._touched(self.owned[crossing])
        reach[crossing[around.point[around.failed]]] = CUT
        first, last = (
            [axis[self.owned[crossing]] + step for axis in (points.row, points.col)]
            for step in (-points.radius, points.radius)
        )
        off_image = (first[0] < 0) | (first[1] < 0)
        off_image |= (last[0] >= grid.height) | (last[1] >= grid.width)
        reach[crossing[off_image]] = CUT
        reach[crossing[around.point[~around.read & ~around.failed]]] = OPEN
        return reach

    def _touched(self, points: np.ndarray) -> _Touched:
        """The tiles that windows touch."""
        row, col = self.points.row[points], self.points.col[points]
        grid = self.points.grid
        point, tile_row, tile_col = touched_tiles(grid, row, col, self.points.radius)
        number = tile_row * grid.tiles_across + tile_col
        read, failed = (
            np.isin(number, np.array(some, np.int64)) for some in (self.tiles, self.failed)
        )
        return _Touched(point, read, failed)


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
        sample, found = source.samples[at], np.empty(len(self.owned), source.layout.dtype)
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
