"""What to read: points x records -> the tiles of each block, and the points they serve.

Plans from the index alone; no pixel is needed. Points are matched to records by bbox,
located on each distinct pixel grid once, and cut into blocks of tiles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from rasteret_beam import schema
from rasteret_beam.elements import (
    POINT_DTYPE,
    PlannedPoints,
    PointBatch,
    Record,
    SampleBatch,
    TileBlockKey,
    TilePoints,
    Visit,
)
from rasteret_beam.errors import CrsError
from rasteret_beam.grid import crs, geotransform
from rasteret_beam.grid.tiling import block_shape
from rasteret_beam.schema import STATUS_CODES, Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rasteret_beam.elements import Asset, Grid
    from rasteret_beam.options import SampleOptions

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


class _Selection(NamedTuple):
    """Points that one asset of one record serves; indexes into the batch, ascending."""

    record: Record
    asset: Asset
    bands: tuple[int, ...]
    points: np.ndarray


class _Block(NamedTuple):
    """One block's element, and which points of the batch are in it."""

    row: int
    col: int
    element: TilePoints
    points: np.ndarray


class _Pairs(NamedTuple):
    """Points by the blocks their windows touch; a point near a seam stands in several."""

    block_row: np.ndarray
    block_col: np.ndarray
    member: np.ndarray


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
        work = _BatchWork(batch)
        candidates = self._candidates(work)
        selections = self._select(candidates, work.n_points)
        tiles: list[tuple[TileBlockKey, TilePoints]] = []
        planned = np.zeros(work.n_points, bool)
        for (grid, group), members in self._by_grid(selections).items():
            digest = self._digests.setdefault(grid, grid.digest())
            for block in _blocks(work, grid, members, self._options):
                key = TileBlockKey(digest, group, block.row, block.col)
                tiles.append((key, block.element))
                planned[block.points] = True
        statuses = self._statuses(work, candidates, planned)
        counts = PlanCounts(
            work.n_points,
            int((~work.valid).sum()),
            int((work.valid & ~planned).sum()),
            int(planned.sum()),
        )
        return Plan(tiles, statuses, counts)

    def _candidates(self, work: _BatchWork) -> dict[int, np.ndarray]:
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

    def _by_grid(self, selections: list[_Selection]) -> dict[tuple[Grid, int], list[_Selection]]:
        """Selections that share a grid, a few records at a time."""
        groups: dict[tuple[Grid, int], list[_Selection]] = {}
        for selection in selections:
            grid = selection.asset.grid
            group = self._ranks[grid][selection.record.info.ordinal] // RECORDS_PER_KEY
            groups.setdefault((grid, group), []).append(selection)
        return groups

    def _select(self, candidates: dict[int, np.ndarray], n_points: int) -> list[_Selection]:
        if self._options.match == "latest":
            return list(self._select_latest(candidates, n_points))
        return [
            _Selection(self._records[number], asset, tuple(range(len(asset.bands))), points)
            for number, points in candidates.items()
            for asset in self._records[number].assets
        ]

    def _select_latest(
        self, candidates: dict[int, np.ndarray], n_points: int,
    ) -> Iterator[_Selection]:
        """The newest record by band, from bbox and metadata alone (rasteret's rule)."""
        open_points = {band: np.ones(n_points, bool) for band in self._options.bands}
        for number in self._newest_first:
            if number not in candidates:
                continue
            points = candidates[number]
            for asset in self._records[number].assets:
                for at, band in enumerate(asset.bands):
                    won = points[open_points[band][points]]
                    open_points[band][won] = False
                    if len(won):
                        yield _Selection(self._records[number], asset, (at,), won)

    def _statuses(
        self, work: _BatchWork, candidates: dict[int, np.ndarray], planned: np.ndarray,
    ) -> list[SampleBatch]:
        """Rows of points without a sample; always one batch, for its schema."""
        batches = [work.rows(self._options, np.zeros(0, np.int64), np.zeros(0, np.int8))]
        if not self._options.with_status:
            return batches
        told = planned.copy()
        for number, points in candidates.items():
            record = self._records[number]
            if self._options.match == "latest":
                continue
            for band, code in record.missing:
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


