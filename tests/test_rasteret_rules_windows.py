"""Section 3.6 of rasteret's rules: nodata, the fallback to near pixels, neighbourhoods."""

import math

import numpy as np
import pytest
from scenes import Scene, make_collection, run, sample

from rasteret_beam.sampling import is_nodata

SIZE = 40
CENTRE = (20, 20)  # row, col: all its neighbours up to 3 steps lie in one tile
SEAM = (16, 16)  # the first pixel of the tile right and below


def scene(pixels, *, nodata="-9999", scale=(1.0, -1.0), **options):
    """One pixel a unit, origin such that the image spans 0 to its size in x and y."""
    pixels = pixels if pixels.ndim == 3 else pixels[np.newaxis]
    y = -scale[1] * pixels.shape[1] if scale[1] < 0 else 0.0
    return Scene(
        name="a", pixels=pixels, epsg=None, origin=(0.0, y), scale=scale, nodata=nodata, **options,
    )


def empty(dtype=np.int16, nodata=-9999):
    return np.full((SIZE, SIZE), nodata, dtype)


def with_pixels(offsets, centre=CENTRE, dtype=np.int16):
    """Nodata but for pixels at (row, col) offsets from a centre; value by offset, or by order."""
    pixels = empty(dtype)
    named = offsets if isinstance(offsets, dict) else dict(zip(offsets, range(1, 99), strict=False))
    for (row, col), value in named.items():
        pixels[centre[0] + row, centre[1] + col] = value
    return pixels


def at(row, col, scale=(1.0, -1.0)):
    """x and y of a position on a grid of ``scene``."""
    y = (SIZE - row) * -scale[1] if scale[1] < 0 else row * scale[1]
    return {"x": [col * scale[0]], "y": [y]}


def middle(pixel, scale=(1.0, -1.0)):
    return at(pixel[0] + 0.5, pixel[1] + 0.5, scale)


def row_at(folder, made, points, **options):
    """The one row of one point."""
    (row,) = sample(make_collection(folder, [made]), points, crs="none", **options)
    return row


def value_at(folder, pixels, position=CENTRE, *, radius, **options):
    row = row_at(
        folder, scene(pixels, **options), middle(position), max_distance_pixels=radius,
        unmatched="emit",
    )
    return row["value"], row["status"]


def same(found, expected):
    return np.array_equal(np.array(found, float), np.array(expected, float), equal_nan=True)


# What is nodata


def test_rule_3_6_nan_is_nodata_even_where_none_is_declared(tmp_path):
    pixels = np.full((SIZE, SIZE), np.nan, np.float32)
    pixels[20, 21] = 5
    assert value_at(tmp_path, pixels, radius=1, nodata=None) == (5.0, "FALLBACK")


def test_rule_3_6_nan_is_nodata_beside_a_declared_number(tmp_path):
    pixels = np.full((SIZE, SIZE), np.nan, np.float32)
    pixels[20, 21], pixels[19, 20] = 5, -9999
    assert value_at(tmp_path, pixels, radius=1) == (5.0, "FALLBACK")


def test_rule_3_6_declared_nan_makes_nan_nodata_and_no_number(tmp_path):
    pixels = np.full((SIZE, SIZE), np.nan, np.float32)
    pixels[20, 21], pixels[19, 20] = 5, -9999
    assert value_at(tmp_path, pixels, radius=1, nodata="nan") == (-9999.0, "FALLBACK")


def test_rule_3_6_without_declared_nodata_no_integer_is_nodata(tmp_path):
    assert value_at(tmp_path, empty(), radius=1, nodata=None) == (-9999.0, "OK")


def test_rule_3_6_nodata_that_the_type_cannot_hold_is_no_pixel(tmp_path):
    pixels = np.zeros((SIZE, SIZE), np.uint8)
    assert value_at(tmp_path, pixels, radius=1, nodata="-9999") == (0.0, "OK")


