"""What to read: points and records -> blocks of tiles with their points."""

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import AsList, TaggedOutput

from rasteret_beam.elements import PointBatch, Record, SampleBatch, TileBlockKey, TilePoints
from rasteret_beam.options import SampleOptions
from rasteret_beam.planning import Planner
from rasteret_beam.transforms import _coders  # noqa: F401 -- registers the key's coder
from rasteret_beam.transforms._metrics import Counters
from rasteret_beam.transforms._outputs import NamedOutputs

_UNMATCHED = "unmatched"


class PlanResult(NamedTuple):
    """Tiles to read, and rows of points that need none.

    Attributes:
        tiles: For each block of tiles, points of one batch that need it.
        unmatched: Rows of points without a sample. Where those are omitted it holds
            no rows, but still the schema: flatten it with the samples all the same.
    """

    tiles: beam.PCollection[tuple[TileBlockKey, TilePoints]]
    unmatched: beam.PCollection[SampleBatch]


@dataclasses.dataclass(eq=False, kw_only=True)
class PlanTiles(NamedOutputs):
    """Finds the tiles that points need, from the index alone: no pixel is read.

    The records are broadcast to every worker as a side input.

    Input: ``PointBatch``. Output: ``PlanResult``. Windows and timestamps: those of the
    points; records of the global window serve every window. Dead letters: none.
    Counters: ``points_read`` = ``points_invalid`` + ``points_unmatched`` +
    ``points_with_rows``.

    Attributes:
        records: The records to sample.
        options: What to sample.

    Raises:
        PointsError: While running: a user column has the name of an output column.
    """

    records: beam.PCollection[Record]
    options: SampleOptions

    def expand(self, points: beam.PCollection[PointBatch]) -> PlanResult:
        """One ParDo over the batches."""
        outputs = points | "Plan" >> beam.ParDo(
            _PlanFn(self.options), AsList(self.records),
        ).with_output_types(tuple[TileBlockKey, TilePoints]).with_outputs(_UNMATCHED, main="tiles")
        return PlanResult(outputs.tiles, outputs[_UNMATCHED])


class _PlanFn(beam.DoFn):
    def __init__(self, options: SampleOptions) -> None:
        self._options = options
        self._records: list[Record] | None = None
        self._counters = Counters(
            "points_read", "points_invalid", "points_unmatched", "points_with_rows",
        )

    def process(
        self, batch: PointBatch, records: list[Record],
    ) -> Iterator[Any]:
        # Beam hands over the same list for every element of a bundle and window.
        if records is not self._records:
            self._records, self._planner = records, Planner(records, self._options)
        plan = self._planner.plan(batch)
        for name, amount in plan.counts._asdict().items():
            self._counters.add(name, amount)
        for rows in plan.unmatched:
            yield TaggedOutput(_UNMATCHED, rows)
        yield from plan.tiles
