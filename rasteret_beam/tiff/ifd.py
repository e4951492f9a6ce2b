"""The first image directory of a TIFF: tags -> values (TIFF 6.0 section 2, BigTIFF).

Ours rather than a library's: libraries make a Python number of every tile's position,
which is most of a header's cost, and read every tag there is. ``tests/tiff/test_ifd.py``
holds the values to tifffile's.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from rasteret_beam.errors import MalformedTiffError, UnsupportedTiffError
from rasteret_beam.tiff.tags import Tag

if TYPE_CHECKING:
    import io

BYTE_ORDERS = {b"II": "<", b"MM": ">"}
"""By a file's first two bytes, the order of all its numbers, as ``struct`` has it."""

_CLASSIC, _BIG = 42, 43
_MAX_ENTRIES = 4096
MAX_TILES = 1 << 24
"""No image of more tiles, over all its planes, is read: a table of theirs takes 128 MiB."""

_TABLES = (Tag.TILE_OFFSETS, Tag.TILE_BYTE_COUNTS)
_MAX_TABLE_BYTES = 8 * MAX_TILES
_MAX_FIELD_BYTES = 4 * 1024 * 1024
"""Of all other fields; GDAL's metadata is the largest that anyone writes."""

_SMALL = 256
_ASCII, _UNDEFINED, _IFD, _IFD8 = 2, 7, 13, 18
_WANTED = frozenset(Tag)
# Type of a field -> numpy type of a value; rationals are in no tag that is read.
_TYPES = {
    1: "u1", _ASCII: "u1", 3: "u2", 4: "u4", 6: "i1", _UNDEFINED: "u1", 8: "i2", 9: "i4",
    11: "f4", 12: "f8", _IFD: "u4", 16: "u8", 17: "i8", _IFD8: "u8",
}  # fmt: skip


class _Dialect(NamedTuple):
    """How a directory is spelled.

    Attributes:
        first: Where the position of the first directory is, and its format.
        size: Format of the number of entries.
        entry: Format of an entry: tag, type, number of values, value or its position.
        inline_bytes: Values up to this size are in the entry itself.
    """

    first: tuple[int, str]
    size: str
    entry: str
    inline_bytes: int


_DIALECTS = {
    _CLASSIC: _Dialect((4, "I"), "H", "HHI4s", 4),
    _BIG: _Dialect((8, "Q"), "Q", "HHQ8s", 8),
}


class Field(NamedTuple):
    """Where one tag's values are.

    Attributes:
        tag: Which tag.
        kind: Its type, as the specification numbers them.
        n_values: How many.
        offset: In the file, in bytes.
        length: In bytes.
    """

    tag: int
    kind: int
    n_values: int
    offset: int
    length: int


class Directory(NamedTuple):
    """The fields of an image that this package reads.

    Attributes:
        byte_order: ``<`` or ``>``.
        fields: Tag -> field; of a tag that is there twice the first, as GDAL takes it.
    """

    byte_order: str
    fields: dict[int, Field]


def read_directory(file: io.IOBase | BinaryIO) -> Directory:
    """Reads the first image directory.

    Args:
        file: Seekable, opened for reading bytes.

    Raises:
        MalformedTiffError: The bytes are no TIFF, or its directory is broken.
        UnsupportedTiffError: A field is larger than any that is read.
    """
    size = file.seek(0, 2)
    file.seek(0)
    start = file.read(min(16, size))
    order = BYTE_ORDERS.get(start[:2])
    version = struct.unpack_from(f"{order}H", start, 2)[0] if order and len(start) > 3 else None  # noqa: PLR2004
    if order is None or version not in _DIALECTS:
        msg = f"Not a TIFF: it begins with {start[:4]!r}"
        raise MalformedTiffError(msg)
    dialect = _DIALECTS[version]
    at, position = dialect.first
    at = _unpack(order + position, start, at)
    size_bytes = struct.calcsize(order + dialect.size)
    n_entries = _unpack(order + dialect.size, _read(file, at, size_bytes, size))
    if not 0 < n_entries <= _MAX_ENTRIES:
        msg = f"The image directory has {n_entries} entries, expected 1 to {_MAX_ENTRIES}"
        raise MalformedTiffError(msg)
    at += size_bytes
    entry = struct.Struct(order + dialect.entry)
    data = _read(file, at, n_entries * entry.size, size)
    fields: dict[int, Field] = {}
    for number, (tag, kind, n_values, value) in enumerate(entry.iter_unpack(data)):
        if tag not in _WANTED or tag in fields:
            continue
        if kind not in _TYPES:
            msg = f"Tag {Tag(tag).name} has type {kind}, expected one of {sorted(_TYPES)}"
            raise MalformedTiffError(msg)
        length = n_values * int(_TYPES[kind][1])
        limit = _MAX_TABLE_BYTES if tag in _TABLES else _MAX_FIELD_BYTES
        if length > limit:
            msg = f"Tag {Tag(tag).name}: {length} bytes of values, at most {limit} are read"
            raise UnsupportedTiffError(msg)
        offset = at + (number + 1) * entry.size - dialect.inline_bytes
        if length > dialect.inline_bytes:
            (offset,) = struct.unpack(order + position, value)
        if offset + length > size:
            msg = (
                f"Tag {Tag(tag).name}: {n_values} values at {offset}, beyond the end of the file "
                f"({size} bytes)"
            )
            raise MalformedTiffError(msg)
        fields[tag] = Field(tag, kind, n_values, offset, length)
    return Directory(order, fields)


def read_values(file: io.IOBase | BinaryIO, directory: Directory) -> dict[int, Any]:
    """Reads the values of a directory's fields.

    Returns:
        Tag -> text (ASCII), bytes (UNDEFINED), a number, a tuple of some numbers, or an
        array of many.
    """
    return {tag: _value(file, field, directory.byte_order)
            for tag, field in directory.fields.items()}  # fmt: skip


def _value(file: io.IOBase | BinaryIO, field: Field, byte_order: str) -> Any:  # noqa: ANN401 -- by its type
    file.seek(field.offset)
    data = file.read(field.length)
    if field.kind == _ASCII:
        return data.decode("utf-8", "replace").rstrip("\0")
    if field.kind == _UNDEFINED:
        return bytes(data)
    numbers = np.frombuffer(data, byte_order + _TYPES[field.kind])
    if field.n_values > _SMALL:
        return numbers
    values = tuple(numbers.tolist())
    return values[0] if len(values) == 1 else values


def _read(file: io.IOBase | BinaryIO, offset: int, length: int, size: int) -> bytes:
    if offset + length > size:
        msg = f"The image directory at {offset} lies beyond the end of the file ({size} bytes)"
        raise MalformedTiffError(msg)
    file.seek(offset)
    return bytes(file.read(length))


def _unpack(form: str, data: bytes, at: int = 0) -> int:
    try:
        return int(struct.unpack_from(form, data, at)[0])
    except struct.error as error:
        msg = f"Not a TIFF: it ends within its first {len(data)} bytes"
        raise MalformedTiffError(msg) from error
