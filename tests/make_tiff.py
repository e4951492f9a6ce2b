"""Builds tiled GeoTIFFs from numpy arrays, byte by byte from the specifications.

Nothing here uses the package's own reading code (only its names for numbers), nor GDAL.
"""

from __future__ import annotations

import itertools
import lzma
import pathlib
import struct
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np

from rasteret_beam.elements import Geotransform
from rasteret_beam.tiff.tags import Compression, GeoKey, Photometric, SampleFormat, Tag

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NORTH_UP = Geotransform(scale_x=10.0, origin_x=500_000.0, scale_y=-10.0, origin_y=4_000_000.0)
"""The grid of a file whose maker did not ask for another."""

BYTE, ASCII, SHORT, LONG, RATIONAL, SBYTE, UNDEFINED = range(1, 8)
SSHORT, SLONG, SRATIONAL, FLOAT, DOUBLE, IFD = range(8, 14)
LONG8, SLONG8, IFD8 = 16, 17, 18
TYPE_CODES = {
    BYTE: "B", ASCII: "B", SHORT: "H", LONG: "I", RATIONAL: "II", SBYTE: "b", UNDEFINED: "B",
    SSHORT: "h", SLONG: "i", SRATIONAL: "ii", FLOAT: "f", DOUBLE: "d", IFD: "I",
    LONG8: "Q", SLONG8: "q", IFD8: "Q",
}  # fmt: skip
"""TIFF field type -> struct code (TIFF 6.0, section 2; BigTIFF's three at the end)."""

RawTag = tuple[int, "bytes | str | Sequence[Any]"]
"""A field type and its values; bytes go out as they are, whatever the type."""

YCBCR_SUBSAMPLING, LERC_PARAMETERS = 530, 50674
_BYTE_ENCODERS = {
    Compression.NONE: bytes,
    Compression.LZW: imagecodecs.lzw_encode,
    Compression.ADOBE_DEFLATE: zlib.compress,
    Compression.DEFLATE: zlib.compress,
    Compression.PACKBITS: imagecodecs.packbits_encode,
    Compression.LZMA: lzma.compress,
    Compression.ZSTD: imagecodecs.zstd_encode,
}


@dataclass(frozen=True, kw_only=True)
class TiffOptions:
    """What a file is like, beside its pixels."""

    tile: tuple[int, int] = (16, 16)  # (rows, columns), in pixels
    compression: int = Compression.NONE  # tag 259
    predictor: int = 1  # tag 317, and applied
    planar: bool = False  # each band has tiles of its own
    byte_order: str = "<"
    big: bool = False  # BigTIFF
    bits_per_sample: int | None = None  # where fewer than the dtype has
    sparse: Sequence[int] = ()  # tile numbers, over all planes, stored as offset 0, count 0
    streams: Mapping[int, bytes] = field(default_factory=dict)  # tile number -> bytes instead
    tile_gap_bytes: int = 0  # unused bytes before each tile
    photometric: int | None = None  # tag 262; None: see _photometric
    jpeg_tables: bool = False  # tables in tag 347, as libtiff writes them
    jpeg_subsampling: str = "444"  # or "420", for YCbCr
    level: int | None = None  # the codec's; without one, all but JPEG are lossless
    lerc_compression: str = ""  # what wraps a LERC blob: "", "deflate" or "zstd"
    mask: np.ndarray | None = None  # for LERC: (row, col), True where valid; NaN is masked too
    nodata: str | None = None  # text of GDAL's tag
    geotransform: Geotransform | None = NORTH_UP  # of outer corners, however it is written
    tiepoint_at: tuple[int, int] = (0, 0)  # its (row, col)
    as_matrix: bool = False  # ModelTransformation; south-up grids are always written so
    pixel_is_point: bool = False  # write coordinates of pixel centres
    epsg: int | None = 32633
    geographic: bool | None = None  # None: where the code is 4000..4999
    geokeys: Mapping[int, Any] = field(default_factory=dict)  # int, float(s), text; None: away
    tags: Mapping[int, RawTag | None] = field(default_factory=dict)  # add, replace, take away
    descending: bool = False  # tags from the highest to the lowest
    ifd_at_end: bool = False  # behind the tiles


