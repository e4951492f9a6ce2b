"""Rows of a collection -> records: what many rows say alike is understood once."""

from __future__ import annotations

import dataclasses
import functools
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rasteret_beam.collection.band_metadata import (
    AssetShape,
    BandMetadata,
    StoredFile,
    read_shape,
)
from rasteret_beam.collection.bands import asset_keys
from rasteret_beam.collection.boxes import bbox_array
from rasteret_beam.collection.columns import TABLES, tables_of
from rasteret_beam.collection.distinct import alike, field_names, field_of
from rasteret_beam.elements import Asset, DeadLetter, FileInfo, Record, RecordInfo, stages
from rasteret_beam.errors import (
    BandMissingError,
    CrsError,
    NotIndexedError,
    RasteretBeamError,
    RecordError,
)
from rasteret_beam.grid import crs
from rasteret_beam.schema import METADATA_SUFFIX, TIFF_SUFFIX, Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rasteret_beam.collection.query import CollectionQuery

CRS_COLUMNS = ("proj:code", "proj:epsg", "crs", "proj:wkt2", "proj:projjson")
"""Columns that may declare a record's CRS, the first that does."""

_ALTERNATES = ("s3", "aws", "https", "http", "cloudfront")
_SHAPE_FIELDS = frozenset({
    "image_width", "width", "image_height", "height", "tile_width", "tile_height", "dtype",
    "compression", "predictor", "nodata", "samples_per_pixel", "planar_configuration",
    "photometric", "extra_samples",
})  # fmt: skip
_TIFF_FIELDS = ("byte_order", "bits_per_sample", "jpeg_tables", "nodata")


def make_records(
    batch: pa.RecordBatch, ordinals: np.ndarray, query: CollectionQuery, data_source: str,
) -> Iterator[tuple[int, Record | None, list[DeadLetter]]]:
    """Makes the records of rows; their tile tables are views of the rows' own.

    Args:
        batch: Rows with ``record_columns``.
        ordinals: int64, shape (n_rows,): their places in the scan order.
        query: Which bands.
        data_source: Whose band names the rows use, where the query does not say; or "".

    Yields:
        The ordinal, the record (None where nothing of it can be used), and the dead
        letters of what in it cannot be used.
    """
    rows = _Rows(batch, query, data_source)
    for row, ordinal in enumerate(ordinals.tolist()):
        yield ordinal, *rows.record(row, ordinal)


def declared_crs(batch: pa.RecordBatch) -> tuple[np.ndarray, list[str | CrsError | None]]:
    """Gives the CRSs that rows declare.

    Args:
        batch: Rows with those of ``CRS_COLUMNS`` that there are.

    Returns:
        int64, shape (n_rows,): the number of each row's CRS; and the CRSs, normalised,
        None where none is declared, an error for what is no CRS.
    """
    names = [name for name in CRS_COLUMNS if name in batch.schema.names]
    columns = [batch.column(name) for name in names]
    kinds, rows = alike(columns, batch.num_rows)
    return kinds, [_crs([column[row].as_py() for column in columns]) for row in rows.tolist()]


class _Rows:
    """Records of some rows."""

    def __init__(self, batch: pa.RecordBatch, query: CollectionQuery, source: str) -> None:
        self._batch, self._query, self._source = batch, query, source
        self._when = _microseconds(batch.column("datetime"))
        bboxes = bbox_array(batch.column("bbox"))
        self._has_bbox = np.isfinite(bboxes).all(axis=1).tolist()
        self._bboxes = list(map(tuple, bboxes.tolist()))
        self._ids = batch.column("id").to_pylist()
        self._collections = self._values("collection")
        kinds, self._crs = declared_crs(batch)
        self._crs_kinds = kinds.tolist()
        self._assets = _Assets(batch.column("assets"))
        self._bands: dict[str, _Band | None] = {}
        self._shapes: dict[tuple[Any, ...], AssetShape | RasteretBeamError] = {}

    def record(self, row: int, ordinal: int) -> tuple[Record | None, list[DeadLetter]]:
        record_id = str(self._ids[row])
        letters: list[DeadLetter] = []
        collection = self._collections[row]
        collection = self._source if collection is None else collection
        when, bbox = self._when[row], self._bboxes[row]
        if not self._has_bbox[row]:
            # rasteret drops such records without a word.
            told = self._batch.column("bbox")[row].as_py()
            error = RecordError(f"bbox is {told}: no point can be matched to it")
            return None, [_dead_letter(record_id, list(self._query.bands), error)]
        record_crs = self._crs[self._crs_kinds[row]]
        if isinstance(record_crs, CrsError):
            unusable = tuple((band, Status.UNSUPPORTED.value) for band in self._query.bands)
            info = RecordInfo(record_id, ordinal, when, collection, None)
            letter = _dead_letter(record_id, list(self._query.bands), record_crs)
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

    def _values(self, name: str) -> Sequence[Any]:
        if name not in self._batch.schema.names:
            return [None] * self._batch.num_rows
        return list(self._batch.column(name).to_pylist())

    def _asset(self, row: int, band: str, collection: str, record_crs: str | None) -> Asset:
        keys = asset_keys(band, self._query.data_source or self._source or collection)
        key = next((k for k in keys if self._assets.of(k)[row] is not None), None)
        found = self._metadata(row, band, key)
        if key is None and found is None:
            msg = f"Could not resolve band {band!r}. Tried asset keys: {keys}; there are none"
            raise BandMissingError(msg)
        if key is None:
            msg = f"Band {band!r} has metadata but no asset; tried {keys}"
            raise NotIndexedError(msg)
        asset = self._assets.of(key)[row]
        href = href_of(asset)
        if href is None:
            msg = f"Band {band!r} has no href: asset {key!r} is {asset!r}"
            raise NotIndexedError(msg)
        if found is None:
            msg = f"Band {band!r} has no header metadata (its {band}{METADATA_SUFFIX} is null)"
            raise NotIndexedError(msg)
        band_index = asset.get("band_index") if isinstance(asset, dict) else None
        transform = found.transforms[row]
        if transform is None:
            msg = "Transform is missing; expected 4 or 6 numbers"
            raise NotIndexedError(msg)
        shape = self._shape(row, band, band_index, found)
        stored = StoredFile(
            href, found.offsets[row], found.counts[row], found.sound, found.infos[row],
        )
        return shape.asset(band, stored, shape.grid(transform, record_crs))

    def _metadata(self, row: int, band: str, key: str | None) -> _Band | None:
        for name in (band, key or band):
            found = self._band(name)
            if found is not None and found.there[row]:
                return found
        return None

    def _band(self, name: str) -> _Band | None:
        if name not in self._bands:
            there = name + METADATA_SUFFIX in self._batch.schema.names
            self._bands[name] = _Band(self._batch, name) if there else None
        return self._bands[name]

    def _shape(self, row: int, band: str, band_index: int | None, found: _Band) -> AssetShape:
        key = band, band_index, found.name, found.kinds[row]
        if key not in self._shapes:
            try:
                self._shapes[key] = read_shape(band, band_index, found.told(row))
            except RasteretBeamError as error:
                self._shapes[key] = error
        shape = self._shapes[key]
        if isinstance(shape, RasteretBeamError):
            raise shape
        return shape


