"""Cutting the points on one pixel grid into blocks of tiles."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from rasteret_beam.elements import (
    POINT_DTYPE,
    PlannedPoints,
    Record,
    Source,
    Sources,
    TilePoints,
)
from rasteret_beam.grid import crs, geotransform
from rasteret_beam.grid.tiling import block_shape, touched_tiles

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rasteret_beam.elements import Asset, Grid, RecordInfo
    from rasteret_beam.options import SampleOptions
    from rasteret_beam.planning.positions import BatchPositions


class Selection(NamedTuple):
    """Points that one asset of one record serves; indexes into the batch, ascending."""

    record: Record
    asset: Asset
    bands: tuple[int, ...]
    points: np.ndarray


class Block(NamedTuple):
    """One block's element."""

    row: int
    col: int
    element: TilePoints


class Located(NamedTuple):
    """Points of a batch that lie on a pixel grid.

    Attributes:
        points: int64, ascending: indexes into the batch.
        row_float: float64, same shape: position on the grid.
        col_float: float64, same shape.
    """

    points: np.ndarray
    row_float: np.ndarray
    col_float: np.ndarray

    def take(self, mask: np.ndarray) -> Located:
        """Gives some of them, by a mask."""
        return Located(self.points[mask], self.row_float[mask], self.col_float[mask])


def points_of(selections: list[Selection]) -> np.ndarray:
    """Gives the points that any of some selections holds, ascending."""
    everyone = selections[0].points
    for selection in selections[1:]:
        # The dates of one tile hold the very same array.
        if selection.points is not everyone:
            everyone = np.union1d(everyone, selection.points)
    return everyone


def locate(work: BatchPositions, grid: Grid, points: np.ndarray) -> Located:
    """Finds the points that lie on a pixel of a grid."""
    x, y = crs.transform(work.batch.crs, grid.crs, work.x[points], work.y[points])
    row_float, col_float = geotransform.world_to_pixel(grid.geotransform, x, y)
    inside = geotransform.inside(row_float, col_float, grid.height, grid.width)
    located = Located(points, row_float, col_float)
    return located if inside.all() else located.take(inside)


def cut_blocks(
    work: BatchPositions,
    grid: Grid,
    selections: list[Selection],
    here: Located,
    options: SampleOptions,
) -> Iterator[Block]:
    """Cuts the points of selections that share a grid into blocks.

    Args:
        work: The batch.
        grid: The pixel grid.
        selections: What serves which points; those without a pixel have no part in it.
        here: All of their points that have one.
        options: What to sample.
    """
    points = here.points
    if not len(points):
        return
    everyone = points_of(selections)
    serves = [
        None if selection.points is everyone else np.isin(points, selection.points)
        for selection in selections
    ]
    assets = [selection.asset for selection in selections]
    sources = _sources(grid, tuple((s.record.info, s.asset, s.bands) for s in selections))
    row, col = here.row_float.astype(np.int64), here.col_float.astype(np.int64)
    radius, event_time = options.max_distance_pixels, work.batch.event_time_us
    # Where in its pixel a point is matters for what lies nearest around it; else the pixel
    # will do, and whole numbers travel in fewer bytes.
    exact = (here.row_float, here.col_float) if radius else (row, col)
    located = _as_points(work, points, *exact)
    for block in _touched_blocks(grid, row, col, radius):
        inside, tile_ids = block.points, block.tile_ids
        ranges = [asset.ranges_of(tile_ids) for asset in assets]
        mine = points[inside]
        planned = PlannedPoints(
            located.take(inside),  # of records, ten times as fast as an index
            None if work.columns is None else work.columns.take(pa.array(mine)),
            work.batch.crs,
            None if event_time is None else event_time[mine],
        )
        element = TilePoints(
            sources=sources,
            planned=planned,
            radius=radius,
            members=tuple(None if mask is None else _members(mask[inside]) for mask in serves),
            tile_ids=tile_ids,
            tile_offsets=np.array([offsets for offsets, _ in ranges]),
            tile_byte_counts=np.array([counts for _, counts in ranges]),
        )
        yield Block(block.row, block.col, element)


def _as_points(
    work: BatchPositions, points: np.ndarray, row: np.ndarray, col: np.ndarray,
) -> np.ndarray:
    located = np.empty(len(points), POINT_DTYPE)
    located["point_index"], located["x"], located["y"] = (
        work.index[points], work.x[points], work.y[points],
    )  # fmt: skip
    located["row_float"], located["col_float"] = row, col
    return located


@functools.lru_cache(maxsize=64)
def _sources(grid: Grid, assets: tuple[tuple[RecordInfo, Asset, tuple[int, ...]], ...]) -> Sources:
    """Batches of points that meet the same assets share one object."""
    return Sources(
        grid,
        tuple(
            Source(
                record=info,
                href=asset.href,
                plane=asset.plane,
                layout=asset.layout,
                bands=tuple(asset.bands[at] for at in bands),
                samples=tuple(asset.samples[at] for at in bands),
                # As text: a nodata of NaN equals none.
                stored=(info.ordinal, asset.href, asset.plane, repr(asset.layout)),
                info=asset.info,
            )
            for info, asset, bands in assets
        ),
    )


def _members(serves: np.ndarray) -> np.ndarray | None:
    """Which points a source serves; None for all."""
    return None if serves.all() else np.flatnonzero(serves).astype(np.int32)


class _Touched(NamedTuple):
    """A block that windows touch: its points, and its tiles, ascending."""

    row: int
    col: int
    points: np.ndarray
    tile_ids: np.ndarray


def _touched_blocks(
    grid: Grid, row: np.ndarray, col: np.ndarray, radius: int,
) -> Iterator[_Touched]:
    """Finds the blocks that windows touch; a point near a seam is in several."""
    shape = block_shape(grid)
    points, tile_row, tile_col = touched_tiles(grid, row, col, radius)
    blocks_across = -(-grid.tiles_across // shape.cols)
    block = tile_row // shape.rows * blocks_across + tile_col // shape.cols
    tile = tile_row * grid.tiles_across + tile_col
    order = _by_block_and_tile(grid, block, tile)
    points, block, tile = points[order], block[order], tile[order]
    new_block = np.r_[True, np.diff(block) != 0]
    new_tile = new_block | np.r_[True, np.diff(tile) != 0]
    distinct, starts = tile[new_tile], np.flatnonzero(new_block)
    tile_starts = np.cumsum(new_tile)[starts] - 1
    stops, tile_stops = np.r_[starts[1:], len(block)], np.r_[tile_starts[1:], len(distinct)]
    spans = zip(*(a.tolist() for a in (starts, stops, tile_starts, tile_stops)), strict=True)
    for start, stop, tile_start, tile_stop in spans:
        mine = points[start:stop]
        # A window that touches several tiles of the block stands there several times.
        mine = np.unique(mine) if radius else mine
        block_row, block_col = divmod(int(block[start]), blocks_across)
        yield _Touched(block_row, block_col, mine, distinct[tile_start:tile_stop])


def _by_block_and_tile(grid: Grid, block: np.ndarray, tile: np.ndarray) -> np.ndarray:
    """Indexes that order by block, and by tile within a block."""
    n_tiles = grid.tiles_across * grid.tiles_down
    if n_tiles <= np.iinfo(np.uint16).max:
        # Sixteen bits are sorted in linear time: by tile first, then by block.
        by_tile = np.argsort(tile.astype(np.uint16), kind="stable")
        return by_tile[np.argsort(block[by_tile].astype(np.uint16), kind="stable")]
    return np.lexsort((tile, block))
