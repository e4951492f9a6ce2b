"""Arrow tables -> tables whose Parquet files BigQuery loads, and the fields of such tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rasteret_beam.bigquery.names import safe_names
from rasteret_beam.errors import OutputError
from rasteret_beam.json_values import json_texts

if TYPE_CHECKING:
    from collections.abc import Callable

GEOGRAPHY_COLUMN = "geog"
"""Column of the points, as WKB; GEOGRAPHY in the table."""

_NESTED = "values"
_NUMERIC_DIGITS, _NUMERIC_SCALE = 29, 9
_BIGNUMERIC_DIGITS = _BIGNUMERIC_SCALE = 38


def loadable(table: pa.Table) -> pa.Table:
    """Gives a table as BigQuery can load it from Parquet.

    Columns get names that are safe. Times are in UTC, to the microsecond; such without a
    zone are taken as UTC. An array holds neither nulls nor arrays: a null becomes NaN, or
    "" in an array of text; an array within an array becomes a record of one field,
    ``values``. What BigQuery has no type for becomes text.

    Raises:
        OutputError: A list of something else than text and floats has a null.
    """
    columns = [
        _converted(column.combine_chunks(), name)
        for name, column in zip(table.column_names, table.columns, strict=True)
    ]
    return pa.table(columns, names=safe_names(table.column_names))


def check_lists(rows: pa.RecordBatch) -> None:
    """Refuses rows of which ``loadable`` would refuse a list.

    Raises:
        OutputError: A list of something else than text and floats has a null.
    """
    for name, column in zip(rows.schema.names, rows.columns, strict=True):
        if pa.types.is_nested(column.type):
            _converted(column, name)


def table_fields(schema: pa.Schema) -> list[dict[str, Any]]:
    """Gives the fields of the table that files of ``loadable`` tables are loaded into.

    Args:
        schema: Of such a table.

    Returns:
        Fields as BigQuery's API has them, none of them required; ``geog`` a GEOGRAPHY.
    """
    fields = [_field(field.name, field.type) for field in schema]
    for field in fields:
        if field["name"] == GEOGRAPHY_COLUMN and field["type"] == "BYTES":
            field["type"] = "GEOGRAPHY"
    return fields


def _converted(array: Any, path: str) -> Any:  # noqa: ANN401, PLR0911 -- Arrow arrays; a case each
    """An array as BigQuery can load it; ``path`` is for messages."""
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    if isinstance(array, pa.ExtensionArray):
        return _converted(array.storage, path)
    kind = array.type
    if pa.types.is_dictionary(kind):
        return _converted(array.dictionary_decode(), path)
    if pa.types.is_struct(kind) and kind.num_fields:
        return _record(array, path)
    if _is_list(kind):
        return _list(array, path)
    if pa.types.is_timestamp(kind):
        return array.cast(pa.timestamp("us"), safe=False).cast(pa.timestamp("us", "UTC"))
    for is_kind, target in _CASTS:
        if is_kind(kind):
            return array.cast(target, safe=False)
    if any(is_kind(kind) for is_kind in _KEPT) or _decimal_type(kind):
        return array
    return pa.array(json_texts(array), pa.string())


def _record(array: pa.StructArray, path: str) -> pa.StructArray:
    names = [field.name for field in array.type]
    children = [
        _converted(child, f"{path}.{name}")
        for name, child in zip(names, array.flatten(), strict=True)
    ]
    return pa.StructArray.from_arrays(children, safe_names(names), mask=array.is_null())


def _list(array: Any, path: str) -> pa.ListArray:  # noqa: ANN401 -- any kind of list
    """A list without nulls in it; a null list is an empty one to BigQuery anyway."""
    lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int32)
    items = _converted(array.flatten(), path)
    if pa.types.is_list(items.type):
        items = pa.StructArray.from_arrays([items], [_NESTED])
    if items.null_count:
        items = _without_nulls(items, path)
    return pa.ListArray.from_arrays(pa.array(offsets), items)


def _without_nulls(items: Any, path: str) -> Any:  # noqa: ANN401 -- Arrow arrays
    if pa.types.is_floating(items.type):
        return pc.fill_null(items, float("nan"))
    if pa.types.is_string(items.type) or pa.types.is_large_string(items.type):
        return pc.fill_null(items, "")
    if pa.types.is_struct(items.type):
        return pa.StructArray.from_arrays(items.flatten(), [field.name for field in items.type])
    msg = f"column {path!r} has a null in a list of {items.type}: BigQuery's arrays hold none"
    raise OutputError(msg)


def _is_list(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind),
    )


def _decimal_type(kind: pa.DataType) -> str | None:
    if not pa.types.is_decimal(kind):
        return None
    digits = kind.precision - kind.scale
    if digits <= _NUMERIC_DIGITS and 0 <= kind.scale <= _NUMERIC_SCALE:
        return "NUMERIC"
    if digits <= _BIGNUMERIC_DIGITS and 0 <= kind.scale <= _BIGNUMERIC_SCALE:
        return "BIGNUMERIC"
    return None


def _field(name: str, kind: pa.DataType) -> dict[str, Any]:
    if pa.types.is_list(kind):
        return _field(name, kind.value_type) | {"mode": "REPEATED"}
    field: dict[str, Any] = {"name": name, "mode": "NULLABLE"}
    if pa.types.is_struct(kind):
        return field | {"type": "RECORD", "fields": [_field(sub.name, sub.type) for sub in kind]}
    return field | {"type": _type_of(kind)}


def _type_of(kind: pa.DataType) -> str:
    for is_kind, name in _KEPT.items():
        if is_kind(kind):
            return name
    # Nothing else is left of a loadable table.
    return _decimal_type(kind) or "NUMERIC"


def _is_nanoseconds_or_coarse(kind: pa.DataType) -> bool:
    return bool(pa.types.is_time(kind)) and kind != pa.time64("us")


_CASTS: tuple[tuple[Callable[[pa.DataType], bool], pa.DataType], ...] = (
    (pa.types.is_null, pa.string()),
    (pa.types.is_string_view, pa.string()),
    (pa.types.is_binary_view, pa.binary()),
    (pa.types.is_fixed_size_binary, pa.binary()),
    (pa.types.is_float16, pa.float32()),
    # BigQuery's INT64 has no room for the upper half.
    (pa.types.is_uint64, pa.decimal128(20, 0)),
    (pa.types.is_date64, pa.date32()),
    (_is_nanoseconds_or_coarse, pa.time64("us")),
)
"""Types that become others; the first that fits."""

_KEPT: dict[Callable[[pa.DataType], bool], str] = {
    pa.types.is_boolean: "BOOL",
    pa.types.is_integer: "INT64",
    pa.types.is_floating: "FLOAT64",
    pa.types.is_string: "STRING",
    pa.types.is_large_string: "STRING",
    pa.types.is_binary: "BYTES",
    pa.types.is_large_binary: "BYTES",
    pa.types.is_date: "DATE",
    pa.types.is_time: "TIME",
    pa.types.is_timestamp: "TIMESTAMP",
}
"""Types that BigQuery loads, and what they are there."""
