"""Decoded tiles -> the pixels around points, as far as the tiles hold them."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np

from rasteret_beam.elements import PixelWindows
from rasteret_beam.grid.rings import window_offsets
from rasteret_beam.grid.tiling import tile_origin, touched_tiles
from rasteret_beam.sampling.nodata import is_nodata

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rasteret_beam.elements import BlockPoints, DecodedTile, TileBatch
    from rasteret_beam.options import SampleOptions
    from rasteret_beam.sampling.placing import PlacedPoints, Placement

UNKNOWN, VALID, NODATA, OUTSIDE, FAILED = range(5)
"""States of a window's pixel: not seen yet, a value, nodata, off the image, unreadable."""

_WINDOW_CELLS_AT_ONCE = 1 << 20
_SMALL_RADIUS = 2


def at_once(options: SampleOptions) -> int:
    """Gives how many windows are held in memory together."""
    return max(_WINDOW_CELLS_AT_ONCE // options.window_pixels, 1)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Centres:
    """Points whose windows are read together, ``at_once`` at most.

    Attributes:
        points: int64, shape (n_points,): those inside first, and ascending.
        n_inside: How many have their window in one tile.
    """

    points: np.ndarray
    n_inside: int = 0


def read_whole(placed: PlacedPoints, centres: Centres, at: int) -> np.ndarray:
    """Reads the windows of points that have them whole in tiles that were read.

    Args:
        placed: The batch.
        centres: The points.
        at: Which of the source's bands.

    Returns:
        The file's dtype, shape (n_points, (2r + 1)^2), row-major.
    """
    points, n_inside = centres.points, centres.n_inside
    n_pixels = (2 * placed.batch.points.radius + 1) ** 2
    pixels = np.empty((len(points), n_pixels), placed.batch.source.layout.dtype)
    _read_inside(placed, points[:n_inside], pixels[:n_inside], at)
    for piece in _pieces(placed.where, centres):
        _read_piece(placed, piece, pixels[n_inside:], at)
    return pixels


def _read_inside(placed: PlacedPoints, points: np.ndarray, out: np.ndarray, at: int) -> None:
    """Reads windows that lie in one tile each; the points ascend."""
    block, sample = placed.batch.points, placed.batch.source.samples[at]
    radius = block.radius
    down, across = window_offsets(radius)
    for number, mine in _tiles_of(placed, points):
        decoded = _with_surroundings(placed.batch, number)
        top, left = tile_origin(block.grid, number)
        row, col = block.row[points[mine]] - top, block.col[points[mine]] - left
        # All rows of a window are kept, and so are neighbours where not all of the tile's are.
        row = decoded.stored_rows(row)
        if radius < _SMALL_RADIUS:
            # Windows of a few pixels: to cut each out costs twice what its pixels do.
            width = decoded.pixels.shape[2]
            flat = np.empty((len(row), len(down)), np.int64)
            np.add((row * width + col)[:, np.newaxis], down * width + across, out=flat)
            decoded.take(sample, flat, out[mine])
        else:
            side = 2 * radius + 1
            windows = np.lib.stride_tricks.sliding_window_view(decoded.pixels[sample], (side, side))
            out[mine].reshape(-1, side, side)[...] = windows[row - radius, col - radius]


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


def read_windows(
    placed: PlacedPoints, options: SampleOptions, centres: Centres, at: int,
) -> PixelWindows:
    """Reads windows as far as these tiles hold them, and tells what is known of each pixel.

    Args:
        placed: The batch.
        options: What to sample.
        centres: Points, none of them inside.
        at: Which of the source's bands.

    Returns:
        The windows, as of points whose own pixel lies in the batch's block.
    """
    source, state = placed.batch.source, _states(placed.where, centres).copy()
    pixels = np.zeros(state.shape, source.layout.dtype)
    for piece in _pieces(placed.where, centres):
        _read_piece(placed, piece, pixels, at)
    state[(state == VALID) & is_nodata(pixels, source.layout.nodata)] = NODATA
    return windows_of(placed, options, centres.points, (pixels, state), at)


class _Piece(NamedTuple):
    """What of some windows lies in one tile.

    Attributes:
        number: The tile.
        windows: int64, shape (n,): which windows, of those that are not inside.
        row: int64, shape (n, 2r + 1): their rows, of the tile; others moved to its edge.
        col: int64, same shape: likewise.
        hit: bool, shape (n, (2r + 1)^2): which of their pixels lie in the tile.
    """

    number: int
    windows: np.ndarray
    row: np.ndarray
    col: np.ndarray
    hit: np.ndarray

    def put(self, out: np.ndarray, values: np.ndarray | int) -> None:
        """Sets these pixels of windows."""
        windows = out[self.windows]
        np.copyto(windows, values, where=self.hit)
        out[self.windows] = windows


# Bands and files that follow each other have the same pieces; some windows' take a few MB.
@functools.lru_cache(maxsize=4)
def _pieces(where: Placement, centres: Centres) -> list[_Piece]:
    """Takes windows that are not inside apart, by the tiles that were read."""
    return _cut(where.points, centres, where.tiles)


@functools.lru_cache(maxsize=4)
def _states(where: Placement, centres: Centres) -> np.ndarray:
    """uint8, shape (n_points, (2r + 1)^2): the windows' states, all that was read ``VALID``."""
    block, points = where.points, centres.points
    span = np.arange(-block.radius, block.radius + 1)
    row, col = (axis[points][:, np.newaxis] + span for axis in (block.row, block.col))
    down = (row >= 0) & (row < block.grid.height)
    across = (col >= 0) & (col < block.grid.width)
    on_image = down[:, :, np.newaxis] & across[:, np.newaxis]
    state = np.where(on_image, np.uint8(UNKNOWN), np.uint8(OUTSIDE)).reshape(len(points), -1)
    for piece in _pieces(where, centres):
        piece.put(state, VALID)
    for piece in _cut(block, centres, where.failed):
        piece.put(state, FAILED)
    return state


def _cut(block: BlockPoints, centres: Centres, tiles: tuple[int, ...]) -> list[_Piece]:
    points, grid = centres.points[centres.n_inside :], block.grid
    row, col = block.row[points], block.col[points]
    window, tile_row, tile_col = touched_tiles(grid, row, col, block.radius)
    number = tile_row * grid.tiles_across + tile_col
    span, pieces = np.arange(-block.radius, block.radius + 1), []
    for tile in sorted(set(tiles).intersection(number.tolist())):
        top, left = tile_origin(grid, tile)
        mine = window[number == tile]
        rows, cols = row[mine][:, np.newaxis] - top + span, col[mine][:, np.newaxis] - left + span
        bottom = min(grid.tile_height, grid.height - top)
        right = min(grid.tile_width, grid.width - left)
        down, across = (rows >= 0) & (rows < bottom), (cols >= 0) & (cols < right)
        hit = (down[:, :, np.newaxis] & across[:, np.newaxis]).reshape(len(mine), -1)
        # An edge that a window reaches beyond is a row of the window, and so was kept.
        pieces.append(_Piece(tile, mine, rows.clip(0, bottom - 1), cols.clip(0, right - 1), hit))
    return pieces


def _read_piece(placed: PlacedPoints, piece: _Piece, out: np.ndarray, at: int) -> None:
    """Copies a piece of windows from its tile."""
    decoded = _with_surroundings(placed.batch, piece.number)
    places = decoded.places(piece.row[:, :, np.newaxis], piece.col[:, np.newaxis])
    found = np.empty(piece.hit.shape, out.dtype)
    decoded.take(placed.batch.source.samples[at], places.reshape(found.shape), found)
    piece.put(out, found)


def states(pixels: np.ndarray, nodata: float | None) -> np.ndarray:
    """Tells of pixels that were read whether they are valid; uint8, ``VALID`` or ``NODATA``."""
    return np.where(is_nodata(pixels, nodata), np.uint8(NODATA), np.uint8(VALID))


def is_known(state: np.ndarray) -> np.ndarray:
    """Tells which pixels of windows there are: on the image, and read."""
    return (state == VALID) | (state == NODATA)


def windows_of(
    placed: PlacedPoints,
    options: SampleOptions,
    points: np.ndarray,
    known: tuple[np.ndarray, np.ndarray],
    at: int,
) -> PixelWindows:
    """Gives windows around points of the batch's block, by their values and states.

    Args:
        placed: The batch.
        options: What to sample.
        points: int64, shape (n_points,).
        known: As ``PixelWindows.values`` and ``state``.
        at: Which of the source's bands.
    """
    batch, block = placed.batch, placed.batch.points
    located, transform = block.planned.points, block.grid.geotransform
    return PixelWindows(
        key=batch.block.key,
        layer=(batch.source.record.ordinal, options.bands.index(batch.source.bands[at])),
        pixel=block.row[points] * block.grid.width + block.col[points],
        position=np.column_stack([located[axis][points] for axis in ("row_float", "col_float")]),
        values=known[0],
        state=known[1],
        scale=(abs(transform.scale_x), abs(transform.scale_y)),
    )