def make_tiff(pixels: np.ndarray, **options: Any) -> bytes:
    """Gives the bytes of a tiled GeoTIFF of pixels (band, row, col), or (row, col).

    The keyword arguments are the fields of ``TiffOptions``.
    """
    chosen = TiffOptions(**options)
    pixels = pixels[np.newaxis] if pixels.ndim == 2 else pixels
    cut = cut_tiles(pixels, chosen)
    tiles = [encode_tile(block, chosen, mask) for block, mask in cut]
    tables = b""
    if chosen.compression == Compression.JPEG and chosen.jpeg_tables:
        (tables,) = {_split_jpeg(data)[0] for data in tiles}  # one set, so 8 bits only
        tiles = [_split_jpeg(data)[1] for data in tiles]
    for number, data in {**chosen.streams, **dict.fromkeys(chosen.sparse, b"")}.items():
        tiles[number] = data
    return _Writer(chosen, _image_tags(pixels, chosen, tables), tiles).file()


def write_tiff(path: Any, pixels: np.ndarray, **options: Any) -> pathlib.Path:
    """Writes ``make_tiff`` to a path and gives the path."""
    path = pathlib.Path(path)
    path.write_bytes(make_tiff(pixels, **options))
    return path


def cut_tiles(pixels: np.ndarray, options: TiffOptions) -> list[tuple[np.ndarray, Any]]:
    """Cuts into tiles (row, col, sample) with masks, in file order; edges repeat the last pixel."""
    tile_height, tile_width = options.tile
    bands, height, width = pixels.shape
    pad = ((0, -height % tile_height), (0, -width % tile_width))
    padded = np.pad(pixels, ((0, 0), *pad), mode="edge")
    mask = None if options.mask is None else np.pad(options.mask, pad, mode="edge")
    planes = [[band] for band in range(bands)] if options.planar else [list(range(bands))]
    tiles = []
    rows, cols = range(0, height, tile_height), range(0, width, tile_width)
    for plane, row, col in itertools.product(planes, rows, cols):
        box = np.s_[row : row + tile_height, col : col + tile_width]
        block = np.moveaxis(padded[(plane, *box)], 0, -1)
        tiles.append((np.ascontiguousarray(block), None if mask is None else mask[box]))
    return tiles


def encode_tile(block: np.ndarray, options: TiffOptions, mask: np.ndarray | None = None) -> bytes:
    """Encodes one tile of shape (row, col, sample)."""
    if options.compression in _BYTE_ENCODERS:
        return compress(_stored_bytes(block, options), options.compression)
    return bytes(_encode_pixels(block, options, mask))


def compress(raw: bytes, compression: int) -> bytes:
    """Compresses bytes with one of the codecs that take bytes."""
    return bytes(_BYTE_ENCODERS[compression](raw))


def _stored_bytes(block: np.ndarray, options: TiffOptions) -> bytes:
    bits = options.bits_per_sample
    if bits is not None and bits != block.dtype.itemsize * 8:
        return pack_bits(block, bits, options.byte_order)
    if options.predictor == 3:
        return difference_floats(block)
    if options.predictor == 2:
        block = difference(block)
    return block.astype(block.dtype.newbyteorder(options.byte_order)).tobytes()


def pack_bits(block: np.ndarray, bits: int, byte_order: str = "<") -> bytes:
    """Packs the low bits of each sample, most significant first; each row fills a byte."""
    rows = block.reshape(len(block), -1).view(f"u{block.dtype.itemsize}").astype(np.uint64)
    places = np.arange(bits - 1, -1, -1, dtype=np.uint64)
    ones = (rows[..., np.newaxis] >> places) & np.uint64(1)
    packed = np.packbits(ones.reshape(len(block), -1).astype(np.uint8), axis=1)
    if bits == 24 and byte_order == ">":
        # libtiff swaps 24-bit samples of big-endian files, on top of GDAL's packing.
        packed = packed.reshape(-1, 3)[:, ::-1]
    return packed.tobytes()


def difference(block: np.ndarray) -> np.ndarray:
    """Applies predictor 2: each sample less the one to its left, wrapping around."""
    whole = block.view(f"u{block.dtype.itemsize}")
    out = whole.copy()
    out[:, 1:] = whole[:, 1:] - whole[:, :-1]
    return out


