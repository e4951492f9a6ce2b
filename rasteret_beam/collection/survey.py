"""Where a collection's records are: row groups with their boxes, and how full places are."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from rasteret_beam.collection.boxes import bbox_array, meets_any
from rasteret_beam.collection.fragments import Fragment, open_fragment, stored_schema
from rasteret_beam.collection.records import reading
from rasteret_beam.collection.sizes import row_group_bytes, table_columns

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rasteret_beam.collection.query import CollectionQuery
    from rasteret_beam.storage import Store

ORDER = 10
"""The finest places have 2**-ORDER of the Earth's width and height: 0.35 x 0.18 degrees."""

SKETCH = 1024
"""Hashes by which distinct bboxes are estimated: to some 3 percent."""

DAY_US = 86_400_000_000
_FILES_OPEN = 256
_WEST_SOUTH, _EXTENT = np.array([-180.0, -90.0]), np.array([360.0, 180.0])


class RowGroups(NamedTuple):
    """The row groups of one file that hold records which meet the filters.

    Attributes:
        fragment: The file.
        ids: int64, shape (n,): which row groups.
        boxes: float64, shape (n, 4): bbox around the bboxes of their records.
    """

    fragment: Fragment
    ids: np.ndarray
    boxes: np.ndarray


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Survey:
    """What is known of the records of some files that meet the filters.

    Attributes:
        files: Their row groups.
        places: int64, ascending: distinct bboxes, rounded outwards to finest places.
        weights: float64, same shape: bytes of memory that their records take.
        distinct: uint64, ascending: the least hashes of distinct bboxes.
        days: int64, ascending: days since 1970 of which there are records.
        records: int64, same shape: how many.
        n_records: How many in all.
    """

    files: tuple[RowGroups, ...]
    places: np.ndarray
    weights: np.ndarray
    distinct: np.ndarray
    days: np.ndarray
    records: np.ndarray
    n_records: int


class OpenFile(NamedTuple):
    """A Parquet file whose footer was read.

    Attributes:
        dataset: The file, with its folders' columns beside its own.
        file: The same as a fragment.
        starts: Place in the file of each row group's first row, then the file's end.
    """

    dataset: ds.Dataset
    file: ds.ParquetFileFragment
    starts: np.ndarray


@functools.lru_cache(maxsize=_FILES_OPEN)
def open_file(store: Store, fragment: Fragment) -> OpenFile:
    """Opens a file, or gives it where it is open: a process reads footers once.

    Raises:
        CollectionError: It is not Parquet.
    """
    dataset = open_fragment(store, fragment)
    (file,) = dataset.get_fragments()
    metadata = file.metadata
    sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    return OpenFile(dataset, file, np.cumsum([0, *sizes], dtype=np.int64))


def survey_fragment(query: CollectionQuery, fragment: Fragment) -> tuple[Survey, np.ndarray]:
    """Looks at the bboxes of one file's records, and at nothing else of them.

    Args:
        query: Which records.
        fragment: The file.

    Returns:
        The survey; and int64, the places in the file of records without a bbox.

    Raises:
        CollectionError: The file is not Parquet, or lacks a filter's column.
    """
    with reading(fragment):
        opened = open_file(query.store, fragment)
        ids = _groups_that_may_meet(opened, query)
        if not len(ids):
            return EMPTY, ids
        found = scan(opened, ids, ["datetime"], query)
    nowhere = ~np.isfinite(found.bboxes).all(axis=1)
    placed = found.meets & ~nowhere
    days, records = np.unique(_days(found.rows["datetime"].filter(placed)), return_counts=True)
    here, group = found.bboxes[placed], found.group[placed]
    inhabited = np.unique(group)
    order = np.argsort(group, kind="stable")
    boxes = np.zeros((0, 4))
    if len(here):
        starts = np.searchsorted(group[order], inhabited)
        low = np.minimum.reduceat(here[order, :2], starts)
        boxes = np.hstack([low, np.maximum.reduceat(here[order, 2:], starts)])
    columns = table_columns(opened.file.metadata, query)
    share = np.zeros(len(opened.starts) - 1)
    for at in inhabited.tolist():
        n_rows = opened.starts[at + 1] - opened.starts[at]
        share[at] = row_group_bytes(opened.file.metadata, at, columns) / n_rows
    places, whose = np.unique(_rounded(here), return_inverse=True)
    survey = Survey(
        (RowGroups(fragment, inhabited, boxes),) if len(inhabited) else (),
        places,
        np.bincount(whose.reshape(-1), share[group], len(places)),
        np.unique(_hashes(here))[:SKETCH],
        days,
        records,
        int(found.meets.sum()),
    )
    return survey, found.row[found.meets & nowhere]


