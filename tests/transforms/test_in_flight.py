"""Memory of tiles in flight: shared by the bundles of a process, and given back."""

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import PANE_INFO_UNKNOWN
from collecting import collect
from scenes import Scene, grid_points, make_collection, ramp

from rasteret_beam import (
    CollectionQuery,
    PlanTiles,
    PointBatch,
    ReadCollection,
    SampleOptions,
    Store,
    TilePoints,
)
from rasteret_beam.fetching import running
from rasteret_beam.memory import Allowance
from rasteret_beam.transforms import fetch_tiles
from rasteret_beam.transforms.fetch_tiles import _FetchFn

TILE_BYTES = 16 * 16 * 2


@pytest.fixture
def allowance(monkeypatch):
    made = Allowance(4 * TILE_BYTES)
    monkeypatch.setattr(fetch_tiles, "_IN_FLIGHT", made)
    return made


@pytest.fixture(scope="module")
def block(tmp_path_factory):
    """A block of twelve files, with a tile each."""
    scenes = [Scene(name=f"s{number}", pixels=ramp(16, 16)) for number in range(12)]
    collection = make_collection(tmp_path_factory.mktemp("in_flight"), scenes)
    at = grid_points(scenes[0], [(1, 2)])
    index = pa.array([0], pa.int64())
    points = pa.record_batch({"point_index": index, "point_x": at["x"], "point_y": at["y"]})
    with beam.Pipeline("FnApiRunner") as pipeline:
        records, _ = pipeline | ReadCollection(query=CollectionQuery(collection, ("B1",)))
        batches = pipeline | beam.Create([PointBatch(points, "EPSG:32631")])
        options = SampleOptions(bands=("B1",))
        planned = collect(batches | PlanTiles(records=records, options=options))
    ((key, element),) = (pair for pair in planned if isinstance(pair[1], TilePoints))
    return key, [element]


def _begun():
    bundle = _FetchFn(Store(), 0)
    bundle.setup()
    return bundle


def _process(bundle, block):
    return list(bundle.process(block, GlobalWindow(), 0, PANE_INFO_UNKNOWN))


def _held(bundle):
    return sum(one.job.decoded_bytes for one in bundle._in_flight)


def test_bundles_of_a_process_share_what_is_in_flight(block, allowance):
    first, second = _begun(), _begun()
    given = _process(first, block) + _process(second, block)
    # The second has a job all the same: it waits for nobody.
    assert (_held(first), _held(second)) == (allowance.most_bytes, TILE_BYTES)
    given += [output for bundle in (first, second) for output in bundle.finish_bundle()]
    assert len(given) == 2 * 12
    assert allowance.held_bytes == 0


@pytest.mark.parametrize("then", ["start_bundle", "teardown"])
def test_a_bundle_that_failed_gives_back_what_it_held(block, allowance, monkeypatch, then):
    def fail(*_):
        raise RuntimeError

    monkeypatch.setattr(running, "run_job", fail)
    bundle = _begun()
    with pytest.raises(RuntimeError):
        _process(bundle, block)
    assert _held(bundle) > 0
    getattr(bundle, then)()
    assert list(bundle.finish_bundle()) == []
    assert allowance.held_bytes == 0


def test_a_job_that_no_thread_can_be_had_for_gives_back_what_it_took(block, allowance, monkeypatch):
    bundle = _begun()

    def refuse(*_):
        msg = "can't start new thread"
        raise RuntimeError(msg)

    monkeypatch.setattr(bundle._pool, "submit", refuse)
    with pytest.raises(RuntimeError, match="new thread"):
        _process(bundle, block)
    assert allowance.held_bytes == _held(bundle) == 0
