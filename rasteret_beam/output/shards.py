"""Which rows share a file: neighbouring cells, up to some two million rows, fewer wide ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rasteret_beam.output.parts import PLACE, UNIT
from rasteret_beam.output.places import SPOTS, spots

if TYPE_CHECKING:
    import pyarrow as pa

    from rasteret_beam.output.parts import Blob, Part

FILE_ROWS = 2_000_000
"""A file has about this many rows at most."""


class Shard(NamedTuple):
    """The rows of one file.

    Attributes:
        number: Of the file, from 0.
        n_shards: How many files there are.
        first_cell: The least cell it has rows of.
        last_cell: The greatest.
        turn: Which of the points of a crowded cell it has.
        n_turns: Among how many files the points of the cell are dealt out; 1 for all
            points of several cells.
    """

    number: int
    n_shards: int
    first_cell: int
    last_cell: int
    turn: int
    n_turns: int

    def needs(self, part: Part) -> tuple[Blob, ...]:
        """Gives the runs of points of a part that may have some of the shard's."""
        return tuple(
            blob for blob in part.blobs
            if blob.first_spot < self._stop_spot and blob.last_spot >= self._first_spot
        )  # fmt: skip

    def pick(self, points: pa.RecordBatch, allowed: np.ndarray) -> np.ndarray:
        """Finds the shard's points.

        Args:
            points: Points of a part.
            allowed: bool, by unit: whether its samples count.

        Returns:
            int64, their indexes, ascending.
        """
        spot = spots(points.column(PLACE).to_numpy(), points.column("point_index").to_numpy())
        mine = allowed[points.column(UNIT).to_numpy()]
        return np.flatnonzero(mine & (spot >= self._first_spot) & (spot < self._stop_spot))

    @property
    def _first_spot(self) -> int:
        return self.first_cell * SPOTS + self.turn * SPOTS // self.n_turns

    @property
    def _stop_spot(self) -> int:
        return self.last_cell * SPOTS + (self.turn + 1) * SPOTS // self.n_turns


def cut_shards(total: dict[int, int], file_rows: int = FILE_ROWS) -> list[Shard]:
    """Cuts the Earth into files, by the number of rows alone.

    Args:
        total: The number of rows in each cell; more where they are wide.
        file_rows: How many rows a file has at most, about.

    Returns:
        The files, in the order of their places; one where there are no rows.
    """
    spans: list[tuple[int, int, int]] = []
    filled = file_rows
    for cell in sorted(total):
        n_files = min(-(-total[cell] // file_rows), SPOTS)
        if n_files > 1 or filled + total[cell] > file_rows:
            spans.append((cell, cell, n_files))
            filled = file_rows if n_files > 1 else total[cell]
        else:
            spans[-1] = (spans[-1][0], cell, 1)
            filled += total[cell]
    turns = [
        (first, last, turn, n_files)
        for first, last, n_files in spans or [(0, -1, 1)]
        for turn in range(n_files)
    ]
    return [Shard(number, len(turns), *turn) for number, turn in enumerate(turns)]
