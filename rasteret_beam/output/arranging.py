"""Rows of a file in their final order, whatever the order they came in.

Rows go along a curve through space, some 100 000 at a time; among these by record and band,
and within a band along the curve again. So a row group covers a small area, and what
repeats stands together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from rasteret_beam.mixed_types import conformed
from rasteret_beam.output.parts import LAT, LON, PLACE, SAMPLE_COLUMNS, UNIT
from rasteret_beam.output.runs import members
from rasteret_beam.output.units import LABEL_COLUMNS, in_order

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rasteret_beam.output.parts import Points
    from rasteret_beam.row_sums import RowLabel

GROUP_ROWS = 100_000
"""Rows of a Parquet row group; GeoParquet's guide asks for 50 000 to 150 000."""


class Rows(NamedTuple):
    """Rows of a file, in no order yet: points, and the samples of each one after another.

    Attributes:
        points: What samples share, with ``PLACE`` and what else parts have.
        samples: What they have of their own.
        first: int64, shape (n_points,): the first sample of each point.
        n_samples: int64, shape (n_points,): how many it has.
        label: Shape (n_samples,), counts into ``labels``.
        labels: What samples are of, in the order that output has.
        schema: The rows' ``schema.sample_schema``.
    """

    points: pa.Table
    samples: pa.Table
    first: np.ndarray
    n_samples: np.ndarray
    label: np.ndarray
    labels: tuple[RowLabel, ...]
    schema: pa.Schema


def gather(runs: Sequence[Points], schema: pa.Schema) -> Rows:
    """Puts points of parts together.

    Args:
        runs: The points; at least one run.
        schema: The rows' ``schema.sample_schema``.
    """
    known = {label for run in runs for unit in run.units for label in unit.labels}
    labels = tuple(sorted(known, key=in_order))
    rank = {label: number for number, label in enumerate(labels)}
    count = np.concatenate([run.counts() for run in runs])
    return Rows(
        _together([run.points.drop_columns([UNIT]) for run in runs], schema),
        _together([run.samples for run in runs], schema),
        np.cumsum(count) - count, count,
        np.concatenate([_labels_of(run, rank) for run in runs]), labels, schema,
    )  # fmt: skip


def chunks(rows: Rows, n_rows: int = GROUP_ROWS) -> Iterator[np.ndarray]:
    """Cuts points along the curve.

    Yields:
        int64, indexes of the points of some ``n_rows`` samples, by place and then by their
        index; one empty run where there are none.
    """
    place, index = column(rows.points, PLACE), column(rows.points, "point_index")
    order = np.argsort(place, kind="stable")
    sorted_place, ends = place[order], np.cumsum(rows.n_samples[order])
    total = len(rows.label)
    n_chunks = max(round(total / n_rows), 1)
    wanted = [total * number // n_chunks for number in range(1, n_chunks)]
    at = np.searchsorted(ends, wanted, side="right")
    # Points of one place stay together.
    cuts = np.unique(np.searchsorted(sorted_place, sorted_place[at], side="left"))
    for chunk in np.split(order, cuts[cuts > 0]):
        yield chunk[np.lexsort((index[chunk], place[chunk]))]


def long_rows(rows: Rows) -> Iterator[pa.Table]:
    """Gives the rows in order, some ``GROUP_ROWS`` at a time, with the columns they came with.

    Yields:
        Tables in ``rows.schema``, ``LON`` and ``LAT`` behind it where parts have them.
    """
    for chunk in chunks(rows):
        samples = members(rows.first[chunk], rows.n_samples[chunk])
        order = np.argsort(rows.label[samples], kind="stable")
        yield take(rows, np.repeat(chunk, rows.n_samples[chunk])[order], samples[order])


def take(rows: Rows, points: np.ndarray, samples: np.ndarray) -> pa.Table:
    """Gives rows by the indexes of their points and samples, with the columns of labels."""
    of_points = rows.points.take(pa.array(points))
    of_samples = rows.samples.take(pa.array(samples))
    label = pa.array(rows.label[samples])
    parts = {name: [lb[at] for lb in rows.labels] for at, name in enumerate(LABEL_COLUMNS)}
    columns, fields = [], []
    for field in rows.schema:
        if field.name in LABEL_COLUMNS:
            columns.append(_of_labels(parts[field.name], field.type, label))
        else:
            own = field.name in SAMPLE_COLUMNS
            columns.append((of_samples if own else of_points)[field.name])
        fields.append(field.with_type(columns[-1].type))
    for name in (LON, LAT):
        if name in of_points.schema.names:
            columns.append(of_points[name])
            fields.append(of_points.schema.field(name))
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def bounds(rows: Rows) -> tuple[float, float, float, float] | None:
    """Gives (xmin, ymin, xmax, ymax) of the points, in degrees; None where none is on Earth.

    Where parts have no longitudes there is none either.
    """
    if LON not in rows.points.schema.names:
        return None
    lon, lat = column(rows.points, LON), column(rows.points, LAT)
    there = ~np.isnan(lon)
    if not there.any():
        return None
    lon, lat = lon[there], lat[there]
    return float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max())


def column(table: pa.Table, name: str) -> np.ndarray:
    """Gives a column without nulls as an array."""
    return np.asarray(table[name].to_numpy())


def _together(batches: list[pa.RecordBatch], schema: pa.Schema) -> pa.Table:
    tables = [conformed(pa.Table.from_batches([batch]), schema) for batch in batches]
    # A user column may be null in one batch and typed in another.
    table = pa.concat_tables(tables, promote_options="permissive").unify_dictionaries()
    for at, field in enumerate(table.schema):
        if pa.types.is_null(field.type):
            typed = table.column(at).cast(schema.field(field.name).type)
            table = table.set_column(at, field.name, typed)
    return table.combine_chunks()


def _labels_of(run: Points, rank: Mapping[RowLabel, int]) -> np.ndarray:
    """The rank of each sample's label, in the smallest type: those of two bytes sort fastest."""
    ranks = [rank[label] for unit in run.units for label in unit.labels]
    n_labels = np.array([len(unit.labels) for unit in run.units], np.int64)
    first = (np.cumsum(n_labels) - n_labels)[run.points.column(UNIT).to_numpy()]
    return np.array(ranks, np.min_scalar_type(len(rank)))[members(first, run.counts())]


def _of_labels(values: Sequence[object], kind: pa.DataType, label: pa.Array) -> pa.Array:
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.array(values, plain).take(label)
