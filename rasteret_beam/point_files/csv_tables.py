"""CSV -> tables, whose column types fit every row."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.csv as pacsv

from rasteret_beam.storage.addresses import split_root
from rasteret_beam.storage.files import arrow_filesystem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rasteret_beam.storage import Store

_COLUMN_ERROR = re.compile(r"In CSV column #(\d+)")


def inspect_csv(store: Store, uri: str) -> tuple[pa.Schema, int]:
    """Gives the column types that fit every row, and the number of rows.

    A column is of numbers, dates or the like where all of its texts look so, else of text:
    ``007`` beside numbers is 7.
    """
    types: dict[str, pa.DataType] = {}
    while True:
        names: list[str] = []
        try:
            with open_csv(store, uri, types) as reader:
                names = reader.schema.names
                return reader.schema, sum(batch.num_rows for batch in reader)
        except pa.ArrowInvalid as error:
            # A column that starts as numbers may not stay so.
            found = _COLUMN_ERROR.search(str(error))
            if not found or not names or names[int(found.group(1))] in types:
                raise
            types[names[int(found.group(1))]] = pa.string()


@contextlib.contextmanager
def open_csv(
    store: Store, uri: str, types: dict[str, pa.DataType],
) -> Iterator[pacsv.CSVStreamingReader]:
    """Opens a file; columns that ``types`` does not name have those of their first rows."""
    filesystem, path = arrow_filesystem(store, uri)
    delimiter = "\t" if split_root(uri)[1].removesuffix(".gz").endswith(".tsv") else ","
    with filesystem.open_input_stream(path) as stream, pacsv.open_csv(
        stream,
        read_options=pacsv.ReadOptions(block_size=4 << 20),
        parse_options=pacsv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=pacsv.ConvertOptions(column_types=types, strings_can_be_null=False),
    ) as reader:
        yield reader
