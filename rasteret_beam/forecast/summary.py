"""Blocks of planned tiles -> one summary of what a run would read.

Summaries merge in any order, and stay small however many points and tiles they cover.
"""

from __future__ import annotations

import dataclasses
import functools
import heapq
import math
import urllib.parse
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rasteret_beam.elements import PlanCounts, SampleBatch, TilePoints
from rasteret_beam.fetching import jobs, merging
from rasteret_beam.storage import redact
from rasteret_beam.storage.addresses import local_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from rasteret_beam.elements import Batch, BlockPoints
    from rasteret_beam.fetching.jobs import JobRequests, TileJob

N_HOTTEST = 10
"""How many of the tiles with most points a summary names."""

MAX_HOSTS = 1000
"""Hosts that are told apart: the first by name, which are the same in whatever order
summaries merge."""

LOCAL_HOST = "file://"
OTHER_HOSTS = "other hosts"
_EXACT_BITS = 7


class HostTotals(NamedTuple):
    """What would be read from one host.

    Attributes:
        tiles: Tiles planned, sparse ones too.
        requests: Requests after merging.
        n_bytes: Bytes of the requests.
    """

    tiles: int
    requests: int
    n_bytes: int


class HotTile(NamedTuple):
    """A tile of one record, in all its wanted files and planes.

    Attributes:
        points: Points whose own pixel it holds.
        record_id: The record.
        href: One of the files, without credentials.
        tile: Row-major tile number.
        reads: In how many files and planes it is wanted.
    """

    points: int
    record_id: str
    href: str
    tile: int
    reads: int


_NO_RECORDS = np.zeros(0, np.int64)
_NO_POINTS = PlanCounts(0, 0, 0, 0)
_NOTHING = HostTotals(0, 0, 0)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class PlanSummary:
    """What a run would read.

    Attributes:
        counts: Where the points go.
        records: int64, ascending: ordinals of the records that serve a point.
        tiles: All tiles that are planned.
        sparse: Those without bytes, which cost no request.
        refused: Those whose byte count cannot be, which are not asked for.
        requests: Requests after merging; of local files, reads.
        n_bytes: Bytes of the requests.
        hosts: By scheme and host, what is read there.
        points_per_tile: By number of points (see ``rounded``), how many tiles.
        hottest: The tiles with most points, most first.
    """

    counts: PlanCounts = _NO_POINTS
    records: np.ndarray = dataclasses.field(default_factory=lambda: _NO_RECORDS)
    tiles: int = 0
    sparse: int = 0
    refused: int = 0
    requests: int = 0
    n_bytes: int = 0
    hosts: Mapping[str, HostTotals] = dataclasses.field(default_factory=dict)
    points_per_tile: Mapping[int, int] = dataclasses.field(default_factory=dict)
    hottest: tuple[HotTile, ...] = ()

    def quantile(self, share: float) -> int:
        """Gives the points of a tile that has no fewer than this share of all tiles."""
        rank, seen = max(math.ceil(share * sum(self.points_per_tile.values())), 1), 0
        for n_points, n_tiles in sorted(self.points_per_tile.items()):
            seen += n_tiles
            if seen >= rank:
                return n_points
        return 0

    def facts(self) -> dict[str, Any]:
        """Gives the summary as JSON has it."""
        read, invalid, unmatched, covered = self.counts
        return {
            "points": {
                "read": read, "covered": covered, "unmatched": unmatched, "invalid": invalid,
            },
            "records": len(self.records),
            "tiles": {
                "planned": self.tiles,
                "with_bytes": self.tiles - self.sparse - self.refused,
                "sparse": self.sparse,
                "refused": self.refused,
            },
            "requests": self.requests,
            "bytes": self.n_bytes,
            "points_per_tile": {
                "p50": self.quantile(0.5),
                "p99": self.quantile(0.99),
                "max": self.hottest[0].points if self.hottest else 0,
            },
            "hottest_tiles": [tile._asdict() for tile in self.hottest],
            "hosts": [
                {"host": host, "tiles": at.tiles, "requests": at.requests, "bytes": at.n_bytes}
                for host, at in sorted(self.hosts.items(), key=lambda item: (-item[1][2], item[0]))
            ],
        }  # fmt: skip


def summarize_block(batches: Iterable[Batch]) -> PlanSummary:
    """Summarizes what is planned under one key, as a run would read it.

    Args:
        batches: The key's ``TilePoints``, and ``SampleBatch`` rows that need no tile.

    Returns:
        The summary; no file is looked at.
    """
    messages, counted = [], []
    for batch in batches:
        if isinstance(batch, TilePoints):
            messages.append(batch)
        elif isinstance(batch, SampleBatch) and batch.counts is not None:
            counted.append(PlanSummary(counts=batch.counts))
    return merge([*counted, *_of_jobs(jobs.plan_jobs(merging.merge(messages)))])


