"""One file -> its rows and their types, and a piece of it -> batches of points."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from rasteret_beam.errors import FetchError, PointsError
from rasteret_beam.point_files.csv_tables import inspect_csv, open_csv
from rasteret_beam.point_files.csv_types import as_types
from rasteret_beam.point_files.geojson import read_geojson
from rasteret_beam.point_files.kinds import CSV, PARQUET, kind_of
from rasteret_beam.point_files.numbering import PointsFile, PointsPiece
from rasteret_beam.points import BATCH_ROWS, to_points
from rasteret_beam.storage import redact
from rasteret_beam.storage.files import arrow_filesystem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rasteret_beam.elements import DeadLetter, PointBatch
    from rasteret_beam.points import PointColumns
    from rasteret_beam.storage import Store

_BATCH_BYTES = 32 * 1024 * 1024
_MOST_ROWS = 1 << 18
_WHOLE_BYTES = 128 * 1024 * 1024
"""Row groups up to this are read with few requests, and held; of others some at a time."""

_BUFFER_BYTES, _LEAST_BUFFER_BYTES = 64 * 1024 * 1024, 128 * 1024
"""Read at once of all columns of a large row group together; of each at least."""


def inspect_file(store: Store, uri: str, columns: PointColumns) -> PointsFile:
    """Counts a file's rows and reads its schema.

    Args:
        store: How files are read.
        uri: The file.
        columns: Where the points are, as far as it is told for all files.

    Raises:
        PointsError: The format is not known, or the file is not of its format.
    """
    kind = kind_of(uri)
    with _as_points_error(uri):
        if kind == PARQUET:
            filesystem, path = arrow_filesystem(store, uri)
            with pq.ParquetFile(path, filesystem=filesystem) as file:
                groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
                counts = tuple(group.num_rows for group in groups)
                return PointsFile(uri, counts, _pack(file.schema_arrow))
        if kind == CSV:
            schema, n_rows = inspect_csv(store, uri, columns)
        else:
            table = read_geojson(store, uri)
            schema, n_rows = table.schema, table.num_rows
        return PointsFile(uri, (n_rows,), _pack(schema))


def read_piece(
    store: Store, piece: PointsPiece,
) -> Iterator[tuple[PointBatch, list[DeadLetter]]]:
    """Reads one piece in batches.

    Args:
        store: How files are read.
        piece: What to read.

    Yields:
        Each batch, and dead letters for rows without usable coordinates (they stay in
        the batch, so that every row can be accounted for).

    Raises:
        PointsError: The table holds no points as far as can be told.
    """
    schema = pa.ipc.read_schema(pa.BufferReader(piece.schema))
    first_index = piece.first_index
    with _as_points_error(piece.uri):
        for rows in _read_rows(store, piece, schema):
            yield to_points(rows, piece.columns, first_index, piece.uri)
            first_index += rows.num_rows
        if first_index == piece.first_index:
            yield to_points(_empty(schema), piece.columns, first_index, piece.uri)


@contextlib.contextmanager
def _as_points_error(uri: str):  # type: ignore[no-untyped-def]  # noqa: ANN202 -- contextmanager's own
    try:
        yield
    except (pa.ArrowException, FetchError, OSError, UnicodeDecodeError) as error:
        msg = f"{redact(uri)}: cannot be read as points: {error}"
        raise PointsError(msg) from error


def _pack(schema: pa.Schema) -> bytes:
    return bytes(schema.serialize())


def _empty(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.nulls(0, f.type) for f in schema], schema=schema)


def _read_rows(store: Store, piece: PointsPiece, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Rows of one piece in the input's schema, some at a time."""
    if piece.n_rows == 0:
        return
    if piece.row_group is not None:
        with _open_group(store, piece.uri, piece.row_group) as file:
            rows = _rows_at_once(file.metadata.row_group(piece.row_group))
            batches = file.iter_batches(rows, row_groups=[piece.row_group])
            yield from (_conform(batch, schema) for batch in batches)
    elif kind_of(piece.uri) == CSV:
        with open_csv(store, piece.uri) as reader:
            for batch in reader:
                yield from (_conform(as_types(b, schema), schema) for b in _cut(batch))
    else:
        table = read_geojson(store, piece.uri)
        yield from (_conform(b, schema) for b in table.combine_chunks().to_batches(BATCH_ROWS))


@contextlib.contextmanager
def _open_group(store: Store, uri: str, row_group: int) -> Iterator[pq.ParquetFile]:
    """Opens a file for reading one row group: a large one is not held whole meanwhile."""
    filesystem, path = arrow_filesystem(store, uri)
    with pq.ParquetFile(path, filesystem=filesystem) as file:
        group = file.metadata.row_group(row_group)
        if group.total_byte_size <= _WHOLE_BYTES:
            yield file
            return
    buffer_bytes = max(_BUFFER_BYTES // group.num_columns, _LEAST_BUFFER_BYTES)
    with pq.ParquetFile(
        path, filesystem=filesystem, metadata=file.metadata, pre_buffer=False,
        buffer_size=buffer_bytes,
    ) as file:
        yield file


def _rows_at_once(group: pq.RowGroupMetaData) -> int:
    """Rows of a batch: as many as take some memory, more than ``BATCH_ROWS`` where they are small.

    Each batch sends a message to each block of tiles that its points need; of points in no
    order, larger batches send fewer.
    """
    row_bytes = max(group.total_byte_size // max(group.num_rows, 1), 1)
    return min(max(_BATCH_BYTES // row_bytes, 1), _MOST_ROWS)


def _cut(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    for start in range(0, batch.num_rows, BATCH_ROWS):
        yield batch.slice(start, BATCH_ROWS)


def _conform(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The rows with every column of the input, nulls where the file lacks one."""
    arrays = []
    for field in schema:
        at = batch.schema.get_field_index(field.name)
        if at < 0:
            arrays.append(pa.nulls(batch.num_rows, field.type))
        else:
            arrays.append(batch.column(at).cast(field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
