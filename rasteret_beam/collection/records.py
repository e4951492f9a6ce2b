"""Collection Parquet -> records, as rasteret 0.3 and 0.4 write and read it."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from rasteret_beam import schema
from rasteret_beam.collection.band_metadata import BandMetadata, read_asset
from rasteret_beam.collection.bands import asset_keys
from rasteret_beam.collection.boxes import overlaps_any
from rasteret_beam.collection.columns import columns_of
from rasteret_beam.collection.filters import Filters
from rasteret_beam.collection.fragments import (
    Fragment,
    declared_source,
    find_files,
    open_fragment,
)
from rasteret_beam.elements import Asset, DeadLetter, Record, RecordInfo
from rasteret_beam.errors import (
    BandMissingError,
    BandNotFoundError,
    CollectionError,
    CrsError,
    NotIndexedError,
    RasteretBeamError,
    RecordError,
)
from rasteret_beam.grid import crs
from rasteret_beam.schema import METADATA_SUFFIX, TIFF_SUFFIX, Status
from rasteret_beam.storage import Store, redact

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow.dataset as ds

STAGE = "ReadCollection"

_BATCH_ROWS = 1024
_RECORD_BITS = 40
_UTC = (None, "UTC", "Etc/UTC", "+00:00")
_CRS_COLUMNS = ("proj:code", "proj:epsg", "crs", "proj:wkt2", "proj:projjson")
_ALTERNATES = ("s3", "aws", "https", "http", "cloudfront")


@dataclasses.dataclass(frozen=True, slots=True)
class CollectionQuery:
    """Which records and bands of a collection.

    Attributes:
        uri: A Parquet file, or a folder of them (hive-partitioned or plain).
        bands: Names of the bands.
        filters: Conditions on the records.
        data_source: Whose band names to know (``sentinel-2-l2a``, ...); by default as
            the collection says.
        store: How files are read.
    """

    uri: str
    bands: tuple[str, ...]
    filters: Filters = dataclasses.field(default_factory=Filters)
    data_source: str | None = None
    store: Store = dataclasses.field(default_factory=Store)


def list_fragments(query: CollectionQuery) -> list[Fragment]:
    """Lists a collection's files, and checks that it is one.

    Raises:
        CollectionError: Not there, not Parquet, or without a required column.
        BandNotFoundError: A band is in no record.
    """
    fragments = find_files(query.store, query.uri)
    found, name = open_fragment(query.store, fragments[0]).schema, redact(query.uri)
    check_schema(found, name)
    check_bands(found, query.bands, name)
    source = query.data_source or declared_source(query.store, fragments)
    return [fragment._replace(data_source=source) for fragment in fragments]


def read_fragment(
    query: CollectionQuery, fragment: Fragment,
) -> Iterator[tuple[Record | None, list[DeadLetter]]]:
    """Reads the records of one file that meet the query's filters.

    Args:
        query: What to read.
        fragment: The file.

    Yields:
        Each record with the dead letters of what in it cannot be used; None where
        nothing of it can.

    Raises:
        CollectionError: The file is not Parquet, or lacks a filter's column.
    """
    dataset = open_fragment(query.store, fragment)
    try:
        yield from read_dataset(dataset, query, fragment.data_source, fragment.number)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, RasteretBeamError):
            raise
        msg = f"{redact(fragment.uri)}: cannot be read as Parquet: {error}"
        raise CollectionError(msg) from error


def read_dataset(
    dataset: ds.Dataset, query: CollectionQuery, data_source: str, number: int = 0,
) -> Iterator[tuple[Record | None, list[DeadLetter]]]:
    """Reads the records of an Arrow dataset that meet the query's filters.

    Args:
        dataset: Rows of a collection.
        query: What to read; its ``uri`` is not opened.
        data_source: Whose band names the rows use, where the query does not say; or "".
        number: Place of the dataset among those that are read, for the scan order.

    Yields:
        Each record with the dead letters of what in it cannot be used; None where
        nothing of it can.

    Raises:
        CollectionError: The dataset lacks a filter's column.
    """
    names = set(dataset.schema.names)
    bands = [band for b in query.bands for band in _metadata_names(b, query.data_source, names)]
    wanted = [
        *schema.REQUIRED_COLUMNS, *_CRS_COLUMNS, "collection",
        *(band + METADATA_SUFFIX for band in bands), *(band + TIFF_SUFFIX for band in bands),
    ]  # fmt: skip
    columns = [name for name in dict.fromkeys(wanted) if name in names and name != "geometry"]
    scanner = dataset.scanner(
        columns=columns,
        filter=query.filters.expression(dataset.schema),
        batch_size=_BATCH_ROWS,
        use_threads=False,
    )
    boxes = None if query.filters.geometries is None else query.filters.boxes()
    row_number = 0
    for batch in scanner.to_batches():
        rows = _Rows(batch, query, data_source)
        for row in range(batch.num_rows):
            ordinal = (number << _RECORD_BITS) + row_number
            row_number += 1
            record, letters = rows.record(row, ordinal)
            if record is None or boxes is None or overlaps_any(record.bbox, boxes):
                yield record, letters


def available_bands(names: Sequence[str]) -> list[str]:
    """Gives a collection's bands: every column that ends in ``_metadata``."""
    return [name[: -len(METADATA_SUFFIX)] for name in names if name.endswith(METADATA_SUFFIX)]


