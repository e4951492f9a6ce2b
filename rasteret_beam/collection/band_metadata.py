"""One band's metadata struct -> the asset that its tiles are read from."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rasteret_beam.elements import Asset, Grid, TileLayout
from rasteret_beam.errors import RecordError
from rasteret_beam.grid.geotransform import from_coefficients
from rasteret_beam.tiff.compression import BYTE_DECODERS
from rasteret_beam.tiff.gdal_metadata import parse_nodata
from rasteret_beam.tiff.header import MAX_TILE_BYTES
from rasteret_beam.tiff.ifd import MAX_TILES
from rasteret_beam.tiff.image_codecs import PIXEL_DECODERS
from rasteret_beam.tiff.tags import PlanarConfiguration, Predictor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rasteret_beam.elements import FileInfo

_MAX_PIXEL_BYTES = 8
_BYTE_ORDERS = {"little": "<", "big": ">"}


class BandMetadata:
    """One band's metadata struct, and what ``{band}_tiff`` adds to it."""

    def __init__(self, fields: Mapping[str, Any], tiff: Mapping[str, Any]) -> None:
        """Holds the fields of both structs, as ``columns_of`` gives them."""
        self._fields, self.tiff = fields, tiff

    def value(self, *names: str) -> Any:  # noqa: ANN401 -- any field
        """Gives the first of these fields that is there, or None."""
        for name in names:
            value = self._fields.get(name)
            if value is not None:
                return value
        return None

    def whole(self, name: str) -> int | None:
        """Gives a field that is a whole number, or None.

        Raises:
            RecordError: It is something else.
        """
        return _whole(self.value(name), name)

    def size(self, *names: str) -> int:
        """Gives a width or height, in pixels.

        Raises:
            RecordError: It is missing, or not above 0.
        """
        value = self.value(*names)
        if not isinstance(value, int) or value <= 0:
            msg = f"{names[0]} is {value!r}, expected a whole number above 0"
            raise RecordError(msg)
        return value


def _whole(value: Any, name: str) -> int | None:  # noqa: ANN401 -- any field
    """A whole number or None: columns of others can be of any type."""
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        msg = f"{name} is {value!r:.40}, expected a whole number"
        raise RecordError(msg)
    return value


class StoredFile(NamedTuple):
    """What a record says of one file.

    Attributes:
        href: Where it is.
        offsets: Its ``tile_offsets``, int64, or None.
        counts: Its ``tile_byte_counts``, int64, or None.
        sound: Whether no number in them is known to be below 0.
        info: Its size and ETag when it was indexed, or None.
    """

    href: str
    offsets: np.ndarray | None
    counts: np.ndarray | None
    sound: bool
    info: FileInfo | None


class AssetShape(NamedTuple):
    """What a band's metadata says of how a file is stored: alike for many records.

    Attributes:
        width: Columns of the image, in pixels.
        height: Rows of the image, in pixels.
        layout: How tiles are stored.
        sample: Index of the band's sample.
        samples: Samples of the file.
        planar: Whether each sample has tiles of its own.
    """

    width: int
    height: int
    layout: TileLayout
    sample: int
    samples: int
    planar: bool

    def grid(self, transform: Any, record_crs: str | None) -> Grid:  # noqa: ANN401 -- a list, or what is none
        """Gives where the pixels of one record lie.

        Raises:
            RecordError: The transform cannot be used.
        """
        layout = self.layout
        return _grid(
            self.width, self.height, layout.tile_width, layout.tile_height,
            tuple(transform) if isinstance(transform, list) else str(transform), record_crs,
        )  # fmt: skip

    def asset(self, band: str, file: StoredFile, grid: Grid) -> Asset:
        """Gives the asset of one record, with this one band.

        Args:
            band: The band's name.
            file: The file; the asset keeps views of its tables.
            grid: Where its pixels lie.

        Raises:
            RecordError: The tables are missing, or do not fit the image.
        """
        offsets, counts = file.offsets, file.counts
        if offsets is None or counts is None:
            name = "tile_offsets" if offsets is None else "tile_byte_counts"
            msg = f"{name} is missing, or holds nulls"
            raise RecordError(msg)
        n_tiles = grid.tiles_across * grid.tiles_down
        if n_tiles > MAX_TILES:
            msg = (
                f"An image of {n_tiles} tiles ({grid.width} x {grid.height} pixels in tiles of "
                f"{grid.tile_width} x {grid.tile_height}), at most {MAX_TILES} are read"
            )
            raise RecordError(msg)
        if len(offsets) != len(counts):
            msg = f"{len(offsets)} tile_offsets but {len(counts)} tile_byte_counts"
            raise RecordError(msg)
        if self.planar and len(offsets) == n_tiles * self.samples and self.samples > 1:
            # The whole file's table, not yet cut to this band's plane.
            plane = slice(self.sample * n_tiles, (self.sample + 1) * n_tiles)
            offsets, counts = offsets[plane], counts[plane]
        if len(offsets) > n_tiles:
            msg = f"{len(offsets)} tile_offsets for an image of {n_tiles} tiles"
            raise RecordError(msg)
        if not file.sound and ((offsets < 0).any() or (counts < 0).any()):
            least = min(offsets.min(), counts.min())
            msg = f"A tile offset or byte count below 0: {least}"
            raise RecordError(msg)
        plane_index, sample = (self.sample, 0) if self.planar else (0, self.sample)
        return Asset(
            file.href, plane_index, grid, self.layout, (band,), (sample,), offsets, counts,
            file.info,
        )  # fmt: skip


