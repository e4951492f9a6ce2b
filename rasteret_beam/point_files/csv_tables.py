"""CSV -> tables of text, and the column types that fit every row."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.csv as pacsv

from rasteret_beam.errors import PointsError
from rasteret_beam.point_files.csv_types import ColumnType
from rasteret_beam.points import PointColumns, coordinate_columns
from rasteret_beam.storage import redact
from rasteret_beam.storage.addresses import split_root
from rasteret_beam.storage.files import arrow_filesystem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rasteret_beam.storage import Store

BEYOND_FLOATS = b"rasteret_beam:beyond_floats"
"""Metadata of a column: it has whole numbers that are no float64."""

_ROW = r"(?:Row #(?P<row>\d+): )?"
_NO_UTF8 = re.compile(rf"In CSV column #(?P<column>\d+): {_ROW}.*invalid UTF8")
_WRONG_FIELDS = re.compile(
    rf"CSV parse error: {_ROW}Expected (?P<wanted>\d+) columns, got (?P<found>\d+): (?P<text>.*)",
    re.DOTALL,
)


def inspect_csv(store: Store, uri: str, columns: PointColumns) -> tuple[pa.Schema, int]:
    """Gives the column types that fit every row, and the number of rows.

    A column is of numbers, dates or the like where each of its texts is written as such a
    value is, else of text: ``007`` is no number, and ``NA`` is no null.
    """
    with open_csv(store, uri) as reader:
        names = reader.schema.names
        coordinates: tuple[str, ...] = ()
        with contextlib.suppress(PointsError):  # it is told when all files are known
            coordinates = coordinate_columns(reader.schema, columns)
        types = [ColumnType(coordinates=name in coordinates) for name in names]
        n_rows = 0
        for batch in reader:
            n_rows += batch.num_rows
            for known, texts in zip(types, batch.columns, strict=True):
                known.look(texts)
    fields = [
        pa.field(name, known.type, metadata=None if known.is_exact else {BEYOND_FLOATS: b""})
        for name, known in zip(names, types, strict=True)
    ]
    return pa.schema(fields), n_rows


@contextlib.contextmanager
def open_csv(store: Store, uri: str) -> Iterator[pacsv.CSVStreamingReader]:
    """Opens a file, all of whose columns are text as it is written; empty fields are null.

    Raises:
        PointsError: A row has too few or too many fields, or a text is no UTF-8.
    """
    names: list[str] = []
    try:
        # Types are told by name, and the names are in the file.
        with _reader(store, uri, {}) as reader:
            names = reader.schema.names
        with _reader(store, uri, dict.fromkeys(names, pa.string())) as reader:
            yield reader
    except pa.ArrowInvalid as error:
        told = _fault(str(error), names)
        if told is None:
            raise
        msg = f"{redact(uri)}: {told}"
        raise PointsError(msg) from error


@contextlib.contextmanager
def _reader(
    store: Store, uri: str, types: dict[str, pa.DataType],
) -> Iterator[pacsv.CSVStreamingReader]:
    filesystem, path = arrow_filesystem(store, uri)
    delimiter = "\t" if split_root(uri)[1].removesuffix(".gz").endswith(".tsv") else ","
    with filesystem.open_input_stream(path) as stream, pacsv.open_csv(
        stream,
        # Rows are known by their number in one thread only.
        read_options=pacsv.ReadOptions(block_size=4 << 20, use_threads=False),
        parse_options=pacsv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=pacsv.ConvertOptions(
            column_types=types, null_values=[""], strings_can_be_null=True,
        ),
    ) as reader:
        yield reader


def _fault(message: str, names: list[str]) -> str | None:
    """Says what Arrow found wrong, and in which row; the header is row 1."""
    wrong = _WRONG_FIELDS.search(message)
    if wrong:
        return (
            f"row {wrong['row']} has {wrong['found']} fields, the header {wrong['wanted']}: "
            f"{wrong['text'][:80]!r}; quote texts that hold the delimiter"
        )
    no_utf8 = _NO_UTF8.search(message)
    if no_utf8 and names:
        column = names[int(no_utf8["column"])]
        return f"row {no_utf8['row']}: column {column!r} is not in UTF-8; write the file in UTF-8"
    return None
