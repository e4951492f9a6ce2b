"""Rows -> one Parquet file a folder, a bounded number of bytes in memory."""

from __future__ import annotations

import contextlib
import dataclasses
import urllib.parse
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rasteret_beam.companion.arrow_schema import labelled
from rasteret_beam.indexing.parts import writer_options

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow.fs as pafs

ROW_GROUP_ROWS = 1024
ROW_GROUP_BYTES = 64 * 1024 * 1024
HELD_BYTES = 256 * 1024 * 1024
"""What waits for its row group, over all folders."""

MAX_OPEN_FILES = 128

_NULL_FOLDER = "__HIVE_DEFAULT_PARTITION__"


@dataclasses.dataclass(slots=True, eq=False)
class _Part:
    """The rows of one folder that wait, and its open file."""

    held: list[pa.RecordBatch] = dataclasses.field(default_factory=list)
    rows: int = 0
    size: int = 0
    files: int = 0
    writer: Any = None


class PartWriter:
    """Writes rows to hidden files in hive folders, and names them when all are complete."""

    def __init__(
        self,
        filesystem: pafs.FileSystem,
        folder: str,
        schema: pa.Schema,
        folders: Sequence[str],
        run: str,
    ) -> None:
        """Starts without a file.

        Args:
            filesystem: Where to write.
            folder: Path of the collection.
            schema: Schema of the rows, with the metadata of the files.
            folders: Columns whose values name folders; they are not stored.
            run: Part of the hidden names.
        """
        self._filesystem, self._root, self._run = filesystem, folder, run
        self._folders = tuple(folders)
        stored = [field for field in schema if field.name not in self._folders]
        self._schema = pa.schema(stored, metadata=schema.metadata)
        self._parts: dict[str, _Part] = {}
        self._size = 0
        self._new: list[pa.RecordBatch] = []
        self._new_size = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Takes rows of the schema; they reach a file when a row group is full."""
        self._new.append(batch)
        self._new_size += batch.nbytes
        if self._new_size > HELD_BYTES // 8:
            self._sort_in()

    def finish(self) -> list[str]:
        """Writes what is left and gives the files their names.

        Returns:
            Paths of all files; at least one, so that no rows are a collection too.
        """
        self._sort_in()
        if not self._parts:
            self._parts[""] = _Part()
            self._open("")
        for folder in self._parts:
            self._flush(folder)
            self._close(folder)
        finals = []
        for folder, part in self._parts.items():
            for number in range(part.files):
                path = self._path(folder, f"part-{number}.parquet")
                self._filesystem.move(self._hidden(folder, number), path)
                finals.append(path)
        return finals

    def abandon(self) -> None:
        """Removes what was written."""
        for folder, part in self._parts.items():
            with contextlib.suppress(OSError, pa.ArrowException):
                self._close(folder)
            for number in range(part.files):
                with contextlib.suppress(OSError):
                    self._filesystem.delete_file(self._hidden(folder, number))

    def _sort_in(self) -> None:
        """Gives new rows to their folders: many at once, for each folder's share is copied."""
        if not self._new:
            return
        batch = pa.concat_batches(self._new)
        self._new, self._new_size = [], 0
        stored = labelled(batch.select(self._schema.names), self._schema)
        for folder, rows in self._split(batch):
            self._hold(folder, stored if rows is None else stored.take(rows))
        while self._size > HELD_BYTES:
            self._flush(max(self._parts, key=lambda folder: self._parts[folder].size))

    def _split(self, batch: pa.RecordBatch) -> Iterator[tuple[str, pa.Array | None]]:
        """Each folder that rows of a batch go to, and which rows; None for all."""
        texts = [_texts(batch.column(name)) for name in self._folders]
        names = [
            "/".join(f"{name}={value}" for name, value in zip(self._folders, row, strict=True))
            for row in zip(*texts, strict=True)
        ] or [""] * batch.num_rows
        distinct, of_row = np.unique(np.array(names, object), return_inverse=True)
        for number, folder in enumerate(distinct):
            whole = len(distinct) == 1
            yield str(folder), None if whole else pa.array(np.flatnonzero(of_row == number))

    def _hold(self, folder: str, rows: pa.RecordBatch) -> None:
        part = self._parts.setdefault(folder, _Part())
        full = part.size + rows.nbytes > ROW_GROUP_BYTES or part.rows + len(rows) > ROW_GROUP_ROWS
        if part.held and full:
            self._flush(folder)
        part.held.append(rows)
        part.rows += rows.num_rows
        part.size += rows.nbytes
        self._size += rows.nbytes

    def _flush(self, folder: str) -> None:
        part = self._parts[folder]
        if not part.held:
            return
        if part.writer is None:
            self._open(folder)
        table = pa.Table.from_batches(part.held)
        part.writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
        self._size -= part.size
        part.held, part.rows, part.size = [], 0, 0

    def _open(self, folder: str) -> None:
        open_ones = [name for name, part in self._parts.items() if part.writer is not None]
        if len(open_ones) >= MAX_OPEN_FILES:
            self._close(open_ones[0])
        part = self._parts[folder]
        self._filesystem.create_dir(self._path(folder))
        part.writer = pq.ParquetWriter(
            self._hidden(folder, part.files),
            self._schema,
            filesystem=self._filesystem,
            **writer_options(self._schema),
        )
        part.files += 1

    def _close(self, folder: str) -> None:
        part = self._parts[folder]
        if part.writer is not None:
            part.writer.close()
            part.writer = None

    def _hidden(self, folder: str, number: int) -> str:
        return self._path(folder, f".part-{self._run}-{number}")

    def _path(self, *pieces: str) -> str:
        return "/".join([self._root, *(piece for piece in pieces if piece)])


def _texts(column: pa.Array) -> list[str]:
    """Values as hive folders spell them."""
    values = pc.cast(column, pa.string()).to_pylist()
    return [_NULL_FOLDER if v is None else urllib.parse.quote(v, safe="") for v in values]
