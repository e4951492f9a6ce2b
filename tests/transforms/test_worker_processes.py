"""Every public transform once with real worker processes: all that flows crosses a coder."""

import datetime as dt

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from scenes import Scene, grid_points, ramp, write_scene

from rasteret_beam import (
    BatchPoints,
    BuildCollection,
    CollectionQuery,
    FallbackRing,
    FetchTiles,
    FileSource,
    PlanTiles,
    PointColumns,
    ReadCollection,
    ReadPoints,
    SampleNearest,
    SampleOptions,
    SamplePoints,
    ToRows,
    WriteDeadLetters,
    WriteSamples,
)

WORKERS = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
OPTIONS = SampleOptions(
    bands=("B1", "B2"), max_distance_pixels=3, return_neighbourhood="always", unmatched="emit",
)
COLUMNS = PointColumns(crs="EPSG:32631")


def _pixels():
    pixels = ramp(300, 300, bands=2)
    pixels[:, np.arange(300) % 7 == 0] = 0
    return pixels


def _pipeline(flags):
    return beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner", *flags]))


def _all_transforms(folder, scenes, points, flags):
    with _pipeline(flags) as pipeline:
        built = (
            pipeline
            | BuildCollection(
                source=FileSource(inputs=(*scenes, str(folder / "gone.tif"))),
                folder=str(folder / "collection"),
            )
        )
        _ = built.dead_letters | WriteDeadLetters(folder=str(folder / "letters"))
    with _pipeline(flags) as pipeline:
        collection = str(folder / "collection")
        read, _ = pipeline | ReadPoints(pattern=str(points), columns=COLUMNS)
        records, _ = pipeline | ReadCollection(query=CollectionQuery(collection, OPTIONS.bands))
        planned = read | PlanTiles(records=records, options=OPTIONS)
        fetched = planned | FetchTiles()
        nearest = fetched.tiles | SampleNearest(options=OPTIONS)
        sampled = nearest | FallbackRing(options=OPTIONS)
        _ = sampled | WriteSamples(folder=str(folder / "by_hand"))
        rows = pipeline | beam.Create(pq.read_table(points).to_pylist())
        batched, _ = rows | BatchPoints(columns=COLUMNS, index_field="number")
        composed = batched | SamplePoints(collection=collection, options=OPTIONS)
        _ = composed.samples | "Composed" >> WriteSamples(folder=str(folder / "composed"))
        _ = (
            composed.samples
            | ToRows()
            | beam.Map(lambda row: f"{row.point_index} {row.band} {row.value}")
            | beam.io.WriteToText(str(folder / "rows"))
        )


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The same job in worker processes and in this process."""
    folder = tmp_path_factory.mktemp("workers")
    scene = Scene(
        name="s", pixels=_pixels(), nodata="0", when=dt.datetime(2024, 5, 1),  # noqa: DTZ001
    )  # fmt: skip
    path = write_scene(folder, scene)
    columns = grid_points(scene, [(r, c) for r in range(0, 300, 11) for c in range(0, 300, 5)])
    columns["x"].append(0.0)
    columns["y"].append(0.0)
    columns["number"] = list(range(len(columns["x"])))
    points = folder / "points.parquet"
    pq.write_table(pa.table(columns), points)
    for name, flags in (("apart", WORKERS), ("here", [])):
        (folder / name).mkdir()
        _all_transforms(folder / name, [path], points, flags)
    return folder


def _rows(folder):
    return sorted(str(row) for row in pq.read_table(folder).to_pylist())


def test_the_transforms_by_hand_give_the_same_rows(runs):
    apart, here = _rows(runs / "apart" / "by_hand"), _rows(runs / "here" / "by_hand")
    assert apart == here
    assert sum("FALLBACK" in row for row in here) > 100


def test_the_composite_gives_the_rows_of_its_parts(runs):
    by_hand = pq.read_table(runs / "apart" / "by_hand").drop(["number"])
    composed = pq.read_table(runs / "apart" / "composed")
    assert sorted(map(str, by_hand.to_pylist())) == sorted(map(str, composed.to_pylist()))


def test_rows_that_are_taken_apart_are_those_that_are_written(runs):
    lines = [line for p in (runs / "apart").glob("rows*") for line in p.read_text().splitlines()]
    table = pq.read_table(runs / "apart" / "composed")
    told = [f"{r['point_index']} {r['band']} {r['value']}" for r in table.to_pylist()]
    assert sorted(lines) == sorted(told)


def test_dead_letters_come_back_from_workers(runs):
    (path,) = (runs / "apart" / "letters").iterdir()
    assert "gone.tif" in path.read_text()
