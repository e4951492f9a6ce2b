"""Rows on their way to the output: part files, complete in themselves, read back by place.

Rows reach the output in two steps. As they come, each worker writes them to part files of
its own; then they are gathered by place into files whose names and bytes depend on the rows
alone. A part that a killed run left tells which blocks of tiles it has rows of, so that
another run need not do again what is there.
"""

from __future__ import annotations

import io
import json
import struct
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import pyarrow as pa

from rasteret_beam.elements import BlockRows, TileBlockKey
from rasteret_beam.errors import OutputError
from rasteret_beam.output.units import Unit
from rasteret_beam.row_sums import RowLabel

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PLACE, UNIT, LON, LAT = "_place", "_unit", "_lon", "_lat"
"""Columns of parts that no output has; those that a unit's rows have alike are left out."""

UNITS = b"units"
"""Key of the metadata that says what the column ``_unit`` counts into."""

MAGIC = b"RB-PART1"
"""First and last bytes of a part."""

_TAIL = struct.Struct(f"<Q{len(MAGIC)}s")


class Blob(NamedTuple):
    """A run of rows in a part.

    Attributes:
        offset: First byte.
        length: Number of bytes.
        n_rows: Number of rows.
        first_spot: The least spot of its rows.
        last_spot: The greatest; less than ``first_spot`` where there are no rows.
    """

    offset: int
    length: int
    n_rows: int
    first_spot: int
    last_spot: int


class BlockTally(NamedTuple):
    """How much of a block's rows a part has.

    Attributes:
        rows: What the rows of the block are in all.
        n_good: Number of those that are here and whose tile could be read.
        good_sum: ``row_sums.row_sum`` of these.
    """

    rows: BlockRows
    n_good: int
    good_sum: int


class Part(NamedTuple):
    """What is known of a part without reading its rows.

    Attributes:
        name: The file.
        run: Which run wrote it.
        blobs: Its runs of rows; one without rows where it has none.
        schemas: The schemas of the rows that it was made of, as IPC.
        longest: The greatest number of pixels in a row's neighbourhood.
        blocks: How much of each block it has.
        cells: (cell, block, number of rows): ``block`` counts into ``blocks``, -1 for
            rows that need no tile.
    """

    name: str
    run: str
    blobs: tuple[Blob, ...]
    schemas: tuple[bytes, ...]
    longest: int
    blocks: tuple[BlockTally, ...]
    cells: tuple[tuple[int, int, int], ...]

    def rows_by_cell(self, done: frozenset[TileBlockKey] | None) -> dict[int, int]:
        """Gives the number of rows in each cell.

        Args:
            done: Only rows of these blocks count; None for all rows.
        """
        counts = [done is None or tally.rows.key in done for tally in self.blocks]
        # The last, -1, is for rows without a block.
        counts.append(done is None)
        found: dict[int, int] = {}
        for cell, block, n_rows in self.cells:
            if counts[block]:
                found[cell] = found.get(cell, 0) + n_rows
        return found

    @property
    def n_rows(self) -> int:
        """Number of its rows."""
        return sum(blob.n_rows for blob in self.blobs)


def ending(part: Part) -> bytes:
    """Gives the bytes that end a part."""
    schemas = [schema.hex() for schema in part.schemas]
    known = [part.run, part.blobs, schemas, part.longest, part.blocks, part.cells]
    footer = json.dumps(known).encode()
    return footer + _TAIL.pack(len(footer), MAGIC)


def read_part(file: BinaryIO, name: str) -> Part:
    """Reads what is known of a part.

    Args:
        file: Open for reading bytes.
        name: Its name.

    Raises:
        OutputError: It is no whole part.
    """
    try:
        file.seek(0, io.SEEK_END)
        end = file.tell() - _TAIL.size
        file.seek(end)
        length, magic = _TAIL.unpack(file.read(_TAIL.size))
        file.seek(end - length if magic == MAGIC else -1)
        run, blobs, schemas, longest, blocks, cells = json.loads(file.read(length))
    except (ValueError, OSError, struct.error) as error:
        msg = f"{name}: no whole part of an output ({error})"
        raise OutputError(msg) from error
    return Part(
        name,
        run,
        tuple(Blob(*blob) for blob in blobs),
        tuple(bytes.fromhex(schema) for schema in schemas),
        longest,
        tuple(
            BlockTally(BlockRows(TileBlockKey(*key), n_rows, row_sum), n_good, good_sum)
            for (key, n_rows, row_sum), n_good, good_sum in blocks
        ),
        tuple((cell, block, n_rows) for cell, block, n_rows in cells),
    )


def read_blobs(
    file: BinaryIO, blobs: Sequence[Blob],
) -> Iterator[tuple[pa.RecordBatch, list[Unit]]]:
    """Reads runs of rows of a part.

    Yields:
        Rows, and the units that their column ``_unit`` counts into.
    """
    for blob in blobs:
        file.seek(blob.offset)
        with pa.ipc.open_stream(file.read(blob.length)) as reader:
            rows = reader.read_next_batch()
        yield rows, [
            Unit(RowLabel(*label), block and TileBlockKey(*block))
            for label, block in json.loads(rows.schema.metadata[UNITS])
        ]
