"""Tables with a row an item: stac-geoparquet, and any Parquet with addresses in it."""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from rasteret_beam.arrow_types import rows_without_views
from rasteret_beam.collection.condition import read_condition
from rasteret_beam.collection.fragments import Fragment, find_files, open_fragment, stored_schema
from rasteret_beam.collection.instants import parse_instant
from rasteret_beam.collection.where import parse_where
from rasteret_beam.errors import CollectionError, OptionError, RasteretBeamError, RecordError
from rasteret_beam.indexing.items import (
    EVERY_SAMPLE,
    AssetRef,
    Item,
    ItemBatch,
    dead_letter,
    rewrite_href,
)
from rasteret_beam.indexing.layout import plain_type
from rasteret_beam.indexing.rows import property_column
from rasteret_beam.indexing.stac import Span, StacReading, declared_crs, resolve, span_of
from rasteret_beam.storage import redact

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rasteret_beam.elements import DeadLetter
    from rasteret_beam.storage import Store

_BATCH_ROWS = 1024
_SIDES = ("xmin", "ymin", "xmax", "ymax")
_BBOX_NUMBERS = (4, 6)
_OFFSET = re.compile(r"([Zz]|[+-]\d{2}:?\d{2})$")
_NOT_PROPERTIES = frozenset({"id", "datetime", "geometry", "assets", "bbox", "collection",
                             "proj:code", "proj:epsg", "crs", "proj:wkt2", "proj:projjson",
                             "links", "stac_version", "stac_extensions", "type"})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RecordTable:
    """Items of a Parquet table; rasteret's ``build_from_table``.

    Needed are ``id``, ``datetime`` and ``assets``, under these names or by
    ``column_map``; ``assets`` may be made of ``href_column``. Further columns are kept.

    Attributes:
        table: A Parquet file, a folder of them (hive-partitioned or plain), or an Arrow
            table.
        column_map: Column of the table -> name here. The column stays under its own
            name too; a name that the table has already is left as it is.
        href_column: Column of addresses, where there is no ``assets`` column. The
            reading's ``band_index_map`` names its samples; without one every sample
            becomes a band, ``B1`` .. ``Bn``.
        reading: Which rows, and which of their assets are bands. Without a ``band_map``
            every asset is one, unless ``assets`` tells media types, as STAC's does.
        where: Condition on rows, as text or as a ``pyarrow`` expression.

    Raises:
        OptionError: The condition cannot be read.
    """

    table: str | pa.Table
    column_map: Mapping[str, str] = dataclasses.field(default_factory=dict)
    href_column: str | None = None
    reading: StacReading = dataclasses.field(default_factory=StacReading)
    where: str | pc.Expression | None = None

    def __post_init__(self) -> None:
        """Checks the condition."""
        if isinstance(self.where, str):
            read_condition(self.where)

    def parts(self, store: Store) -> Iterator[Fragment | bytes]:
        """Lists the table's files; or cuts it, as Arrow IPC streams.

        Raises:
            CollectionError: There is no file.
        """
        if isinstance(self.table, str):
            yield from find_files(store, self.table)
            return
        for batch in self.table.to_batches(_BATCH_ROWS):
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, batch.schema) as stream:
                stream.write_batch(batch)
            yield sink.getvalue().to_pybytes()

    def read(self, store: Store, part: Fragment | bytes) -> Iterator[ItemBatch]:
        """Reads the items of one part.

        Raises:
            CollectionError: It is not Parquet, or lacks a column.
        """
        if isinstance(part, bytes):
            rows = _plain(pa.ipc.open_stream(part).read_all())
            condition = self._condition(rows.schema)
            yield self.batch(rows if condition is None else rows.filter(condition))
        else:
            yield from self._read_file(store, part)

    def _read_file(self, store: Store, part: Fragment) -> Iterator[ItemBatch]:
        dataset = open_fragment(store, part)
        try:
            scanner = dataset.scanner(
                filter=self._condition(stored_schema(dataset)), batch_size=_BATCH_ROWS,
                use_threads=False,
            )  # fmt: skip
            for batch in scanner.to_batches():
                yield self.batch(pa.table(batch), part.uri)
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, RasteretBeamError):
                raise
            msg = f"{redact(part.uri)}: cannot be read: {error}"
            raise CollectionError(msg) from error

    def _condition(self, schema: pa.Schema) -> pc.Expression | None:
        """What the scan can look at by itself; the rest is asked of each row."""
        where = self.where
        if isinstance(where, str):
            where = parse_where(where, schema)
        overlap = _may_overlap(self.reading.bbox, schema)
        if overlap is None or where is None:
            return where if overlap is None else overlap
        return overlap & where

    def batch(self, table: pa.Table, uri: str = "table") -> ItemBatch:
        """Makes items of rows in memory.

        Args:
            table: Rows, as the Attributes say.
            uri: Where they come from, for messages and relative addresses.

        Raises:
            CollectionError: A column is missing, there twice, or of a type that cannot
                be what it is.
        """
        table = _aliased(table, self.column_map)
        self._check(table, uri)
        whens = instants(table.column("datetime"), uri)
        table = _plain(table.drop_columns(["datetime"]))
        wide = [n for n in table.column_names if n not in _NOT_PROPERTIES and property_column(n)]
        columns = pa.schema([(property_column(n), table.schema.field(n).type) for n in wide])
        typed = "assets" in table.column_names and _tells_media_types(table.schema.field("assets"))
        items: list[Item] = []
        letters: list[DeadLetter] = []
        for row, when in zip(table.to_pylist(), whens, strict=True):
            try:
                if isinstance(when, RecordError):
                    raise when
                span = span_of({**row, "datetime": when})
                if self.reading.wants(_bbox_of(row), span):
                    items.append(self._item(row, span, wide, uri, typed=typed))
            except RasteretBeamError as error:
                letters.append(dead_letter({"href": uri, "item": str(row.get("id"))}, error))
        return ItemBatch(items, letters, columns)

    def _check(self, table: pa.Table, uri: str) -> None:
        names = table.column_names
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            msg = f"{uri}: the table has more than one column {twice}"
            raise CollectionError(msg)
        missing = [name for name in ("id", "datetime") if name not in names]
        if "assets" not in names and self.href_column not in names:
            missing.append(self.href_column or "assets")
        if missing:
            msg = (
                f"{uri}: the table has no column {missing}; it has {names}. Name others with "
                "column_map, and a column of addresses with href_column"
            )
            raise CollectionError(msg)

    def _item(
        self, row: dict[str, Any], span: Span | None, wide: list[str], uri: str, *, typed: bool,
    ) -> Item:
        if row["id"] is None:
            msg = "Its id is null"
            raise RecordError(msg)
        collection = row.get("collection")
        return Item(
            str(row["id"]),
            self._assets(row, uri, typed=typed),
            None if span is None else span[0],
            None if collection is None else str(collection),
            declared_crs(row),
            {name: row[name] for name in wide},
            unique_id=typed,
            typed=True,
            origin=uri,
        )

    def _assets(self, row: dict[str, Any], uri: str, *, typed: bool) -> dict[str, AssetRef]:
        if "assets" not in row:
            return self._one_file(row[str(self.href_column)], uri)
        assets = _asset_dict(row["assets"])
        if typed or self.reading.band_map is not None:
            return self.reading.assets(assets, str(row.get("collection") or ""), uri)
        found = {key: self._plain_asset(key, asset, uri) for key, asset in assets.items()}
        there = {key: asset for key, asset in found.items() if asset is not None}
        if not there:
            msg = "It has no asset with an href"
            raise RecordError(msg)
        return there

    def _one_file(self, href: Any, uri: str) -> dict[str, AssetRef]:  # noqa: ANN401 -- any cell
        if not isinstance(href, str) or not href:
            msg = f"Its {self.href_column} is {href!r}, expected an address"
            raise RecordError(msg)
        href = rewrite_href(resolve(href, uri), self.reading.url_rewrite_patterns)
        wanted: Mapping[str, int | None] = self.reading.band_index_map or {EVERY_SAMPLE: None}
        return {band: AssetRef(href, index) for band, index in wanted.items()}

    def _plain_asset(self, key: str, asset: Any, uri: str) -> AssetRef | None:  # noqa: ANN401 -- a struct or text
        href = asset.get("href") if isinstance(asset, dict) else asset
        if not isinstance(href, str) or not href:
            return None
        index = asset.get("band_index") if isinstance(asset, dict) else None
        href = rewrite_href(resolve(href, uri), self.reading.url_rewrite_patterns)
        named = self.reading.band_index_map.get(key)
        return AssetRef(href, named if index is None else int(index))


