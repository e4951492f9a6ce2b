"""Tables with a row an item: stac-geoparquet, and any Parquet with addresses in it."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from rasteret_beam.collection.filters import Filters, parse_where
from rasteret_beam.collection.fragments import Fragment, find_files, open_fragment
from rasteret_beam.errors import CollectionError, RasteretBeamError, RecordError
from rasteret_beam.indexing.items import (
    EVERY_SAMPLE,
    AssetRef,
    Item,
    ItemBatch,
    dead_letter,
    rewrite_href,
)
from rasteret_beam.indexing.rows import property_column
from rasteret_beam.indexing.stac import StacReading, declared_crs, resolve

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rasteret_beam.elements import DeadLetter
    from rasteret_beam.storage import Store

_BATCH_ROWS = 1024
_NOT_PROPERTIES = frozenset({"id", "datetime", "geometry", "assets", "bbox", "collection",
                             "proj:code", "proj:epsg", "crs", "proj:wkt2", "proj:projjson",
                             "links", "stac_version", "stac_extensions", "type"})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RecordTable:
    """Items of a Parquet table; rasteret's ``build_from_table``.

    Needed are ``id``, ``datetime`` and ``assets``, under these names or by
    ``column_map``; ``assets`` may be made of ``href_column``. Further columns are kept.

    Attributes:
        uri: A Parquet file, or a folder of them (hive-partitioned or plain).
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

    uri: str
    column_map: Mapping[str, str] = dataclasses.field(default_factory=dict)
    href_column: str | None = None
    reading: StacReading = dataclasses.field(default_factory=StacReading)
    where: str | pc.Expression | None = None

    def __post_init__(self) -> None:
        """Checks the condition."""
        if isinstance(self.where, str):
            parse_where(self.where)

    def parts(self, store: Store) -> Iterator[Fragment]:
        """Lists the table's files.

        Raises:
            CollectionError: There is none.
        """
        yield from find_files(store, self.uri)

    def read(self, store: Store, part: Fragment) -> Iterator[ItemBatch]:
        """Reads the items of one file.

        Raises:
            CollectionError: It is not Parquet, or lacks a column.
        """
        dataset = open_fragment(store, part)
        condition = self._condition(dataset.schema)
        scanner = dataset.scanner(filter=condition, batch_size=_BATCH_ROWS, use_threads=False)
        try:
            for batch in scanner.to_batches():
                yield self.batch(pa.table(batch), part.uri)
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, RasteretBeamError):
                raise
            msg = f"{part.uri}: cannot be read as Parquet: {error}"
            raise CollectionError(msg) from error

    def _condition(self, schema: pa.Schema) -> pc.Expression | None:
        """What the scan can look at by itself; the rest is asked of each row."""
        where = self.where
        if isinstance(where, str):
            where = parse_where(where, schema)
        at = schema.get_field_index("bbox")
        if self.reading.bbox is None or at < 0 or not pa.types.is_struct(schema.field(at).type):
            return where
        overlap = Filters(bbox=self.reading.bbox).expression(schema)
        return overlap if where is None else overlap & where

    def batch(self, table: pa.Table, uri: str = "table") -> ItemBatch:
        """Makes items of rows in memory.

        Args:
            table: Rows, as the Attributes say.
            uri: Where they come from, for messages and relative addresses.

        Raises:
            CollectionError: A column is missing, or of a type that cannot be what it is.
        """
        table = _aliased(table, self.column_map)
        self._check(table, uri)
        table = _with_datetimes(table, uri)
        wide = [n for n in table.column_names if n not in _NOT_PROPERTIES and property_column(n)]
        columns = pa.schema([(property_column(n), table.schema.field(n).type) for n in wide])
        typed = "assets" in table.column_names and _tells_media_types(table.schema.field("assets"))
        items: list[Item] = []
        letters: list[DeadLetter] = []
        for row in table.to_pylist():
            try:
                if self.reading.wants(_bbox_of(row), row["datetime"]):
                    items.append(self._item(row, wide, uri, typed=typed))
            except RasteretBeamError as error:
                letters.append(dead_letter({"href": uri, "item": str(row.get("id"))}, error))
        return ItemBatch(items, letters, columns)

    def _check(self, table: pa.Table, uri: str) -> None:
        names = table.column_names
        missing = [name for name in ("id", "datetime") if name not in names]
        if "assets" not in names and self.href_column not in names:
            missing.append(self.href_column or "assets")
        if missing:
            msg = (
                f"{uri}: the table has no column {missing}; it has {names}. Name others with "
                "column_map, and a column of addresses with href_column"
            )
            raise CollectionError(msg)

    def _item(self, row: dict[str, Any], wide: list[str], uri: str, *, typed: bool) -> Item:
        if row["id"] is None:
            msg = "Its id is null"
            raise RecordError(msg)
        collection = row.get("collection")
        return Item(
            str(row["id"]),
            self._assets(row, uri, typed=typed),
            row["datetime"],
            None if collection is None else str(collection),
            declared_crs(row),
            {name: row[name] for name in wide},
        )

    def _assets(self, row: dict[str, Any], uri: str, *, typed: bool) -> dict[str, AssetRef]:
        if "assets" not in row:
            return self._one_file(row[str(self.href_column)])
        given = row["assets"] or {}
        assets = dict(given if isinstance(given, (dict, list)) else {})
        assets = {key: asset for key, asset in assets.items() if asset is not None}
        if typed or self.reading.band_map is not None:
            return self.reading.assets(assets, str(row.get("collection") or ""), uri)
        if not assets:
            msg = "It has no assets"
            raise RecordError(msg)
        return {key: self._plain(key, asset, uri) for key, asset in assets.items()}

    def _one_file(self, href: Any) -> dict[str, AssetRef]:  # noqa: ANN401 -- any cell
        if not isinstance(href, str) or not href:
            msg = f"Its {self.href_column} is {href!r}, expected an address"
            raise RecordError(msg)
        href = rewrite_href(resolve(href, None), self.reading.url_rewrite_patterns)
        wanted: Mapping[str, int | None] = self.reading.band_index_map or {EVERY_SAMPLE: None}
        return {band: AssetRef(href, index) for band, index in wanted.items()}

    def _plain(self, key: str, asset: Any, uri: str) -> AssetRef:  # noqa: ANN401 -- a struct or text
        href = asset.get("href") if isinstance(asset, dict) else asset
        if not isinstance(href, str) or not href:
            msg = f"The asset of band {key} has no href: {asset!r:.120}"
            raise RecordError(msg)
        index = asset.get("band_index") if isinstance(asset, dict) else None
        href = rewrite_href(resolve(href, uri), self.reading.url_rewrite_patterns)
        named = self.reading.band_index_map.get(key)
        return AssetRef(href, named if index is None else int(index))


