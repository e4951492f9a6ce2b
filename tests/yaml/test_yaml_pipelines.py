"""Pipelines in Beam YAML: a collection is built, and sampled at points, without any Python."""

import dataclasses
import importlib
import json
import pathlib

import apache_beam as beam
import pyarrow as pa
import pyarrow.csv as pacsv
import pytest
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.window import FixedWindows, TimestampedValue
from apache_beam.typehints.row_type import RowTypeConstraint
from apache_beam.utils.timestamp import Timestamp
from scenes import Scene, grid_points, make_collection, ramp, write_scene

from rasteret_beam import OptionError
from rasteret_beam.errors import PointsError
from rasteret_beam.yaml import PROVIDERS, BuildCollection, SamplePoints

SCENE = Scene(name="s2_20240512", pixels=ramp(48, 48, bands=2), nodata="0")
VALUES = [102.0, 2030.0, 4747.0]

BUILD = """
pipeline:
  type: composite
  transforms:
    - type: BuildCollection
      name: Build
      config:
        inputs: {place}/scenes/*.tif
        output: {place}/collection
        bands: {{B1: 0, B2: 1}}
        datetime_pattern: '[0-9]{{8}}'
        error_handling: {{output: errors}}
    - {{type: WriteToJson, name: Files, input: Build, config: {{path: {place}/files}}}}
    - {{type: WriteToJson, name: Errors, input: Build.errors, config: {{path: {place}/errors}}}}
providers:
  - include: {providers}
"""

SHIPPED = pathlib.Path(__file__).resolve().parents[2] / "pipelines" / "sample_points.yaml"


@pytest.fixture
def yaml():
    """Runs a pipeline of YAML text in this process."""
    try:
        transform = importlib.import_module("apache_beam.yaml.yaml_transform")
        # Its files go by way of pandas, of a version that the extra names.
        importlib.import_module("apache_beam.dataframe.convert")
    except (ImportError, AttributeError) as error:
        pytest.skip(f"needs what the extra 'yaml' installs: {error}")

    def run(text):
        with beam.Pipeline("FnApiRunner") as pipeline:
            transform.expand_pipeline(pipeline, text)

    return run


@pytest.fixture
def place(tmp_path):
    (tmp_path / "scenes").mkdir()
    points = pa.table(grid_points(SCENE, [(1, 2), (20, 30), (47, 47)]) | {"plot": ["a", "b", "c"]})
    pacsv.write_csv(points, tmp_path / "points.csv")
    return tmp_path


def _rows(place, name):
    lines = [line for path in place.glob(f"{name}*") for line in path.read_text().splitlines()]
    return [json.loads(line) for line in lines]


def test_a_collection_is_built_and_what_is_no_cog_is_apart(place, yaml):
    write_scene(place / "scenes", SCENE)
    (place / "scenes" / "broken.tif").write_bytes(b"no tiff")
    yaml(BUILD.format(place=place, providers=PROVIDERS))
    (file,) = _rows(place, "files")
    assert file["path"].startswith(f"{place}/collection")
    (error,) = _rows(place, "errors")
    assert "broken.tif" in error["element"]
    assert set(error) == {"element", "msg", "stack"}


@pytest.mark.usefixtures("yaml")
def test_the_pipeline_that_is_shipped_gives_rows_with_the_fields_of_their_points(place):
    make_collection(place, [SCENE, dataclasses.replace(SCENE, name="gone")])
    (place / "gone.tif").unlink()
    names = {
        "points": f"{place}/points.csv", "collection": f"{place}/collection.parquet",
        "bands": "B1, B2", "points_crs": "EPSG:32631", "output": f"{place}/out",
    }  # fmt: skip
    main = importlib.import_module("apache_beam.yaml.main")
    main.run([
        f"--yaml_pipeline_file={SHIPPED}", f"--jinja_variables={json.dumps(names)}",
        "--runner=FnApiRunner",
    ])  # fmt: skip
    rows = _rows(place / "out", "samples")
    found = [r for r in rows if r["record_id"] == "s2_20240512" and r["band"] == "B1"]
    assert sorted((row["plot"], row["value"], row["status"]) for row in found) == [
        (plot, value, "OK") for plot, value in zip("abc", VALUES, strict=True)
    ]
    failed = [row for row in rows if row["record_id"] == "gone"]
    assert {(row["value"], row["status"]) for row in failed} == {(None, "FETCH_ERROR")}
    letters = _rows(place / "out", "dead-letters")
    assert len(letters) > 0
    assert all("gone.tif" in letter["msg"] + letter["element"] for letter in letters)


@pytest.mark.usefixtures("yaml")
def test_the_configuration_is_told_to_whoever_asks():
    provider = importlib.import_module("apache_beam.yaml.yaml_provider")
    (found,) = provider.load_providers(PROVIDERS)
    assert set(found.provided_transforms()) == {"SamplePoints", "BuildCollection"}
    for name in found.provided_transforms():
        fields = found.config_schema(name).fields
        assert [field.name for field in fields if not field.description] == []
        # What Beam has no schema for it takes for anything.
        unknown = [f.name for f in fields if f.type.WhichOneof("type_info") == "logical_type"]
        assert unknown == []


