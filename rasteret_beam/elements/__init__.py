"""What flows: the elements that PCollections carry between stages.

Every element is frozen and holds plain values, numpy arrays or Arrow batches, so that the
pure core can make and read them without Beam. Arrow batches are pickled as IPC streams:
pickling a slice would drag its whole parent along.
"""

from rasteret_beam.elements.batch import Batch
from rasteret_beam.elements.points import POINT_DTYPE, PlanCounts, PlannedPoints, PointBatch
from rasteret_beam.elements.rasters import (
    Asset,
    FileInfo,
    Geotransform,
    Grid,
    Record,
    RecordInfo,
    TileLayout,
)
from rasteret_beam.elements.samples import DeadLetter, Outcomes, PixelWindows, SampleBatch
from rasteret_beam.elements.tiles import (
    BlockPoints,
    BlockRows,
    DecodedTile,
    PointPixels,
    Source,
    Sources,
    TileBatch,
    TileBlockKey,
    TilePoints,
)

__all__ = [
    "POINT_DTYPE",
    "Asset",
    "Batch",
    "BlockPoints",
    "BlockRows",
    "DeadLetter",
    "DecodedTile",
    "FileInfo",
    "Geotransform",
    "Grid",
    "Outcomes",
    "PixelWindows",
    "PlanCounts",
    "PlannedPoints",
    "PointBatch",
    "PointPixels",
    "Record",
    "RecordInfo",
    "SampleBatch",
    "Source",
    "Sources",
    "TileBatch",
    "TileBlockKey",
    "TileLayout",
    "TilePoints",
]