class _BatchWork:
    """One batch's coordinates, in every CRS they are asked for."""

    def __init__(self, batch: PointBatch) -> None:
        self.batch = batch
        self.index = batch.points.column("point_index").to_numpy()
        self.x = _floats(batch.points.column("point_x"))
        self.y = _floats(batch.points.column("point_y"))
        self.n_points = len(self.x)
        self.valid = np.isfinite(self.x) & np.isfinite(self.y)
        names = schema.user_columns(batch.points.schema).names
        self.columns = batch.points.select(names) if names else None
        self._sorted: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
        self._nowhere: dict[str, np.ndarray] = {}

    def in_bbox(self, bbox: np.ndarray, space: str, *, same_crs: bool) -> np.ndarray:
        """Points inside a bbox, closed; longitudes also as they are within +-180.

        Points that have no longitude (space around the disk of a geostationary image)
        are left to the pixel test of the images in their own CRS.
        """
        lon, lat, points = self._lonlat(space)
        xmin, ymin, xmax, ymax = bbox
        first = np.searchsorted(lon, xmin, side="left")
        last = np.searchsorted(lon, xmax, side="right")
        inside = (lat[first:last] >= ymin) & (lat[first:last] <= ymax)
        found = points[first:last][inside]
        if same_crs and len(self._nowhere[space]):
            found = np.concatenate([found, self._nowhere[space]])
        return np.unique(found)

    def _lonlat(self, space: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Longitudes ascending, their latitudes, and whose they are."""
        if space not in self._sorted:
            points = np.flatnonzero(self.valid)
            try:
                lon, lat = crs.transform(
                    self.batch.crs, space, self.x[points], self.y[points],
                )
            except CrsError:  # another celestial body: its records hold none of these points
                lon = lat = np.full(len(points), np.inf)
            wide = np.isfinite(lon) & (np.abs(lon) > 180)  # noqa: PLR2004 -- degrees
            wrapped = (lon[wide] + 180) % 360 - 180
            lon, lat = np.concatenate([lon, wrapped]), np.concatenate([lat, lat[wide]])
            points = np.concatenate([points, points[wide]])
            finite = np.isfinite(lon) & np.isfinite(lat)
            self._nowhere[space] = points[~finite]
            lon, lat, points = lon[finite], lat[finite], points[finite]
            order = np.argsort(lon, kind="stable")
            self._sorted[space] = lon[order], lat[order], points[order]
        return self._sorted[space]

    def rows(
        self,
        options: SampleOptions,
        points: np.ndarray,
        status: np.ndarray,
        record: Record | None = None,
        band: str | None = None,
    ) -> SampleBatch:
        """Rows without a value."""
        event_time = self.batch.event_time_us
        samples = schema.make_samples(
            options,
            point_index=self.index[points],
            x=self.x[points],
            y=self.y[points],
            point_epsg=crs.epsg(self.batch.crs),
            record=None if record is None else record.info,
            bands=[] if band is None else [band],
            band_codes=np.full(len(points), -1 if band is None else 0, np.int32),
            value=np.full(len(points), np.nan),
            status_codes=status,
            columns=None if self.columns is None else self.columns.take(pa.array(points)),
        )
        return SampleBatch(samples, None if event_time is None else event_time[points])


def _blocks(
    work: _BatchWork, grid: Grid, selections: list[_Selection], options: SampleOptions,
) -> Iterator[_Block]:
    """Cuts the points of selections that share a grid into blocks."""
    everyone = selections[0].points
    for selection in selections[1:]:
        # The dates of one tile hold the very same array.
        if selection.points is not everyone:
            everyone = np.union1d(everyone, selection.points)
    points = everyone
    x, y = crs.transform(work.batch.crs, grid.crs, work.x[points], work.y[points])
    row_float, col_float = geotransform.world_to_pixel(grid.geotransform, x, y)
    inside = geotransform.inside(row_float, col_float, grid.height, grid.width)
    points, row_float, col_float = points[inside], row_float[inside], col_float[inside]
    if not len(points):
        return
    located = np.empty(len(points), POINT_DTYPE)
    located["point_index"], located["x"], located["y"] = (
        work.index[points], work.x[points], work.y[points],
    )  # fmt: skip
    located["row_float"], located["col_float"] = row_float, col_float
    member_of = [
        None if selection.points is everyone else np.isin(points, selection.points)
        for selection in selections
    ]
    row, col = row_float.astype(np.int64), col_float.astype(np.int64)
    pairs = _touched_blocks(grid, row, col, options.max_distance_pixels)
    epsg, event_time = crs.epsg(work.batch.crs), work.batch.event_time_us
    starts = np.flatnonzero(
        np.r_[True, (np.diff(pairs.block_row) != 0) | (np.diff(pairs.block_col) != 0)],
    )
    for start, stop in zip(starts, np.r_[starts[1:], len(pairs.member)], strict=True):
        block_row, block_col = int(pairs.block_row[start]), int(pairs.block_col[start])
        members = pairs.member[start:stop]
        touched = _touched_tiles(
            grid, row[members], col[members], options.max_distance_pixels, block_row, block_col,
        )
        visits = [
            _visit(selection, touched, None if mask is None else mask[members])
            for selection, mask in zip(selections, member_of, strict=True)
        ]
        here = points[members]
        planned = PlannedPoints(
            located[members],
            None if work.columns is None else work.columns.take(pa.array(here)),
            epsg,
            None if event_time is None else event_time[here],
        )
        wanted = tuple(visit for visit in visits if visit is not None)
        if wanted:
            yield _Block(block_row, block_col, TilePoints(grid, planned, wanted), here)


def _touched_blocks(grid: Grid, row: np.ndarray, col: np.ndarray, radius: int) -> _Pairs:
    """Pairs of (block, point) where the point's window touches the block, block by block."""
    shape = block_shape(grid)
    first_row, last_row = _span(row, radius, grid.height, grid.tile_height * shape.rows)
    first_col, last_col = _span(col, radius, grid.width, grid.tile_width * shape.cols)
    rows, cols, members = [], [], []
    for down in range(int((last_row - first_row).max()) + 1):
        for across in range(int((last_col - first_col).max()) + 1):
            hit = np.flatnonzero((first_row + down <= last_row) & (first_col + across <= last_col))
            rows.append(first_row[hit] + down)
            cols.append(first_col[hit] + across)
            members.append(hit)
    block_row, block_col = np.concatenate(rows), np.concatenate(cols)
    member = np.concatenate(members)
    order = np.lexsort((member, block_col, block_row))
    return _Pairs(block_row[order], block_col[order], member[order])


def _touched_tiles(
    grid: Grid, row: np.ndarray, col: np.ndarray, radius: int, block_row: int, block_col: int,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """(member, tile number) pairs of the tiles in one block that windows touch."""
    shape = block_shape(grid)
    first_row, last_row = _span(row, radius, grid.height, grid.tile_height)
    first_col, last_col = _span(col, radius, grid.width, grid.tile_width)
    top, left = block_row * shape.rows, block_col * shape.cols
    first_row, last_row = np.maximum(first_row, top), np.minimum(last_row, top + shape.rows - 1)
    first_col, last_col = np.maximum(first_col, left), np.minimum(last_col, left + shape.cols - 1)
    found = []
    for down in range(int((last_row - first_row).max()) + 1):
        for across in range(int((last_col - first_col).max()) + 1):
            hit = np.flatnonzero((first_row + down <= last_row) & (first_col + across <= last_col))
            tile = (first_row[hit] + down) * grid.tiles_across + first_col[hit] + across
            found.append((hit, tile))
    return found


def _span(
    pixel: np.ndarray, radius: int, size: int, step: int,
) -> tuple[np.ndarray, np.ndarray]:
    """First and last step-wide cell that [pixel - radius, pixel + radius] touches."""
    first = np.maximum(pixel - radius, 0) // step
    return first, np.minimum(pixel + radius, size - 1) // step


def _visit(
    selection: _Selection,
    touched: list[tuple[np.ndarray, np.ndarray]],
    mask: np.ndarray | None,
) -> Visit | None:
    """What one asset must read for the points of a block, or None."""
    if mask is None or mask.all():
        tiles, members = [tile for _, tile in touched], None
    else:
        tiles, members = [t[mask[m]] for m, t in touched], np.flatnonzero(mask).astype(np.int32)
    tile_ids = np.unique(np.concatenate(tiles))
    if not len(tile_ids):
        return None
    asset = selection.asset
    return Visit(
        record=selection.record.info,
        href=asset.href,
        plane=asset.plane,
        layout=asset.layout,
        bands=tuple(asset.bands[at] for at in selection.bands),
        samples=tuple(asset.samples[at] for at in selection.bands),
        tile_ids=tile_ids,
        tile_offsets=asset.tile_offsets[tile_ids],
        tile_byte_counts=asset.tile_byte_counts[tile_ids],
        members=members,
    )


def _newest_first(datetime_us: int | None) -> tuple[bool, int]:
    """Newest first, none last; sorting is stable, so ties keep scan order."""
    return datetime_us is None, -(datetime_us or 0)


def _floats(column: pa.Array) -> np.ndarray:
    return np.asarray(column.to_numpy(zero_copy_only=False), np.float64)
