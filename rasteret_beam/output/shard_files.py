"""Parts -> the file of a shard."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import pyarrow as pa

from rasteret_beam.mixed_types import unified
from rasteret_beam.output.arranging import bounds, gather
from rasteret_beam.output.parts import Blob, read_blobs
from rasteret_beam.output.shards import Shard, cut_shards

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rasteret_beam.elements import TileBlockKey
    from rasteret_beam.output.earlier import KeptRows
    from rasteret_beam.output.formats import TableWriter
    from rasteret_beam.output.layouts import Layout
    from rasteret_beam.output.parts import Part, Points
    from rasteret_beam.output.units import Unit

    _Found = tuple[Part, frozenset[TileBlockKey] | None]

_FILE_BYTES = 512 * 1024 * 1024
"""Memory that the rows of a file may take, about."""

_ROW_BYTES, _PIXEL_BYTES = 64, 8
"""Memory of a sample but for the user's columns: of these as much again is in the "about"."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Where some rows of a shard are.

    Attributes:
        part: Name of the part.
        blobs: The runs of points to read of it.
        earlier: The run that left it, only of whose done blocks rows count; "" for
            this run.
    """

    part: str
    blobs: tuple[Blob, ...]
    earlier: str


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class ShardTask:
    """One file to write.

    Attributes:
        shard: Which rows.
        sources: Where they are.
        schema: The ``schema.sample_schema`` of all rows of the output, as IPC.
    """

    shard: Shard
    sources: tuple[Source, ...]
    schema: bytes


def plan_files(
    parts: Sequence[Part], kept: KeptRows | None, layout: Layout, file_rows: int | None = None,
) -> Iterator[ShardTask]:
    """Cuts the output into files, by what its rows are and nothing else.

    Args:
        parts: The parts of this run; at least one of both runs.
        kept: What counts of earlier runs.
        layout: What a row is.
        file_rows: How many samples a file has at most, about; by default the layout's.
    """
    found: list[_Found] = [(part, None) for part in parts]
    if kept is not None:
        found += [(part, kept.done[part.run]) for part in kept.parts]
    schemas = {schema for part, _ in found for schema in part.schemas}
    schema = unified([pa.ipc.read_schema(pa.py_buffer(schema)) for schema in sorted(schemas)])
    width = _ROW_BYTES + _PIXEL_BYTES * max(part.longest for part, _ in found)
    file_rows = min(file_rows or layout.file_rows, _FILE_BYTES // width)
    for shard in cut_shards(_rows_by_cell(found, layout, width, file_rows), file_rows):
        sources = [
            Source(part.name, shard.needs(part), "" if done is None else part.run)
            for part, done in found
        ]
        sources = [source for source in sources if source.blobs]
        if not sources:
            # No rows at all: some part tells which columns there are.
            part, done = found[0]
            sources = [Source(part.name, part.blobs[:1], "" if done is None else part.run)]
        yield ShardTask(shard, tuple(sources), schema.serialize().to_pybytes())


def _rows_by_cell(
    found: Sequence[_Found], layout: Layout, width: int, file_rows: int,
) -> dict[int, int]:
    """The samples in each cell; as many as take the same memory, where users' columns are wide."""
    cells: dict[int, tuple[int, int]] = {}
    for part, done in found:
        for tally in part.cells_of(done):
            n_rows, n_bytes = cells.get(tally.cell, (0, 0))
            cells[tally.cell] = n_rows + tally.n_rows, n_bytes + tally.user_bytes
    total = {}
    for cell, (n_rows, n_bytes) in cells.items():
        beyond = max(n_bytes // layout.samples_a_row - n_rows * _ROW_BYTES, 0)
        total[cell] = max(n_rows, (n_rows * width + beyond) * file_rows // _FILE_BYTES)
    return total


def write_file(
    task: ShardTask,
    kept: KeptRows | None,
    open_part: Callable[[str], BinaryIO],
    layout: Layout,
    output: TableWriter,
) -> None:
    """Writes the file of a shard.

    Args:
        task: The file.
        kept: What counts of earlier runs.
        open_part: Opens a part for reading.
        layout: What a row is.
        output: Takes the rows, in their order.
    """
    runs: list[Points] = []
    for source in task.sources:
        done = kept.done[source.earlier] if kept and source.earlier else None
        with open_part(source.part) as file:
            for run in read_blobs(file, source.blobs):
                mine = task.shard.pick(run.points, _allowed(run.units, done))
                if len(mine) or not runs:
                    runs.append(run if len(mine) == run.points.num_rows else run.take(mine))
    schema = pa.ipc.read_schema(pa.py_buffer(task.schema))
    gathered = gather(runs, schema)
    output.bounds = bounds(gathered)
    for table in layout.tables(gathered):
        output.write(table)


def _allowed(units: Sequence[Unit], done: frozenset[TileBlockKey] | None) -> np.ndarray:
    """bool, by unit: whether its samples count."""
    return np.array([done is None or unit.block in done for unit in units], bool)
