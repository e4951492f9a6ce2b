"""The first image directory: every value equals what tifffile reads."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from make_tiff import ASCII, DOUBLE, LONG, LONG8, SHORT, UNDEFINED, make_tiff
from shared_data import SHARED, requires_shared

from rasteret_beam.errors import MalformedTiffError, UnsupportedTiffError
from rasteret_beam.tiff.ifd import MAX_TILES, read_directory, read_values
from rasteret_beam.tiff.tags import Tag

PIXELS = np.arange(40 * 48, dtype=np.uint16).reshape(1, 40, 48)
DIALECTS = [
    {"byte_order": order, "big": big, "ifd_at_end": at_end}
    for order in "<>" for big in (False, True) for at_end in (False, True)
]  # fmt: skip


def _ours(data: bytes) -> dict[int, object]:
    file = io.BytesIO(data)
    return {tag: _plain(value) for tag, value in read_values(file, read_directory(file)).items()}


def _theirs(data: bytes) -> dict[int, object]:
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        tags = [tag for tag in tiff.pages[0].tags if tag.code in set(Tag)]
        return {tag.code: _plain(tag.value) for tag in reversed(tags)}


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray):
        value = tuple(value.tolist())
    if isinstance(value, tuple) and len(value) == 1:
        (value,) = value
    if isinstance(value, str):
        return value.strip()
    # tifffile names some numbers.
    return value if isinstance(value, (bytes, tuple)) else float(value)  # type: ignore[arg-type]


def _same(ours: dict[int, object], theirs: dict[int, object]) -> None:
    assert ours.keys() == theirs.keys()
    for tag, value in theirs.items():
        if tag == Tag.GDAL_NODATA:
            assert str(ours[tag]).strip() == str(value).strip() or float(str(ours[tag])) == value
        else:
            assert ours[tag] == value, Tag(tag).name


@pytest.mark.parametrize("dialect", DIALECTS, ids=str)
def test_every_dialect_reads_as_tifffile_does(dialect):
    data = make_tiff(PIXELS, **dialect, nodata="7")
    _same(_ours(data), _theirs(data))


@pytest.mark.parametrize("dialect", DIALECTS, ids=str)
@pytest.mark.parametrize("n_tiles", [1, 256, 257, 4000])
def test_tables_of_any_length_read_as_tifffile_does(dialect, n_tiles):
    kind = LONG8 if dialect["big"] else LONG
    tables = {Tag.TILE_OFFSETS: (kind, list(range(n_tiles))),
              Tag.TILE_BYTE_COUNTS: (SHORT, [n % 65536 for n in range(n_tiles)])}  # fmt: skip
    data = make_tiff(PIXELS, **dialect, tags=tables)
    _same(_ours(data), _theirs(data))


@requires_shared
@pytest.mark.parametrize("folder", ["realdata", "gdalw"])
def test_real_files_read_as_tifffile_does(folder):
    for path in sorted((SHARED / folder).glob("*.tif*")):
        data = path.read_bytes()
        _same(_ours(data), _theirs(data))


def test_of_a_tag_that_is_there_twice_the_first_counts():
    one, two = ((Tag.IMAGE_WIDTH, SHORT, 1, width) for width in (48, 7))
    data = struct.pack("<2sHIH", b"II", 42, 8, 2)
    data += b"".join(struct.pack("<HHIHxx", *entry) for entry in (one, two)) + bytes(4)
    assert _ours(data) == {Tag.IMAGE_WIDTH: 48.0}


def test_tags_that_nobody_asked_for_are_not_looked_at():
    data = make_tiff(PIXELS, tags={34675: (UNDEFINED, b"profile"), 65000: (99, b"abcd")})
    assert {34675, 65000}.isdisjoint(_ours(data))


def test_text_bytes_and_numbers_keep_their_kind():
    told = {Tag.GDAL_METADATA: (ASCII, b"<a/>\0"), Tag.JPEG_TABLES: (UNDEFINED, b"\xff\xd8"),
            Tag.GEO_DOUBLE_PARAMS: (DOUBLE, [0.5, 1.5])}  # fmt: skip
    found = _ours(make_tiff(PIXELS, tags=told))
    assert found[Tag.GDAL_METADATA] == "<a/>"
    assert found[Tag.JPEG_TABLES] == b"\xff\xd8"
    assert found[Tag.GEO_DOUBLE_PARAMS] == (0.5, 1.5)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "Not a TIFF: it begins with b''"),
        (b"<Error>", "Not a TIFF: it begins with b'<Err'"),
        (b"II)\0\x08\0\0\0", "Not a TIFF"),
        (b"II*\0\x08", "it ends within its first 5 bytes"),
        (b"II*\0\xff\0\0\0", "lies beyond the end of the file"),
        (b"II*\0\x08\0\0\0\0\0", "has 0 entries"),
        (b"II*\0\x08\0\0\0\xff\xff", "has 65535 entries"),
        (b"II*\0\x08\0\0\0\x01\0", "lies beyond the end of the file"),
    ],
)
def test_what_is_no_directory_is_refused(data, message):
    with pytest.raises(MalformedTiffError, match=message.replace("(", r"\(")):
        read_directory(io.BytesIO(data))


def test_values_beyond_the_end_are_refused_by_the_tags_name():
    data = make_tiff(PIXELS, ifd_at_end=False)
    with pytest.raises(MalformedTiffError, match=r"Tag \w+: \d+ values at \d+, beyond"):
        read_directory(io.BytesIO(data[:300]))


@given(st.binary(max_size=400))
def test_no_bytes_do_more_than_be_refused(tail):
    for start in (b"II*\0\x08\0\0\0", b"MM\0+\0\x08\0\0\0\0\0\0\0\0\0\x10"):
        file = io.BytesIO(start + tail)
        try:
            found = read_values(file, read_directory(file))
        except MalformedTiffError:
            continue
        assert all(tag in set(Tag) for tag in found)


@pytest.mark.parametrize(
    ("tag", "count"), [(Tag.TILE_OFFSETS, MAX_TILES * 2 + 1), (Tag.GDAL_METADATA, 5 << 20)],
)
def test_a_field_of_absurd_size_is_refused_before_it_is_read(tag, count):
    data = bytearray(make_tiff(np.zeros((16, 16), np.uint16), tags={tag: (LONG, [0, 0])}))
    entry = data.index(struct.pack("<HHI", tag, LONG, 2))
    struct.pack_into("<I", data, entry + 4, count)
    with pytest.raises(UnsupportedTiffError, match=tag.name):
        read_directory(io.BytesIO(bytes(data)))
