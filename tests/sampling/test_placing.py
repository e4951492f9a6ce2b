"""Where points stand in tiles is found once for the files of a block, and only where alike."""

import dataclasses

import numpy as np
import pytest
from scenes import Scene, grid_points, make_collection, ramp, run, sample

from rasteret_beam.sampling import placing

PIXELS = ramp(48, 48)
PIXELS[:, ::5] = 0
SCENES = [
    Scene(name=name, pixels=PIXELS + np.uint16(number * (PIXELS > 0)), nodata="0")
    for number, name in enumerate("abc")
]
POINTS = grid_points(SCENES[0], [(row, col) for row in range(0, 48, 3) for col in range(0, 48, 5)])
WINDOWS = {
    "max_distance_pixels": 2, "return_neighbourhood": "always", "unmatched": "emit",
}  # fmt: skip


def _rows_of(rows, name):
    return [row for row in rows if row["record_id"] == name]


@pytest.fixture
def n_placed(monkeypatch):
    """How often all points of a block were placed anew."""
    found = []

    class Counted(placing.Placement):
        def __init__(self, points, members, tiles, failed):
            found.append((members is None, failed))
            super().__init__(points, members, tiles, failed)

    monkeypatch.setattr(placing, "Placement", Counted)
    return found


def test_files_of_one_block_share_their_points_places(tmp_path, n_placed):
    rows = sample(make_collection(tmp_path, SCENES), POINTS, **WINDOWS)
    assert len(rows) == 3 * len(POINTS["x"])
    assert n_placed == [(True, ())]


def test_a_file_with_an_unread_tile_is_placed_by_itself(tmp_path, n_placed):
    def spoil(rows):
        rows[1]["B1_metadata"]["tile_offsets"][0] = 10**9

    rows = sample(make_collection(tmp_path, SCENES, mutate=spoil), POINTS, **WINDOWS)
    assert {failed for _, failed in n_placed} == {(), (0,)}
    for scene in (SCENES[0], SCENES[2]):
        alone = make_collection(tmp_path, [scene], name=f"only_{scene.name}")
        expected = [row | {"collection": "collection"} for row in sample(alone, POINTS, **WINDOWS)]
        assert repr(_rows_of(rows, scene.name)) == repr(expected)  # NaN equals itself
    status = [row["status"] for row in _rows_of(rows, "b")]
    in_tile = [row < 16 and col < 16 for row in range(0, 48, 3) for col in range(0, 48, 5)]
    assert {s for s, mine in zip(status, in_tile, strict=True) if mine} == {"FETCH_ERROR"}
    assert {"OK", "FALLBACK"} <= {s for s, mine in zip(status, in_tile, strict=True) if not mine}


def test_a_window_inside_a_tile_needs_no_other_batch(tmp_path):
    scene = dataclasses.replace(SCENES[0], pixels=PIXELS[:, :16, :16])
    inside = grid_points(scene, [(5, 2), (8, 8), (13, 13)])
    (row, *_) = sample(make_collection(tmp_path, [scene]), inside, **WINDOWS)
    assert (row["status"], row["value"]) == ("FALLBACK", 402.0)
    assert row["neighbourhood_values"] == PIXELS[0, 3:8, 0:5].astype(float).reshape(-1).tolist()
    result = run(make_collection(tmp_path, [scene]), inside, **WINDOWS | {"unmatched": "omit"})
    assert result.samples.num_rows == 3
