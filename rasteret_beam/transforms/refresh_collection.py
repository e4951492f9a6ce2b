"""Records that change while a pipeline runs: plans by the newest ones, and what they lack.

The schedule is each process's own, not a side input that fires again and again. Not every
runner has those: Prism refuses them, the local one for streams waits for their end.
"""

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.coders import StrUtf8Coder
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec
from apache_beam.transforms.window import GlobalWindows

from rasteret_beam.collection import CollectionQuery
from rasteret_beam.collection.refreshing import (
    Snapshot,
    collection_digest,
    newest_of,
    query_digest,
    read_snapshot,
)
from rasteret_beam.elements import DeadLetter, PointBatch, stages
from rasteret_beam.errors import OptionError, RasteretBeamError
from rasteret_beam.options import SampleOptions
from rasteret_beam.planning import PlanCounts, Planner, Tally
from rasteret_beam.storage import redact
from rasteret_beam.transforms import _coders  # noqa: F401 -- registers coders
from rasteret_beam.transforms._displayed import Displayed
from rasteret_beam.transforms._metrics import Counters
from rasteret_beam.transforms.plan_tiles import Planned, finish
from rasteret_beam.transforms.read_collection import count_letters


@dataclasses.dataclass(eq=False, kw_only=True)
class PlanTilesOfNewest(Displayed):
    """Finds the tiles that points need: ``PlanTiles``, by the collection's newest records.

    Each process holds all records, and looks on a schedule whether a file of the
    collection came, went or changed; then it reads them again. So a new scene is seen by
    points that come ``refresh_seconds`` later, and processes turn to it one by one. A
    collection that cannot be read then is counted, and the old records stay.

    Input, output, windows: those of ``PlanTiles``. Dead letters: none, see
    ``WatchCollection``. Counters: those of ``PlanTiles``; ``refreshes_failed``.

    Attributes:
        query: Which records.
        options: What to sample.
        refresh_seconds: Time between two looks.

    Raises:
        OptionError: No time.
        CollectionError: While running: not a collection, at the first look.
        BandNotFoundError: While running: a band that no record has, at the first look.
        PointsError: While running: a user column has the name of an output column.
    """

    query: CollectionQuery
    options: SampleOptions
    refresh_seconds: float

    def __post_init__(self) -> None:
        """Checks the time."""
        if not self.refresh_seconds > 0:
            msg = f"refresh_seconds is {self.refresh_seconds}, expected more than 0"
            raise OptionError(msg)

    def expand(self, points: beam.PCollection[PointBatch]) -> beam.PCollection[Planned]:
        """One ParDo over the batches."""
        return points | "Plan" >> beam.ParDo(
            _PlanNewestFn(self.query, self.options, self.refresh_seconds),
        ).with_output_types(Planned)


@dataclasses.dataclass(eq=False, kw_only=True)
class WatchCollection(Displayed):
    """Tells what in a collection cannot be used, and again when the collection has changed.

    One look for each tick, wherever it is made; where the collection has not changed it
    reads no record.

    Input: ticks, as of ``PeriodicImpulse``: any elements. Output: ``DeadLetter``, of
    records, or bands of them, with unusable or missing metadata; and of looks at which
    the collection could not be read, but for the first, which must find one. Windows: the
    global one; timestamps: those of the ticks. Counters: ``revisions_read``;
    ``records_read``, ``records_failed`` and ``bands_missing``, of every revision.

    Attributes:
        query: Which records.

    Raises:
        CollectionError: While running, at the first tick: not a collection.
        BandNotFoundError: While running, at the first tick: a band that no record has.
    """

    query: CollectionQuery

    def expand(self, ticks: beam.PCollection[Any]) -> beam.PCollection[DeadLetter]:
        """One look after the other."""
        return (
            ticks
            | "Globally" >> beam.WindowInto(GlobalWindows())
            | "InOnePlace" >> beam.Map(_keyed).with_output_types(tuple[str, bool])
            | "Look" >> beam.ParDo(_LookFn(self.query)).with_output_types(DeadLetter)
        )


def _keyed(_: object) -> tuple[str, bool]:
    return "", True


class _PlanNewestFn(beam.DoFn):
    def __init__(self, query: CollectionQuery, options: SampleOptions, seconds: float) -> None:
        self._query, self._name = query, query_digest(query)
        self._options, self._seconds = options, seconds
        self._counters = Counters(*PlanCounts._fields, "refreshes_failed")

    def setup(self) -> None:
        self._newest = newest_of(self._query, self._name, self._seconds)
        self._planned_by: Snapshot | None = None

    def process(self, batch: PointBatch) -> Iterator[Any]:
        snapshot, failure = self._newest.records()
        if failure is not None:
            self._counters.add("refreshes_failed")
        if snapshot is not self._planned_by:
            self._planner = Planner(snapshot.records, self._options)
            self._planned_by = snapshot
        tally = Tally(batch, self._options)
        yield from self._planner.tiles(tally)
        yield from finish(tally, self._counters)


class _LookFn(beam.DoFn):
    LAST = ReadModifyWriteStateSpec("last", StrUtf8Coder())

    def __init__(self, query: CollectionQuery) -> None:
        self._query, self._name = query, query_digest(query)
        self._counters = Counters(
            "revisions_read", "records_read", "records_failed", "bands_missing",
        )

    def process(
        self,
        _tick: tuple[str, bool],
        last: Any = beam.DoFn.StateParam(LAST),  # noqa: ANN401, B008 -- Beam's state
    ) -> Iterator[DeadLetter]:
        seen = last.read()
        try:
            digest = collection_digest(self._query)
            if digest == seen:
                return
            snapshot = read_snapshot(self._query, self._name, digest)
        except (RasteretBeamError, OSError) as error:
            if seen is None:
                raise
            letter = _dead_letter(self._query, error)
            self._counters.tell([letter])
            yield letter
            return
        last.write(digest)
        self._counters.add("revisions_read")
        self._counters.add("records_read", len(snapshot.letters))
        for letters in snapshot.letters:
            count_letters(letters, self._counters)
            yield from letters


def _dead_letter(query: CollectionQuery, error: Exception) -> DeadLetter:
    code = error.code if isinstance(error, RasteretBeamError) else "INVALID_COLLECTION"
    element = json.dumps({"collection": redact(query.uri)})
    msg = f"The collection cannot be read now, what was read before stays: {redact(str(error))}"
    return DeadLetter(element, msg, "", stages.REFRESH, code)
