"""The whole job: points -> samples of a collection."""

import dataclasses
import math
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.transforms.periodicsequence import PeriodicImpulse, RebaseMode

from rasteret_beam.collection import CollectionQuery, list_fragments
from rasteret_beam.collection.filters import Filters
from rasteret_beam.collection.sizes import is_larger
from rasteret_beam.elements import DeadLetter, PointBatch, SampleBatch
from rasteret_beam.errors import BandNotFoundError, OptionError, RasteretBeamError
from rasteret_beam.forecast.budget import Budget
from rasteret_beam.options import SampleOptions
from rasteret_beam.output.earlier import EarlierRun, KeptRows
from rasteret_beam.storage import RetryPolicy, Store
from rasteret_beam.transforms._outputs import NamedOutputs, taken_one_by_one
from rasteret_beam.transforms.fallback_ring import FallbackRing
from rasteret_beam.transforms.fetch_tiles import FetchTiles
from rasteret_beam.transforms.into_windows import stamp_now
from rasteret_beam.transforms.plan_tiles import Planned, PlanTiles
from rasteret_beam.transforms.plan_tiles_by_cell import PlanTilesByCell
from rasteret_beam.transforms.read_collection import ReadCollection
from rasteret_beam.transforms.read_dead_letters import ReadDeadLetters
from rasteret_beam.transforms.refresh_collection import PlanTilesOfNewest, WatchCollection
from rasteret_beam.transforms.sample_nearest import SampleNearest

JOINS = ("auto", "broadcast", "partitioned")

_ONCE = RetryPolicy(attempts=1, timeout_seconds=10.0)

BROADCAST_BYTES = 128 * 1024 * 1024
"""Memory of the largest collection whose records are broadcast.

A broadcast takes three to four times that in each process; the other join costs no more
time from some 10 000 records on.
"""


@taken_one_by_one
class SamplePointsResult(NamedTuple):
    """Samples, and what could not be had.

    Attributes:
        samples: Finished rows.
        dead_letters: Tiles that could not be read, in the windows of the points.
        unusable_records: Records, or bands of them, that could not be used, in the
            windows of the points too, so that a Flatten takes both.
        kept: What an earlier run did, as it was left out, for ``WriteSamples`` to add; None
            where all is done.
    """

    samples: beam.PCollection[SampleBatch]
    dead_letters: beam.PCollection[DeadLetter]
    unusable_records: beam.PCollection[DeadLetter]
    kept: beam.PCollection[KeptRows] | None = None


