"""What to read: points and records -> blocks of tiles with their points."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import AsList, AsSingleton

from rasteret_beam import memory
from rasteret_beam.elements import Batch, PointBatch, Record, SampleBatch, TileBlockKey
from rasteret_beam.options import SampleOptions
from rasteret_beam.planning import NO_TILE, PlanCounts, Planner, Tally
from rasteret_beam.replaying import Replay
from rasteret_beam.transforms import _coders  # noqa: F401 -- registers coders
from rasteret_beam.transforms._displayed import Displayed
from rasteret_beam.transforms._extents import Extents
from rasteret_beam.transforms._metrics import Counters

Planned = tuple[TileBlockKey, Batch]
"""A block's ``TilePoints``; or ``SampleBatch`` rows of points that need no tile."""


@dataclasses.dataclass(eq=False, kw_only=True)
class PlanTiles(Displayed):
    """Finds the tiles that points need, from the index alone: no pixel is read.

    The records are broadcast to every worker as a side input: right for collections whose
    tile tables are small. ``PlanTilesByCell`` gives the same plan for those of any size.

    Input: ``PointBatch``. Output: (``TileBlockKey``, ``TilePoints``); and, under keys of
    their own, ``SampleBatch`` rows of points without a sample, which pass through the
    stages that follow (where those are omitted they hold no rows, but still the schema).
    One stream for both: a Flatten at the end would hold every sample back. Windows and
    timestamps: those of the points; records of the global window serve every window.
    Dead letters: none. Counters: ``points_read`` = ``points_invalid`` + ``points_unmatched`` +
    ``points_with_rows``. Distributions, of batches without any sample:
    ``unmatched_points_*`` and ``unmatched_records_*``, where both are.

    Attributes:
        records: The records to sample.
        options: What to sample.
        only: What ``ReadDeadLetters`` gives, to plan only that: points are counted where
            they run again, and unmatched ones have rows only then. None to plan all.

    Raises:
        PointsError: While running: a user column has the name of an output column.
    """

    records: beam.PCollection[Record]
    options: SampleOptions
    only: beam.PCollection[Replay] | None = None

    def expand(self, points: beam.PCollection[PointBatch]) -> beam.PCollection[Planned]:
        """One ParDo over the batches."""
        return points | "Plan" >> beam.ParDo(
            _PlanFn(self.options), AsList(self.records), *as_singleton(self.only),
        ).with_output_types(Planned)


def as_singleton(only: beam.PCollection[Replay] | None) -> list[AsSingleton]:
    """Gives a replay as a side input, where there is one."""
    return [] if only is None else [AsSingleton(only)]


class _PlanFn(beam.DoFn):
    def __init__(self, options: SampleOptions) -> None:
        self._options = options
        self._records: list[Record] | None = None
        self._counters, self._extents = Counters(*PlanCounts._fields), Extents()

    def setup(self) -> None:
        memory.keep_freed()

    def process(
        self, batch: PointBatch, records: list[Record], only: Replay | None = None,
    ) -> Iterator[Any]:
        # Beam hands over the same list for every element of a bundle and window.
        if records is not self._records:
            self._records, self._planner = records, Planner(records, self._options)
        tally = Tally(batch, self._options, only)
        yield from self._planner.tiles(tally)
        self._extents.tell(tally, self._boxes)
        yield from finish(tally, self._counters)

    def _boxes(self) -> np.ndarray:
        found = np.array([record.bbox for record in self._records or ()], np.float64)
        return found.reshape(-1, 4)


def finish(tally: Tally, counters: Counters) -> Iterator[tuple[TileBlockKey, SampleBatch]]:
    """Counts the points of a batch, and gives rows of those that have no sample."""
    counts = tally.counts()
    for name, amount in counts._asdict().items():
        counters.add(name, amount)
    # Every batch has a key of its own: nothing of it needs to meet.
    key = TileBlockKey(NO_TILE, 0, 0, first_index(tally.work.batch))
    first, *others = tally.rows()
    yield key, dataclasses.replace(first, counts=counts)
    for rows in others:
        yield key, rows


def first_index(batch: PointBatch) -> int:
    """Gives the ``point_index`` of a batch's first point; 0 where it has none."""
    index = batch.points.column("point_index")
    return int(index[0].as_py()) if len(index) else 0
