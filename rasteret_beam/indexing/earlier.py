"""What an earlier run found: rows of a collection, and files that need no second look."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from rasteret_beam.collection import available_bands
from rasteret_beam.collection.boxes import overlaps_any
from rasteret_beam.collection.columns import TABLES, columns_of
from rasteret_beam.collection.filters import Filters
from rasteret_beam.collection.fragments import find_files, open_fragment, stored_schema
from rasteret_beam.collection.making import href_of
from rasteret_beam.collection.records import check_schema
from rasteret_beam.elements import DeadLetter, FileInfo
from rasteret_beam.errors import CollectionNotFoundError, FetchError, RecordError
from rasteret_beam.grid.geotransform import from_coefficients
from rasteret_beam.indexing.footprint import Extent
from rasteret_beam.indexing.headers import BY_CATALOGUE, BandStructs, Head, IndexedFile, read_head
from rasteret_beam.indexing.items import dead_letter
from rasteret_beam.indexing.layout import bands_type
from rasteret_beam.indexing.rows import CONTRACT_COLUMNS, IndexedItem, pack, property_column
from rasteret_beam.schema import BAND_TIFF, METADATA_SUFFIX, TIFF_SUFFIX
from rasteret_beam.storage import redact

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from rasteret_beam.collection import Fragment
    from rasteret_beam.indexing.items import AssetRef
    from rasteret_beam.storage import Store

_BATCH_ROWS = 512
_DESCRIPTION = (b"name", b"data_source", b"description")
_TIFF_FIELDS = {BAND_TIFF.field(i).name for i in range(BAND_TIFF.num_fields)}


_ALIASES = (("image_width", "width"), ("image_height", "height"))


class EarlierRows(NamedTuple):
    """Some rows of a collection.

    Attributes:
        rows: The rows.
        columns: Types of their properties, and ``assets`` with the bands; its metadata is
            what the collection says of itself.
        dead_letters: Bands of them that nobody can read.
    """

    rows: list[IndexedItem]
    columns: pa.Schema
    dead_letters: list[DeadLetter]


def list_earlier(store: Store, uri: str) -> list[Fragment]:
    """Lists the files of an earlier collection; none where there is no collection yet."""
    try:
        return find_files(store, uri)
    except CollectionNotFoundError:
        return []


def read_earlier(
    store: Store, fragment: Fragment, filters: Filters | None = None,
) -> Iterator[EarlierRows]:
    """Reads the rows of one file; at least once, if only to tell its columns.

    A band whose tile table is missing, or holds nulls, is none any more.

    Args:
        store: How files are read.
        fragment: The file.
        filters: Conditions on the rows.

    Raises:
        CollectionError: It is no collection, or lacks a filter's column.
    """
    dataset = open_fragment(store, fragment)
    check_schema(dataset.schema, redact(fragment.uri))
    bands = tuple(b for b in available_bands(dataset.schema.names) if _is_band(dataset.schema, b))
    columns = _columns(dataset.schema, bands)
    names = [n for n in dataset.schema.names if n not in ("year", "month")]
    filters = filters or Filters()
    boxes = None if filters.geometries is None else filters.boxes()
    scanner = dataset.scanner(
        columns=names, filter=filters.expression(stored_schema(dataset)), batch_size=_BATCH_ROWS,
        use_threads=False,
    )  # fmt: skip
    is_told = False
    for batch in scanner.to_batches():
        values = columns_of(batch)
        packed: list[IndexedItem] = []
        letters: list[DeadLetter] = []
        for at in range(batch.num_rows):
            row = _whole({name: column[at] for name, column in values.items()})
            found = _without_unreadable(row, bands)
            item = pack(row, bands, typed=True)
            if boxes is None or overlaps_any(item.bbox, boxes):
                packed.append(item)
                letters.extend(found)
        yield EarlierRows(packed, columns, letters)
        is_told = True
    if not is_told:
        yield EarlierRows([], columns, [])


def _columns(found: pa.Schema, bands: tuple[str, ...]) -> pa.Schema:
    """Types of the properties, and its bands, with what the collection says of itself."""
    own = {band + suffix for band in bands for suffix in (METADATA_SUFFIX, TIFF_SUFFIX)}
    fields = [f for f in found if f.name not in own and property_column(f.name) == f.name]
    fields += [pa.field("assets", bands_type(bands))] if bands else []
    told = {k: v for k, v in (found.metadata or {}).items() if k in _DESCRIPTION}
    return pa.schema(fields, metadata=told)


def earlier_ids(store: Store, uri: str) -> Iterator[tuple[str, list[str]]]:
    """Gives the id and the different files of each record of an earlier collection.

    Raises:
        CollectionError: It is no collection.
    """
    for fragment in list_earlier(store, uri):
        dataset = open_fragment(store, fragment)
        check_schema(dataset.schema, redact(fragment.uri))
        for batch in dataset.scanner(columns=["id", "assets"], use_threads=False).to_batches():
            for record_id, assets in zip(*(c.to_pylist() for c in batch.columns), strict=True):
                hrefs = (href_of(asset) for asset in (assets or {}).values())
                yield str(record_id), list(dict.fromkeys(href for href in hrefs if href))


def known_files(
    rows: Iterable[IndexedItem], assets: Mapping[str, AssetRef],
) -> dict[str, IndexedFile]:
    """Gives what earlier rows tell of their files, by address.

    Only files whose size and ETag were kept are given: of others nobody could tell
    whether they have changed.

    Args:
        rows: Earlier rows.
        assets: Band -> where it is now.
    """
    known: dict[str, IndexedFile] = {}
    for row in (packed.row() for packed in rows):
        for band, asset in row["assets"].items():
            metadata, tiff = row.get(band + METADATA_SUFFIX), row.get(band + TIFF_SUFFIX) or {}
            if metadata is None or not _tells_all(tiff, assets.get(band)):
                continue
            try:
                file = known.setdefault(asset["href"], _file(metadata, tiff))
            except RecordError:  # a transform that is none
                continue
            structs = BandStructs(metadata, tiff)
            known[asset["href"]] = file._replace(
                bands={**file.bands, asset["band_index"] or 0: structs},
            )
    return known


def _tells_all(tiff: dict[str, Any], asset: AssetRef | None) -> bool:
    """Whether a row tells all that its file's header would."""
    if not tiff.keys() >= _TIFF_FIELDS or tiff["etag"] is None:
        return False
    # The catalogue's scale hides the file's own: where it is taken back, that is needed.
    return tiff["calibrated_by"] != BY_CATALOGUE or (asset is not None and bool(asset.calibration))


