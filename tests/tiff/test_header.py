"""Header bytes -> header, and every refusal by its name."""

from __future__ import annotations

import io
import json
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from make_tiff import (
    ASCII,
    BYTE,
    DOUBLE,
    FLOAT,
    LONG,
    LONG8,
    SHORT,
    SLONG,
    SSHORT,
    UNDEFINED,
    make_tiff,
)
from shared_data import SHARED, requires_shared

from rasteret_beam.elements import Geotransform
from rasteret_beam.errors import MalformedTiffError, RasteretBeamError, UnsupportedTiffError
from rasteret_beam.tiff.gdal_metadata import parse_nodata
from rasteret_beam.tiff.header import TiffHeader, read_header
from rasteret_beam.tiff.tags import Compression, Tag

PIXELS = np.arange(40 * 48, dtype=np.uint16).reshape(1, 40, 48)
SOUTH_UP = Geotransform(scale_x=0.25, origin_x=-180.0, scale_y=0.25, origin_y=-90.0)
ICC_PROFILE = 34675


def _header(pixels: np.ndarray = PIXELS, **options: object) -> TiffHeader:
    return read_header(io.BytesIO(make_tiff(pixels, **options)))


def _with(tag: int, kind: int, *values: object, **options: object) -> TiffHeader:
    return _header(tags={tag: (kind, list(values))}, **options)


@pytest.mark.parametrize("ifd_at_end", [False, True])
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_header_reads_alike_in_every_dialect(byte_order, big, descending, ifd_at_end):
    options = {"byte_order": byte_order, "big": big}
    header = _header(**options, descending=descending, ifd_at_end=ifd_at_end)
    assert (header.width, header.height) == (48, 40)
    assert (header.dtype, header.byte_order) == ("uint16", byte_order)
    assert header.crs_text == "EPSG:32633"


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("ifd_at_end", [False, True])
def test_tile_tables_point_at_the_tiles(ifd_at_end, big):
    data = make_tiff(PIXELS, big=big, ifd_at_end=ifd_at_end, tile_gap_bytes=100)
    header = read_header(io.BytesIO(data))
    assert header.tile_offsets.dtype == np.int64
    assert header.tile_byte_counts.tolist() == [512] * 9
    first = np.frombuffer(data, "<u2", 256, header.tile_offsets[4]).reshape(16, 16)
    np.testing.assert_array_equal(first, PIXELS[0, 16:32, 16:32])


def test_planar_tables_hold_one_plane_after_another():
    header = _header(np.zeros((3, 40, 48), np.uint8), planar=True)
    assert header.planar_configuration == 2
    assert header.tiles_per_plane == 9
    assert len(header.tile_offsets) == 27


def test_sparse_tiles_have_offset_and_count_0():
    header = _header(sparse=[2])
    assert (header.tile_offsets[2], header.tile_byte_counts[2]) == (0, 0)
    assert header.tile_offsets[3] > 0


@pytest.mark.parametrize(
    "dtype", ["uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64",
              "float16", "float32", "float64"],
)  # fmt: skip
def test_pixel_type_is_bits_and_format_together(dtype):
    header = _header(np.zeros((2, 20, 20), dtype))
    assert header.dtype == dtype
    assert header.bits_per_sample == np.dtype(dtype).itemsize * 8


@pytest.mark.parametrize(
    ("bits", "dtype"),
    [(1, "uint8"), (7, "uint8"), (9, "uint16"), (15, "uint16"), (24, "uint32"), (40, "uint64")],
)
def test_packed_bits_fit_the_smallest_type_that_holds_them(bits, dtype):
    header = _header(np.zeros((1, 20, 20), dtype), bits_per_sample=bits)
    assert (header.dtype, header.bits_per_sample) == (dtype, bits)


def test_samples_are_unsigned_where_no_format_is_told():
    assert _header(tags={Tag.SAMPLE_FORMAT: None}).dtype == "uint16"


def test_samples_of_undefined_format_are_unsigned():
    assert _with(Tag.SAMPLE_FORMAT, SHORT, 4).dtype == "uint16"