@pytest.mark.parametrize(
    "nodata", ["-3.4028234663852886e+38", "-9999", "0"],
)
def test_rule_3_6_nodata_that_float32_holds_exactly_is_nodata(tmp_path, nodata):
    pixels = np.full((SIZE, SIZE), float(nodata), np.float32)
    pixels[20, 21] = 5
    assert value_at(tmp_path, pixels, radius=1, nodata=nodata) == (5.0, "FALLBACK")


@pytest.mark.parametrize("nodata", ["1e20", "0.1", "-3.40282347e+38"])
def test_difference_nodata_is_compared_as_float32_in_float32_files(tmp_path, nodata):
    pixels = np.full((SIZE, SIZE), float(nodata), np.float32)
    pixels[20, 21] = 5
    assert value_at(tmp_path, pixels, radius=1, nodata=nodata) == (5.0, "FALLBACK")


def test_difference_nodata_of_64_bits_is_compared_exactly(tmp_path):
    pixels = np.full((SIZE, SIZE), 2**62 + 1, np.int64)
    pixels[20, 21] = 5
    row = value_at(tmp_path, pixels, radius=1, nodata=str(2**62 + 1))
    assert row == (5.0, "FALLBACK")
    assert not is_nodata(np.array([2**62]), 2**62 + 1).any()


def test_rule_3_6_without_a_radius_nodata_stays_what_it_is(tmp_path):
    pixels = with_pixels([(0, 1)])
    assert value_at(tmp_path, pixels, radius=0) == (-9999.0, "NODATA")


def test_rule_3_6_without_a_radius_nan_is_a_value_and_not_null(tmp_path):
    pixels = np.full((SIZE, SIZE), np.nan, np.float32)
    row = row_at(tmp_path, scene(pixels, nodata=None), middle(CENTRE))
    assert math.isnan(row["value"])


# The fallback


def test_rule_3_6_a_valid_centre_is_kept(tmp_path):
    pixels = with_pixels({(0, 0): 7, (0, 1): 8})
    assert value_at(tmp_path, pixels, radius=3) == (7.0, "OK")


@pytest.mark.parametrize(
    ("radius", "expected"), [(1, (-9999.0, "NODATA")), (2, (42.0, "FALLBACK"))],
)
def test_rule_3_6_a_pixel_two_steps_away_needs_a_radius_of_2(tmp_path, radius, expected):
    assert value_at(tmp_path, with_pixels({(2, 1): 42}), radius=radius) == expected


def test_rule_3_6_where_nothing_is_valid_the_nodata_value_stays(tmp_path):
    assert value_at(tmp_path, empty(), radius=6) == (-9999.0, "NODATA")


def test_rule_3_6_the_nearest_of_a_ring_is_taken(tmp_path):
    pixels = with_pixels({(0, -1): 11, (0, 1): 22})
    made = scene(pixels)
    right = row_at(tmp_path, made, at(20.5, 20.9), max_distance_pixels=1)
    left = row_at(tmp_path, made, at(20.5, 20.1), max_distance_pixels=1)
    assert (left["value"], right["value"]) == (11.0, 22.0)


def test_rule_3_6_distance_is_to_the_pixels_rectangle_not_to_its_centre(tmp_path):
    # To the rectangles 0.53 and 0.48, to the centres 1.11 and 1.14.
    pixels = with_pixels({(0, 1): 22, (1, -1): 11})
    row = row_at(tmp_path, scene(pixels), at(20.9, 20.47), max_distance_pixels=1)
    assert row["value"] == 11.0


def test_rule_3_6_distance_inside_a_ring_is_exact(tmp_path):
    # Within ring 2, the far corner of the same side is farther than the pixel straight ahead.
    pixels = with_pixels({(-2, -2): 11, (0, 2): 22})
    row = row_at(tmp_path, scene(pixels), at(20.01, 20.99), max_distance_pixels=2)
    assert row["value"] == 22.0


def test_rule_3_6_the_first_ring_wins_over_a_nearer_pixel_of_the_next(tmp_path):
    # 1.40 to the corner of ring 1, 1.01 to the pixel of ring 2.
    pixels = with_pixels({(-1, -1): 11, (0, 2): 22})
    row = row_at(tmp_path, scene(pixels), at(20.99, 20.99), max_distance_pixels=2)
    assert row["value"] == 11.0