def look_at(
    store: Store, href: str, indexes: Iterable[int | None] | None, known: IndexedFile | None,
) -> IndexedFile | Head:
    """Reads the first bytes of a file, but not of one that has not changed.

    Args:
        store: How files are read.
        href: The file.
        indexes: Samples that are wanted; None for every one.
        known: What an earlier run found, or None.

    Returns:
        What is known, where it stands; else the file's first bytes.

    Raises:
        FetchError: The file cannot be read.
    """
    if known is not None:
        wanted = range(known.samples) if indexes is None else [i or 0 for i in indexes]
        try:
            unchanged = store.info(href) == known.info
        except FetchError:  # some servers do not tell
            unchanged = False
        if unchanged and all(index in known.bands for index in wanted):
            return known
    return read_head(store, href)


def _file(metadata: dict[str, Any], tiff: dict[str, Any]) -> IndexedFile:
    transform = from_coefficients(metadata["transform"])
    return IndexedFile(
        FileInfo(tiff["file_size"], tiff["etag"]),
        tiff["crs"],
        Extent(
            metadata["image_width"],
            metadata["image_height"],
            (transform.scale_x, transform.scale_y),
            (transform.origin_x, transform.origin_y),
        ),
        metadata["samples_per_pixel"] or 1,
        {},
    )


def _whole(row: dict[str, Any]) -> dict[str, Any]:
    """A row with every column of the contract, and assets as structs without nulls."""
    assets = {
        band: {
            "href": href_of(asset),
            "band_index": None if isinstance(asset, str) else asset.get("band_index"),
        }
        for band, asset in (row["assets"] or {}).items() if asset is not None
    }  # fmt: skip
    when = row["datetime"]
    if when is not None and when.tzinfo is not None:
        when = when.astimezone(dt.timezone.utc).replace(tzinfo=None)
    whole = {name: row.get(name) for name in CONTRACT_COLUMNS}
    return {**whole, **row, "assets": assets, "datetime": when}


def _without_unreadable(row: dict[str, Any], bands: tuple[str, ...]) -> list[DeadLetter]:
    """Takes out of a row what no tile of could be found; names the rest as we write it."""
    letters = []
    for band in bands:
        metadata = row[band + METADATA_SUFFIX]
        if metadata is None:
            continue
        missing = [name for name in TABLES if metadata[name] is None]
        if missing:
            error = RecordError(f"Its {missing[0]} is missing, or holds nulls")
            letters.append(dead_letter({"id": str(row["id"]), "band": band}, error))
            row[band + METADATA_SUFFIX] = None
            continue
        for name, alias in _ALIASES:
            if metadata.get(name) is None and alias in metadata:
                metadata[name] = metadata[alias]
    return letters


def _is_band(schema: pa.Schema, band: str) -> bool:
    """Rasteret takes every such column for one; text has no tile table."""
    kind = schema.field(band + METADATA_SUFFIX).type
    return pa.types.is_struct(kind) and all(kind.get_field_index(name) >= 0 for name in TABLES)
