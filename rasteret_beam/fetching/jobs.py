"""The points of one block -> what is asked for: tiles by file, and their requests.

Decided from the index alone, without I/O, so that a plan and a run cannot disagree.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, NamedTuple

from rasteret_beam.errors import DecodeError
from rasteret_beam.fetching.wanted import wanted_pixels
from rasteret_beam.storage.ranges import ByteRange, coalesce
from rasteret_beam.tiff.tile import stored_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rasteret_beam.elements import BlockPoints, Source, TileLayout
    from rasteret_beam.fetching.merging import Merged, Visit
    from rasteret_beam.fetching.wanted import WantedPixels
    from rasteret_beam.storage.ranges import Request

BATCH_BYTES = 64 * 1024 * 1024
"""Decoded tiles of one asset that are held together; more are read in turns."""

_PLAUSIBLE_FACTOR = 4
_PLAUSIBLE_SLACK_BYTES = 65536


class WantedTile(NamedTuple):
    """One stored tile, and what of it is wanted.

    Attributes:
        number: Row-major tile number.
        offset: First byte.
        length: Number of bytes; 0 where the tile is sparse.
        pixels: What of it is needed.
    """

    number: int
    offset: int
    length: int
    pixels: WantedPixels


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


class StoredTile(NamedTuple):
    """A tile that has bytes.

    Attributes:
        tile: The tile.
        part: Bytes to skip and bytes to read where not all are needed, else None.
    """

    tile: WantedTile
    part: tuple[int, int] | None

    @property
    def span(self) -> ByteRange:
        """What to read."""
        skip, length = self.part or (0, self.tile.length)
        return ByteRange(self.tile.offset + skip, length)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class JobRequests:
    """What a job asks for: a plan counts it, a run does it.

    Attributes:
        stored: Tiles with bytes to ask for.
        sparse: Tiles without.
        refused: By tile number, why its bytes are not asked for.
        requests: The bytes of ``stored`` in as few requests as they merge to.
    """

    stored: tuple[StoredTile, ...]
    sparse: tuple[WantedTile, ...]
    refused: dict[int, DecodeError]
    requests: tuple[Request, ...]

    @property
    def n_bytes(self) -> int:
        """Bytes of all requests, with the gaps between tiles that merging includes."""
        return sum(request.span.length for request in self.requests)


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
        of_all: dict[int, WantedPixels] | None = None
        for visit in visits:
            if visit.members is None:
                if of_all is None:
                    of_all = wanted_pixels(points, None, visit.tile_ids)
                needed = of_all
            else:
                needed = wanted_pixels(points, visit.members, visit.tile_ids)
            visited.setdefault(visit.source.stored, []).append((points, visit))
            tiles = wanted.setdefault(visit.source.stored, {})
            for number, offset, length in zip(
                visit.tile_ids.tolist(),
                visit.tile_offsets.tolist(),
                visit.tile_byte_counts.tolist(),
                strict=True,
            ):
                pixels = needed.get(number)
                if pixels is None:
                    continue
                if number in tiles:
                    pixels |= tiles[number].pixels
                tiles[number] = WantedTile(number, offset, length, pixels)
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


def job_requests(job: TileJob) -> JobRequests:
    """Decides what a job asks for, from the job alone.

    Args:
        job: What to read.

    Returns:
        The tiles that will be asked for, those that will not, and the requests.
    """
    layout = job.source.layout
    stored: list[StoredTile] = []
    sparse: list[WantedTile] = []
    refused: dict[int, DecodeError] = {}
    for tile in job.tiles:
        if tile.length == 0:
            sparse.append(tile)
        elif (fault := _implausible(tile, layout)) is not None:
            refused[tile.number] = fault
        else:
            stored.append(StoredTile(tile, stored_rows(layout, tile.length, tile.pixels.rows)))
    requests = coalesce([tile.span for tile in stored])
    return JobRequests(tuple(stored), tuple(sparse), refused, tuple(requests))


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
