"""Of a whole plan, what a replay runs again."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rasteret_beam.grid.tiling import touched_tiles
from rasteret_beam.planning.blocks import Located, Selection, points_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rasteret_beam.elements import Grid, Record
    from rasteret_beam.replaying import Replay

_NO_GRID = -1


class Loss(NamedTuple):
    """Points that a band of a record would serve, if it could be read."""

    record: Record
    band: str
    code: str
    points: np.ndarray


def runs_whole(only: Replay, record: Record, band: str) -> bool:
    """Tells whether everything runs again of a band that cannot be read."""
    return only.tiles_of(record.info.record_id, band, _NO_GRID) is None


def awaited(only: Replay, record: Record) -> bool:
    """Tells whether a band of a record runs again whole, read or not."""
    named = [(band, _NO_GRID) for band, _ in record.missing]
    named += [(band, asset.grid.digest()) for asset in record.assets for band in asset.bands]
    return any(only.tiles_of(record.info.record_id, *one) is None for one in named)


def narrow(
    only: Replay,
    named: np.ndarray,
    grid: Grid,
    selections: list[Selection],
    here: Located,
    radius: int,
) -> tuple[list[Selection], Located]:
    """Keeps what of some selections is to run again.

    Args:
        only: What that is.
        named: bool, shape (n_points of the batch,): points that run again whole.
        grid: The pixel grid of all the selections.
        selections: What serves which points.
        here: All of their points that lie on a pixel.
        radius: How many pixels around a point's own are needed.

    Returns:
        The selections, split by band where bands differ: points that are named, points of
        bands that run again whole, and points whose window touches a tile that is
        named. And where these are.
    """
    if not len(here.points):
        return [], here
    row, col = here.row_float.astype(np.int64), here.col_float.astype(np.int64)
    point, tile_row, tile_col = touched_tiles(grid, row, col, radius)
    touched = here.points[point], tile_row * grid.tiles_across + tile_col
    kept: list[Selection] = []
    for selection in selections:
        for tiles, bands in _by_tiles(only, selection, grid.digest()):
            points = selection.points
            if tiles is not None:
                near = touched[0][np.isin(touched[1], tiles)]
                points = points[named[points] | np.isin(points, near)]
            if len(points):
                kept.append(selection._replace(bands=bands, points=points))
    if not kept:
        return [], here.take(np.zeros(len(here.points), bool))
    return kept, here.take(np.isin(here.points, points_of(kept)))


def _by_tiles(
    only: Replay, selection: Selection, grid: int,
) -> Iterator[tuple[np.ndarray | None, tuple[int, ...]]]:
    """The bands of a selection, together where the same tiles are named of them."""
    found: dict[bytes | None, tuple[np.ndarray | None, list[int]]] = {}
    for at in selection.bands:
        tiles = only.tiles_of(selection.record.info.record_id, selection.asset.bands[at], grid)
        key = None if tiles is None else tiles.tobytes()
        found.setdefault(key, (tiles, []))[1].append(at)
    for tiles, bands in found.values():
        yield tiles, tuple(bands)
