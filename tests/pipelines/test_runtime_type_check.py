"""Beam's --runtime_type_check: what flows is of the types that our transforms declare."""

import json

import apache_beam as beam
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from collecting import collect
from dataflow import script
from scenes import Scene, centre, grid_points, ramp, write_scene
from streams import played

from rasteret_beam import (
    BatchPoints,
    ExportCollection,
    PointColumns,
    SampleOptions,
    SamplePoints,
    ToRows,
    WriteDeadLetters,
)
from rasteret_beam.runners import launch

CHECKED = "--runtime_type_check"
SCENE = Scene(name="s2_20240512", pixels=ramp(96, 96, bands=2), nodata="0")
MODULE = script("sample_points_streaming")


@pytest.fixture
def place(tmp_path, build):
    """A collection, and points of which one is nowhere."""
    (tmp_path / "scenes").mkdir()
    write_scene(tmp_path / "scenes", SCENE)
    columns = grid_points(SCENE, [(0, 0), (1, 2), (20, 30), (47, 47), (95, 95)])
    columns["x"] += [0.0, None]
    columns["y"] += [0.0, None]
    columns["plot"] = [str(number) for number in range(7)]
    pq.write_table(pa.table(columns), tmp_path / "points.parquet")
    assert build("--inputs", tmp_path / "scenes/*.tif", "--output", tmp_path / "collection") == 0
    return tmp_path


@pytest.mark.parametrize("join", ["broadcast", "partitioned"])
@pytest.mark.parametrize("more", [
    (), ("--max_distance_pixels", 2, "--return_neighbourhood", "always"),
    ("--plan_only",), ("--mode", "resume", "--max_tiles", 99),
], ids=["nearest", "windows", "plan", "resume"])  # fmt: skip
def test_points_are_sampled(place, sample, join, more):
    assert sample(
        "--collection", place / "collection", "--points", place / "points.parquet",
        "--bands", "B1,B2", "--points_crs", "EPSG:32631", "--output", place / "samples",
        "--dead_letters", place / "dead", "--error_threshold", 1, "--join", join, CHECKED, *more,
    ) == 0  # fmt: skip
    if "--plan_only" not in more:
        assert set(pq.read_table(place / "samples")["plot"].to_pylist()) == set("0123456")


def test_dead_letters_are_run_again(place, sample):
    flags = [
        "--collection", place / "collection", "--points", place / "points.parquet",
        "--bands", "B1,B2", "--points_crs", "EPSG:32631", "--error_threshold", 1, CHECKED,
    ]  # fmt: skip
    scene = place / "scenes" / f"{SCENE.name}.tif"
    scene.rename(place / "away")
    assert sample(*flags, "--output", place / "first", "--dead_letters", place / "dead") == 0
    (place / "away").rename(scene)
    for join in ("broadcast", "partitioned"):
        again = ("--replay", place / "dead", "--output", place / join, "--join", join)
        assert sample(*flags, *again) == 0
        assert "OK" in pq.read_table(place / join)["status"].to_pylist()


@pytest.mark.parametrize("mode", ["replace", "update", "append"])
def test_a_collection_is_built(place, build, mode):
    (place / "scenes" / "no.tif").write_bytes(b"no TIFF")
    write_scene(place / "scenes", Scene(name="s2_20240601", pixels=ramp(96, 96, bands=2)))
    assert build(
        "--inputs", place / "scenes/*.tif", "--output", place / "collection", "--mode", mode,
        "--error_threshold", 1, "--dead_letters", place / "dead", CHECKED,
    ) == 0  # fmt: skip
    assert ds.dataset(place / "collection", exclude_invalid_files=True).count_rows() == 2


def test_a_collection_is_exported(place):
    with beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner", CHECKED])) as pipeline:
        made = pipeline | ExportCollection(
            collection=str(place / "collection"), folder=str(place / "copy"),
        )
        _ = made.dead_letters | WriteDeadLetters(folder=str(place / "dead"))
    assert ds.dataset(place / "copy", exclude_invalid_files=True).count_rows() == 1


def test_rows_of_points_become_rows_of_samples(place):
    with beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner", CHECKED])) as pipeline:
        points = pipeline | beam.Create(pq.read_table(place / "points.parquet").to_pylist())
        batched = points | BatchPoints(columns=PointColumns(crs="EPSG:32631"))
        sampled = batched.points | SamplePoints(
            collection=str(place / "collection"), options=SampleOptions(bands=("B1",)),
        )
        rows = collect(sampled.samples | ToRows())
        letters = collect(batched.dead_letters)
    assert sorted(row.value for row in rows) == [0.0, 102.0, 2030.0, 4747.0, 9595.0]
    assert len(letters) == 1


@pytest.mark.parametrize("join", ["broadcast", "partitioned"])
def test_messages_are_sampled(place, join):
    words = {
        "collection": place / "collection", "bands": "B1", "points_crs": "EPSG:32631",
        "output": place / "out", "dead_letters": place / "dead", "join": join,
        "window_seconds": 60, "refresh_seconds": 0,
    }  # fmt: skip
    flags = [f"--{name}={value}" for name, value in words.items()]
    options = launch.parse(
        [*flags, "--runner=DirectRunner", CHECKED], MODULE.SamplePointsStreamingOptions,
    )
    x, y = centre(SCENE, 3, 4)
    messages = (1, json.dumps({"x": x, "y": y}).encode()), (2, b"boo")
    with beam.Pipeline(options=options) as pipeline:
        MODULE.sample_messages(
            pipeline | played(*messages), options.view_as(MODULE.SamplePointsStreamingOptions),
        )
    assert pq.read_table(place / "out")["value"].to_pylist() == [304.0]
    assert len(list((place / "dead").glob("*.jsonl"))) == 1
