"""Byte ranges -> decoded tiles: each stored tile of a block read and decoded once."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import json
import os
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rasteret_beam.elements import DeadLetter, DecodedTile, TileBatch
from rasteret_beam.errors import DecodeError, FetchError, OptionError, RasteretBeamError
from rasteret_beam.merging import wanted_rows
from rasteret_beam.storage import redact
from rasteret_beam.storage.ranges import ByteRange
from rasteret_beam.tiff.tile import decode_rows, sparse_tile, stored_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rasteret_beam.elements import BlockPoints, Source, TileBlockKey, TileLayout
    from rasteret_beam.merging import Merged, Visit
    from rasteret_beam.storage import Store

STAGE = "FetchTiles"
BATCH_BYTES = 64 * 1024 * 1024
"""Decoded tiles of one asset that are held together; more are read in turns."""

_PLAUSIBLE_FACTOR = 4
_PLAUSIBLE_SLACK_BYTES = 65536
_MAGIC_BYTES = 4
_BYTE_ORDERS = {b"II": "<", b"MM": ">"}


class WantedTile(NamedTuple):
    """One stored tile, and what of it is wanted.

    Attributes:
        number: Row-major tile number.
        offset: First byte.
        length: Number of bytes; 0 where the tile is sparse.
        rows: int64, ascending: the rows that are wanted.
    """

    number: int
    offset: int
    length: int
    rows: np.ndarray


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class TileJob:
    """Tiles of one file to read and decode together.

    Attributes:
        source: The file.
        tiles: What to read, by tile number.
        visits: The points that need the file.
    """

    source: Source
    tiles: tuple[WantedTile, ...]
    visits: tuple[tuple[BlockPoints, Visit], ...]

    @property
    def decoded_bytes(self) -> int:
        """Memory the decoded tiles take, sparse ones none."""
        stored = sum(1 for tile in self.tiles if tile.length)
        return stored * self.source.layout.decoded_bytes


class JobCounts(NamedTuple):
    """What a job did; tiles planned = fetched + sparse + failed.

    Attributes:
        tiles_fetched: Read and decoded.
        tiles_sparse: Had no bytes to read.
        tiles_failed: Could not be read or decoded.
        bytes_fetched: Bytes of the tiles read.
    """

    tiles_fetched: int
    tiles_sparse: int
    tiles_failed: int
    bytes_fetched: int


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class JobResult:
    """What became of a job.

    Attributes:
        tiles: By tile number, its pixels.
        errors: By tile number, why it could not be read.
        counts: For the counters.
    """

    tiles: dict[int, DecodedTile]
    errors: dict[int, RasteretBeamError]
    counts: JobCounts


def plan_jobs(merged: Sequence[Merged]) -> list[TileJob]:
    """Finds the tiles that the points of one block need, each once.

    Args:
        merged: The block's points.

    Returns:
        Jobs of at most ``BATCH_BYTES`` decoded (one tile at least), file by file.
    """
    wanted: dict[object, dict[int, WantedTile]] = {}
    visited: dict[object, list[tuple[BlockPoints, Visit]]] = {}
    for points, visits in merged:
        of_all: dict[int, np.ndarray] | None = None
        for visit in visits:
            if visit.members is None:
                if of_all is None:
                    of_all = wanted_rows(points, None, visit.tile_ids)
                needed = of_all
            else:
                needed = wanted_rows(points, visit.members, visit.tile_ids)
            visited.setdefault(visit.source.stored, []).append((points, visit))
            tiles = wanted.setdefault(visit.source.stored, {})
            for number, offset, length in zip(
                visit.tile_ids.tolist(),
                visit.tile_offsets.tolist(),
                visit.tile_byte_counts.tolist(),
                strict=True,
            ):
                rows = needed.get(number)
                if rows is None:
                    continue
                if number in tiles and tiles[number].rows is not rows:
                    rows = np.union1d(tiles[number].rows, rows)
                tiles[number] = WantedTile(number, offset, length, rows)
    jobs: list[TileJob] = []
    for stored, tiles in wanted.items():
        who = tuple(visited[stored])
        source = who[0][1].source
        per_job = max(BATCH_BYTES // source.layout.decoded_bytes, 1)
        ordered = [tiles[number] for number in sorted(tiles)]
        jobs.extend(
            TileJob(source, tuple(ordered[start : start + per_job]), who)
            for start in range(0, len(ordered), per_job)
        )
    return jobs


def run_job(job: TileJob, store: Store) -> JobResult:
    """Reads and decodes the tiles of one job. Never raises for what the data holds.

    Args:
        job: What to read.
        store: Where from.

    Returns:
        The tiles, and the errors of those that could not be had.
    """
    source = job.source
    tiles: dict[int, DecodedTile] = {}
    errors: dict[int, RasteretBeamError] = {}
    stored: list[_StoredTile] = []
    for tile in job.tiles:
        if tile.length == 0:
            tiles[tile.number] = DecodedTile(sparse_tile(source.layout), None)
        elif (fault := _implausible(tile, source.layout)) is not None:
            errors[tile.number] = fault
        else:
            rows = stored_rows(source.layout, tile.length, tile.rows)
            stored.append(_StoredTile(tile, rows))
    n_sparse = len(tiles)
    read = _read(source, stored, store)
    for (tile, _), found in zip(stored, _decoded(source, stored, read, store), strict=True):
        if isinstance(found, DecodedTile):
            tiles[tile.number] = found
        else:
            errors[tile.number] = found
    n_bytes = sum(len(data) for data in read if not isinstance(data, FetchError))
    counts = JobCounts(len(tiles) - n_sparse, n_sparse, len(errors), n_bytes)
    return JobResult(tiles, errors, counts)


class _StoredTile(NamedTuple):
    """A tile that has bytes; and (skip, length) of those to read where not all are needed."""

    tile: WantedTile
    part: tuple[int, int] | None

    @property
    def span(self) -> ByteRange:
        """What to read."""
        skip, length = self.part or (0, self.tile.length)
        return ByteRange(self.tile.offset + skip, length)


_Decoded = DecodedTile | RasteretBeamError


def _decoded(
    source: Source,
    stored: Sequence[_StoredTile],
    read: Sequence[memoryview | FetchError],
    store: Store,
) -> Sequence[_Decoded]:
    """Decodes what was read, or tells why not."""
    if all(isinstance(data, FetchError) for data in read):
        return [data for data in read if isinstance(data, FetchError)]
    try:
        layout = _with_byte_order(source, store)
    except (FetchError, DecodeError) as error:
        return [error] * len(stored)
    return _decoders().submit(_decode, layout, stored, read).result()


@functools.lru_cache(maxsize=1)
def _decoders() -> concurrent.futures.ThreadPoolExecutor:
    """The process's threads that decode, one a core, while many more wait for bytes.

    More would not be faster, and every thread's memory must be cleared by the system.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    n_threads = len(affinity(0)) if affinity else os.cpu_count()
    return concurrent.futures.ThreadPoolExecutor(n_threads, "decode-tiles")


