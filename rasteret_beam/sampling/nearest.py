"""What the value is: decoded tiles + pixel positions -> sample rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rasteret_beam.sampling import around
from rasteret_beam.sampling.nodata import is_nodata, may_be_nodata
from rasteret_beam.sampling.placing import PlacedPoints, place
from rasteret_beam.sampling.rows import Rows, shared_columns
from rasteret_beam.schema import STATUS_CODES, Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rasteret_beam.elements import SampleBatch, TileBatch
    from rasteret_beam.options import SampleOptions

_OK = STATUS_CODES[Status.OK.value]
_NODATA = STATUS_CODES[Status.NODATA.value]


def sample_nearest(batch: TileBatch, options: SampleOptions) -> Iterator[SampleBatch]:
    """Samples the pixels that contain the points, and looks around them where wanted.

    Args:
        batch: Decoded tiles and points.
        options: What to sample.

    Yields:
        Rows of one band and of points whose pixel lies in these tiles, which share the
        columns of the points. They are finished, and have ``outcomes``; those of rows that
        are omitted come with a batch of their band. Rows that need tiles of other
        batches have ``windows`` instead; so have batches without rows, of what these
        tiles hold around rows of others. No batch has more than ``reading.at_once``
        windows or neighbourhoods.
    """
    placed = PlacedPoints(batch, place(batch))
    if options.return_neighbourhood == "always":
        for part in around.all_parts(placed.where, options):
            for at in range(len(batch.source.bands)):
                yield around.sample_part(placed, options, part, at)
        yield from _unreadable(placed, options)
    elif len(placed.owned):
        yield from _own_pixels(placed, options)
    if options.max_distance_pixels:
        yield from around.halo(placed, options)


def _own_pixels(placed: PlacedPoints, options: SampleOptions) -> Iterator[SampleBatch]:
    """Rows of all points; where a nodata pixel may have a fallback some at a time."""
    batch, failed = placed.batch, _failed(placed)
    source, n_points = batch.source, len(failed)
    # Without a status a point in an unreadable tile has no row.
    kept = np.arange(n_points)
    if failed.any() and not options.with_status:
        kept = np.flatnonzero(failed == _OK)
    shared = shared_columns(batch.points, options)
    if not placed.where.all_owned or len(kept) < n_points:
        shared = shared.take(placed.owned[kept])
    for at, band in enumerate(source.bands):
        pixels = placed.pixels(at)
        codes = failed
        if may_be_nodata(pixels.dtype, source.layout.nodata):
            missing = is_nodata(pixels, source.layout.nodata)
            codes = np.where(missing & (failed == _OK), _NODATA, failed).astype(np.int8)
        if len(kept) < n_points:
            pixels, codes = pixels[kept], codes[kept]
        rows = Rows(band, shared, pixels, codes, n_points - len(kept))
        if not options.max_distance_pixels:
            yield rows.finished(batch, options)
            continue
        is_open = codes == _NODATA
        if rows.n_lost or not is_open.all():
            yield rows.take(np.flatnonzero(~is_open)).finished(batch, options)
        for part in around.parts(placed.where, options, kept[is_open]):
            yield around.sample_part(placed, options, part, at)


def _unreadable(placed: PlacedPoints, options: SampleOptions) -> Iterator[SampleBatch]:
    """Rows of points in tiles that could not be read."""
    failed = _failed(placed)
    lost = np.flatnonzero(failed != _OK)
    if not len(lost):
        return
    # Without a status they have none.
    kept = lost if options.with_status else lost[:0]
    shared = shared_columns(placed.batch.points, options).take(placed.owned[kept])
    for band in placed.batch.source.bands:
        rows = Rows(band, shared, np.zeros(len(kept)), failed[kept], len(lost) - len(kept))
        yield rows.finished(placed.batch, options)


def _failed(placed: PlacedPoints) -> np.ndarray:
    """int8, by owned point: the status of its tile, ``OK`` where it was read."""
    failed = np.full(len(placed.owned), _OK, np.int8)
    for span, code in placed.failures():
        failed[span] = STATUS_CODES[code]
    return failed
