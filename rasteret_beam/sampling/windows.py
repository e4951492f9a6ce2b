"""The pixels around a sample: the nodata fallback, and neighbourhoods.

A window may reach into tiles of other batches. Such a window stays partial until
``merge`` has put the parts together.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from rasteret_beam import memory, schema
from rasteret_beam.elements import PixelWindows, SampleBatch, TileBlockKey
from rasteret_beam.grid.rings import rings, squared_distance, window_offsets
from rasteret_beam.grid.tiling import block_shape, tile_numbers, tile_origin
from rasteret_beam.sampling.nodata import is_nodata
from rasteret_beam.sampling.placing import flat_index, take_pixels
from rasteret_beam.schema import STATUS_CODES, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rasteret_beam.elements import Grid, TileBatch
    from rasteret_beam.options import SampleOptions
    from rasteret_beam.sampling.placing import PlacedPoints

UNKNOWN, VALID, NODATA, OUTSIDE, FAILED = range(5)
"""States of a window's pixel: not seen yet, a value, nodata, off the image, unreadable."""

_NEIGHBOURS = "neighbourhood_values"
_WINDOW_CELLS_AT_ONCE = 1 << 20
_OK = STATUS_CODES[Status.OK.value]
_NODATA = STATUS_CODES[Status.NODATA.value]
_FALLBACK = STATUS_CODES[Status.FALLBACK.value]
_FETCH_ERROR = STATUS_CODES[Status.FETCH_ERROR.value]


