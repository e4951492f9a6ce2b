"""How a collection is cut into files: folders by month, files by place and size."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import re
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from rasteret_beam.arrow_types import members, without_views
from rasteret_beam.grid.hilbert import hilbert_index

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable

    from rasteret_beam.indexing.rows import IndexedItem

_FILE_BYTES = 128 * 1024 * 1024
_FILE_ROWS = 200_000
_CELL_ORDER = 5
_SORT_ORDER = 10
_ASSETS = "assets"
_CLOUD_COVER = "eo:cloud_cover"
_UNDATED = "__HIVE_DEFAULT_PARTITION__"


class Shard(NamedTuple):
    """One file of a collection.

    Attributes:
        folder: Hive folder of its rows, ``year=2024/month=5``; "" where nothing is dated.
        number: Its number in the folder.
    """

    folder: str
    number: int


@dataclasses.dataclass(frozen=True, slots=True)
class Layout:
    """What must be known of all rows before any can be written.

    Attributes:
        bands: Every band, in the order in which items have them.
        columns: Every property's column and type.
        dates: First and last datetime, or None.
        description: What earlier collections said of themselves: name, data_source, ...
        shards: (folder, cell) -> number of its first file, and how many share it.
    """

    bands: tuple[str, ...]
    columns: pa.Schema
    dates: tuple[dt.datetime, dt.datetime] | None
    description: dict[str, str]
    shards: dict[tuple[str, int], tuple[int, int]]

    def shard_of(self, item: IndexedItem) -> Shard:
        """Gives the file that a row belongs in; equal ids at one place share a file."""
        folder = partition_of(item.datetime)
        first, n_files = self.shards[folder, cell_of(item.bbox, _CELL_ORDER)]
        spread = 0
        if n_files > 1:
            spread = int.from_bytes(hashlib.sha256(item.id.encode()).digest()[:8], "big") % n_files
        return Shard("" if self.dates is None else folder, first + spread)


class Sketch:
    """Gathers a layout from rows; parts can be gathered apart and merged."""

    def __init__(self) -> None:
        """Begins with no row."""
        self._bands: dict[str, int] = {}
        self._declared_bands: set[str] = set()
        self._columns: dict[str, pa.DataType] = {}
        self._metadata: dict[bytes, bytes] = {}
        self._dates: list[dt.datetime] = []
        self._sizes: dict[tuple[str, int], tuple[int, int]] = {}

    def add(self, item: IndexedItem) -> None:
        """Takes a row."""
        self._add_bands({band: place for place, band in enumerate(item.bands)})
        for name, kind in item.columns.items():
            self._add_column(name, kind)
        self._add_dates([item.datetime] if item.datetime is not None else [])
        key = partition_of(item.datetime), cell_of(item.bbox, _CELL_ORDER)
        self._add_size(key, 1, item.n_bytes)

    def declare(self, columns: pa.Schema) -> None:
        """Takes types of columns, and the metadata of their schema.

        A struct ``assets`` is no property: it names the bands that a collection without
        a row has all the same.
        """
        self._metadata.update(columns.metadata or {})
        for field in columns:
            if field.name == _ASSETS:
                self._declared_bands.update(band.name for band in field.type)
            else:
                self._add_column(field.name, plain_type(field.type))

    @property
    def columns(self) -> pa.Schema:
        """Every column that was met or declared so far, and its type."""
        fields = sorted(self._columns.items())
        if self._declared_bands:
            fields.append((_ASSETS, bands_type(sorted(self._declared_bands))))
        return pa.schema(fields, metadata=self._metadata)

    def merge(self, others: Iterable[Sketch]) -> None:
        """Takes what other sketches gathered."""
        for other in others:
            self._add_bands(other._bands)  # noqa: SLF001 -- its own kind, as below
            self.declare(other.columns)
            self._add_dates(other._dates)  # noqa: SLF001
            for key, (rows, n_bytes) in other._sizes.items():  # noqa: SLF001
                self._add_size(key, rows, n_bytes)

    def layout(self, declared: pa.Schema | None = None) -> Layout:
        """Gives the layout.

        Args:
            declared: Types that a source declared.
                Its metadata is the description.
        """
        every = Sketch()
        every.declare(self.columns)
        if declared is not None:
            every.declare(declared)
        fields = [(f.name, _stored_type(f)) for f in every.columns if f.name != _ASSETS]
        bands = self._bands or dict.fromkeys(every._declared_bands, 0)
        return Layout(
            tuple(sorted(bands, key=lambda b: (bands[b], _natural(b)))),
            pa.schema(fields),
            (min(self._dates), max(self._dates)) if self._dates else None,
            {} if declared is None else _text(declared.metadata),
            _cut(self._sizes),
        )

    def _add_bands(self, places: dict[str, int]) -> None:
        for band, place in places.items():
            self._bands[band] = min(place, self._bands.get(band, place))

    def _add_column(self, name: str, kind: pa.DataType) -> None:
        known = self._columns.get(name)
        if known is None or not known.equals(kind):
            self._columns[name] = kind if known is None else common_type(known, kind)

    def _add_dates(self, dates: list[dt.datetime]) -> None:
        together = self._dates + dates
        self._dates = [min(together), max(together)] if together else []

    def _add_size(self, key: tuple[str, int], rows: int, n_bytes: int) -> None:
        before = self._sizes.get(key, (0, 0))
        self._sizes[key] = before[0] + rows, before[1] + n_bytes


def bands_type(bands: Iterable[str]) -> pa.DataType:
    """Gives the type of ``assets``: a struct of bands; null without any, for Parquet."""
    asset = pa.struct([("href", pa.string()), ("band_index", pa.int64())])
    fields = [(band, asset) for band in bands]
    return pa.struct(fields) if fields else pa.null()


def partition_of(when: dt.datetime | None) -> str:
    """Gives the hive folder of a record, as rasteret partitions.

    >>> import datetime as dt
    >>> partition_of(dt.datetime(2024, 5, 1)), partition_of(None)[:31]
    ('year=2024/month=5', 'year=__HIVE_DEFAULT_PARTITION__')
    """
    year, month = (_UNDATED, _UNDATED) if when is None else (when.year, when.month)
    return f"year={year}/month={month}"


def cell_of(bbox: tuple[float, float, float, float], order: int = _SORT_ORDER) -> int:
    """Gives the place of a bbox's centre along a curve on which near cells are near."""
    if not all(map(math.isfinite, bbox)):
        return 0
    return hilbert_index((bbox[0] + bbox[2]) / 2, (bbox[1] + bbox[3]) / 2, order)


