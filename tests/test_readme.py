"""The README's commands and Python blocks run as they stand, one after the other."""

import importlib
import pathlib
import re
import shlex
import shutil
import sys

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from apache_beam.transforms.window import TimestampedValue
from collecting import collect
from scenes import Scene, grid_points, ramp, write_scene
from stac_server import serving_stac, stac_item

from rasteret_beam import Store
from rasteret_beam.grid import crs

README = pathlib.Path(__file__).resolve().parents[1] / "README.md"
TEXT = README.read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
(TWO_COMMANDS,) = re.findall(r"## Two commands\n\n```console\n(.*?)```", TEXT, re.DOTALL)
COMMANDS = re.findall(r"\$ python pipelines/((?:.*\\\n)*.*)", TWO_COMMANDS)
POINTS = [(20, 30), (20, 35)]
NEWEST = [42031.0, 42036.0, 52031.0, 52036.0]
"""What both bands of the newest scene hold at the points."""


def _demo_scenes(demo):
    """Scenes of the demo's places and times, small, and of 20 000 more at each date."""
    return [
        Scene(
            name=f"S2_{zone}_{date}", epsg=epsg, origin=(x, y), scale=(20.0, -20.0), nodata="0",
            pixels=ramp(64, 64, bands=2) + np.uint16(20_000 * number + 1),
        )
        for zone, (epsg, x, y) in demo.ZONES.items() for number, date in enumerate(demo.DATES)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def typed(tmp_path_factory):
    """The folder of a reader who ran the demo and typed the two commands."""
    place = tmp_path_factory.mktemp("typed")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr(sys, "path", [str(README.parent / "pipelines"), *sys.path])
        scenes = _demo_scenes(importlib.import_module("demo"))
        pathlib.Path("demo-output/scenes").mkdir(parents=True)
        for scene in scenes:
            write_scene("demo-output/scenes", scene)
        found = grid_points(scenes[0], POINTS)
        x, y = crs.transform(f"EPSG:{scenes[0].epsg}", crs.LONLAT, *map(np.array, found.values()))
        points = pa.table({"lon": x, "lat": y, "plot": ["a", "b"]})
        pq.write_table(points, "demo-output/points.parquet")
        assert len(COMMANDS) == 2
        for command in COMMANDS:
            script, *flags = shlex.split(command.replace("\\\n", " "))
            assert importlib.import_module(script.removesuffix(".py")).run(flags) == 0
    return place


@pytest.fixture
def folder(typed, tmp_path, monkeypatch):
    shutil.copytree(typed, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_two_commands_give_the_newest_pixels(folder):
    samples = pq.read_table(folder / "samples")
    assert sorted(samples["value"].to_pylist()) == NEWEST


def test_there_are_five_examples():
    assert len(BLOCKS) == 5


@pytest.mark.parametrize("number", [0, 1])
def test_an_example_that_writes_files_writes_the_pixels(folder, number):
    scope = {}
    for block in BLOCKS[: number + 1]:
        exec(compile(block, "README", "exec"), scope)  # noqa: S102 -- our own README
    samples = pq.read_table(folder / "samples")
    assert sorted(samples["value"].to_pylist()) == NEWEST


@pytest.mark.usefixtures("folder")
def test_the_streaming_example_gives_rows_back_in_their_windows_each_at_its_time():
    scope = {}
    exec(compile(BLOCKS[0], "README", "exec"), scope)  # noqa: S102
    # What the last line gives has no name there.
    block = BLOCKS[2].replace("sampled.samples | ToRows()", "found = sampled.samples | ToRows()")
    assert block != BLOCKS[2]
    places = pq.read_table("demo-output/points.parquet").to_pylist()
    rows = [
        TimestampedValue(places[at] | {"plot": plot}, seconds)
        for seconds, at, plot in ((7, 0, "a"), (599, 1, "b"), (1300, 0, "c"))
    ]
    with beam.Pipeline("FnApiRunner") as pipeline:
        scope["rows"] = pipeline | beam.Create(rows)
        exec(compile(block, "README", "exec"), scope)  # noqa: S102
        told = collect(scope["found"] | beam.Map(_told))
    assert sorted(told) == [
        (0, 7, "a", "B04", 42031.0), (0, 7, "a", "B08", 52031.0),
        (0, 599, "b", "B04", 42036.0), (0, 599, "b", "B08", 52036.0),
        (1200, 1300, "c", "B04", 42031.0), (1200, 1300, "c", "B08", 52031.0),
    ]  # fmt: skip


def _told(row, window=beam.DoFn.WindowParam, timestamp=beam.DoFn.TimestampParam):
    """Start of the window, time, and what the row says."""
    return int(window.start), int(timestamp), row.plot, row.band, row.value


@pytest.mark.usefixtures("folder")
def test_the_notebook_example_filters_samples_and_exports():
    scope = {}
    exec(compile(BLOCKS[4], "README", "exec"), scope)  # noqa: S102
    told = "Collection('collection', bands=2, records=2, crs=[32632, 32633], "
    assert repr(scope["june"]).startswith(told)
    assert told in BLOCKS[4]
    (row,) = scope["samples"].to_pylist()
    assert (row["record_id"], row["value"] // 20_000) == ("S2_32TPT_20240611", 1)
    assert len(scope["Collection"].from_parquet("west")) == 1


def test_the_search_example_builds_a_collection(folder):
    href = pathlib.Path(write_scene(folder, Scene(name="red", pixels=ramp(48, 48)))).as_uri()
    item = stac_item(
        "item1", {"red": href},
        when="2024-05-01T10:00:00Z", bbox=(10.0, 49.0, 11.0, 50.0), collection="sentinel-2-l2a",
        properties={"eo:cloud_cover": 3.0},
    )  # fmt: skip
    with serving_stac([item]) as server:
        block = BLOCKS[3].replace("https://earth-search.aws.element84.com/v1", server.url)
        # The search of this test finds a file of this machine.
        store = 'Store(allow_http=True, allow_schemes=("http", "file"))'
        block = block.replace('mode="update"', f'mode="update", store={store}')
        exec(compile(block, "README", "exec"), {"Store": Store})  # noqa: S102
    table = ds.dataset("s2", partitioning="hive").to_table()
    assert table["id"].to_pylist() == ["item1"]