def at_once(options: SampleOptions) -> int:
    """Gives how many windows are held in memory together."""
    return max(_WINDOW_CELLS_AT_ONCE // options.window_pixels, 1)


def inside_one_tile(placed: PlacedPoints, points: np.ndarray) -> np.ndarray:
    """Tells which points have their whole window in one tile of the batch.

    Args:
        placed: The batch.
        points: int64, shape (n_points,), ascending.

    Returns:
        bool, shape (n_points,).
    """
    block, radius = placed.batch.points, placed.batch.points.radius
    inside = np.zeros(len(points), bool)
    for number, mine in _tiles_of(placed, points):
        top, left = tile_origin(block.grid, number)
        row, col = block.row[points[mine]] - top, block.col[points[mine]] - left
        bottom = min(block.grid.tile_height, block.grid.height - top)
        right = min(block.grid.tile_width, block.grid.width - left)
        fits = (row >= radius) & (row < bottom - radius)
        inside[mine] = fits & (col >= radius) & (col < right - radius)
    return inside


def read_inside(placed: PlacedPoints, points: np.ndarray, at: int) -> np.ndarray:
    """Reads the windows of points that have them whole in one tile.

    Args:
        placed: The batch.
        points: int64, shape (n_points,), ascending, each ``inside_one_tile``.
        at: Which of the source's bands.

    Returns:
        The file's dtype, shape (n_points, (2r + 1)^2), row-major.
    """
    block, source = placed.batch.points, placed.batch.source
    down, across = window_offsets(block.radius)
    pixels = np.empty((len(points), len(down)), source.layout.dtype)
    for number, mine in _tiles_of(placed, points):
        decoded = placed.batch.tiles[number]
        top, left = tile_origin(block.grid, number)
        # All rows of the window are wanted, and so neighbours where only some are kept.
        centre = flat_index(decoded, block.row[points[mine]] - top, block.col[points[mine]] - left)
        offsets = down * decoded.pixels.shape[2] + across
        take_pixels(
            decoded, source.samples[at], centre[:, np.newaxis] + offsets, pixels[mine],
        )  # fmt: skip
    return pixels


def _tiles_of(placed: PlacedPoints, points: np.ndarray) -> Iterator[tuple[int, slice]]:
    """Each tile of the batch in which points have their own pixel, and which these are."""
    tile = placed.batch.points.tile[points]
    for number in placed.batch.tiles:
        start, stop = np.searchsorted(tile, [number, number + 1]).tolist()
        if start < stop:
            yield number, slice(start, stop)


def gather(
    placed: PlacedPoints,
    options: SampleOptions,
    points: np.ndarray,
    status: np.ndarray,
    at: int,
) -> Iterator[PixelWindows]:
    """Windows of own rows that need one, and parts of windows of other batches' rows.

    Args:
        placed: The batch.
        options: What to sample.
        points: int64, shape (n_rows,): the point of each row of one band, ascending.
        status: int8, shape (n_rows,), index into ``STATUSES``.
        at: Which of the source's bands.

    Yields:
        Windows by the block that owns their centre.
    """
    wanted = status == _NODATA
    if options.return_neighbourhood == "always":
        wanted |= status == _OK
    rows = np.flatnonzero(wanted)
    yield from _gather_points(placed, options, points[rows], rows, at)
    # Another batch's row may or may not turn out to need its window: give every part,
    # once a pixel.
    halo, block = placed.halo, placed.batch.points
    pixel = block.row[halo] * block.grid.width + block.col[halo]
    halo = halo[np.sort(np.unique(pixel, return_index=True)[1])]
    yield from _gather_points(placed, options, halo, np.full(len(halo), -1), at)


def _gather_points(
    placed: PlacedPoints, options: SampleOptions, points: np.ndarray, rows: np.ndarray, at: int,
) -> Iterator[PixelWindows]:
    band_number = options.bands.index(placed.batch.source.bands[at])
    step = at_once(options)
    for start in range(0, len(points), step):
        chunk = slice(start, start + step)
        pixels, state = _read_windows(placed, points[chunk], at)
        seen = ((state != UNKNOWN) & (state != OUTSIDE)).any(axis=1)
        if seen.any():
            known = pixels[seen], state[seen]
            yield from _by_owner(
                placed.batch, points[chunk][seen], rows[chunk][seen], band_number, known,
            )  # fmt: skip


def _read_windows(
    placed: PlacedPoints, points: np.ndarray, at: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Values and states of the windows' pixels, as far as this batch knows them."""
    block, source = placed.batch.points, placed.batch.source
    shape = (len(points), (2 * block.radius + 1) ** 2)
    pixels = np.zeros(shape, source.layout.dtype)
    state = np.full(shape, UNKNOWN, np.uint8)
    inner = inside_one_tile(placed, points)
    if inner.any():
        whole = read_inside(placed, points[inner], at)
        pixels[inner] = whole
        state[inner] = np.where(is_nodata(whole, source.layout.nodata), NODATA, VALID)
    crossing = np.flatnonzero(~inner)
    if len(crossing):
        pixels[crossing], state[crossing] = read_crossing(placed, points[crossing], at)
    return pixels, state


def is_known(state: np.ndarray) -> np.ndarray:
    """Tells which pixels of windows there are: on the image, and read."""
    return (state == VALID) | (state == NODATA)


def read_crossing(
    placed: PlacedPoints, points: np.ndarray, at: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Reads windows that reach into several tiles, or off the image, as far as they are known.

    Args:
        placed: The batch.
        points: int64, shape (n_points,).
        at: Which of the source's bands.

    Returns:
        The file's dtype, shape (n_points, (2r + 1)^2), row-major, 0 where unknown; and
        uint8, same shape, ``UNKNOWN`` and its like.
    """
    batch, block, grid = placed.batch, placed.batch.points, placed.batch.points.grid
    source = batch.source
    down, across = window_offsets(block.radius)
    row = block.row[points][:, np.newaxis] + down
    col = block.col[points][:, np.newaxis] + across
    on_image = (row >= 0) & (row < grid.height) & (col >= 0) & (col < grid.width)
    state = np.where(on_image, UNKNOWN, OUTSIDE).astype(np.uint8)
    pixels = np.zeros(row.shape, source.layout.dtype)
    tile = np.where(on_image, tile_numbers(grid, row, col), -1)
    for number in np.unique(tile).tolist():
        hit = tile == number
        if number in batch.failed:
            state[hit] = FAILED
        elif number in batch.tiles:
            decoded = batch.tiles[number]
            top, left = tile_origin(grid, number)
            found = np.empty(int(hit.sum()), pixels.dtype)
            flat = flat_index(decoded, row[hit] - top, col[hit] - left)
            take_pixels(decoded, source.samples[at], flat, found)
            pixels[hit] = found
            state[hit] = np.where(is_nodata(found, source.layout.nodata), NODATA, VALID)
    return pixels, state


def _by_owner(
    batch: TileBatch,
    points: np.ndarray,
    rows: np.ndarray,
    band_number: int,
    known: tuple[np.ndarray, np.ndarray],
) -> Iterator[PixelWindows]:
    """Splits windows by the block that owns their centre."""
    block = batch.points
    located, row, col = block.planned.points[points], block.row[points], block.col[points]
    identity = np.empty((len(points), 4), np.int64)
    identity[:, 0], identity[:, 1] = row, col
    identity[:, 2], identity[:, 3] = batch.source.record.ordinal, band_number
    position = np.column_stack([located["row_float"], located["col_float"]])
    transform = block.grid.geotransform
    whole = PixelWindows(
        key=batch.key,
        row=rows,
        identity=identity,
        position=position,
        values=known[0],
        state=known[1],
        scale=(abs(transform.scale_x), abs(transform.scale_y)),
    )
    owners = _owner_blocks(block.grid, row, col)
    for owner in np.unique(owners).tolist():
        block_row, block_col = divmod(owner, block.grid.tiles_across)
        key = batch.key._replace(block_row=block_row, block_col=block_col)
        mine = owners == owner
        part = whole if mine.all() else _subset(whole, mine)
        yield dataclasses.replace(part, key=key)


def _owner_blocks(grid: Grid, row: np.ndarray, col: np.ndarray) -> np.ndarray:
    """``block_row * tiles_across + block_col`` of the blocks that hold pixels."""
    shape = block_shape(grid)
    block_row = row // (grid.tile_height * shape.rows)
    return block_row * grid.tiles_across + col // (grid.tile_width * shape.cols)


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
        mine = _subset(windows, complete)
        whole.append(_replace_row(mine, np.searchsorted(ready, mine.row)))
        if not complete.all():
            seams.append((windows.key, _set_aside(batch, _subset(windows, ~complete))))
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
    foreign = [_subset(w, w.row < 0) for part in everything for w in part.windows]
    foreign = [w for w in foreign if len(w.row)]
    for part in everything:
        own = [_subset(w, w.row >= 0) for w in part.windows]
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
    codes = np.zeros(samples.num_rows, np.int8)
    neighbours = np.full((samples.num_rows, 0), np.nan)
    has_list = np.zeros(samples.num_rows, bool)
    if options.with_status:
        codes = _status_codes(samples)
    if options.with_neighbourhood:
        neighbours = np.full((samples.num_rows, options.window_pixels), np.nan)
    for part in windows:
        centre_nodata = part.state[:, part.state.shape[1] // 2] == NODATA
        if options.with_neighbourhood:
            listed = centre_nodata | (options.return_neighbourhood == "always")
            around = np.where(is_known(part.state[listed]), part.values[listed], np.nan)
            neighbours[part.row[listed]] = around
            has_list[part.row[listed]] = True
        lost = _fall_back(_subset(part, centre_nodata), value, codes)
        null[lost] = True
        codes[lost] = _FETCH_ERROR
    columns: dict[str, Any] = {"value": pa.array(value, mask=null)}
    if options.with_neighbourhood:
        columns[_NEIGHBOURS] = schema.lists(neighbours, has_list)
    if options.with_status:
        columns["status"] = schema.status_column(codes)
    arrays = [columns.get(field.name, samples.column(i)) for i, field in enumerate(samples.schema)]
    rows = pa.RecordBatch.from_arrays(arrays, schema=samples.schema)
    done = dataclasses.replace(batch, samples=rows, windows=())
    if options.with_status or not null.any():
        return done
    return _take(done, np.flatnonzero(~null))


def _fall_back(windows: PixelWindows, value: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Replaces nodata centres by the nearest valid pixel of the first ring that has one.

    Returns the rows where an unreadable pixel leaves open which pixel that is.
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
    return SampleBatch(samples, batch.crs, event_time)


def _subset(windows: PixelWindows, mask: np.ndarray) -> PixelWindows:
    return dataclasses.replace(
        windows,
        row=windows.row[mask],
        identity=windows.identity[mask],
        position=windows.position[mask],
        values=windows.values[mask],
        state=windows.state[mask],
    )


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
