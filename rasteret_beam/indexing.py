"""COG headers -> collection rows, in the Parquet contract that rasteret reads."""

from __future__ import annotations

import datetime as dt
import json
import math
import pathlib
import re
import urllib.parse
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import shapely

from rasteret_beam import schema
from rasteret_beam.errors import (
    CrsError,
    FetchError,
    MalformedTiffError,
    OptionError,
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
    from collections.abc import Mapping, Sequence

    from rasteret_beam.storage import Store
    from rasteret_beam.storage.store import FileInfo
    from rasteret_beam.tiff.header import TiffHeader

STAGE = "BuildCollection"

_EDGE_POINTS = 64
_WORLD = (-180.0, -90.0, 180.0, 90.0)
_DATE_PARTS = ("year", "month", "day", "hour", "minute", "second")
_DIGIT_FORMATS = {
    4: "%Y", 6: "%Y%m", 7: "%Y%j", 8: "%Y%m%d", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M",
    14: "%Y%m%d%H%M%S",
}  # fmt: skip
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
            file's name; see ``find_datetime``.

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
    when = None if datetime_pattern is None else find_datetime(datetime_pattern, href)
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
    return list(dict.fromkeys(absolute_href(uri) for uri in found))


def _is_tiff(uri: str) -> bool:
    return uri.partition("?")[0].lower().endswith((".tif", ".tiff", ".gtiff", ".cog"))


def absolute_href(uri: str) -> str:
    """Gives a local path in full, so that a collection can be read from anywhere."""
    path = local_path(uri)
    return uri if path is None else str(path.absolute())


def find_datetime(pattern: str, href: str) -> dt.datetime:
    r"""Finds an acquisition time in a file's address.

    Args:
        pattern: Regular expression, searched for in the file's name, then in the whole
            address. Named groups year, month, day, hour, minute, second; or else the
            digits of its groups (or of all it matches), as YYYY, YYYYMM, YYYYMMDD,
            YYYYDDD, YYYYMMDDHHMMSS.
        href: The address.

    Returns:
        The time, UTC, without tzinfo.

    Raises:
        RecordError: Nothing matches, or what matches is no date.

    >>> find_datetime(r"_(\d{8})T(\d{6})_", "s3://b/S2A_20240131T101112_B04.tif")
    datetime.datetime(2024, 1, 31, 10, 11, 12)
    """
    path = urllib.parse.urlsplit(href).path if "://" in href else href
    found = re.search(pattern, path.rsplit("/", 1)[-1]) or re.search(pattern, path)
    if found is None:
        msg = f"datetime_pattern {pattern!r} matches nothing in {path!r}"
        raise RecordError(msg)
    try:
        if "year" in found.groupdict():
            parts = [found.groupdict().get(part) for part in _DATE_PARTS]
            defaults = (None, 1, 1, 0, 0, 0)
            numbers = [int(p) if p else d for p, d in zip(parts, defaults, strict=True)]
            return dt.datetime(*numbers)  # type: ignore[arg-type]  # noqa: DTZ001 -- naive is UTC
        text = "".join(g for g in found.groups() if g) if found.groups() else found.group(0)
        digits = re.sub(r"\D", "", text)
        return dt.datetime.strptime(digits, _DIGIT_FORMATS[len(digits)])  # noqa: DTZ007
    except (ValueError, KeyError, TypeError) as error:
        msg = f"datetime_pattern {pattern!r} finds {found.group(0)!r} in {path!r}, which is no date"
        raise RecordError(msg) from error


def check_datetime_pattern(pattern: str) -> None:
    """Refuses what is no regular expression.

    Raises:
        OptionError: It does not compile.
    """
    try:
        re.compile(pattern)
    except re.error as error:
        msg = f"datetime_pattern {pattern!r} is no regular expression: {error}"
        raise OptionError(msg) from error


def record_ids(hrefs: Sequence[str]) -> dict[str, str]:
    """Gives each file that shares a stem an id of its own.

    Args:
        hrefs: Different addresses of files with the same stem.

    Returns:
        href -> the stem where there is one file, else the stem after as many of its
        parent folders as tell the files apart.

    >>> record_ids(["/a/2023/b4.tif", "/a/2024/b4.tif"])["/a/2024/b4.tif"]
    '2024/b4'
    """
    parts = {href: _stem_parts(href) for href in hrefs}
    longest = max(len(p) for p in parts.values())
    for depth in range(1, longest + 1):
        ids = {href: "/".join(p[-depth:]) for href, p in parts.items()}
        if len(set(ids.values())) == len(hrefs):
            return ids
    return {href: href for href in hrefs}


def stem(href: str) -> str:
    """Gives a file's name without its folders and its ending.

    >>> stem("https://host/a/scene.v1.tif?sig=x")
    'scene.v1'
    """
    return _stem_parts(href)[-1]


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

    >>> partition_of(dt.datetime(2024, 5, 1)), partition_of(None)[:31]
    ('year=2024/month=5', 'year=__HIVE_DEFAULT_PARTITION__')
    """
    year = "__HIVE_DEFAULT_PARTITION__" if when is None else str(when.year)
    month = "__HIVE_DEFAULT_PARTITION__" if when is None else str(when.month)
    return f"year={year}/month={month}"


def footprint_of(
    header: TiffHeader, raster_crs: str | None,
) -> tuple[tuple[float, float, float, float], shapely.Geometry]:
    """Gives where an image lies in longitude and latitude.

    The bbox holds every pixel: edges are densified, and poles and the antimeridian
    inside the image are seen. Where an edge cannot be transformed (a full-disk image
    whose corners look into space) it is the whole world, and the pixel test decides.

    Args:
        header: The image.
        raster_crs: Its normalised CRS; None leaves the footprint in the file's units.

    Returns:
        (xmin, ymin, xmax, ymax) and the outline.
    """
    fraction = np.linspace(0, 1, _EDGE_POINTS + 1)
    zero, one = np.zeros(_EDGE_POINTS + 1), np.ones(_EDGE_POINTS + 1)
    across = np.concatenate([fraction, one[1:], fraction[::-1][1:], zero[1:]])
    down = np.concatenate([zero, fraction[1:], one[1:], fraction[::-1][1:]])
    x = header.origin[0] + across * header.width * header.scale[0]
    y = header.origin[1] + down * header.height * header.scale[1]
    space = crs.lonlat_of(raster_crs)
    if space is None or space == raster_crs:
        return _box(x, y), shapely.Polygon(np.column_stack([x, y]))
    lon, lat = crs.transform(raster_crs, space, x, y)
    if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
        return _WORLD, shapely.box(*_WORLD)
    xmin, ymin, xmax, ymax = _box(lon, lat)
    # Between two edge points the edge can bulge by about the square of their distance.
    margin_x, margin_y = (xmax - xmin) / _EDGE_POINTS**2, (ymax - ymin) / _EDGE_POINTS**2
    xmin, ymin, xmax, ymax = xmin - margin_x, ymin - margin_y, xmax + margin_x, ymax + margin_y
    poles = [pole for pole in (-90.0, 90.0) if _holds(header, raster_crs, space, 0.0, pole)]
    crosses = bool((np.abs(np.diff(lon)) > 180).any())  # noqa: PLR2004 -- degrees
    if not poles and not crosses:
        return (xmin, ymin, xmax, ymax), shapely.Polygon(np.column_stack([lon, lat]))
    ymin, ymax = min([ymin, *poles]), max([ymax, *poles])
    box = (-180.0, max(ymin, -90.0), 180.0, min(ymax, 90.0))
    if poles:
        return box, shapely.box(*box)
    east, west = lon[lon >= 0], lon[lon < 0]
    outline = shapely.MultiPolygon(
        [
            shapely.box(float(east.min()), box[1], 180.0, box[3]),
            shapely.box(-180.0, box[1], float(west.max()), box[3]),
        ],
    )
    return box, outline


def _holds(
    header: TiffHeader, raster_crs: str | None, space: str, lon: float, lat: float,
) -> bool:
    x, y = crs.transform(space, raster_crs, np.array([lon]), np.array([lat]))
    row = (float(y[0]) - header.origin[1]) / header.scale[1]
    col = (float(x[0]) - header.origin[0]) / header.scale[0]
    return 0 <= row <= header.height and 0 <= col <= header.width


def _box(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float, float]:
    return float(x.min()), float(y.min()), float(x.max()), float(y.max())


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


def _stem_parts(href: str) -> list[str]:
    path = urllib.parse.urlsplit(href).path if "://" in href else href
    pure = pathlib.PurePosixPath(urllib.parse.unquote(path))
    return [*(part for part in pure.parent.parts if part != "/"), pure.stem]


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
