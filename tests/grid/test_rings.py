"""Square rings: their members, their order, and true distances."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle import ring as oracle_ring
from oracle import squared_distance as oracle_distance

from rasteret_beam.elements import Geotransform
from rasteret_beam.grid.rings import ring_offsets, rings, squared_distance, window_offsets

RADII = range(1, 13)


@pytest.mark.parametrize("radius", RADII)
def test_a_ring_has_8_r_members_each_once(radius):
    offsets = ring_offsets(radius)
    assert len(offsets) == len(set(offsets)) == 8 * radius


@pytest.mark.parametrize("radius", RADII)
def test_the_members_of_a_ring_are_r_steps_away(radius):
    assert {max(abs(row), abs(col)) for row, col in ring_offsets(radius)} == {radius}


@pytest.mark.parametrize("radius", RADII)
def test_rings_tile_the_square_around_the_centre(radius):
    found = [offset for ring in range(1, radius + 1) for offset in ring_offsets(ring)]
    span = range(-radius, radius + 1)
    assert sorted([(0, 0), *found]) == [(row, col) for row in span for col in span]


@pytest.mark.parametrize("radius", RADII)
def test_ties_go_top_bottom_left_right(radius):
    assert ring_offsets(radius) == oracle_ring(radius)


def test_the_first_ring_is_spelled_out():
    assert ring_offsets(1) == [
        (-1, -1), (-1, 0), (-1, 1), (1, -1), (1, 0), (1, 1), (0, -1), (0, 1),
    ]  # fmt: skip


@pytest.mark.parametrize("radius", RADII)
def test_laid_end_to_end_rings_keep_their_order(radius):
    found = rings(radius)
    pairs = list(zip(found.row_offset.tolist(), found.col_offset.tolist(), strict=True))
    assert pairs == [offset for ring in range(1, radius + 1) for offset in oracle_ring(ring)]


@pytest.mark.parametrize("radius", RADII)
def test_each_ring_begins_where_it_is_said_to(radius):
    found = rings(radius)
    assert found.ring_start.tolist() == [4 * ring * (ring - 1) for ring in range(1, radius + 1)]
    assert found.ring[found.ring_start].tolist() == list(range(1, radius + 1))
    assert (np.diff(found.ring) >= 0).all()


@pytest.mark.parametrize("radius", RADII)
def test_window_indexes_point_at_the_same_offsets(radius):
    found = rings(radius)
    row, col = window_offsets(radius)
    np.testing.assert_array_equal(row[found.window_index], found.row_offset)
    np.testing.assert_array_equal(col[found.window_index], found.col_offset)


@pytest.mark.parametrize("radius", RADII)
def test_rings_use_every_place_of_the_window_but_the_centre(radius):
    places = set(range((2 * radius + 1) ** 2))
    assert places - set(rings(radius).window_index.tolist()) == {2 * radius * (radius + 1)}


def test_a_window_is_row_major():
    row, col = window_offsets(1)
    assert row.tolist() == [-1, -1, -1, 0, 0, 0, 1, 1, 1]
    assert col.tolist() == [-1, 0, 1, -1, 0, 1, -1, 0, 1]


def test_a_window_of_radius_0_is_its_centre():
    row, col = window_offsets(0)
    assert (row.tolist(), col.tolist()) == ([0], [0])


def _distance(position: tuple[float, float], pixel: tuple[int, int], scale=(1.0, 1.0)) -> float:
    row, col = np.array([[pixel[0]]]), np.array([[pixel[1]]])
    return squared_distance(np.array([position]), row, col, scale)[0, 0]


def test_distance_inside_the_pixel_is_0():
    assert _distance((3.5, 4.5), (3, 4)) == 0
    assert _distance((3.0, 4.0), (3, 4)) == 0
    assert _distance((4.0, 5.0), (3, 4)) == 0


def test_distance_runs_to_the_nearest_side_or_corner():
    assert _distance((3.5, 4.5), (3, 6)) == 1.5**2
    assert _distance((3.5, 4.5), (3, 2)) == 1.5**2
    assert _distance((3.25, 4.5), (5, 6)) == 1.75**2 + 1.5**2


def test_distance_is_in_crs_units_where_pixels_are_not_square():
    assert _distance((0.5, 0.5), (0, 2), (10.0, 2.0)) == 15.0**2
    assert _distance((0.5, 0.5), (2, 0), (10.0, 2.0)) == 3.0**2


@given(
    position=st.tuples(st.floats(0, 1000), st.floats(0, 1000)),
    pixel=st.tuples(st.integers(-10, 1010), st.integers(-10, 1010)),
    scale=st.tuples(st.floats(1e-4, 1e3), st.floats(1e-4, 1e3)), south_up=st.booleans(),
)  # fmt: skip
def test_distances_are_those_of_the_oracle(position, pixel, scale, south_up):
    transform = Geotransform(scale[0], 0.0, scale[1] if south_up else -scale[1], 0.0)
    assert _distance(position, pixel, scale) == oracle_distance(transform, *position, *pixel)


@given(st.integers(1, 8), st.integers(1, 20))
def test_distances_of_many_points_are_those_of_each(radius, points):
    position = np.random.default_rng(points).uniform(0, 100, (points, 2))
    around = rings(radius)
    base = np.floor(position).astype(np.int64)
    row, col = base[:, :1] + around.row_offset, base[:, 1:] + around.col_offset
    found = squared_distance(position, row, col, (3.0, 7.0))
    assert found.shape == (points, 4 * radius * (radius + 1))
    alone = squared_distance(position[-1:], row[-1:], col[-1:], (3.0, 7.0))
    np.testing.assert_array_equal(found[-1:], alone)
