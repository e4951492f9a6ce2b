"""Values out: decoded tiles -> sample rows."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import cast

import apache_beam as beam

from rasteret_beam import sampling
from rasteret_beam.elements import Batch, Outcomes, SampleBatch, TileBatch
from rasteret_beam.options import SampleOptions
from rasteret_beam.transforms._displayed import Displayed
from rasteret_beam.transforms._metrics import Counters


@dataclasses.dataclass(eq=False, kw_only=True)
class SampleNearest(Displayed):
    """Samples the pixel that contains each point.

    Input: what ``FetchTiles`` gives: ``TileBatch``, and ``SampleBatch`` rows that need no
    tile, which pass. Output: ``SampleBatch``; where ``options`` ask for a fallback
    or a neighbourhood ``FallbackRing`` finishes those rows whose pixels lie in several
    batches of tiles. Windows and timestamps: kept. Dead letters: none. Counters: every row
    that was planned is counted where it is finished, here or in ``FallbackRing``:
    ``samples_ok``, ``samples_fallback``, ``samples_nodata``, ``samples_failed`` (its tile
    could not be read; also where such rows are omitted).

    Attributes:
        options: What to sample; the same as for ``PlanTiles``.
    """

    options: SampleOptions

    def expand(
        self, tiles: beam.PCollection[Batch],
    ) -> beam.PCollection[SampleBatch]:
        """One ParDo, fused behind FetchTiles."""
        sample = beam.ParDo(_SampleFn(self.options)).with_output_types(SampleBatch)
        return tiles | "Sample" >> sample


class _SampleFn(beam.DoFn):
    def __init__(self, options: SampleOptions) -> None:
        self._options = options
        self._counters = Counters(*Outcomes._fields)

    def process(self, batch: Batch) -> Iterable[SampleBatch]:
        if not isinstance(batch, TileBatch):
            return [cast("SampleBatch", batch)]
        return self._counted(sampling.sample_nearest(batch, self._options))

    def _counted(self, batches: Iterable[SampleBatch]) -> Iterator[SampleBatch]:
        for batch in batches:
            yield count_outcomes(batch, self._counters)


def count_outcomes(batch: SampleBatch, counters: Counters) -> SampleBatch:
    """Counts what became of rows that were finished, once."""
    if batch.outcomes is None:
        return batch
    for name, amount in batch.outcomes._asdict().items():
        counters.add(name, amount)
    return dataclasses.replace(batch, outcomes=None)
