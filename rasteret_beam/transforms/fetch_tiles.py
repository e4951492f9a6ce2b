"""Tiles in: blocks -> decoded tiles, each read once per window."""

import collections
import concurrent.futures
import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import AsSingleton, TaggedOutput
from apache_beam.transforms.trigger import DefaultTrigger
from apache_beam.utils.windowed_value import WindowedValue

from rasteret_beam import memory
from rasteret_beam.elements import (
    Batch,
    BlockRows,
    DeadLetter,
    SampleBatch,
    TileBatch,
    TilePoints,
)
from rasteret_beam.errors import OptionError
from rasteret_beam.fetching import jobs, merging, progress, running, tile_cache
from rasteret_beam.fetching.jobs import TileJob
from rasteret_beam.fetching.running import JobResult
from rasteret_beam.forecast.budget import Budget
from rasteret_beam.forecast.summary import PlanSummary
from rasteret_beam.output.earlier import EarlierRun, KeptRows
from rasteret_beam.storage import Store
from rasteret_beam.transforms._blocks import Block, blocks_to_do
from rasteret_beam.transforms._metrics import DEAD_LETTERS, Counters
from rasteret_beam.transforms._outputs import NamedOutputs, taken_one_by_one, typed
from rasteret_beam.transforms.plan_tiles import Planned
from rasteret_beam.transforms.summarize_plan import SumPlan

_CONCURRENT_JOBS = 32
_IN_FLIGHT_JOBS = 256
_IN_FLIGHT = memory.Allowance(256 * 1024 * 1024)
"""What all bundles of the process have in flight."""


@taken_one_by_one
class FetchResult(NamedTuple):
    """Tiles that were read, and tiles that never can be.

    Attributes:
        tiles: Decoded tiles with their points, and rows that need no tile as they came.
            Consume them in the same fused stage: they can cross a coder, but pixels
            should not be shuffled.
        dead_letters: Tiles that could not be read or decoded.
        kept: What was left out since an earlier run did it, for ``WriteSamples`` to add;
            None where all is done.
    """

    tiles: beam.PCollection[TileBatch | SampleBatch]
    dead_letters: beam.PCollection[DeadLetter]
    kept: beam.PCollection[KeptRows] | None = None


@dataclasses.dataclass(eq=False, kw_only=True)
class FetchTiles(NamedOutputs):
    """Reads and decodes each planned tile once per window.

    Points of one block are grouped; the block's tiles are read with few requests, many
    blocks at a time, and decoded while others are on their way. What is in flight is
    bounded by bytes, for all threads of a process together.

    Input: what ``PlanTiles`` gives. Output: ``FetchResult``. Windows: kept
    (timestamps become the window's end, and panes are, as after any GroupByKey; the
    points' own times travel inside). Where a trigger fires more than once, a tile is read
    once a pane, but for those that the cache still has. Dead letters: tiles that cannot be
    had, one each. Counters: ``tiles_planned`` = ``tiles_fetched`` + ``tiles_cached`` +
    ``tiles_sparse`` + ``tiles_failed``; ``requests``, ``requests_retried`` and
    ``bytes_fetched``, as ``running.JobCounts`` has them.

    Attributes:
        store: How files are read. Their addresses are content's: see ``Store.guarded``,
            by which a plan of a collection from elsewhere names no local files.
        budget: What may be read at most. Where there is a limit nothing is read before
            all is planned, and nothing at all where the plan exceeds it. It holds for
            each window by itself.
        earlier: What ``ReadEarlierRun`` found: blocks whose rows, as they are planned now,
            are in the output already are left out. All is planned before anything is read.
        cache_bytes: Memory in each process for stored tiles, so that they are not read
            again in later windows and panes. Of files whose size or ETag the index
            tells; others may have changed. 0 for none: in one window no tile comes twice.

    Raises:
        OptionError: A budget for points without an end, or whose windows fire early; an
            earlier run for points in windows.
        BudgetError: While running: the plan is over the budget.
    """

    store: Store = dataclasses.field(default_factory=Store)
    budget: Budget = dataclasses.field(default_factory=Budget)
    earlier: beam.PCollection[EarlierRun] | None = None
    cache_bytes: int = 0

    def expand(self, tiles: beam.PCollection[Planned]) -> FetchResult:
        """Groups by block, then reads."""
        blocks, kept = blocks_to_do(tiles, self.earlier)
        fetch = beam.ParDo(_FetchFn(self.store, self.cache_bytes), **self._allowance(tiles, blocks))
        outputs = blocks | "Fetch" >> fetch.with_outputs(DEAD_LETTERS, main="tiles")
        return FetchResult(typed(outputs.tiles, Batch), outputs[DEAD_LETTERS], kept)

    def _allowance(
        self,
        tiles: beam.PCollection[Planned],
        blocks: beam.PCollection[Block],
    ) -> dict[str, AsSingleton]:
        """A side input for the fetch to wait for; none without a budget."""
        if not self.budget:
            return {}
        if not tiles.is_bounded or not isinstance(tiles.windowing.triggerfn, DefaultTrigger):
            msg = (
                "A budget is held against the whole plan of a window: that needs points with "
                "an end, and the default trigger"
            )
            raise OptionError(msg)
        allowed = blocks | "SumPlan" >> SumPlan() | "Check" >> beam.Map(_check, self.budget)
        return {"allowed": AsSingleton(allowed)}


