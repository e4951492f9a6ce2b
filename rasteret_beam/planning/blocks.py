"""Cutting the points on one pixel grid into blocks of tiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from rasteret_beam.elements import POINT_DTYPE, PlannedPoints, Record, TilePoints, Visit
from rasteret_beam.grid import crs, geotransform
from rasteret_beam.grid.tiling import block_shape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rasteret_beam.elements import Asset, Grid
    from rasteret_beam.options import SampleOptions
    from rasteret_beam.planning.positions import BatchPositions


class Selection(NamedTuple):
    """Points that one asset of one record serves; indexes into the batch, ascending."""

    record: Record
    asset: Asset
    bands: tuple[int, ...]
    points: np.ndarray


class Block(NamedTuple):
    """One block's element, and which points of the batch are in it."""

    row: int
    col: int
    element: TilePoints
    points: np.ndarray


class _Pairs(NamedTuple):
    """Points by the blocks their windows touch; a point near a seam stands in several."""

    block_row: np.ndarray
    block_col: np.ndarray
    member: np.ndarray


def cut_blocks(
    work: BatchPositions, grid: Grid, selections: list[Selection], options: SampleOptions,
) -> Iterator[Block]:
    """Cuts the points of selections that share a grid into blocks."""
    everyone = selections[0].points
    for selection in selections[1:]:
        # The dates of one tile hold the very same array.
        if selection.points is not everyone:
            everyone = np.union1d(everyone, selection.points)
    points = everyone
    x, y = crs.transform(work.batch.crs, grid.crs, work.x[points], work.y[points])
    row_float, col_float = geotransform.world_to_pixel(grid.geotransform, x, y)
    inside = geotransform.inside(row_float, col_float, grid.height, grid.width)
    points, row_float, col_float = points[inside], row_float[inside], col_float[inside]
    if not len(points):
        return
    located = np.empty(len(points), POINT_DTYPE)
    located["point_index"], located["x"], located["y"] = (
        work.index[points], work.x[points], work.y[points],
    )  # fmt: skip
    located["row_float"], located["col_float"] = row_float, col_float
    member_of = [
        None if selection.points is everyone else np.isin(points, selection.points)
        for selection in selections
    ]
    row, col = row_float.astype(np.int64), col_float.astype(np.int64)
    pairs = _touched_blocks(grid, row, col, options.max_distance_pixels)
    event_time = work.batch.event_time_us
    starts = np.flatnonzero(
        np.r_[True, (np.diff(pairs.block_row) != 0) | (np.diff(pairs.block_col) != 0)],
    )
    for start, stop in zip(starts, np.r_[starts[1:], len(pairs.member)], strict=True):
        block_row, block_col = int(pairs.block_row[start]), int(pairs.block_col[start])
        members = pairs.member[start:stop]
        touched = _touched_tiles(
            grid, row[members], col[members], options.max_distance_pixels, block_row, block_col,
        )
        visits = [
            _visit(selection, touched, None if mask is None else mask[members])
            for selection, mask in zip(selections, member_of, strict=True)
        ]
        here = points[members]
        planned = PlannedPoints(
            located[members],
            None if work.columns is None else work.columns.take(pa.array(here)),
            work.batch.crs,
            None if event_time is None else event_time[here],
        )
        wanted = tuple(visit for visit in visits if visit is not None)
        if wanted:
            yield Block(block_row, block_col, TilePoints(grid, planned, wanted), here)


def _touched_blocks(grid: Grid, row: np.ndarray, col: np.ndarray, radius: int) -> _Pairs:
    """Pairs of (block, point) where the point's window touches the block, block by block."""
    shape = block_shape(grid)
    first_row, last_row = _span(row, radius, grid.height, grid.tile_height * shape.rows)
    first_col, last_col = _span(col, radius, grid.width, grid.tile_width * shape.cols)
    rows, cols, members = [], [], []
    for down in range(int((last_row - first_row).max()) + 1):
        for across in range(int((last_col - first_col).max()) + 1):
            hit = np.flatnonzero((first_row + down <= last_row) & (first_col + across <= last_col))
            rows.append(first_row[hit] + down)
            cols.append(first_col[hit] + across)
            members.append(hit)
    block_row, block_col = np.concatenate(rows), np.concatenate(cols)
    member = np.concatenate(members)
    order = np.lexsort((member, block_col, block_row))
    return _Pairs(block_row[order], block_col[order], member[order])


def _touched_tiles(
    grid: Grid, row: np.ndarray, col: np.ndarray, radius: int, block_row: int, block_col: int,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """(member, tile number) pairs of the tiles in one block that windows touch."""
    shape = block_shape(grid)
    first_row, last_row = _span(row, radius, grid.height, grid.tile_height)
    first_col, last_col = _span(col, radius, grid.width, grid.tile_width)
    top, left = block_row * shape.rows, block_col * shape.cols
    first_row, last_row = np.maximum(first_row, top), np.minimum(last_row, top + shape.rows - 1)
    first_col, last_col = np.maximum(first_col, left), np.minimum(last_col, left + shape.cols - 1)
    found = []
    for down in range(int((last_row - first_row).max()) + 1):
        for across in range(int((last_col - first_col).max()) + 1):
            hit = np.flatnonzero((first_row + down <= last_row) & (first_col + across <= last_col))
            tile = (first_row[hit] + down) * grid.tiles_across + first_col[hit] + across
            found.append((hit, tile))
    return found


def _span(
    pixel: np.ndarray, radius: int, size: int, step: int,
) -> tuple[np.ndarray, np.ndarray]:
    """First and last step-wide cell that [pixel - radius, pixel + radius] touches."""
    first = np.maximum(pixel - radius, 0) // step
    return first, np.minimum(pixel + radius, size - 1) // step


def _visit(
    selection: Selection,
    touched: list[tuple[np.ndarray, np.ndarray]],
    mask: np.ndarray | None,
) -> Visit | None:
    """What one asset must read for the points of a block, or None."""
    if mask is None or mask.all():
        tiles, members = [tile for _, tile in touched], None
    else:
        tiles, members = [t[mask[m]] for m, t in touched], np.flatnonzero(mask).astype(np.int32)
    tile_ids = np.unique(np.concatenate(tiles))
    if not len(tile_ids):
        return None
    asset = selection.asset
    return Visit(
        record=selection.record.info,
        href=asset.href,
        plane=asset.plane,
        layout=asset.layout,
        bands=tuple(asset.bands[at] for at in selection.bands),
        samples=tuple(asset.samples[at] for at in selection.bands),
        tile_ids=tile_ids,
        tile_offsets=asset.tile_offsets[tile_ids],
        tile_byte_counts=asset.tile_byte_counts[tile_ids],
        members=members,
    )