def merge(summaries: Iterable[PlanSummary]) -> PlanSummary:
    """Puts summaries together; those of different keys, in any order."""
    parts = list(summaries)
    hosts: dict[str, HostTotals] = {}
    histogram: dict[int, int] = {}
    for part in parts:
        for host, totals in part.hosts.items():
            hosts[host] = HostTotals(*map(sum, zip(hosts.get(host, _NOTHING), totals, strict=True)))
        for n_points, n_tiles in part.points_per_tile.items():
            histogram[n_points] = histogram.get(n_points, 0) + n_tiles
    return PlanSummary(
        counts=PlanCounts(*map(sum, zip(_NO_POINTS, *(p.counts for p in parts), strict=True))),
        records=np.unique(np.concatenate([_NO_RECORDS, *(part.records for part in parts)])),
        tiles=sum(part.tiles for part in parts),
        sparse=sum(part.sparse for part in parts),
        refused=sum(part.refused for part in parts),
        requests=sum(part.requests for part in parts),
        n_bytes=sum(part.n_bytes for part in parts),
        hosts=_first(hosts),
        points_per_tile=histogram,
        hottest=_hottest(tile for part in parts for tile in part.hottest),
    )


def rounded(n_points: int) -> int:
    """Rounds down to seven binary digits, so that a histogram has few bars.

    >>> rounded(127), rounded(1000), rounded(1_000_000)
    (127, 1000, 999424)
    """
    shift = max(n_points.bit_length() - _EXACT_BITS, 0)
    return n_points >> shift << shift


def _of_jobs(wanted: list[TileJob]) -> Iterator[PlanSummary]:
    hottest: dict[tuple[int, int], HotTile] = {}
    for job in wanted:
        asked, n_points = jobs.job_requests(job), _points_in(job)
        yield _of_job(job, asked, n_points)
        record = job.source.record
        for tile, points in zip(job.tiles, n_points.tolist(), strict=True):
            found = HotTile(points, record.record_id, job.source.href, tile.number, 1)
            other = hottest.get((record.ordinal, tile.number))
            if other is not None:
                found = found._replace(
                    points=max(found.points, other.points),
                    href=min(found.href, other.href),
                    reads=other.reads + 1,
                )
            hottest[record.ordinal, tile.number] = found
    most = (tile._replace(href=redact(tile.href)) for tile in _hottest(hottest.values()))
    yield PlanSummary(hottest=tuple(most))


def _of_job(job: TileJob, asked: JobRequests, n_points: np.ndarray) -> PlanSummary:
    histogram: dict[int, int] = {}
    for value, n_tiles in zip(*np.unique(n_points, return_counts=True), strict=True):
        bar = rounded(int(value))
        histogram[bar] = histogram.get(bar, 0) + int(n_tiles)
    n_tiles, n_requests = len(job.tiles), len(asked.requests)
    return PlanSummary(
        records=np.array([job.source.record.ordinal], np.int64),
        tiles=n_tiles,
        sparse=len(asked.sparse),
        refused=len(asked.refused),
        requests=n_requests,
        n_bytes=asked.n_bytes,
        hosts={host_of(job.source.href): HostTotals(n_tiles, n_requests, asked.n_bytes)},
        points_per_tile=histogram,
    )


def _points_in(job: TileJob) -> np.ndarray:
    """How many points have their own pixel in each tile of a job."""
    numbers = np.array([tile.number for tile in job.tiles], np.int64)
    n_points = np.zeros(len(numbers), np.int64)
    served: dict[int, tuple[BlockPoints, np.ndarray | None]] = {}
    for points, visit in job.visits:
        # A point that wants several bands of a file is one point.
        _, mask = served.get(id(points), (points, np.zeros(len(points.tile), bool)))
        if mask is not None and visit.members is not None:
            mask[visit.members] = True
        served[id(points)] = points, None if visit.members is None else mask
    for points, mask in served.values():
        # Points are in the order of their tiles.
        tile = points.tile if mask is None else points.tile[mask]
        n_points += np.searchsorted(tile, numbers, "right") - np.searchsorted(tile, numbers)
    return n_points


def _hottest(tiles: Iterable[HotTile]) -> tuple[HotTile, ...]:
    return tuple(heapq.nsmallest(N_HOTTEST, tiles, key=lambda tile: (-tile.points, *tile[1:])))


def _first(hosts: dict[str, HostTotals]) -> dict[str, HostTotals]:
    """The first hosts by name; the others together."""
    others = hosts.pop(OTHER_HOSTS, _NOTHING)
    names = sorted(hosts)
    for name in names[MAX_HOSTS:]:
        others = HostTotals(*map(sum, zip(others, hosts[name], strict=True)))
    kept = {name: hosts[name] for name in names[:MAX_HOSTS]}
    return kept if others == _NOTHING else {**kept, OTHER_HOSTS: others}


@functools.lru_cache(maxsize=4096)
def host_of(href: str) -> str:
    """Gives scheme and host (or bucket) of an address.

    >>> host_of("https://user:pw@Example.com:8080/a.tif?sig=1"), host_of("/data/a.tif")
    ('https://example.com:8080', 'file://')
    """
    if local_path(href) is not None:
        return LOCAL_HOST
    try:
        parts = urllib.parse.urlsplit(redact(href))
    except ValueError:  # like brackets that hold no address
        return OTHER_HOSTS
    return f"{parts.scheme}://{parts.netloc.lower()}"
