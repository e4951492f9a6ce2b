"""What the value is: decoded tiles + pixel positions -> sample rows."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from rasteret_beam import schema
from rasteret_beam.elements import SampleBatch
from rasteret_beam.grid.tiling import tile_origin
from rasteret_beam.sampling import windows
from rasteret_beam.sampling.nodata import is_nodata
from rasteret_beam.sampling.placing import PlacedPoints
from rasteret_beam.schema import STATUS_CODES, Status

if TYPE_CHECKING:
    from rasteret_beam.elements import TileBatch
    from rasteret_beam.options import SampleOptions

_OK = STATUS_CODES[Status.OK.value]
_NODATA = STATUS_CODES[Status.NODATA.value]


def sample_nearest(batch: TileBatch, options: SampleOptions) -> SampleBatch:
    """Samples the pixels that contain the points, and gathers windows where wanted.

    Args:
        batch: Decoded tiles and points.
        options: What to sample.

    Returns:
        Rows of the points whose pixel lies in these tiles, band by band, and windows.
    """
    work = PlacedPoints(batch)
    n_points, visit = len(work.owned), batch.visit
    values = np.full((len(visit.bands), n_points), np.nan)
    status = np.full((len(visit.bands), n_points), _OK, np.int8)
    for tile_number, span in work.tiles():
        if tile_number in batch.failed:
            status[:, span] = STATUS_CODES[batch.failed[tile_number]]
            continue
        top, left = tile_origin(batch.grid, tile_number)
        row, col = work.row[work.owned[span]] - top, work.col[work.owned[span]] - left
        for at, sample in enumerate(visit.samples):
            pixels = batch.tiles[tile_number][sample, row, col]
            values[at, span] = pixels
            status[at, span] = np.where(is_nodata(pixels, visit.layout.nodata), _NODATA, _OK)
    points = np.tile(work.owned, len(visit.bands))
    band_codes = np.repeat(np.arange(len(visit.bands), dtype=np.int32), n_points)
    codes, flat = status.reshape(-1), values.reshape(-1)
    if not options.with_status:
        kept = codes < STATUS_CODES[Status.OUT_OF_EXTENT.value]
        points, band_codes, codes, flat = points[kept], band_codes[kept], codes[kept], flat[kept]
    rows = _rows(batch, options, points, band_codes, codes, flat)
    if not options.max_distance_pixels:
        return rows
    around = tuple(windows.gather(work, options, points, band_codes, codes))
    return dataclasses.replace(rows, windows=around)


def _rows(
    batch: TileBatch,
    options: SampleOptions,
    points: np.ndarray,
    band_codes: np.ndarray,
    status: np.ndarray,
    values: np.ndarray,
) -> SampleBatch:
    planned = batch.planned
    located = planned.points[points]
    samples = schema.make_samples(
        options,
        point_index=located["point_index"],
        x=located["x"],
        y=located["y"],
        point_crs=planned.crs,
        record=batch.visit.record,
        bands=batch.visit.bands,
        band_codes=band_codes,
        value=values,
        status_codes=status,
        columns=None if planned.columns is None else planned.columns.take(pa.array(points)),
    )
    event_time = planned.event_time_us
    return SampleBatch(
        samples, planned.crs, None if event_time is None else event_time[points],
    )
