"""Types of columns that other writers choose -> those that Arrow can do everything with."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Iterable

_Rows = TypeVar("_Rows", pa.Table, pa.RecordBatch)

_OF_VIEWS = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}


def without_views(kind: pa.DataType) -> pa.DataType:
    """Gives the type of the same values without views of text and bytes, at any depth.

    DataFusion and Polars write such types; Arrow cannot compare them, nor take rows.

    >>> without_views(pa.list_(pa.string_view())), without_views(pa.int8())
    (ListType(list<item: string>), DataType(int8))
    """
    within = fields_without_views(members(kind))
    if pa.types.is_struct(kind):
        return pa.struct(within)
    if pa.types.is_map(kind):
        return pa.map_(*within, keys_sorted=kind.keys_sorted)
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(*within, kind.list_size)
    if pa.types.is_large_list(kind):
        return pa.large_list(*within)
    return pa.list_(*within) if within else _OF_VIEWS.get(kind, kind)


def comparable(stored: pa.DataType, name: str, *members: str) -> pc.Expression:
    """Gives a column of a dataset as a part of conditions.

    Arrow holds conditions against the statistics of row groups, and cannot where those are
    of views: a call around the column keeps it from that.

    Args:
        stored: Its type in the files, or its member's.
        name: The column.
        members: Where in it, if it is a struct.
    """
    found = pc.field(name, *members)
    return pc.coalesce(found) if stored in _OF_VIEWS else found


def fields_without_views(fields: Iterable[pa.Field]) -> list[pa.Field]:
    """Gives columns of the same values without views."""
    return [field.with_type(without_views(field.type)) for field in fields]


def rows_without_views(rows: _Rows) -> _Rows:
    """Gives the same rows without views."""
    plain = pa.schema(fields_without_views(rows.schema), metadata=rows.schema.metadata)
    return rows if plain.equals(rows.schema) else rows.cast(plain)


def members(kind: pa.DataType) -> list[pa.Field]:
    """Gives what a struct, list or map is made of; nothing of another type.

    Of a list view neither: Arrow cannot make a list of one.
    """
    if pa.types.is_struct(kind):
        return list(kind)
    if pa.types.is_map(kind):
        return [kind.key_field, kind.item_field]
    is_list = any(
        check(kind)
        for check in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    )
    return [kind.value_field] if is_list else []


def holds_empty_struct(kind: pa.DataType) -> bool:
    """Tells whether Parquet has no such type: of a struct without members, at any depth.

    >>> holds_empty_struct(pa.list_(pa.struct([]))), holds_empty_struct(pa.int8())
    (True, False)
    """
    if pa.types.is_struct(kind) and not kind.num_fields:
        return True
    return any(holds_empty_struct(member.type) for member in members(kind))