def test_missing_bits_are_1_bit():
    header = _header(np.zeros((1, 20, 20), np.uint8), tags={Tag.BITS_PER_SAMPLE: None})
    assert header.bits_per_sample == 1


@pytest.mark.parametrize("tag", [Tag.COMPRESSION, Tag.PLANAR_CONFIGURATION, Tag.SAMPLES_PER_PIXEL])
def test_tags_with_a_default_of_1_may_be_missing(tag):
    header = _header(tags={tag: None})
    assert header.compression == header.planar_configuration == header.samples_per_pixel == 1


def test_jpeg_tables_are_handed_on():
    header = _header(PIXELS.astype(np.uint8), compression=Compression.JPEG, jpeg_tables=True)
    assert header.jpeg_tables.startswith(b"\xff\xd8")
    assert header.jpeg_tables.endswith(b"\xff\xd9")


@pytest.mark.parametrize("compression", list(Compression))
def test_every_compression_is_accepted(compression):
    header = _header(np.zeros((3, 20, 20), np.uint8), compression=compression)
    assert header.compression == compression


@pytest.mark.parametrize("compression", [Compression.NONE, Compression.PACKBITS, Compression.LERC])
def test_a_predictor_tag_on_a_codec_without_predictors_is_ignored(compression):
    header = _with(Tag.PREDICTOR, SHORT, 2, compression=compression)
    assert header.predictor == 1


# Where the pixels lie


def test_scale_and_tiepoint_give_the_outer_corner():
    header = _header()
    assert header.scale == (10.0, -10.0)
    assert header.origin == (500_000.0, 4_000_000.0)


@pytest.mark.parametrize("at", [(0, 0), (3, 7), (40, 48), (-2, 5)])
def test_a_tiepoint_at_another_pixel_gives_the_same_corner(at):
    header = _header(tags={Tag.MODEL_TIEPOINT: (
        DOUBLE, [at[1], at[0], 0.0, 500_000.0 + at[1] * 10, 4_000_000.0 - at[0] * 10, 0.0],
    )})  # fmt: skip
    assert header.origin == (500_000.0, 4_000_000.0)
    assert _header(tiepoint_at=at).origin == header.origin


@pytest.mark.parametrize("as_matrix", [False, True])
def test_pixel_is_point_moves_the_corner_half_a_pixel(as_matrix):
    header = _header(pixel_is_point=True, as_matrix=as_matrix)
    assert header.origin == (500_000.0, 4_000_000.0)
    area = _header(pixel_is_point=True, as_matrix=as_matrix, geokeys={1025: 1})
    assert area.origin == (500_005.0, 3_999_995.0)


def test_a_matrix_may_be_south_up():
    header = _header(geotransform=SOUTH_UP)
    assert header.scale == (0.25, 0.25)
    assert header.origin == (-180.0, -90.0)


def test_pixel_is_point_moves_a_south_up_corner_down():
    header = _header(geotransform=SOUTH_UP, pixel_is_point=True, geokeys={1025: 1})
    assert header.origin == (-179.875, -89.875)


def test_a_negative_pixel_scale_still_means_north_up():
    header = _with(Tag.MODEL_PIXEL_SCALE, DOUBLE, 10.0, -10.0, 0.0)
    assert header.scale == (10.0, -10.0)
    assert header.origin == (500_000.0, 4_000_000.0)


def test_many_tiepoints_that_agree_are_one_grid():
    more = [0, 0, 0, 500_000.0, 4_000_000.0, 0, 48, 40, 0, 500_480.0, 3_999_600.0, 0]
    assert _with(Tag.MODEL_TIEPOINT, DOUBLE, *more).origin == (500_000.0, 4_000_000.0)


def test_rounding_noise_in_a_matrix_is_no_rotation():
    matrix = [10.0, 1e-12, 0, 5.0, -1e-12, -10.0, 0, 7.0, 0, 0, 0, 0, 0, 0, 0, 1]
    assert _with(Tag.MODEL_TRANSFORMATION, DOUBLE, *matrix).scale == (10.0, -10.0)