@dataclasses.dataclass(eq=False, kw_only=True)
class SamplePoints(NamedOutputs):
    """Samples a collection at points: from its records to FallbackRing in one transform.

    Input: ``PointBatch`` of ``ReadPoints`` or ``BatchPoints``. Output:
    ``SamplePointsResult``, one row per (point, record, band). Windows: those of the
    points; each tile is read once in each. A trigger that counts does not count points
    inside, but messages of a block of tiles, of which there may never be as many: let it
    go by time, as ``IntoWindows`` does. Dead letters: tiles and records that cannot
    be read. Counters: those of its parts.

    Attributes:
        collection: URI of the collection.
        options: What to sample.
        filters: Conditions on the records.
        data_source: Whose band names to know; by default as the collection says.
        store: How files are read.
        join: How points meet records. ``broadcast`` gives every worker all records;
            ``partitioned`` reads them cell by cell, for collections of any size; ``auto``
            decides from the collection's listing and Parquet footers when the pipeline
            is built, and broadcasts what cannot be looked at from there.
        replay: Dead letters of an earlier run with the same points and options, as
            ``ReadDeadLetters`` reads them: only what they name runs again.
        budget: What may be read at most, as ``FetchTiles`` has it.
        earlier: What a killed run left in the output, as ``ReadEarlierRun`` finds it: what
            is planned now as it was then is not read again.
        cache_bytes: Memory for tiles that later windows need again, as ``FetchTiles``
            has it.
        refresh_seconds: How often to look whether the collection has changed, for points
            without an end; they then meet its newest records, as in ``PlanTilesOfNewest``.
            Broadcast only, since the other join surveys the collection once; None, and
            ``math.inf``, for once in each process. Only of points with an end every runner
            makes sure that they wait for records that come as a side input.

    Raises:
        OptionError: No such join, or a refresh where there can be none.
        BandNotFoundError: A band that no record has, for points without an end and where the
            collection can be looked at from here; else while running.
    """

    collection: str
    options: SampleOptions
    filters: Filters = dataclasses.field(default_factory=Filters)
    data_source: str | None = None
    store: Store = dataclasses.field(default_factory=Store)
    join: str = "auto"
    replay: str | None = None
    budget: Budget = dataclasses.field(default_factory=Budget)
    earlier: beam.PCollection[EarlierRun] | None = None
    cache_bytes: int = 0
    refresh_seconds: float | None = None

    def __post_init__(self) -> None:
        """Checks the join and the refresh."""
        if self.join not in JOINS:
            msg = f"join must be one of {', '.join(JOINS)}, got {self.join!r}"
            raise OptionError(msg)
        if self.refresh_seconds is not None and not self.refresh_seconds > 0:
            msg = f"refresh_seconds must be above 0, or None for never; got {self.refresh_seconds}"
            raise OptionError(msg)

    def expand(self, points: beam.PCollection[PointBatch]) -> SamplePointsResult:
        """The diagram of the README."""
        planned, unusable = self.plan(points)
        if not points.windowing.is_default():
            unusable = unusable | "RecordsIntoWindows" >> beam.WindowInto(points.windowing)
        fetched = planned | "FetchTiles" >> FetchTiles(
            store=self.store.guarded(self.collection),
            budget=self.budget,
            earlier=self.earlier,
            cache_bytes=self.cache_bytes,
        )
        nearest = fetched.tiles | "SampleNearest" >> SampleNearest(options=self.options)
        sampled = nearest | "FallbackRing" >> FallbackRing(options=self.options)
        return SamplePointsResult(sampled, fetched.dead_letters, unusable, fetched.kept)

    def plan(
        self, points: beam.PCollection[PointBatch],
    ) -> tuple[beam.PCollection[Planned], beam.PCollection[DeadLetter]]:
        """Joins points and records, and reads no pixel: for ``SummarizePlan``.

        Returns:
            What ``PlanTiles`` gives, and dead letters of records that cannot be used.
        """
        query = CollectionQuery(
            self.collection, self.options.bands, self.filters, self.data_source, self.store,
        )
        if not points.is_bounded:
            _check_bands(query)
        by_cell = self._joins_by_cell(query)
        refresh_seconds = self.refresh_seconds
        if refresh_seconds is None and self.replay is None and not points.is_bounded:
            refresh_seconds = math.inf
        if refresh_seconds is not None and not (by_cell and refresh_seconds == math.inf):
            if by_cell:
                told = f" ({query.uri} is above {BROADCAST_BYTES} bytes)"
                msg = (
                    "A collection that is read cell by cell cannot be refreshed: its cells are cut "
                    "once. Give refresh_seconds=math.inf (--refresh_seconds 0), or "
                    "join='broadcast' (--join broadcast), which takes its memory in each process"
                    f"{told if self.join == 'auto' else ''}"
                )
                raise OptionError(msg)
            return self._plan_refreshed(points, query, refresh_seconds)
        only = None
        if self.replay is not None:
            only = points.pipeline | "ReadDeadLetters" >> ReadDeadLetters(
                folder=self.replay, bands=self.options.bands, store=self.store,
            )
        if by_cell:
            return points | "PlanTiles" >> PlanTilesByCell(
                query=query, options=self.options, only=only,
            )
        records, unusable = points.pipeline | "ReadCollection" >> ReadCollection(query=query)
        planned = points | "PlanTiles" >> PlanTiles(
            records=records, options=self.options, only=only,
        )
        return planned, unusable

    def _plan_refreshed(
        self,
        points: beam.PCollection[PointBatch],
        query: CollectionQuery,
        refresh_seconds: float,
    ) -> tuple[beam.PCollection[Planned], beam.PCollection[DeadLetter]]:
        if points.is_bounded or self.replay is not None:
            msg = "refresh_seconds is for points without an end: others meet the records once"
            raise OptionError(msg)
        unusable = _ticks(points.pipeline, refresh_seconds) | "WatchCollection" >> WatchCollection(
            query=query,
        )
        planned = points | "PlanTiles" >> PlanTilesOfNewest(
            query=query, options=self.options, refresh_seconds=refresh_seconds,
        )
        return planned, unusable

    def _joins_by_cell(self, query: CollectionQuery) -> bool:
        if self.join != "auto":
            return self.join == "partitioned"
        try:
            return is_larger(query, BROADCAST_BYTES)
        except (RasteretBeamError, OSError):
            # What cannot be looked at from here may be there for the workers, or they tell.
            return False


def _check_bands(query: CollectionQuery) -> None:
    """Looks for the bands before a stream begins, whose runner would try for ever to find one.

    Raises:
        BandNotFoundError: No record has one.
    """
    try:
        list_fragments(dataclasses.replace(query, store=dataclasses.replace(
            query.store, retries=_ONCE,
        )))  # fmt: skip
    except BandNotFoundError:
        raise
    except (RasteretBeamError, OSError):
        # As above: what cannot be looked at from here may be there for the workers.
        return


def _ticks(pipeline: beam.Pipeline, seconds: float) -> beam.PCollection[Any]:
    """Something at each look at a collection, at its time."""
    if seconds == math.inf:
        return pipeline | "Ticks" >> beam.Create(
            [stamp_now(None)], reshuffle=False,
        ).with_output_types(Any)
    return pipeline | "Ticks" >> PeriodicImpulse(
        fire_interval=seconds, rebase=RebaseMode.REBASE_START,
    )
