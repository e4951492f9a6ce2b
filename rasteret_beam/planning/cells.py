"""Points by the cell of the Earth they are in, and one cell's points planned together."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from rasteret_beam.elements import PointBatch
from rasteret_beam.grid import crs
from rasteret_beam.planning.footprints import Footprints, winners
from rasteret_beam.planning.planner import Planner, Tally
from rasteret_beam.planning.positions import BatchPositions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rasteret_beam.elements import Grid, Record, TileBlockKey, TilePoints
    from rasteret_beam.options import SampleOptions

NOWHERE = -1
"""Cell of points that no record holds: those without coordinates."""

ANYWHERE = -2
"""Cell of points that any record may hold: those without a place on the Earth."""

BATCH_ROWS = 65536
"""Rows of the batches that a cell's points are joined to."""

ROUND_POINTS = 1 << 20
"""Points of a cell that are planned together; for more the records are read again."""

CHUNK_BYTES = 64 * 1024 * 1024
"""Tile tables of the records that are held at once, in bytes."""

_RECORD_BYTES = 2048


def split_by_cell(
    batch: PointBatch, cell_of: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> Iterator[tuple[int, PointBatch]]:
    """Sends every point of a batch to one cell, as records are matched to it.

    Args:
        batch: The points; an empty batch goes to ``NOWHERE``, for its schema.
        cell_of: Gives the cells of longitudes (within +-180) and latitudes.

    Yields:
        Each cell with its points.
    """
    work = BatchPositions(batch)
    cells = np.full(work.n_points, NOWHERE, np.int64)
    if not _on_earth(batch.crs):
        cells[work.valid] = ANYWHERE
    else:
        lon, lat, points = work.lonlat(crs.LONLAT)
        within = np.abs(lon) <= crs.HALF_TURN
        cells[points[within]] = cell_of(lon[within], lat[within])
        cells[work.nowhere(crs.LONLAT)] = ANYWHERE
    if not work.n_points:
        yield NOWHERE, batch
        return
    order = np.argsort(cells, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(cells[order]) != 0])
    for start, stop in zip(starts, np.r_[starts[1:], len(order)], strict=True):
        mine = order[start:stop]
        times = None if batch.event_time_us is None else batch.event_time_us[mine]
        part = PointBatch(batch.points.take(pa.array(mine)), batch.crs, times)
        yield int(cells[mine[0]]), part


def join_batches(batches: Iterable[PointBatch]) -> Iterator[list[PointBatch]]:
    """Joins batches that are alike, up to ``BATCH_ROWS``; gives ``ROUND_POINTS`` at a time."""
    alike: dict[tuple[str | None, bool, pa.Schema], list[PointBatch]] = {}
    joined: list[PointBatch] = []
    n_points = 0
    for batch in batches:
        key = batch.crs, batch.event_time_us is None, batch.points.schema
        waiting = alike.setdefault(key, [])
        waiting.append(batch)
        n_points += batch.points.num_rows
        if sum(one.points.num_rows for one in waiting) >= BATCH_ROWS:
            joined.append(_joined(alike.pop(key)))
        if n_points >= ROUND_POINTS:
            yield joined + [_joined(rest) for rest in alike.values()]
            alike, joined, n_points = {}, [], 0
    rest = joined + [_joined(waiting) for waiting in alike.values()]
    if rest:
        yield rest


class Whereabouts(NamedTuple):
    """Where the points of some batches are, as records are matched to them.

    Attributes:
        lon: float64; those beyond +-180 as they are, and wrapped.
        lat: float64, same shape.
        crs: The CRSs of points that have no longitude; None where they may be on another
            body, whose records have their own.
    """

    lon: np.ndarray
    lat: np.ndarray
    crs: frozenset[str | None] | None


def whereabouts(tallies: Sequence[Tally]) -> Whereabouts:
    """Gives where the points of batches are, on the Earth."""
    places = [tally.work.lonlat(crs.LONLAT) for tally in tallies]
    lost = {tally.work.batch.crs for tally in tallies if len(tally.work.nowhere(crs.LONLAT))}
    return Whereabouts(
        np.concatenate([lon for lon, _, _ in places]),
        np.concatenate([lat for _, lat, _ in places]),
        frozenset(lost) if all(map(_on_earth, lost)) else None,
    )


def in_chunks(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Cuts records into lists of about ``CHUNK_BYTES``."""
    chunk: list[Record] = []
    n_bytes = 0
    for record in records:
        tables = sum(asset.tile_offsets.nbytes * 2 for asset in record.assets)
        if chunk and n_bytes + tables > CHUNK_BYTES:
            yield chunk
            chunk, n_bytes = [], 0
        chunk.append(record)
        n_bytes += tables + _RECORD_BYTES
    if chunk:
        yield chunk


def plan_cell(
    tallies: Sequence[Tally],
    chunks: Iterable[list[Record]],
    options: SampleOptions,
    group_of: Callable[[Record, Grid], int],
) -> Iterator[tuple[TileBlockKey, TilePoints]]:
    """Plans batches against records that come some at a time.

    Args:
        tallies: The batches; each knows in the end what became of its points.
        chunks: The records.
        options: What to sample.
        group_of: Gives the ``record_group`` of a record.

    Yields:
        Blocks of tiles, each with the points that need it.
    """
    if options.match == "latest":
        chunks = [_newest(chunks)]
    for records in chunks:
        planner = Planner(records, options, group_of)
        for tally in tallies:
            yield from planner.tiles(tally)


def _newest(chunks: Iterable[list[Record]]) -> list[Record]:
    """Of all records those that can be a point's latest."""
    kept: list[Record] = []
    for chunk in chunks:
        records = sorted([*kept, *chunk], key=lambda record: record.info.ordinal)
        old = {id(record) for record in kept}
        best = [records[winner.number] for winner in winners(records, Footprints(records))]
        # What is kept must not hold the rest of its chunk in memory.
        kept = [record if id(record) in old else _apart(record) for record in best]
    return kept


def _apart(record: Record) -> Record:
    """The record with tile tables of its own."""
    assets = tuple(
        dataclasses.replace(
            asset,
            tile_offsets=asset.tile_offsets.copy(),
            tile_byte_counts=asset.tile_byte_counts.copy(),
        )
        for asset in record.assets
    )
    return dataclasses.replace(record, assets=assets)


def _on_earth(points_crs: str | None) -> bool:
    return (crs.lonlat_of(points_crs) or crs.LONLAT) == crs.LONLAT


def _joined(batches: list[PointBatch]) -> PointBatch:
    if len(batches) == 1:
        return batches[0]
    points = pa.Table.from_batches([batch.points for batch in batches]).combine_chunks()
    schema = batches[0].points.schema
    rows = points.to_batches() or [pa.RecordBatch.from_pylist([], schema=schema)]
    times = [batch.event_time_us for batch in batches if batch.event_time_us is not None]
    return PointBatch(rows[0], batches[0].crs, np.concatenate(times) if times else None)
