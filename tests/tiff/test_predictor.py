"""Predictors, against the loops of the specifications."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from make_tiff import difference, difference_floats

from rasteret_beam.tiff.predictor import undo_floating_point, undo_horizontal

INTEGERS = ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8")
FLOATS = ("f2", "f4", "f8")


def _sums_by_loop(deltas: np.ndarray) -> np.ndarray:
    """TIFF 6.0, section 14, a sample at a time, in Python's integers."""
    modulus = 1 << (8 * deltas.dtype.itemsize)
    whole = deltas.view(f"u{deltas.dtype.itemsize}")
    out = whole.copy()
    rows, cols, samples = out.shape
    for row, col, sample in itertools.product(range(rows), range(1, cols), range(samples)):
        total = int(out[row, col - 1, sample]) + int(whole[row, col, sample])
        out[row, col, sample] = total % modulus
    return out.view(deltas.dtype)


def _floats_by_loop(encoded: bytes, dtype: np.dtype, shape: tuple[int, int, int]) -> np.ndarray:
    """TIFF technical note 3, a byte at a time."""
    rows, cols, samples = shape
    row_bytes, run = cols * samples * dtype.itemsize, cols * samples
    out = bytearray()
    for row in range(rows):
        line = bytearray(encoded[row * row_bytes : (row + 1) * row_bytes])
        for at in range(samples, row_bytes):
            line[at] = (line[at] + line[at - samples]) % 256
        for at in range(run):
            out += bytes(line[plane * run + at] for plane in range(dtype.itemsize))
    return np.frombuffer(bytes(out), dtype.newbyteorder(">")).reshape(shape).astype(dtype)


def _noise(dtype: str, shape: tuple[int, ...], seed: int = 5) -> np.ndarray:
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.random.default_rng(seed).integers(0, 256, size, np.uint8).view(dtype).reshape(shape)


@pytest.mark.parametrize("samples", [1, 2, 3, 5])
@pytest.mark.parametrize("dtype", INTEGERS + FLOATS)
def test_horizontal_sums_equal_the_loop_of_the_specification(dtype, samples):
    deltas = _noise(dtype, (3, 11, samples))
    expected = _sums_by_loop(deltas)
    undo_horizontal(deltas)
    assert deltas.tobytes() == expected.tobytes()


@pytest.mark.parametrize("samples", [1, 2, 3, 5])
@pytest.mark.parametrize("dtype", FLOATS)
def test_floating_point_planes_equal_the_loop_of_the_note(dtype, samples):
    shape = (3, 11, samples)
    kind = np.dtype(dtype)
    encoded = _noise("u1", (*shape, kind.itemsize))
    found = undo_floating_point(encoded, kind)
    assert found.tobytes() == _floats_by_loop(encoded.tobytes(), kind, shape).tobytes()
    assert found.shape == shape


@pytest.mark.parametrize("rows", [136, 137, 300])
def test_floating_point_is_undone_in_rows_that_are_many(rows):
    shape, kind = (rows, 60, 2), np.dtype("f4")
    encoded = _noise("u1", (*shape, 4))
    found = undo_floating_point(encoded, kind)
    assert found.tobytes() == _floats_by_loop(encoded.tobytes(), kind, shape).tobytes()


def test_horizontal_is_undone_in_place():
    pixels = np.array([[[10], [1], [1]]], np.uint8)
    assert undo_horizontal(pixels) is None
    assert pixels.ravel().tolist() == [10, 11, 12]


def test_horizontal_starts_anew_in_every_row():
    pixels = np.array([[[10], [1]], [[20], [1]]], np.int16)
    undo_horizontal(pixels)
    assert pixels[..., 0].tolist() == [[10, 11], [20, 21]]


def test_horizontal_wraps_around():
    pixels = np.array([[[250], [10]]], np.uint8)
    undo_horizontal(pixels)
    assert pixels.ravel().tolist() == [250, 4]


def test_one_column_has_no_differences():
    pixels = _noise("u4", (7, 1, 2))
    expected = pixels.copy()
    undo_horizontal(pixels)
    np.testing.assert_array_equal(pixels, expected)


def test_floating_point_of_one_pixel_is_its_bytes_summed_from_the_first():
    encoded = np.array([0x3F, 0x80 - 0x3F, -0x80 % 256, 0], np.uint8).reshape(1, 1, 1, 4)
    assert undo_floating_point(encoded, np.dtype("f4")).item() == 1.0


@given(
    dtype=st.sampled_from(INTEGERS + FLOATS),
    shape=st.tuples(st.integers(1, 6), st.integers(1, 20), st.integers(1, 4)),
    seed=st.integers(0, 2**32 - 1),
)
def test_horizontal_differences_sum_to_the_pixels(dtype, shape, seed):
    pixels = _noise(dtype, shape, seed)
    deltas = difference(pixels)
    undo_horizontal(deltas)
    assert deltas.tobytes() == pixels.tobytes()


@given(
    dtype=st.sampled_from(FLOATS),
    shape=st.tuples(st.integers(1, 6), st.integers(1, 20), st.integers(1, 4)),
    seed=st.integers(0, 2**32 - 1),
)
def test_floating_point_planes_sum_to_the_pixels(dtype, shape, seed):
    pixels = _noise(dtype, shape, seed)
    encoded = np.frombuffer(difference_floats(pixels), np.uint8)
    encoded = encoded.reshape(*shape, pixels.dtype.itemsize)
    assert undo_floating_point(encoded, pixels.dtype).tobytes() == pixels.tobytes()
