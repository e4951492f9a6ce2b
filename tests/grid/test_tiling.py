"""Pixel -> tile -> block: every pixel in exactly one of each."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rasteret_beam.elements import Geotransform, Grid
from rasteret_beam.grid.tiling import block_shape, tile_numbers, tile_origin

TRANSFORM = Geotransform(10.0, 0.0, -10.0, 0.0)

grids = st.builds(
    Grid,
    width=st.integers(1, 90), height=st.integers(1, 90),
    tile_width=st.integers(1, 40), tile_height=st.integers(1, 40),
    geotransform=st.just(TRANSFORM), crs=st.none(),
)  # fmt: skip


def _grid(width: int, height: int, tile_width: int, tile_height: int) -> Grid:
    return Grid(width, height, tile_width, tile_height, TRANSFORM, None)


@given(grids)
def test_every_pixel_is_in_exactly_one_tile(grid):
    owners = np.zeros((grid.height, grid.width), int)
    for number in range(grid.tiles_across * grid.tiles_down):
        row, col = tile_origin(grid, number)
        owners[row : row + grid.tile_height, col : col + grid.tile_width] += 1
    assert (owners == 1).all()


@given(grids)
def test_a_pixels_tile_is_the_one_whose_box_holds_it(grid):
    row, col = (a.ravel() for a in np.mgrid[0 : grid.height, 0 : grid.width])
    numbers = tile_numbers(grid, row, col)
    origins = np.array([tile_origin(grid, int(number)) for number in numbers])
    inside = np.stack([row, col], axis=1) - origins
    assert (inside >= 0).all()
    assert (inside < (grid.tile_height, grid.tile_width)).all()


@given(grids)
def test_tile_numbers_run_from_0_without_a_gap(grid):
    row, col = (a.ravel() for a in np.mgrid[0 : grid.height, 0 : grid.width])
    found = np.unique(tile_numbers(grid, row, col))
    assert found.tolist() == list(range(grid.tiles_across * grid.tiles_down))


def test_tiles_are_numbered_row_by_row():
    grid = _grid(100, 50, 16, 16)
    numbers = tile_numbers(grid, np.array([0, 0, 15, 16, 49]), np.array([0, 16, 99, 0, 99]))
    assert numbers.tolist() == [0, 1, 6, 7, 27]


def test_edge_tiles_count_though_they_are_not_full():
    grid = _grid(33, 17, 16, 16)
    assert (grid.tiles_across, grid.tiles_down) == (3, 2)


def test_the_origin_of_a_tile_is_its_first_pixel():
    assert tile_origin(_grid(100, 50, 16, 8), 9) == (8, 32)


def test_numbers_of_huge_images_do_not_overflow():
    grid = _grid(2**31 - 1, 2**31 - 1, 16, 16)
    last = np.array([2**31 - 2], np.int64)
    assert tile_numbers(grid, last, last)[0] == grid.tiles_across * grid.tiles_down - 1


@pytest.mark.parametrize(
    ("tile", "expected"),
    [((256, 256), (8, 8)), ((512, 512), (2, 8)), ((1024, 512), (2, 4)), ((1024, 1024), (1, 4)),
     ((2048, 2048), (1, 1)), ((4096, 16), (8, 1)), ((1, 1), (8, 8)), ((100_000, 3), (8, 1))],
)  # fmt: skip
def test_a_block_is_some_4_million_pixels_and_at_most_8_tiles_a_side(tile, expected):
    assert block_shape(_grid(100_000, 100_000, *tile)) == expected


@given(grids)
def test_a_block_has_at_least_one_tile_each_way(grid):
    shape = block_shape(grid)
    assert 1 <= shape.rows <= 8
    assert 1 <= shape.cols <= 8


def test_equal_grids_have_equal_digests():
    assert _grid(10, 20, 4, 4).digest() == _grid(10, 20, 4, 4).digest()
    assert _grid(10, 20, 4, 4).digest() != _grid(20, 10, 4, 4).digest()
    assert 0 <= _grid(10, 20, 4, 4).digest() < 2**63
