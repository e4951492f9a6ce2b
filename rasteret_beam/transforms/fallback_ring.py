"""Valid values for nodata: rows with parts of windows -> finished rows."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from rasteret_beam import sampling
from rasteret_beam.elements import Outcomes, SampleBatch, TileBlockKey
from rasteret_beam.errors import OptionError
from rasteret_beam.options import SampleOptions
from rasteret_beam.transforms import _coders  # noqa: F401 -- registers coders
from rasteret_beam.transforms._displayed import Displayed
from rasteret_beam.transforms._metrics import Counters
from rasteret_beam.transforms._outputs import typed
from rasteret_beam.transforms._panes import fires_once
from rasteret_beam.transforms.sample_nearest import count_outcomes

_SEAMS = "seams"

PASSING = "rasteret_beam:passing"
"""Annotation of a Flatten that a runner should not hold in memory: see ``LocalRunner``."""


@dataclasses.dataclass(eq=False, kw_only=True)
class FallbackRing(Displayed):
    """Replaces nodata by the nearest valid pixel, and adds neighbourhoods.

    rasteret's rule: rings of growing Chebyshev radius up to ``max_distance_pixels``; in
    the first ring with a valid pixel, the one at the least exact distance from the
    point; ties in PostGIS's order. Where nothing valid is in reach nodata stays.

    Rows whose window lies in one batch of tiles come finished; the few whose window
    crosses into another batch meet its part in a GroupByKey. Without a fallback
    rows pass unchanged. FnApiRunner holds all rows where the two kinds come together, in
    a Flatten; ``LocalRunner`` and engines for many machines do not.

    Input: ``SampleBatch`` of ``SampleNearest``. Output: ``SampleBatch``. Windows: kept.
    Dead letters: none (a tile that cannot be read is FetchTiles's; a row whose nearest
    valid pixel might lie in it gets FETCH_ERROR, or no row). Counters: those of
    ``SampleNearest``, of the rows that are finished here.

    Attributes:
        options: What to sample; the same as for ``SampleNearest``.

    Raises:
        OptionError: A fallback for points without an end in windows that fire more than
            once: the parts of a row could come in several panes.
    """

    options: SampleOptions

    def expand(self, samples: beam.PCollection[SampleBatch]) -> beam.PCollection[SampleBatch]:
        """Splits, merges what crosses seams, and puts all together."""
        if not self.options.max_distance_pixels:
            return samples
        self._check_panes(samples)
        split = samples | "Split" >> beam.ParDo(_SplitFn()).with_outputs(_SEAMS, main="whole")
        merged = (
            split[_SEAMS]
            | "KeyByBlock" >> beam.Map(_identity).with_output_types(
                tuple[TileBlockKey, SampleBatch],
            )
            | "GroupByBlock" >> beam.GroupByKey()
            | "Merge" >> beam.ParDo(_MergeFn(self.options)).with_output_types(SampleBatch)
        )
        return (
            (typed(split.whole, SampleBatch), merged)
            | "Flatten" >> PassingFlatten()
            | "Finish" >> beam.Map(sampling.finish).with_output_types(SampleBatch)
        )

    def _check_panes(self, samples: beam.PCollection[SampleBatch]) -> None:
        if not fires_once(samples.windowing) and not samples.is_bounded:
            msg = (
                f"max_distance_pixels is {self.options.max_distance_pixels}, and windows fire more "
                "than once: what lies around a late point may come in other panes. Give windows "
                "no lateness and the default trigger, or points no fallback"
            )
            raise OptionError(msg)


class PassingFlatten(beam.Flatten):
    """A Flatten that says of itself that most of a job's rows flow through it."""

    def annotations(self) -> dict[str, bytes]:
        """Adds ``PASSING``."""
        return {**super().annotations(), PASSING: b""}


def _identity(part: tuple[TileBlockKey, SampleBatch]) -> tuple[TileBlockKey, SampleBatch]:
    """Declares the key's type, which a tagged output does not carry."""
    return part


class _SplitFn(beam.DoFn):
    def process(self, batch: SampleBatch) -> Iterator[Any]:
        if batch.windows is None:
            yield batch
        else:
            yield TaggedOutput(_SEAMS, (batch.windows.key, batch))


class _MergeFn(beam.DoFn):
    def __init__(self, options: SampleOptions) -> None:
        self._options = options
        self._counters = Counters(*Outcomes._fields)

    def process(
        self, block: tuple[TileBlockKey, Iterable[SampleBatch]],
    ) -> Iterator[SampleBatch]:
        for batch in sampling.merge(block[1], self._options):
            yield count_outcomes(batch, self._counters)
