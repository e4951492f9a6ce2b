"""Codecs by the compression tag: image codecs, masks, and streams that grow too large."""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
import lzma
import os
import struct
import subprocess
import sys
import zlib

import imagecodecs
import numpy as np
import pytest
from make_tiff import TiffOptions, encode_lerc, encode_tile, make_tiff

from rasteret_beam.elements import TileLayout
from rasteret_beam.errors import DecodeError
from rasteret_beam.tiff import compression as codecs
from rasteret_beam.tiff.header import read_header
from rasteret_beam.tiff.image_codecs import PIXEL_DECODERS
from rasteret_beam.tiff.tags import Compression, Photometric
from rasteret_beam.tiff.tile import decode_tile

LAYOUT = TileLayout(
    tile_width=32, tile_height=32, dtype="uint8", samples=1,
    compression=Compression.NONE, bits_per_sample=8,
)  # fmt: skip
BOMB_BYTES = 256 * 2**20


def _layout(compression: int, block: np.ndarray, **changes: object) -> TileLayout:
    return dataclasses.replace(
        LAYOUT, compression=compression, tile_height=block.shape[0], tile_width=block.shape[1],
        samples=block.shape[2], dtype=block.dtype.name,
        bits_per_sample=block.dtype.itemsize * 8, **changes,
    )  # fmt: skip


def _smooth(samples: int, dtype: str = "u1") -> np.ndarray:
    """A picture that lossy codecs keep well, shape (row, col, sample)."""
    ramp = np.add.outer(np.arange(32) * 3, np.arange(32) * 4)
    return np.stack([(ramp + 9 * sample).astype(dtype) for sample in range(samples)], axis=-1)


def _round_trip(block: np.ndarray, compression: int, **options: object) -> np.ndarray:
    stream = encode_tile(block, TiffOptions(compression=compression, **options))
    photometric = options.get("photometric")
    found = decode_tile(stream, _layout(compression, block, photometric=photometric))
    return np.moveaxis(found, 0, -1)


def test_every_compression_has_one_decoder():
    assert set(codecs.BYTE_DECODERS) | set(PIXEL_DECODERS) == set(Compression)
    assert not set(codecs.BYTE_DECODERS) & set(PIXEL_DECODERS)


def test_decoders_of_a_prefix_are_of_codecs_of_bytes():
    assert set(codecs.BYTE_DECODERS) > set(codecs.PREFIX_DECODERS)


def test_predictors_apply_to_codecs_of_bytes_alone():
    assert set(codecs.BYTE_DECODERS) > codecs.PREDICTABLE
    assert {Compression.NONE, Compression.PACKBITS}.isdisjoint(codecs.PREDICTABLE)


@pytest.mark.parametrize("subsampling", ["444", "420"])
@pytest.mark.parametrize("tables", [False, True])
def test_ycbcr_jpeg_tiles_come_out_as_rgb_close_to_the_source(tables, subsampling):
    block = _smooth(3)
    data = make_tiff(
        np.moveaxis(block, -1, 0), compression=Compression.JPEG, tile=(32, 32),
        jpeg_tables=tables, jpeg_subsampling=subsampling,
    )  # fmt: skip
    header = read_header(io.BytesIO(data))
    layout = _layout(
        Compression.JPEG, block, photometric=header.photometric, jpeg_tables=header.jpeg_tables,
    )
    assert (header.jpeg_tables is not None) == tables
    found = decode_tile(data[header.tile_offsets[0] :], layout)
    np.testing.assert_allclose(np.moveaxis(found, 0, -1).astype(int), block, atol=6)


def test_rgb_jpeg_tiles_are_not_taken_for_ycbcr():
    block = _smooth(3)
    found = _round_trip(block, Compression.JPEG, photometric=int(Photometric.RGB))
    np.testing.assert_allclose(found.astype(int), block, atol=4)


