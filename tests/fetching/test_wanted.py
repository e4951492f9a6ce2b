"""What is kept of decoded tiles: the points' own pixels, where nothing else is needed."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rasteret_beam.elements import (
    POINT_DTYPE,
    BlockPoints,
    DecodedTile,
    Geotransform,
    Grid,
    PlannedPoints,
    PointPixels,
)
from rasteret_beam.fetching.wanted import wanted_pixels
from rasteret_beam.grid.tiling import tile_numbers, tile_origin

GRID = Grid(40, 30, 16, 8, Geotransform(1.0, 0.0, -1.0, 0.0), None)
N_TILES = 12
PIXELS = st.tuples(st.integers(0, GRID.height - 1), st.integers(0, GRID.width - 1))


def _block(pixels, radius=0):
    """Points in the order of their tiles and rows, as ``merging.merge`` gives them."""
    row, col = np.array(pixels, np.int64).reshape(-1, 2).T
    tile = tile_numbers(GRID, row, col)
    order = np.lexsort((row, tile))
    planned = PlannedPoints(np.zeros(len(row), POINT_DTYPE), None, "EPSG:32632", None)
    return BlockPoints(GRID, planned, tile[order], row[order], col[order], radius)


def _tile(samples, *, band_by_band):
    """A tile whose pixels tell their sample, row and column; in either order of memory."""
    sample, row, col = np.indices((samples, GRID.tile_height, GRID.tile_width))
    pixels = (sample * 10_000 + row * 100 + col).astype(np.int32)
    if band_by_band:
        return pixels
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(pixels, 0, -1)), -1, 0)


@given(
    pixels=st.lists(PIXELS, min_size=1, max_size=60), samples=st.integers(1, 3),
    only=st.data(), few_rows=st.booleans(), band_by_band=st.booleans(),
)  # fmt: skip
def test_the_pixel_of_every_point_is_kept(*, pixels, samples, only, few_rows, band_by_band):
    points = _block(pixels)
    members = None
    if only.draw(st.booleans(), label="some points only"):
        chosen = only.draw(st.sets(st.integers(0, len(pixels) - 1)), label="members")
        members = np.array(sorted(chosen), np.int64)
    everyone = np.arange(len(pixels)) if members is None else members
    wanted = wanted_pixels(points, members, np.arange(N_TILES))
    assert list(wanted) == sorted(set(points.tile[everyone].tolist()))
    whole = _tile(samples, band_by_band=band_by_band)
    for number, needed in wanted.items():
        mine = everyone[points.tile[everyone] == number]
        top, left = tile_origin(GRID, number)
        row, col = points.row[mine] - top, points.col[mine] - left
        np.testing.assert_array_equal(needed.rows, np.unique(row))
        tile = DecodedTile(whole, None)
        if few_rows:
            tile = DecodedTile(whole[:, needed.rows], needed.rows)
        for _ in range(2):  # of several files
            kept = needed.pick(tile)
            assert isinstance(kept, PointPixels)
            np.testing.assert_array_equal(kept.pixels, whole[:, row, col])


@given(pixels=st.lists(PIXELS, min_size=1, max_size=20), radius=st.integers(1, 9))
def test_rows_around_points_are_kept_whole(pixels, radius):
    wanted = wanted_pixels(_block(pixels, radius), None, np.arange(N_TILES))
    for number in range(N_TILES):
        top, left = tile_origin(GRID, number)
        rows = {
            at - top
            for row, col in pixels
            for at in range(max(row - radius, 0), min(row + radius + 1, GRID.height))
            if top <= at < top + GRID.tile_height
            and left - radius <= col < left + GRID.tile_width + radius
        }
        found = wanted[number].rows.tolist() if number in wanted else []
        assert found == sorted(rows)
        if rows:
            tile = DecodedTile(_tile(1, band_by_band=True), None)
            assert wanted[number].pick(tile) is tile


def test_points_of_several_batches_leave_the_tile_as_it_is():
    blocks = _block([(1, 2)]), _block([(5, 3)])
    one, other = (wanted_pixels(block, None, np.arange(1))[0] for block in blocks)
    tile = DecodedTile(_tile(1, band_by_band=True), None)
    assert (one | one) is one
    both = one | other
    assert both.rows.tolist() == [1, 5]
    assert both.pick(tile) is tile
