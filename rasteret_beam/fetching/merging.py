"""The points of one block, from every batch -> points in the order of the block's tiles."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from rasteret_beam.elements import POINT_DTYPE, BlockPoints, PlannedPoints
from rasteret_beam.grid.tiling import tile_numbers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rasteret_beam.elements import Grid, Source, TilePoints

MERGED_POINTS = 1 << 18
"""Messages are merged until they hold this many points."""


class Visit(NamedTuple):
    """One file that merged points need.

    Attributes:
        source: The file.
        members: int64, shape (n_members,), ascending: which points it serves; None for all.
        tile_ids: int64, shape (n_tiles,), numbers of the tiles whose bytes are known.
        tile_offsets: int64, shape (n_tiles,), bytes from the file's start.
        tile_byte_counts: int64, shape (n_tiles,).
    """

    source: Source
    members: np.ndarray | None
    tile_ids: np.ndarray
    tile_offsets: np.ndarray
    tile_byte_counts: np.ndarray


class Merged(NamedTuple):
    """Points of one block in the order of its tiles, and the files that they need."""

    points: BlockPoints
    visits: tuple[Visit, ...]


def merge(messages: Iterable[TilePoints]) -> list[Merged]:
    """Puts the points of one block together, as far as they can share columns.

    Args:
        messages: The block's points, from every batch.

    Returns:
        At least ``MERGED_POINTS`` points in each, but for the last of a kind.
    """
    kinds: dict[object, list[TilePoints]] = {}
    n_points: Counter[object] = Counter()
    merged: list[Merged] = []
    for message in messages:
        kind = _kind(message)
        kinds.setdefault(kind, []).append(message)
        n_points[kind] += len(message.planned.points)
        if n_points[kind] >= MERGED_POINTS:
            merged.append(_merged(kinds.pop(kind)))
            del n_points[kind]
    merged.extend(_merged(held) for held in kinds.values())
    return merged


def _kind(message: TilePoints) -> object:
    """What messages must share to have their columns put together."""
    planned = message.planned
    columns = None if planned.columns is None else planned.columns.schema
    return planned.crs, columns, planned.event_time_us is None, message.radius


def _merged(messages: Sequence[TilePoints]) -> Merged:
    grid = messages[0].sources.grid
    # As bytes: of structured arrays numpy compares the types, field by field, with each.
    raw = [message.planned.points.view(np.uint8) for message in messages]
    located = np.concatenate(raw).view(POINT_DTYPE)
    row, col = located["row_float"].astype(np.int64), located["col_float"].astype(np.int64)
    order = _by_tile_and_row(grid, row, col)
    tile = tile_numbers(grid, row, col)
    times = [m.planned.event_time_us for m in messages if m.planned.event_time_us is not None]
    planned = PlannedPoints(
        located.take(order),
        _columns(messages, order),
        messages[0].planned.crs,
        np.concatenate(times)[order] if times else None,
    )
    points = BlockPoints(grid, planned, tile[order], row[order], col[order], messages[0].radius)
    return Merged(points, tuple(_visits(messages, order)))


def _by_tile_and_row(grid: Grid, row: np.ndarray, col: np.ndarray) -> np.ndarray:
    """Indexes that put pixels in the order of their tiles, and of rows within a tile."""
    tile_row, tile_col = row // grid.tile_height, col // grid.tile_width
    tile_row, tile_col = tile_row - tile_row.min(), tile_col - tile_col.min()
    place = (tile_row * (tile_col.max() + 1) + tile_col) * grid.tile_height
    place += row % grid.tile_height
    # Sixteen bits are sorted in linear time, and enough for most blocks.
    few = place.max() <= np.iinfo(np.uint16).max
    return np.argsort(place.astype(np.uint16) if few else place, kind="stable")


def _columns(messages: Sequence[TilePoints], order: np.ndarray) -> pa.RecordBatch | None:
    batches = [m.planned.columns for m in messages if m.planned.columns is not None]
    if not batches:
        return None
    table = pa.Table.from_batches(batches).take(pa.array(order)).combine_chunks()
    return table.to_batches()[0]


def _visits(messages: Sequence[TilePoints], order: np.ndarray) -> Iterator[Visit]:
    """The files of all messages, each once, with the tiles and points of every message."""
    first = messages[0]
    if all(message.sources is first.sources for message in messages) and not any(
        members is not None for message in messages for members in message.members
    ):
        # The usual case: every point needs every file.
        tile_ids, at = np.unique(
            np.concatenate([message.tile_ids for message in messages]), return_index=True,
        )
        offsets = np.concatenate([m.tile_offsets for m in messages], axis=1)[:, at]
        counts = np.concatenate([m.tile_byte_counts for m in messages], axis=1)[:, at]
        for number, source in enumerate(first.sources.items):
            yield Visit(source, None, tile_ids, offsets[number], counts[number])
        return
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    found: dict[object, list[tuple[Source, np.ndarray, TilePoints, int]]] = {}
    start = 0
    for message in messages:
        everyone = np.arange(len(message.planned.points))
        for number, source in enumerate(message.sources.items):
            members = message.members[number]
            mine = place[start + (everyone if members is None else members)]
            found.setdefault((source.stored, source.bands), []).append(
                (source, mine, message, number),
            )
        start += len(everyone)
    for parts in found.values():
        members = np.sort(np.concatenate([mine for _, mine, _, _ in parts]))
        tile_ids, at = np.unique(
            np.concatenate([message.tile_ids for _, _, message, _ in parts]), return_index=True,
        )
        offsets = np.concatenate([m.tile_offsets[n] for _, _, m, n in parts])[at]
        counts = np.concatenate([m.tile_byte_counts[n] for _, _, m, n in parts])[at]
        all_of_them = None if len(members) == len(order) else members
        yield Visit(parts[0][0], all_of_them, tile_ids, offsets, counts)