@pytest.mark.parametrize(("scale", "winner"), [((1.0, -3.0), 22.0), ((3.0, -1.0), 11.0)])
def test_rule_3_6_distance_counts_crs_units_not_pixels(tmp_path, scale, winner):
    pixels = with_pixels({(-1, 0): 11, (0, 1): 22})
    row = row_at(
        tmp_path, scene(pixels, scale=scale), middle(CENTRE, scale), max_distance_pixels=1,
    )
    assert row["value"] == winner


TIES_OF_RING_1 = [[(-1, 0), (1, 0), (0, -1), (0, 1)], [(-1, -1), (-1, 1), (1, -1), (1, 1)]]
TIES_OF_RING_2 = [
    [(-2, 0), (2, 0), (0, -2), (0, 2)],
    [(-2, -1), (-2, 1), (2, -1), (2, 1), (-1, -2), (1, -2), (-1, 2), (1, 2)],
    [(-2, -2), (-2, 2), (2, -2), (2, 2)],
]


@pytest.mark.parametrize("scale", [(1.0, -1.0), (1.0, 1.0)], ids=["north-up", "south-up"])
@pytest.mark.parametrize("ties", TIES_OF_RING_1 + TIES_OF_RING_2)
def test_rule_3_6_ties_go_to_the_top_then_bottom_then_left_then_right(tmp_path, ties, scale):
    for number in range(len(ties)):
        pixels = with_pixels({offset: 10 * i for i, offset in enumerate(ties) if i >= number})
        row = row_at(
            tmp_path, scene(pixels, scale=scale), middle(CENTRE, scale), max_distance_pixels=2,
        )
        assert row["value"] == 10 * number


def test_rule_3_6_pixels_beyond_the_image_are_no_candidates(tmp_path):
    pixels = empty()
    pixels[SIZE - 1, SIZE - 1] = 99  # where an index of -1 would wrap to
    pixels[0, 2] = 7
    assert value_at(tmp_path, pixels, (0, 0), radius=1) == (-9999.0, "NODATA")
    assert value_at(tmp_path, pixels, (0, 0), radius=2) == (7.0, "FALLBACK")


def test_rule_3_6_padding_of_edge_tiles_is_no_candidate(tmp_path):
    # 40 pixels end inside the third tile; the file's padding there is 0, a valid value.
    assert value_at(tmp_path, empty(), (SIZE - 1, SIZE - 1), radius=3) == (-9999.0, "NODATA")


@pytest.mark.parametrize("offset", [(-1, -1), (-1, 0), (0, -1), (-2, 1), (1, -2)])
def test_rule_3_6_the_fallback_crosses_tiles(tmp_path, offset):
    pixels = with_pixels({offset: 42}, SEAM)
    assert value_at(tmp_path, pixels, SEAM, radius=2) == (42.0, "FALLBACK")


@pytest.mark.parametrize("offset", [(-1, -1), (-1, 0), (0, -1), (1, -1), (-1, 1)])
def test_rule_3_6_the_fallback_crosses_blocks_of_tiles(tmp_path, offset):
    pixels = np.full((160, 160), -9999, np.int16)
    pixels[128 + offset[0], 128 + offset[1]] = 42
    points = {"x": [128.5], "y": [160 - 128.5]}
    row = row_at(tmp_path, scene(pixels), points, max_distance_pixels=1)
    assert row["value"] == 42.0


def test_rule_3_6_bands_fall_back_each_for_itself(tmp_path):
    pixels = np.stack([with_pixels({(0, 1): 1}), with_pixels({(0, 0): 2}), empty()])
    collection = make_collection(tmp_path, [scene(pixels)])
    rows = sample(
        collection, middle(CENTRE), ("B1", "B2", "B3"), crs="none", max_distance_pixels=1,
    )
    assert [row["value"] for row in rows] == [1.0, 2.0, -9999.0]


