"""Rows on their way to the output: part files, complete in themselves, read back by place.

Rows reach the output in two steps. As they come, each worker writes them to part files of
its own; then they are gathered by place into files whose names and bytes depend on the rows
alone. A part that a killed run left tells which blocks of tiles it has rows of, so that
another run need not do again what is there.

The bands and records of a block mostly have rows of the same points. So a part holds points,
each once, with all their samples: what is done for a point is not done for every sample.
"""

from __future__ import annotations

import io
import json
import struct
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa

from rasteret_beam.elements import BlockRows, TileBlockKey
from rasteret_beam.errors import OutputError
from rasteret_beam.output.runs import members
from rasteret_beam.output.units import Unit
from rasteret_beam.row_sums import RowLabel

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

RESERVED = "rasteret_beam:"
"""What no column of the user's begins with."""

PLACE, UNIT, LON, LAT = (RESERVED + name for name in ("place", "unit", "lon", "lat"))
"""Columns of parts that no output has."""

SAMPLE_COLUMNS = ("value", "neighbourhood_values", "status")
"""Columns of rows that each sample has of its own, beside those of its label."""

MAGIC = b"RB-PART4"
"""First and last bytes of a part."""

_UNITS = b"units"
_COMPRESSED = pa.ipc.IpcWriteOptions(compression="lz4")
_TAIL = struct.Struct(f"<Q{len(MAGIC)}s")


class Points(NamedTuple):
    """Points with their samples.

    Attributes:
        points: Columns of points, the user's, and ``UNIT``, ``PLACE`` and their like.
        samples: Some of ``SAMPLE_COLUMNS``: the samples of each point, in the order of
            its unit's labels, one point after another.
        units: What ``UNIT`` counts into.
    """

    points: pa.RecordBatch
    samples: pa.RecordBatch
    units: tuple[Unit, ...]

    def counts(self) -> np.ndarray:
        """Gives the number of samples of each point; int64, shape (n_points,)."""
        n_labels = np.array([len(unit.labels) for unit in self.units], np.int64)
        return n_labels[self.points.column(UNIT).to_numpy()]

    def take(self, rows: np.ndarray) -> Points:
        """Gives some of the points, by int64 indexes."""
        count = self.counts()
        samples = members((np.cumsum(count) - count)[rows], count[rows])
        return Points(
            self.points.take(pa.array(rows)), self.samples.take(pa.array(samples)), self.units,
        )

    def to_bytes(self) -> bytes:
        """Gives them as ``read_blobs`` reads them."""
        units = json.dumps(self.units).encode()
        sink = pa.BufferOutputStream()
        for rows in (self.points.replace_schema_metadata({_UNITS: units}), self.samples):
            with pa.ipc.new_stream(sink, rows.schema, options=_COMPRESSED) as writer:
                writer.write_batch(rows)
        return sink.getvalue().to_pybytes()


class Blob(NamedTuple):
    """A run of points in a part.

    Attributes:
        offset: First byte.
        length: Number of bytes.
        n_rows: Number of samples of its points.
        first_spot: The least spot of its points.
        last_spot: The greatest; less than ``first_spot`` where there are none.
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


class CellTally(NamedTuple):
    """How much of a cell's rows a part has of one block.

    Attributes:
        cell: The cell.
        block: Counts into ``Part.blocks``; -1 for rows that need no tile.
        n_rows: Number of these rows.
        user_bytes: ``widths.row_bytes`` of the user's columns of these rows.
    """

    cell: int
    block: int
    n_rows: int
    user_bytes: int


class Part(NamedTuple):
    """What is known of a part without reading its rows.

    Attributes:
        name: The file.
        run: Which run wrote it.
        blobs: Its runs of points; one without any where it has none.
        schemas: The schemas of the rows that it was made of, as IPC.
        longest: The greatest number of pixels in a row's neighbourhood.
        blocks: How much of each block it has.
        cells: How much of each cell and block it has.
    """

    name: str
    run: str
    blobs: tuple[Blob, ...]
    schemas: tuple[bytes, ...]
    longest: int
    blocks: tuple[BlockTally, ...]
    cells: tuple[CellTally, ...]

    def cells_of(self, done: frozenset[TileBlockKey] | None) -> Iterator[CellTally]:
        """Gives how much of each cell it has.

        Args:
            done: Only rows of these blocks count; None for all rows.

        Yields:
            What counts; a cell may come several times.
        """
        counts = [done is None or tally.rows.key in done for tally in self.blocks]
        # The last, -1, is for rows without a block.
        counts.append(done is None)
        return (tally for tally in self.cells if counts[tally.block])

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
        tuple(CellTally(*tally) for tally in cells),
    )


def read_blobs(file: BinaryIO, blobs: Sequence[Blob]) -> Iterator[Points]:
    """Reads runs of points of a part."""
    for blob in blobs:
        file.seek(blob.offset)
        source = pa.BufferReader(file.read(blob.length))
        (points,) = pa.ipc.open_stream(source)
        (samples,) = pa.ipc.open_stream(source)
        yield Points(points.replace_schema_metadata(None), samples, tuple(
            Unit(tuple(RowLabel(*label) for label in labels), block and TileBlockKey(*block))
            for labels, block in json.loads(points.schema.metadata[_UNITS])
        ))  # fmt: skip
