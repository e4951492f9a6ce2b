"""Windows are held some at a time, however many points there are and whatever is asked of them."""

import tracemalloc

import numpy as np
import pytest
from scenes import Scene, grid_points, make_collection, run

from rasteret_beam import sampling
from rasteret_beam.fetching import jobs
from rasteret_beam.options import SampleOptions
from rasteret_beam.sampling import reading

EMPTY = Scene(name="a", pixels=np.zeros((1, 256, 256), np.uint8), nodata="0", tile=(128, 128))
RADIUS, AT_ONCE = 32, 16
MODES = ["off", "if_center_nodata", "always"]


@pytest.fixture
def tile_batches(tmp_path, monkeypatch):
    """Gives a function from a number of points to what is sampled of them."""
    collection = make_collection(tmp_path, [EMPTY])
    monkeypatch.setattr(reading, "_WINDOW_CELLS_AT_ONCE", AT_ONCE * (2 * RADIUS + 1) ** 2)

    def batches(n_points):
        found = []
        pixels = np.random.default_rng(n_points).integers(0, 256, (n_points, 2)).tolist()
        with monkeypatch.context() as patch:
            patch.setattr(sampling, "sample_nearest", lambda tiles, _: found.append(tiles) or ())
            run(collection, grid_points(EMPTY, pixels), max_distance_pixels=RADIUS)
        return found

    return batches


def _sampled(batches, mode):
    options = SampleOptions(
        bands=("B1",), max_distance_pixels=RADIUS, return_neighbourhood=mode, unmatched="emit",
    )  # fmt: skip
    for batch in batches:
        yield from sampling.sample_nearest(batch, options)


def _peak(batches, mode):
    tracemalloc.start()
    try:
        for _ in _sampled(batches, mode):
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("mode", MODES)
def test_memory_does_not_grow_with_the_windows_of_a_block(tile_batches, mode):
    few, many = tile_batches(250), tile_batches(2000)
    assert _peak(many, mode) < 1.5 * _peak(few, mode)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("tiles_bytes", [1, 1 << 26], ids=["a tile each", "all tiles"])
def test_no_batch_has_more_windows_than_are_held_at_once(
    tile_batches, monkeypatch, mode, tiles_bytes,
):
    monkeypatch.setattr(jobs, "BATCH_BYTES", tiles_bytes)
    found = list(_sampled(tile_batches(300), mode))
    windows = [len(batch.windows.pixel) for batch in found if batch.windows is not None]
    assert bool(windows) == (tiles_bytes == 1)
    held = windows + [len(batch.neighbours) for batch in found if batch.neighbours is not None]
    assert max(held, default=0) <= AT_ONCE
    assert all(batch.outcomes is None for batch in found if batch.windows is not None)
    own = [batch.samples.num_rows for batch in found]
    assert sum(own) == 300
