"""Stored tiles -> pixels, over the product of what a TIFF can choose."""

from __future__ import annotations

import dataclasses
import io
import itertools

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from make_tiff import TiffOptions, encode_tile, make_tiff

from rasteret_beam.elements import TileLayout
from rasteret_beam.errors import DecodeError
from rasteret_beam.tiff.compression import PREDICTABLE
from rasteret_beam.tiff.gdal_metadata import parse_nodata
from rasteret_beam.tiff.header import read_header
from rasteret_beam.tiff.tags import Compression
from rasteret_beam.tiff.tile import decode_tile, sparse_tile

DTYPES = ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8")
LOSSLESS = (
    Compression.NONE, Compression.LZW, Compression.ADOBE_DEFLATE, Compression.DEFLATE,
    Compression.PACKBITS, Compression.LZMA, Compression.ZSTD,
)  # fmt: skip
LAYOUT = TileLayout(
    tile_width=16, tile_height=16, dtype="uint16", samples=1,
    compression=Compression.NONE, bits_per_sample=16,
)  # fmt: skip


def _legal(dtype: str, compression: int, predictor: int) -> bool:
    if predictor != 1 and compression not in PREDICTABLE:
        return False
    return predictor != 3 or dtype.startswith("f")


PRODUCT = [
    pytest.param(*case, id="-".join(str(int(v) if isinstance(v, int) else v) for v in case))
    for case in itertools.product(DTYPES, LOSSLESS, (1, 2, 3), (False, True), "<>")
    if _legal(*case[:3])
]


