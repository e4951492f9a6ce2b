"""How much of a block there is to do: what its rows are in all, and what is done already."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from rasteret_beam import row_sums
from rasteret_beam.elements import BlockRows, TileBlockKey
from rasteret_beam.grid.tiling import block_shape
from rasteret_beam.row_sums import RowLabel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rasteret_beam.elements import BlockPoints, PlannedPoints, RecordInfo, TilePoints
    from rasteret_beam.fetching.merging import Merged


def block_rows(key: TileBlockKey, merged: Sequence[Merged]) -> BlockRows:
    """Gives what the rows of a block are in all.

    Args:
        key: The block.
        merged: All points that need its tiles; those whose own pixel lies in another block
            have their rows there.
    """
    n_rows, total = 0, 0
    for points, visits in merged:
        hashes = row_sums.point_hashes(points.planned.points["point_index"])
        own = _is_own(key, points) if points.radius else None
        every = hashes if own is None else hashes[own]
        for visit in visits:
            mine = every
            if visit.members is not None:
                members = visit.members if own is None else visit.members[own[visit.members]]
                mine = hashes[members]
            for band in visit.source.bands:
                label = _label(visit.source.record, band)
                total = row_sums.add(total, row_sums.row_sum(label, mine))
            n_rows += len(mine) * len(visit.source.bands)
    return BlockRows(key, n_rows, total)


def left_to_do(
    key: TileBlockKey, messages: Iterable[TilePoints], is_done: Callable[[TileBlockKey], bool],
) -> Iterator[TilePoints]:
    """Leaves points out whose rows are there.

    Args:
        key: The block whose tiles the points need.
        messages: The points.
        is_done: Tells whether all rows of a block are there.

    Yields:
        The messages, with the points whose own block is not done.
    """
    for message in messages:
        if not message.radius:
            if not is_done(key):
                yield message
            continue
        kept = _open_points(key, message, is_done)
        if kept.all():
            yield message
        elif kept.any():
            yield _subset(message, kept)


def _label(record: RecordInfo, band: str) -> RowLabel:
    return RowLabel(record.record_id, record.datetime_us, record.collection, record.epsg, band)


def _is_own(key: TileBlockKey, points: BlockPoints) -> np.ndarray:
    """bool, shape (n_points,): whether a point's own pixel lies in the block."""
    shape, grid = block_shape(points.grid), points.grid
    tile_row, tile_col = np.divmod(points.tile, grid.tiles_across)
    own = (tile_row // shape.rows == key.block_row) & (tile_col // shape.cols == key.block_col)
    return np.asarray(own)


def _open_points(
    key: TileBlockKey, message: TilePoints, is_done: Callable[[TileBlockKey], bool],
) -> np.ndarray:
    """bool, shape (n_points,): whether the block of a point's own pixel is not done."""
    grid, points = message.sources.grid, message.planned.points
    shape = block_shape(grid)
    row = points["row_float"].astype(np.int64) // (grid.tile_height * shape.rows)
    col = points["col_float"].astype(np.int64) // (grid.tile_width * shape.cols)
    blocks, number = np.unique(np.column_stack([row, col]), axis=0, return_inverse=True)
    is_open = [
        not is_done(key._replace(block_row=block_row, block_col=block_col))
        for block_row, block_col in blocks.tolist()
    ]
    return np.array(is_open)[number.reshape(-1)]


def _subset(message: TilePoints, kept: np.ndarray) -> TilePoints:
    place = np.cumsum(kept) - 1
    members = tuple(
        None if mine is None else place[mine[kept[mine]]].astype(np.int32)
        for mine in message.members
    )
    return dataclasses.replace(message, planned=_some(message.planned, kept), members=members)


def _some(planned: PlannedPoints, kept: np.ndarray) -> PlannedPoints:
    at = np.flatnonzero(kept)
    return dataclasses.replace(
        planned,
        points=planned.points.take(at),
        columns=None if planned.columns is None else planned.columns.take(pa.array(at)),
        event_time_us=None if planned.event_time_us is None else planned.event_time_us[at],
    )
