"""Values out: decoded tiles -> sample rows."""

import dataclasses
from collections.abc import Iterable
from typing import cast

import apache_beam as beam

from rasteret_beam import sampling
from rasteret_beam.elements import Batch, SampleBatch, TileBatch
from rasteret_beam.options import SampleOptions


@dataclasses.dataclass(eq=False, kw_only=True)
class SampleNearest(beam.PTransform):
    """Samples the pixel that contains each point.

    Input: what ``FetchTiles`` gives: ``TileBatch``, and ``SampleBatch`` rows that need no
    tile, which pass. Output: ``SampleBatch``; where ``options`` ask for a fallback
    or a neighbourhood its rows are finished by ``FallbackRing``. Windows and
    timestamps: kept. Dead letters and counters: none.

    Attributes:
        options: What to sample; the same as for ``PlanTiles``.
    """

    options: SampleOptions

    def expand(
        self, tiles: beam.PCollection[Batch],
    ) -> beam.PCollection[SampleBatch]:
        """One FlatMap, fused behind FetchTiles."""
        sample = beam.FlatMap(_sample, self.options).with_output_types(SampleBatch)
        return tiles | "Sample" >> sample


def _sample(batch: Batch, options: SampleOptions) -> Iterable[SampleBatch]:
    if isinstance(batch, TileBatch):
        return sampling.sample_nearest(batch, options)
    return [cast("SampleBatch", batch)]
