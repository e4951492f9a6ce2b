"""Points files -> tables of rows: Parquet, GeoParquet, CSV, GeoJSON."""

from rasteret_beam.point_files.numbering import PointsFile, PointsPiece, number_files
from rasteret_beam.point_files.reading import inspect_file, read_piece

__all__ = ["PointsFile", "PointsPiece", "inspect_file", "number_files", "read_piece"]