def difference_floats(block: np.ndarray) -> bytes:
    """Applies predictor 3: byte planes of each row, most significant first, differenced."""
    rows, _, samples = block.shape
    big = block.astype(block.dtype.newbyteorder(">")).reshape(rows, -1, 1)
    planes = big.view(np.uint8).transpose(0, 2, 1).reshape(rows, -1)
    out = planes.copy()
    out[:, samples:] = planes[:, samples:] - planes[:, :-samples]
    return out.tobytes()


def _encode_pixels(block: np.ndarray, options: TiffOptions, mask: np.ndarray | None) -> bytes:
    image = block[..., 0] if block.shape[2] == 1 else block
    level, lossless = options.level, options.level is None
    if options.compression == Compression.JPEG:
        return encode_jpeg(image, options)
    if options.compression == Compression.LERC:
        return encode_lerc(image, options, mask)
    if options.compression == Compression.WEBP:
        return imagecodecs.webp_encode(image, level=level, lossless=lossless)
    if options.compression == Compression.JPEG_2000:
        codestream = {"codecformat": "J2K", "reversible": lossless}
        return imagecodecs.jpeg2k_encode(image, level=level, **codestream)
    return imagecodecs.jpegxl_encode(image, level=level, lossless=lossless)


def encode_jpeg(image: np.ndarray, options: TiffOptions) -> bytes:
    """Encodes a JPEG as libtiff does: no JFIF or Adobe marker tells what is inside."""
    colour: dict[str, Any] = {}
    if image.ndim == 3 and image.shape[2] == 3:
        ycbcr = options.photometric in (None, Photometric.YCBCR)
        colour = {"colorspace": "RGB", "outcolorspace": "YCBCR" if ycbcr else "RGB"}
        colour["subsampling"] = options.jpeg_subsampling if ycbcr else "444"
    elif image.ndim == 3:
        colour = {"colorspace": "CMYK", "outcolorspace": "CMYK"}
    level = 95 if options.level is None else options.level
    stream = imagecodecs.jpeg8_encode(image, level=level, optimize=False, **colour)
    return b"".join(
        segment for marker, segment in _jpeg_segments(stream) if not 0xE0 <= marker <= 0xEF
    )


def _jpeg_segments(stream: bytes) -> list[tuple[int, bytes]]:
    """Splits a JPEG into (marker, bytes); the scan and all behind it are one piece."""
    segments, at = [(0xD8, stream[:2])], 2
    while stream[at + 1] != 0xDA:
        end = at + 2 + struct.unpack_from(">H", stream, at + 2)[0]
        segments.append((stream[at + 1], stream[at:end]))
        at = end
    return [*segments, (0xDA, stream[at:])]


def _split_jpeg(stream: bytes) -> tuple[bytes, bytes]:
    """Splits a JPEG into its tables and what is left (TIFF technical note 2)."""
    segments = _jpeg_segments(stream)
    tables = b"".join(segment for marker, segment in segments if marker in (0xDB, 0xC4))
    rest = b"".join(segment for marker, segment in segments if marker not in (0xDB, 0xC4))
    return b"\xff\xd8" + tables + b"\xff\xd9", rest


def encode_lerc(image: np.ndarray, options: TiffOptions, mask: np.ndarray | None) -> bytes:
    """Encodes a LERC blob as libtiff does: bands with masks of their own lie band by band."""
    bands = np.atleast_3d(image)
    valid = ~np.isnan(bands) & (True if mask is None else mask[..., np.newaxis])
    apart = bool((valid != valid[..., :1]).any())
    if apart:
        image, valid = (np.moveaxis(a, -1, 0).copy() for a in (bands, valid))
    masks = None if valid.all() else valid if apart else valid[..., 0].copy()
    level = options.level or 0
    blob = bytes(imagecodecs.lerc_encode(image, level=level, masks=masks, planar=apart))
    wrap = {"": bytes, "deflate": zlib.compress, "zstd": imagecodecs.zstd_encode}
    return bytes(wrap[options.lerc_compression](blob))


