"""Where points and records are, told where they did not meet."""

from collections.abc import Callable

import numpy as np
from apache_beam.metrics import Metrics

from rasteret_beam.grid import crs
from rasteret_beam.planning import Tally
from rasteret_beam.transforms._metrics import NAMESPACE

POINTS, RECORDS = "unmatched_points", "unmatched_records"
LON, LAT = "_lon_microdegrees", "_lat_microdegrees"
"""Ends of the names of distributions, whose least and greatest values are the extent."""

MICRO = 1_000_000


class Extents:
    """Tells extents of points of whole batches without a sample, and of the records then.

    Nothing is looked at for other batches, so it costs only a job in which something is
    amiss. What is of another celestial body, or of no place on the Earth, is not told.
    """

    def __init__(self) -> None:
        """Declares the distributions."""
        self._of = {
            what + axis: Metrics.distribution(NAMESPACE, what + axis)
            for what in (POINTS, RECORDS) for axis in (LON, LAT)
        }

    def tell(self, tally: Tally, boxes: Callable[[], np.ndarray]) -> None:
        """Looks at a batch that is planned.

        Args:
            tally: The batch.
            boxes: Gives the bboxes of records, float64, shape (n, 4), in degrees.
        """
        counts = tally.counts()
        if counts.points_with_rows or not counts.points_unmatched:
            return
        lon, lat, _ = tally.work.lonlat(crs.LONLAT)
        self._add(POINTS, lon, lat)
        found = boxes()
        self._add(RECORDS, found[:, [0, 2]], found[:, [1, 3]])

    def _add(self, what: str, lon: np.ndarray, lat: np.ndarray) -> None:
        for axis, values in ((LON, lon), (LAT, lat)):
            finite = values[np.isfinite(values)]
            if len(finite):
                for value in (finite.min(), finite.max()):
                    self._of[what + axis].update(round(float(value) * MICRO))
