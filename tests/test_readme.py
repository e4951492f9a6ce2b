"""The README's Python blocks run as they stand."""

import datetime as dt
import pathlib
import re
import shutil

import apache_beam as beam
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from apache_beam.transforms.window import TimestampedValue
from collecting import collect
from scenes import Scene, centre, make_collection, ramp, write_scene
from stac_server import serving_stac, stac_item

from rasteret_beam import Store

README = pathlib.Path(__file__).resolve().parents[1] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
SCENE = Scene(
    name="s2", pixels=ramp(64, 64, bands=2), bands=("B04", "B08"), epsg=4326,
    when=dt.datetime(2024, 5, 1), origin=(10.0, 50.0), scale=(0.01, -0.01),  # noqa: DTZ001
)  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    made = make_collection(tmp_path, [SCENE])
    table = pq.read_table(made)
    pathlib.Path("collection").mkdir()
    table = table.append_column("eo:cloud_cover", pa.array([3.0]))
    pq.write_table(table, "collection/part-0.parquet")
    lon, lat = centre(SCENE, 20, 30)
    pacsv.write_csv(pa.table({"lon": [lon, lon + 0.05], "lat": [lat, lat]}), "points.csv")
    return tmp_path


def test_there_are_five_examples():
    assert len(BLOCKS) == 5


@pytest.mark.parametrize("number", [0, 1])
def test_an_example_that_writes_files_writes_the_pixels(folder, number):
    scope = {}
    for block in BLOCKS[: number + 1]:
        shutil.rmtree(folder / "samples", ignore_errors=True)
        exec(compile(block, "README", "exec"), scope)  # noqa: S102 -- our own README
    samples = pq.read_table(folder / "samples")
    assert sorted(samples["value"].to_pylist()) == [2030.0, 2035.0, 12030.0, 12035.0]


@pytest.mark.usefixtures("folder")
def test_the_streaming_example_gives_rows_back_in_their_windows_each_at_its_time():
    scope = {}
    exec(compile(BLOCKS[0], "README", "exec"), scope)  # noqa: S102
    # What the last line gives has no name there.
    block = BLOCKS[2].replace("sampled.samples | ToRows()", "found = sampled.samples | ToRows()")
    assert block != BLOCKS[2]
    lon, lat = centre(SCENE, 20, 30)
    rows = [
        TimestampedValue({"lon": lon + step, "lat": lat, "plot": plot}, seconds)
        for seconds, step, plot in ((7, 0.0, "a"), (599, 0.05, "b"), (1300, 0.01, "c"))
    ]
    with beam.Pipeline("FnApiRunner") as pipeline:
        scope["rows"] = pipeline | beam.Create(rows)
        exec(compile(block, "README", "exec"), scope)  # noqa: S102
        told = collect(scope["found"] | beam.Map(_told))
    assert sorted(told) == [
        (0, 7, "a", "B04", 2030.0), (0, 7, "a", "B08", 12030.0),
        (0, 599, "b", "B04", 2035.0), (0, 599, "b", "B08", 12035.0),
        (1200, 1300, "c", "B04", 2031.0), (1200, 1300, "c", "B08", 12031.0),
    ]  # fmt: skip


def _told(row, window=beam.DoFn.WindowParam, timestamp=beam.DoFn.TimestampParam):
    """Start of the window, time, and what the row says."""
    return int(window.start), int(timestamp), row.plot, row.band, row.value


@pytest.mark.usefixtures("folder")
def test_the_notebook_example_filters_samples_and_exports():
    scope = {}
    exec(compile(BLOCKS[4], "README", "exec"), scope)  # noqa: S102
    assert scope["samples"]["value"].to_pylist() == [2130.0]
    assert repr(scope["clear"]).startswith("Collection('collection', bands=2, records=1, crs=4326")
    assert len(scope["Collection"].from_parquet("clear")) == 1


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