@pytest.mark.parametrize("samples", [1, 4])
@pytest.mark.parametrize("photometric", [1, 2, 5])
def test_jpeg_tiles_of_1_or_4_samples_are_not_converted(samples, photometric):
    block = _smooth(samples)
    found = _round_trip(block, Compression.JPEG, photometric=photometric)
    np.testing.assert_allclose(found.astype(int), block, atol=4)


def test_12_bit_jpeg_tiles_are_read():
    block = _smooth(1, "u2") * 10
    found = _round_trip(block, Compression.JPEG)
    np.testing.assert_allclose(found.astype(int), block, atol=16)


def test_jpeg_tiles_without_their_tables_are_an_error():
    data = make_tiff(_smooth(1)[..., 0], compression=Compression.JPEG, tile=(32, 32),
                     jpeg_tables=True)
    header = read_header(io.BytesIO(data))
    with pytest.raises(DecodeError):
        decode_tile(data[header.tile_offsets[0] :], _layout(Compression.JPEG, _smooth(1)))


@pytest.mark.parametrize("samples", [3, 4])
def test_lossless_webp_tiles_are_exact(samples):
    block = _smooth(samples)
    np.testing.assert_array_equal(_round_trip(block, Compression.WEBP), block)


def test_an_opaque_webp_tile_of_an_rgba_file_has_alpha_255():
    block = _smooth(4)
    block[..., 3] = 255
    stream = imagecodecs.webp_encode(block, lossless=True)
    found = decode_tile(stream, _layout(Compression.WEBP, block))
    np.testing.assert_array_equal(np.moveaxis(found, 0, -1), block)


@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.parametrize("samples", [1, 2, 3, 4])
def test_lossless_jpeg_2000_tiles_are_exact(samples, dtype):
    block = _smooth(samples, dtype)
    np.testing.assert_array_equal(_round_trip(block, Compression.JPEG_2000), block)


@pytest.mark.parametrize("compression", [Compression.JPEG_XL, Compression.JPEG_XL_DNG])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("samples", [1, 2, 3, 4])
def test_lossless_jpeg_xl_tiles_are_exact(samples, dtype, compression):
    block = _smooth(samples, dtype)
    np.testing.assert_array_equal(_round_trip(block, compression), block)


@pytest.mark.parametrize("wrap", ["", "deflate", "zstd"])
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8"])
def test_lerc_tiles_are_exact_however_they_are_wrapped(dtype, wrap):
    block = np.random.default_rng(2).integers(0, 100, (32, 32, 1)).astype(dtype)
    found = _round_trip(block, Compression.LERC, lerc_compression=wrap)
    np.testing.assert_array_equal(found, block)


@pytest.mark.parametrize(
    ("compression", "dtype"),
    [(Compression.LERC, "i2"), (Compression.LERC, "f4"), (Compression.JPEG_XL, "u2")],
)
def test_pixels_of_a_big_endian_file_are_swapped_behind_codecs_of_numbers(compression, dtype):
    # As GDAL writes them: libtiff hands its codecs the bytes of the file's order.
    block = np.random.default_rng(2).integers(0, 30_000, (32, 32, 1)).astype(dtype)
    stream = encode_tile(block.byteswap(), TiffOptions(compression=compression))
    found = decode_tile(stream, _layout(compression, block, byte_order=">"))
    np.testing.assert_array_equal(np.moveaxis(found, 0, -1), block)


@pytest.mark.parametrize("samples", [2, 3, 5])
def test_lerc_tiles_keep_the_order_of_their_samples(samples):
    block = np.random.default_rng(2).integers(0, 100, (32, 32, samples)).astype("u2")
    np.testing.assert_array_equal(_round_trip(block, Compression.LERC), block)


