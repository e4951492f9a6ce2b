"""What a block's rows are in all is what comes out of it; what is done is left out."""

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scenes import Scene, make_collection, ramp

from rasteret_beam import collection, local, row_sums, sampling
from rasteret_beam.collection import CollectionQuery
from rasteret_beam.fetching import jobs, merging, progress, running
from rasteret_beam.options import SampleOptions
from rasteret_beam.output.units import good_rows, split_units
from rasteret_beam.planning import Planner
from rasteret_beam.points import PointColumns
from rasteret_beam.storage import Store

BANDS = ("B1", "B2")


def _scene(number, pixels, **more):
    return Scene(
        name=f"s{number}", pixels=pixels, nodata="0", tile=(16, 16), bands=BANDS,
        when=dt.datetime(2024, 5, 1 + number), **more,  # noqa: DTZ001 -- as rasteret's
    )  # fmt: skip


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Three dates of a grid of several blocks, one of another type, and a grid beside them."""
    folder = tmp_path_factory.mktemp("progress")
    pixels = ramp(300, 300, bands=2)
    pixels[:, np.arange(300) % 3 == 0] = 0
    scenes = [_scene(number, pixels + number) for number in range(2)]
    scenes.append(_scene(2, pixels, tiff={"planarconfig": "contig"}))
    scenes.append(_scene(3, pixels, origin=(501000.0, 4600000.0)))
    query = CollectionQuery(make_collection(folder, scenes), BANDS)
    fragments = collection.list_fragments(query)
    return [r for f in fragments for r, _ in collection.read_fragment(query, f) if r is not None]


@st.composite
def jobs_of_points(draw):
    random = np.random.default_rng(draw(st.integers(0, 999)))
    n_points = draw(st.integers(1, 60))
    table = pa.table({
        "x": 500000 + random.uniform(-20, 4100, n_points),
        "y": 4600000 - random.uniform(-20, 3100, n_points),
        "plot": pa.array(np.arange(n_points)).cast("string"),
    })  # fmt: skip
    options = SampleOptions(
        bands=BANDS, match=draw(st.sampled_from(["all", "latest"])),
        max_distance_pixels=draw(st.sampled_from([0, 0, 2, 9])),
        unmatched=draw(st.sampled_from(["emit", "omit"])),
    )  # fmt: skip
    return table, options, random


def _planned(records, table, options):
    planner, blocks = Planner(records, options), {}
    # Two batches: messages of one block meet.
    half = len(table) // 2
    for part in (table.slice(0, half), table.slice(half)):
        for batch, _ in local.read_points(part, PointColumns(crs="EPSG:32631")):
            for key, message in planner.plan(batch).tiles:
                blocks.setdefault(key, []).append(message)
    return blocks


def _sampled(blocks, options):
    """All rows that come out, in batches."""
    seams = {}
    for key, messages in blocks.items():
        merged = merging.merge(messages)
        rows = progress.block_rows(key, merged)
        for job in jobs.plan_jobs(merged):
            result = running.run_job(job, Store())
            assert result.errors == {}
            for tiles in running.tile_batches(rows, job, result):
                for batch in sampling.sample_nearest(tiles, options):
                    if batch.windows is None:
                        yield batch
                    else:
                        seams.setdefault(batch.windows.key, []).append(batch)
    for parts in seams.values():
        yield from sampling.merge(parts, options)


def _sums(batches):
    """For each block that rows name: what it is in all, and what its rows add up to."""
    found = {}
    for batch in batches:
        if not batch.samples.num_rows:
            continue
        for label, rows in split_units(batch.samples):
            samples = batch.samples if rows is None else batch.samples.take(pa.array(rows))
            n_rows, total = good_rows(samples, label)
            known = found.get(batch.block, (0, 0))
            found[batch.block] = known[0] + n_rows, row_sums.add(known[1], total)
    return found


_SLOW = settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@_SLOW
@given(job=jobs_of_points())
def test_the_rows_of_a_block_add_up_to_what_was_planned(records, job):
    table, options, _ = job
    found = _sums(_sampled(_planned(records, table, options), options))
    for block, sums in found.items():
        assert sums == (block.n_rows, block.row_sum)
    assert len({block.key for block in found}) == len(found)


@_SLOW
@given(job=jobs_of_points())
def test_done_blocks_are_left_out_and_all_other_rows_stay(records, job):
    table, options, random = job
    blocks = _planned(records, table, options)
    everything = _sums(_sampled(blocks, options))
    done = {block.key for block in everything if random.random() < 0.5}
    left = {}
    for key, messages in blocks.items():
        kept = list(progress.left_to_do(key, messages, done.__contains__))
        if kept:
            left[key] = kept
    expected = {block: sums for block, sums in everything.items() if block.key not in done}
    assert _sums(_sampled(left, options)) == expected
    if not options.max_distance_pixels:
        assert not done & left.keys()