def common_type(first: pa.DataType, second: pa.DataType) -> pa.DataType:
    """Gives a type that values of both fit; text where nothing else does.

    >>> common_type(pa.int64(), pa.float64()), common_type(pa.int64(), pa.string())
    (DataType(double), DataType(string))
    """
    if pa.types.is_binary(first) != pa.types.is_binary(second) and not (
        pa.types.is_null(first) or pa.types.is_null(second)
    ):
        return pa.string()
    try:
        unified = pa.unify_schemas(
            [pa.schema([("_", first)]), pa.schema([("_", second)])], promote_options="permissive",
        )
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.string()
    return _sorted_members(unified.field(0).type)


def plain_type(kind: pa.DataType) -> pa.DataType:
    """Gives the type that the values of an encoded column have: of a dictionary, views, ...

    >>> plain_type(pa.dictionary(pa.int8(), pa.string())), plain_type(pa.string_view())
    (DataType(string), DataType(string))
    """
    if isinstance(kind, pa.BaseExtensionType):
        return plain_type(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return plain_type(kind.value_type)
    return without_views(kind)


def _sorted_members(kind: pa.DataType) -> pa.DataType:
    """The same whatever the order in which rows were met."""
    if pa.types.is_struct(kind):
        fields = sorted((kind.field(i) for i in range(kind.num_fields)), key=lambda f: f.name)
        return pa.struct([(f.name, _sorted_members(f.type)) for f in fields])
    return pa.list_(_sorted_members(kind.value_type)) if pa.types.is_list(kind) else kind


def _cut(sizes: dict[tuple[str, int], tuple[int, int]]) -> dict[tuple[str, int], tuple[int, int]]:
    """Files of about one size: neighbouring cells share one, a full cell has several."""
    shards: dict[tuple[str, int], tuple[int, int]] = {}
    folder, number, filled = None, 0, 0.0
    for key in sorted(sizes):
        rows, n_bytes = sizes[key]
        share = max(rows / _FILE_ROWS, n_bytes / _FILE_BYTES)
        if key[0] != folder:
            folder, number, filled = key[0], 0, 0.0
        elif filled + share > 1:
            number, filled = number + 1, 0.0
        n_files = max(1, round(share))
        shards[key] = number, n_files
        number, filled = number + n_files - 1, (1.0 if n_files > 1 else filled + share)
    return shards


def _stored_type(field: pa.Field) -> pa.DataType:
    """What a property is stored as.

    Parquet has no nulls alone and no structs of nothing; rasteret's clouds are doubles.
    """
    kind = field.type
    if field.name == _CLOUD_COVER and (pa.types.is_integer(kind) or pa.types.is_null(kind)):
        return pa.float64()
    return pa.string() if pa.types.is_null(kind) or _holds_nothing(kind) else kind


def _holds_nothing(kind: pa.DataType) -> bool:
    """Whether there is a struct without members in it."""
    within = members(kind)
    nothing = pa.types.is_struct(kind) and not within
    return nothing or any(_holds_nothing(field.type) for field in within)


def _text(metadata: dict[bytes, bytes] | None) -> dict[str, str]:
    return {key.decode(): value.decode() for key, value in (metadata or {}).items()}


def _natural(name: str) -> list[tuple[int, str]]:
    """B2 before B10."""
    return [(int(t), "") if t.isdigit() else (-1, t) for t in re.split(r"(\d+)", name)]
