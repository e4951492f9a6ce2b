"""One band's metadata struct -> the asset that its tiles are read from."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from rasteret_beam.elements import Asset, Grid, TileLayout
from rasteret_beam.errors import NotIndexedError, RecordError
from rasteret_beam.grid.geotransform import from_coefficients
from rasteret_beam.tiff.compression import BYTE_DECODERS, PIXEL_DECODERS
from rasteret_beam.tiff.gdal_metadata import parse_nodata
from rasteret_beam.tiff.header import MAX_TILE_BYTES
from rasteret_beam.tiff.tags import PlanarConfiguration, Predictor

if TYPE_CHECKING:
    from collections.abc import Mapping

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

    def table(self, name: str) -> np.ndarray:
        """Gives a tile table, int64, a copy: a view would keep its whole batch.

        Raises:
            RecordError: It is missing, or has holes.
        """
        table = self._fields.get(name)
        if table is None:
            msg = f"{name} is missing, or holds nulls"
            raise RecordError(msg)
        return np.array(table, np.int64)


def read_asset(
    band: str, href: str, band_index: int | None, metadata: BandMetadata, record_crs: str | None,
) -> Asset:
    """Reads what one band's metadata says of its file.

    Args:
        band: The band's name.
        href: Where the file is.
        band_index: 0-based index of the band's sample; None where the asset has none.
        metadata: The band's structs.
        record_crs: The record's normalised CRS, or None.

    Returns:
        The asset, with this one band.

    Raises:
        NotIndexedError: It has no transform.
        RecordError: The metadata is incomplete, contradicts itself, or is of a file that
            is not read.
    """
    transform = metadata.value("transform")
    if transform is None:
        msg = "Transform is missing; expected 4 or 6 numbers"
        raise NotIndexedError(msg)
    grid = _grid(
        metadata.size("image_width", "width"),
        metadata.size("image_height", "height"),
        metadata.size("tile_width"),
        metadata.size("tile_height"),
        tuple(transform) if isinstance(transform, list) else str(transform),
        record_crs,
    )
    samples = metadata.value("samples_per_pixel") or 1
    planar = (metadata.value("planar_configuration") or 1) == PlanarConfiguration.PLANAR
    sample = _sample_index(band, band_index, samples)
    layout = _layout(grid, 1 if planar else samples, metadata)
    offsets, counts = metadata.table("tile_offsets"), metadata.table("tile_byte_counts")
    n_tiles = grid.tiles_across * grid.tiles_down
    if len(offsets) != len(counts):
        msg = f"{len(offsets)} tile_offsets but {len(counts)} tile_byte_counts"
        raise RecordError(msg)
    if planar and len(offsets) == n_tiles * samples and samples > 1:
        # The whole file's table, not yet cut to this band's plane.
        plane = slice(sample * n_tiles, (sample + 1) * n_tiles)
        offsets, counts = offsets[plane], counts[plane]
    if len(offsets) > n_tiles:
        msg = f"{len(offsets)} tile_offsets for an image of {n_tiles} tiles"
        raise RecordError(msg)
    if (offsets < 0).any() or (counts < 0).any():
        msg = f"A tile offset or byte count below 0: {min(offsets.min(), counts.min())}"
        raise RecordError(msg)
    if len(offsets) < n_tiles:
        beyond = (0, n_tiles - len(offsets))
        offsets, counts = np.pad(offsets, beyond), np.pad(counts, beyond, constant_values=-1)
    if planar:
        return Asset(href, sample, grid, layout, (band,), (0,), offsets, counts)
    return Asset(href, 0, grid, layout, (band,), (sample,), offsets, counts)


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


def _layout(grid: Grid, samples: int, metadata: BandMetadata) -> TileLayout:
    name, compression = metadata.value("dtype"), metadata.value("compression")
    try:
        dtype = np.dtype(name)
    except TypeError as error:
        msg = f"dtype {name!r} is no pixel type; expected like 'uint16' or 'float32'"
        raise RecordError(msg) from error
    if name is None or dtype.kind not in "uif":
        msg = f"dtype {name!r} is no pixel type that is read; expected ints or floats"
        raise RecordError(msg)
    if compression not in BYTE_DECODERS and compression not in PIXEL_DECODERS:
        msg = f"Unsupported TIFF compression: {compression}"
        raise RecordError(msg)
    predictor = metadata.value("predictor") or Predictor.NONE
    if predictor not in list(Predictor):
        msg = f"Unsupported TIFF predictor: {predictor}"
        raise RecordError(msg)
    nodata_text = metadata.tiff.get("nodata")
    stored = metadata.value("nodata")
    layout = TileLayout(
        tile_width=grid.tile_width,
        tile_height=grid.tile_height,
        dtype=dtype.name,
        samples=samples,
        compression=compression,
        predictor=predictor,
        bits_per_sample=metadata.tiff.get("bits_per_sample"),
        byte_order=_BYTE_ORDERS.get(metadata.tiff.get("byte_order", "")),
        photometric=metadata.value("photometric"),
        extra_samples=tuple(metadata.value("extra_samples") or ()),
        jpeg_tables=metadata.tiff.get("jpeg_tables"),
        nodata=stored if nodata_text is None else parse_nodata(nodata_text),
    )
    if layout.decoded_bytes > MAX_TILE_BYTES:
        msg = f"A tile of {layout.decoded_bytes} decoded bytes, at most {MAX_TILE_BYTES} are read"
        raise RecordError(msg)
    return layout
