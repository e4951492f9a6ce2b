"""Rows of a block that share their points: held together, and stored with each point once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from rasteret_beam.output.parts import LAT, LON, PLACE, SAMPLE_COLUMNS, UNIT, Points
from rasteret_beam.output.runs import members
from rasteret_beam.output.units import LABEL_COLUMNS, Unit, in_order

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rasteret_beam.elements import BlockRows
    from rasteret_beam.output.places import Placed
    from rasteret_beam.row_sums import RowLabel

BLOB_ROWS = 32768
"""Samples that are read back together, about."""


class Frame:
    """Points, and their samples of some bands and records.

    Attributes:
        points: What rows say of their points.
        schema: Of what rows have of their own.
        block: Whose rows these are some of; None where they need no tile.
        placed: Where the points are.
        samples: What rows have of their own, by label.
    """

    def __init__(
        self, points: pa.RecordBatch, schema: pa.Schema, block: BlockRows | None, placed: Placed,
    ) -> None:
        """Begins without samples."""
        self.points, self.schema, self.block, self.placed = points, schema, block, placed
        self.samples: dict[RowLabel, pa.RecordBatch] = {}

    def is_of(self, rows: pa.RecordBatch, block: BlockRows | None) -> bool:
        """Tells whether rows are of its points: bands and records of a block share the memory."""
        points, samples = split_columns(rows)
        mine = self.points
        return (
            self.block == block
            and self.schema == samples.schema
            and mine.schema == points.schema
            and all(_is_same(*both) for both in zip(mine.columns, points.columns, strict=True))
        )

    def unit(self) -> Unit:
        """Gives what its points have samples of."""
        labels = tuple(sorted(self.samples, key=in_order))
        return Unit(labels, None if self.block is None else self.block.key)


def split_columns(rows: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """Gives what rows say of their points, and what they have of their own."""
    names, rows = rows.schema.names, rows.replace_schema_metadata(None)
    points = [name for name in names if name not in SAMPLE_COLUMNS + LABEL_COLUMNS]
    return rows.select(points), rows.select([name for name in names if name in SAMPLE_COLUMNS])


def stored(
    frames: Sequence[Frame], *, with_lonlat: bool,
) -> Iterator[tuple[Points, np.ndarray]]:
    """Gives points as parts have them, in the order of their spots, some at a time.

    Each file reads its spots of every part: where runs reach over others it would read
    points in vain.

    Args:
        frames: With columns of one schema, at least one frame.
        with_lonlat: Whether points are to have longitude and latitude.

    Yields:
        Points with their samples; and the points' spots, ascending.
    """
    units = [frame.unit() for frame in frames]
    points = _together([
        _placed(frame, number, with_lonlat=with_lonlat) for number, frame in enumerate(frames)
    ])  # fmt: skip
    samples = _together([
        frame.samples[label]
        for frame, unit in zip(frames, units, strict=True) for label in unit.labels
    ])  # fmt: skip
    first, count, step = _where_samples_are(frames)
    spot = np.concatenate([frame.placed.spot for frame in frames])
    order = np.argsort(spot, kind="stable")
    filled = np.cumsum(count[order]) // BLOB_ROWS
    for at in np.split(order, np.flatnonzero(np.diff(filled)) + 1):
        mine = members(first[at], count[at], step[at])
        rows, known = _with_own_units(points.take(pa.array(at)), units)
        yield Points(rows, samples.take(pa.array(mine)), known), spot[at]


def _placed(frame: Frame, number: int, *, with_lonlat: bool) -> pa.RecordBatch:
    """Its points, with where they are and what they have samples of."""
    placed, names = frame.placed, [*frame.points.schema.names, UNIT, PLACE]
    columns = [
        *frame.points.columns,
        pa.array(np.full(frame.points.num_rows, number, np.int32)),
        pa.array(placed.place, pa.int64()),
    ]
    if with_lonlat:
        names += [LON, LAT]
        columns += [pa.array(placed.lon), pa.array(placed.lat)]
    return pa.RecordBatch.from_arrays(columns, names=names)


def _where_samples_are(frames: Sequence[Frame]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """By point: its first sample, how many it has, and how far they are apart.

    Those of a frame are label by label.
    """
    n_points = np.array([frame.points.num_rows for frame in frames], np.int64)
    n_labels = np.array([len(frame.samples) for frame in frames], np.int64)
    n_samples = n_points * n_labels
    first = members(np.cumsum(n_samples) - n_samples, n_points)
    return first, np.repeat(n_labels, n_points), np.repeat(n_points, n_points)


def _with_own_units(
    points: pa.RecordBatch, units: Sequence[Unit],
) -> tuple[pa.RecordBatch, tuple[Unit, ...]]:
    """Points whose ``UNIT`` counts into the units that they are of."""
    at = points.schema.get_field_index(UNIT)
    numbers, local = np.unique(points.column(UNIT).to_numpy(), return_inverse=True)
    points = points.set_column(at, UNIT, pa.array(local.reshape(-1), pa.int32()))
    return points, tuple(units[number] for number in numbers.tolist())


def _together(run: list[pa.RecordBatch]) -> pa.RecordBatch:
    if len(run) == 1:
        return run[0]
    (rows,) = pa.Table.from_batches(run).unify_dictionaries().combine_chunks().to_batches()
    return rows


def _is_same(first: pa.Array, second: pa.Array) -> bool:
    """Whether two arrays of one type are one and the same memory."""
    if len(first) != len(second) or first.offset != second.offset:
        return False
    both = zip(first.buffers(), second.buffers(), strict=True)
    return all(a is b or (a and b and a.address == b.address) for a, b in both)
