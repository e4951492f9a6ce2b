"""Rows of a table -> a batch of points, and dead letters of those that hold none."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from rasteret_beam.arrow_types import rows_without_views
from rasteret_beam.elements import DeadLetter, PointBatch, stages
from rasteret_beam.errors import InvalidPointError
from rasteret_beam.points.columns import NO_CRS, PointColumns, locate
from rasteret_beam.points.coordinates import from_columns, from_geometry
from rasteret_beam.storage import redact

if TYPE_CHECKING:
    from collections.abc import Mapping

BATCH_ROWS = 65536
"""Rows of a point batch."""


def to_points(
    rows: pa.RecordBatch,
    columns: PointColumns,
    first_index: int | np.ndarray,
    source: str,
    broken: Mapping[int, str] | None = None,
) -> tuple[PointBatch, list[DeadLetter]]:
    """Reads the points of a table.

    Args:
        rows: The table.
        columns: Where the points are.
        first_index: ``point_index`` of the first row, or of every row.
        source: Name of the input, for messages.
        broken: Rows of which something is known to be wrong, and what.

    Returns:
        The points; and a dead letter for each row that is broken, or without usable
        coordinates: null, NaN, infinite, an empty point, or something else than a point.
        All rows keep their place.

    Raises:
        PointsError: As ``locate``, or the columns hold something else.
    """
    place = locate(rows.schema, columns, source)
    rows = rows_without_views(rows)
    index = first_index
    if isinstance(index, int):
        index = np.arange(index, index + rows.num_rows, dtype=np.int64)
    if place.geometry_column is None:
        x, y, unusable = from_columns(rows, str(place.x_column), str(place.y_column))
    else:
        x, y, unusable = from_geometry(rows, place.geometry_column)
        rows = rows.select([name for name in rows.schema.names if name != place.geometry_column])
    points = pa.RecordBatch.from_arrays(
        [pa.array(index, pa.int64()), pa.array(x), pa.array(y), *rows.columns],
        schema=pa.schema(
            [
                ("point_index", pa.int64()), ("point_x", pa.float64()), ("point_y", pa.float64()),
                *(field.with_metadata(None) for field in rows.schema),
            ],
        ),
    )
    reasons = {**unusable, **(broken or {})}
    letters = [dead_letter(source, int(index[row]), reasons[row]) for row in sorted(reasons)]
    return PointBatch(points, None if place.crs == NO_CRS else str(place.crs)), letters


def dead_letter(source: str, index: int, reason: str) -> DeadLetter:
    """Names a row without usable coordinates."""
    error = InvalidPointError(f"{redact(source)}: point {index}: {reason}")
    element = json.dumps({"source": redact(source), "point_index": index})
    return DeadLetter(element, str(error), "", stages.POINTS, error.code)
