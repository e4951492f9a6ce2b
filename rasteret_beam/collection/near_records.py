"""The records of a collection that may hold some points: all else stays unread."""

from __future__ import annotations

import concurrent.futures
import functools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from rasteret_beam.collection.making import CRS_COLUMNS, declared_crs, make_records
from rasteret_beam.collection.records import (
    BATCH_ROWS,
    RECORD_BITS,
    reading,
    record_columns,
)
from rasteret_beam.collection.survey import open_file, scan
from rasteret_beam.errors import CrsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rasteret_beam.collection.atlas import Atlas
    from rasteret_beam.collection.fragments import Fragment
    from rasteret_beam.collection.near import Near
    from rasteret_beam.collection.query import CollectionQuery
    from rasteret_beam.collection.survey import RowGroups
    from rasteret_beam.elements import DeadLetter, Record

_FILES_AT_ONCE = 16
_ROWS_AT_ONCE, _BYTES_AT_ONCE = 2048, 16 * 1024 * 1024


class FoundRecord(NamedTuple):
    """A row that was read.

    Attributes:
        ordinal: Its place in the scan order: the same whichever rows are read with it.
        record: The record; None where nothing of it can be used.
        dead_letters: What in it cannot be used.
    """

    ordinal: int
    record: Record | None
    dead_letters: list[DeadLetter]


def read_near(
    query: CollectionQuery, atlas: Atlas, near: Near | None, in_crs: frozenset[str | None] | None,
) -> Iterator[FoundRecord]:
    """Reads the records that meet a query's filters and may hold points.

    Bboxes are read first; of the tile tables only row groups that hold such records.

    Args:
        query: Which records.
        atlas: Of the same query.
        near: Where the points are; None for records anywhere.
        in_crs: The CRSs of which records are wanted; None for all.

    Raises:
        CollectionError: A file cannot be read.
    """
    look = functools.partial(_wanted_rows, query, near, in_crs)
    with concurrent.futures.ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
        found = zip(atlas.files, pool.map(look, atlas.files), strict=True)
        yield from _made(
            query, (piece for file, rows in found for piece in _pieces(query, file.fragment, rows)),
        )


def read_rows(
    query: CollectionQuery, fragment: Fragment, rows: np.ndarray,
) -> Iterator[FoundRecord]:
    """Reads some records of one file.

    Args:
        query: Which bands.
        fragment: The file.
        rows: int64, ascending: places in the file.
    """
    yield from _made(query, _pieces(query, fragment, rows))


class _Piece(NamedTuple):
    """Some rows of a file."""

    rows: pa.RecordBatch
    ordinals: np.ndarray
    data_source: str


def _made(query: CollectionQuery, pieces: Iterable[_Piece]) -> Iterator[FoundRecord]:
    """Makes records, of many rows at once: a cell takes few from each file."""
    waiting: list[_Piece] = []
    n_rows = n_bytes = 0
    for piece in pieces:
        full = n_rows >= _ROWS_AT_ONCE or n_bytes >= _BYTES_AT_ONCE
        if waiting and (full or not piece.rows.schema.equals(waiting[0].rows.schema)):
            yield from _together(query, waiting)
            waiting, n_rows, n_bytes = [], 0, 0
        waiting.append(piece)
        n_rows, n_bytes = n_rows + piece.rows.num_rows, n_bytes + piece.rows.nbytes
    if waiting:
        yield from _together(query, waiting)


def _together(query: CollectionQuery, pieces: list[_Piece]) -> Iterator[FoundRecord]:
    rows = pa.Table.from_batches([piece.rows for piece in pieces]).combine_chunks()
    ordinals = np.concatenate([piece.ordinals for piece in pieces])
    # Text and lists of more than 2 GiB stay in several chunks.
    start = 0
    for batch in rows.to_batches():
        mine = ordinals[start : start + batch.num_rows]
        for found in make_records(batch, mine, query, pieces[0].data_source):
            yield FoundRecord(*found)
        start += batch.num_rows


def _pieces(query: CollectionQuery, fragment: Fragment, rows: np.ndarray) -> Iterator[_Piece]:
    if not len(rows):
        return
    opened = open_file(query.store, fragment)
    groups = np.searchsorted(opened.starts, rows, side="right") - 1
    with reading(fragment):
        for group in np.unique(groups).tolist():
            first = int(opened.starts[group])
            mine = rows[groups == group] - first
            # No more of a row group than a few batches is ever unpacked.
            scanner = opened.file.subset(row_group_ids=[group]).scanner(
                schema=opened.dataset.schema,
                columns=record_columns(opened.dataset.schema, query),
                batch_size=BATCH_ROWS,
                batch_readahead=1,
                use_threads=False,
            )
            for batch, taken in _taken(scanner.to_batches(), mine):
                ordinals = (fragment.number << RECORD_BITS) + first + taken
                yield _Piece(batch, ordinals, fragment.data_source)


def _taken(
    batches: Iterable[pa.RecordBatch], rows: np.ndarray,
) -> Iterator[tuple[pa.RecordBatch, np.ndarray]]:
    """The wanted rows of each batch, copied: they do not hold the others in memory."""
    start = 0
    for batch in batches:
        first, last = np.searchsorted(rows, [start, start + batch.num_rows])
        if last > first:
            yield batch.take(pa.array(rows[first:last] - start)), rows[first:last]
        start += batch.num_rows


def _wanted_rows(
    query: CollectionQuery,
    near: Near | None,
    in_crs: frozenset[str | None] | None,
    file: RowGroups,
) -> np.ndarray:
    """Places in a file of the records that may hold points."""
    ids = file.ids if near is None else file.ids[near.may_hold(file.boxes)]
    if not len(ids):
        return ids
    with reading(file.fragment):
        opened = open_file(query.store, file.fragment)
        there = set(opened.dataset.schema.names)
        declare = [] if in_crs is None else [name for name in CRS_COLUMNS if name in there]
        found = scan(opened, ids, declare, query)
    wanted = found.meets & np.isfinite(found.bboxes).all(axis=1)
    if near is not None:
        wanted &= near.may_hold(found.bboxes)
    if in_crs is not None and declare:
        candidates = np.flatnonzero(wanted)
        wanted[candidates] = _in_crs(found.rows.take(pa.array(candidates)), in_crs)
    elif in_crs is not None:
        wanted &= None in in_crs
    return found.row[wanted]


def _in_crs(declared: pa.RecordBatch, in_crs: frozenset[str | None]) -> np.ndarray:
    """Which rows declare one of some CRSs, or none that can be understood."""
    kinds, found = declared_crs(declared)
    return np.array([isinstance(one, CrsError) or one in in_crs for one in found], bool)[kinds]
