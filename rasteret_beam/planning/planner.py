"""What to read: points x records -> the tiles of each block, and the points they serve.

Plans from the index alone; no pixel is needed. Points are matched to records by bbox,
located on each distinct pixel grid once, and cut into blocks of tiles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rasteret_beam import schema
from rasteret_beam.elements import TileBlockKey
from rasteret_beam.grid import crs
from rasteret_beam.planning.blocks import Selection, cut_blocks
from rasteret_beam.planning.positions import BatchPositions
from rasteret_beam.schema import STATUS_CODES, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rasteret_beam.elements import Grid, PointBatch, Record, SampleBatch, TilePoints
    from rasteret_beam.options import SampleOptions

NO_TILE = -1
"""Grid of the key under which rows travel that need no tile."""

RECORDS_PER_KEY = 16
"""Records that share a grid share a key, and so a shuffle of their points, up to here."""


class PlanCounts(NamedTuple):
    """Where the points of a batch went; read = invalid + unmatched + with_rows.

    Attributes:
        points_read: All.
        points_invalid: Without usable coordinates.
        points_unmatched: On no pixel of any record.
        points_with_rows: The rest.
    """

    points_read: int
    points_invalid: int
    points_unmatched: int
    points_with_rows: int


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


class _Loss(NamedTuple):
    """Points that a band of a record would serve, if it could be read."""

    record: Record
    band: str
    code: str
    points: np.ndarray


class Planner:
    """Plans batches of points against a fixed set of records."""

    def __init__(self, records: Sequence[Record], options: SampleOptions) -> None:
        """Indexes the records; scan order is by ordinal.

        Args:
            records: The records, in any order.
            options: What to sample.
        """
        self._options = options
        self._records = sorted(records, key=lambda record: record.info.ordinal)
        bboxes = np.array([record.bbox for record in self._records], np.float64).reshape(-1, 4)
        # The dates of one satellite tile share their bbox: test it once for all.
        self._bboxes, bbox_ids = np.unique(bboxes, axis=0, return_inverse=True)
        self._bbox_ids = bbox_ids.reshape(-1)
        self._newest_first = sorted(
            range(len(self._records)),
            key=lambda i: _newest_first(self._records[i].info.datetime_us),
        )
        self._digests: dict[Grid, int] = {}
        self._ranks: dict[Grid, dict[int, int]] = {}
        for record in self._records:
            for asset in record.assets:
                ranks = self._ranks.setdefault(asset.grid, {})
                ranks.setdefault(record.info.ordinal, len(ranks))

    def plan(self, batch: PointBatch) -> Plan:
        """Plans one batch.

        Args:
            batch: The points.

        Returns:
            The plan; every point of the batch is in ``counts`` once.

        Raises:
            PointsError: A user column has the name of an output column.
        """
        schema.check_collisions(batch.points.schema, self._options)
        work = BatchPositions(batch)
        candidates = self._candidates(work)
        selections, losses = self._select(candidates, work.n_points)
        tiles: list[tuple[TileBlockKey, TilePoints]] = []
        planned = np.zeros(work.n_points, bool)
        for (grid, group), members in self._by_grid(selections).items():
            digest = self._digests.setdefault(grid, grid.digest())
            for block in cut_blocks(work, grid, members, self._options):
                key = TileBlockKey(digest, group, block.row, block.col)
                tiles.append((key, block.element))
                planned[block.points] = True
        statuses = self._statuses(work, candidates, losses, planned)
        counts = PlanCounts(
            work.n_points,
            int((~work.valid).sum()),
            int((work.valid & ~planned).sum()),
            int(planned.sum()),
        )
        return Plan(tiles, statuses, counts)

    def _candidates(self, work: BatchPositions) -> dict[int, np.ndarray]:
        """For each record whose bbox (closed) holds points, those points."""
        found: dict[tuple[int, str, bool], np.ndarray] = {}
        by_record: dict[int, np.ndarray] = {}
        for number, record in enumerate(self._records):
            asset_crs = record.assets[0].grid.crs if record.assets else crs.LONLAT
            space = crs.lonlat_of(asset_crs) or crs.LONLAT
            bbox_id = int(self._bbox_ids[number])
            same_crs = asset_crs == work.batch.crs
            key = (bbox_id, space, same_crs)
            if key not in found:
                found[key] = work.in_bbox(self._bboxes[bbox_id], space, same_crs=same_crs)
            if len(found[key]):
                by_record[number] = found[key]
        return by_record

    def _by_grid(self, selections: list[Selection]) -> dict[tuple[Grid, int], list[Selection]]:
        """Selections that share a grid, a few records at a time."""
        groups: dict[tuple[Grid, int], list[Selection]] = {}
        for selection in selections:
            grid = selection.asset.grid
            group = self._ranks[grid][selection.record.info.ordinal] // RECORDS_PER_KEY
            groups.setdefault((grid, group), []).append(selection)
        return groups

    def _select(
        self, candidates: dict[int, np.ndarray], n_points: int,
    ) -> tuple[list[Selection], list[_Loss]]:
        """Which points each asset serves, and those it would if it could be read."""
        if self._options.match == "latest":
            return self._select_latest(candidates, n_points)
        selections, losses = [], []
        for number, points in candidates.items():
            record = self._records[number]
            selections += [
                Selection(record, asset, tuple(range(len(asset.bands))), points)
                for asset in record.assets
            ]
            losses += [_Loss(record, band, code, points) for band, code in record.missing]
        return selections, losses

    def _select_latest(
        self, candidates: dict[int, np.ndarray], n_points: int,
    ) -> tuple[list[Selection], list[_Loss]]:
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

        for number in self._newest_first:
            if number not in candidates:
                continue
            record, points = self._records[number], candidates[number]
            for band, code in record.missing:
                if code == Status.UNSUPPORTED.value:
                    losses.append(_Loss(record, band, code, win(band, points)))
            for asset in record.assets:
                for at, band in enumerate(asset.bands):
                    won = win(band, points)
                    if len(won):
                        selections.append(Selection(record, asset, (at,), won))
        return selections, losses

    def _statuses(
        self,
        work: BatchPositions,
        candidates: dict[int, np.ndarray],
        losses: list[_Loss],
        planned: np.ndarray,
    ) -> list[SampleBatch]:
        """Rows of points without a sample; always one batch, for its schema."""
        batches = [work.rows(self._options, np.zeros(0, np.int64), np.zeros(0, np.int8))]
        if not self._options.with_status:
            return batches
        told = planned.copy()
        for record, band, code, points in losses:
            status = np.full(len(points), STATUS_CODES[code], np.int8)
            batches.append(work.rows(self._options, points, status, record, band))
            told[points] = True
        status = np.full(work.n_points, STATUS_CODES[Status.NO_RECORD.value], np.int8)
        for points in candidates.values():
            status[points] = STATUS_CODES[Status.OUT_OF_EXTENT.value]
        status[~work.valid] = STATUS_CODES[Status.INVALID_POINT.value]
        silent = np.flatnonzero(~told)
        if len(silent):
            batches.append(work.rows(self._options, silent, status[silent]))
        return batches


def _newest_first(datetime_us: int | None) -> tuple[bool, int]:
    """Newest first, none last; sorting is stable, so ties keep scan order."""
    return datetime_us is None, -(datetime_us or 0)