def check_schema(found: pa.Schema, name: str) -> None:
    """Refuses what is no collection.

    Args:
        found: Its schema.
        name: What to call it in messages.

    Raises:
        CollectionError: A required column is not there, or of the wrong kind.
    """
    missing = [column for column in schema.REQUIRED_COLUMNS if column not in found.names]
    if missing:
        msg = f"{name}: Parquet is missing required columns: {missing}; it has {found.names}"
        raise CollectionError(msg)
    if not pa.types.is_struct(found.field("bbox").type):
        msg = (
            f"{name}: 'bbox' must be a struct of xmin, ymin, xmax, ymax, "
            f"got {found.field('bbox').type}"
        )
        raise CollectionError(msg)
    check_datetime(found, name)


def check_datetime(found: pa.Schema, name: str) -> None:
    """Refuses a ``datetime`` that is no timestamp in UTC.

    Raises:
        CollectionError: It is something else.
    """
    when = found.field("datetime").type
    if not pa.types.is_timestamp(when) or when.tz not in _UTC:
        msg = f"{name}: 'datetime' is {when}, expected a timestamp in UTC"
        raise CollectionError(msg)


def check_bands(found: pa.Schema, bands: Sequence[str], name: str) -> None:
    """Refuses bands that no record can have.

    Raises:
        BandNotFoundError: A band has no ``_metadata`` column.
    """
    unknown = [band for band in bands if band + METADATA_SUFFIX not in found.names]
    if unknown:
        msg = (
            f"{name}: Band(s) not found: {unknown}. "
            f"Available bands: {available_bands(found.names)}"
        )
        raise BandNotFoundError(msg)


def _metadata_names(band: str, data_source: str | None, names: set[str]) -> list[str]:
    keys = asset_keys(band, data_source or "")
    return [key for key in keys if key + METADATA_SUFFIX in names] or [band]


