"""Rows that BigQuery's storage API gives -> rows that points are found in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely

from rasteret_beam.errors import PointsError
from rasteret_beam.grid import crs
from rasteret_beam.points import EXTENSION_METADATA, EXTENSION_NAME, to_points
from rasteret_beam.points.index import hashed_all

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rasteret_beam.elements import DeadLetter, PointBatch
    from rasteret_beam.points import PointColumns

_GEOGRAPHY = b"google:sqlType:geography"
_SEPARATOR, _NULL = b"\x1f", b"\x00"


def read_rows(
    rows: pa.RecordBatch, columns: PointColumns, index_field: str | None, source: str,
) -> tuple[PointBatch, list[DeadLetter]]:
    """Finds the points in rows of a table.

    GEOGRAPHY comes as text (WKT), longitude and latitude, and says so in its metadata;
    text in a geometry column that was named is taken for WKT too.

    Args:
        rows: The rows.
        columns: Where the points are; by default the only GEOGRAPHY column.
        index_field: Column that becomes ``point_index``; by default a hash of the row, as
            also where a row has no number there, which a dead letter tells; it is sampled.
        source: Name of the table, for messages.

    Returns:
        As ``to_points``.

    Raises:
        PointsError: As ``to_points``, or the index is of another type.
    """
    broken: dict[int, str] = {}
    if index_field is None:
        index = row_hashes(rows)
    else:
        index, broken = _index(rows, index_field, source)
        rows = rows.select([name for name in rows.schema.names if name != index_field])
    for name in _wkt_columns(rows.schema, columns):
        rows = _with_wkb(rows, name)
    return to_points(rows, columns, index, source, broken)


def selected_fields(
    fields: Iterable[tuple[str, str]], columns: PointColumns, kept: Iterable[str],
    index_field: str | None,
) -> list[str]:
    """Gives the columns that must be read.

    Args:
        fields: (name, type) of the table's columns.
        columns: Where the points are.
        kept: Columns that are wanted besides.
        index_field: Column of the index, or None.

    Raises:
        PointsError: A column is not there.
    """
    types = dict(fields)
    named = [columns.geometry_column, columns.x_column, columns.y_column]
    wanted = [name for name in named if name is not None]
    if not wanted:
        wanted = [name for name, kind in types.items() if kind == "GEOGRAPHY"]
    if not wanted:
        wanted = [name for name in ("x", "y", "lon", "lat", "longitude", "latitude", "lng")
                  if name in types]  # fmt: skip
    wanted += [*kept, *([index_field] if index_field else [])]
    missing = [name for name in wanted if name not in types]
    if missing:
        msg = f"Columns {missing} are not in the table; it has {list(types)}"
        raise PointsError(msg)
    return [name for name in types if name in wanted]


def row_hashes(rows: pa.RecordBatch) -> np.ndarray:
    """Gives each row a number that depends on its values alone.

    BigQuery gives rows in any order, another one in each session. Rows that are equal in
    every column that is read have one number; the order of columns does not matter.

    Returns:
        int64, shape (n_rows,), 0 and above.
    """
    names = sorted(rows.schema.names)
    texts = [_as_bytes(rows.column(rows.schema.get_field_index(name))) for name in names]
    joined = pc.binary_join_element_wise(
        *texts, pa.scalar(_SEPARATOR, pa.binary()),
        null_handling="replace", null_replacement=_NULL,
    )  # fmt: skip
    return hashed_all(joined.to_pylist())


def _as_bytes(column: pa.Array) -> pa.Array:
    if pa.types.is_nested(column.type) or isinstance(column, pa.ExtensionArray):
        texts = [None if v is None else repr(v) for v in column.to_pylist()]
        column = pa.array(texts, pa.string())
    elif pa.types.is_timestamp(column.type):
        # As a number: to print a zone needs a database of zones.
        column = column.cast(pa.int64()).cast(pa.string())
    elif not (pa.types.is_binary(column.type) or pa.types.is_string(column.type)):
        column = column.cast(pa.string())
    return column.cast(pa.binary())


def _index(
    rows: pa.RecordBatch, name: str, source: str,
) -> tuple[np.ndarray, dict[int, str]]:
    """The numbers; rows that have none get their hash, and a reason for a dead letter."""
    at = rows.schema.get_field_index(name)
    if at < 0:
        msg = f"{source}: index_field {name!r} is no column; there are {rows.schema.names}"
        raise PointsError(msg)
    column = rows.column(at)
    if not pa.types.is_integer(column.type):
        msg = f"{source}: index_field {name!r} is {column.type}, expected whole numbers"
        raise PointsError(msg)
    if not column.null_count:
        return np.asarray(column.to_numpy(), np.int64), {}
    reason = f"index_field {name!r} is null, expected a whole number"
    broken = {int(row): reason for row in np.flatnonzero(column.is_null())}
    numbers = column.cast(pa.int64()).fill_null(0).to_numpy()
    return np.where(column.is_null(), row_hashes(rows), numbers), broken


def _wkt_columns(table: pa.Schema, columns: PointColumns) -> list[str]:
    if columns.x_column is not None:
        return []
    if columns.geometry_column is None:
        return [f.name for f in table if (f.metadata or {}).get(EXTENSION_NAME) == _GEOGRAPHY]
    # Where it is not there, ``to_points`` says so.
    named = [table.field(n) for n in table.names if n == columns.geometry_column]
    return [field.name for field in named if pa.types.is_string(field.type)]


def _with_wkb(rows: pa.RecordBatch, name: str) -> pa.RecordBatch:
    """The rows with a column of WKT as WKB."""
    at = rows.schema.get_field_index(name)
    field = rows.schema.field(at)
    texts = rows.column(at).to_pylist()
    shapes = shapely.from_wkt(np.array(texts, object), on_invalid="ignore")
    blobs = shapely.to_wkb(shapes)
    # What is no WKT is found to be no point later, and told as it is.
    wkb = [
        text.encode() if blob is None and text is not None else blob
        for text, blob in zip(texts, blobs, strict=True)
    ]
    declared = None
    if (field.metadata or {}).get(EXTENSION_NAME) == _GEOGRAPHY:
        declared = {EXTENSION_METADATA: json.dumps({"crs": crs.LONLAT}).encode()}
    metadata = {EXTENSION_NAME: b"geoarrow.wkb", **(declared or {})}
    return rows.set_column(
        at, pa.field(name, pa.binary(), metadata=metadata), pa.array(wkb, pa.binary()),
    )
