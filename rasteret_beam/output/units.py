"""What rows are of: bands of records in one block of tiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from rasteret_beam import row_sums
from rasteret_beam.row_sums import RowLabel
from rasteret_beam.schema import STATUS_CODES, Status, has_status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rasteret_beam.elements import TileBlockKey

LABEL_COLUMNS = ("record_id", "datetime", "collection", "raster_crs", "band")
"""Columns that rows of one label have alike, in the order of ``RowLabel``."""

_FAILED = frozenset(
    STATUS_CODES[status.value]
    for status in Status
    if status.name in ("FETCH_ERROR", "DECODE_ERROR", "STALE_INDEX")
)


class Unit(NamedTuple):
    """What points have samples of.

    Attributes:
        labels: What their samples say, one each; distinct, and in the order of ``in_order``.
        block: Whose rows they are some of; None where they need no tile.
    """

    labels: tuple[RowLabel, ...]
    block: TileBlockKey | None


def in_order(label: RowLabel) -> tuple[object, ...]:
    """Gives what labels are sorted by: time, then name.

    Undated records come last, rows without a record after all.
    """
    return (
        label.record_id is None, label.datetime_us is None, label.datetime_us or 0,
        *(str(part) for part in label),
    )  # fmt: skip


def split_units(samples: pa.RecordBatch) -> Iterator[tuple[RowLabel, np.ndarray | None]]:
    """Finds which rows have a label in common.

    Args:
        samples: Rows in ``schema.sample_schema``, at least one.

    Yields:
        Each label with int64 indexes of its rows, ascending; None for all of them, as
        batches of the sampling stages always are.
    """
    columns = [samples.column(name) for name in LABEL_COLUMNS]
    if all(_is_constant(column) for column in columns):
        yield _label(columns, 0), None
        return
    codes = np.column_stack([_codes(column) for column in columns])
    _, first, number = np.unique(codes, axis=0, return_index=True, return_inverse=True)
    number = number.reshape(-1)
    for at, row in enumerate(first.tolist()):
        yield _label(columns, row), np.flatnonzero(number == at)


def good_rows(samples: pa.RecordBatch, label: RowLabel) -> tuple[int, int]:
    """Counts the rows whose tile could be read.

    Args:
        samples: Rows of one label.
        label: The label.

    Returns:
        Their number, and their ``row_sums.row_sum``.
    """
    hashes = row_sums.point_hashes(samples.column("point_index").to_numpy())
    if has_status(samples.schema):
        status = samples.column("status")
        names = status.dictionary.to_pylist()
        bad = [at for at, name in enumerate(names) if STATUS_CODES[name] in _FAILED]
        if bad:
            hashes = hashes[~np.isin(status.indices.to_numpy(), bad)]
    return len(hashes), row_sums.row_sum(label, hashes)


def _label(columns: list[pa.Array], row: int) -> RowLabel:
    record_id, when, collection, epsg, band = (column[row] for column in columns)
    return RowLabel(
        record_id.as_py(), when.value, collection.as_py(), epsg.as_py(), band.as_py(),
    )


def _is_constant(column: pa.Array) -> bool:
    """Whether all rows are alike, as far as can be told at once."""
    if column.null_count:
        return bool(column.null_count == len(column))
    if pa.types.is_dictionary(column.type):
        return len(column.dictionary) == 1 or bool(np.ptp(column.indices.to_numpy()) == 0)
    return bool(np.ptp(column.cast(_storage(column.type)).to_numpy()) == 0)


def _codes(column: pa.Array) -> np.ndarray:
    if pa.types.is_dictionary(column.type):
        column = column.indices
    else:
        column = column.cast(_storage(column.type))
    return np.asarray(column.fill_null(np.iinfo(np.int32).min).to_numpy(), np.int64)


def _storage(kind: pa.DataType) -> pa.DataType:
    return pa.int64() if pa.types.is_timestamp(kind) else kind
