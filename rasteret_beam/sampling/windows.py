"""Windows -> values: the nodata fallback, and neighbourhoods.

A window may reach into tiles of other batches. Such a window stays partial until
``merge`` has put the parts together.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from rasteret_beam import schema
from rasteret_beam.elements import SampleBatch
from rasteret_beam.grid.rings import rings, squared_distance
from rasteret_beam.sampling.outcomes import outcomes_of
from rasteret_beam.sampling.reading import FAILED, NODATA, UNKNOWN, VALID, is_known
from rasteret_beam.schema import STATUS_CODES, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rasteret_beam.elements import PixelWindows
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
    values = batch.neighbours.astype(np.float64)
    column = schema.lists(values, np.ones(len(values), bool))
    samples = _with_column(batch.samples, _NEIGHBOURS, column)
    return dataclasses.replace(batch, samples=samples, neighbours=None)


def merge(parts: Iterable[SampleBatch], options: SampleOptions) -> Iterator[SampleBatch]:
    """Puts windows together that lay across batches, and finishes their rows.

    Args:
        parts: All batches with windows of one block.
        options: What to sample.

    Yields:
        The finished rows of each part that holds some.
    """
    own: list[tuple[SampleBatch, PixelWindows]] = []
    foreign: dict[tuple[int, int], list[PixelWindows]] = {}
    for part in parts:
        if part.windows is None:
            continue
        if part.samples.num_rows:
            own.append((part, part.windows))
        else:
            foreign.setdefault(part.windows.layer, []).append(part.windows)
    for part, windows in own:
        state = windows.state.copy()
        whole = dataclasses.replace(windows, values=windows.values.copy(), state=state)
        for others in foreign.get(windows.layer, ()):
            _fill(whole, others)
        # What no batch has told by now lies in a tile that could not be read.
        state[state == UNKNOWN] = FAILED
        yield finish(_settled(part, whole, options))


def _fill(windows: PixelWindows, others: PixelWindows) -> None:
    """Copies what others know into the windows around the same pixels, in place."""
    at = np.searchsorted(others.pixel, windows.pixel).clip(max=len(others.pixel) - 1)
    mine = np.flatnonzero(others.pixel[at] == windows.pixel)
    theirs = at[mine]
    known = others.state[theirs] != UNKNOWN
    for ours, found in ((windows.state, others.state), (windows.values, others.values)):
        ours[mine] = np.where(known, found[theirs], ours[mine])


def _settled(part: SampleBatch, windows: PixelWindows, options: SampleOptions) -> SampleBatch:
    """Sets value, status and neighbourhood of rows by their windows."""
    value, codes = settle(windows)
    lost = codes == _FETCH_ERROR
    samples = _with_column(part.samples, "value", pa.array(value, mask=lost))
    if options.with_status:
        samples = _with_column(samples, "status", schema.status_column(codes))
    neighbours = neighbours_of(windows) if options.with_neighbourhood else None
    event_time = part.event_time_us
    if lost.any() and not options.with_status:
        kept = np.flatnonzero(~lost)
        samples = samples.take(pa.array(kept))
        event_time = None if event_time is None else event_time[kept]
        neighbours = None if neighbours is None else neighbours[kept]
    return SampleBatch(
        samples, part.crs, event_time,
        neighbours=neighbours, block=part.block, outcomes=outcomes_of(codes),
    )  # fmt: skip


def settle(windows: PixelWindows) -> tuple[np.ndarray, np.ndarray]:
    """Gives the values and status codes of rows whose windows are as whole as they will be.

    Args:
        windows: Their windows.

    Returns:
        float64, by row; and int8, index into ``STATUSES``: where a window's centre is
        nodata, as ``fall_back`` has it, and ``OK`` elsewhere.
    """
    centre = windows.state.shape[1] // 2
    value = windows.values[:, centre].astype(np.float64)
    codes = np.full(len(value), _OK, np.int8)
    missing = np.flatnonzero(windows.state[:, centre] == NODATA)
    if len(missing):
        value[missing], codes[missing] = fall_back(windows.take(missing))
    return value, codes


def neighbours_of(windows: PixelWindows) -> np.ndarray:
    """Gives the pixels of windows; float64, NaN where there is none."""
    return np.where(is_known(windows.state), windows.values, np.nan)


def fall_back(windows: PixelWindows) -> tuple[np.ndarray, np.ndarray]:
    """Finds the nearest valid pixel of the first ring that has one.

    Args:
        windows: Windows whose centre is nodata.

    Returns:
        float64, by window: that pixel, or nodata where there is none. And int8, index into
        ``STATUSES``: ``FALLBACK``, ``NODATA``, or ``FETCH_ERROR`` where an unreadable
        pixel leaves open which it is.
    """
    n_pixels = windows.state.shape[1]
    side = round(n_pixels**0.5)
    around = rings(side // 2)
    value = windows.values[:, n_pixels // 2].astype(np.float64)
    codes = np.full(len(value), _NODATA, np.int8)
    state = windows.state[:, around.window_index]
    valid = state == VALID
    ring_has = np.logical_or.reduceat(valid, around.ring_start, axis=1)
    found = ring_has.any(axis=1)
    ring = np.where(found, ring_has.argmax(axis=1) + 1, side)
    lost = ((state == FAILED) & (around.ring <= ring[:, np.newaxis])).any(axis=1)
    codes[lost] = _FETCH_ERROR
    good = np.flatnonzero(found & ~lost)
    for number in np.unique(ring[good]).tolist():
        mine = good[ring[good] == number]
        of_ring = np.flatnonzero(around.ring == number)
        centre = np.floor(windows.position[mine]).astype(np.int64)
        distance = squared_distance(
            windows.position[mine],
            centre[:, :1] + around.row_offset[of_ring],
            centre[:, 1:] + around.col_offset[of_ring],
            windows.scale,
        )
        # argmin takes the first of equals: the order of the ring breaks ties.
        winner = np.where(valid[np.ix_(mine, of_ring)], distance, np.inf).argmin(axis=1)
        value[mine] = windows.values[mine, around.window_index[of_ring][winner]]
        codes[mine] = _FALLBACK
    return value, codes


def _with_column(samples: pa.RecordBatch, name: str, column: Any) -> pa.RecordBatch:  # noqa: ANN401 -- an Arrow array
    at = samples.schema.get_field_index(name)
    return samples.set_column(at, samples.schema.field(at), column)
