"""Byte ranges -> decoded tiles: each stored tile of a block read and decoded once."""

from __future__ import annotations

import dataclasses
import functools
import json
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rasteret_beam.elements import DeadLetter, TileBatch
from rasteret_beam.errors import DecodeError, FetchError, OptionError, RasteretBeamError
from rasteret_beam.storage import redact
from rasteret_beam.storage.ranges import ByteRange
from rasteret_beam.tiff.tile import decode_tile, sparse_tile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rasteret_beam.elements import TileBlockKey, TileLayout, TilePoints, Visit
    from rasteret_beam.storage import Store

STAGE = "FetchTiles"
BATCH_BYTES = 64 * 1024 * 1024
"""Decoded tiles of one asset that are held together; more are read in turns."""

_PLAUSIBLE_FACTOR = 4
_PLAUSIBLE_SLACK_BYTES = 65536
_MAGIC_BYTES = 4
_BYTE_ORDERS = {b"II": "<", b"MM": ">"}


class StoredTile(NamedTuple):
    """Where one tile's bytes are.

    Attributes:
        number: Row-major tile number.
        offset: First byte.
        length: Number of bytes; 0 where the tile is sparse.
    """

    number: int
    offset: int
    length: int


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class TileJob:
    """Tiles of one asset to read and decode together.

    Attributes:
        visit: The asset; of its points only what messages name is of interest.
        tiles: What to read, by tile number.
    """

    visit: Visit
    tiles: tuple[StoredTile, ...]

    @property
    def decoded_bytes(self) -> int:
        """Memory the decoded tiles take, sparse ones none."""
        stored = sum(1 for tile in self.tiles if tile.length)
        return stored * self.visit.layout.decoded_bytes


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
        tiles: By tile number, an array of shape (sample, row, col).
        errors: By tile number, why it could not be read.
        counts: For the counters.
    """

    tiles: dict[int, np.ndarray]
    errors: dict[int, RasteretBeamError]
    counts: JobCounts


def plan_jobs(messages: Sequence[TilePoints]) -> list[TileJob]:
    """Finds the tiles that the points of one block need, each once.

    Args:
        messages: The block's points, from every batch.

    Returns:
        Jobs of at most ``BATCH_BYTES`` decoded (one tile at least), asset by asset.
    """
    wanted: dict[tuple[object, ...], tuple[Visit, dict[int, StoredTile]]] = {}
    for message in messages:
        for visit in message.visits:
            _, tiles = wanted.setdefault(_stored_in(visit), (visit, {}))
            for number, offset, length in zip(
                visit.tile_ids.tolist(),
                visit.tile_offsets.tolist(),
                visit.tile_byte_counts.tolist(),
                strict=True,
            ):
                tiles[number] = StoredTile(number, offset, length)
    jobs: list[TileJob] = []
    for visit, tiles in wanted.values():
        per_job = max(BATCH_BYTES // visit.layout.decoded_bytes, 1)
        ordered = sorted(tiles.values())
        jobs.extend(
            TileJob(visit, tuple(ordered[start : start + per_job]))
            for start in range(0, len(ordered), per_job)
        )
    return jobs


def _stored_in(visit: Visit) -> tuple[object, ...]:
    """What visits have in common when their tiles are the same stored bytes."""
    return visit.record.ordinal, visit.href, visit.plane, visit.layout


def run_job(job: TileJob, store: Store) -> JobResult:
    """Reads and decodes the tiles of one job. Never raises for what the data holds.

    Args:
        job: What to read.
        store: Where from.

    Returns:
        The tiles, and the errors of those that could not be had.
    """
    visit = job.visit
    tiles: dict[int, np.ndarray] = {}
    errors: dict[int, RasteretBeamError] = {}
    stored: list[StoredTile] = []
    for tile in job.tiles:
        if tile.length == 0:
            tiles[tile.number] = sparse_tile(visit.layout)
        elif (fault := _implausible(tile, visit.layout)) is not None:
            errors[tile.number] = fault
        else:
            stored.append(tile)
    n_sparse, n_bytes = len(tiles), 0
    for tile, data in zip(stored, _read(visit, stored, store), strict=True):
        try:
            if isinstance(data, FetchError):
                raise data
            n_bytes += len(data)
            tiles[tile.number] = decode_tile(data, _with_byte_order(visit, store))
        except (FetchError, DecodeError) as error:
            errors[tile.number] = error
    counts = JobCounts(len(tiles) - n_sparse, n_sparse, len(errors), n_bytes)
    return JobResult(tiles, errors, counts)


def tile_batches(
    key: TileBlockKey, messages: Iterable[TilePoints], job: TileJob, result: JobResult,
) -> Iterator[TileBatch]:
    """Pairs a job's tiles with the points of every message that need them."""
    failed = {number: error.code for number, error in result.errors.items()}
    stored_in = _stored_in(job.visit)
    for message in messages:
        for visit in message.visits:
            if _stored_in(visit) != stored_in:
                continue
            mine = set(visit.tile_ids.tolist())
            tiles = {n: tile for n, tile in result.tiles.items() if n in mine}
            broken = {n: code for n, code in failed.items() if n in mine}
            if tiles or broken:
                yield TileBatch(key, message.grid, message.planned, visit, tiles, broken)


def dead_letters(job: TileJob, result: JobResult) -> Iterator[DeadLetter]:
    """Names the tiles of a job that could not be read."""
    stored = {tile.number: tile for tile in job.tiles}
    for number, error in result.errors.items():
        tile, visit = stored[number], job.visit
        element = {
            "record_id": visit.record.record_id,
            "href": redact(visit.href),
            "bands": list(visit.bands),
            "tile": number,
            "offset": tile.offset,
            "byte_count": tile.length,
        }
        yield DeadLetter(
            json.dumps(element),
            f"{redact(visit.href)}: tile {number} of record {visit.record.record_id!r}: {error}",
            "",
            STAGE,
            error.code,
        )


def _read(
    visit: Visit, stored: list[StoredTile], store: Store,
) -> Sequence[bytes | FetchError]:
    ranges = [ByteRange(tile.offset, tile.length) for tile in stored]
    try:
        return store.read_ranges(visit.href, ranges) if ranges else []
    except OptionError as error:
        # The address is of a scheme that is not read, or not permitted.
        return [FetchError(str(error))] * len(ranges)


def _implausible(tile: StoredTile, layout: TileLayout) -> DecodeError | None:
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


def _with_byte_order(visit: Visit, store: Store) -> TileLayout:
    """The layout with a byte order: an index made by rasteret does not tell it."""
    layout = visit.layout
    if layout.byte_order is not None or np.dtype(layout.dtype).itemsize == 1:
        return layout
    return dataclasses.replace(layout, byte_order=_byte_order(store, visit.href))


@functools.lru_cache(maxsize=65536)
def _byte_order(store: Store, href: str) -> str:
    magic = store.read(href, 0, _MAGIC_BYTES)
    order = _BYTE_ORDERS.get(magic[:2])
    if order is None:
        msg = f"{redact(href)}: begins with {magic!r}, which is no TIFF"
        raise DecodeError(msg)
    return order
