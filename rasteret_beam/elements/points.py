"""Points, as they are read and as they are planned."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from rasteret_beam.elements.batch import Batch
from rasteret_beam.elements.narrow import Narrow, narrowed, widened
from rasteret_beam.elements.packing import Packed, pack, unpack

POINT_DTYPE = np.dtype(
    [
        ("point_index", "<i8"),
        ("x", "<f8"),
        ("y", "<f8"),
        ("row_float", "<f8"),
        ("col_float", "<f8"),
    ],
)
"""One planned point: its index, its input coordinates, its position on the pixel grid: where
no pixels around its own are needed, that pixel's row and column."""

_WORTH_A_LOOK_POINTS = 256


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
        """Pickles in as few bytes as can be: this is what a job shuffles."""
        columns = self.columns
        copies: _Copies = ()
        points: bytes | _Points = self.points.tobytes()
        if len(self.points) >= _WORTH_A_LOOK_POINTS:
            points = tuple(narrowed(self.points[name]) for name in _NAMES)
            columns, copies = _without_copies(columns, self.points)
        data = None if columns is None else pack(columns)
        return _planned_points, (points, data, copies, self.crs, self.event_time_us)


_Points = tuple[Narrow | np.ndarray, ...]
_Copies = tuple[tuple[str, str], ...]
_NAMES = POINT_DTYPE.names or ()
_COORDINATES = ("x", "y")


def _planned_points(
    points: bytes | _Points,
    data: Packed | None,
    copies: _Copies,
    crs: str | None,
    event_time_us: np.ndarray | None,
) -> PlannedPoints:
    if isinstance(points, bytes):
        found = np.frombuffer(points, POINT_DTYPE)
    else:
        wide = [widened(numbers) for numbers in points]
        found = np.empty(len(wide[0]), POINT_DTYPE)
        for name, numbers in zip(_NAMES, wide, strict=True):
            found[name] = numbers
    columns = None if data is None else unpack(data)
    return PlannedPoints(found, _with_copies(columns, copies, found), crs, event_time_us)


def _without_copies(
    columns: pa.RecordBatch | None, points: np.ndarray,
) -> tuple[pa.RecordBatch | None, _Copies]:
    """Takes away columns that are the coordinates again, as those are that they were read from.

    Returns:
        The other columns, None where there are no others; and for each column in its order
        its name and which coordinate it is, "" for none. No names where no column is one.
    """
    if columns is None or columns.schema.metadata:
        return columns, ()
    copies = tuple(
        (field.name, _copied(field, column, points))
        for field, column in zip(columns.schema, columns.columns, strict=True)
    )
    others = [at for at, (_, coordinate) in enumerate(copies) if not coordinate]
    if len(others) == len(copies):
        return columns, ()
    return columns.select(others) if others else None, copies


def _copied(field: pa.Field, column: pa.Array, points: np.ndarray) -> str:
    if not field.equals(pa.field(field.name, pa.float64()), check_metadata=True):
        return ""
    if column.null_count:
        return ""
    bits = column.to_numpy().view(np.int64)
    same = (name for name in _COORDINATES if np.array_equal(bits, points[name].view(np.int64)))
    return next(same, "")


def _with_copies(
    others: pa.RecordBatch | None, copies: _Copies, points: np.ndarray,
) -> pa.RecordBatch | None:
    """Puts back what ``_without_copies`` took away."""
    if not copies:
        return others
    arrays, fields, at = [], [], 0
    for name, coordinate in copies:
        if coordinate:
            arrays.append(pa.array(points[coordinate]))
            fields.append(pa.field(name, pa.float64()))
        elif others is not None:
            arrays.append(others.column(at))
            fields.append(others.schema.field(at))
            at += 1
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


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
