"""Tiles in: blocks -> decoded tiles, each read once per window."""

import collections
import concurrent.futures
import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput
from apache_beam.utils.windowed_value import WindowedValue

from rasteret_beam import fetching, merging
from rasteret_beam.elements import (
    Batch,
    DeadLetter,
    SampleBatch,
    TileBatch,
    TileBlockKey,
    TilePoints,
)
from rasteret_beam.fetching import JobResult, TileJob
from rasteret_beam.storage import Store
from rasteret_beam.transforms._metrics import DEAD_LETTERS, Counters
from rasteret_beam.transforms._outputs import NamedOutputs
from rasteret_beam.transforms.plan_tiles import Planned

_CONCURRENT_JOBS = 32
_IN_FLIGHT_BYTES = 256 * 1024 * 1024
_IN_FLIGHT_JOBS = 256


class FetchResult(NamedTuple):
    """Tiles that were read, and tiles that never can be.

    Attributes:
        tiles: Decoded tiles with their points, and rows that need no tile as they came.
            Consume them in the same fused stage: they can cross a coder, but pixels
            should not be shuffled.
        dead_letters: Tiles that could not be read or decoded.
    """

    tiles: beam.PCollection[TileBatch | SampleBatch]
    dead_letters: beam.PCollection[DeadLetter]


@dataclasses.dataclass(eq=False, kw_only=True)
class FetchTiles(NamedOutputs):
    """Reads and decodes each planned tile once per window.

    Points of one block are grouped; the block's tiles are read with few requests, many
    blocks at a time, and decoded while others are on their way. What is in flight is
    bounded by bytes.

    Input: what ``PlanTiles`` gives. Output: ``FetchResult``. Windows: kept
    (timestamps become the window's end, as after any GroupByKey; the points' own
    travel inside). Where a trigger fires more than once, a tile is read once a pane.
    Dead letters: tiles that cannot be had, one each. Counters: ``tiles_planned`` =
    ``tiles_fetched`` + ``tiles_sparse`` + ``tiles_failed``; ``bytes_fetched``.

    Attributes:
        store: How files are read.
    """

    store: Store = dataclasses.field(default_factory=Store)

    def expand(self, tiles: beam.PCollection[Planned]) -> FetchResult:
        """Groups by block, then reads."""
        outputs = (
            tiles
            | "GroupByBlock" >> beam.GroupByKey()
            | "Fetch" >> beam.ParDo(
                _FetchFn(self.store),
            ).with_output_types(Batch).with_outputs(DEAD_LETTERS, main="tiles")
        )
        return FetchResult(outputs.tiles, outputs[DEAD_LETTERS])


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _InFlight:
    """A job under way, and everything its output needs."""

    future: concurrent.futures.Future[JobResult]
    job: TileJob
    key: TileBlockKey
    window: Any
    timestamp: Any


class _FetchFn(beam.DoFn):
    def __init__(self, store: Store) -> None:
        self._store = store
        self._counters = Counters(
            "tiles_planned", "tiles_fetched", "tiles_sparse", "tiles_failed", "bytes_fetched",
        )

    def setup(self) -> None:
        self._pool = concurrent.futures.ThreadPoolExecutor(_CONCURRENT_JOBS, "fetch-tiles")

    def teardown(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def start_bundle(self) -> None:
        self._in_flight: collections.deque[_InFlight] = collections.deque()
        self._bytes = 0

    def process(
        self,
        block: tuple[TileBlockKey, Iterable[Batch]],
        window: Any = beam.DoFn.WindowParam,  # noqa: ANN401 -- any window
        timestamp: Any = beam.DoFn.TimestampParam,  # noqa: ANN401 -- Beam's timestamp
    ) -> Iterator[Any]:
        key, messages = block[0], []
        for element in block[1]:
            if isinstance(element, TilePoints):
                messages.append(element)
            else:
                yield element
        # An early or late pane may be empty: then there is nothing to plan.
        for job in fetching.plan_jobs(merging.merge(messages)):
            while self._in_flight and (
                self._bytes + job.decoded_bytes > _IN_FLIGHT_BYTES
                or len(self._in_flight) >= _IN_FLIGHT_JOBS
            ):
                yield from self._finish_one()
            future = self._pool.submit(fetching.run_job, job, self._store)
            self._in_flight.append(_InFlight(future, job, key, window, timestamp))
            self._bytes += job.decoded_bytes

    def finish_bundle(self) -> Iterator[Any]:
        while self._in_flight:
            yield from self._finish_one()

    def _finish_one(self) -> Iterator[Any]:
        one = self._in_flight.popleft()
        result = one.future.result()
        self._bytes -= one.job.decoded_bytes
        for name, amount in result.counts._asdict().items():
            self._counters.add(name, amount)
        self._counters.add("tiles_planned", len(one.job.tiles))
        for letter in fetching.dead_letters(one.job, result):
            value = WindowedValue(letter, one.timestamp, (one.window,))
            yield TaggedOutput(DEAD_LETTERS, value)
        for batch in fetching.tile_batches(one.key, one.job, result):
            yield WindowedValue(batch, one.timestamp, (one.window,))
