"""Points in: a BigQuery table or query -> point batches."""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import PBegin

from rasteret_beam.bigquery import TableName
from rasteret_beam.bigquery.rows import read_rows, selected_fields
from rasteret_beam.elements import PointBatch
from rasteret_beam.errors import OptionError, PointsError
from rasteret_beam.points import BATCH_ROWS, PointColumns
from rasteret_beam.transforms import _bigquery_clients
from rasteret_beam.transforms._metrics import DEAD_LETTERS, Counters, dead_letter_outputs
from rasteret_beam.transforms._outputs import NamedOutputs, typed
from rasteret_beam.transforms.read_points import ReadPointsResult


class _Stream(NamedTuple):
    """One part of a read session, that one worker reads.

    Attributes:
        name: Of the stream; "" for a table without rows.
        schema: Of its rows, as an Arrow IPC message.
        source: Name of the table, for messages.
    """

    name: str
    schema: bytes
    source: str


@dataclasses.dataclass(eq=False, kw_only=True)
class ReadPointsFromBigQuery(NamedOutputs):
    """Reads points from a BigQuery table, or from what a query gives.

    Columns of the table come as Arrow through BigQuery's storage API, in as many streams
    as it offers, and only those that are wanted. A GEOGRAPHY column holds longitude and
    latitude (WGS 84) and needs no CRS; coordinate columns do.

    Rows come in any order, so that a row's position says nothing: without ``index_field``
    its ``point_index`` is a 63-bit hash of the columns that are read, the same in every
    run, and shared by rows that are equal in all of them.

    Input: the pipeline. Output: ``ReadPointsResult``; a table without rows gives one
    empty batch, for its schema. Windows: the global one. Dead letters: rows without
    usable coordinates, or without an index. Counters: ``points_malformed``.

    Attributes:
        table: ``project.dataset.table``, with ``bq://`` or without; or else:
        query: GoogleSQL, whose rows are the points.
        columns: Where in a row the point is, and its CRS; by default the only GEOGRAPHY.
        index_field: Column that becomes ``point_index``, INT64; a row that has null there
            is sampled under its hash.
        kept: Columns to carry through, besides the point's; by default all.
        project: Where queries and sessions run; by default the table's.

    Raises:
        OptionError: Neither or both of table and query, or a query without a project.
        PointsError: While running: the table or query cannot be read, or has no points.
    """

    table: str | None = None
    query: str | None = None
    columns: PointColumns = dataclasses.field(default_factory=PointColumns)
    index_field: str | None = None
    kept: tuple[str, ...] | None = None
    project: str | None = None

    def __post_init__(self) -> None:
        """Checks that there is one input."""
        if (self.table is None) == (self.query is None):
            msg = f"table={self.table!r} and query={self.query!r}: give one or the other"
            raise OptionError(msg)
        if self.table is not None:
            TableName.parse(self.table)
        elif not self.project:
            msg = "a query for points needs the project to run in (--project)"
            raise OptionError(msg)

    def expand(self, pbegin: PBegin) -> ReadPointsResult:
        """Opens a session, reads its streams."""
        outputs = (
            pbegin
            | "Input" >> beam.Create([self.table or self.query])
            | "OpenSession" >> beam.ParDo(
                _SessionFn(
                    self.query is not None, self.project, self.columns, self.index_field, self.kept,
                ),
            ).with_output_types(_Stream)
            | "SpreadStreams" >> beam.Reshuffle()
            | "Read" >> beam.ParDo(
                _ReadFn(self.columns, self.index_field),
            ).with_outputs(DEAD_LETTERS, main="points")
        )
        return ReadPointsResult(typed(outputs.points, PointBatch), outputs[DEAD_LETTERS])


def _reading(told: str) -> contextlib.AbstractContextManager[None]:
    return _bigquery_clients.telling(f"points: {told} cannot be read", PointsError)


class _SessionFn(beam.DoFn):
    def __init__(
        self,
        is_query: bool,  # noqa: FBT001 -- private
        project: str | None,
        columns: PointColumns,
        index_field: str | None,
        kept: tuple[str, ...] | None,
    ) -> None:
        self._is_query, self._project = is_query, project
        self._columns, self._index_field, self._kept = columns, index_field, kept

    def process(self, source: str) -> Iterator[_Stream]:
        told = "the query" if self._is_query else str(TableName.parse(source))
        with _reading(told):
            if self._is_query:
                table = _queried(source, str(self._project))
            else:
                table = TableName.parse(source)
            session = self._session(table)
        schema = bytes(session.arrow_schema.serialized_schema)
        # An empty table has no streams.
        for name in [stream.name for stream in session.streams] or [""]:
            yield _Stream(name, schema, told)

    def _session(self, table: TableName) -> Any:  # noqa: ANN401 -- Google's own
        from google.cloud.bigquery_storage_v1.types import (  # noqa: PLC0415 -- slow to import
            DataFormat,
            ReadSession,
        )

        project = self._project or table.project
        options = ReadSession.TableReadOptions()
        if self._kept is not None:
            found = _bigquery_clients.job_client(project).get_table(str(table))
            options.selected_fields = selected_fields(
                [(field.name, field.field_type) for field in found.schema],
                self._columns, self._kept, self._index_field,
            )  # fmt: skip
        wanted = ReadSession(
            table=table.path, data_format=DataFormat.ARROW, read_options=options,
        )
        return _bigquery_clients.read_client().create_read_session(
            parent=f"projects/{project}", read_session=wanted,
        )


def _queried(query: str, project: str) -> TableName:
    """The anonymous table that BigQuery keeps a query's rows in for a day."""
    job = _bigquery_clients.job_client(project).query(query)
    job.result(max_results=1)
    found = job.destination
    return TableName(found.project, found.dataset_id, found.table_id)


class _ReadFn(beam.DoFn):
    def __init__(self, columns: PointColumns, index_field: str | None) -> None:
        self._columns, self._index_field = columns, index_field
        self._counters = Counters("points_malformed")

    def process(self, stream: _Stream) -> Iterator[Any]:
        schema = pa.ipc.read_schema(pa.py_buffer(stream.schema))
        with _reading(stream.source):
            for rows in _batches(stream.name, schema):
                batch, letters = read_rows(rows, self._columns, self._index_field, stream.source)
                yield from dead_letter_outputs(letters, self._counters, "points_malformed")
                yield batch


def _batches(name: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The rows of a stream, some ten thousand at a time; messages are smaller."""
    held: list[pa.RecordBatch] = []
    if not name:
        yield pa.RecordBatch.from_pylist([], schema=schema)
        return
    for message in _bigquery_clients.read_client().read_rows(name):
        data = message.arrow_record_batch.serialized_record_batch
        if data:
            held.append(pa.ipc.read_record_batch(pa.py_buffer(data), schema))
        if sum(rows.num_rows for rows in held) >= BATCH_ROWS:
            yield _together(held, schema)
            held = []
    if held:
        yield _together(held, schema)


def _together(held: list[pa.RecordBatch], schema: pa.Schema) -> pa.RecordBatch:
    table = pa.Table.from_batches(held, schema).combine_chunks()
    return table.to_batches()[0] if table.num_rows else pa.RecordBatch.from_pylist([], schema)