def test_stored_scale_and_tiepoint_are_kept_as_they_are():
    header = _header(tiepoint_at=(2, 3))
    assert header.pixel_scale == (10.0, 10.0, 0.0)
    assert header.tiepoint == (3.0, 2.0, 0.0, 500_030.0, 3_999_980.0, 0.0)


@given(
    row=st.integers(-100, 100), col=st.integers(-100, 100),
    scale=st.floats(1e-3, 1e3), origin=st.floats(-1e6, 1e6), point=st.booleans(),
)  # fmt: skip
def test_the_corner_does_not_depend_on_how_it_is_written(row, col, scale, origin, point):
    grid = Geotransform(scale, origin, -scale, -origin)
    options = {"geotransform": grid, "pixel_is_point": point}
    tied = _header(PIXELS[:, :8, :8], tiepoint_at=(row, col), **options)
    matrix = _header(PIXELS[:, :8, :8], as_matrix=True, **options)
    np.testing.assert_allclose(tied.origin, (origin, -origin), atol=1e-6 * scale + 1e-8)
    np.testing.assert_allclose(matrix.origin, (origin, -origin), atol=1e-6 * scale + 1e-8)


# Nodata


@pytest.mark.parametrize("text", ["0", "-9999", "nan", "-3.4028234663852886e+38", "-inf", "255.5"])
def test_nodata_text_is_kept_as_spelled(text):
    assert _header(nodata=text).nodata_text == text


@pytest.mark.parametrize("text", ["-9999 ", " -9999", "-9999\0\0"])
def test_nodata_text_is_stripped(text):
    assert _header(nodata=text).nodata_text == "-9999"


@pytest.mark.parametrize("text", ["", "none", "n/a", "-9999,0", "0x10"])
def test_nodata_that_is_no_number_is_none(text):
    assert _header(nodata=text).nodata_text is None


def test_nodata_of_gdals_metadata_counts_where_the_tag_is_missing():
    text = '<GDALMetadata>\n<Item name="NODATA_VALUES">-32768 -32768</Item>\n</GDALMetadata>'
    assert _header(tags={Tag.GDAL_METADATA: (ASCII, text)}).nodata_text == "-32768"
    assert _header(tags={Tag.GDAL_METADATA: (ASCII, text)}, nodata="7").nodata_text == "7"


def test_nodata_beyond_2_to_the_53_is_an_exact_integer():
    assert parse_nodata("-9223372036854775807") == -9223372036854775807
    assert parse_nodata("18446744073709551615") == 18446744073709551615


@pytest.mark.parametrize("text", ["-1.#IND", "1.#QNAN", "-1.#IND00"])
def test_nodata_nan_as_microsofts_libraries_print_it_is_nan(text):
    assert _header(nodata=text).nodata_text == text
    assert math.isnan(parse_nodata(text))


def test_nodata_nan_is_a_number():
    assert math.isnan(parse_nodata("nan"))
    assert parse_nodata("-1.5e3") == -1500.0
    assert parse_nodata(None) is None


# What must not matter


@pytest.mark.parametrize(
    ("tag", "kind", "content"),
    [
        (ICC_PROFILE, UNDEFINED, b"\0\1profile" * 9),
        (65000, 99, b"what"),
        (65001, 0, b""),
        (65002, BYTE, []),
        (34853, LONG, [2**31]),
        (330, LONG, [3, 5, 2**32 - 1]),
        (700, BYTE, b"<x:xmpmeta" * 20),
        (305, ASCII, "caf\xe9"),
    ],
)
def test_tags_of_no_concern_are_passed_over(tag, kind, content):
    header = _header(tags={tag: (kind, content)})
    assert (header.width, header.height, header.dtype) == (48, 40, "uint16")


