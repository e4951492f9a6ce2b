"""What to read: points x records -> the tiles of each block, and the points they serve.

Plans from the index alone; no pixel is needed. Points are matched to records by bbox,
located on each distinct pixel grid once, and cut into blocks of tiles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rasteret_beam import schema
from rasteret_beam.elements import PlanCounts, TileBlockKey
from rasteret_beam.planning.blocks import Selection, cut_blocks, locate, points_of
from rasteret_beam.planning.footprints import Footprints, Winner, winners
from rasteret_beam.planning.narrowing import Loss, awaited, narrow, runs_whole
from rasteret_beam.planning.positions import BatchPositions
from rasteret_beam.schema import STATUS_CODES, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rasteret_beam.elements import Grid, PointBatch, Record, SampleBatch, TilePoints
    from rasteret_beam.options import SampleOptions
    from rasteret_beam.replaying import Replay

NO_TILE = -1
"""Grid of the key under which rows travel that need no tile."""

RECORDS_PER_KEY = 16
"""Records that share a grid share a key, and so a shuffle of their points, up to here."""


class Plan(NamedTuple):
    """What to do for one batch of points.

    Attributes:
        tiles: For each block of tiles, the points that need it.
        unmatched: Rows of points without a sample; no rows (but the full schema)
            where those are omitted.
        counts: Where the points went.
    """

    tiles: list[tuple[TileBlockKey, TilePoints]]
    unmatched: list[SampleBatch]
    counts: PlanCounts


class Tally:
    """What becomes of the points of one batch, while records are planned for it.

    Attributes:
        work: The batch, and where its points are.
        only: What of it to plan; None for all.
        named: bool, shape (n_points,): points that are to run whole.
    """

    def __init__(
        self, batch: PointBatch, options: SampleOptions, only: Replay | None = None,
    ) -> None:
        """Begins with no record.

        Raises:
            PointsError: A user column has the name of an output column.
        """
        schema.check_collisions(batch.points.schema, options)
        self.work = BatchPositions(batch)
        self.only = only
        self._options = options
        n_points = self.work.n_points
        self.named = np.ones(n_points, bool)
        if only is not None:
            self.named = np.isin(self.work.index, only.points)
        self._served = np.zeros(n_points, bool)
        self._planned = np.zeros(n_points, bool)
        self._told = np.zeros(n_points, bool)
        self._lost = np.zeros(n_points, bool)
        self._awaited = self.named.copy()
        self._status = np.full(n_points, STATUS_CODES[Status.NO_RECORD.value], np.int8)
        self._rows: list[SampleBatch] = []

    def serve(self, points: np.ndarray) -> None:
        """Notes points that a usable band has a pixel for, planned or not."""
        self._served[points] = True

    def plan(self, points: np.ndarray) -> None:
        """Notes points that need a tile."""
        self._planned[points] = True

    def meet(self, candidates: Iterable[np.ndarray]) -> None:
        """Notes points that the bboxes of records hold."""
        for points in candidates:
            self._status[points] = STATUS_CODES[Status.OUT_OF_EXTENT.value]

    def wait(self, candidates: Iterable[np.ndarray]) -> None:
        """Notes points that a record which is to run whole may serve: they get a row."""
        for points in candidates:
            self._awaited[points] = True

    def lose(self, losses: Iterable[Loss]) -> None:
        """Notes points that bands would serve, if they could be read."""
        for record, band, code, points in losses:
            self._told[points] = True
            if self.only is not None and not runs_whole(self.only, record, band):
                points = points[self.named[points]]  # noqa: PLW2901 -- the others were told of
            # They count even where another record has their pixel.
            self._lost[points] = True
            if self._options.with_status and len(points):
                status = np.full(len(points), STATUS_CODES[code], np.int8)
                self._rows.append(self.work.rows(self._options, points, status, record, band))

    def rows(self) -> list[SampleBatch]:
        """Gives rows of points without a sample; always one batch, for its schema."""
        work = self.work
        nothing = work.rows(self._options, np.zeros(0, np.int64), np.zeros(0, np.int8))
        batches = [nothing, *self._rows]
        if not self._options.with_status:
            return batches
        status = self._status.copy()
        status[~work.valid] = STATUS_CODES[Status.INVALID_POINT.value]
        silent = np.flatnonzero(self._silent())
        if len(silent):
            batches.append(work.rows(self._options, silent, status[silent]))
        return batches

    def counts(self) -> PlanCounts:
        """Gives where the points went; every point that is run is counted once."""
        planned, run = self._planned, self._planned | self._lost | self._silent()
        valid = self.work.valid
        return PlanCounts(
            int(run.sum()),
            int((run & ~valid).sum()),
            int((run & valid & ~planned).sum()),
            int(planned.sum()),
        )

    def _silent(self) -> np.ndarray:
        """Points that nothing tells of but a row of their own."""
        return self._awaited & ~(self._told | self._served)


class Planner:
    """Plans batches of points against a fixed set of records."""

    def __init__(
        self,
        records: Sequence[Record],
        options: SampleOptions,
        group_of: Callable[[Record, Grid], int] | None = None,
    ) -> None:
        """Indexes the records; scan order is by ordinal.

        Args:
            records: The records, in any order.
            options: What to sample.
            group_of: Gives the ``record_group`` of a record; needed where several
                planners see different records of one grid. By default records that
                share a grid are counted through.
        """
        self._options = options
        self._records = sorted(records, key=lambda record: record.info.ordinal)
        self._footprints = Footprints(self._records)
        self._winners: list[Winner] = []
        if options.match == "latest":
            self._winners = winners(self._records, self._footprints)
        self._digests: dict[Grid, int] = {}
        self._group_of = group_of or _ranked(self._records)

    def plan(self, batch: PointBatch, only: Replay | None = None) -> Plan:
        """Plans one batch.

        Args:
            batch: The points.
            only: What of it to run again; None to run all.

        Returns:
            The plan; every point of the batch that runs is in ``counts`` once.

        Raises:
            PointsError: A user column has the name of an output column.
        """
        tally = Tally(batch, self._options, only)
        tiles = list(self.tiles(tally))
        return Plan(tiles, tally.rows(), tally.counts())

    def tiles(self, tally: Tally) -> Iterator[tuple[TileBlockKey, TilePoints]]:
        """Plans the batch of a tally, which then knows what became of its points.

        Yields:
            Blocks of tiles, each with the points that need it.
        """
        candidates = self._footprints.candidates(tally.work)
        selections, losses = self._select(candidates, tally.work.n_points)
        tally.meet(candidates.values())
        tally.lose(losses)
        if tally.only is not None:
            tally.wait(self._awaited(candidates, tally.only))
        for (grid, group), members in self._by_grid(selections).items():
            digest = self._digests.setdefault(grid, grid.digest())
            here = locate(tally.work, grid, points_of(members))
            tally.serve(here.points)
            if tally.only is not None:
                radius = self._options.max_distance_pixels
                members, here = narrow(tally.only, tally.named, grid, members, here, radius)  # noqa: PLW2901 -- what is left
            tally.plan(here.points)
            for block in cut_blocks(tally.work, grid, members, here, self._options):
                yield TileBlockKey(digest, group, block.row, block.col), block.element

    def _awaited(
        self, candidates: dict[int, np.ndarray], only: Replay,
    ) -> Iterator[np.ndarray]:
        """The points that records may serve of which a band runs again whole."""
        numbers: Iterable[tuple[int, int]] = self._winners
        if self._options.match != "latest":
            numbers = (
                (number, footprint)
                for footprint in candidates for number in self._footprints.members[footprint]
            )  # fmt: skip
        for number, footprint in numbers:
            if footprint in candidates and awaited(only, self._records[number]):
                yield candidates[footprint]

    def _by_grid(self, selections: list[Selection]) -> dict[tuple[Grid, int], list[Selection]]:
        """Selections that share a grid, a few records at a time."""
        groups: dict[tuple[Grid, int], list[Selection]] = {}
        for selection in selections:
            key = selection.asset.grid, self._group_of(selection.record, selection.asset.grid)
            groups.setdefault(key, []).append(selection)
        return groups

    def _select(
        self, candidates: dict[int, np.ndarray], n_points: int,
    ) -> tuple[list[Selection], list[Loss]]:
        """Which points each asset serves, and those it would if it could be read."""
        if self._options.match == "latest":
            return self._select_latest(candidates, n_points)
        selections, losses = [], []
        for footprint, points in candidates.items():
            for number in self._footprints.members[footprint]:
                record = self._records[number]
                selections += [
                    Selection(record, asset, tuple(range(len(asset.bands))), points)
                    for asset in record.assets
                ]
                losses += [Loss(record, band, code, points) for band, code in record.missing]
        return selections, losses

    def _select_latest(
        self, candidates: dict[int, np.ndarray], n_points: int,
    ) -> tuple[list[Selection], list[Loss]]:
        """The newest record by band, from bbox and metadata alone (rasteret's rule).

        A band whose metadata is unusable wins all the same, and gives no sample: an
        older value must not pass for the latest.
        """
        selections, losses = [], []
        open_points = {band: np.ones(n_points, bool) for band in self._options.bands}

        def win(band: str, points: np.ndarray) -> np.ndarray:
            won = points[open_points[band][points]]
            open_points[band][won] = False
            return won

        for number, footprint in self._winners:
            if footprint not in candidates:
                continue
            record, points = self._records[number], candidates[footprint]
            for band, code in record.missing:
                if code == Status.UNSUPPORTED.value:
                    losses.append(Loss(record, band, code, win(band, points)))
            for asset in record.assets:
                for at, band in enumerate(asset.bands):
                    won = win(band, points)
                    if len(won):
                        selections.append(Selection(record, asset, (at,), won))
        return selections, losses


def _ranked(records: Sequence[Record]) -> Callable[[Record, Grid], int]:
    """Groups of records that share a grid, by their place among them."""
    ranks: dict[Grid, dict[int, int]] = {}
    for record in records:
        for asset in record.assets:
            known = ranks.setdefault(asset.grid, {})
            known.setdefault(record.info.ordinal, len(known))
    return lambda record, grid: ranks[grid][record.info.ordinal] // RECORDS_PER_KEY
