"""Decoded tiles -> the pixels around points, as far as the tiles hold them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, cast

import numpy as np

from rasteret_beam import memory
from rasteret_beam.elements import PixelWindows
from rasteret_beam.grid.rings import window_offsets
from rasteret_beam.grid.tiling import block_shape, tile_numbers, tile_origin
from rasteret_beam.sampling.nodata import is_nodata
from rasteret_beam.schema import STATUS_CODES, Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rasteret_beam.elements import DecodedTile, Grid, TileBatch
    from rasteret_beam.options import SampleOptions
    from rasteret_beam.sampling.placing import PlacedPoints

UNKNOWN, VALID, NODATA, OUTSIDE, FAILED = range(5)
"""States of a window's pixel: not seen yet, a value, nodata, off the image, unreadable."""

_WINDOW_CELLS_AT_ONCE = 1 << 20
_OK = STATUS_CODES[Status.OK.value]
_NODATA = STATUS_CODES[Status.NODATA.value]


def at_once(options: SampleOptions) -> int:
    """Gives how many windows are held in memory together."""
    return max(_WINDOW_CELLS_AT_ONCE // options.window_pixels, 1)


def read_inside(placed: PlacedPoints, points: np.ndarray, at: int) -> np.ndarray:
    """Reads the windows of points that have them whole in one tile.

    Args:
        placed: The batch.
        points: int64, shape (n_points,), ascending, of those that are ``inside``.
        at: Which of the source's bands.

    Returns:
        The file's dtype, shape (n_points, (2r + 1)^2), row-major.
    """
    block, source = placed.batch.points, placed.batch.source
    down, across = window_offsets(block.radius)
    pixels = memory.empty((len(points), len(down)), source.layout.dtype)
    for number, mine in _tiles_of(placed, points):
        decoded = _with_surroundings(placed.batch, number)
        top, left = tile_origin(block.grid, number)
        # All rows of the window are wanted, and so neighbours where only some are kept.
        centre = decoded.places(block.row[points[mine]] - top, block.col[points[mine]] - left)
        offsets = down * decoded.pixels.shape[2] + across
        flat = memory.empty((len(centre), len(offsets)), np.int64)
        np.add(centre[:, np.newaxis], offsets, out=flat)
        decoded.take(source.samples[at], flat, pixels[mine])
    return pixels


def _tiles_of(placed: PlacedPoints, points: np.ndarray) -> Iterator[tuple[int, slice]]:
    """Each tile of the batch in which points have their own pixel, and which these are."""
    tile = placed.batch.points.tile[points]
    for number in placed.batch.tiles:
        start, stop = np.searchsorted(tile, [number, number + 1]).tolist()
        if start < stop:
            yield number, slice(start, stop)


def _with_surroundings(batch: TileBatch, number: int) -> DecodedTile:
    # Of tiles whose points need pixels around their own, rows are kept.
    return cast("DecodedTile", batch.tiles[number])


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
    # Another batch's row may or may not turn out to need its window: give every part.
    halo = placed.where.halo
    yield from _gather_points(placed, options, halo, np.full(len(halo), -1), at)


def _gather_points(
    placed: PlacedPoints, options: SampleOptions, points: np.ndarray, rows: np.ndarray, at: int,
) -> Iterator[PixelWindows]:
    step = at_once(options)
    for start in range(0, len(points), step):
        chunk = slice(start, start + step)
        pixels, state = _read_windows(placed, points[chunk], at)
        seen = ((state != UNKNOWN) & (state != OUTSIDE)).any(axis=1)
        if seen.any():
            mine, known = points[chunk][seen], (pixels[seen], state[seen])
            windows = windows_of(placed, options, mine, rows[chunk][seen], known, at)
            yield from _by_owner(placed.batch, windows)


def _read_windows(
    placed: PlacedPoints, points: np.ndarray, at: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Values and states of the windows' pixels, as far as this batch knows them."""
    block, source = placed.batch.points, placed.batch.source
    shape = (len(points), (2 * block.radius + 1) ** 2)
    pixels = np.zeros(shape, source.layout.dtype)
    state = np.full(shape, UNKNOWN, np.uint8)
    inner = np.isin(points, placed.owned[placed.where.inside])
    if inner.any():
        whole = read_inside(placed, points[inner], at)
        pixels[inner] = whole
        state[inner] = states(whole, source.layout.nodata)
    crossing = np.flatnonzero(~inner)
    if len(crossing):
        pixels[crossing], state[crossing] = read_crossing(placed, points[crossing], at)
    return pixels, state


def states(pixels: np.ndarray, nodata: float | None) -> np.ndarray:
    """Tells of pixels that were read whether they are valid; uint8, ``VALID`` or ``NODATA``."""
    return np.where(is_nodata(pixels, nodata), NODATA, VALID).astype(np.uint8)


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
            decoded = _with_surroundings(batch, number)
            top, left = tile_origin(grid, number)
            found = np.empty(int(hit.sum()), pixels.dtype)
            places = decoded.places(row[hit] - top, col[hit] - left)
            decoded.take(source.samples[at], places, found)
            pixels[hit] = found
            state[hit] = states(found, source.layout.nodata)
    return pixels, state


def windows_of(
    placed: PlacedPoints,
    options: SampleOptions,
    points: np.ndarray,
    rows: np.ndarray,
    known: tuple[np.ndarray, np.ndarray],
    at: int,
) -> PixelWindows:
    """Gives windows around points, by their values and states.

    Args:
        placed: The batch.
        options: What to sample.
        points: int64, shape (n_points,).
        rows: int64, same shape: as ``PixelWindows.row``.
        known: As ``PixelWindows.values`` and ``state``.
        at: Which of the source's bands.
    """
    batch, block = placed.batch, placed.batch.points
    located = block.planned.points.take(points)
    identity = np.empty((len(points), 4), np.int64)
    identity[:, 0], identity[:, 1] = block.row[points], block.col[points]
    identity[:, 2] = batch.source.record.ordinal
    identity[:, 3] = options.bands.index(batch.source.bands[at])
    transform = block.grid.geotransform
    return PixelWindows(
        key=batch.block.key,
        row=rows,
        identity=identity,
        position=np.column_stack([located["row_float"], located["col_float"]]),
        values=known[0],
        state=known[1],
        scale=(abs(transform.scale_x), abs(transform.scale_y)),
    )


def _by_owner(batch: TileBatch, windows: PixelWindows) -> Iterator[PixelWindows]:
    """Splits windows by the block that owns their centre."""
    grid = batch.points.grid
    owners = _owner_blocks(grid, windows.identity[:, 0], windows.identity[:, 1])
    for owner in np.unique(owners).tolist():
        block_row, block_col = divmod(owner, grid.tiles_across)
        key = batch.block.key._replace(block_row=block_row, block_col=block_col)
        mine = owners == owner
        part = windows if mine.all() else subset(windows, mine)
        yield dataclasses.replace(part, key=key)


def _owner_blocks(grid: Grid, row: np.ndarray, col: np.ndarray) -> np.ndarray:
    """``block_row * tiles_across + block_col`` of the blocks that hold pixels."""
    shape = block_shape(grid)
    block_row = row // (grid.tile_height * shape.rows)
    return block_row * grid.tiles_across + col // (grid.tile_width * shape.cols)


def subset(windows: PixelWindows, mask: np.ndarray) -> PixelWindows:
    """Gives some of the windows, by a mask."""
    return dataclasses.replace(
        windows,
        row=windows.row[mask],
        identity=windows.identity[mask],
        position=windows.position[mask],
        values=windows.values[mask],
        state=windows.state[mask],
    )
