"""COG headers -> what the rows of a collection say of their bands."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from rasteret_beam.errors import CrsError, MalformedTiffError, RecordError, UnsupportedTiffError
from rasteret_beam.grid import crs
from rasteret_beam.indexing.footprint import Extent
from rasteret_beam.storage.files import HEADER_BYTES, BeyondHeadError, HeadFile, RangeFile
from rasteret_beam.tiff.gdal_metadata import Calibration, parse_nodata
from rasteret_beam.tiff.header import read_header
from rasteret_beam.tiff.tags import PlanarConfiguration

if TYPE_CHECKING:
    import io
    from collections.abc import Mapping

    from rasteret_beam.elements import FileInfo
    from rasteret_beam.storage import Store
    from rasteret_beam.tiff.header import TiffHeader


BY_FILE, BY_CATALOGUE = "file", "catalogue"


class Head(NamedTuple):
    """The first bytes of a file, and its size and ETag."""

    data: bytes
    info: FileInfo


class BandStructs(NamedTuple):
    """What a row says of one band.

    Attributes:
        metadata: ``{band}_metadata``; tile tables are int64 arrays.
        tiff: ``{band}_tiff``.
    """

    metadata: dict[str, Any]
    tiff: dict[str, Any]


class IndexedFile(NamedTuple):
    """One COG, as its header or an earlier index describes it.

    Attributes:
        info: Size and ETag when its header was read.
        crs: CRS of its header, normalised, or None.
        extent: Where its pixels lie.
        samples: Samples a pixel.
        bands: 0-based sample -> what a row says of it.
    """

    info: FileInfo
    crs: str | None
    extent: Extent
    samples: int
    bands: Mapping[int, BandStructs]


def index_file(store: Store, href: str) -> IndexedFile:
    """Reads one COG's header: one ranged read, two where its tile tables are far away.

    Args:
        store: How files are read.
        href: The file.

    Returns:
        The indexed file, with every sample.

    Raises:
        FetchError: The file cannot be read.
        MalformedTiffError: It is no sound TIFF.
        UnsupportedTiffError: Its pixels are not read; the message says why.
    """
    head = read_head(store, href)
    try:
        return parse_head(head)
    except BeyondHeadError:
        return rest_of(store, href, head)


def read_head(store: Store, href: str) -> Head:
    """Reads what holds the header and tile tables of most COGs.

    Raises:
        FetchError: The file cannot be read.
    """
    return Head(*store.read_start(href, HEADER_BYTES))


def parse_head(head: Head) -> IndexedFile:
    """Gives ``index_file`` of a file whose first bytes hold all of its header.

    Raises:
        BeyondHeadError: They do not.
        MalformedTiffError: It is no sound TIFF.
        UnsupportedTiffError: Its pixels are not read.
    """
    return _indexed(HeadFile(head.data, head.info.size), head.info)


def rest_of(store: Store, href: str, head: Head) -> IndexedFile:
    """Gives ``index_file`` of a file whose first bytes were read; reads what is missing."""
    with RangeFile(store, href, head=head) as file:
        return _indexed(file, head.info)


def _indexed(file: io.RawIOBase | io.BytesIO, info: FileInfo) -> IndexedFile:
    header = read_header(file)
    _check_extent(header, info)
    try:
        raster_crs = None if header.crs_text is None else crs.normalise(header.crs_text)
    except CrsError as error:
        msg = f"Its geokeys name a CRS that is not known: {error}"
        raise UnsupportedTiffError(msg) from error
    return IndexedFile(
        info,
        raster_crs,
        Extent(header.width, header.height, header.scale, header.origin),
        header.samples_per_pixel,
        _Bands(header, info, raster_crs),
    )


def structs_of(file: IndexedFile, band: str, band_index: int | None) -> BandStructs:
    """Gives what a row says of one band of a file.

    Args:
        file: The file.
        band: Its name, for messages.
        band_index: 0-based sample; None for a file of one sample.

    Raises:
        RecordError: The file has several samples and none is named, or not this one.
    """
    if band_index is None and file.samples > 1:
        msg = f"Band {band} names none of the file's {file.samples} samples; give its band_index"
        raise RecordError(msg)
    index = band_index or 0
    if not 0 <= index < file.samples:
        msg = f"Band {band}={index}: the file has samples 0 to {file.samples - 1}"
        raise RecordError(msg)
    return file.bands[index]


class _Bands(dict[int, BandStructs]):
    """Structs of each sample, made when asked for: most files are asked for one of many."""

    def __init__(self, header: TiffHeader, info: FileInfo, raster_crs: str | None) -> None:
        super().__init__()
        self._header, self._info, self._crs = header, info, raster_crs

    def __missing__(self, index: int) -> BandStructs:
        metadata = _metadata_struct(self._header, index)
        tiff = _tiff_struct(self._header, index, self._info, self._crs)
        self[index] = BandStructs(metadata, tiff)
        return self[index]


def _check_extent(header: TiffHeader, info: FileInfo) -> None:
    """Tile tables that point beyond the file belong to another file, or a cut one."""
    stored = header.tile_byte_counts > 0
    if stored.any() and int(header.tile_offsets[stored].min()) >= info.size:
        msg = (
            f"Every tile begins beyond the end of the file ({info.size} bytes): "
            "it is cut short, or the header is broken"
        )
        raise MalformedTiffError(msg)


def _metadata_struct(header: TiffHeader, index: int) -> dict[str, Any]:
    offsets, counts = header.tile_offsets, header.tile_byte_counts
    if header.planar_configuration == PlanarConfiguration.PLANAR:
        plane = slice(index * header.tiles_per_plane, (index + 1) * header.tiles_per_plane)
        offsets, counts = offsets[plane], counts[plane]
    nodata = parse_nodata(header.nodata_text)
    return {
        "image_width": header.width,
        "image_height": header.height,
        "tile_width": header.tile_width,
        "tile_height": header.tile_height,
        "dtype": header.dtype,
        "transform": [header.scale[0], header.origin[0], header.scale[1], header.origin[1]],
        "predictor": header.predictor,
        "compression": header.compression,
        "tile_offsets": offsets,
        "tile_byte_counts": counts,
        "pixel_scale": list(header.pixel_scale) or None,
        "tiepoint": list(header.tiepoint) or None,
        # rasteret cannot load an infinite nodata; the tiff struct has it as text.
        "nodata": None if nodata is None or math.isinf(nodata) else float(nodata),
        "samples_per_pixel": header.samples_per_pixel,
        "planar_configuration": header.planar_configuration,
        "photometric": header.photometric,
        "extra_samples": list(header.extra_samples) or None,
    }


def _tiff_struct(
    header: TiffHeader, index: int, info: FileInfo, raster_crs: str | None,
) -> dict[str, Any]:
    calibration = header.calibrations.get(index, Calibration())
    return {
        "byte_order": {"<": "little", ">": "big"}[header.byte_order],
        "bits_per_sample": header.bits_per_sample,
        "jpeg_tables": header.jpeg_tables,
        "nodata": header.nodata_text,
        "scale": calibration.scale,
        "offset": calibration.offset,
        "unit": calibration.unit,
        "calibrated_by": None if calibration == Calibration() else BY_FILE,
        "crs": raster_crs,
        "file_size": info.size,
        "etag": info.etag,
    }