def _groups_that_may_meet(opened: OpenFile, query: CollectionQuery) -> np.ndarray:
    """Row groups that the file's statistics do not rule out."""
    condition, part = query.filters.expression(stored_schema(opened.dataset)), opened.file
    if condition is not None:
        part = part.subset(filter=condition, schema=opened.dataset.schema)
    return np.array([group.id for group in part.row_groups], np.int64)


class Scan(NamedTuple):
    """Rows of whole row groups, in their order.

    Attributes:
        rows: The columns that were asked for.
        bboxes: float64, shape (n_rows, 4), NaN where there is none.
        meets: bool, shape (n_rows,): which rows meet the query's filters.
        group: int64, shape (n_rows,): the row group.
        row: int64, shape (n_rows,): place in the file.
    """

    rows: pa.RecordBatch
    bboxes: np.ndarray
    meets: np.ndarray
    group: np.ndarray
    row: np.ndarray


def scan(
    opened: OpenFile, ids: np.ndarray, columns: Iterable[str], query: CollectionQuery,
) -> Scan:
    """Reads bboxes and some other columns of row groups, every row of them.

    A filter would hide which row is which: what it says is read beside them.
    """
    condition = query.filters.expression(stored_schema(opened.dataset))
    everything = pc.scalar(True)  # noqa: FBT003 -- a literal
    table = opened.file.subset(row_group_ids=ids.tolist()).to_table(
        schema=opened.dataset.schema,
        columns={
            **{name: pc.field(name) for name in ("bbox", *columns)},
            _MEETS: everything if condition is None else condition,
        },
        use_threads=False,
    )
    sizes = np.diff(opened.starts)[ids]
    group = np.repeat(ids, sizes)
    within = np.arange(len(group)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    batches = table.combine_chunks().to_batches()
    rows = batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)
    bboxes = bbox_array(rows.column("bbox"))
    meets = pc.fill_null(rows.column(_MEETS), fill_value=False).to_numpy(zero_copy_only=False)
    if query.filters.geometries is not None:
        meets = meets & meets_any(bboxes, query.filters.boxes())
    return Scan(
        rows.drop_columns(["bbox", _MEETS]), bboxes, meets, group, opened.starts[group] + within,
    )


def merge(surveys: Iterable[Survey]) -> Survey:
    """Gives the survey of all files together."""
    every = [EMPTY, *surveys]
    places, weights = _summed([(one.places, one.weights) for one in every])
    days, records = _summed([(one.days, one.records) for one in every])
    return Survey(
        tuple(file for one in every for file in one.files),
        places,
        weights,
        np.unique(np.concatenate([one.distinct for one in every]))[:SKETCH],
        days,
        records.astype(np.int64),
        sum(one.n_records for one in every),
    )


def places_of(lon: np.ndarray, lat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gives the column and row of the finest place that holds each point."""
    sides = np.stack([lon, lat], axis=-1)
    with np.errstate(over="ignore"):
        share = np.clip((sides - _WEST_SOUTH) / _EXTENT, 0, 1)
    places = np.minimum((share * (1 << ORDER)).astype(np.int64), (1 << ORDER) - 1)
    return places[..., 0], places[..., 1]


def unpacked(places: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Gives first and last column and row, both included, of rounded bboxes."""
    mask = (1 << ORDER) - 1
    first_col, first_row, last_col, last_row = (places >> ORDER * i & mask for i in range(4))
    return first_col, first_row, last_col, last_row


def _rounded(bboxes: np.ndarray) -> np.ndarray:
    first_col, first_row = places_of(bboxes[:, 0], bboxes[:, 1])
    last_col, last_row = places_of(bboxes[:, 2], bboxes[:, 3])
    return first_col | first_row << ORDER | last_col << 2 * ORDER | last_row << 3 * ORDER


def _hashes(bboxes: np.ndarray) -> np.ndarray:
    """One number a bbox, the same in every process."""
    # No -0.0 beside 0.0.
    bits = np.ascontiguousarray(bboxes + 0.0).view(np.uint64)
    mixed = np.zeros(len(bboxes), np.uint64)
    for side in bits.T:
        mixed = (mixed ^ side) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    return mixed


def _days(when: pa.Array) -> np.ndarray:
    instants = when.drop_null().cast(pa.timestamp("us", when.type.tz), safe=False)
    return instants.cast(pa.int64()).to_numpy(zero_copy_only=False) // DAY_US


def _summed(parts: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    keys, at = np.unique(np.concatenate([key for key, _ in parts]), return_inverse=True)
    amounts = np.concatenate([amount for _, amount in parts])
    return keys, np.bincount(at.reshape(-1), amounts, len(keys))


_MEETS = "meets the filters"
_NONE = np.zeros(0, np.int64)
EMPTY = Survey((), _NONE, _NONE.astype(np.float64), _NONE.astype(np.uint64), _NONE, _NONE, 0)
