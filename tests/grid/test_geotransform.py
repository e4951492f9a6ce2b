"""World <-> pixel, against division and floor in Python's own numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle import pixel_index, position

from rasteret_beam.elements import Geotransform
from rasteret_beam.errors import RecordError
from rasteret_beam.grid.geotransform import (
    fault,
    from_coefficients,
    inside,
    world_to_pixel,
)

NORTH_UP = Geotransform(scale_x=10.0, origin_x=500_000.0, scale_y=-10.0, origin_y=4_000_000.0)
SOUTH_UP = Geotransform(scale_x=0.25, origin_x=-180.0, scale_y=0.25, origin_y=-90.0)
DEGREES = Geotransform(scale_x=0.0001, origin_x=12.3, scale_y=-0.0001, origin_y=45.6)
HEIGHT, WIDTH = 40, 50

geotransforms = st.builds(
    Geotransform,
    scale_x=st.floats(1e-5, 1e4), origin_x=st.floats(-1e6, 1e6),
    scale_y=st.floats(1e-5, 1e4).flatmap(lambda size: st.sampled_from([size, -size])),
    origin_y=st.floats(-1e6, 1e6),
)  # fmt: skip


def _pixel(transform: Geotransform, x: float, y: float) -> tuple[int, int] | None:
    """Gives the (row, col) the package finds for one point, or None."""
    row_float, col_float = world_to_pixel(transform, np.array([x]), np.array([y]))
    if not inside(row_float, col_float, HEIGHT, WIDTH)[0]:
        return None
    return int(np.floor(row_float[0])), int(np.floor(col_float[0]))


def test_the_outer_corner_is_position_0_0():
    row_float, col_float = world_to_pixel(NORTH_UP, np.array([500_000.0]), np.array([4_000_000.0]))
    assert (row_float[0], col_float[0]) == (0.0, 0.0)


def test_point_on_left_edge_belongs_to_that_pixel():
    assert _pixel(NORTH_UP, 500_030.0, 3_999_995.0) == (0, 3)
    assert _pixel(NORTH_UP, 500_000.0, 3_999_995.0) == (0, 0)


def test_point_on_top_edge_belongs_to_that_pixel():
    assert _pixel(NORTH_UP, 500_005.0, 3_999_970.0) == (3, 0)
    assert _pixel(NORTH_UP, 500_005.0, 4_000_000.0) == (0, 0)


def test_the_right_and_bottom_edges_of_the_image_are_outside():
    assert _pixel(NORTH_UP, 500_000.0 + 10 * WIDTH, 3_999_995.0) is None
    assert _pixel(NORTH_UP, 500_005.0, 4_000_000.0 - 10 * HEIGHT) is None


def test_the_bottom_edge_of_a_south_up_image_is_inside_and_its_top_is_not():
    assert _pixel(SOUTH_UP, -180.0, -90.0) == (0, 0)
    assert _pixel(SOUTH_UP, -179.9, -90.0 + 0.25 * HEIGHT) is None


def test_just_before_the_first_edge_is_outside():
    assert _pixel(NORTH_UP, np.nextafter(500_000.0, 0), 3_999_995.0) is None
    assert _pixel(NORTH_UP, 500_005.0, np.nextafter(4_000_000.0, 5e6)) is None


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_coordinates_that_are_no_number_are_outside(bad):
    assert _pixel(NORTH_UP, bad, 3_999_995.0) is None
    assert _pixel(NORTH_UP, 500_005.0, bad) is None


def test_edges_of_degree_grids_go_by_division():
    edges = np.array([DEGREES.origin_x + i * DEGREES.scale_x for i in range(400)])
    _, col_float = world_to_pixel(DEGREES, edges, np.full(400, 45.5))
    divided = [(edge - 12.3) / 0.0001 for edge in edges.tolist()]
    assert col_float.tolist() == divided
    inverse = np.floor(edges * (1 / 0.0001) - 12.3 / 0.0001)
    assert (np.floor(col_float) != inverse).any(), "the rule would make no difference here"


def test_huge_coordinates_neither_warn_nor_fall_inside():
    with np.errstate(all="raise"):
        assert _pixel(DEGREES, 1e308, -1e308) is None


@given(geotransforms, st.floats(-1e7, 1e7), st.floats(-1e7, 1e7))
def test_positions_are_those_of_the_oracle(transform, x, y):
    row_float, col_float = world_to_pixel(transform, np.array([x]), np.array([y]))
    assert (row_float[0], col_float[0]) == position(transform, x, y)
    assert _pixel(transform, x, y) == pixel_index((HEIGHT, WIDTH), transform, x, y)


@given(
    geotransforms, st.integers(0, 20_000), st.integers(0, 20_000),
    st.floats(0.01, 0.99), st.floats(0.01, 0.99),
)  # fmt: skip
def test_world_to_pixel_of_a_pixels_inside_is_that_pixel(transform, row, col, down, across):
    x = transform.origin_x + np.array([col + across]) * transform.scale_x
    y = transform.origin_y + np.array([row + down]) * transform.scale_y
    # Coordinates far out are coarser than these pixels: nothing could tell them apart.
    for coordinate, scale in ((x, transform.scale_x), (y, transform.scale_y)):
        if np.spacing(np.abs(coordinate[0]) + 1e6) > abs(scale) / 1000:
            return
    row_float, col_float = world_to_pixel(transform, x, y)
    assert (math.floor(row_float[0]), math.floor(col_float[0])) == (row, col)


# Spellings in collections


def test_four_coefficients_are_scales_and_origins():
    found = from_coefficients([10.0, 500.0, -10.0, 900.0])
    assert found == Geotransform(scale_x=10.0, origin_x=500.0, scale_y=-10.0, origin_y=900.0)


def test_six_coefficients_are_in_affine_order():
    found = from_coefficients((10, 0, 500, 0, -10, 900))
    assert found == Geotransform(scale_x=10.0, origin_x=500.0, scale_y=-10.0, origin_y=900.0)


def test_coefficients_may_be_an_array():
    assert from_coefficients(np.array([10.0, 500.0, -10.0, 900.0])).scale_y == -10.0


@pytest.mark.parametrize(
    ("coefficients", "reason"),
    [
        (None, "missing"),
        (7.0, "must be a list"),
        ([], "4 or 6 values, got 0"),
        ([1.0, 2.0, 3.0], "4 or 6 values, got 3"),
        ([1.0] * 5, "4 or 6 values, got 5"),
        ([1.0] * 9, "4 or 6 values, got 9"),
        ([10.0, 0.5, 500.0, 0.0, -10.0, 900.0], "Rotated"),
        ([10.0, 0.0, 500.0, 0.5, -10.0, 900.0], "Rotated"),
        ([10.0, math.nan, 500.0, 0.0, -10.0, 900.0], "Rotated"),
        ([0.0, 500.0, -10.0, 900.0], "size of 0"),
        ([10.0, 500.0, 0.0, 900.0], "size of 0"),
        ([math.nan, 500.0, -10.0, 900.0], "not finite"),
        ([10.0, math.inf, -10.0, 900.0], "not finite"),
        ([10.0, None, -10.0, 900.0], "must be a list"),
    ],
)
def test_coefficients_that_cannot_be_used_say_why(coefficients, reason):
    with pytest.raises(RecordError, match=reason):
        from_coefficients(coefficients)


def test_coefficients_in_words_are_a_record_error():
    with pytest.raises(RecordError):
        from_coefficients(["a", "b", "c", "d"])


def test_a_sound_geotransform_has_no_fault():
    assert fault(NORTH_UP) is None
    assert "0" in (fault(Geotransform(0.0, 0.0, 1.0, 0.0)) or "")