def _asset_dict(assets: Any) -> dict[str, Any]:  # noqa: ANN401 -- a struct, a map or null
    """Key -> asset; a map comes as a list of pairs."""
    if isinstance(assets, list) and all(isinstance(pair, tuple) for pair in assets):
        assets = dict(assets)
    if not isinstance(assets, dict):
        msg = f"Its assets are {assets!r:.80}, expected a struct or map of band -> asset"
        raise RecordError(msg)
    return {str(key): asset for key, asset in assets.items()}


def _may_overlap(
    bbox: tuple[float, float, float, float] | None, schema: pa.Schema,
) -> pc.Expression | None:
    """Rows whose bbox overlaps; those without one, and across the antimeridian, too."""
    at = schema.get_field_index("bbox")
    kind = schema.field(at).type if at >= 0 else pa.null()
    if bbox is None or not pa.types.is_struct(kind):
        return None
    if any(kind.get_field_index(side) < 0 for side in _SIDES):
        return None
    xmin, ymin, xmax, ymax = (pc.field("bbox", side) for side in _SIDES)
    west, south, east, north = bbox
    unknown = xmin.is_null() | ymin.is_null() | xmax.is_null() | ymax.is_null()
    beside = (xmin <= east) & (xmax >= west) | (xmin > xmax)
    return unknown | (beside & (ymin <= north) & (ymax >= south))