def _bbox_of(row: Mapping[str, Any]) -> list[float] | None:
    box = row.get("bbox")
    if isinstance(box, dict):
        box = [box.get(side) for side in ("xmin", "ymin", "xmax", "ymax")]
    return box if isinstance(box, list) and None not in box else None


def _aliased(table: pa.Table, column_map: Mapping[str, str]) -> pa.Table:
    """Rasteret's rule: a source column is added under its new name, where that is free."""
    for source, name in column_map.items():
        if source in table.column_names and name not in table.column_names:
            table = table.append_column(name, table.column(source))
    return table


def _with_datetimes(table: pa.Table, uri: str) -> pa.Table:
    """``datetime`` as naive UTC; other nanoseconds as microseconds, which Python has."""
    for at, field in enumerate(table.schema):
        if field.name == "datetime":
            column = _instants(table.column(at), uri)
            table = table.set_column(at, "datetime", column)
        elif pa.types.is_timestamp(field.type) and field.type.unit == "ns":
            kind = pa.timestamp("us", field.type.tz)
            table = table.set_column(at, field.name, table.column(at).cast(kind, safe=False))
    return table


def _instants(column: pa.ChunkedArray, uri: str) -> pa.ChunkedArray:
    """Rasteret's forms of a datetime: a timestamp, a year, RFC 3339 text with an offset."""
    kind = column.type
    if pa.types.is_timestamp(kind):
        return column.cast(pa.timestamp("us", kind.tz), safe=False).cast(pa.timestamp("us"))
    if pa.types.is_date(kind):
        return column.cast(pa.timestamp("us"))
    if pa.types.is_null(kind):
        return column.cast(pa.timestamp("us"))
    try:
        if pa.types.is_integer(kind):
            years = [None if y is None else dt.datetime(y, 1, 1) for y in column.to_pylist()]  # noqa: DTZ001 -- naive is UTC
            return pa.chunked_array([pa.array(years, pa.timestamp("us"))])
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            return pc.cast(column, pa.timestamp("us", "UTC")).cast(pa.timestamp("us"))
    except (pa.ArrowInvalid, ValueError) as error:
        msg = (
            f"{uri}: datetime has a value that is no year and no RFC 3339 time with an "
            f"offset like 2024-01-31T10:11:12Z: {error}"
        )
        raise CollectionError(msg) from error
    msg = f"{uri}: datetime is {kind}, expected a timestamp, a year, or RFC 3339 text"
    raise CollectionError(msg)


def _tells_media_types(assets: pa.Field) -> bool:
    """Whether assets are STAC's, of which some are thumbnails and text."""
    if not pa.types.is_struct(assets.type):
        return False
    kinds = [assets.type.field(i).type for i in range(assets.type.num_fields)]
    structs = [kind for kind in kinds if pa.types.is_struct(kind)]
    has_type = any(kind.get_field_index("type") >= 0 for kind in structs)
    return has_type and not any(kind.get_field_index("band_index") >= 0 for kind in structs)

