"""Rows with windows -> finished rows: the nodata fallback, and neighbourhoods.

A window may reach into tiles of other batches. Such a window stays partial until
``merge`` has put the parts together.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from rasteret_beam import memory, schema
from rasteret_beam.elements import SampleBatch
from rasteret_beam.grid.rings import rings, squared_distance
from rasteret_beam.sampling.outcomes import outcomes_of
from rasteret_beam.sampling.reading import FAILED, NODATA, UNKNOWN, VALID, is_known, subset
from rasteret_beam.schema import STATUS_CODES, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rasteret_beam.elements import PixelWindows, TileBlockKey
    from rasteret_beam.options import SampleOptions

_NEIGHBOURS = "neighbourhood_values"
_OK = STATUS_CODES[Status.OK.value]
_NODATA = STATUS_CODES[Status.NODATA.value]
_FALLBACK = STATUS_CODES[Status.FALLBACK.value]
_FETCH_ERROR = STATUS_CODES[Status.FETCH_ERROR.value]


def finish(batch: SampleBatch) -> SampleBatch:
    """Gives a batch its ``neighbourhood_values``, where they were left in the file's dtype.

    The last thing to do: what flows until then is several times smaller.
    """
    if batch.neighbours is None:
        return batch
    values = memory.empty(batch.neighbours.shape, np.float64)
    values[...] = batch.neighbours
    at = batch.samples.schema.get_field_index(_NEIGHBOURS)
    column = schema.lists(values, np.ones(len(values), bool))
    samples = batch.samples.set_column(at, batch.samples.schema.field(at), column)
    return dataclasses.replace(batch, samples=samples, neighbours=None)


def split_seams(
    batch: SampleBatch, options: SampleOptions,
) -> tuple[SampleBatch, list[tuple[TileBlockKey, SampleBatch]]]:
    """Finishes the rows whose windows are complete, and sets the others aside.

    Args:
        batch: Rows and windows of one batch of tiles.
        options: What to sample.

    Returns:
        Finished rows; and, by the block that owns the rows, rows to finish later and
        parts of windows for them. ``merge`` takes those of one block together.
    """
    if not batch.windows:
        return batch, []
    pending = np.zeros(batch.samples.num_rows, bool)
    for windows in batch.windows:
        own = windows.row >= 0
        pending[windows.row[own & _is_partial(windows)]] = True
    ready, whole = np.flatnonzero(~pending), []
    seams: list[tuple[TileBlockKey, SampleBatch]] = []
    for windows in batch.windows:
        complete = (windows.row >= 0) & ~_is_partial(windows)
        mine = subset(windows, complete)
        whole.append(_replace_row(mine, np.searchsorted(ready, mine.row)))
        if not complete.all():
            seams.append((windows.key, _set_aside(batch, subset(windows, ~complete))))
    return _finish(_take(batch, ready), whole, options), seams


def _is_partial(windows: PixelWindows) -> np.ndarray:
    return np.asarray((windows.state == UNKNOWN).any(axis=1))


def _set_aside(batch: SampleBatch, windows: PixelWindows) -> SampleBatch:
    """The rows of partial windows, with their windows."""
    held = np.unique(windows.row[windows.row >= 0])
    row = np.where(windows.row >= 0, np.searchsorted(held, windows.row), -1)
    return dataclasses.replace(_take(batch, held), windows=(_replace_row(windows, row),))


def merge(parts: Iterable[SampleBatch], options: SampleOptions) -> Iterator[SampleBatch]:
    """Puts windows together that lay across batches, and finishes their rows.

    Args:
        parts: What ``split_seams`` set aside for one block, from every batch.
        options: What to sample.

    Yields:
        The finished rows of each part that holds some.
    """
    everything = list(parts)
    foreign = [subset(w, w.row < 0) for part in everything for w in part.windows]
    foreign = [w for w in foreign if len(w.row)]
    for part in everything:
        own = [subset(w, w.row >= 0) for w in part.windows]
        own = [w for w in own if len(w.row)]
        for windows in own:
            # The parts of one band are of one type; others would be mixed with it.
            of_type = [w for w in foreign if w.values.dtype == windows.values.dtype]
            if of_type:
                _fill(windows, _concatenate(of_type))
            # What no batch has told by now lies in a tile that could not be read.
            windows.state[windows.state == UNKNOWN] = FAILED
        if own:
            yield _finish(part, own, options)


def _fill(windows: PixelWindows, parts: PixelWindows) -> None:
    """Copies what the parts know into the windows of the same pixel, in place."""
    _, number = np.unique(
        np.concatenate([windows.identity, parts.identity]), axis=0, return_inverse=True,
    )
    number = number.reshape(-1)
    mine, theirs = number[: len(windows.row)], number[len(windows.row) :]
    order = np.argsort(theirs, kind="stable")
    first = np.searchsorted(theirs[order], mine, side="left")
    count = np.searchsorted(theirs[order], mine, side="right") - first
    for nth in range(int(count.max())):
        target = np.flatnonzero(count > nth)
        part = order[first[target] + nth]
        known = parts.state[part] != UNKNOWN
        windows.state[target] = np.where(known, parts.state[part], windows.state[target])
        windows.values[target] = np.where(known, parts.values[part], windows.values[target])


def _finish(
    batch: SampleBatch, windows: Sequence[PixelWindows], options: SampleOptions,
) -> SampleBatch:
    """Sets value, status and neighbourhood of the rows that have a whole window."""
    samples = batch.samples
    if not windows:
        return dataclasses.replace(batch, windows=())
    value = np.array(_column(samples, "value").to_numpy(zero_copy_only=False), np.float64)
    # What has no value (a null, read as NaN) never has a window.
    null = np.asarray(_column(samples, "value").is_null())
    codes = np.full(samples.num_rows, _OK, np.int8)
    neighbours = np.full((samples.num_rows, 0), np.nan)
    has_list = np.zeros(samples.num_rows, bool)
    if options.with_status:
        codes = _status_codes(samples)
    if options.with_neighbourhood:
        neighbours = np.full((samples.num_rows, options.window_pixels), np.nan)
    for part in windows:
        centre_nodata = part.state[:, part.state.shape[1] // 2] == NODATA
        codes[part.row[centre_nodata]] = _NODATA
        if options.with_neighbourhood:
            listed = centre_nodata | (options.return_neighbourhood == "always")
            around = np.where(is_known(part.state[listed]), part.values[listed], np.nan)
            neighbours[part.row[listed]] = around
            has_list[part.row[listed]] = True
        lost = fall_back(subset(part, centre_nodata), value, codes)
        null[lost] = True
        codes[lost] = _FETCH_ERROR
    columns: dict[str, Any] = {"value": pa.array(value, mask=null)}
    if options.with_neighbourhood:
        columns[_NEIGHBOURS] = schema.lists(neighbours, has_list)
    if options.with_status:
        columns["status"] = schema.status_column(codes)
    arrays = [columns.get(field.name, samples.column(i)) for i, field in enumerate(samples.schema)]
    rows = pa.RecordBatch.from_arrays(arrays, schema=samples.schema)
    done = dataclasses.replace(batch, samples=rows, windows=(), outcomes=outcomes_of(codes))
    if options.with_status or not null.any():
        return done
    kept = _take(done, np.flatnonzero(~null))
    return dataclasses.replace(kept, outcomes=done.outcomes)


def fall_back(windows: PixelWindows, value: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Replaces nodata centres by the nearest valid pixel of the first ring that has one.

    Args:
        windows: Windows whose centre is nodata.
        value: float64, by row: is changed where there is a valid pixel.
        codes: int8, by row, index into ``STATUSES``: likewise.

    Returns:
        The rows where an unreadable pixel leaves open which pixel that is.
    """
    side = round(windows.state.shape[1] ** 0.5)
    around = rings(side // 2)
    state = windows.state[:, around.window_index]
    ring_has = np.logical_or.reduceat(state == VALID, around.ring_start, axis=1)
    found = ring_has.any(axis=1)
    ring = np.where(found, ring_has.argmax(axis=1) + 1, side)
    failed = (state == FAILED) & (around.ring <= ring[:, np.newaxis])
    lost = failed.any(axis=1)
    good = np.flatnonzero(found & ~lost)
    if len(good):
        centre = np.floor(windows.position[good]).astype(np.int64)
        distance = squared_distance(
            windows.position[good],
            centre[:, :1] + around.row_offset,
            centre[:, 1:] + around.col_offset,
            windows.scale,
        )
        eligible = (state[good] == VALID) & (around.ring == ring[good][:, np.newaxis])
        # argmin takes the first of equals: the order of the ring breaks ties.
        winner = np.where(eligible, distance, np.inf).argmin(axis=1)
        rows = windows.row[good]
        value[rows] = windows.values[good, around.window_index[winner]]
        codes[rows] = _FALLBACK
    return windows.row[lost]


def _status_codes(samples: pa.RecordBatch) -> np.ndarray:
    column = _column(samples, "status")
    known = np.array([STATUS_CODES[name] for name in column.dictionary.to_pylist()], np.int8)
    return known[column.indices.to_numpy()]


def _column(samples: pa.RecordBatch, name: str) -> Any:  # noqa: ANN401 -- an Arrow array
    return samples.column(samples.schema.get_field_index(name))


def _take(batch: SampleBatch, rows: np.ndarray) -> SampleBatch:
    """Some rows of a batch, without its windows."""
    if len(rows) == batch.samples.num_rows:
        return dataclasses.replace(batch, windows=())
    event_time = None if batch.event_time_us is None else batch.event_time_us[rows]
    samples = batch.samples.take(pa.array(rows, pa.int64()))
    return SampleBatch(samples, batch.crs, event_time, block=batch.block)


def _replace_row(windows: PixelWindows, row: np.ndarray) -> PixelWindows:
    return dataclasses.replace(windows, row=row)


def _concatenate(parts: Sequence[PixelWindows]) -> PixelWindows:
    return dataclasses.replace(
        parts[0],
        row=np.concatenate([part.row for part in parts]),
        identity=np.concatenate([part.identity for part in parts]),
        position=np.concatenate([part.position for part in parts]),
        values=np.concatenate([part.values for part in parts]),
        state=np.concatenate([part.state for part in parts]),
    )