@pytest.mark.parametrize("kind", [SHORT, LONG])
def test_sizes_may_be_short_or_long(kind):
    tags = {tag: (kind, [16]) for tag in (Tag.TILE_WIDTH, Tag.TILE_LENGTH)}
    tags |= {Tag.IMAGE_WIDTH: (kind, [48]), Tag.IMAGE_LENGTH: (kind, [40])}
    assert (_header(tags=tags).tile_width, _header(tags=tags).height) == (16, 40)


def test_tile_tables_may_be_short():
    header = _with(Tag.TILE_BYTE_COUNTS, SHORT, *[512] * 9)
    assert header.tile_byte_counts.tolist() == [512] * 9


# Refusals by name

MALFORMED = {
    "width 0": (Tag.IMAGE_WIDTH, LONG, [0], "IMAGE_WIDTH is 0"),
    "height 0": (Tag.IMAGE_LENGTH, LONG, [0], "IMAGE_LENGTH is 0"),
    "tile width 0": (Tag.TILE_WIDTH, SHORT, [0], "TILE_WIDTH is 0"),
    "tile height 0": (Tag.TILE_LENGTH, SHORT, [0], "TILE_LENGTH is 0"),
    "negative height": (Tag.IMAGE_LENGTH, SSHORT, [-40], "IMAGE_LENGTH is -40"),
    "height beyond 2**31": (Tag.IMAGE_LENGTH, LONG, [2**31], "expected 1 to 2147483647"),
    "broken width": (Tag.IMAGE_WIDTH, FLOAT, [48.5], "whole number"),
    "width nan": (Tag.IMAGE_WIDTH, DOUBLE, [math.nan], "whole number"),
    "width in words": (Tag.IMAGE_WIDTH, ASCII, "wide", "whole number"),
    "bits 0": (Tag.BITS_PER_SAMPLE, SHORT, [0], "BITS_PER_SAMPLE is 0"),
    "bits 65": (Tag.BITS_PER_SAMPLE, SHORT, [65], "BITS_PER_SAMPLE is 65"),
    "format 7": (Tag.SAMPLE_FORMAT, SHORT, [7], "SAMPLE_FORMAT is 7"),
    "too few offsets": (Tag.TILE_OFFSETS, LONG, [8] * 8, "8 tile offsets and 9 byte counts"),
    "too many offsets": (Tag.TILE_OFFSETS, LONG, [8] * 10, "10 tile offsets"),
    "too few counts": (Tag.TILE_BYTE_COUNTS, LONG, [8] * 8, "8 byte counts for 9 tiles"),
    "negative offset": (Tag.TILE_OFFSETS, SLONG, [-1] * 9, "TILE_OFFSETS"),
    "offset beyond 2**63": (Tag.TILE_OFFSETS, LONG8, [2**63] * 9, "TILE_OFFSETS"),
    "counts in words": (Tag.TILE_BYTE_COUNTS, ASCII, "nine many", "TILE_BYTE_COUNTS"),
    "scale 0": (Tag.MODEL_PIXEL_SCALE, DOUBLE, [10.0, 0.0, 0.0], "sizes other than 0"),
    "scale nan": (Tag.MODEL_PIXEL_SCALE, DOUBLE, [math.nan, 10.0, 0.0], "finite"),
    "tiepoint nan": (Tag.MODEL_TIEPOINT, DOUBLE, [0, 0, 0, math.nan, 0, 0], "finite"),
    "tiepoint infinite": (Tag.MODEL_TIEPOINT, DOUBLE, [0, 0, 0, 0, math.inf, 0], "finite"),
}