class _Rows:
    """Records of one scanned batch."""

    def __init__(self, batch: pa.RecordBatch, query: CollectionQuery, source: str) -> None:
        self._query, self._source = query, source
        self._when = _microseconds(batch.column("datetime"))
        self._columns = columns_of(batch.drop_columns(["datetime"]))

    def record(self, row: int, ordinal: int) -> tuple[Record | None, list[DeadLetter]]:
        record_id = str(self._value("id", row))
        letters: list[DeadLetter] = []
        collection = self._value("collection", row)
        collection = self._source if collection is None else collection
        when = self._when[row]
        try:
            bbox = self._bbox(row)
        except RecordError as error:
            return None, [_dead_letter(record_id, list(self._query.bands), error)]
        try:
            record_crs = self._crs(row)
        except CrsError as error:
            unusable = tuple((band, Status.UNSUPPORTED.value) for band in self._query.bands)
            info = RecordInfo(record_id, ordinal, when, collection, None)
            letter = _dead_letter(record_id, list(self._query.bands), error)
            return Record(info, bbox, (), unusable), [letter]
        assets: dict[tuple[Any, ...], Asset] = {}
        missing: list[tuple[str, str]] = []
        for band in self._query.bands:
            try:
                asset = self._asset(row, band, collection, record_crs)
            except RasteretBeamError as error:
                letters.append(_dead_letter(record_id, [band], error))
                absent = isinstance(error, (BandMissingError, NotIndexedError))
                code = Status.BAND_MISSING if absent else Status.UNSUPPORTED
                missing.append((band, code.value))
                continue
            key = (asset.href, asset.grid, asset.layout, asset.plane)
            assets[key] = _joined(assets[key], asset) if key in assets else asset
        info = RecordInfo(record_id, ordinal, when, collection, crs.epsg(record_crs))
        return Record(info, bbox, tuple(assets.values()), tuple(missing)), letters

    def _value(self, name: str, row: int) -> Any:  # noqa: ANN401 -- any column
        column = self._columns.get(name)
        return None if column is None else column[row]

    def _crs(self, row: int) -> str | None:
        for name in _CRS_COLUMNS:
            value = self._value(name, row)
            if value is not None and value != "":
                return crs.normalise_any(value)
        return None

    def _bbox(self, row: int) -> tuple[float, float, float, float]:
        value = self._value("bbox", row) or {}
        sides = [value.get(name) for name in ("xmin", "ymin", "xmax", "ymax")]
        xmin, ymin, xmax, ymax = (float("nan") if v is None else float(v) for v in sides)
        if not all(map(math.isfinite, (xmin, ymin, xmax, ymax))):
            # rasteret drops such records without a word.
            msg = f"bbox is {value or None}: no point can be matched to it"
            raise RecordError(msg)
        return xmin, ymin, xmax, ymax

    def _asset(self, row: int, band: str, collection: str, record_crs: str | None) -> Asset:
        assets = self._value("assets", row) or {}
        keys = asset_keys(band, self._query.data_source or self._source or collection)
        key = next((k for k in keys if assets.get(k) is not None), None)
        metadata, at = self._metadata(row, band, key)
        if key is None and metadata is None:
            msg = f"Could not resolve band {band!r}. Tried asset keys: {keys}; there are none"
            raise BandMissingError(msg)
        href = _href(assets.get(key)) if key is not None else None
        if key is None:
            msg = f"Band {band!r} has metadata but no asset; tried {keys}"
            raise NotIndexedError(msg)
        if href is None:
            msg = f"Band {band!r} has no href: asset {key!r} is {assets.get(key)!r}"
            raise NotIndexedError(msg)
        if metadata is None:
            msg = f"Band {band!r} has no header metadata (its {band}{METADATA_SUFFIX} is null)"
            raise NotIndexedError(msg)
        asset = assets[key]
        band_index = asset.get("band_index") if isinstance(asset, dict) else None
        tiff = self._value(at + TIFF_SUFFIX, row) or {}
        return read_asset(band, href, band_index, BandMetadata(metadata, tiff), record_crs)

    def _metadata(self, row: int, band: str, key: str | None) -> tuple[dict[str, Any] | None, str]:
        for name in (band, key or band):
            metadata = self._value(name + METADATA_SUFFIX, row)
            if metadata is not None:
                return metadata, name
        return None, band


def _joined(first: Asset, second: Asset) -> Asset:
    """Bands that share their stored tiles are read together."""
    return dataclasses.replace(
        first, bands=first.bands + second.bands, samples=first.samples + second.samples,
    )


def _href(asset: Any) -> str | None:  # noqa: ANN401 -- a struct or a string
    """The address of an asset, in rasteret's order of preference."""
    if isinstance(asset, str) or asset is None:
        return asset or None
    if asset.get("href"):
        return str(asset["href"])
    alternates = asset.get("alternate") or {}
    for name in (*_ALTERNATES, *alternates):
        href = (alternates.get(name) or {}).get("href")
        if href:
            return str(href)
    links = asset.get("links") or []
    return next((str(link["href"]) for link in links if link.get("href")), None)


def _microseconds(when: pa.Array) -> list[int | None]:
    instants = when.cast(pa.timestamp("us", when.type.tz), safe=False)
    return list(instants.cast(pa.int64()).to_pylist())


def _dead_letter(record_id: str, bands: list[str], error: RasteretBeamError) -> DeadLetter:
    element = json.dumps({"record_id": record_id, "bands": bands})
    return DeadLetter(element, f"record {record_id!r}: {error}", "", STAGE, error.code)
