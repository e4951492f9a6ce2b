"""The whole job in one process, without Beam: for notebooks, tests and small jobs.

The very same planning, fetching and sampling as the transforms, in plain loops.
"""

from __future__ import annotations

import concurrent.futures
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from rasteret_beam import (
    collection,
    memory,
    points,
    sampling,
    schema,
)
from rasteret_beam.fetching import jobs, merging, progress, running
from rasteret_beam.planning import PlanCounts, Planner

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rasteret_beam.collection import CollectionQuery
    from rasteret_beam.elements import (
        DeadLetter,
        PointBatch,
        Record,
        SampleBatch,
        TileBlockKey,
        TilePoints,
    )
    from rasteret_beam.options import SampleOptions
    from rasteret_beam.points import PointColumns
    from rasteret_beam.replaying import Replay
    from rasteret_beam.storage import Store

_CONCURRENT_JOBS = 16


class LocalResult(NamedTuple):
    """What a job gave.

    Attributes:
        samples: Rows in rasteret's schema, the user's columns after it.
        dead_letters: Rows, records and tiles that cannot be used.
        counts: Where the points went.
    """

    samples: pa.Table
    dead_letters: list[DeadLetter]
    counts: PlanCounts


def sample_points(
    query: CollectionQuery,
    table: pa.Table,
    columns: PointColumns,
    options: SampleOptions,
    only: Replay | None = None,
) -> LocalResult:
    """Samples a collection at a table of points.

    Args:
        query: Which records; its bands are those of ``options``.
        table: One row a point, any columns.
        columns: Where in a row the point is.
        options: What to sample.
        only: What of it to run again; None to run all.

    Returns:
        One row per (point, record, band), in no particular order.

    Raises:
        CollectionError: The collection cannot be read.
        PointsError: The table holds no points.
    """
    letters: list[DeadLetter] = []
    records = []
    for fragment in collection.list_fragments(query):
        for record, found in collection.read_fragment(query, fragment):
            letters.extend(found)
            if record is not None:
                records.append(record)
    store = query.store.guarded(query.uri)
    result = sample_records(records, read_points(table, columns), options, store, only)
    return result._replace(dead_letters=letters + result.dead_letters)


def sample_records(
    records: Sequence[Record],
    batches: Iterable[tuple[PointBatch, list[DeadLetter]]],
    options: SampleOptions,
    store: Store,
    only: Replay | None = None,
) -> LocalResult:
    """Samples records at batches of points.

    Args:
        records: The records, with the bands of ``options``.
        batches: At least one batch, each with the dead letters of its rows.
        options: What to sample.
        store: How files are read.
        only: What of it to run again; None to run all.

    Returns:
        One row per (point, record, band), in no particular order; dead letters of
        points and tiles.
    """
    memory.keep_freed()
    letters: list[DeadLetter] = []
    planner = Planner(records, options)
    blocks: dict[TileBlockKey, list[TilePoints]] = {}
    samples: list[SampleBatch] = []
    counts = PlanCounts(0, 0, 0, 0)
    for batch, found in batches:
        letters.extend(found)
        plan = planner.plan(batch, only)
        counts = PlanCounts(*(a + b for a, b in zip(counts, plan.counts, strict=True)))
        samples.extend(plan.unmatched)
        for key, message in plan.tiles:
            blocks.setdefault(key, []).append(message)
    samples.extend(_sampled(blocks, options, store, letters))
    rows = pa.Table.from_batches([batch.samples for batch in samples])
    return LocalResult(schema.plain(rows), letters, counts)


def read_points(
    table: pa.Table, columns: PointColumns,
) -> Iterator[tuple[PointBatch, list[DeadLetter]]]:
    """Reads the points of a table, some tens of thousands at a time; at least one batch.

    Raises:
        PointsError: The table holds no points.
    """
    first_index = 0
    for rows in table.combine_chunks().to_batches(points.BATCH_ROWS) or _no_rows(table):
        yield points.to_points(rows, columns, first_index, "table")
        first_index += rows.num_rows


def _no_rows(table: pa.Table) -> list[pa.RecordBatch]:
    arrays = [pa.nulls(0, field.type) for field in table.schema]
    return [pa.RecordBatch.from_arrays(arrays, schema=table.schema)]


def _sampled(
    blocks: dict[TileBlockKey, list[TilePoints]],
    options: SampleOptions,
    store: Store,
    letters: list[DeadLetter],
) -> Iterator[SampleBatch]:
    seams: dict[TileBlockKey, list[SampleBatch]] = {}
    for batch in _nearest(blocks, options, store, letters):
        if batch.windows is None:
            yield sampling.finish(batch)
        else:
            seams.setdefault(batch.windows.key, []).append(batch)
    for parts in seams.values():
        yield from sampling.merge(parts, options)


def _nearest(
    blocks: dict[TileBlockKey, list[TilePoints]],
    options: SampleOptions,
    store: Store,
    letters: list[DeadLetter],
) -> Iterable[SampleBatch]:
    with concurrent.futures.ThreadPoolExecutor(_CONCURRENT_JOBS) as pool:
        for key, messages in blocks.items():
            merged = merging.merge(messages)
            rows, wanted = progress.block_rows(key, merged), jobs.plan_jobs(merged)
            results = pool.map(lambda job: running.run_job(job, store), wanted)
            for job, result in zip(wanted, results, strict=True):
                letters.extend(running.dead_letters(job, result))
                for batch in running.tile_batches(rows, job, result):
                    yield from sampling.sample_nearest(batch, options)