def test_rows_keep_their_types_and_timestamps_on_the_way(place):
    collection = make_collection(place, [SCENE])
    x, y = (grid_points(SCENE, [(1, 2)])[axis][0] for axis in "xy")
    seen = Timestamp(micros=1_700_000_000_123_456)
    fields = [("x", float), ("y", float), ("seen", Timestamp), ("n", int)]
    kind = RowTypeConstraint.from_fields(fields)
    with beam.Pipeline("FnApiRunner") as pipeline:
        rows = pipeline | beam.Create([beam.Row(x=x, y=y, seen=seen, n=7)]).with_output_types(kind)
        samples = rows | SamplePoints(
            collection=collection, bands=["B1"], points_crs="EPSG:32631", index_field="n",
        )
        assert_that(
            samples | beam.Map(lambda row: (row.point_index, row.value, row.seen)),
            equal_to([(7, 102.0, seen)]),
        )
    names = [name for name, _ in samples.element_type._fields]
    assert names[-3:] == ["x", "y", "seen"]


def test_windows_of_points_are_kept_and_errors_are_in_them(place):
    collection = make_collection(place, [SCENE])
    (place / f"{SCENE.name}.tif").unlink()
    points = grid_points(SCENE, [(1, 2), (20, 30)])
    rows = [beam.Row(x=x, y=y) for x, y in zip(points["x"], points["y"], strict=True)]
    with beam.Pipeline("FnApiRunner") as pipeline:
        windowed = (
            pipeline
            | beam.Create([TimestampedValue(row, 90 * at) for at, row in enumerate(rows)])
            | beam.Map(lambda row: row).with_output_types(
                RowTypeConstraint.from_fields([("x", float), ("y", float)]),
            )
            | beam.WindowInto(FixedWindows(60))
        )
        found = windowed | SamplePoints(
            collection=collection, bands=["B1", "B2"], points_crs="EPSG:32631",
            error_handling={"output": "errors"},
        )  # fmt: skip
        starts = found["good"] | beam.Map(_start)
        failed = found["errors"] | "Failed" >> beam.Map(_start)
        assert_that(starts, equal_to([0, 0, 60, 60]))
        assert_that(failed, equal_to([0, 0, 60, 60]), label="errors")


def _start(_, window=beam.DoFn.WindowParam):
    return int(window.start)


def test_an_error_fails_a_pipeline_that_would_leave_it_out(place):
    collection = make_collection(place, [SCENE])
    (place / f"{SCENE.name}.tif").unlink()
    x, y = (grid_points(SCENE, [(1, 2)])[axis][0] for axis in "xy")
    pipeline = beam.Pipeline("FnApiRunner")
    _ = pipeline | beam.Create([beam.Row(x=x, y=y)]) | SamplePoints(
        collection=collection, bands=["B1"], points_crs="EPSG:32631", unmatched="omit",
    )
    with pytest.raises(RuntimeError, match=r"FetchTiles.*s2_20240512"):
        pipeline.run()


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"output": "o"}, "One source"),
        ({"output": "o", "inputs": "a", "stac": "b"}, "One source"),
        ({"output": "o", "inputs": "a", "where": "b"}, "where does nothing with inputs"),
        ({"output": "o", "inputs": "a", "bbox": [1, 2, 3, 4]}, "bbox"),
        ({"output": "o", "stac": "a", "date_range": "2024"}, "START/END"),
        ({"output": "o", "stac": "a", "error_handling": {"threshold": 1}}, "output: errors"),
        ({"output": "o", "stac": "a", "error_handling": {"output": "good"}}, "name another"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(how, told):
    with pytest.raises(OptionError, match=told):
        BuildCollection(**how)


def test_points_without_a_schema_are_refused():
    pipeline = beam.Pipeline("FnApiRunner")
    points = pipeline | beam.Create([{"x": 1.0, "y": 2.0}])
    with pytest.raises(PointsError, match="rows with a schema"):
        _ = points | SamplePoints(collection="c", bands=["B1"], points_crs="EPSG:4326")


def test_a_field_that_samples_have_too_is_refused_by_its_name():
    kind = RowTypeConstraint.from_fields([("x", float), ("y", float), ("value", int)])
    pipeline = beam.Pipeline("FnApiRunner")
    points = pipeline | beam.Create([beam.Row(x=1.0, y=2.0, value=3)]).with_output_types(kind)
    sampling = SamplePoints(collection="c", bands=["B1"], points_crs="EPSG:4326")
    with pytest.raises(PointsError, match=r"collide with Rasteret output columns: \['value'\]"):
        _ = points | sampling


def test_a_lone_text_is_no_list_of_bands():
    with pytest.raises(OptionError, match="the one text 'B04'"):
        SamplePoints(collection="c", bands="B04", points_crs="EPSG:4326")
