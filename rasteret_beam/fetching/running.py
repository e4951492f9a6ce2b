"""Byte ranges -> decoded tiles: each stored tile of a block read and decoded once."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import json
import os
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rasteret_beam.elements import DeadLetter, DecodedTile, PointPixels, TileBatch, stages
from rasteret_beam.errors import DecodeError, FetchError, RasteretBeamError
from rasteret_beam.fetching.jobs import job_requests
from rasteret_beam.fetching.tile_cache import StoredBytes
from rasteret_beam.once import made_once
from rasteret_beam.storage import Tally, redact
from rasteret_beam.storage.ranges import coalesce
from rasteret_beam.tiff.ifd import BYTE_ORDERS
from rasteret_beam.tiff.tile import decode_rows, sparse_tile

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from rasteret_beam.elements import BlockRows, Source, TileLayout
    from rasteret_beam.fetching.jobs import StoredTile, TileJob
    from rasteret_beam.fetching.tile_cache import TileCache
    from rasteret_beam.storage import Store

_MAGIC_BYTES = 4


class JobCounts(NamedTuple):
    """What a job did; tiles planned = fetched + cached + sparse + failed.

    Attributes:
        tiles_planned: All of the job's.
        tiles_fetched: Read and decoded.
        tiles_cached: Read before, and decoded again.
        tiles_sparse: Had no bytes to read.
        tiles_failed: Could not be read or decoded.
        requests: Asked for, as planned; what is asked for again is not in it. Of a
            local file, reads.
        requests_retried: Asked for again, since a host failed for now.
        bytes_fetched: Bytes of the requests that gave any tile, with the gaps between
            tiles that merging includes.
    """

    tiles_planned: int
    tiles_fetched: int
    tiles_cached: int
    tiles_sparse: int
    tiles_failed: int
    requests: int
    requests_retried: int
    bytes_fetched: int


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class JobResult:
    """What became of a job.

    Attributes:
        tiles: By tile number, its pixels.
        errors: By tile number, why it could not be read.
        counts: For the counters.
    """

    tiles: dict[int, DecodedTile | PointPixels]
    errors: dict[int, RasteretBeamError]
    counts: JobCounts


def run_job(job: TileJob, store: Store, cache: TileCache | None = None) -> JobResult:
    """Reads and decodes the tiles of one job. Never raises for what the data holds.

    Args:
        job: What to read.
        store: Where from.
        cache: Stored tiles that need not be read again; None for none.

    Returns:
        The tiles, and the errors of those that could not be had.
    """
    source, asked = job.source, job_requests(job)
    empty = DecodedTile(sparse_tile(source.layout), None) if asked.sparse else None
    tiles: dict[int, DecodedTile | PointPixels] = {
        tile.number: empty for tile in asked.sparse if empty is not None
    }
    errors: dict[int, RasteretBeamError] = dict(asked.refused)
    store, tally = _for_content(store), Tally()
    read, missed = _read(source, asked.stored, store, tally, cache)
    decoded, n_cached = _decoded(source, asked.stored, read, store), 0
    for at, ((tile, _), found) in enumerate(zip(asked.stored, decoded, strict=True)):
        if isinstance(found, RasteretBeamError):
            errors[tile.number] = found
        else:
            tiles[tile.number] = found
            n_cached += at not in missed
    n_sparse = len(asked.sparse)
    requests = asked.requests
    if len(missed) < len(asked.stored):
        requests = tuple(coalesce([asked.stored[at].span for at in missed]))
        read = [read[at] for at in missed]
    counts = JobCounts(
        tiles_planned=len(job.tiles),
        tiles_fetched=len(tiles) - n_sparse - n_cached,
        tiles_cached=n_cached,
        tiles_sparse=n_sparse,
        tiles_failed=len(errors),
        requests=len(requests),
        requests_retried=tally.retried,
        bytes_fetched=sum(
            request.span.length for request in requests
            if not all(isinstance(read[index], FetchError) for index in request.wanted)
        ),
    )
    return JobResult(tiles, errors, counts)


_Decoded = DecodedTile | PointPixels | RasteretBeamError


def _decoded(
    source: Source,
    stored: Sequence[StoredTile],
    read: Sequence[memoryview | bytes | FetchError],
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


@made_once(maxsize=1)
def _decoders() -> concurrent.futures.ThreadPoolExecutor:
    """The process's threads that decode, one a core, while many more wait for bytes.

    More would not be faster, and every thread's memory must be cleared by the system.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    n_threads = len(affinity(0)) if affinity else os.cpu_count()
    return concurrent.futures.ThreadPoolExecutor(n_threads, "decode-tiles")