def _decode(
    layout: TileLayout, stored: Sequence[_StoredTile], read: Sequence[memoryview | FetchError],
) -> list[_Decoded]:
    found: list[_Decoded] = []
    for (tile, part), data in zip(stored, read, strict=True):
        if isinstance(data, FetchError):
            found.append(data)
            continue
        try:
            found.append(decode_rows(data, layout, tile.rows, part and part[0]))
        except DecodeError as error:
            found.append(error)
    return found


def tile_batches(key: TileBlockKey, job: TileJob, result: JobResult) -> Iterator[TileBatch]:
    """Pairs a job's tiles with the points that need them."""
    failed = {number: error.code for number, error in result.errors.items()}
    for points, visit in job.visits:
        yield TileBatch(key, points, visit.source, visit.members, result.tiles, failed)


def dead_letters(job: TileJob, result: JobResult) -> Iterator[DeadLetter]:
    """Names the tiles of a job that could not be read."""
    stored = {tile.number: tile for tile in job.tiles}
    for number, error in result.errors.items():
        tile, source = stored[number], job.source
        element = {
            "record_id": source.record.record_id,
            "href": redact(source.href),
            "bands": list(source.bands),
            "tile": number,
            "offset": tile.offset,
            "byte_count": tile.length,
        }
        yield DeadLetter(
            json.dumps(element),
            f"{redact(source.href)}: tile {number} of record {source.record.record_id!r}: {error}",
            "",
            STAGE,
            error.code,
        )


def _read(
    source: Source, stored: Sequence[_StoredTile], store: Store,
) -> Sequence[memoryview | FetchError]:
    ranges = [tile.span for tile in stored]
    try:
        return store.read_ranges(source.href, ranges) if ranges else []
    except OptionError as error:
        # The address is of a scheme that is not read, or not permitted.
        return [FetchError(str(error))] * len(ranges)


def _implausible(tile: WantedTile, layout: TileLayout) -> DecodeError | None:
    """A byte count far beyond the pixels is a lie, and must not be asked for."""
    if tile.length < 0:
        return DecodeError("the tile table ends before this tile")
    limit = _PLAUSIBLE_FACTOR * layout.decoded_bytes + _PLAUSIBLE_SLACK_BYTES
    if tile.length <= limit:
        return None
    return DecodeError(
        f"{tile.length} bytes for a tile of {layout.decoded_bytes} decoded; "
        f"expected at most {limit}",
    )


def _with_byte_order(source: Source, store: Store) -> TileLayout:
    """The layout with a byte order: an index made by rasteret does not tell it."""
    layout = source.layout
    if layout.byte_order is not None or np.dtype(layout.dtype).itemsize == 1:
        return layout
    return dataclasses.replace(layout, byte_order=_byte_order(store, source.href))


@functools.lru_cache(maxsize=65536)
def _byte_order(store: Store, href: str) -> str:
    magic = store.read(href, 0, _MAGIC_BYTES)
    order = _BYTE_ORDERS.get(magic[:2])
    if order is None:
        msg = f"{redact(href)}: begins with {magic!r}, which is no TIFF"
        raise DecodeError(msg)
    return order
