"""Points and a view -> rasteret's table of samples, by the code that the pipelines run."""

from __future__ import annotations

import dataclasses
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rasteret_beam import local
from rasteret_beam.collection.boxes import overlaps_any
from rasteret_beam.collection.filters import Filters
from rasteret_beam.collection.query import CollectionQuery
from rasteret_beam.collection.records import check_bands, check_schema, read_dataset
from rasteret_beam.elements import PointBatch, stages
from rasteret_beam.errors import CollectionError, PointsError
from rasteret_beam.grid import crs
from rasteret_beam.options import SampleOptions
from rasteret_beam.planning import Planner
from rasteret_beam.planning.footprints import newest_first
from rasteret_beam.planning.positions import BatchPositions
from rasteret_beam.schema import POINT_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rasteret_beam.companion.views import View
    from rasteret_beam.elements import DeadLetter, Record
    from rasteret_beam.points import PointColumns
    from rasteret_beam.storage import Store

_MARGIN_DEGREES = 1e-6


def check(view: View, bands: Sequence[str]) -> None:
    """Refuses what cannot be sampled.

    Raises:
        CollectionError: The rows are no collection's.
        BandNotFoundError: A band is in no record.
    """
    check_schema(view.schema, view.label)
    check_bands(view.schema, bands, view.label)


def filters_of(given: Mapping[str, Any]) -> Filters:
    """Gives the filters among the keywords of ``sample_points``.

    Raises:
        TypeError: A keyword is none of theirs.
        OptionError: A value that cannot work.
    """
    known = [field.name for field in dataclasses.fields(Filters)]
    unknown = [name for name in given if name not in known]
    if unknown:
        msg = (
            f"sample_points() got an unexpected keyword argument {unknown[0]!r}; beside its own "
            f"it takes the filters {', '.join(known)}"
        )
        raise TypeError(msg)
    return Filters(**given)


def sample(
    view: View,
    points: tuple[pa.Table, PointColumns],
    options: SampleOptions,
    data_source: str,
    store: Store,
) -> pa.Table:
    """Samples the records of a view at points.

    Args:
        view: The records.
        points: One row a point, and where the point is in it.
        options: What to sample.
        data_source: Whose band names to know, or "".
        store: How files are read.

    Returns:
        One row per (point, record, band): records in scan order (newest first where
        only the latest are wanted), then bands, then points.

    Raises:
        PointsError: The table holds no points.
        CollectionError: The collection cannot be read, or nothing of what points met.
    """
    batches = _read(*points)
    box = box_of([batch for batch, _ in batches])
    if box is not None:
        view = view.narrowed(Filters(bbox=box))
    query = CollectionQuery(view.label, options.bands, data_source=data_source, store=store)
    records: list[Record] = []
    broken: list[tuple[Record, list[DeadLetter]]] = []
    with view.read_errors():
        for record, letters in read_dataset(view.pushed_down(), query, data_source):
            # A record without a bbox meets no point: nobody misses it.
            if record is None or not all(overlaps_any(record.bbox, b) for b in view.boxes):
                continue
            records.append(record)
            if letters:
                broken.append((record, letters))
    result = local.sample_records(records, batches, options, store.guarded(view.label))
    failures = _met(broken, batches, options) + result.dead_letters
    _tell(failures, result.samples.num_rows)
    return _in_order(result.samples, records, options)


def _read(
    table: pa.Table, columns: PointColumns,
) -> list[tuple[PointBatch, list[DeadLetter]]]:
    try:
        return list(local.read_points(table, columns))
    except PointsError as error:
        # The pipelines' option has another name.
        raise PointsError(str(error).replace("points_crs", "geometry_crs")) from error


def box_of(batches: Sequence[PointBatch]) -> tuple[float, float, float, float] | None:
    """Gives a bbox, in degrees, outside of which no record holds one of the points.

    None where there may be none: coordinates that are each raster's own, a CRS that may
    be another body's, points without a longitude (they are matched by pixel).
    """
    sides: list[tuple[float, float, float, float]] = []
    for batch in batches:
        work = BatchPositions(batch)
        if crs.epsg(batch.crs) is None or len(work.nowhere(crs.LONLAT)):
            return None
        lon, lat, _ = work.lonlat(crs.LONLAT)
        if len(lon):
            sides.append((lon.min(), lat.min(), lon.max(), lat.max()))
    if not sides:
        return None
    low, high = np.min(sides, axis=0) - _MARGIN_DEGREES, np.max(sides, axis=0) + _MARGIN_DEGREES
    return float(low[0]), float(low[1]), float(high[2]), float(high[3])


def _met(
    broken: list[tuple[Record, list[DeadLetter]]],
    batches: list[tuple[PointBatch, list[DeadLetter]]],
    options: SampleOptions,
) -> list[DeadLetter]:
    """Dead letters of the records that hold a point; of the others nobody asked."""
    if not broken:
        return []
    asking = SampleOptions(options.bands, match=options.match, unmatched="emit")
    planner = Planner([record for record, _ in broken], asking)
    met: set[str] = set()
    for batch, _ in batches:
        bare = PointBatch(batch.points.select(POINT_COLUMNS), batch.crs)
        for rows in planner.plan(bare).unmatched:
            met.update(pc.unique(rows.samples.column("record_id")).to_pylist())
    return [
        letter for record, letters in broken if record.info.record_id in met for letter in letters
    ]


def _tell(letters: list[DeadLetter], n_rows: int) -> None:
    unusable = [letter for letter in letters if letter.stage == stages.POINTS]
    if unusable:
        # As in rasteret, tables of nothing else give no rows, and end nothing.
        warnings.warn(
            f"{len(unusable)} point(s) without usable coordinates; the first: {unusable[0].msg}",
            RuntimeWarning,
            stacklevel=4,
        )
    failures = [letter for letter in letters if letter.stage != stages.POINTS]
    if not failures:
        return
    first = failures[0].msg
    if n_rows == 0:
        msg = f"No point samples resolved. {len(failures)} failure(s); the first: {first}"
        raise CollectionError(msg)
    warnings.warn(
        f"Some records failed during point sampling ({len(failures)} failure(s)); "
        f"the first: {first}",
        RuntimeWarning,
        stacklevel=4,
    )


def _in_order(
    samples: pa.Table, records: Sequence[Record], options: SampleOptions,
) -> pa.Table:
    ordered = records
    if options.match == "latest":
        ordered = sorted(records, key=newest_first)
    ids = pa.array(dict.fromkeys(record.info.record_id for record in ordered), pa.string())
    keys = pa.table(
        {
            "record": pc.index_in(samples["record_id"], ids),
            "band": pc.index_in(samples["band"], pa.array(options.bands, pa.string())),
            "point": samples["point_index"],
        },
    )
    order = pc.sort_indices(keys, [(name, "ascending") for name in keys.column_names])
    return samples.take(order).combine_chunks()