def _decode(
    layout: TileLayout,
    stored: Sequence[StoredTile],
    read: Sequence[memoryview | bytes | FetchError],
) -> list[_Decoded]:
    found: list[_Decoded] = []
    for (tile, part), data in zip(stored, read, strict=True):
        if isinstance(data, FetchError):
            found.append(data)
            continue
        try:
            decoded = decode_rows(data, layout, tile.pixels.rows, part and part[0])
            found.append(tile.pixels.pick(decoded))
        except DecodeError as error:
            found.append(error)
    return found


def tile_batches(rows: BlockRows, job: TileJob, result: JobResult) -> Iterator[TileBatch]:
    """Pairs a job's tiles with the points that need them."""
    failed = {number: error.code for number, error in result.errors.items()}
    for points, visit in job.visits:
        yield TileBatch(rows, points, visit.source, visit.members, result.tiles, failed)


def dead_letters(job: TileJob, result: JobResult) -> Iterator[DeadLetter]:
    """Names the tiles of a job that could not be read."""
    stored = {tile.number: tile for tile in job.tiles}
    # Bands that share their tiles come as sources of their own where points differ.
    bands = list(dict.fromkeys(band for _, visit in job.visits for band in visit.source.bands))
    grid = job.visits[0][0].grid.digest() if result.errors else 0
    for number, error in result.errors.items():
        tile, source = stored[number], job.source
        element = {
            "record_id": source.record.record_id,
            "href": redact(source.href),
            "bands": bands,
            "grid": grid,
            "tile": number,
            "offset": tile.offset,
            "byte_count": tile.length,
        }
        yield DeadLetter(
            json.dumps(element),
            f"{redact(source.href)}: tile {number} of record {source.record.record_id!r}: {error}",
            "",
            stages.TILES,
            error.code,
        )


def _read(
    source: Source,
    stored: Sequence[StoredTile],
    store: Store,
    tally: Tally,
    cache: TileCache | None,
) -> tuple[Sequence[memoryview | bytes | FetchError], Collection[int]]:
    """The bytes of tiles, and the numbers of those that no cache had."""

    def read(numbers: Collection[int]) -> Sequence[memoryview | FetchError]:
        ranges = [stored[at].span for at in numbers]
        return store.read_ranges(source.href, ranges, source.info, tally) if ranges else []

    # Where nothing tells whether a file has changed, only reading it does.
    if cache is None or source.info is None:
        everything = range(len(stored))
        return read(everything), everything
    wanted = [StoredBytes(store, source.href, source.info, tile.span) for tile in stored]
    found, missed = cache.read(wanted, read)
    return found, dict.fromkeys(missed)


@functools.lru_cache(maxsize=16)
def _for_content(store: Store) -> Store:
    """A store for the addresses of a plan: a collection names them, wherever it came from."""
    return store if store.named_by is not None else store.guarded("")


def _with_byte_order(source: Source, store: Store) -> TileLayout:
    """The layout with a byte order: an index made by rasteret does not tell it."""
    layout = source.layout
    if layout.byte_order is not None or np.dtype(layout.dtype).itemsize == 1:
        return layout
    return dataclasses.replace(layout, byte_order=_byte_order(store, source.href))


@functools.lru_cache(maxsize=65536)
def _byte_order(store: Store, href: str) -> str:
    magic = store.read(href, 0, _MAGIC_BYTES)
    order = BYTE_ORDERS.get(magic[:2])
    if order is None:
        msg = f"{redact(href)}: begins with {magic!r}, which is no TIFF"
        raise DecodeError(msg)
    return order
