"""Where the points of one batch are, in every CRS that is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from rasteret_beam import schema
from rasteret_beam.elements import SampleBatch
from rasteret_beam.errors import CrsError
from rasteret_beam.grid import crs

if TYPE_CHECKING:
    from rasteret_beam.elements import PointBatch, Record
    from rasteret_beam.options import SampleOptions


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
        self._sorted: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
        self._nowhere: dict[str, np.ndarray] = {}

    def in_bbox(self, bbox: np.ndarray, space: str, *, same_crs: bool) -> np.ndarray:
        """Points inside a bbox, closed; longitudes also as they are within +-180.

        Points that have no longitude (space around the disk of a geostationary image)
        are left to the pixel test of the images in their own CRS.
        """
        lon, lat, points = self._lonlat(space)
        xmin, ymin, xmax, ymax = bbox
        first = np.searchsorted(lon, xmin, side="left")
        last = np.searchsorted(lon, xmax, side="right")
        inside = (lat[first:last] >= ymin) & (lat[first:last] <= ymax)
        found = points[first:last][inside]
        if same_crs and len(self._nowhere[space]):
            found = np.concatenate([found, self._nowhere[space]])
        return np.unique(found)

    def _lonlat(self, space: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Longitudes ascending, their latitudes, and whose they are."""
        if space not in self._sorted:
            points = np.flatnonzero(self.valid)
            try:
                lon, lat = crs.transform(
                    self.batch.crs, space, self.x[points], self.y[points],
                )
            except CrsError:  # another celestial body: its records hold none of these points
                lon = lat = np.full(len(points), np.inf)
            wide = np.isfinite(lon) & (np.abs(lon) > 180)  # noqa: PLR2004 -- degrees
            wrapped = (lon[wide] + 180) % 360 - 180
            lon, lat = np.concatenate([lon, wrapped]), np.concatenate([lat, lat[wide]])
            points = np.concatenate([points, points[wide]])
            finite = np.isfinite(lon) & np.isfinite(lat)
            self._nowhere[space] = points[~finite]
            lon, lat, points = lon[finite], lat[finite], points[finite]
            order = np.argsort(lon, kind="stable")
            self._sorted[space] = lon[order], lat[order], points[order]
        return self._sorted[space]

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
        samples = schema.make_samples(
            options,
            point_index=self.index[points],
            x=self.x[points],
            y=self.y[points],
            point_crs=self.batch.crs,
            record=None if record is None else record.info,
            bands=[] if band is None else [band],
            band_codes=np.full(len(points), -1 if band is None else 0, np.int32),
            value=np.full(len(points), np.nan),
            status_codes=status,
            columns=None if self.columns is None else self.columns.take(pa.array(points)),
        )
        times = None if event_time is None else event_time[points]
        return SampleBatch(samples, self.batch.crs, times)


def _floats(column: pa.Array) -> np.ndarray:
    return np.asarray(column.to_numpy(zero_copy_only=False), np.float64)
