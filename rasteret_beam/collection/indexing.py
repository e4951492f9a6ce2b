"""COG headers -> collection rows, in the Parquet contract that rasteret reads."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import shapely

from rasteret_beam import schema
from rasteret_beam.collection import naming
from rasteret_beam.collection.footprint import footprint_of
from rasteret_beam.errors import (
    CrsError,
    FetchError,
    MalformedTiffError,
    RecordError,
    UnsupportedTiffError,
)
from rasteret_beam.grid import crs
from rasteret_beam.schema import METADATA_SUFFIX, TIFF_SUFFIX
from rasteret_beam.storage.files import RangeFile
from rasteret_beam.storage.store import has_wildcard, local_path, redact
from rasteret_beam.tiff.header import parse_nodata, read_header
from rasteret_beam.tiff.tags import PlanarConfiguration

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence

    from rasteret_beam.storage import Store
    from rasteret_beam.storage.store import FileInfo
    from rasteret_beam.tiff.header import TiffHeader

STAGE = "BuildCollection"

_VERSION = {b"rasteret_collection_version": b"1"}


class IndexedFile(NamedTuple):
    """One COG, ready to become a row.

    Attributes:
        href: Where the file is.
        datetime: When it was taken, UTC, or None.
        bands: Name -> 0-based index of its sample.
        row: The columns that need no other file: geometry, bbox, CRS and band structs.
    """

    href: str
    datetime: dt.datetime | None
    bands: dict[str, int]
    row: dict[str, Any]


def index_file(
    store: Store,
    href: str,
    *,
    bands: Mapping[str, int] | None = None,
    datetime_pattern: str | None = None,
) -> IndexedFile:
    """Reads one COG's header into what its collection row needs.

    Args:
        store: How files are read.
        href: The file.
        bands: Name -> 0-based index of the samples wanted; by default ``B1`` .. ``Bn``.
        datetime_pattern: Regular expression that finds the acquisition time in the
            file's name; see ``naming.find_datetime``.

    Returns:
        The indexed file.

    Raises:
        FetchError: The file cannot be read.
        MalformedTiffError: It is no sound TIFF.
        UnsupportedTiffError: Its pixels are not read; the message says why.
        RecordError: A band index that it does not have, or a name without a time.
    """
    with RangeFile(store, href) as file:
        header = read_header(file)
        _check_extent(header, file.info)
    wanted = dict(bands) if bands else _default_bands(header)
    for name, index in wanted.items():
        if not 0 <= index < header.samples_per_pixel:
            msg = f"Band {name}={index}: the file has samples 0 to {header.samples_per_pixel - 1}"
            raise RecordError(msg)
    try:
        raster_crs = None if header.crs_text is None else crs.normalise(header.crs_text)
    except CrsError as error:
        msg = f"Its geokeys name a CRS that is not known: {error}"
        raise UnsupportedTiffError(msg) from error
    bbox, footprint = footprint_of(header, raster_crs)
    row: dict[str, Any] = {
        "geometry": shapely.to_wkb(footprint),
        "bbox": dict(zip(("xmin", "ymin", "xmax", "ymax"), bbox, strict=True)),
        "proj:epsg": crs.epsg(raster_crs),
        "crs": raster_crs if crs.epsg(raster_crs) is not None else None,
        "proj:projjson": raster_crs if crs.epsg(raster_crs) is None else None,
        "assets": {name: {"href": href, "band_index": index} for name, index in wanted.items()},
    }
    tiff = _tiff_struct(header, file.info)
    for name, index in wanted.items():
        row[name + METADATA_SUFFIX] = _metadata_struct(header, index)
        row[name + TIFF_SUFFIX] = tiff
    when = None if datetime_pattern is None else naming.find_datetime(datetime_pattern, href)
    return IndexedFile(href, when, wanted, row)


def list_inputs(store: Store, inputs: str) -> list[str]:
    """Lists the files to index.

    Args:
        store: How files are read.
        inputs: A file whose name ends as a TIFF's does, a pattern, a local folder (all
            TIFFs below it), or else a text file with one path or URL a line; blank
            lines and lines that begin with ``#`` are passed over.

    Returns:
        Addresses, each once, local ones in full.

    Raises:
        FetchError: Nothing matches, or the list cannot be read.
    """
    path = local_path(inputs)
    if path is not None and path.is_dir():
        found = [uri for uri in store.list_files(inputs) if _is_tiff(uri)]
        if not found:
            msg = f"{inputs}: no .tif or .tiff file below it"
            raise FetchError(msg)
    elif has_wildcard(inputs) or _is_tiff(inputs):
        found = store.glob(inputs)
    else:
        with RangeFile(store, inputs) as file:
            try:
                lines = file.read().decode().splitlines()
            except UnicodeDecodeError as error:
                msg = f"{redact(inputs)}: neither a TIFF by its name nor a list of files"
                raise FetchError(msg) from error
        found = [line.strip() for line in lines]
        found = [line for line in found if line and not line.startswith("#")]
    return list(dict.fromkeys(naming.absolute_href(uri) for uri in found))


def _is_tiff(uri: str) -> bool:
    return uri.partition("?")[0].lower().endswith((".tif", ".tiff", ".gtiff", ".cog"))


def collection_schema(bands: Sequence[str]) -> pa.Schema:
    """Gives the schema of a collection with these bands, as rasteret 0.4 writes it."""
    assets = pa.struct(
        [(b, pa.struct([("href", pa.string()), ("band_index", pa.int64())])) for b in bands],
    )
    fields = [
        pa.field("id", pa.string()),
        pa.field("datetime", pa.timestamp("us")),
        pa.field("geometry", pa.binary(), metadata=_geoarrow_metadata()),
        pa.field("assets", assets),
        pa.field("bbox", schema.BBOX),
        pa.field("proj:epsg", pa.int32()),
        pa.field("crs", pa.string()),
        pa.field("proj:projjson", pa.string()),
        pa.field("collection", pa.string()),
    ]
    fields += [pa.field(band + METADATA_SUFFIX, schema.BAND_METADATA) for band in bands]
    fields += [pa.field(band + TIFF_SUFFIX, schema.BAND_TIFF) for band in bands]
    return pa.schema(fields, metadata={**_VERSION, b"geo": _geo_metadata()})


def collection_table(
    rows: Sequence[tuple[str, IndexedFile]], bands: Sequence[str], collection: str,
) -> pa.Table:
    """Makes the rows of a collection.

    Args:
        rows: (record id, indexed file), in the order wanted.
        bands: Every band of the whole collection.
        collection: The collection's name.

    Returns:
        A table in ``collection_schema``; null for bands that a file does not have.
    """
    found = collection_schema(bands)
    records = [
        {**file.row, "id": record_id, "datetime": file.datetime, "collection": collection}
        for record_id, file in rows
    ]
    columns = [pa.array([r.get(f.name) for r in records], f.type) for f in found]
    return pa.Table.from_arrays(columns, schema=found)


def partition_of(when: dt.datetime | None) -> str:
    """Gives the hive folder of a record, as rasteret partitions.

    >>> import datetime as dt
    >>> partition_of(dt.datetime(2024, 5, 1)), partition_of(None)[:31]
    ('year=2024/month=5', 'year=__HIVE_DEFAULT_PARTITION__')
    """
    year = "__HIVE_DEFAULT_PARTITION__" if when is None else str(when.year)
    month = "__HIVE_DEFAULT_PARTITION__" if when is None else str(when.month)
    return f"year={year}/month={month}"


def _check_extent(header: TiffHeader, info: FileInfo) -> None:
    """Tile tables that point beyond the file belong to another file, or a cut one."""
    stored = header.tile_byte_counts > 0
    if stored.any() and int(header.tile_offsets[stored].min()) >= info.size:
        msg = (
            f"Every tile begins beyond the end of the file ({info.size} bytes): "
            "it is cut short, or the header is broken"
        )
        raise MalformedTiffError(msg)


def _default_bands(header: TiffHeader) -> dict[str, int]:
    return {f"B{index + 1}": index for index in range(header.samples_per_pixel)}


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


def _tiff_struct(header: TiffHeader, info: FileInfo) -> dict[str, Any]:
    return {
        "byte_order": {"<": "little", ">": "big"}[header.byte_order],
        "bits_per_sample": header.bits_per_sample,
        "jpeg_tables": header.jpeg_tables,
        "nodata": header.nodata_text,
        "file_size": info.size,
        "etag": info.etag,
    }


def _geoarrow_metadata() -> dict[bytes, bytes]:
    extension = json.dumps({"crs": crs.to_projjson("OGC:CRS84")}).encode()
    return {b"ARROW:extension:name": b"geoarrow.wkb", b"ARROW:extension:metadata": extension}


def _geo_metadata() -> bytes:
    """GeoParquet 1.1, with the bbox column as covering."""
    sides = ("xmin", "ymin", "xmax", "ymax")
    column = {
        "encoding": "WKB",
        "geometry_types": ["MultiPolygon", "Polygon"],
        "crs": crs.to_projjson("OGC:CRS84"),
        "covering": {"bbox": {side: ["bbox", side] for side in sides}},
    }
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
    return json.dumps(geo).encode()