def _image_tags(pixels: np.ndarray, options: TiffOptions, tables: bytes) -> dict[int, RawTag]:
    bands, height, width = pixels.shape
    in_tile = 1 if options.planar else bands
    kinds = {"u": SampleFormat.UNSIGNED, "i": SampleFormat.SIGNED, "f": SampleFormat.FLOAT}
    bits = options.bits_per_sample or pixels.dtype.itemsize * 8
    photometric = options.photometric or _photometric(pixels.dtype, in_tile, options)
    tags: dict[int, RawTag] = {
        Tag.IMAGE_WIDTH: (LONG, [width]),
        Tag.IMAGE_LENGTH: (LONG, [height]),
        Tag.BITS_PER_SAMPLE: (SHORT, [bits] * bands),
        Tag.COMPRESSION: (SHORT, [options.compression]),
        Tag.PHOTOMETRIC_INTERPRETATION: (SHORT, [photometric]),
        Tag.SAMPLES_PER_PIXEL: (SHORT, [bands]),
        Tag.PLANAR_CONFIGURATION: (SHORT, [2 if options.planar else 1]),
        Tag.TILE_WIDTH: (SHORT, [options.tile[1]]),
        Tag.TILE_LENGTH: (SHORT, [options.tile[0]]),
        Tag.SAMPLE_FORMAT: (SHORT, [kinds[pixels.dtype.kind]] * bands),
    }
    colours = {Photometric.RGB: 3, Photometric.YCBCR: 3, Photometric.SEPARATED: 4}
    extra = bands - colours.get(photometric, 1)
    if extra > 0:
        tags[Tag.EXTRA_SAMPLES] = (SHORT, [0] * extra)
    if options.predictor != 1:
        tags[Tag.PREDICTOR] = (SHORT, [options.predictor])
    if tables:
        tags[Tag.JPEG_TABLES] = (UNDEFINED, tables)
    if options.compression == Compression.JPEG and photometric == Photometric.YCBCR:
        ratio = [2, 2] if options.jpeg_subsampling == "420" else [1, 1]
        tags[YCBCR_SUBSAMPLING] = (SHORT, ratio)
    if options.compression == Compression.LERC:
        wrapped = {"": 0, "deflate": 1, "zstd": 2}[options.lerc_compression]
        tags[LERC_PARAMETERS] = (LONG, [4, wrapped])
    if options.nodata is not None:
        tags[Tag.GDAL_NODATA] = (ASCII, options.nodata)
    return {**tags, **geo_tags(options)}


def _photometric(dtype: np.dtype, in_tile: int, options: TiffOptions) -> int:
    if options.compression == Compression.JPEG:
        return {3: Photometric.YCBCR, 4: Photometric.SEPARATED}.get(in_tile, 1)
    return Photometric.RGB if in_tile >= 3 and dtype == np.uint8 else 1


def geo_tags(options: TiffOptions) -> dict[int, RawTag]:
    """Gives the tags that locate the pixels: model space, and keys that name the CRS."""
    tags: dict[int, RawTag] = {}
    grid = options.geotransform
    if grid is not None:
        half = 0.5 if options.pixel_is_point else 0.0
        origin_x = grid.origin_x + half * grid.scale_x
        origin_y = grid.origin_y + half * grid.scale_y
        if options.as_matrix or grid.scale_y > 0:
            matrix = np.diag([grid.scale_x, grid.scale_y, 0.0, 1.0])
            matrix[:2, 3] = origin_x, origin_y
            tags[Tag.MODEL_TRANSFORMATION] = (DOUBLE, matrix.ravel().tolist())
        else:
            row, col = options.tiepoint_at
            x, y = origin_x + col * grid.scale_x, origin_y + row * grid.scale_y
            tags[Tag.MODEL_PIXEL_SCALE] = (DOUBLE, [grid.scale_x, -grid.scale_y, 0.0])
            tags[Tag.MODEL_TIEPOINT] = (DOUBLE, [col, row, 0.0, x, y, 0.0])
    return {**tags, **geokey_tags(_geokeys(options))}


def _geokeys(options: TiffOptions) -> dict[int, Any]:
    keys: dict[int, Any] = {GeoKey.GT_RASTER_TYPE: 2 if options.pixel_is_point else 1}
    if options.epsg is not None:
        guess = 4000 <= options.epsg < 5000
        geographic = guess if options.geographic is None else options.geographic
        keys[GeoKey.GT_MODEL_TYPE] = 2 if geographic else 1
        keys[GeoKey.GEODETIC_CRS if geographic else GeoKey.PROJECTED_CRS] = options.epsg
    return {k: v for k, v in {**keys, **options.geokeys}.items() if v is not None}


