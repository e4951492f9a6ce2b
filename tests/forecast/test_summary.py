"""A plan's summary is what a run does, however it is put together."""

import collections
import random
import tempfile

import numpy as np
import pytest
from fakes import serving
from hypothesis import given, settings
from hypothesis import strategies as st
from planned_scenes import BANDS, STORE, asked, batches, point_tables, scene_lists, serve
from scenes import Scene, ramp

from rasteret_beam.collection import CollectionQuery, list_fragments, read_fragment
from rasteret_beam.elements import PlanCounts, TilePoints
from rasteret_beam.fetching import jobs, merging, running
from rasteret_beam.forecast import summary as summary_module
from rasteret_beam.forecast.summary import HostTotals, HotTile, PlanSummary, merge, rounded
from rasteret_beam.options import SampleOptions
from rasteret_beam.planning import Planner

_NO_COUNTS = [0] * len(running.JobCounts._fields)
cases = settings(max_examples=40, deadline=None)


def _blocks(collection, table, options):
    """What is planned under each key, and where the points went."""
    query = CollectionQuery(collection, BANDS)
    records = [
        record for fragment in list_fragments(query)
        for record, _ in read_fragment(query, fragment) if record is not None
    ]
    planner, blocks, counts = Planner(records, options), collections.defaultdict(list), []
    for batch in batches(table):
        plan = planner.plan(batch)
        counts.append(plan.counts)
        for key, message in plan.tiles:
            blocks[key].append(message)
    return blocks, PlanCounts(*map(sum, zip(*counts, strict=True)))


def _facts(summary):
    return {**summary.facts(), "records": summary.records.tolist()}


@given(
    scenes=scene_lists(), table=point_tables(), holes=st.integers(0, 99),
    match=st.sampled_from(["all", "latest"]), radius=st.sampled_from([0, 0, 3]),
)
@cases
def test_a_summary_tells_what_a_run_asks_for(scenes, table, holes, match, radius):
    options = SampleOptions(bands=BANDS, match=match, max_distance_pixels=radius)
    with tempfile.TemporaryDirectory() as folder, serving({}) as server:
        collection = serve(server, folder, scenes, holes)
        blocks, _ = _blocks(collection, table, options)
        summary = merge(summary_module.summarize_block(messages) for messages in blocks.values())
        assert asked(server) == (0, 0)
        done = [
            running.run_job(job, STORE).counts
            for messages in blocks.values() for job in jobs.plan_jobs(merging.merge(messages))
        ]
        run = running.JobCounts(*map(sum, zip(_NO_COUNTS, *done, strict=True)))
        assert (summary.requests, summary.n_bytes) == asked(server)
    assert run.tiles_failed == summary.refused == 0
    assert (summary.tiles, summary.sparse) == (run.tiles_planned, run.tiles_sparse)
    assert (summary.requests, summary.n_bytes) == (run.requests, run.bytes_fetched)


@given(scenes=scene_lists(), table=point_tables(), match=st.sampled_from(["all", "latest"]))
@cases
def test_points_of_a_tile_are_those_whose_own_pixel_it_holds(scenes, table, match):
    options = SampleOptions(bands=BANDS, match=match)
    with tempfile.TemporaryDirectory() as folder, serving({}) as server:
        blocks, _ = _blocks(serve(server, folder, scenes, 0), table, options)
    held = collections.defaultdict(set)
    serving_records = set()
    for key, messages in blocks.items():
        for message in messages:
            grid, points = message.sources.grid, message.planned.points
            for source, members in zip(message.sources.items, message.members, strict=True):
                for point in points if members is None else points[members]:
                    row, col = int(point["row_float"]), int(point["col_float"])
                    tile = row // grid.tile_height * grid.tiles_across + col // grid.tile_width
                    name = (key.grid, source.record.record_id, tile)
                    held[name].add(int(point["point_index"]))
                    serving_records.add(source.record.ordinal)
    summary = merge(summary_module.summarize_block(messages) for messages in blocks.values())
    most = sorted(((len(points), name[1], name[2]) for name, points in held.items()), reverse=True)
    found = [(tile.points, tile.record_id, tile.tile) for tile in summary.hottest]
    assert sorted((n for n, _, _ in found), reverse=True) == [n for n, _, _ in most][:10]
    assert set(found) <= set(most)
    assert summary.records.tolist() == sorted(serving_records)
    assert summary.facts()["points_per_tile"]["max"] == (most[0][0] if most else 0)


