"""What a run that did not end has left: parts, and the blocks that they hold whole."""

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
        done: For each run, the blocks all of whose rows are in its parts, each once, and
            all of whose tiles could be read. Rows of other blocks do not count.
    """

    parts: tuple[Part, ...]
    done: dict[str, frozenset[TileBlockKey]]

    def is_done(self, key: TileBlockKey) -> bool:
        """Tells whether all rows of a block are there."""
        return any(key in done for done in self.done.values())


def earlier_run(parts: Iterable[Part]) -> EarlierRun:
    """Finds out what parts hold.

    A block whose rows were written twice (a bundle that was retried) is not done: its
    rows do not add up.
    """
    parts = tuple(parts)
    found: dict[tuple[str, BlockRows], tuple[int, int]] = {}
    for part in parts:
        for tally in part.blocks:
            n_rows, total = found.get((part.run, tally.rows), (0, 0))
            sums = n_rows + tally.n_good, row_sums.add(total, tally.good_sum)
            found[part.run, tally.rows] = sums
    done: dict[str, set[TileBlockKey]] = {part.run: set() for part in parts}
    taken: set[TileBlockKey] = set()
    for (run, rows), sums in sorted(found.items()):
        if sums == (rows.n_rows, rows.row_sum) and rows.key not in taken:
            done[run].add(rows.key)
            taken.add(rows.key)
    return EarlierRun(parts, {run: frozenset(keys) for run, keys in done.items()})
