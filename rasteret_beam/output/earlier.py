"""What runs that did not end have left: parts, the blocks they hold whole, and what counts."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from rasteret_beam import row_sums

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rasteret_beam.elements import BlockRows, TileBlockKey
    from rasteret_beam.output.parts import Part


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class EarlierRun:
    """Parts of earlier runs of the same job; there may have been several.

    Attributes:
        parts: The parts.
        whole: For each run, the blocks all of whose rows are in its parts, and all of
            whose tiles could be read; and what their rows are.
    """

    parts: tuple[Part, ...]
    whole: dict[str, dict[TileBlockKey, BlockRows]]

    def knows(self, key: TileBlockKey) -> bool:
        """Tells whether a block of this key is there, with whatever rows."""
        return any(key in blocks for blocks in self.whole.values())

    def has(self, rows: BlockRows) -> bool:
        """Tells whether a block is there with just these rows."""
        return any(blocks.get(rows.key) == rows for blocks in self.whole.values())

    def keep(self, planned: Iterable[BlockRows]) -> KeptRows:
        """Gives what of it counts.

        A key alone does not tell what rows a block has: another join, or a record that
        came or went, puts other records under it.

        Args:
            planned: What the rows of blocks are by the plan of now; each block once.
        """
        left = {rows.key: rows for rows in planned}
        done: dict[str, frozenset[TileBlockKey]] = {}
        for run, blocks in sorted(self.whole.items()):
            done[run] = frozenset(key for key, rows in blocks.items() if left.get(key) == rows)
            for key in done[run]:
                del left[key]
        return KeptRows(self.parts, done)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class KeptRows:
    """What counts of earlier runs: rows of blocks that are planned now as they were then.

    Attributes:
        parts: The parts.
        done: For each run, the blocks whose rows in its parts count; each block once.
    """

    parts: tuple[Part, ...]
    done: dict[str, frozenset[TileBlockKey]]

    def is_done(self, key: TileBlockKey) -> bool:
        """Tells whether all rows of a block are there."""
        return any(key in done for done in self.done.values())


def earlier_run(parts: Iterable[Part]) -> EarlierRun:
    """Finds out what parts hold.

    A block whose rows were written twice (a bundle that was retried) is not whole: its
    rows do not add up.
    """
    parts = tuple(parts)
    found: dict[tuple[str, BlockRows], tuple[int, int]] = {}
    for part in parts:
        for tally in part.blocks:
            n_rows, total = found.get((part.run, tally.rows), (0, 0))
            sums = n_rows + tally.n_good, row_sums.add(total, tally.good_sum)
            found[part.run, tally.rows] = sums
    whole: dict[str, dict[TileBlockKey, BlockRows]] = {part.run: {} for part in parts}
    for (run, rows), sums in found.items():
        if sums == (rows.n_rows, rows.row_sum):
            whole[run][rows.key] = rows
    return EarlierRun(parts, whole)
