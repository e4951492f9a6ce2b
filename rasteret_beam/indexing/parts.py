"""Rows -> the Parquet files of a collection."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rasteret_beam import schema
from rasteret_beam.collection.columns import TABLES
from rasteret_beam.errors import CollectionError
from rasteret_beam.grid import crs
from rasteret_beam.indexing.layout import bands_type, cell_of
from rasteret_beam.schema import METADATA_SUFFIX, TIFF_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rasteret_beam.indexing.layout import Layout
    from rasteret_beam.indexing.rows import IndexedItem

_ROW_GROUP_ROWS = 1024
_ROW_GROUP_BYTES = 32 * 1024 * 1024
_COMPRESSION_LEVEL = 3


def collection_schema(layout: Layout, description: dict[str, str] | None = None) -> pa.Schema:
    """Gives the schema of a collection, as rasteret 0.4 writes it.

    Args:
        layout: Its bands and properties.
        description: Schema-level metadata: ``name``, ``data_source``, ...
    """
    fields = [
        pa.field("id", pa.string()),
        pa.field("datetime", pa.timestamp("us")),
        pa.field("geometry", pa.binary(), metadata=geoarrow_metadata()),
        pa.field("assets", bands_type(layout.bands)),
        pa.field("bbox", schema.BBOX),
        pa.field("proj:epsg", pa.int32()),
        pa.field("crs", pa.string()),
        pa.field("proj:projjson", pa.string()),
        pa.field("collection", pa.string()),
        *layout.columns,
    ]
    fields += [pa.field(band + METADATA_SUFFIX, schema.BAND_METADATA) for band in layout.bands]
    fields += [pa.field(band + TIFF_SUFFIX, schema.BAND_TIFF) for band in layout.bands]
    dates = "" if layout.dates is None else ",".join(d.isoformat() for d in layout.dates)
    told = {
        "rasteret_collection_version": "1",
        "created": dt.datetime.now().isoformat(),  # noqa: DTZ005 -- local, as rasteret's
        "date_range": dates,
        **layout.description,
        **{key: value for key, value in (description or {}).items() if value},
    }
    return pa.schema(fields, metadata={**told, "geo": geo_metadata()})


def to_table(rows: Sequence[dict[str, Any]], found: pa.Schema) -> pa.Table:
    """Makes a table of rows; null for columns that a row does not have.

    Args:
        rows: Column -> value.
        found: The collection's schema.

    Raises:
        CollectionError: A column has a value that does not fit its type.
    """
    columns = [
        _column(field.name, [row.get(field.name) for row in rows], field.type) for field in found
    ]
    return pa.Table.from_arrays(columns, schema=found)


def write_part(
    file: BinaryIO, items: Iterable[IndexedItem], found: pa.Schema, name: str = "",
) -> tuple[int, int]:
    """Writes one file of a collection, in row groups of bounded size.

    Rows are ordered by place, so that a bbox filter skips row groups; of rows that are
    equal in everything one is kept (searches give an item twice where pages drift).

    Args:
        file: Opened for writing.
        items: Its rows; all are held packed, those of one row group unpacked.
        found: The collection's schema.
        name: Value of ``collection`` for rows without one.

    Returns:
        Rows written, and rows dropped because they were there twice.
    """
    ordered = sorted(
        items, key=lambda i: (cell_of(i.bbox), i.datetime is None, i.datetime, i.id, i.packed),
    )
    group: list[dict[str, Any]] = []
    alike: list[dict[str, Any]] = []
    n_rows, n_twice, n_bytes = 0, 0, 0
    with pq.ParquetWriter(file, found, **writer_options(found)) as writer:
        for item in ordered:
            row = item.row()
            row["collection"] = name if row["collection"] is None else row["collection"]
            alike = alike if alike and alike[0]["id"] == row["id"] else []
            if any(_equal(row, other) for other in alike):
                n_twice += 1
                continue
            full = n_bytes + item.n_bytes > _ROW_GROUP_BYTES or len(group) == _ROW_GROUP_ROWS
            if group and full:
                writer.write_table(to_table(group, found), row_group_size=len(group))
                group, n_bytes = [], 0
            alike.append(row)
            group.append(row)
            n_rows, n_bytes = n_rows + 1, n_bytes + item.n_bytes
        writer.write_table(to_table(group, found), row_group_size=max(len(group), 1))
    return n_rows, n_twice


def writer_options(found: pa.Schema) -> dict[str, Any]:
    """Gives how a collection's columns are stored.

    Tile tables as differences: a quarter smaller than as a dictionary of positions that
    hardly ever repeat, and written in a third of the time.
    """
    sink = pa.BufferOutputStream()
    pq.write_table(found.empty_table(), sink)
    columns = pq.ParquetFile(pa.BufferReader(sink.getvalue())).metadata.schema
    paths = [columns.column(at).path for at in range(len(columns))]
    tables = [path for path in paths if not set(TABLES).isdisjoint(path.split("."))]
    return {
        "compression": "zstd",
        "compression_level": _COMPRESSION_LEVEL,
        "use_dictionary": [path for path in paths if path not in tables],
        "column_encoding": dict.fromkeys(tables, "DELTA_BINARY_PACKED"),
    }


def geoarrow_metadata() -> dict[bytes, bytes]:
    """Gives the field metadata of a footprint column: WKB in CRS84."""
    extension = json.dumps({"crs": crs.to_projjson("OGC:CRS84")}).encode()
    return {b"ARROW:extension:name": b"geoarrow.wkb", b"ARROW:extension:metadata": extension}


def geo_metadata(geometry_types: Sequence[str] = ("MultiPolygon", "Polygon")) -> str:
    """Gives the file metadata of GeoParquet 1.1, with the bbox column as covering.

    Args:
        geometry_types: What footprints are, as the specification spells it.
    """
    sides = ("xmin", "ymin", "xmax", "ymax")
    column = {
        "encoding": "WKB",
        "geometry_types": list(geometry_types),
        "crs": crs.to_projjson("OGC:CRS84"),
        "covering": {"bbox": {side: ["bbox", side] for side in sides}},
    }
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
    return json.dumps(geo)


def _equal(first: Any, second: Any) -> bool:  # noqa: ANN401 -- any value of a row
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(_equal(first[k], second[k]) for k in first)
    if isinstance(first, np.ndarray) or isinstance(second, np.ndarray):
        return bool(np.array_equal(first, second))
    return bool(first == second) or (first != first and second != second)  # noqa: PLR0124 -- NaN


def _column(name: str, values: list[Any], kind: pa.DataType) -> pa.Array:
    if kind == schema.BAND_METADATA:
        return _metadata_column(values)
    try:
        return pa.array(values, kind)
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        fitted = [None if value is None else _fitted(value, kind) for value in values]
        try:
            return pa.array(fitted, kind)
        except (pa.ArrowException, ValueError, TypeError, OverflowError):
            msg = f"Column {name!r} has values that are no {kind}: {error}"
            raise CollectionError(msg) from error


def _fitted(value: Any, kind: pa.DataType) -> Any:  # noqa: ANN401 -- any property
    """A value of another type, as text (JSON, where it is none) or as a number."""
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        text = value if isinstance(value, str) else json.dumps(value, default=str)
        return text.encode(errors="replace").decode()
    if pa.types.is_integer(kind) and isinstance(value, bool):
        return int(value)
    return float(value) if pa.types.is_floating(kind) else value


def _metadata_column(structs: list[dict[str, Any] | None]) -> pa.Array:
    """Tile tables as one array each: Arrow would take them number by number."""
    empty: dict[str, Any] = {}
    fields = []
    for at in range(schema.BAND_METADATA.num_fields):
        field = schema.BAND_METADATA.field(at)
        values = [(struct or empty).get(field.name) for struct in structs]
        is_table = field.name in TABLES
        fields.append(_list_column(values) if is_table else pa.array(values, field.type))
    missing = pa.array([struct is None for struct in structs], pa.bool_())
    return pa.StructArray.from_arrays(fields, fields=list(schema.BAND_METADATA), mask=missing)


def _list_column(tables: list[np.ndarray | None]) -> pa.Array:
    nothing = np.zeros(0, np.int64)
    arrays = [nothing if table is None else table for table in tables]
    ends = np.cumsum([len(array) for array in arrays])
    starts = pa.array(
        np.concatenate([[0], ends]).astype(np.int32),
        mask=np.array([*(table is None for table in tables), False]),
    )
    numbers = np.concatenate([nothing, *arrays]).astype(np.int64, copy=False)
    return pa.ListArray.from_arrays(starts, pa.array(numbers))
