"""Each tile is fetched once in each window: requests are counted at the server."""

import collections
import pathlib

import apache_beam as beam
import pyarrow.parquet as pq
import pytest
from apache_beam.testing.util import assert_that
from apache_beam.transforms.window import FixedWindows, TimestampedValue
from fakes import serving
from scenes import Scene, file_item, grid_points, index_table, ramp, write_scene

from rasteret_beam import BatchPoints, PointColumns, SampleOptions, SamplePoints, Store, ToRows

SCENE = Scene(name="a", pixels=ramp(200, 200, bands=2), tiff={"planarconfig": "contig"})
PIXELS = [(row, col) for row in range(0, 200, 7) for col in range(0, 200, 9)]
TILES = {(row // 16, col // 16) for row, col in PIXELS}
STORE = Store(allow_http=True)


@pytest.fixture
def server(tmp_path):
    data = pathlib.Path(write_scene(tmp_path, SCENE)).read_bytes()
    with serving({"a.tif": data}) as server:
        table = index_table([file_item("a", server.uri("a.tif"))], store=STORE)
        pq.write_table(table, tmp_path / "c.parquet")
        server.requests.clear()
        yield server


def _stored_tiles(tmp_path):
    """(offset, length) of every tile."""
    metadata = pq.read_table(tmp_path / "c.parquet")["B1_metadata"][0].as_py()
    return list(zip(metadata["tile_offsets"], metadata["tile_byte_counts"], strict=True))


def _fetches(server, tmp_path):
    """How many requests covered each tile."""
    asked = []
    for (_, wanted), times in server.requests.items():
        first, last = (int(number) for number in wanted.removeprefix("bytes=").split("-"))
        asked += [(first, last)] * times
    return collections.Counter(
        sum(first <= offset and offset + length - 1 <= last for first, last in asked)
        for offset, length in _stored_tiles(tmp_path)
    )


def _run(tmp_path, times, window, radius=0):
    """Samples the same pixels at several times; yields the number of rows."""
    columns = grid_points(SCENE, PIXELS)
    rows = [
        TimestampedValue({"x": x, "y": y}, time)
        for time in times
        for x, y in zip(columns["x"], columns["y"], strict=True)
    ]
    with beam.Pipeline("FnApiRunner") as pipeline:
        points = pipeline | beam.Create(rows)
        if window is not None:
            points = points | beam.WindowInto(window)
        batched, _ = points | BatchPoints(columns=PointColumns(crs="EPSG:32631"))
        sampled = batched | SamplePoints(
            collection=str(tmp_path / "c.parquet"),
            options=SampleOptions(bands=("B1", "B2"), max_distance_pixels=radius),
            store=STORE,
        )
        stamped = sampled.samples | ToRows() | beam.Map(_with_time)
        expected = sorted(
            (float(band * 10000 + row * 100 + col), float(time))
            for time in times for row, col in PIXELS for band in (0, 1)
        )  # fmt: skip
        assert_that(stamped, _equals(expected))


def _with_time(row, timestamp=beam.DoFn.TimestampParam, window=beam.DoFn.WindowParam):
    time = float(timestamp)
    assert window.start <= timestamp < window.end or window.end > 1e9
    return row.value, time


def _equals(expected):
    def check(found):
        assert sorted(found) == expected

    return check


def test_two_windows_fetch_each_tile_twice(server, tmp_path):
    _run(tmp_path, times=(0, 5, 100), window=FixedWindows(50))
    assert _fetches(server, tmp_path) == {2: len(TILES)}


def test_the_global_window_fetches_each_tile_once_for_all_bands(server, tmp_path):
    _run(tmp_path, times=(0, 5, 100), window=None)
    assert _fetches(server, tmp_path) == {1: len(TILES)}


def test_windows_of_neighbours_fetch_no_tile_twice(server, tmp_path):
    _run(tmp_path, times=(0,), window=FixedWindows(50), radius=3)
    assert _fetches(server, tmp_path) == {1: len(TILES)}


def test_neighbouring_tiles_share_requests(server, tmp_path):
    _run(tmp_path, times=(0,), window=None)
    assert len(server.ranges("a.tif")) < len(TILES) / 4
