"""``sample_points.py --replay``: only what failed is asked for again, and nothing is lost."""

import collections
import json

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fakes import serving
from scenes import Scene, file_item, grid_points, index_table, write_scene

from rasteret_beam import Store

SCENES = [
    Scene(name=name, pixels=np.full((2, 64, 64), value, np.uint16), bands=("B1", "B2"),
          nodata="0", tiff={"planarconfig": "contig"})
    for name, value in (("a", 1), ("b", 2), ("c", 3))
]  # fmt: skip
BANDS = {"B1": 0, "B2": 1}
BROKEN_TILE = 5
AROUND = {0, 1, 2, 4, 5, 6, 8, 9, 10}
WORKERS = ("--direct_running_mode", "multi_processing", "--direct_num_workers", "2")

UNION = """
select * from read_parquet('{replay}/*.parquet')
union all by name
select * from read_parquet('{first}/*.parquet') first
where status not in ('FETCH_ERROR', 'DECODE_ERROR', 'STALE_INDEX', 'UNSUPPORTED', 'BAND_MISSING')
and not exists (
    select 1 from read_parquet('{replay}/*.parquet') again
    where again.point_index = first.point_index
    and (again.record_id is null or first.record_id is null
         or (again.record_id = first.record_id and again.band = first.band)))
"""
"""As the README has it."""


class Place:
    """A server with scenes, their collection, points, and the spans of each scene's tiles."""

    def __init__(self, folder, server, sample):
        self.folder, self.server, self._sample = folder, server, sample
        self.data = {}
        for scene in SCENES:
            path = write_scene(folder, scene)
            with open(path, "rb") as file:  # noqa: PTH123
                self.data[f"{scene.name}.tif"] = file.read()
        server.files.update(self.data)
        items = [file_item(s.name, server.uri(f"{s.name}.tif"), BANDS) for s in SCENES]
        table = index_table(items, store=Store(allow_http=True))
        pq.write_table(table, folder / "collection.parquet")
        tables = table["B1_metadata"][0].as_py()
        self.spans = [
            (offset, offset + count - 1)
            for offset, count in zip(
                tables["tile_offsets"], tables["tile_byte_counts"], strict=True,
            )
        ]
        self.mend_points(mended=False)

    def mend_points(self, *, mended=True):
        pixels = [(row, col) for row in range(0, 64, 3) for col in range(1, 64, 3)]
        xy = grid_points(SCENES[0], pixels)
        x, y = ([*map(str, xy[axis]), "0", "1"] for axis in ("x", "y"))
        if not mended:
            x[7], y[7] = "here", "there"
            x[-1] = "nan"
        pq.write_table(pa.table({"x": x, "y": y}), self.folder / "points.parquet")

    def spoil(self):
        """Breaks a tile of a, and takes all of c away."""
        data = bytearray(self.data["a.tif"])
        first, last = self.spans[BROKEN_TILE]
        data[first : last + 1] = bytes(last + 1 - first)
        self.server.files["a.tif"] = bytes(data)
        del self.server.files["c.tif"]

    def mend(self):
        self.server.files.update(self.data)
        self.server.requests.clear()

    def run(self, name, *flags):
        return self._sample(
            "--collection", self.folder / "collection.parquet", "--bands", "B1,B2",
            "--points", self.folder / "points.parquet", "--points_crs", "EPSG:32631",
            "--allow_http", "--output", self.folder / name,
            "--dead_letters", self.folder / f"{name}-letters", "--error_threshold", 0,
            *flags,
        )  # fmt: skip

    def rows(self, *names):
        return collections.Counter(
            str(row) for name in names for row in pq.read_table(self.folder / name).to_pylist()
        )

    def tiles_asked(self, name):
        """Numbers of the tiles of a file that requests since the mending touch."""
        return {
            number
            for first, last in self.server.ranges(f"{name}.tif")
            for number, (start, end) in enumerate(self.spans) if start <= last and first <= end
        }  # fmt: skip


@pytest.fixture
def place(tmp_path, sample):
    with serving({}) as server:
        yield Place(tmp_path, server, sample)