def _summaries():
    totals = st.builds(HostTotals, st.integers(0, 9), st.integers(0, 9), st.integers(0, 99))
    hot = st.builds(
        HotTile, st.integers(0, 50), st.sampled_from("abc"), st.sampled_from("xy"),
        st.integers(0, 30), st.just(1),
    )
    return st.builds(
        PlanSummary,
        counts=st.builds(PlanCounts, *[st.integers(0, 9)] * 4),
        records=st.sets(st.integers(0, 20)).map(lambda found: np.array(sorted(found), np.int64)),
        tiles=st.integers(0, 9),
        requests=st.integers(0, 9),
        hosts=st.dictionaries(st.sampled_from(["s3://a", "s3://b", "gs://c", "gs://d"]), totals),
        points_per_tile=st.dictionaries(st.integers(0, 500).map(rounded), st.integers(1, 9)),
        hottest=st.lists(hot, max_size=10).map(summary_module._hottest),
    )


@given(parts=st.lists(_summaries(), max_size=12), seed=st.integers(0, 99), cut=st.integers(0, 12))
@cases
def test_summaries_merge_in_any_order_and_any_grouping(parts, seed, cut):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(summary_module, "MAX_HOSTS", 2)
        whole = merge(parts)
        shuffled = random.Random(seed).sample(parts, len(parts))
        grouped = merge([merge(shuffled[:cut]), merge(shuffled[cut:]), PlanSummary()])
    assert _facts(grouped) == _facts(whole)


def test_a_summary_of_nothing_is_zero():
    facts = merge([]).facts()
    assert facts["points"]["read"] == facts["tiles"]["planned"] == facts["requests"] == 0
    assert facts["points_per_tile"] == {"p50": 0, "p99": 0, "max": 0}


def test_hosts_beyond_the_limit_are_told_together():
    hosts = {f"s3://b{number:05}": HostTotals(1, 2, 3) for number in range(1500)}
    found = merge([PlanSummary(hosts=hosts)]).hosts
    assert len(found) == summary_module.MAX_HOSTS + 1
    assert found[summary_module.OTHER_HOSTS] == HostTotals(500, 1000, 1500)


@given(counts=st.lists(st.integers(0, 5000), min_size=1, max_size=200))
@cases
def test_quantiles_are_right_but_for_two_percent(counts):
    bars = collections.Counter(map(rounded, counts))
    summary = PlanSummary(points_per_tile=bars)
    for share in (0.5, 0.99):
        exact = sorted(counts)[int(np.ceil(share * len(counts))) - 1]
        assert exact * 0.98 <= summary.quantile(share) <= exact


@pytest.mark.parametrize(
    ("href", "host"),
    [
        ("gs://bucket/a/b.tif", "gs://bucket"),
        ("https://me:secret@Host.example:8443/b.tif?sig=secret", "https://host.example:8443"),
        ("file:///data/b.tif", "file://"),
        ("data/b.tif", "file://"),
        ("https://[broken/b.tif", "other hosts"),
    ],
)
def test_a_host_is_told_without_secrets(href, host):
    assert summary_module.host_of(href) == host


def test_messages_of_one_point_in_several_bands_count_it_once(tmp_path):
    with serving({}) as server:
        scene = Scene(name="a", pixels=ramp(16, 16, bands=2), tiff={"planarconfig": "contig"})
        collection = serve(server, tmp_path, [scene], 1)
        table = {"x": [500005.0], "y": [4599995.0]}
        blocks, counts = _blocks(collection, table, SampleOptions(bands=BANDS, match="latest"))
    ((message,),) = blocks.values()
    assert isinstance(message, TilePoints)
    summary = summary_module.summarize_block([message])
    assert (summary.hottest[0].points, counts.points_with_rows) == (1, 1)
