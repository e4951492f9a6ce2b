"""Points and the pixels around them -> rows, some windows at a time."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rasteret_beam.sampling import reading
from rasteret_beam.sampling.nodata import is_nodata, may_be_nodata
from rasteret_beam.sampling.placing import CUT, OPEN, WHOLE
from rasteret_beam.sampling.reading import Centres
from rasteret_beam.sampling.rows import Rows, SharedColumns, shared_columns
from rasteret_beam.sampling.windows import fall_back, neighbours_of, settle
from rasteret_beam.schema import STATUS_CODES, Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rasteret_beam.elements import SampleBatch
    from rasteret_beam.options import SampleOptions
    from rasteret_beam.sampling.placing import PlacedPoints, Placement

_FETCH_ERROR = STATUS_CODES[Status.FETCH_ERROR.value]


class Part(NamedTuple):
    """Points whose windows are read together.

    Attributes:
        reach: What the tiles hold of each: ``placing.WHOLE`` and its like.
        centres: The points.
        shared: Columns of their rows.
    """

    reach: int
    centres: Centres
    shared: SharedColumns


def parts(where: Placement, options: SampleOptions, at: np.ndarray) -> Iterator[Part]:
    """Cuts points into parts.

    Args:
        where: Where the points are.
        options: What to sample.
        at: int64, ascending, indexes into ``where.owned``: which points; of tiles that
            were read.
    """
    step, shared = reading.at_once(options), shared_columns(where.points, options)
    for reach in (WHOLE, CUT, OPEN):
        alike = at[where.reach[at] == reach]
        for start in range(0, len(alike), step):
            mine = alike[start : start + step]
            inside = where.inside[mine]
            points = where.owned[np.concatenate([mine[inside], mine[~inside]])]
            yield Part(reach, Centres(points, int(inside.sum())), shared.take(points))


@functools.lru_cache(maxsize=2)
def all_parts(where: Placement, options: SampleOptions) -> list[Part]:
    """Cuts all points of tiles that were read; the files of one block follow each other."""
    return list(parts(where, options, np.flatnonzero(where.is_read)))


def sample_part(
    placed: PlacedPoints, options: SampleOptions, part: Part, at: int,
) -> SampleBatch:
    """Gives the rows of a part in one band, finished but where other batches are needed."""
    if part.reach == WHOLE:
        return _of_whole_windows(placed, options, part, at)
    band = placed.batch.source.bands[at]
    windows = reading.read_windows(placed, options, part.centres, at)
    value, codes = settle(windows)
    rows = Rows(band, part.shared, value, codes)
    if part.reach == OPEN:
        return dataclasses.replace(rows.in_block(placed.batch, options), windows=windows)
    neighbours = neighbours_of(windows) if options.with_neighbourhood else None
    lost = codes == _FETCH_ERROR
    if lost.any() and not options.with_status:
        kept = np.flatnonzero(~lost)
        rows = rows.take(kept)._replace(n_lost=int(lost.sum()))
        neighbours = None if neighbours is None else neighbours[kept]
    return rows.finished(placed.batch, options, neighbours)


def _of_whole_windows(
    placed: PlacedPoints, options: SampleOptions, part: Part, at: int,
) -> SampleBatch:
    source = placed.batch.source
    nodata = source.layout.nodata
    around = reading.read_whole(placed, part.centres, at)
    centre = around[:, around.shape[1] // 2]
    value, codes = centre.astype(np.float64), np.zeros(len(centre), np.int8)
    if may_be_nodata(centre.dtype, nodata):
        missing = np.flatnonzero(is_nodata(centre, nodata))
        if len(missing):
            pixels = around[missing]
            known = pixels, reading.states(pixels, nodata)
            points = part.centres.points[missing]
            windows = reading.windows_of(placed, options, points, known, at)
            value[missing], codes[missing] = fall_back(windows)
    rows = Rows(source.bands[at], part.shared, value, codes)
    return rows.finished(placed.batch, options, around if options.with_neighbourhood else None)


def halo(placed: PlacedPoints, options: SampleOptions) -> Iterator[SampleBatch]:
    """Parts of windows of other batches' rows: no row, and what these tiles hold of each.

    A row may or may not turn out to need its window, so that all are given.
    """
    batch = placed.batch
    for centres in _halo_parts(placed.where, options):
        rows, cols = placed.where.owners(centres.points)
        starts = np.flatnonzero(np.diff(rows, prepend=-1) | np.diff(cols, prepend=-1)).tolist()
        spans = list(zip(starts, [*starts[1:], len(rows)], strict=True))
        for at, band in enumerate(batch.source.bands):
            windows = reading.read_windows(placed, options, centres, at)
            none = shared_columns(batch.points, options).take(np.zeros(0, np.int64))
            no_rows = Rows(band, none, np.zeros(0), np.zeros(0, np.int8))
            empty = no_rows.in_block(batch, options)
            for start, stop in spans:
                owner = {"block_row": int(rows[start]), "block_col": int(cols[start])}
                key = batch.block.key._replace(**owner)
                of_owner = dataclasses.replace(windows.take(slice(start, stop)), key=key)
                yield dataclasses.replace(empty, windows=of_owner, block=None)


@functools.lru_cache(maxsize=2)
def _halo_parts(where: Placement, options: SampleOptions) -> list[Centres]:
    step = reading.at_once(options)
    starts = range(0, len(where.halo), step)
    return [Centres(where.halo[start : start + step]) for start in starts]