@pytest.mark.parametrize("join", ["broadcast", "partitioned"])
@pytest.mark.parametrize("radius", [0, 2])
def test_the_replay_asks_for_failed_tiles_only_and_completes_the_rows(
    place, capsys, join, radius,
):
    flags = ("--join", join, "--max_distance_pixels", radius)
    place.spoil()
    assert place.run("first", *flags) == 1
    place.mend()
    assert place.run("replay", *flags, "--replay", place.folder / "first-letters") == 1
    # Of what is on the map nothing failed again; the points that are none still are.
    told = capsys.readouterr().err
    assert f"Tiles     {(9 if radius else 1) + 16} planned" in told
    assert "2 of 463 points failed" in told
    # With windows those around it too, and small gaps between them are read along.
    assert place.tiles_asked("a") >= (AROUND if radius else {BROKEN_TILE})
    assert radius or place.tiles_asked("a") == {BROKEN_TILE}
    assert place.tiles_asked("b") == set()
    assert place.tiles_asked("c") == set(range(16))
    names = {name: place.folder / name for name in ("first", "replay")}
    together = duckdb.sql(UNION.format(**names)).to_arrow_table().to_pylist()
    assert place.run("clean", *flags) == 1
    assert collections.Counter(map(str, together)) == place.rows("clean")


def test_with_omit_the_rows_of_both_runs_are_all_and_none_twice(place):
    place.spoil()
    assert place.run("first", "--unmatched", "omit") == 1
    place.mend()
    place.mend_points()
    replay = ("--replay", place.folder / "first-letters")
    assert place.run("replay", "--unmatched", "omit", *replay) == 0
    assert place.run("clean", "--unmatched", "omit") == 0
    assert place.rows("first", "replay") == place.rows("clean")


def test_a_replay_that_fails_again_leaves_letters_to_go_on_with(place):
    place.spoil()
    assert place.run("first") == 1
    place.mend()
    del place.server.files["c.tif"]
    assert place.run("second", "--replay", place.folder / "first-letters") == 1
    place.mend()
    place.mend_points()
    assert place.run("third", "--replay", place.folder / "second-letters") == 0
    names = {"first": place.folder / "first", "replay": place.folder / "second"}
    rows = duckdb.sql(UNION.format(**names)).to_arrow_table()
    (place.folder / "both").mkdir()
    pq.write_table(rows, place.folder / "both" / "rows.parquet")
    names = {"first": place.folder / "both", "replay": place.folder / "third"}
    rows = duckdb.sql(UNION.format(**names)).to_arrow_table().to_pylist()
    assert place.run("clean") == 0
    assert collections.Counter(map(str, rows)) == place.rows("clean")


def test_a_replay_on_worker_processes_gives_the_same_rows(place):
    place.spoil()
    assert place.run("first") == 1
    place.mend()
    replay = ("--replay", place.folder / "first-letters")
    assert place.run("here", *replay) == 1
    for join in ("broadcast", "partitioned"):
        assert place.run("apart", *replay, "--join", join, *WORKERS) == 1
        assert place.rows("apart") == place.rows("here")


def _index_letters(folder):
    letter = {"element": "{}", "msg": "", "stack": "", "stage": "IndexItems", "code": "X"}
    (folder / "dead-letters.jsonl").write_text(json.dumps(letter) + "\n", encoding="utf-8")


@pytest.mark.parametrize(("fill", "told"), [
    (None, "no such folder"),
    (lambda folder: None, "nothing to replay"),  # noqa: ARG005 -- an empty folder
    (lambda folder: (folder / "x.jsonl").touch(), "nothing to replay"),
    (_index_letters, "build_collection with --mode update"),
])  # fmt: skip
def test_what_cannot_be_replayed_is_refused_in_one_line(place, capsys, fill, told):
    folder = place.folder / "letters"
    if fill is not None:
        folder.mkdir()
        fill(folder)
    assert place.run("out", "--replay", folder) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert told in last


def test_flags_that_would_destroy_letters_or_rows_are_refused(place, capsys):
    assert place.run("out", "--replay", place.folder / "out-letters") == 2
    assert "would write into what --replay" in capsys.readouterr().err
    assert place.run("out", "--replay", place.folder / "x", "--layout", "wide") == 2
    assert "--layout long" in capsys.readouterr().err