def _bbox_of(row: Mapping[str, Any]) -> list[float] | None:
    box = row.get("bbox")
    if isinstance(box, dict):
        box = [box.get(side) for side in _SIDES]
    usable = isinstance(box, list) and len(box) in _BBOX_NUMBERS and None not in box
    return box if usable else None


def _aliased(table: pa.Table, column_map: Mapping[str, str]) -> pa.Table:
    """Rasteret's rule: a source column is added under its new name, where that is free."""
    for source, name in column_map.items():
        if source in table.column_names and name not in table.column_names:
            table = table.append_column(name, table.column(source))
    return table


def _plain(table: pa.Table) -> pa.Table:
    """Columns whose values are Python's: no views, no nanoseconds."""
    table = rows_without_views(table)
    for at, field in enumerate(table.schema):
        column, kind = table.column(at), field.type
        if isinstance(kind, pa.BaseExtensionType):
            chunks = [chunk.storage for chunk in column.chunks]
            column, kind = pa.chunked_array(chunks, kind.storage_type), kind.storage_type
        if pa.types.is_timestamp(kind) and kind.unit == "ns":
            column = column.cast(pa.timestamp("us", kind.tz), safe=False)
        if column is not table.column(at):
            table = table.set_column(at, field.name, column)
    return table


def instants(column: pa.ChunkedArray, uri: str) -> list[dt.datetime | RecordError | None]:
    """Reads rasteret's forms of a datetime: a timestamp, a year, RFC 3339 text with an offset.

    Args:
        column: The values.
        uri: Where they are, for messages.

    Returns:
        For each row its instant, UTC, without tzinfo; None for a null; or why it is none.

    Raises:
        CollectionError: A type of which nothing is a datetime.
    """
    kind = plain_type(column.type)
    if kind != column.type:
        column = column.cast(kind)
    if pa.types.is_timestamp(kind):
        column = column.cast(pa.timestamp("us", kind.tz), safe=False)
        return list(column.cast(pa.timestamp("us")).to_pylist())
    if pa.types.is_date(kind) or pa.types.is_null(kind):
        return list(column.cast(pa.timestamp("us")).to_pylist())
    if pa.types.is_integer(kind):
        return [_year(value) for value in column.to_pylist()]
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return [_instant(text) for text in column.to_pylist()]
    msg = f"{uri}: datetime is {kind}, expected a timestamp, a year, or RFC 3339 text"
    raise CollectionError(msg)


def _year(value: int | None) -> dt.datetime | RecordError | None:
    try:
        return None if value is None else dt.datetime(value, 1, 1)  # noqa: DTZ001 -- naive is UTC
    except (ValueError, OverflowError):
        return RecordError(f"datetime is {value}, expected a year of 1 to 9999")


def _instant(text: str | None) -> dt.datetime | RecordError | None:
    if text is None:
        return None
    try:
        if _OFFSET.search(text):
            return parse_instant(text)
    except OptionError:
        pass
    return RecordError(
        f"datetime is {text!r}, expected RFC 3339 with an offset, like 2024-01-31T10:11:12Z",
    )


def _tells_media_types(assets: pa.Field) -> bool:
    """Whether assets are STAC's, of which some are thumbnails and text."""
    if not pa.types.is_struct(assets.type):
        return False
    kinds = [assets.type.field(i).type for i in range(assets.type.num_fields)]
    structs = [kind for kind in kinds if pa.types.is_struct(kind)]
    has_type = any(kind.get_field_index("type") >= 0 for kind in structs)
    return has_type and not any(kind.get_field_index("band_index") >= 0 for kind in structs)
