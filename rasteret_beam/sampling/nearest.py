"""What the value is: decoded tiles + pixel positions -> sample rows."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rasteret_beam import memory, schema
from rasteret_beam.elements import SampleBatch
from rasteret_beam.sampling import reading
from rasteret_beam.sampling.nodata import is_nodata, may_be_nodata
from rasteret_beam.sampling.outcomes import outcomes_of
from rasteret_beam.sampling.placing import PlacedPoints, place
from rasteret_beam.sampling.windows import fall_back
from rasteret_beam.schema import STATUS_CODES, PointArrays, Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rasteret_beam.elements import BlockPoints, TileBatch
    from rasteret_beam.options import SampleOptions
    from rasteret_beam.sampling.placing import Placement

_OK = STATUS_CODES[Status.OK.value]
_NODATA = STATUS_CODES[Status.NODATA.value]


def sample_nearest(batch: TileBatch, options: SampleOptions) -> Iterator[SampleBatch]:
    """Samples the pixels that contain the points, and gathers windows where wanted.

    Args:
        batch: Decoded tiles and points.
        options: What to sample.

    Yields:
        Rows of one band and of points whose pixel lies in these tiles, which share the
        columns of the points; the last of a band has windows, where some are open. All
        but that one are finished, and have ``outcomes``; those of rows that are omitted
        come with a batch of their band.
    """
    where = place(batch)
    if options.return_neighbourhood == "always":
        yield from _inside(PlacedPoints(batch, where), options)
        where = where.rest
    placed = PlacedPoints(batch, where)
    radius = options.max_distance_pixels
    if not len(placed.owned) and not radius:
        return
    source, n_points = batch.source, len(placed.owned)
    failed = np.full(n_points, _OK, np.int8)
    for span, code in placed.failures():
        failed[span] = STATUS_CODES[code]
    # Without a status a point in an unreadable tile has no row.
    rows = None
    if failed.any() and not options.with_status:
        rows = np.flatnonzero(failed == _OK)
    points = placed.owned if rows is None else placed.owned[rows]
    arrays, event_time = _shared(batch.points, options)
    if not where.all_owned or rows is not None:
        arrays, event_time = _some(arrays, event_time, points)
    for at, band in enumerate(source.bands):
        pixels = placed.pixels(at)
        codes = failed
        if may_be_nodata(pixels.dtype, source.layout.nodata):
            missing = is_nodata(pixels, source.layout.nodata)
            codes = np.where(missing & (failed == _OK), _NODATA, failed).astype(np.int8)
        if rows is not None:
            pixels, codes = pixels[rows], codes[rows]
        n_lost = n_points - len(points)
        rows_of_band = _Rows(band, arrays, event_time, points, pixels, codes, n_lost)
        if not radius:
            yield _finished(batch, options, rows_of_band)
        else:
            yield from _with_windows(placed, options, rows_of_band, at)


class _Rows(NamedTuple):
    """Rows of one band: their points' columns, their points, and their own pixels.

    ``n_lost`` is how many there are besides that are omitted.
    """

    band: str
    arrays: PointArrays
    event_time: np.ndarray | None
    points: np.ndarray
    pixels: np.ndarray
    codes: np.ndarray
    n_lost: int = 0

    def take(self, at: np.ndarray) -> _Rows:
        if len(at) == len(self.points):
            return self
        return _Rows(
            self.band,
            self.arrays.take(at),
            None if self.event_time is None else self.event_time[at],
            self.points[at],
            self.pixels[at],
            self.codes[at],
        )


def _samples(batch: TileBatch, options: SampleOptions, rows: _Rows) -> SampleBatch:
    samples = schema.make_samples(
        options,
        rows.arrays,
        record=batch.source.record,
        band=rows.band,
        value=_as_float64(rows.pixels),
        status_codes=rows.codes if rows.codes.any() else None,
    )
    return SampleBatch(samples, batch.points.planned.crs, rows.event_time, block=batch.block)


def _finished(batch: TileBatch, options: SampleOptions, rows: _Rows) -> SampleBatch:
    """Rows that no window can change."""
    samples = _samples(batch, options, rows)
    return dataclasses.replace(samples, outcomes=outcomes_of(rows.codes, rows.n_lost))


def _as_float64(pixels: np.ndarray) -> np.ndarray:
    values = memory.empty(pixels.shape, np.float64)
    values[...] = pixels
    return values


def _with_windows(
    placed: PlacedPoints, options: SampleOptions, rows: _Rows, at: int,
) -> Iterator[SampleBatch]:
    """Rows that are finished already; and the others, with what is known of their windows."""
    batch = placed.batch
    if rows.n_lost:
        omitted = rows.take(np.zeros(0, np.int64))._replace(n_lost=rows.n_lost)
        yield _finished(batch, options, omitted)
    if options.return_neighbourhood == "always":
        finished = []
        for at_rows, neighbours in _whole_windows(placed, options, rows, at):
            finished.append(at_rows)
            samples = _finished(batch, options, rows.take(at_rows)._replace(n_lost=0))
            yield dataclasses.replace(samples, neighbours=neighbours)
        done = np.concatenate([np.zeros(0, np.int64), *finished])
    else:
        done = np.flatnonzero(rows.codes != _NODATA)
        if len(done):
            yield _finished(batch, options, rows.take(done)._replace(n_lost=0))
    rest = rows.take(np.delete(np.arange(len(rows.points)), done))._replace(n_lost=0)
    around = tuple(reading.gather(placed, options, rest.points, rest.codes, at))
    if around:
        yield dataclasses.replace(_samples(batch, options, rest), windows=around)
    elif len(rest.points):
        yield _finished(batch, options, rest)


def _inside(placed: PlacedPoints, options: SampleOptions) -> Iterator[SampleBatch]:
    """Finished rows of the points that have their window in one tile, some at a time."""
    batch = placed.batch
    nodata = batch.source.layout.nodata
    for points, arrays, event_time in _parts_inside(placed.where, options):
        for at, band in enumerate(batch.source.bands):
            around = reading.read_inside(placed, points, at)
            centre = around[:, around.shape[1] // 2]
            value, codes = _as_float64(centre), np.full(len(points), _OK, np.int8)
            if may_be_nodata(centre.dtype, nodata):
                missing = np.flatnonzero(is_nodata(centre, nodata))
                codes[missing] = _NODATA
                known = around[missing], reading.states(around[missing], nodata)
                of_missing = points[missing], missing, known
                fall_back(reading.windows_of(placed, options, *of_missing, at), value, codes)
            rows = _Rows(band, arrays, event_time, points, value, codes)
            yield dataclasses.replace(_finished(batch, options, rows), neighbours=around)


@functools.lru_cache(maxsize=2)
def _parts_inside(
    where: Placement, options: SampleOptions,
) -> list[tuple[np.ndarray, PointArrays, np.ndarray | None]]:
    """The points inside, as many at once as may be, and what their rows share."""
    inside, step = where.owned[where.inside], reading.at_once(options)
    parts = [inside[start : start + step] for start in range(0, len(inside), step)]
    return [(part, *_some(*_shared(where.points, options), part)) for part in parts]


def _whole_windows(
    placed: PlacedPoints, options: SampleOptions, rows: _Rows, at: int,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows with a value whose window these tiles hold, and the windows, some at a time."""
    valid, step = np.flatnonzero(rows.codes == _OK), reading.at_once(options)
    for start in range(0, len(valid), step):
        part = valid[start : start + step]
        pixels, state = reading.read_crossing(placed, rows.points[part], at)
        whole = reading.is_known(state).all(axis=1)
        if whole.any():
            yield part[whole], pixels[whole]


@functools.lru_cache(maxsize=2)
def _shared(
    points: BlockPoints, options: SampleOptions,
) -> tuple[PointArrays, np.ndarray | None]:
    """The files of one block follow each other: what they share is made once."""
    planned, located = points.planned, points.planned.points
    arrays = schema.point_arrays(
        options, located["point_index"], (located["x"], located["y"]), planned.crs, planned.columns,
    )
    return arrays, planned.event_time_us


def _some(
    arrays: PointArrays, event_time: np.ndarray | None, points: np.ndarray,
) -> tuple[PointArrays, np.ndarray | None]:
    return arrays.take(points), None if event_time is None else event_time[points]