@pytest.mark.parametrize("wrap", ["", "deflate", "zstd"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_masked_pixels_of_lerc_floats_are_nan(dtype, wrap):
    block = _smooth(1, dtype)
    block[3:9, 4:20] = np.nan
    stream = encode_tile(
        block, TiffOptions(compression=Compression.LERC, lerc_compression=wrap),
    )
    found = decode_tile(stream, _layout(Compression.LERC, block, nodata=-9.0))
    np.testing.assert_array_equal(found[0], block[..., 0])


@pytest.mark.parametrize(("nodata", "expected"), [(None, 0), (7.0, 7), (300.0, 0), (-1.0, 0)])
def test_masked_pixels_of_lerc_integers_are_nodata_or_0(nodata, expected):
    block = _smooth(1) | 1
    mask = np.ones((32, 32), bool)
    mask[5:10] = False
    options = TiffOptions(compression=Compression.LERC)
    found = decode_tile(
        encode_lerc(block[..., 0], options, mask), _layout(Compression.LERC, block, nodata=nodata),
    )
    assert (found[0][~mask] == expected).all()
    np.testing.assert_array_equal(found[0][mask], block[..., 0][mask])


def test_the_mask_of_a_lerc_tile_holds_for_each_of_its_samples():
    block = _smooth(3, "f4")
    block[0, :5] = np.nan
    found = _round_trip(block, Compression.LERC)
    np.testing.assert_array_equal(found, block)


@pytest.mark.parametrize("shape", [(32, 32, 3), (16, 16, 16)])
def test_lerc_bands_may_have_masks_of_their_own(shape):
    """libtiff (3.0 and later) stores chunky floats band by band where their NaN differ."""
    block = np.random.default_rng(2).uniform(0, 100, shape).astype(np.float32)
    block[3:9, 4:12, 0] = np.nan
    block[0, 0, 1] = np.nan
    np.testing.assert_array_equal(_round_trip(block, Compression.LERC), block)


@pytest.mark.parametrize("samples", [2, 4])
def test_alpha_that_libtiff_keeps_as_a_lerc_mask_comes_back_as_0_and_255(samples):
    """libtiff drops a uint8 alpha of 0 and 255 from the blob: its mask tells the same."""
    block = _smooth(samples)
    block[..., -1] = 255
    block[:5, :, -1] = 0
    colours = np.ascontiguousarray(block[..., :-1] if samples > 2 else block[..., 0])
    stream = encode_lerc(colours, TiffOptions(), block[..., -1] == 255)
    layout = dataclasses.replace(_layout(Compression.LERC, block), extra_samples=(2,))
    found = np.moveaxis(decode_tile(stream, layout), 0, -1)
    np.testing.assert_array_equal(found[..., -1], block[..., -1])
    np.testing.assert_array_equal(found[5:], block[5:])


def test_a_lerc_tile_with_all_pixels_masked_is_all_nan():
    block = np.full((32, 32, 1), np.nan, np.float32)
    assert np.isnan(_round_trip(block, Compression.LERC)).all()


IMAGE_CODECS = (
    Compression.JPEG, Compression.WEBP, Compression.LERC, Compression.JPEG_XL,
    Compression.JPEG_2000,
)  # fmt: skip


@pytest.mark.parametrize("shape", [(31, 32), (32, 31), (33, 32), (64, 64), (16, 64), (8, 8)])
@pytest.mark.parametrize("compression", IMAGE_CODECS)
def test_a_stream_of_other_dimensions_is_an_error(compression, shape):
    other = np.zeros((*shape, 3), np.uint8)
    stream = encode_tile(other, TiffOptions(compression=compression))
    with pytest.raises(DecodeError):
        decode_tile(stream, _layout(compression, _smooth(3)))


@pytest.mark.parametrize(
    ("compression", "stored", "promised"),
    [
        case
        for case in itertools.product(IMAGE_CODECS, (1, 3, 4), (1, 3, 4))
        if case[1] != case[2] and (case[0] != Compression.WEBP or min(case[1:]) > 1)
        # A WebP tile may come without the alpha that is all 255, or with it.
        and not (case[0] == Compression.WEBP and set(case[1:]) == {3, 4})
    ],
)
def test_a_stream_of_other_samples_is_an_error(compression, stored, promised):
    stream = encode_tile(_smooth(stored), TiffOptions(compression=compression))
    with pytest.raises(DecodeError):
        decode_tile(stream, _layout(compression, _smooth(promised)))


@pytest.mark.parametrize(
    "compression", [Compression.LERC, Compression.JPEG_XL, Compression.JPEG_2000],
)
def test_a_stream_of_another_type_is_an_error(compression):
    stream = encode_tile(_smooth(1, "u2"), TiffOptions(compression=compression))
    with pytest.raises(DecodeError):
        decode_tile(stream, _layout(compression, _smooth(1)))


@pytest.mark.parametrize("compression", IMAGE_CODECS)
def test_half_an_image_stream_is_an_error_or_a_whole_picture(compression):
    block = np.random.default_rng(4).integers(0, 255, (32, 32, 3), np.uint8)
    stream = encode_tile(block, TiffOptions(compression=compression))
    try:
        found = decode_tile(stream[: len(stream) // 2], _layout(compression, block))
    except DecodeError:
        return
    # libjpeg fills what is missing with grey; no other codec may.
    assert compression == Compression.JPEG
    assert found.shape == (3, 32, 32)


def _deflate_bomb() -> bytes:
    packer = zlib.compressobj(9)
    zeros = bytes(2**20)
    return b"".join(packer.compress(zeros) for _ in range(256)) + packer.flush()


def _lzma_bomb() -> bytes:
    packer = lzma.LZMACompressor(preset=0)
    zeros = bytes(2**20)
    return b"".join(packer.compress(zeros) for _ in range(256)) + packer.flush()


def _zstd_bomb() -> bytes:
    """A frame of run-length blocks of 128 kB (RFC 8878, section 3.1.1)."""
    blocks = [struct.pack("<I", (2**17 << 3) | 2)[:3] + b"\0"] * (BOMB_BYTES // 2**17 - 1)
    last = struct.pack("<I", (2**17 << 3) | 3)[:3] + b"\0"
    return b"\x28\xb5\x2f\xfd\x00\x38" + b"".join(blocks) + last


def _lzw_bomb() -> bytes:
    return imagecodecs.lzw_encode(bytes(BOMB_BYTES))


def _packbits_bomb() -> bytes:
    return b"\x81\x00" * (BOMB_BYTES // 128)


def _jpeg_bomb() -> bytes:
    stream = encode_tile(_smooth(1), TiffOptions(compression=Compression.JPEG))
    at = stream.index(b"\xff\xc0") + 5
    return stream[:at] + struct.pack(">HH", 16384, 16384) + stream[at + 4 :]


def _webp_bomb() -> bytes:
    stream = encode_tile(_smooth(3), TiffOptions(compression=Compression.WEBP))
    at = stream.index(b"VP8L") + 9
    (bits,) = struct.unpack_from("<I", stream, at)
    bits = (bits & ~(2**28 - 1)) | (8191 << 14) | 8191
    return stream[:at] + struct.pack("<I", bits) + stream[at + 4 :]


def _jpeg_2000_codestream(side: int) -> bytes:
    # Mid-grey has no coefficients, so the same few packets stand for a picture of any size.
    grey = np.full((32, 32, 1), 128, np.uint8)
    stream = encode_tile(grey, TiffOptions(compression=Compression.JPEG_2000))
    # SIZ: the image's size, then (16 bytes on) the size of its one tile.
    size = struct.pack(">II", side, side)
    return stream[:8] + size + stream[16:24] + size + stream[32:]


def _jpeg_2000_bomb_behind_a_decoy() -> bytes:
    """A JP2 file whose first SIZ marker, of the right size, lies in a box nobody reads."""

    def box(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content) + 8) + kind + content

    decoy = _jpeg_2000_codestream(32)[:64]
    image = struct.pack(">IIHBBBB", 8192, 8192, 1, 7, 7, 0, 0)
    colour = b"\x01\0\0" + struct.pack(">I", 17)
    header = box(b"jp2h", box(b"ihdr", image) + box(b"colr", colour))
    return (
        box(b"jP  ", b"\r\n\x87\n") + box(b"ftyp", b"jp2 \0\0\0\0jp2 ")
        + box(b"uuid", bytes(16) + decoy) + header + box(b"jp2c", _jpeg_2000_codestream(8192))
    )  # fmt: skip


def _lerc_bomb() -> bytes:
    blob = imagecodecs.lerc_encode(np.zeros((16384, 16384), np.uint8), level=0)
    return bytes(blob)


def _jpeg_xl_bomb() -> bytes:
    return imagecodecs.jpegxl_encode(np.zeros((8192, 16384), np.uint8), lossless=True, effort=1)


BOMBS = {
    "deflate": (Compression.ADOBE_DEFLATE, _deflate_bomb),
    "zstd": (Compression.ZSTD, _zstd_bomb),
    "lzma": (Compression.LZMA, _lzma_bomb),
    "lzw": (Compression.LZW, _lzw_bomb),
    "packbits": (Compression.PACKBITS, _packbits_bomb),
    "jpeg": (Compression.JPEG, _jpeg_bomb),
    "webp": (Compression.WEBP, _webp_bomb),
    "jpeg_2000": (Compression.JPEG_2000, lambda: _jpeg_2000_codestream(8192)),
    "jpeg_2000_decoy": (Compression.JPEG_2000, _jpeg_2000_bomb_behind_a_decoy),
    "lerc": (Compression.LERC, _lerc_bomb),
    "lerc_in_deflate": (Compression.LERC, _deflate_bomb),
    "lerc_in_zstd": (Compression.LERC, _zstd_bomb),
    "jpeg_xl": (Compression.JPEG_XL, _jpeg_xl_bomb),
}

_IN_ANOTHER_PROCESS = """
import json, os, pathlib, re, sys
import numpy as np
from rasteret_beam.elements import TileLayout
from rasteret_beam.errors import DecodeError
from rasteret_beam.tiff.tile import decode_rows, decode_tile

def peak_kb():
    # Not ru_maxrss, which still holds the parent's from before the exec.
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])

def outcome(decode):
    try:
        pixels = decode()
    except DecodeError:
        return "refused"
    return [pixels.nbytes, int(pixels.max())]

def attempt(path, compression):
    samples = 3 if path.name == "webp" else 1
    small, large = (
        TileLayout(side, side, "uint8", samples, compression, bits_per_sample=8)
        for side in (32, 1024)
    )
    data = path.read_bytes()
    before = peak_kb()
    whole = outcome(lambda: decode_tile(data, small))
    rows = outcome(lambda: decode_rows(data, large, np.array([2])).pixels)
    return whole, rows, (peak_kb() - before) / 1024

folder, compressions = pathlib.Path(sys.argv[1]), json.loads(sys.argv[2])
for name, compression in compressions.items():
    # A process for each: peak memory never falls.
    if os.fork() == 0:
        print(json.dumps([name, *attempt(folder / name, compression)]), flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.fixture(scope="module")
def bombs_set_off(tmp_path_factory):
    """By name, what came of a bomb's tile, of one row of it, and the memory it took in MB."""
    folder = tmp_path_factory.mktemp("bombs")
    for name, (_, make) in BOMBS.items():
        (folder / name).write_bytes(make())
    compressions = json.dumps({name: int(number) for name, (number, _) in BOMBS.items()})
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    ran = subprocess.run(  # noqa: S603 -- this interpreter, and the text above
        [sys.executable, "-c", _IN_ANOTHER_PROCESS, folder, compressions],
        env=environment, capture_output=True, check=True, timeout=300,
    )  # fmt: skip
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    return {name: outcomes for name, *outcomes in lines}


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_or_cut_within_100_mb(name, bombs_set_off):
    whole, row, grown_mb = bombs_set_off[name]
    assert whole in ("refused", [1024, 0])
    assert row in ("refused", [1024, 0])
    assert grown_mb < 100