def test_rule_3_6_the_status_tells_a_fallback_from_a_value_and_from_nodata(tmp_path):
    pixels = with_pixels({(0, 1): 1})
    points = {"x": [20.5, 21.5, 5.5], "y": [19.5, 19.5, 19.5]}
    rows = sample(
        make_collection(tmp_path, [scene(pixels)]), points, crs="none", max_distance_pixels=1,
        unmatched="emit",
    )
    assert [row["status"] for row in rows] == ["FALLBACK", "OK", "NODATA"]


def test_difference_a_sparse_tile_beside_the_point_is_nodata(tmp_path):
    def hollow(rows):
        for name in ("tile_offsets", "tile_byte_counts"):
            rows[0]["B1_metadata"][name][0] = 0

    pixels = with_pixels({(-1, -1): 11, (1, 1): 42}, SEAM)  # 11 lies in the hollow tile
    collection = make_collection(tmp_path, [scene(pixels)], mutate=hollow)
    (row,) = sample(collection, middle(SEAM), crs="none", max_distance_pixels=1)
    assert row["value"] == 42.0


# An unread tile beside the point


def broken_beside(folder, pixels):
    """A collection whose first tile, left and above of SEAM, cannot be read."""

    def spoil(rows):
        rows[0]["B1_metadata"]["tile_offsets"][0] = 10**9

    return make_collection(folder, [scene(pixels)], mutate=spoil)


def test_difference_an_unread_tile_that_could_hold_the_nearest_pixel_gives_no_value(tmp_path):
    collection = broken_beside(tmp_path, with_pixels({(1, 1): 42}, SEAM))
    result = run(collection, middle(SEAM), crs="none", max_distance_pixels=1)
    assert result.samples.num_rows == 0
    assert [letter.code for letter in result.dead_letters] == ["FETCH_ERROR"]
    (row,) = sample(
        collection, middle(SEAM), crs="none", max_distance_pixels=1, unmatched="emit",
    )
    assert (row["status"], row["value"]) == ("FETCH_ERROR", None)


def test_difference_an_unread_tile_beyond_the_winning_ring_changes_nothing(tmp_path):
    centre = (SEAM[0] + 1, SEAM[1] + 1)  # ring 1 lies in its own tile
    collection = broken_beside(tmp_path, with_pixels({(1, 1): 42}, centre))
    (row,) = sample(collection, middle(centre), crs="none", max_distance_pixels=3)
    assert row["value"] == 42.0


def test_difference_an_unread_tile_does_not_harm_a_valid_centre(tmp_path):
    collection = broken_beside(tmp_path, with_pixels({(0, 0): 7}, SEAM))
    (row,) = sample(collection, middle(SEAM), crs="none", max_distance_pixels=1)
    assert row["value"] == 7.0


def test_rule_3_6_unread_pixels_of_a_neighbourhood_are_nan(tmp_path):
    collection = broken_beside(tmp_path, with_pixels({(0, 0): 7}, SEAM))
    (row,) = sample(
        collection, middle(SEAM), crs="none", max_distance_pixels=1,
        return_neighbourhood="always",
    )
    expected = [np.nan, -9999, -9999, -9999, 7, -9999, -9999, -9999, -9999]
    assert same(row["neighbourhood_values"], expected)


# Neighbourhoods


def test_rule_3_6_neighbourhoods_run_row_by_row(tmp_path):
    pixels = np.arange(SIZE * SIZE, dtype=np.int16).reshape(SIZE, SIZE)
    row = row_at(
        tmp_path, scene(pixels), middle(CENTRE), max_distance_pixels=2,
        return_neighbourhood="always",
    )
    assert same(row["neighbourhood_values"], pixels[18:23, 18:23].reshape(-1))
    assert len(row["neighbourhood_values"]) == 25


