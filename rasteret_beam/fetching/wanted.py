"""The points of one block -> what is needed of each of its tiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rasteret_beam.elements import PointPixels
from rasteret_beam.grid.tiling import tile_origin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rasteret_beam.elements import BlockPoints, DecodedTile


class WantedPixels:
    """What points need of one tile; the same for all files that they need alike.

    Attributes:
        rows: int64, ascending, distinct: the tile's rows in question.
    """

    def __init__(
        self, rows: np.ndarray, own: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> None:
        """Holds what is needed.

        Args:
            rows: int64, ascending, distinct: the tile's rows in question.
            own: int64, shape (n_points,) each: row and column in the tile of each point's
                own pixel, in the points' order, where no others are needed.
        """
        self.rows, self._own = rows, own
        self._places: dict[bool, np.ndarray] = {}

    def __or__(self, other: WantedPixels) -> WantedPixels:
        """Gives what these points and others need together."""
        return self if other is self else WantedPixels(np.union1d(self.rows, other.rows))

    def pick(self, tile: DecodedTile) -> DecodedTile | PointPixels:
        """Keeps of a tile what is needed, so that its memory can be used for the next one.

        Args:
            tile: All of the tile's rows, or ``rows``.
        """
        if self._own is None:
            return tile
        whole = tile.rows is None
        if whole not in self._places:
            self._places[whole] = tile.places(*self._own)
        return PointPixels(tile.picked(self._places[whole]))


def wanted_pixels(
    points: BlockPoints, members: np.ndarray | None, tile_ids: np.ndarray,
) -> dict[int, WantedPixels]:
    """Finds what points need of each tile.

    Args:
        points: The points.
        members: Which of them count; None for all.
        tile_ids: int64, the tiles in question.

    Returns:
        By number, the tiles of which anything is needed.
    """
    if points.radius:
        return dict(_around(points, members, tile_ids))
    tile = points.tile if members is None else points.tile[members]
    row = points.row if members is None else points.row[members]
    col = points.col if members is None else points.col[members]
    if not len(tile):
        return {}
    starts = np.flatnonzero(np.diff(tile, prepend=-1))
    row, col = row % points.grid.tile_height, col % points.grid.tile_width
    found = {}
    for number, own in zip(
        tile[starts].tolist(),
        zip(np.split(row, starts[1:]), np.split(col, starts[1:]), strict=True),
        strict=True,
    ):
        # The points of a tile are ordered by row.
        rows = own[0][np.diff(own[0], prepend=-1) != 0]
        found[number] = WantedPixels(rows, own)
    return found


def _around(
    points: BlockPoints, members: np.ndarray | None, tile_ids: np.ndarray,
) -> Iterator[tuple[int, WantedPixels]]:
    row = points.row if members is None else points.row[members]
    col = points.col if members is None else points.col[members]
    radius, grid = points.radius, points.grid
    for number in tile_ids.tolist():
        top, left = tile_origin(grid, number)
        bottom, right = top + grid.tile_height, left + grid.tile_width
        near = (row >= top - radius) & (row < bottom + radius)
        near &= (col >= left - radius) & (col < right + radius)
        if near.any():
            own = np.unique(row[near]) - top
            around = (own[:, np.newaxis] + np.arange(-radius, radius + 1)).reshape(-1)
            on_image = min(grid.tile_height, grid.height - top)
            yield number, WantedPixels(np.unique(around[(around >= 0) & (around < on_image)]))
