"""Pixel -> tile -> block of tiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from rasteret_beam.elements import Grid

_BLOCK_PIXELS = 2048 * 2048
_BLOCK_COLS = 4096
_MAX_BLOCK_TILES = 8


class BlockShape(NamedTuple):
    """How many tiles a block spans.

    Attributes:
        rows: Tile rows.
        cols: Tile columns.
    """

    rows: int
    cols: int


def block_shape(grid: Grid) -> BlockShape:
    """Gives the block of a grid: some 4 million pixels, at most 8 x 8 tiles, rather wide.

    Tiles of a row are stored one after the other, so that a wide block is read with fewer
    requests than a square one.

    Large enough that sparse points share a key and neighbouring tiles a request;
    small enough that one image gives work to many workers.
    """
    n_tiles = max(_BLOCK_PIXELS // (grid.tile_height * grid.tile_width), 1)
    cols = min(max(_BLOCK_COLS // grid.tile_width, 1), _MAX_BLOCK_TILES, n_tiles)
    rows = min(max(n_tiles // cols, 1), _MAX_BLOCK_TILES)
    return BlockShape(rows, cols)


def tile_numbers(grid: Grid, row: np.ndarray, col: np.ndarray) -> np.ndarray:
    """Gives the row-major number of the tile that holds each pixel.

    Args:
        grid: The tile grid.
        row: int64, pixel rows inside the image.
        col: int64, same shape, pixel columns inside the image.

    Returns:
        int64, same shape: ``tile_row * tiles_across + tile_col`` (TIFF 6.0, section 15).

    >>> import numpy as np
    >>> from rasteret_beam.elements import Geotransform, Grid
    >>> g = Grid(100, 50, 16, 16, Geotransform(1.0, 0.0, -1.0, 0.0), None)
    >>> tile_numbers(g, np.array([0, 17]), np.array([99, 16]))
    array([6, 8])
    """
    return (row // grid.tile_height) * grid.tiles_across + col // grid.tile_width


def tile_origin(grid: Grid, tile_number: int) -> tuple[int, int]:
    """Gives the pixel (row, col) of a tile's first pixel."""
    tile_row, tile_col = divmod(tile_number, grid.tiles_across)
    return tile_row * grid.tile_height, tile_col * grid.tile_width


def touched_tiles(
    grid: Grid, row: np.ndarray, col: np.ndarray, radius: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gives (point, tile row, tile column) of every tile that each point's window touches."""
    if not radius:
        return np.arange(len(row)), row // grid.tile_height, col // grid.tile_width
    return _touched(
        _span(row, radius, grid.height, grid.tile_height),
        _span(col, radius, grid.width, grid.tile_width),
    )


def _touched(
    rows: tuple[np.ndarray, np.ndarray], cols: tuple[np.ndarray, np.ndarray],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(point, row, col) of every cell between each point's first and last, both included."""
    found = []
    for down in range(int((rows[1] - rows[0]).max(initial=0)) + 1):
        for across in range(int((cols[1] - cols[0]).max(initial=0)) + 1):
            hit = np.flatnonzero((rows[0] + down <= rows[1]) & (cols[0] + across <= cols[1]))
            found.append((hit, rows[0][hit] + down, cols[0][hit] + across))
    point, row, col = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return point, row, col


def _span(
    pixel: np.ndarray, radius: int, size: int, step: int,
) -> tuple[np.ndarray, np.ndarray]:
    """First and last step-wide cell that [pixel - radius, pixel + radius] touches."""
    first = np.maximum(pixel - radius, 0) // step
    return first, np.minimum(pixel + radius, size - 1) // step