def test_rule_3_6_neighbourhoods_are_nan_beyond_the_image(tmp_path):
    pixels = np.arange(SIZE * SIZE, dtype=np.int16).reshape(SIZE, SIZE)
    row = row_at(
        tmp_path, scene(pixels), middle((0, 39)), max_distance_pixels=1,
        return_neighbourhood="always",
    )
    nan = math.nan
    assert same(row["neighbourhood_values"], [nan, nan, nan, 38, 39, nan, 78, 79, nan])


def test_rule_3_6_neighbourhoods_keep_nodata_and_the_original_centre(tmp_path):
    pixels = with_pixels({(0, 1): 42})
    row = row_at(
        tmp_path, scene(pixels), middle(CENTRE), max_distance_pixels=1,
        return_neighbourhood="always",
    )
    assert same(row["neighbourhood_values"], [-9999] * 5 + [42] + [-9999] * 3)
    assert row["value"] == 42.0


def test_rule_3_6_if_center_nodata_lists_only_rows_whose_centre_was_nodata(tmp_path):
    pixels = with_pixels({(0, 1): 42})
    points = {"x": [20.5, 21.5], "y": [19.5, 19.5]}
    rows = sample(
        make_collection(tmp_path, [scene(pixels)]), points, crs="none", max_distance_pixels=1,
        return_neighbourhood="if_center_nodata",
    )
    assert [row["value"] for row in rows] == [42.0, 42.0]
    assert same(rows[0]["neighbourhood_values"], [-9999] * 5 + [42] + [-9999] * 3)
    assert rows[1]["neighbourhood_values"] is None


def test_rule_3_6_if_center_nodata_lists_rows_that_found_no_fallback(tmp_path):
    row = row_at(
        tmp_path, scene(empty()), middle(CENTRE), max_distance_pixels=1,
        return_neighbourhood="if_center_nodata",
    )
    assert same(row["neighbourhood_values"], [-9999] * 9)
    assert row["value"] == -9999.0


def test_rule_3_6_always_lists_every_row(tmp_path):
    pixels = with_pixels({(0, 1): 42})
    points = {"x": [20.5, 21.5, 0.5], "y": [19.5, 19.5, 0.5]}
    rows = sample(
        make_collection(tmp_path, [scene(pixels)]), points, crs="none", max_distance_pixels=1,
        return_neighbourhood="always",
    )
    assert [len(row["neighbourhood_values"]) for row in rows] == [9, 9, 9]


@pytest.mark.parametrize("corner", [(127, 127), (128, 128), (127, 128), (16, 15)])
def test_rule_3_6_neighbourhoods_cross_tiles_and_blocks(tmp_path, corner):
    pixels = np.arange(160 * 160, dtype=np.int32).reshape(160, 160)
    points = {"x": [corner[1] + 0.5], "y": [160 - corner[0] - 0.5]}
    row = row_at(
        tmp_path, scene(pixels), points, max_distance_pixels=2, return_neighbourhood="always",
    )
    top, left = corner[0] - 2, corner[1] - 2
    assert same(row["neighbourhood_values"], pixels[top : top + 5, left : left + 5].reshape(-1))


def test_rule_3_6_neighbourhoods_of_south_up_images_run_in_file_order(tmp_path):
    pixels = np.arange(SIZE * SIZE, dtype=np.int16).reshape(SIZE, SIZE)
    scale = (1.0, 1.0)
    row = row_at(
        tmp_path, scene(pixels, scale=scale), middle(CENTRE, scale), max_distance_pixels=1,
        return_neighbourhood="always",
    )
    assert same(row["neighbourhood_values"], pixels[19:22, 19:22].reshape(-1))


def test_rule_3_6_neighbourhoods_are_of_each_bands_own_pixels(tmp_path):
    pixels = np.stack([np.full((SIZE, SIZE), 1, np.int16), np.full((SIZE, SIZE), 2, np.int16)])
    rows = sample(
        make_collection(tmp_path, [scene(pixels)]), middle(CENTRE), ("B2", "B1"), crs="none",
        max_distance_pixels=1, return_neighbourhood="always",
    )
    found = {row["band"]: row["neighbourhood_values"] for row in rows}
    assert found == {"B1": [1.0] * 9, "B2": [2.0] * 9}