def _check(plan: PlanSummary, budget: Budget) -> bool:
    budget.check(plan)
    return True


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _InFlight:
    """A job under way, and everything its output needs."""

    future: concurrent.futures.Future[JobResult]
    job: TileJob
    rows: BlockRows
    window: Any
    timestamp: Any
    pane: Any

    def of_its_own(self, output: TileBatch | DeadLetter) -> WindowedValue:
        """Gives an output the time, window and pane of the block."""
        return WindowedValue(output, self.timestamp, (self.window,), self.pane)


class _FetchFn(beam.DoFn):
    def __init__(self, store: Store, cache_bytes: int) -> None:
        self._store, self._cache_bytes = store, cache_bytes
        self._counters = Counters(*running.JobCounts._fields)

    def setup(self) -> None:
        memory.keep_freed()
        self._pool = concurrent.futures.ThreadPoolExecutor(_CONCURRENT_JOBS, "fetch-tiles")
        self._cache = tile_cache.of_process(self._cache_bytes)
        self._in_flight: collections.deque[_InFlight] = collections.deque()

    def teardown(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._let_go()

    def start_bundle(self) -> None:
        self._let_go()

    def _let_go(self) -> None:
        """Drops what a bundle left that failed."""
        while self._in_flight:
            _IN_FLIGHT.give_back(self._in_flight.popleft().job.decoded_bytes)

    def process(
        self,
        block: Block,
        window: Any = beam.DoFn.WindowParam,  # noqa: ANN401 -- any window
        timestamp: Any = beam.DoFn.TimestampParam,  # noqa: ANN401 -- Beam's timestamp
        pane: Any = beam.DoFn.PaneInfoParam,  # noqa: ANN401 -- Beam's pane
        allowed: bool = True,  # noqa: FBT001, FBT002, ARG002 -- a side input, only waited for
    ) -> Iterator[Any]:
        key, messages = block[0], []
        for element in block[1]:
            if isinstance(element, TilePoints):
                messages.append(element)
            else:
                yield element
        # An early or late pane may be empty: then there is nothing to plan.
        merged = merging.merge(messages)
        rows = progress.block_rows(key, merged)
        for job in jobs.plan_jobs(merged):
            while len(self._in_flight) >= _IN_FLIGHT_JOBS or not _IN_FLIGHT.take(
                job.decoded_bytes, anyway=not self._in_flight,
            ):
                yield from self._finish_one()
            try:
                future = self._pool.submit(running.run_job, job, self._store, self._cache)
            except BaseException:  # where a process may have no further thread
                _IN_FLIGHT.give_back(job.decoded_bytes)
                raise
            self._in_flight.append(_InFlight(future, job, rows, window, timestamp, pane))

    def finish_bundle(self) -> Iterator[Any]:
        while self._in_flight:
            yield from self._finish_one()

    def _finish_one(self) -> Iterator[Any]:
        one = self._in_flight.popleft()
        try:
            result = one.future.result()
        finally:
            _IN_FLIGHT.give_back(one.job.decoded_bytes)
        for name, amount in result.counts._asdict().items():
            self._counters.add(name, amount)
        letters = list(running.dead_letters(one.job, result))
        self._counters.tell(letters)
        for letter in letters:
            yield TaggedOutput(DEAD_LETTERS, one.of_its_own(letter))
        for batch in running.tile_batches(one.rows, one.job, result):
            yield one.of_its_own(batch)