class _Assets:
    """The ``assets`` of rows, by key."""

    def __init__(self, column: pa.Array) -> None:
        self._column = column
        self._by_key: dict[str, Sequence[Any]] = {}

    def of(self, key: str) -> Sequence[Any]:
        """The asset of each row under a key; None where there is none."""
        if key not in self._by_key:
            kind = self._column.type
            if not pa.types.is_struct(kind):
                self._by_key[key] = [(row or {}).get(key) for row in self._rows]
            else:
                self._by_key[key] = field_of(self._column, key).to_pylist()
        return self._by_key[key]

    @functools.cached_property
    def _rows(self) -> list[Any]:
        return list(self._column.to_pylist())


class _Band:
    """What rows say of one band: their tile tables, and the few kinds of all else."""

    def __init__(self, batch: pa.RecordBatch, name: str) -> None:
        self.name = name
        self._metadata = batch.column(name + METADATA_SUFFIX)
        self._tiff = None
        if name + TIFF_SUFFIX in batch.schema.names:
            self._tiff = batch.column(name + TIFF_SUFFIX)
        is_struct = pa.types.is_struct(self._metadata.type)
        self._names = field_names(self._metadata.type) if is_struct else []
        self.there = self._metadata.is_valid().to_pylist() if is_struct else [False] * len(batch)
        offsets, counts = (
            field_of(self._metadata, table) if is_struct else pa.nulls(len(batch))
            for table in TABLES
        )
        self.offsets, self.counts = tables_of(offsets), tables_of(counts)
        self.transforms = field_of(self._metadata, "transform").to_pylist() if is_struct else []
        self.sound = _not_below_zero(offsets) and _not_below_zero(counts)
        told = [field_of(self._metadata, name) for name in self._names if name in _SHAPE_FIELDS]
        if self._tiff is not None:
            told += [field_of(self._tiff, name) for name in _TIFF_FIELDS]
        self.infos = _infos(self._tiff, len(batch))
        self.kinds = alike(told, len(batch))[0].tolist()

    def told(self, row: int) -> BandMetadata:
        """What a row says but for its tile tables."""
        fields = {
            name: self._metadata.field(name)[row].as_py()
            for name in self._names if name in _SHAPE_FIELDS
        }  # fmt: skip
        return BandMetadata(fields, {} if self._tiff is None else self._tiff[row].as_py() or {})


def _infos(tiff: pa.Array | None, n_rows: int) -> list[FileInfo | None]:
    """What rows say of their files' sizes and ETags; None where they do not."""
    if tiff is None or not pa.types.is_struct(tiff.type):
        return [None] * n_rows
    sizes, etags = (field_of(tiff, name).to_pylist() for name in ("file_size", "etag"))
    return [
        None if size is None else FileInfo(size, etag)
        for size, etag in zip(sizes, etags, strict=True)
    ]


def _not_below_zero(tables: pa.Array) -> bool:
    if not (pa.types.is_list(tables.type) or pa.types.is_large_list(tables.type)):
        return False
    if not pa.types.is_integer(tables.type.value_type) or tables.type.value_type == pa.uint64():
        # As int64 the largest are below 0.
        return False
    least = pc.min(tables.flatten()).as_py()
    return least is None or least >= 0


def _crs(declared: list[Any]) -> str | CrsError | None:
    for value in map(crs.told, declared):
        if value is not None:
            try:
                return crs.normalise_any(value)
            except CrsError as error:
                return error
    return None


def _joined(first: Asset, second: Asset) -> Asset:
    """Bands that share their stored tiles are read together."""
    return dataclasses.replace(
        first, bands=first.bands + second.bands, samples=first.samples + second.samples,
    )


def href_of(asset: Any) -> str | None:  # noqa: ANN401 -- a struct or a string
    """Gives the address of an asset, in rasteret's order of preference."""
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
    return DeadLetter(element, f"record {record_id!r}: {error}", "", stages.RECORDS, error.code)
