"""Sample rows -> parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rasteret_beam import row_sums
from rasteret_beam.output.frames import Frame, split_columns, stored
from rasteret_beam.output.parts import MAGIC, Blob, BlockTally, CellTally, Part, ending
from rasteret_beam.output.places import CELL_SHIFT, Placed, locate
from rasteret_beam.output.units import good_rows, split_units
from rasteret_beam.output.widths import row_bytes
from rasteret_beam.row_sums import RowLabel
from rasteret_beam.schema import POINT_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rasteret_beam.elements import BlockRows, SampleBatch

PART_BYTES = 64 * 1024 * 1024
"""Memory of rows that are worth a file, in bytes."""

MOST_PART_BYTES = 256 * 1024 * 1024
"""Memory of rows that become a part at once, whatever comes next."""

_NEIGHBOURHOOD = "neighbourhood_values"


class PartWriter:
    """Holds rows in memory until they are worth a file.

    Attributes:
        n_rows: Rows that are held.
        n_bytes: Their memory, in bytes.
    """

    def __init__(self, *, with_lonlat: bool) -> None:
        """Begins with no rows.

        Args:
            with_lonlat: Whether rows are to carry longitude and latitude.
        """
        self._with_lonlat = with_lonlat
        self._frames: list[Frame] = []
        self._nothing: pa.RecordBatch | None = None
        self._schemas: dict[bytes, None] = {}
        self._good: dict[BlockRows, tuple[int, int]] = {}
        self.n_bytes, self.n_rows, self._longest = 0, 0, 0

    @property
    def is_worth_a_part(self) -> bool:
        """Whether it is time to write, where other points come next."""
        return self.n_bytes >= PART_BYTES

    @property
    def is_full(self) -> bool:
        """Whether it is time to write in any case."""
        return self.n_bytes >= MOST_PART_BYTES

    def goes_on(self, batch: SampleBatch) -> bool:
        """Tells whether a batch has more samples of the points that came last."""
        return bool(self._frames) and self._frames[-1].is_of(batch.samples, batch.block)

    def is_amid_block_of(self, batch: SampleBatch) -> bool:
        """Tells whether a batch has more rows of the block that came last."""
        if batch.block is None:
            return self.goes_on(batch)
        return bool(self._frames) and self._frames[-1].block == batch.block

    def add(self, batch: SampleBatch) -> None:
        """Takes a batch of finished rows; of one without rows, the schema."""
        schema = batch.samples.schema.remove_metadata()
        self._schemas[schema.serialize().to_pybytes()] = None
        if not batch.samples.num_rows:
            self._nothing = self._nothing or batch.samples
            return
        for label, rows in split_units(batch.samples):
            mine = batch.samples if rows is None else batch.samples.take(pa.array(rows))
            _, samples = split_columns(mine)
            self._frame_of(mine, label, batch).samples[label] = samples
            if batch.block is not None:
                n_good, good_sum = good_rows(mine, label)
                known = self._good.get(batch.block, (0, 0))
                self._good[batch.block] = known[0] + n_good, row_sums.add(known[1], good_sum)
            self.n_rows += mine.num_rows
            self.n_bytes += samples.nbytes
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
        for frames in self._alike():
            for points, spot in stored(frames, with_lonlat=self._with_lonlat):
                data, n_rows = points.to_bytes(), points.samples.num_rows
                file.write(data)
                first, last = (int(spot[0]), int(spot[-1])) if len(spot) else (0, -1)
                blobs.append(Blob(offset, len(data), n_rows, first, last))
                offset += len(data)
        tallies = tuple(BlockTally(rows, *good) for rows, good in self._good.items())
        part = Part(
            name, run, tuple(blobs), tuple(self._schemas), self._longest, tallies, self._cells(),
        )
        file.write(ending(part))
        return part

    def _frame_of(self, rows: pa.RecordBatch, label: RowLabel, batch: SampleBatch) -> Frame:
        """The frame for some rows of a batch; the bands of a record come one after another."""
        last = self._frames[-1] if self._frames else None
        if last is None or label in last.samples or not last.is_of(rows, batch.block):
            points, samples = split_columns(rows)
            last = Frame(points, samples.schema, batch.block, _locate(points, batch.crs))
            self._frames.append(last)
            self.n_bytes += points.nbytes
        return last

    def _alike(self) -> Iterable[list[Frame]]:
        """What is held, by the columns that there are."""
        frames = self._frames
        if not frames and self._nothing is not None:
            points, samples = split_columns(self._nothing)
            frames = [Frame(points, samples.schema, None, Placed(*[np.zeros(0)] * 4))]
            frames[0].samples[RowLabel(*[None] * 5)] = samples
        alike: dict[tuple[pa.Schema, pa.Schema], list[Frame]] = {}
        for frame in frames:
            alike.setdefault((frame.points.schema, frame.schema), []).append(frame)
        return alike.values()

    def _cells(self) -> tuple[CellTally, ...]:
        numbers = {rows: number for number, rows in enumerate(self._good)}
        found: dict[tuple[int, int], tuple[int, int]] = {}
        for frame in self._frames:
            block = -1 if frame.block is None else numbers[frame.block]
            cells, at, counts = np.unique(
                frame.placed.place >> CELL_SHIFT, return_inverse=True, return_counts=True,
            )
            n_bytes = np.zeros(len(cells), np.int64)
            np.add.at(n_bytes, at.reshape(-1), _user_bytes(frame.points))
            # A point is in the part once, and in the rows with each of its samples.
            amounts = np.column_stack([counts, n_bytes]) * len(frame.samples)
            for cell, (n_rows, more) in zip(cells.tolist(), amounts.tolist(), strict=True):
                known = found.get((cell, block), (0, 0))
                found[cell, block] = known[0] + n_rows, known[1] + more
        return tuple(CellTally(*where, *amounts) for where, amounts in found.items())


def _locate(points: pa.RecordBatch, source: str | None) -> Placed:
    x, y = (
        np.asarray(points.column(name).to_numpy(zero_copy_only=False), np.float64)
        for name in ("point_x", "point_y")
    )
    return locate(source, x, y, points.column("point_index").to_numpy())


def _user_bytes(points: pa.RecordBatch) -> np.ndarray:
    """Bytes of what the user says of each point; int64, shape (n_points,)."""
    return row_bytes(points.drop_columns([*POINT_COLUMNS, "point_crs"]))


def _longest(samples: pa.RecordBatch) -> int:
    """Pixels in the greatest neighbourhood."""
    at = samples.schema.get_field_index(_NEIGHBOURHOOD)
    if at < 0 or not pa.types.is_list(samples.schema.field(at).type):
        return 0
    return pc.max(pc.list_value_length(samples.column(_NEIGHBOURHOOD))).as_py() or 0

