"""Rows of a file in their final order, whatever the order they came in.

Rows go along a curve through space, some 100 000 at a time; among these by record and band,
and within a band along the curve again. So a row group covers a small area, and what
repeats stands together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from rasteret_beam.output.parts import LAT, LON, PLACE, UNIT
from rasteret_beam.output.units import LABEL_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rasteret_beam.row_sums import RowLabel

GROUP_ROWS = 100_000
"""Rows of a Parquet row group; GeoParquet's guide asks for 50 000 to 150 000."""


class Rows(NamedTuple):
    """Rows of a file, in no order yet.

    Attributes:
        table: Columns as in parts, ``_unit`` counting into ``labels``.
        labels: What rows are of.
        schema: The rows' ``schema.sample_schema``.
    """

    table: pa.Table
    labels: tuple[RowLabel, ...]
    schema: pa.Schema


def gather(
    batches: Sequence[tuple[pa.RecordBatch, Sequence[RowLabel]]], schema: pa.Schema,
) -> Rows:
    """Puts rows of parts together.

    Args:
        batches: Rows, and what their ``_unit`` counts into; at least one.
        schema: The rows' ``schema.sample_schema``.

    Returns:
        The rows, their labels in the order that output has: by time, then by name.
    """
    labels = tuple(sorted({label for _, known in batches for label in known}, key=_in_order))
    rank = {label: number for number, label in enumerate(labels)}
    tables = []
    for rows, known in batches:
        ranks = np.array([rank[label] for label in known] or [0], np.int32)
        unit = pa.array(ranks[rows.column(UNIT).to_numpy()])
        table = pa.Table.from_batches([rows]).replace_schema_metadata(None)
        tables.append(table.set_column(table.schema.get_field_index(UNIT), UNIT, unit))
    # A user column may be null in one batch and typed in another.
    table = pa.concat_tables(tables, promote_options="permissive").unify_dictionaries()
    for at, field in enumerate(table.schema):
        if pa.types.is_null(field.type):
            typed = table.column(at).cast(schema.field(field.name).type)
            table = table.set_column(at, field.name, typed)
    return Rows(table.combine_chunks(), labels, schema)


def chunks(rows: Rows, n_rows: int = GROUP_ROWS) -> Iterator[np.ndarray]:
    """Cuts rows along the curve.

    Yields:
        int64, indexes of some ``n_rows`` rows, in no order; one empty run where there
        are no rows.
    """
    place = column(rows, PLACE)
    order = np.argsort(place, kind="stable")
    n_chunks = max(round(len(place) / n_rows), 1)
    sorted_place = place[order]
    wanted = [len(place) * number // n_chunks for number in range(1, n_chunks)]
    # Rows of one place stay together.
    cuts = np.unique(np.searchsorted(sorted_place, sorted_place[wanted], side="left"))
    yield from np.split(order, cuts[cuts > 0])


def long_rows(rows: Rows) -> Iterator[pa.Table]:
    """Gives the rows in order, some ``GROUP_ROWS`` at a time, with the columns they came with.

    Yields:
        Tables in ``rows.schema``, ``_lon`` and ``_lat`` behind it where parts have them.
    """
    unit, place = column(rows, UNIT), column(rows, PLACE)
    index = column(rows, "point_index")
    for chunk in chunks(rows):
        order = chunk[np.lexsort((index[chunk], place[chunk], unit[chunk]))]
        yield with_labels(rows, order)


def with_labels(rows: Rows, order: np.ndarray) -> pa.Table:
    """Gives rows by their indexes, with the columns that their labels hold."""
    table = rows.table.take(pa.array(order))
    unit = pa.array(column(rows, UNIT)[order])
    parts = {name: [lb[at] for lb in rows.labels] for at, name in enumerate(LABEL_COLUMNS)}
    columns, fields = [], []
    for field in rows.schema:
        if field.name in LABEL_COLUMNS:
            columns.append(_of_labels(parts[field.name], field.type, unit))
        else:
            columns.append(table[field.name])
        fields.append(field.with_type(columns[-1].type))
    for name in (LON, LAT):
        if name in table.schema.names:
            columns.append(table[name])
            fields.append(table.schema.field(name))
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def bounds(rows: Rows) -> tuple[float, float, float, float] | None:
    """Gives (xmin, ymin, xmax, ymax) of the points, in degrees; None where none is on Earth.

    Where parts have no longitudes there is none either.
    """
    if LON not in rows.table.schema.names:
        return None
    lon, lat = column(rows, LON), column(rows, LAT)
    there = ~np.isnan(lon)
    if not there.any():
        return None
    lon, lat = lon[there], lat[there]
    return float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max())


def column(rows: Rows, name: str) -> np.ndarray:
    """Gives a column without nulls as an array."""
    return np.asarray(rows.table[name].to_numpy())


def _of_labels(values: Sequence[object], kind: pa.DataType, unit: pa.Array) -> pa.Array:
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.array(values, plain).take(unit)


def _in_order(label: RowLabel) -> tuple[object, ...]:
    """Undated records last, rows without a record after all."""
    return (
        label.record_id is None, label.datetime_us is None, label.datetime_us or 0,
        *(str(part) for part in label),
    )  # fmt: skip
