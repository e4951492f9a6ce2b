"""The rows of a view as Arrow: tables, batches, readers, and what other libraries take."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from rasteret_beam.companion.arrow_schema import labelled, with_geoarrow
from rasteret_beam.errors import CollectionError, OptionError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rasteret_beam.companion.views import View


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Rows:
    """Rows of a view, read when they are asked for.

    Attributes:
        view: The rows.
    """

    view: View

    def __len__(self) -> int:
        """Counts the records."""
        return self.view.n_rows()

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Reads the rows, some at a time."""
        return self.to_batches()

    def to_batches(self, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Reads the rows, some at a time, in scan order.

        Args:
            columns: Names of columns; all by default.
        """
        schema = self._schema(columns)
        return (labelled(batch, schema) for batch in self.view.batches(columns))

    def to_table(self, columns: list[str] | None = None) -> pa.Table:
        """Reads all rows.

        Args:
            columns: Names of columns; all by default.
        """
        return pa.Table.from_batches(self.to_batches(columns), self._schema(columns))

    def to_reader(
        self, columns: list[str] | None = None, requested_schema: pa.Schema | None = None,
    ) -> pa.RecordBatchReader:
        """Gives a reader of the rows.

        Args:
            columns: Names of columns; all by default.
            requested_schema: Types to cast to.
        """
        batches = self.to_batches(columns)
        reader = pa.RecordBatchReader.from_batches(self._schema(columns), batches)
        return reader if requested_schema is None else reader.cast(requested_schema)

    def head(self, n: int = 5, columns: list[str] | None = None) -> pa.Table:
        """Reads the first rows.

        Raises:
            OptionError: ``n`` is negative.
        """
        if n < 0:
            msg = f"head() requires n >= 0, got {n}"
            raise OptionError(msg)
        found: list[pa.RecordBatch] = []
        rest = n
        for batch in self.view.batches(columns, max(n, 1), 0) if n else ():
            found.append(batch.slice(0, rest))
            rest -= found[-1].num_rows
            if rest == 0:
                break
        return pa.Table.from_batches(found, self.view.projected(columns))

    def __arrow_c_schema__(self) -> Any:  # noqa: ANN401 -- a capsule
        """Gives the columns, to any Arrow library."""
        return self._schema(None).__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:  # noqa: ANN401 -- capsules
        """Gives the rows, to any Arrow library.

        Raises:
            CollectionError: They cannot be had in the requested types.
        """
        return _cast(self.to_reader(), requested_schema).__arrow_c_stream__()

    def __arrow_c_array__(self, requested_schema: Any = None) -> Any:  # noqa: ANN401 -- capsules
        """Gives all rows as one batch, to any Arrow library.

        Raises:
            CollectionError: They cannot be had in the requested types.
        """
        table = self.to_table().combine_chunks()
        columns = [
            column.chunk(0) if column.num_chunks else pa.array([], column.type)
            for column in table.columns
        ]
        batch = pa.RecordBatch.from_arrays(columns, schema=table.schema)
        return _cast(batch, requested_schema).__arrow_c_array__()

    def _schema(self, columns: list[str] | None) -> pa.Schema:
        return with_geoarrow(self.view.projected(columns))


def _cast(rows: Any, requested: Any) -> Any:  # noqa: ANN401 -- a reader or a batch
    if requested is None:
        return rows
    try:
        return rows.cast(pa.Schema._import_from_c_capsule(requested))  # noqa: SLF001 -- the only way
    except (pa.ArrowException, ValueError, TypeError) as error:
        msg = (
            f"The collection cannot be given in the requested types: {error}; ask for those "
            "of its arrow schema, or cast what to_table() gives"
        )
        raise CollectionError(msg) from error
