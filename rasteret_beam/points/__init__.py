"""Points: rows of tables, or rows that come one by one -> batches of points."""

from rasteret_beam.points.batches import BATCH_ROWS, dead_letter, to_points
from rasteret_beam.points.columns import (
    COORDINATE_PAIRS,
    EXTENSION_METADATA,
    EXTENSION_NAME,
    NO_CRS,
    PointColumns,
    coordinate_columns,
    locate,
)
from rasteret_beam.points.coordinates import number

__all__ = [
    "BATCH_ROWS",
    "COORDINATE_PAIRS",
    "EXTENSION_METADATA",
    "EXTENSION_NAME",
    "NO_CRS",
    "PointColumns",
    "coordinate_columns",
    "dead_letter",
    "locate",
    "number",
    "to_points",
]
