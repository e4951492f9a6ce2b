"""Points of a block -> sample rows of one band."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rasteret_beam import schema
from rasteret_beam.elements import SampleBatch
from rasteret_beam.sampling.outcomes import outcomes_of

if TYPE_CHECKING:
    from rasteret_beam.elements import BlockPoints, TileBatch
    from rasteret_beam.options import SampleOptions
    from rasteret_beam.schema import PointArrays


class SharedColumns(NamedTuple):
    """What rows of all bands and files say of the same points."""

    arrays: PointArrays
    event_time: np.ndarray | None

    def take(self, points: np.ndarray) -> SharedColumns:
        """Gives those of some points, by int64 indexes."""
        event_time = None if self.event_time is None else self.event_time[points]
        return SharedColumns(self.arrays.take(points), event_time)


@functools.lru_cache(maxsize=2)
def shared_columns(points: BlockPoints, options: SampleOptions) -> SharedColumns:
    """Gives those of all points; the files of one block follow each other."""
    planned, located = points.planned, points.planned.points
    arrays = schema.point_arrays(
        options, located["point_index"], (located["x"], located["y"]), planned.crs, planned.columns,
    )
    return SharedColumns(arrays, planned.event_time_us)


class Rows(NamedTuple):
    """Rows of one band.

    Attributes:
        band: The band.
        shared: Their points' columns.
        values: Any dtype, shape (n_rows,).
        codes: int8, same shape, index into ``STATUSES``.
        n_lost: How many there are besides that are omitted.
    """

    band: str
    shared: SharedColumns
    values: np.ndarray
    codes: np.ndarray
    n_lost: int = 0

    def take(self, at: np.ndarray) -> Rows:
        """Gives some of them, by ascending int64 indexes; and counts the same as omitted."""
        if len(at) == len(self.codes):
            return self
        shared = self.shared.take(at)
        return Rows(self.band, shared, self.values[at], self.codes[at], self.n_lost)

    def in_block(self, batch: TileBatch, options: SampleOptions) -> SampleBatch:
        """Gives them as rows of a batch's block and record."""
        samples = schema.make_samples(
            options,
            self.shared.arrays,
            record=batch.source.record,
            band=self.band,
            value=self.values.astype(np.float64, copy=False),
            status_codes=self.codes if self.codes.any() else None,
        )
        crs, event_time = batch.points.planned.crs, self.shared.event_time
        return SampleBatch(samples, crs, event_time, block=batch.block)

    def finished(
        self, batch: TileBatch, options: SampleOptions, neighbours: np.ndarray | None = None,
    ) -> SampleBatch:
        """Gives them likewise, and counts them."""
        outcomes = outcomes_of(self.codes, self.n_lost)
        rows = self.in_block(batch, options)
        return dataclasses.replace(rows, neighbours=neighbours, outcomes=outcomes)
