"""Sample rows -> files: rows of many workers, gathered by place into files of their own.

The rows decide names, order and bytes of the files, and nothing else does.
"""

from rasteret_beam.output.formats import FORMATS
from rasteret_beam.output.layouts import LAYOUTS, Layout

__all__ = ["FORMATS", "LAYOUTS", "Layout"]
