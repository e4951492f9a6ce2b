"""Which points have their centre in which tile of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rasteret_beam.grid.tiling import tile_numbers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rasteret_beam.elements import TileBatch


class PlacedPoints:
    """Which points of a tile batch have their centre in which of its tiles."""

    def __init__(self, batch: TileBatch) -> None:
        self.batch = batch
        points, members = batch.planned.points, batch.visit.members
        self.row = points["row_float"].astype(np.int64)
        self.col = points["col_float"].astype(np.int64)
        self.tile = tile_numbers(batch.grid, self.row, self.col)
        everyone = np.arange(len(points)) if members is None else members.astype(np.int64)
        here = np.array(sorted({*batch.tiles, *batch.failed}), np.int64)
        mine = np.isin(self.tile[everyone], here)
        owned = everyone[mine]
        self.owned = owned[np.argsort(self.tile[owned], kind="stable")]
        self.halo = everyone[~mine]

    def tiles(self) -> Iterator[tuple[int, slice]]:
        """Each tile that owns points, and where they stand in ``owned``."""
        tile = self.tile[self.owned]
        if not len(tile):
            return
        starts = np.flatnonzero(np.r_[True, np.diff(tile) != 0])
        for start, stop in zip(starts, [*starts[1:], len(tile)], strict=True):
            yield int(tile[start]), slice(int(start), int(stop))