UNSUPPORTED = {
    "fill order 2": (Tag.FILL_ORDER, SHORT, [2], "FillOrder 2"),
    "predictor 4": (Tag.PREDICTOR, SHORT, [4], r"PREDICTOR is 4, expected one of \[1, 2, 3\]"),
    "planar 3": (Tag.PLANAR_CONFIGURATION, SHORT, [3], "PLANAR_CONFIGURATION is 3"),
    "compression 0": (Tag.COMPRESSION, SHORT, [0], "Compression 0"),
    "old jpeg": (Tag.COMPRESSION, SHORT, [6], "Compression 6"),
    "ccitt": (Tag.COMPRESSION, SHORT, [4], "Compression 4"),
    "unknown compression": (Tag.COMPRESSION, SHORT, [65000], "Compression 65000"),
    "complex floats": (Tag.SAMPLE_FORMAT, SHORT, [6], "Complex"),
    "YCbCr without JPEG": (Tag.PHOTOMETRIC_INTERPRETATION, SHORT, [6], "YCbCr"),
    "no samples": (Tag.SAMPLES_PER_PIXEL, SHORT, [0], "0 decoded bytes"),
    "huge tile": (Tag.TILE_WIDTH, LONG, [2**30], "decoded bytes"),
    "tiepoints that disagree": (
        Tag.MODEL_TIEPOINT, DOUBLE, [0, 0, 0, 0, 0, 0, 1, 1, 0, 500, 500, 0], "do not agree",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MALFORMED)
def test_a_broken_tag_is_malformed_and_named(name):
    tag, kind, content, reason = MALFORMED[name]
    with pytest.raises(MalformedTiffError, match=reason):
        _header(tags={tag: (kind, content)}, big=True)


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_a_legal_file_that_is_not_read_is_unsupported_and_told_why(name):
    tag, kind, content, reason = UNSUPPORTED[name]
    with pytest.raises(UnsupportedTiffError, match=reason):
        _header(tags={tag: (kind, content)})


@pytest.mark.parametrize("tag", [Tag.IMAGE_WIDTH, Tag.IMAGE_LENGTH, Tag.TILE_LENGTH])
def test_a_missing_size_is_malformed(tag):
    with pytest.raises(MalformedTiffError, match=tag.name):
        _header(tags={tag: None})


@pytest.mark.parametrize("tag", [Tag.TILE_OFFSETS, Tag.TILE_BYTE_COUNTS])
def test_a_missing_tile_table_is_malformed(tag):
    with pytest.raises(MalformedTiffError, match="for 9 tiles"):
        _header(tags={tag: None})


def test_strips_are_refused():
    strips = {Tag.TILE_WIDTH: None, Tag.TILE_LENGTH: None, 273: (LONG, [8]), 279: (LONG, [9])}
    with pytest.raises(UnsupportedTiffError, match="Striped, not tiled"):
        _header(tags=strips)


@pytest.mark.parametrize("shear", [(0.5, 0.0), (0.0, 0.5), (10.0, -10.0)])
def test_rotated_and_sheared_grids_are_refused(shear):
    matrix = [10.0, shear[0], 0, 5.0, shear[1], -10.0, 0, 7.0, 0, 0, 0, 0, 0, 0, 0, 1]
    with pytest.raises(UnsupportedTiffError, match="Rotated or sheared"):
        _with(Tag.MODEL_TRANSFORMATION, DOUBLE, *matrix, geotransform=None)


def test_gcps_without_a_grid_are_refused():
    gcps = [0, 0, 0, 5.0, 5.0, 0, 48, 0, 0, 9.0, 5.0, 0, 0, 40, 0, 5.0, 1.0, 0]
    with pytest.raises(UnsupportedTiffError, match="3 GCPs only"):
        _with(Tag.MODEL_TIEPOINT, DOUBLE, *gcps, geotransform=None)


def test_no_georeferencing_is_refused():
    with pytest.raises(UnsupportedTiffError, match="No georeferencing"):
        _header(geotransform=None)


@pytest.mark.parametrize("tag", [Tag.MODEL_PIXEL_SCALE, Tag.MODEL_TIEPOINT])
def test_half_a_georeferencing_is_none(tag):
    with pytest.raises(UnsupportedTiffError, match="No georeferencing"):
        _header(tags={tag: None})


def test_samples_of_different_widths_are_refused():
    with pytest.raises(UnsupportedTiffError, match="different types"):
        _header(np.zeros((2, 20, 20), np.uint16), tags={Tag.BITS_PER_SAMPLE: (SHORT, [8, 16])})


def test_samples_of_different_formats_are_refused():
    # tifffile meets them first, and gives up.
    with pytest.raises(RasteretBeamError):
        _header(np.zeros((2, 20, 20), np.uint16), tags={Tag.SAMPLE_FORMAT: (SHORT, [1, 2])})


@pytest.mark.parametrize("dtype", ["u4", "u8"])
def test_complex_integers_are_refused(dtype):
    with pytest.raises(UnsupportedTiffError, match="Complex"):
        _header(np.zeros((1, 20, 20), dtype), tags={Tag.SAMPLE_FORMAT: (SHORT, [5])})


@pytest.mark.parametrize("bits", [8, 24])
def test_floats_of_odd_widths_are_refused(bits):
    with pytest.raises(UnsupportedTiffError, match=f"Floats of {bits} bits"):
        _header(np.zeros((1, 20, 20), np.float32), tags={Tag.BITS_PER_SAMPLE: (SHORT, [bits])})


def test_predictor_3_on_integers_is_malformed():
    with pytest.raises(MalformedTiffError, match="Predictor 3 on uint16"):
        _with(Tag.PREDICTOR, SHORT, 3, compression=Compression.LZW)


def test_predictor_2_on_packed_bits_is_refused():
    with pytest.raises(UnsupportedTiffError, match="Predictor 2 on 12 bits"):
        _with(Tag.PREDICTOR, SHORT, 2, compression=Compression.LZW, bits_per_sample=12)


@pytest.mark.parametrize(
    ("planar", "bits", "named"), [(True, 8, "1 samples of 8"), (False, 1, "3 samples of 1")],
)
def test_webp_tiles_other_than_of_3_or_4_bytes_a_pixel_are_refused(planar, bits, named):
    pixels = np.zeros((3, 20, 20), np.uint8)
    assert _with(Tag.COMPRESSION, SHORT, Compression.WEBP, pixels=pixels).samples_per_pixel == 3
    tags = {Tag.COMPRESSION: (SHORT, [Compression.WEBP]), Tag.BITS_PER_SAMPLE: (SHORT, [bits] * 3)}
    with pytest.raises(UnsupportedTiffError, match=named):
        _header(pixels, planar=planar, tags=tags)


def test_jpeg_tiles_of_2_samples_are_refused():
    tags = {Tag.COMPRESSION: (SHORT, [Compression.JPEG])}
    with pytest.raises(UnsupportedTiffError, match="JPEG tiles of 2 samples"):
        _header(np.zeros((2, 20, 20), np.uint8), tags=tags)


def test_planar_tiles_are_held_to_the_size_of_one_plane():
    pixels = np.zeros((70, 8, 8), np.float32)
    tags = {tag: (SHORT, [1024]) for tag in (Tag.TILE_WIDTH, Tag.TILE_LENGTH)}
    assert _header(pixels, planar=True, tags=tags).samples_per_pixel == 70


def test_planar_jpeg_tiles_may_be_of_any_number_of_planes():
    header = _header(np.zeros((2, 20, 20), np.uint8), planar=True, compression=Compression.JPEG)
    assert header.samples_per_pixel == 2


@pytest.mark.parametrize("at", [1, 4])
def test_a_matrix_with_a_shear_that_is_no_number_is_refused(at):
    matrix = [10.0, 0, 0, 5.0, 0, -10.0, 0, 7.0, 0, 0, 0, 0, 0, 0, 0, 1]
    matrix[at] = math.nan
    with pytest.raises(RasteretBeamError):
        _with(Tag.MODEL_TRANSFORMATION, DOUBLE, *matrix, geotransform=None)


# Bytes that are hardly a TIFF


@pytest.mark.parametrize("data", [b"", b"II*", b"II*\0\0\0\0", b"<?xml version='1'?>", bytes(99)])
def test_bytes_that_are_no_tiff_are_malformed(data):
    with pytest.raises(MalformedTiffError, match="Not a TIFF"):
        read_header(io.BytesIO(data))


@given(cut=st.integers(0, 700))
def test_a_header_cut_anywhere_is_an_error_of_ours_or_whole(cut):
    whole = make_tiff(PIXELS)
    try:
        header = read_header(io.BytesIO(whole[:cut]))
    except RasteretBeamError:
        return
    assert header.tile_offsets.tolist() == _header().tile_offsets.tolist()


ODD_VALUES = {
    BYTE: [0, 255], ASCII: ["", "x", "1"], SHORT: [0, 65535], LONG: [2**32 - 1],
    UNDEFINED: [b"\0\1"], SSHORT: [-1], FLOAT: [math.nan, math.inf, 1.5], DOUBLE: [-1e300],
    LONG8: [2**64 - 1], 99: [b"abc"],
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:One of rtol or atol is not valid")
@pytest.mark.parametrize("tag", Tag)
def test_any_value_in_any_tag_gives_a_header_or_an_error_of_ours(tag):
    contents = [
        (kind, value * count if isinstance(value, (bytes, str)) else [value] * count)
        for kind, values in ODD_VALUES.items()
        for value in values
        for count in (0, 1, 2, 6, 9, 16)
    ]
    for content in contents:
        try:
            header = _header(PIXELS[:, :16, :16], tags={tag: content}, big=True)
        except RasteretBeamError:
            continue
        assert isinstance(header.jpeg_tables, (bytes, type(None)))


# Hostile files that other projects share


def _shared_cases(*, expect: str, when: str) -> list[str]:
    listing = SHARED / "malformed" / "cases.json"
    if not listing.is_file():
        return []
    return [
        case["file"]
        for case in json.loads(listing.read_text())
        if (case["expect"], case["when"]) == (expect, when) and case["file"].endswith(".tif")
    ]


@requires_shared
@pytest.mark.parametrize("name", _shared_cases(expect="refuse", when="index"))
def test_a_hostile_header_is_refused_within_500_mb(name):
    tracemalloc.start()
    try:
        with (SHARED / "malformed" / name).open("rb") as file, pytest.raises(RasteretBeamError):
            read_header(file)
        assert tracemalloc.get_traced_memory()[1] < 500e6
    finally:
        tracemalloc.stop()


@requires_shared
@pytest.mark.parametrize("name", _shared_cases(expect="ok", when=""))
def test_an_odd_but_legal_header_is_read(name):
    with (SHARED / "malformed" / name).open("rb") as file:
        header = read_header(file)
    assert (header.width, header.height, header.dtype) == (48, 40, "uint16")
    assert header.scale == (20.0, -20.0)
    assert header.origin == (300_000.0, 8_000_000.0)


@requires_shared
def test_malformed_files_found_in_the_wild_raise_no_other_error():
    for path in sorted((SHARED / "malformed" / "real").glob("*.tif")):
        with path.open("rb") as file, pytest.raises(RasteretBeamError):
            read_header(file)


def _gdal_metadata(*items: str) -> str:
    return f"<GDALMetadata>{''.join(items)}</GDALMetadata>\0"


def _item(name: str, role: str, value: str, sample: int = 0) -> str:
    return f'<Item name="{name}" sample="{sample}" role="{role}">{value}</Item>'


def test_scale_offset_and_unit_of_each_sample_are_kept():
    text = _gdal_metadata(
        _item("SCALE", "scale", "0.0001", 1), _item("OFFSET", "offset", "-0.1", 1),
        _item("UNITTYPE", "unittype", "W/m&lt;sup&gt;2&lt;/sup&gt;"),
    )  # fmt: skip
    header = _with(Tag.GDAL_METADATA, ASCII, *text.encode())
    assert header.calibrations[1] == (0.0001, -0.1, None)
    assert header.calibrations[0] == (None, None, "W/m<sup>2</sup>")


@pytest.mark.parametrize("text", ["", "<GDALMetadata>", _gdal_metadata(
    _item("SCALE", "scale", "nan"), _item("OFFSET", "offset", "much"))])  # fmt: skip
def test_metadata_that_is_no_calibration_is_none(text):
    assert _with(Tag.GDAL_METADATA, ASCII, *text.encode(), 0).calibrations == {}
