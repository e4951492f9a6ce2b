"""Points, as they are read and as they are planned."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rasteret_beam.elements.batch import Batch
from rasteret_beam.elements.packing import Packed, pack, unpack

if TYPE_CHECKING:
    import pyarrow as pa


POINT_DTYPE = np.dtype(
    [
        ("point_index", "<i8"),
        ("x", "<f8"),
        ("y", "<f8"),
        ("row_float", "<f8"),
        ("col_float", "<f8"),
    ],
)
"""One planned point: its index, its input coordinates, its position on the pixel grid."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class PointBatch(Batch):
    """Some tens of thousands of points.

    Attributes:
        points: ``point_index`` int64, ``point_x`` and ``point_y`` float64 (NaN or null
            where the row holds no point), then the user's columns.
        crs: CRS of the coordinates; None means "as the rasters' own".
        event_time_us: int64, shape (n_points,), the rows' own timestamps in
            microseconds where they came one by one; None for bounded inputs.
    """

    points: pa.RecordBatch
    crs: str | None
    event_time_us: np.ndarray | None = None

    @property
    def nbytes(self) -> int:
        """Memory of the points, in bytes."""
        return int(self.points.nbytes)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the points as an IPC stream."""
        return _point_batch, (pack(self.points), self.crs, self.event_time_us)


def _point_batch(data: Packed, crs: str | None, event_time_us: np.ndarray | None) -> PointBatch:
    return PointBatch(unpack(data), crs, event_time_us)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class PlannedPoints:
    """Points with their positions on one pixel grid, and the columns they carry.

    Attributes:
        points: ``POINT_DTYPE``, shape (n_points,).
        columns: The user's columns, n_points rows, or None where there are none.
        crs: CRS of the input coordinates, or None.
        event_time_us: int64, shape (n_points,), or None.
    """

    points: np.ndarray
    columns: pa.RecordBatch | None
    crs: str | None
    event_time_us: np.ndarray | None

    @property
    def nbytes(self) -> int:
        """Memory of the points and their columns, in bytes."""
        return self.points.nbytes + (0 if self.columns is None else self.columns.nbytes)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the columns as an IPC stream."""
        columns = None if self.columns is None else pack(self.columns)
        return _planned_points, (self.points.tobytes(), columns, self.crs, self.event_time_us)


def _planned_points(
    points: bytes, data: Packed | None, crs: str | None, event_time_us: np.ndarray | None,
) -> PlannedPoints:
    columns = None if data is None else unpack(data)
    return PlannedPoints(np.frombuffer(points, POINT_DTYPE), columns, crs, event_time_us)


class PlanCounts(NamedTuple):
    """Where the points of a batch went; read = invalid + unmatched + with_rows.

    Decided by the plan: a point with rows is one whose pixel was planned. Where all of its
    tiles turn out to be unreadable it has rows with an error status, or none where
    ``unmatched`` is ``omit``; ``samples_failed`` counts those.

    Attributes:
        points_read: All; in a replay those that run again.
        points_invalid: Without usable coordinates.
        points_unmatched: On no pixel of any band that can be read.
        points_with_rows: The rest.
    """

    points_read: int
    points_invalid: int
    points_unmatched: int
    points_with_rows: int
