"""LZW streams that no writer makes, and that decoders must survive."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rasteret_beam.elements import TileLayout
from rasteret_beam.errors import DecodeError
from rasteret_beam.tiff import lzw
from rasteret_beam.tiff.tags import Compression
from rasteret_beam.tiff.tile import decode_tile

CLEAR, END, FIRST_STRING = 256, 257, 258
LAYOUT = TileLayout(
    tile_width=16, tile_height=16, dtype="uint8", samples=1, bits_per_sample=8,
    compression=Compression.LZW,
)  # fmt: skip
BIT_ORDERS = pytest.mark.parametrize("is_old", [False, True], ids=["new", "old"])
RUNS = st.lists(
    st.one_of(
        st.lists(st.integers(0, 255), min_size=1, max_size=20),
        st.tuples(st.integers(0, 255), st.integers(300, 4500)).map(lambda of: [of[0]] * of[1]),
    ),
    max_size=6,
)


@pytest.fixture(autouse=True)
def _no_version_is_trusted(monkeypatch):
    monkeypatch.setattr(lzw, "_IS_TRUSTING", True)


def _stream(runs, *, is_old=False):
    """Runs of codes, a clear code before each, as bytes (TIFF 6.0, section 13)."""
    text, width = "", 9
    for run in runs:
        for at, code in enumerate([CLEAR, *run]):
            # The clear code and the first one make no string.
            width = _width(258 + max(at - 2, 0), is_old=is_old) if at else width
            bits = f"{code:0{width}b}"
            text += bits[::-1] if is_old else bits
        width = _width(258 + len(run) - 1, is_old=is_old)
    text += "0" * (-len(text) % 8)
    step = -1 if is_old else 1
    return bytes(int(text[at : at + 8][::step], 2) for at in range(0, len(text), 8))


def _width(n_strings, *, is_old):
    return 9 + sum(n_strings >= (1 << width) - 1 + is_old for width in (9, 10, 11))


@BIT_ORDERS
@given(runs=RUNS, wrong=st.integers(FIRST_STRING, 511), rest=st.binary(max_size=20))
def test_a_string_behind_a_clear_code_is_told(runs, wrong, rest, is_old):
    plain = bytes(code for run in runs for code in run)
    stream = _stream([*runs, [wrong]], is_old=is_old) + rest
    assert lzw.decode(stream, len(plain)).tobytes() == plain
    with pytest.raises(DecodeError, match=f"LZW code {wrong} follows a clear code"):
        lzw.decode(stream, len(plain) + 1)


@BIT_ORDERS
@given(runs=RUNS, is_ended=st.booleans())
def test_sound_streams_are_left_as_they_are(runs, is_ended, is_old):
    plain = bytes(code for run in runs for code in run)
    stream = _stream([*runs, [END]] if is_ended else [*runs, [0]], is_old=is_old)
    assert lzw.wrong_code(stream) is None
    assert lzw.decode(stream, len(plain)).tobytes() == plain


@given(st.integers(0, 2**32), st.integers(1, 60_000), st.sampled_from([1, 3, 40, 128]))
def test_what_an_encoder_writes_is_sound(seed, size, step):
    steps = np.random.default_rng(seed).integers(-step, step + 1, size)
    plain = np.cumsum(steps).astype(np.uint8).tobytes()
    stream = imagecodecs.lzw_encode(plain)
    assert lzw.wrong_code(stream) is None
    assert lzw.decode(stream, size).tobytes() == plain


@BIT_ORDERS
def test_a_tile_of_such_a_stream_is_a_decode_error(is_old):
    with pytest.raises(DecodeError, match="LZW code 300"):
        decode_tile(_stream([[7] * 40, [300, 1, 2]], is_old=is_old), LAYOUT)


def test_a_table_that_is_cleared_all_the_time_is_refused_before_it_takes_long():
    runs = [[at % 256] for at in range(3000)]
    assert lzw.decode(_stream(runs[:900]), 900).tobytes() == bytes(at % 256 for at in range(900))
    with pytest.raises(DecodeError, match="clears its codes too often in its first"):
        lzw.decode(_stream(runs), 3000)


@given(st.binary(max_size=300))
def test_noise_is_bytes_or_an_error(noise):
    try:
        found = decode_tile(b"\x80" + noise, LAYOUT)
    except DecodeError:
        return
    assert found.shape == (1, 16, 16)
