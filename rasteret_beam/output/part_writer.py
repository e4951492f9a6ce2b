"""Sample rows -> parts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rasteret_beam import row_sums
from rasteret_beam.output.parts import (
    LAT,
    LON,
    MAGIC,
    PLACE,
    UNIT,
    UNITS,
    Blob,
    BlockTally,
    Part,
    ending,
)
from rasteret_beam.output.places import CELL_SHIFT, Placed, locate
from rasteret_beam.output.units import LABEL_COLUMNS, Unit, good_rows, split_units

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rasteret_beam.elements import BlockRows, SampleBatch
    from rasteret_beam.row_sums import RowLabel

PART_ROWS = 1 << 20
"""Rows that are held in memory before they become a part."""

PART_BYTES = 256 * 1024 * 1024
"""Memory of such rows, in bytes."""

BLOB_ROWS = 32768
"""Rows that are read back together."""

_NEIGHBOURHOOD = "neighbourhood_values"
_COMPRESSED = pa.ipc.IpcWriteOptions(compression="lz4")


class _Held(NamedTuple):
    """Rows of one unit, and where their points are."""

    samples: pa.RecordBatch
    unit: int
    block: int
    placed: Placed


class PartWriter:
    """Holds rows in memory until they are worth a file.

    Attributes:
        n_rows: Rows that are held.
    """

    def __init__(self, *, with_lonlat: bool) -> None:
        """Begins with no rows.

        Args:
            with_lonlat: Whether rows are to carry longitude and latitude.
        """
        self._with_lonlat = with_lonlat
        self._held: list[_Held] = []
        self._nothing: pa.RecordBatch | None = None
        self._schemas: dict[bytes, None] = {}
        self._units: dict[Unit, int] = {}
        self._blocks: dict[BlockRows, int] = {}
        self._good: list[tuple[int, int]] = []
        self._located: tuple[pa.Array, Placed] | None = None
        self._n_bytes, self.n_rows, self._longest = 0, 0, 0

    @property
    def is_full(self) -> bool:
        """Whether it is time to write."""
        return self.n_rows >= PART_ROWS or self._n_bytes >= PART_BYTES

    def add(self, batch: SampleBatch) -> None:
        """Takes a batch of finished rows; of one without rows, the schema."""
        schema = batch.samples.schema.remove_metadata()
        self._schemas[schema.serialize().to_pybytes()] = None
        if not batch.samples.num_rows:
            self._nothing = self._nothing or batch.samples
            return
        for label, rows in split_units(batch.samples):
            samples = batch.samples if rows is None else batch.samples.take(pa.array(rows))
            unit = Unit(label, None if batch.block is None else batch.block.key)
            number = self._units.setdefault(unit, len(self._units))
            block = -1 if batch.block is None else self._count(batch.block, samples, label)
            self._held.append(_Held(samples, number, block, self._locate(samples, batch.crs)))
            self.n_rows += samples.num_rows
            self._n_bytes += samples.nbytes
        self._longest = max(self._longest, _longest(batch.samples))

    def write(self, file: BinaryIO, name: str, run: str) -> Part:
        """Writes what is held as a part; there is nothing to add afterwards.

        Args:
            file: Open for writing bytes; the caller closes it.
            name: Its name.
            run: Which run writes it.
        """
        file.write(MAGIC)
        offset, blobs = len(MAGIC), []
        for rows, reach in self._runs():
            data = _to_ipc(self._with_units(rows))
            file.write(data)
            blobs.append(Blob(offset, len(data), rows.num_rows, *reach))
            offset += len(data)
        tallies = tuple(
            BlockTally(rows, *good) for rows, good in zip(self._blocks, self._good, strict=True)
        )
        part = Part(
            name, run, tuple(blobs), tuple(self._schemas), self._longest, tallies, self._cells(),
        )
        file.write(ending(part))
        return part

    def _count(self, rows: BlockRows, samples: pa.RecordBatch, label: RowLabel) -> int:
        """Adds to what there is of a block; gives the block's number."""
        number = self._blocks.setdefault(rows, len(self._blocks))
        if number == len(self._good):
            self._good.append((0, 0))
        n_good, good_sum = good_rows(samples, label)
        known = self._good[number]
        self._good[number] = known[0] + n_good, row_sums.add(known[1], good_sum)
        return number

    def _locate(self, samples: pa.RecordBatch, source: str | None) -> Placed:
        """Where the points are; the bands of a record come one after another."""
        index = samples.column("point_index")
        if self._located is not None and _is_same(self._located[0], index):
            return self._located[1]
        x, y = (_floats(samples.column(name)) for name in ("point_x", "point_y"))
        self._located = index, locate(source, x, y, index.to_numpy())
        return self._located[1]

    def _runs(self) -> Iterator[tuple[pa.RecordBatch, tuple[int, int]]]:
        """What is held in the order of its spots, some at a time; and which spots these are.

        Each file reads its spots of every part: where runs reach over others it would read
        rows in vain.
        """
        if not self._held:
            if self._nothing is not None:
                none = np.zeros(0)
                yield self._as_stored(_Held(self._nothing, 0, -1, Placed(*[none] * 4))), (0, -1)
            return
        alike: dict[pa.Schema, list[_Held]] = {}
        for held in self._held:
            alike.setdefault(held.samples.schema.remove_metadata(), []).append(held)
        for group in alike.values():
            rows = _together([self._as_stored(held) for held in group])
            spot = np.concatenate([held.placed.spot for held in group])
            order = np.argsort(spot, kind="stable")
            for start in range(0, len(order), BLOB_ROWS):
                at = order[start : start + BLOB_ROWS]
                yield rows.take(pa.array(at)), (int(spot[at[0]]), int(spot[at[-1]]))

    def _as_stored(self, held: _Held) -> pa.RecordBatch:
        samples, placed = held.samples, held.placed
        kept = [name for name in samples.schema.names if name not in LABEL_COLUMNS]
        columns = {name: samples.column(name) for name in kept}
        columns[UNIT] = pa.array(np.full(samples.num_rows, held.unit, np.int32))
        columns[PLACE] = pa.array(placed.place, pa.int64())
        if self._with_lonlat:
            columns[LON] = pa.array(placed.lon)
            columns[LAT] = pa.array(placed.lat)
        return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))

    def _with_units(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Rows that say by themselves what they are of."""
        at = rows.schema.get_field_index(UNIT)
        numbers, local = np.unique(rows.column(UNIT).to_numpy(), return_inverse=True)
        known = list(self._units)
        units = json.dumps([known[number] for number in numbers.tolist()]).encode()
        rows = rows.set_column(at, UNIT, pa.array(local.reshape(-1), pa.int32()))
        return rows.replace_schema_metadata({UNITS: units})

    def _cells(self) -> tuple[tuple[int, int, int], ...]:
        found: dict[tuple[int, int], int] = {}
        last: tuple[Placed, list[tuple[int, int]]] | None = None
        for held in self._held:
            if last is None or last[0] is not held.placed:
                cells, counts = np.unique(held.placed.place >> CELL_SHIFT, return_counts=True)
                last = held.placed, list(zip(cells.tolist(), counts.tolist(), strict=True))
            for cell, count in last[1]:
                key = cell, held.block
                found[key] = found.get(key, 0) + count
        return tuple((cell, block, n_rows) for (cell, block), n_rows in found.items())


def _longest(samples: pa.RecordBatch) -> int:
    """Pixels in the greatest neighbourhood."""
    if _NEIGHBOURHOOD not in samples.schema.names:
        return 0
    return pc.max(pc.list_value_length(samples.column(_NEIGHBOURHOOD))).as_py() or 0


def _together(run: list[pa.RecordBatch]) -> pa.RecordBatch:
    if len(run) == 1:
        return run[0]
    (rows,) = pa.Table.from_batches(run).unify_dictionaries().combine_chunks().to_batches()
    return rows


def _to_ipc(rows: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema, options=_COMPRESSED) as writer:
        writer.write_batch(rows)
    return sink.getvalue().to_pybytes()


def _is_same(first: pa.Array, second: pa.Array) -> bool:
    """Whether two arrays are one and the same memory."""
    return (
        len(first) == len(second)
        and first.offset == second.offset
        and first.buffers()[1].address == second.buffers()[1].address
    )


def _floats(column: pa.Array) -> np.ndarray:
    return np.asarray(column.to_numpy(zero_copy_only=False), np.float64)
