"""What the value is: decoded tiles + pixel positions -> sample rows."""

from rasteret_beam.sampling.nearest import sample_nearest
from rasteret_beam.sampling.nodata import is_nodata
from rasteret_beam.sampling.windows import finish, merge

__all__ = ["finish", "is_nodata", "merge", "sample_nearest"]