def read_shape(band: str, band_index: int | None, metadata: BandMetadata) -> AssetShape:
    """Reads what one band's metadata says of how its file is stored.

    Args:
        band: The band's name.
        band_index: 0-based index of the band's sample; None where the asset has none.
        metadata: The band's structs.

    Raises:
        RecordError: The metadata is incomplete, contradicts itself, or is of a file that
            is not read.
    """
    width, height = metadata.size("image_width", "width"), metadata.size("image_height", "height")
    tile = metadata.size("tile_width"), metadata.size("tile_height")
    samples = metadata.whole("samples_per_pixel") or 1
    planar = (metadata.whole("planar_configuration") or 1) == PlanarConfiguration.PLANAR
    sample = _sample_index(band, band_index, samples)
    layout = _layout(tile, 1 if planar else samples, metadata)
    return AssetShape(width, height, layout, sample, samples, planar)


@functools.lru_cache(maxsize=65536)
def _grid(
    width: int,
    height: int,
    tile_width: int,
    tile_height: int,
    transform: tuple[float, ...] | str,
    record_crs: str | None,
) -> Grid:
    """The dates of one satellite tile share one grid object."""
    geotransform = from_coefficients(transform)
    return Grid(width, height, tile_width, tile_height, geotransform, record_crs)


def _sample_index(band: str, band_index: int | None, samples: int) -> int:
    if band_index is None and samples > 1:
        msg = (
            f"Band {band!r} names none of the {samples} samples of its file: "
            "its asset needs a band_index"
        )
        raise RecordError(msg)
    index = band_index or 0
    if not 0 <= index < samples:
        msg = f"band_index {index} of band {band!r}, but its file has {samples} sample(s)"
        raise RecordError(msg)
    return index


def _layout(tile: tuple[int, int], samples: int, metadata: BandMetadata) -> TileLayout:
    name, compression = metadata.value("dtype"), metadata.whole("compression")
    try:
        dtype = np.dtype(name)
    except (TypeError, ValueError, SyntaxError) as error:
        msg = f"dtype {name!r} is no pixel type; expected like 'uint16' or 'float32'"
        raise RecordError(msg) from error
    if name is None or dtype.kind not in "uif" or dtype.itemsize > _MAX_PIXEL_BYTES:
        msg = f"dtype {name!r} is no pixel type that is read; expected ints or floats"
        raise RecordError(msg)
    if compression is None or compression not in {*BYTE_DECODERS, *PIXEL_DECODERS}:
        msg = f"Unsupported TIFF compression: {compression}"
        raise RecordError(msg)
    predictor = metadata.whole("predictor") or Predictor.NONE
    if predictor not in list(Predictor):
        msg = f"Unsupported TIFF predictor: {predictor}"
        raise RecordError(msg)
    bits = _whole(metadata.tiff.get("bits_per_sample"), "bits_per_sample")
    if bits is not None and not 1 <= bits <= 8 * dtype.itemsize:
        msg = f"bits_per_sample is {bits}, expected 1 to {8 * dtype.itemsize} of a {dtype.name}"
        raise RecordError(msg)
    extra_samples = metadata.value("extra_samples") or ()
    if not isinstance(extra_samples, (list, tuple)):
        msg = f"extra_samples is {extra_samples!r:.40}, expected a list"
        raise RecordError(msg)
    nodata_text = metadata.tiff.get("nodata")
    stored = metadata.value("nodata")
    layout = TileLayout(
        tile_width=tile[0],
        tile_height=tile[1],
        dtype=dtype.name,
        samples=samples,
        compression=compression,
        predictor=predictor,
        bits_per_sample=bits,
        byte_order=_BYTE_ORDERS.get(metadata.tiff.get("byte_order", "")),
        photometric=metadata.whole("photometric"),
        extra_samples=tuple(extra_samples),
        jpeg_tables=metadata.tiff.get("jpeg_tables"),
        nodata=stored if nodata_text is None else parse_nodata(nodata_text),
    )
    if layout.decoded_bytes > MAX_TILE_BYTES:
        msg = f"A tile of {layout.decoded_bytes} decoded bytes, at most {MAX_TILE_BYTES} are read"
        raise RecordError(msg)
    return layout