def geokey_tags(keys: Mapping[int, Any]) -> dict[int, RawTag]:
    """Lays out a key directory with its doubles and text (GeoTIFF 1.1, section 7.1)."""
    directory, doubles, text = [1, 1, 0, len(keys)], [], ""
    for key, value in sorted(keys.items()):
        if isinstance(value, str):
            directory += [key, Tag.GEO_ASCII_PARAMS, len(value) + 1, len(text)]
            text += value + "|"
        elif isinstance(value, (float, tuple)):
            numbers = value if isinstance(value, tuple) else (value,)
            directory += [key, Tag.GEO_DOUBLE_PARAMS, len(numbers), len(doubles)]
            doubles.extend(numbers)
        else:
            directory += [key, 0, 1, int(value)]
    tags: dict[int, RawTag] = {Tag.GEO_KEY_DIRECTORY: (SHORT, directory)}
    if doubles:
        tags[Tag.GEO_DOUBLE_PARAMS] = (DOUBLE, doubles)
    if text:
        tags[Tag.GEO_ASCII_PARAMS] = (ASCII, text)
    return tags


class _Writer:
    """Lays header, one image directory, its values and the tiles end to end."""

    def __init__(self, options: TiffOptions, tags: dict[int, RawTag], tiles: list[bytes]) -> None:
        self._options, self._tags, self._tiles = options, tags, tiles
        self._order = options.byte_order
        self._header_bytes, self._word = (16, "Q") if options.big else (8, "I")

    def file(self) -> bytes:
        """Gives the file; tile offsets fit the place where the tiles come to lie."""
        gap = bytes(self._options.tile_gap_bytes)
        body = b"".join(gap + data for data in self._tiles)
        body += bytes(len(body) % 2)
        if self._options.ifd_at_end:
            at = self._header_bytes + len(body)
            return self._header(at) + body + self._directory(at, self._header_bytes)
        at = self._header_bytes
        tiles_at = at + len(self._directory(at, 0))
        return self._header(at) + self._directory(at, tiles_at) + body

    def _header(self, ifd_at: int) -> bytes:
        mark = b"II" if self._order == "<" else b"MM"
        if self._options.big:
            return mark + struct.pack(self._order + "HHHQ", 43, 8, 0, ifd_at)
        return mark + struct.pack(self._order + "HI", 42, ifd_at)

    def _directory(self, at: int, tiles_at: int) -> bytes:
        gap = self._options.tile_gap_bytes
        ends = list(itertools.accumulate(gap + len(data) for data in self._tiles))
        offsets = [
            tiles_at + end - len(data) if data else 0
            for end, data in zip(ends, self._tiles, strict=True)
        ]
        wide = LONG8 if self._options.big else LONG
        tables = {
            Tag.TILE_OFFSETS: (wide, offsets),
            Tag.TILE_BYTE_COUNTS: (wide, [len(t) for t in self._tiles]),
        }
        tags = {**self._tags, **tables, **self._options.tags}
        entries = [(code, tag) for code, tag in tags.items() if tag is not None]
        entries.sort(reverse=self._options.descending)
        count_code, room = ("Q", 8) if self._options.big else ("H", 4)
        values_at = at + struct.calcsize("<" + count_code)
        values_at += len(entries) * (4 + 2 * room) + room
        out, values = struct.pack(self._order + count_code, len(entries)), b""
        for code, (kind, content) in entries:
            count, data = self._pack(kind, content)
            out += struct.pack(self._order + "HH" + self._word, code, kind, count)
            if len(data) <= room:
                out += data.ljust(room, b"\0")
            else:
                out += struct.pack(self._order + self._word, values_at + len(values))
                values += data + bytes(len(data) % 2)
        return out + bytes(room) + values

    def _pack(self, kind: int, content: bytes | str | Sequence[Any]) -> tuple[int, bytes]:
        if isinstance(content, str):
            content = content.encode("latin-1") + b"\0"
        if isinstance(content, bytes):
            return len(content) // struct.calcsize("<" + TYPE_CODES.get(kind, "B")), content
        code = TYPE_CODES[kind]
        data = struct.pack(f"{self._order}{code * (len(content) // len(code))}", *content)
        return len(content) // len(code), data
