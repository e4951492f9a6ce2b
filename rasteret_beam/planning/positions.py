"""Where the points of one batch are, in every CRS that is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import shapely

from rasteret_beam import schema
from rasteret_beam.elements import SampleBatch
from rasteret_beam.errors import CrsError
from rasteret_beam.grid import crs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rasteret_beam.elements import PointBatch, Record
    from rasteret_beam.options import SampleOptions

_PAIRS_AT_ONCE = 4_000_000
_FEW_BOXES = 128
"""Up to here every point is compared with every box; more are worth a tree of the points."""


class BatchPositions:
    """One batch's coordinates, in every CRS they are asked for."""

    def __init__(self, batch: PointBatch) -> None:
        self.batch = batch
        self.index = batch.points.column("point_index").to_numpy()
        self.x = _floats(batch.points.column("point_x"))
        self.y = _floats(batch.points.column("point_y"))
        self.n_points = len(self.x)
        self.valid = np.isfinite(self.x) & np.isfinite(self.y)
        names = schema.user_columns(batch.points.schema).names
        self.columns = batch.points.select(names) if names else None
        self._placed: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
        self._nowhere: dict[str, np.ndarray] = {}

    def in_boxes(self, boxes: np.ndarray, space: str) -> Iterator[tuple[int, np.ndarray]]:
        """Finds the points inside boxes, closed; longitudes also as they are within +-180.

        Args:
            boxes: float64, shape (n_boxes, 4): xmin, ymin, xmax, ymax.
            space: The CRS in which they are compared.

        Yields:
            (box, points) of each box that holds any, both ascending.
        """
        lon, lat, points = self.lonlat(space)
        if not len(points) or not len(boxes):
            return
        if len(boxes) <= _FEW_BOXES:
            for at, (xmin, ymin, xmax, ymax) in enumerate(boxes.tolist()):
                inside = (lon >= xmin) & (lon <= xmax) & (lat >= ymin) & (lat <= ymax)
                found = points[inside]
                if len(found):
                    ascending = bool((found[1:] > found[:-1]).all())
                    yield at, found if ascending else np.unique(found)
            return
        shapes = shapely.box(*boxes.T)
        tree = shapely.STRtree(shapely.points(lon, lat))
        # Every pair is listed: as many boxes at once as can be, if all hold every point.
        step = max(_PAIRS_AT_ONCE // len(points), 1)
        for first in range(0, len(boxes), step):
            box, hit = tree.query(shapes[first : first + step])
            if not len(box):
                continue
            order = np.lexsort((points[hit], box))
            box, found = box[order], points[hit][order]
            starts = np.flatnonzero(np.r_[True, np.diff(box) != 0])
            for start, stop in zip(starts, np.r_[starts[1:], len(box)], strict=True):
                yield first + int(box[start]), _once(found[start:stop])

    def nowhere(self, space: str) -> np.ndarray:
        """Gives the points with coordinates that have no place in a CRS, ascending."""
        self.lonlat(space)
        return self._nowhere[space]

    def lonlat(self, space: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Gives longitudes and latitudes, and whose they are.

        A point beyond +-180 stands twice: as it is, and wrapped.
        """
        if space not in self._placed:
            points = np.flatnonzero(self.valid)
            try:
                lon, lat = crs.transform(
                    self.batch.crs, space, self.x[points], self.y[points],
                )
            except CrsError:  # another celestial body: its records hold none of these points
                lon = lat = np.full(len(points), np.inf)
            finite = np.isfinite(lon) & np.isfinite(lat)
            self._nowhere[space] = points[~finite]
            lon, lat, points = lon[finite], lat[finite], points[finite]
            wide = np.abs(lon) > crs.HALF_TURN
            self._placed[space] = (
                np.concatenate([lon, crs.wrapped(lon[wide])]),
                np.concatenate([lat, lat[wide]]),
                np.concatenate([points, points[wide]]),
            )
        return self._placed[space]

    def rows(
        self,
        options: SampleOptions,
        points: np.ndarray,
        status: np.ndarray,
        record: Record | None = None,
        band: str | None = None,
    ) -> SampleBatch:
        """Rows without a value."""
        event_time = self.batch.event_time_us
        arrays = schema.point_arrays(
            options,
            self.index[points],
            (self.x[points], self.y[points]),
            self.batch.crs,
            None if self.columns is None else self.columns.take(pa.array(points)),
        )
        samples = schema.make_samples(
            options,
            arrays,
            record=None if record is None else record.info,
            band=band,
            value=np.full(len(points), np.nan),
            status_codes=status,
        )
        times = None if event_time is None else event_time[points]
        return SampleBatch(samples, self.batch.crs, times)


def _once(points: np.ndarray) -> np.ndarray:
    """Drops repetitions from what is ascending: wide boxes hold a point's both longitudes."""
    return points[np.r_[True, np.diff(points) != 0]]


def _floats(column: pa.Array) -> np.ndarray:
    return np.asarray(column.to_numpy(zero_copy_only=False), np.float64)
