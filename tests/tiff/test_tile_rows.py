"""Wanted rows of stored tiles: the same pixels as of the whole tile, for less work."""

from __future__ import annotations

import dataclasses
import itertools
import zlib

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from make_tiff import TiffOptions, compress, encode_tile

from rasteret_beam.elements import TileLayout
from rasteret_beam.errors import DecodeError
from rasteret_beam.tiff import tile as tiles
from rasteret_beam.tiff.compression import PREDICTABLE, PREFIX_DECODERS
from rasteret_beam.tiff.tags import Compression
from rasteret_beam.tiff.tile import decode_rows, decode_tile, stored_rows

DTYPES = ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8")
BYTE_CODECS = (
    Compression.NONE, Compression.LZW, Compression.ADOBE_DEFLATE, Compression.DEFLATE,
    Compression.PACKBITS, Compression.LZMA, Compression.ZSTD,
)  # fmt: skip
IMAGE_CODECS = (
    Compression.JPEG, Compression.WEBP, Compression.LERC, Compression.JPEG_XL,
    Compression.JPEG_2000,
)  # fmt: skip
CODED = [
    pytest.param(codec, predictor, id=f"{codec.name}-{predictor}")
    for codec, predictor in itertools.product(BYTE_CODECS, (1, 2, 3))
    if predictor == 1 or codec in PREDICTABLE
]
SIDES = st.tuples(st.integers(1, 48), st.integers(1, 24))
SEEDS = st.integers(0, 2**32 - 1)
SPARED_BYTES = tiles._SPARED_BYTES


@pytest.fixture(autouse=True, scope="module")
def _small_tiles_are_decoded_in_part_too():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "_SPARED_BYTES", 0)
        yield