def _noise(dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """Any bit pattern the type has but NaN, which does not equal itself."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.random.default_rng(7).integers(0, 256, size, np.uint8)
    pixels = raw.view(dtype).reshape(shape)
    return np.nan_to_num(pixels, nan=1.5) if dtype.startswith("f") else pixels


def _read(data: bytes, *, bits_known: bool = True) -> np.ndarray:
    """Reads a file's pixels, shape (band, row, col), tile by tile."""
    header = read_header(io.BytesIO(data))
    planar = header.planar_configuration == 2
    layout = TileLayout(
        tile_width=header.tile_width, tile_height=header.tile_height, dtype=header.dtype,
        samples=1 if planar else header.samples_per_pixel, compression=header.compression,
        predictor=header.predictor, byte_order=header.byte_order,
        bits_per_sample=header.bits_per_sample if bits_known else None,
        photometric=header.photometric, jpeg_tables=header.jpeg_tables,
        nodata=parse_nodata(header.nodata_text),
    )  # fmt: skip
    across = -(-header.width // header.tile_width)
    shape = (header.samples_per_pixel, header.tiles_per_plane // across * header.tile_height)
    pixels = np.zeros((*shape, across * header.tile_width), header.dtype)
    tables = zip(header.tile_offsets, header.tile_byte_counts, strict=True)
    for number, (offset, count) in enumerate(tables):
        plane, in_plane = divmod(number, header.tiles_per_plane)
        row, col = (in_plane // across) * 16, (in_plane % across) * 16
        tile = decode_tile(data[offset : offset + count], layout) if count else sparse_tile(layout)
        samples = slice(plane, plane + 1) if planar else slice(None)
        pixels[samples, row : row + 16, col : col + 16] = tile
    return pixels[:, : header.height, : header.width]


@pytest.mark.parametrize(("dtype", "compression", "predictor", "planar", "byte_order"), PRODUCT)
def test_decoded_pixels_are_the_written_ones(dtype, compression, predictor, planar, byte_order):
    pixels = _noise(dtype, (2, 21, 37))
    data = make_tiff(
        pixels, compression=compression, predictor=predictor, planar=planar,
        byte_order=byte_order,
    )  # fmt: skip
    found = _read(data)
    assert found.dtype == pixels.dtype
    np.testing.assert_array_equal(found, pixels)


@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize("predictor", [1, 2, 3])
def test_nan_and_infinity_keep_their_bits(predictor, byte_order):
    block = np.array([np.nan, np.inf, -np.inf, -0.0], "f4").repeat(64).reshape(16, 16)
    options = TiffOptions(
        compression=Compression.ZSTD, predictor=predictor, byte_order=byte_order,
    )
    layout = dataclasses.replace(
        LAYOUT, dtype="float32", bits_per_sample=32, compression=Compression.ZSTD,
        predictor=predictor, byte_order=byte_order,
    )  # fmt: skip
    found = decode_tile(encode_tile(block[..., np.newaxis], options), layout)
    np.testing.assert_array_equal(found[0].view("u4"), block.view("u4"))


@pytest.mark.parametrize("bits_known", [True, False])
@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize("bits", [b for b in range(1, 32) if b not in (8, 16)])
def test_packed_bits_are_unpacked_row_by_row(bits, byte_order, bits_known):
    dtype = "u1" if bits < 8 else "u2" if bits < 16 else "u4"
    pixels = np.random.default_rng(3).integers(0, 2**bits, (3, 18, 21)).astype(dtype)
    data = make_tiff(
        pixels, bits_per_sample=bits, byte_order=byte_order,
        compression=Compression.ADOBE_DEFLATE,
    )  # fmt: skip
    np.testing.assert_array_equal(_read(data, bits_known=bits_known), pixels)


@pytest.mark.parametrize("bits", [33, 40, 47, 63])
def test_packed_bits_beyond_32_are_unpacked(bits):
    pixels = np.random.default_rng(3).integers(0, 2**bits, (1, 18, 21), np.uint64)
    np.testing.assert_array_equal(_read(make_tiff(pixels, bits_per_sample=bits)), pixels)


@pytest.mark.parametrize(("dtype", "bits"), [("i1", 5), ("i2", 12), ("i4", 20), ("i8", 40)])
def test_packed_signed_samples_keep_their_sign(dtype, bits):
    half = 2 ** (bits - 1)
    pixels = np.random.default_rng(3).integers(-half, half, (1, 18, 21)).astype(dtype)
    np.testing.assert_array_equal(_read(make_tiff(pixels, bits_per_sample=bits)), pixels)


def test_rows_of_packed_bits_end_on_a_whole_byte():
    pixels = np.random.default_rng(3).integers(0, 8, (1, 5, 7)).astype("u1")
    options = TiffOptions(bits_per_sample=3)
    layout = dataclasses.replace(
        LAYOUT, tile_width=7, tile_height=5, dtype="uint8", bits_per_sample=3,
    )
    stored = encode_tile(np.moveaxis(pixels, 0, -1), options)
    assert len(stored) == 5 * 3
    np.testing.assert_array_equal(decode_tile(stored, layout), pixels)


@pytest.mark.parametrize("dtype", ["u1", "i2", "u4", "f4", "f8"])
def test_unknown_bits_are_those_of_the_dtype_where_the_length_says_so(dtype):
    pixels = _noise(dtype, (2, 20, 20))
    data = make_tiff(pixels, compression=Compression.LZW)
    np.testing.assert_array_equal(_read(data, bits_known=False), pixels)


def test_unknown_byte_order_is_the_machines_own():
    pixels = _noise("u2", (1, 16, 16))
    np.testing.assert_array_equal(decode_tile(pixels.tobytes(), LAYOUT), pixels)


def test_unknown_bits_of_a_length_that_fits_none_are_an_error():
    layout = dataclasses.replace(LAYOUT, bits_per_sample=None)
    with pytest.raises(DecodeError, match="expected 512"):
        decode_tile(bytes(500), layout)


def test_float_of_packed_bits_is_an_error():
    layout = dataclasses.replace(LAYOUT, dtype="float32", bits_per_sample=24)
    with pytest.raises(DecodeError, match="24 bits"):
        decode_tile(bytes(16 * 16 * 3), layout)


def test_bytes_behind_an_uncompressed_tile_are_left_alone():
    pixels = _noise("u2", (1, 16, 16))
    found = decode_tile(pixels.tobytes() + b"more", dataclasses.replace(LAYOUT, byte_order="<"))
    np.testing.assert_array_equal(found, pixels)


def test_axes_are_sample_row_col():
    layout = dataclasses.replace(LAYOUT, tile_width=5, tile_height=4, samples=3, dtype="uint8")
    layout = dataclasses.replace(layout, bits_per_sample=8)
    found = decode_tile(bytes(range(60)), layout)
    assert found.shape == (3, 4, 5)
    assert found[:, 0, 1].tolist() == [3, 4, 5]
    assert found[0, 1, 0] == 15


def test_unknown_compression_is_an_error():
    with pytest.raises(DecodeError, match="34661"):
        decode_tile(bytes(512), dataclasses.replace(LAYOUT, compression=34661))


@pytest.mark.parametrize("compression", [c for c in Compression if c != Compression.PACKBITS])
def test_noise_is_an_error(compression):
    noise = np.random.default_rng(11).integers(0, 256, 300, np.uint8).tobytes()
    layout = dataclasses.replace(LAYOUT, compression=compression)
    with pytest.raises(DecodeError):
        decode_tile(noise, layout)


@pytest.mark.parametrize("compression", list(Compression))
def test_an_empty_stream_is_an_error(compression):
    with pytest.raises(DecodeError):
        decode_tile(b"", dataclasses.replace(LAYOUT, compression=compression))


@pytest.mark.parametrize("compression", LOSSLESS)
def test_a_stream_cut_in_half_is_an_error(compression):
    block = _noise("u2", (16, 16, 1))
    stream = encode_tile(block, TiffOptions(compression=compression))
    with pytest.raises(DecodeError):
        decode_tile(
            stream[: len(stream) // 2], dataclasses.replace(LAYOUT, compression=compression),
        )


@pytest.mark.parametrize("compression", LOSSLESS)
def test_a_whole_stream_of_too_few_bytes_is_an_error(compression):
    stream = encode_tile(_noise("u2", (15, 16, 1)), TiffOptions(compression=compression))
    with pytest.raises(DecodeError):
        decode_tile(stream, dataclasses.replace(LAYOUT, compression=compression))


@pytest.mark.parametrize("compression", [Compression.ADOBE_DEFLATE, Compression.DEFLATE])
def test_a_deflate_stream_of_too_many_bytes_gives_the_first(compression):
    block = _noise("u2", (20, 16, 1))
    stream = encode_tile(block, TiffOptions(compression=compression))
    found = decode_tile(stream, dataclasses.replace(LAYOUT, compression=compression))
    np.testing.assert_array_equal(found[0], block[:16, :, 0])


def test_a_sparse_tile_holds_nodata():
    found = sparse_tile(dataclasses.replace(LAYOUT, nodata=777.0, samples=2))
    assert found.shape == (2, 16, 16)
    assert found.dtype == np.uint16
    assert (found == 777).all()


@pytest.mark.parametrize("nodata", [None, float("nan")])
def test_a_sparse_integer_tile_is_0_where_nodata_is_none_or_nan(nodata):
    assert (sparse_tile(dataclasses.replace(LAYOUT, nodata=nodata)) == 0).all()


@pytest.mark.parametrize(
    ("dtype", "nodata", "expected"),
    [
        ("uint16", -1.0, 0), ("uint16", 70000, 65535), ("uint16", 1.5, 2), ("int16", -1.5, -2),
        ("uint8", 254.5, 255), ("int8", float("-inf"), -128), ("int64", 1e300, 2**63 - 1),
        ("uint64", float(2**64), 2**64 - 1), ("int64", -float(2**63), -(2**63)),
    ],
)  # fmt: skip
def test_a_sparse_integer_tile_holds_the_integer_nearest_to_nodata(dtype, nodata, expected):
    found = sparse_tile(dataclasses.replace(LAYOUT, dtype=dtype, nodata=nodata))
    assert found.dtype == dtype
    assert (found == np.array(expected, dtype)).all()


def test_a_sparse_float_tile_holds_nan_nodata():
    layout = dataclasses.replace(LAYOUT, dtype="float32", nodata=float("nan"))
    assert np.isnan(sparse_tile(layout)).all()


def test_a_sparse_64_bit_tile_holds_nodata_to_the_last_digit():
    layout = dataclasses.replace(LAYOUT, dtype="int64", nodata=-(2**63) + 1)
    assert (sparse_tile(layout) == -(2**63) + 1).all()


def test_sparse_tiles_lie_between_stored_ones():
    pixels = _noise("u2", (1, 32, 32))
    found = _read(make_tiff(pixels, sparse=[1, 2], nodata="9", compression=Compression.ZSTD))
    np.testing.assert_array_equal(found[:, :16, :16], pixels[:, :16, :16])
    assert (found[:, :16, 16:] == 9).all()
    assert (found[:, 16:, :16] == 9).all()


@given(
    kind=st.sampled_from(list(itertools.product(DTYPES, LOSSLESS, (1, 2, 3)))),
    byte_order=st.sampled_from("<>"),
    tile=st.tuples(st.integers(1, 40), st.integers(1, 40)), samples=st.integers(1, 5),
    seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_decoding_undoes_encoding(kind, byte_order, tile, samples, seed):
    dtype, compression, predictor = kind if _legal(*kind) else (*kind[:2], 1)
    block = np.random.default_rng(seed).integers(0, 127, (*tile, samples)).astype(dtype)
    options = TiffOptions(compression=compression, predictor=predictor, byte_order=byte_order)
    layout = TileLayout(
        tile_width=tile[1], tile_height=tile[0], dtype=np.dtype(dtype).name, samples=samples,
        compression=compression, predictor=predictor, byte_order=byte_order,
        bits_per_sample=block.dtype.itemsize * 8,
    )  # fmt: skip
    found = decode_tile(encode_tile(block, options), layout)
    np.testing.assert_array_equal(found, np.moveaxis(block, -1, 0))


@given(noise=st.binary(max_size=400), compression=st.sampled_from(Compression))
def test_noise_gives_pixels_or_a_decode_error_and_nothing_else(noise, compression):
    layout = dataclasses.replace(LAYOUT, dtype="uint8", bits_per_sample=8, compression=compression)
    try:
        found = decode_tile(noise, layout)
    except DecodeError:
        return
    assert found.shape == (1, 16, 16)


@given(data=st.data(), compression=st.sampled_from(Compression))
def test_a_stream_with_one_changed_byte_never_raises_another_error(data, compression):
    samples = 3 if compression == Compression.WEBP else 1
    block = np.arange(256 * samples, dtype=np.uint8).reshape(16, 16, samples)
    stream = bytearray(encode_tile(block, TiffOptions(compression=compression)))
    stream[data.draw(st.integers(0, len(stream) - 1))] ^= data.draw(st.integers(1, 255))
    layout = dataclasses.replace(
        LAYOUT, dtype="uint8", bits_per_sample=8, samples=samples, compression=compression,
    )
    try:
        found = decode_tile(bytes(stream), layout)
    except DecodeError:
        return
    assert found.shape == (samples, 16, 16)


def test_lzw_is_decoded_as_another_writer_makes_it():
    block = np.tile(np.arange(64, dtype=np.uint8), 8)
    stream = imagecodecs.lzw_encode(block.tobytes())
    found = decode_tile(stream, dataclasses.replace(LAYOUT, compression=Compression.LZW))
    assert found.tobytes() == block.tobytes()