def _noise(dtype: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Any bit pattern the type has; half of the bytes repeat, for codecs to find."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.random.default_rng(seed).integers(0, 256, size, np.uint8)
    raw[size // 4 : size // 2] = 7
    return raw.view(dtype).reshape(shape)


def _layout(block: np.ndarray, **fields: object) -> TileLayout:
    height, width, samples = block.shape
    bits = fields.pop("bits_per_sample", block.dtype.itemsize * 8)
    return TileLayout(
        tile_width=width, tile_height=height, dtype=block.dtype.name, samples=samples,
        bits_per_sample=bits, **fields,
    )  # fmt: skip


def _some_rows(data: st.DataObject, height: int) -> np.ndarray:
    rows = data.draw(st.sets(st.integers(0, height - 1), min_size=1), label="rows")
    return np.array(sorted(rows), np.int64)


def _as_handed(data: st.DataObject, stream: bytes) -> bytes | memoryview:
    """Bytes, or a slice of a longer response that begins anywhere."""
    before = data.draw(st.integers(-1, 3), label="bytes before, or none of it")
    return stream if before < 0 else memoryview(bytes(before) + stream + b"xyz")[before:-3]


def _assert_rows_of(found: tiles.DecodedTile, block: np.ndarray, rows: np.ndarray) -> None:
    """The block (row, col, sample) holds what the tile should, bit by bit."""
    expected = np.moveaxis(block, -1, 0)
    if found.rows is not None:
        np.testing.assert_array_equal(found.rows, rows)
        expected = expected[:, rows]
    assert found.pixels.dtype == block.dtype
    assert found.pixels.shape == expected.shape
    assert found.pixels.tobytes() == expected.tobytes()


@pytest.mark.parametrize(("compression", "predictor"), CODED)
@given(
    data=st.data(), dtype=st.sampled_from(DTYPES), side=SIDES, samples=st.integers(1, 4),
    byte_order=st.sampled_from("<>"), bits_known=st.booleans(), seed=SEEDS,
)  # fmt: skip
def test_rows_are_those_of_the_tile(
    *, compression, predictor, data, dtype, side, samples, byte_order, bits_known, seed,
):
    predictor = predictor if predictor < 3 or dtype.startswith("f") else 2
    block = _noise(dtype, (*side, samples), seed)
    options = TiffOptions(compression=compression, predictor=predictor, byte_order=byte_order)
    layout = _layout(
        block, compression=compression, predictor=predictor, byte_order=byte_order,
        bits_per_sample=block.dtype.itemsize * 8 if bits_known else None,
    )  # fmt: skip
    stream, rows = encode_tile(block, options), _some_rows(data, side[0])
    found = decode_rows(_as_handed(data, stream), layout, rows)
    _assert_rows_of(found, block, rows)
    assert decode_tile(stream, layout).tobytes() == np.moveaxis(block, -1, 0).tobytes()


@pytest.mark.parametrize("compression", BYTE_CODECS)
@given(
    data=st.data(), bits=st.integers(1, 63), side=SIDES, samples=st.integers(1, 3),
    byte_order=st.sampled_from("<>"), bits_known=st.booleans(), seed=SEEDS,
)  # fmt: skip
def test_rows_of_packed_bits_are_those_of_the_tile(
    *, compression, data, bits, side, samples, byte_order, bits_known, seed,
):
    bits = bits if bits not in (8, 16, 32) else 12
    dtype = next(f"u{size}" for size in (1, 2, 4, 8) if bits < size * 8)
    block = _noise(dtype, (*side, samples), seed) >> (np.dtype(dtype).itemsize * 8 - bits)
    options = TiffOptions(
        compression=compression, bits_per_sample=bits, byte_order=byte_order,
    )
    layout = _layout(
        block, compression=compression, byte_order=byte_order, bits_per_sample=bits,
    )
    rows = _some_rows(data, side[0])
    stream = _as_handed(data, encode_tile(block, options))
    _assert_rows_of(decode_rows(stream, layout, rows), block, rows)
    if bits_known:
        return
    # What fits no other number of bits is told by its length.
    layout = dataclasses.replace(layout, bits_per_sample=None)
    try:
        whole = decode_tile(stream, layout)
    except DecodeError:
        with pytest.raises(DecodeError):
            decode_rows(stream, layout, rows)
        return
    _assert_rows_of(decode_rows(stream, layout, rows), np.moveaxis(whole, 0, -1), rows)


@pytest.mark.parametrize("compression", IMAGE_CODECS)
@given(data=st.data())
def test_rows_of_image_codecs_are_those_of_the_tile(compression, data):
    block = np.add.outer(np.arange(32) * 3, np.arange(32) * 4).astype("u1")
    block = np.stack([block, block + 9, block + 18], axis=-1)
    layout = _layout(block, compression=compression, photometric=6)
    stream, rows = encode_tile(block, TiffOptions(compression=compression)), _some_rows(data, 32)
    whole = np.moveaxis(decode_tile(stream, layout), 0, -1)
    _assert_rows_of(decode_rows(_as_handed(data, stream), layout, rows), whole, rows)


@pytest.mark.parametrize("wrap", ["deflate", "zstd"])
def test_wrapped_lerc_is_read_from_a_slice(wrap):
    block = np.random.default_rng(2).integers(0, 100, (32, 32, 1)).astype("u2")
    options = TiffOptions(compression=Compression.LERC, lerc_compression=wrap)
    stream = memoryview(b"before" + encode_tile(block, options))[6:]
    found = decode_tile(stream, _layout(block, compression=Compression.LERC))
    np.testing.assert_array_equal(found[0], block[..., 0])


@pytest.mark.parametrize(
    ("compression", "predictor", "dtype"),
    [
        (Compression.DEFLATE, 2, "u2"), (Compression.DEFLATE, 3, "f4"),
        (Compression.ZSTD, 1, "i1"), (Compression.ZSTD, 2, "u2"),
        (Compression.LZW, 2, "u2"), (Compression.LZMA, 2, "u2"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("last", [0, 1, 100, 255, 300, 447, 448, 449, 510, 511])
def test_rows_of_large_tiles_are_those_of_the_tile(compression, predictor, dtype, last):
    ramp = np.add.outer(np.arange(512) * 3, np.arange(512)) // 5
    block = (ramp + _noise("u1", (512, 512), 3) // 16)[..., np.newaxis].astype(dtype)
    # Streams are dense at the top and thin below, or the other way round.
    for part in (block, block[::-1].copy()):
        part[300:] = 0
        stream = encode_tile(part, TiffOptions(compression=compression, predictor=predictor))
        layout = _layout(part, compression=compression, predictor=predictor, byte_order="<")
        rows = np.unique([0, last // 2, last])
        found = decode_rows(stream, layout, rows)
        assert found.rows is not None
        _assert_rows_of(found, part, rows)


def test_all_rows_are_none():
    block = _noise("u2", (16, 8, 1), 1)
    layout = _layout(block, compression=Compression.NONE, byte_order="<")
    found = decode_rows(block.tobytes(), layout, np.arange(16))
    assert found.rows is None
    _assert_rows_of(found, block, np.arange(16))


@pytest.mark.parametrize("compression", [*BYTE_CODECS, Compression.LERC])
def test_few_rows_do_not_hold_the_tile_in_memory(compression):
    block = _noise("u2", (64, 8, 1), 1)
    stream = encode_tile(block, TiffOptions(compression=compression))
    layout = _layout(block, compression=compression, byte_order="<")
    found = decode_rows(stream, layout, np.array([0, 63])).pixels
    while found.base is not None:
        found = found.base
    assert found.nbytes == 2 * 8 * 2


@pytest.mark.parametrize("compression", PREFIX_DECODERS)
def test_a_stream_is_left_behind_the_last_wanted_row(compression):
    block = _noise("u2", (512, 256, 1), 5)
    stream = encode_tile(block, TiffOptions(compression=compression))
    layout = _layout(block, compression=compression, byte_order="<")
    cut, rows = stream[: len(stream) * 7 // 8], np.array([3, 120])
    _assert_rows_of(decode_rows(cut, layout, rows), block, rows)
    for beyond in (np.array([3, 450]), np.array([3, 511]), None):
        with pytest.raises(DecodeError):
            decode_rows(cut, layout, beyond)


@pytest.mark.parametrize("compression", PREFIX_DECODERS)
def test_a_stream_that_ends_with_the_last_wanted_row_is_an_error(compression):
    block = _noise("u2", (64, 16, 1), 5)
    layout = _layout(block, compression=compression, byte_order="<")
    options, rows = TiffOptions(compression=compression), np.array([0, 31])
    with pytest.raises(DecodeError, match="decodes to 1024 bytes, expected 2048"):
        decode_rows(encode_tile(block[:32], options), layout, rows)
    # By a byte more it is not seen.
    longer = compress(block[:32].tobytes() + b"x", compression)
    _assert_rows_of(decode_rows(longer, layout, rows), block, rows)


def test_small_tiles_are_decoded_whole_and_their_checksums_read(monkeypatch):
    monkeypatch.setattr(tiles, "_SPARED_BYTES", SPARED_BYTES)
    block = _noise("u2", (128, 128, 1), 5)
    stream = bytearray(zlib.compress(block.tobytes()))
    stream[-1] ^= 1
    layout = _layout(block, compression=Compression.DEFLATE)
    with pytest.raises(DecodeError):
        decode_rows(bytes(stream), layout, np.array([0]))


@pytest.mark.parametrize("compression", BYTE_CODECS)
@given(data=st.data(), seed=SEEDS)
def test_rows_of_a_stream_with_a_changed_byte_are_those_of_its_tile_or_an_error(
    compression, data, seed,
):
    block = _noise("u1", (40, 8, 1), seed)
    stream = bytearray(encode_tile(block, TiffOptions(compression=compression)))
    stream[data.draw(st.integers(0, len(stream) - 1))] ^= data.draw(st.integers(1, 255))
    layout, rows = _layout(block, compression=compression), _some_rows(data, 40)
    try:
        whole = decode_tile(bytes(stream), layout)
    except DecodeError:
        whole = None
    try:
        found = decode_rows(bytes(stream), layout, rows)
    except DecodeError:
        assert whole is None
        return
    if whole is not None:
        _assert_rows_of(found, np.moveaxis(whole, 0, -1), rows)


@pytest.mark.parametrize("compression", BYTE_CODECS)
@given(noise=st.binary(max_size=400))
def test_rows_of_noise_are_pixels_or_a_decode_error(compression, noise):
    layout = _layout(np.empty((16, 16, 1), "u1"), compression=compression)
    try:
        found = decode_rows(noise, layout, np.array([2, 9]))
    except DecodeError:
        return
    assert found.pixels.shape == (1, 2, 16)


def test_a_zstd_window_too_large_to_stream_is_decoded_whole(monkeypatch):
    block = _noise("u2", (64, 16, 1), 5)
    stream = imagecodecs.zstd_encode(block.tobytes())

    def refuse(*_: object) -> bytes:
        msg = "Frame requires too much memory for decoding"
        raise OSError(msg)

    monkeypatch.setitem(PREFIX_DECODERS, Compression.ZSTD, refuse)
    layout = _layout(block, compression=Compression.ZSTD, byte_order="<")
    _assert_rows_of(decode_rows(stream, layout, np.array([4])), block, np.array([4]))


@given(
    data=st.data(), dtype=st.sampled_from(DTYPES), side=SIDES, samples=st.integers(1, 4),
    byte_order=st.sampled_from("<>"), bits_known=st.booleans(), seed=SEEDS,
    predictor=st.sampled_from([1, 2]), more=st.sampled_from([0, 5]),
)  # fmt: skip
def test_stored_rows_of_an_uncompressed_tile_are_enough(
    *, data, dtype, side, samples, byte_order, bits_known, seed, predictor, more,
):
    block = _noise(dtype, (*side, samples), seed)
    layout = _layout(
        block, compression=Compression.NONE, byte_order=byte_order, predictor=predictor,
        bits_per_sample=block.dtype.itemsize * 8 if bits_known else None,
    )  # fmt: skip
    stream = encode_tile(block, TiffOptions(byte_order=byte_order)) + bytes(more)
    rows = _some_rows(data, side[0])
    span = stored_rows(layout, len(stream), rows)
    if more and not bits_known:
        assert span is None
        return
    skip, length = span
    row_bytes = block[0].nbytes
    assert (skip, length) == (rows[0] * row_bytes, (rows[-1] + 1 - rows[0]) * row_bytes)
    found = decode_rows(_as_handed(data, stream[skip : skip + length]), layout, rows, skip)
    _assert_rows_of(found, block, rows)
    assert (found.rows is None) == (len(rows) == side[0])


@given(
    data=st.data(), bits=st.sampled_from([9, 10, 12, 13, 15]), side=SIDES,
    samples=st.integers(1, 3), seed=SEEDS,
)  # fmt: skip
def test_stored_rows_of_packed_bits_are_enough(data, bits, side, samples, seed):
    block = _noise("u2", (*side, samples), seed) >> (16 - bits)
    layout = _layout(block, compression=Compression.NONE, bits_per_sample=bits)
    stream, rows = encode_tile(block, TiffOptions(bits_per_sample=bits)), _some_rows(data, side[0])
    skip, length = stored_rows(layout, len(stream), rows)
    assert length <= (rows[-1] + 1 - rows[0]) * (side[1] * samples * bits // 8 + 1)
    found = decode_rows(stream[skip : skip + length], layout, rows, skip)
    _assert_rows_of(found, block, rows)


@pytest.mark.parametrize("compression", [c for c in Compression if c != Compression.NONE])
def test_stored_rows_of_a_compressed_tile_are_not_told(compression):
    layout = _layout(np.empty((16, 16, 1), "u1"), compression=compression)
    assert stored_rows(layout, 256, np.array([3])) is None


@pytest.mark.parametrize("bits_known", [True, False])
def test_stored_rows_of_a_tile_cut_short_are_not_told(bits_known):
    layout = _layout(
        np.empty((16, 16, 1), "u1"), compression=Compression.NONE,
        bits_per_sample=8 if bits_known else None,
    )  # fmt: skip
    assert stored_rows(layout, 255, np.array([3])) is None


def test_stored_rows_cut_short_are_an_error():
    layout = _layout(np.empty((16, 16, 1), "u1"), compression=Compression.NONE)
    with pytest.raises(DecodeError, match="47 bytes, expected 48"):
        decode_rows(bytes(47), layout, np.array([3, 5]), 48)
