"""The job that Dataflow would get: its steps, its size, its keys."""

import functools
import json
import pathlib
import tempfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.coders import coders
from apache_beam.runners.pipeline_context import PipelineContext
from dataflow import compiled
from scenes import Scene, grid_points, make_collection, ramp

from templates.make import templates

GROUP_BY_KEY = "beam:transform:group_by_key:v1"
GUESSING = (
    coders.FastPrimitivesCoder,
    coders.DeterministicFastPrimitivesCoder,
    coders.DeterministicFastPrimitivesCoderV2,
)
PLAIN_KEYS = ("/CombinePerKey/GroupByKey", "/Distinct/Group/GroupByKey")
"""Steps whose keys need no type: None, of what is combined globally; bytes, of Distinct."""

STEPS = pathlib.Path(__file__).with_name("step_names.json")
SCENE = Scene(name="s2_20240512", pixels=ramp(48, 48, bands=2), nodata="0")
TEMPLATES = {template.name: template for template in templates()}


@pytest.fixture
def folder(tmp_path):
    return _filled(tmp_path)


@pytest.fixture(scope="module")
def job_of(tmp_path_factory):
    """Compiles each job once, for all tests that only look at it."""
    folder = _filled(tmp_path_factory.mktemp("jobs"))
    return functools.cache(lambda job: _compiled(folder, job))


def _filled(folder):
    make_collection(folder, [SCENE])
    _write_points(folder, 2)
    return folder


def _write_points(folder, n_points):
    columns = grid_points(SCENE, [(1, 2), (20, 30)])
    repeats = n_points // 2
    table = pa.table({name: values * repeats for name, values in columns.items()})
    pq.write_table(table, folder / "points.parquet")


def _write_records(folder, n_records):
    path = folder / "collection.parquet"
    one = pq.read_table(path).slice(0, 1)
    table = pa.concat_tables([one] * n_records)
    ids = pa.array([f"record-{place}" for place in range(n_records)])
    at = table.column_names.index("id")
    pq.write_table(table.set_column(at, table.schema.field("id"), ids), path, row_group_size=100)


def _jobs(folder):
    """Each graph that a pipeline can have: its script, and its flags."""
    samples = {
        "collection": folder / "collection.parquet", "points": folder / "points.parquet",
        "bands": "B1:B2", "points_crs": "EPSG:32631", "output": "gs://my-bucket/samples",
        "dead_letters": "gs://my-bucket/dead-letters",
    }  # fmt: skip
    letters = folder / "letters"
    streamed = {
        "collection": folder / "collection.parquet", "bands": "B1:B2", "points_crs": "EPSG:32631",
        "input_subscription": "projects/my-project/subscriptions/points",
        "dead_letters": "gs://my-bucket/dead-letters",
    }  # fmt: skip
    built = {"output": "gs://my-bucket/collection", "dead_letters": "gs://my-bucket/dead-letters"}
    return {
        "sample_points, broadcast": ("sample_points", {**samples, "join": "broadcast"}),
        "sample_points, partitioned": ("sample_points", {**samples, "join": "partitioned"}),
        "sample_points, plan only": ("sample_points", {**samples, "plan_only": "true"}),
        "sample_points, replay": ("sample_points", {**samples, "replay": letters}),
        "sample_points, BigQuery": (
            "sample_points",
            {**samples, "points": "bq://my-project.d.points", "output": "bq://my-project.d.samples"},
        ),
        "sample_points_streaming, files": (
            "sample_points_streaming", {**streamed, "output": "gs://my-bucket/samples"},
        ),
        "sample_points_streaming, Pub/Sub": (
            "sample_points_streaming",
            {**streamed, "output_topic": "projects/my-project/topics/samples"},
        ),
        "sample_points_streaming, BigQuery": (
            "sample_points_streaming", {**streamed, "output_table": "bq://my-project.d.samples"},
        ),
        "build_collection, files": ("build_collection", {**built, "inputs": folder / "*.tif"}),
        "build_collection, update": (
            "build_collection", {**built, "inputs": folder / "*.tif", "mode": "update"},
        ),
    }


JOBS = sorted(_jobs(pathlib.Path()))


def _compiled(folder, job, **more):
    name, given = _jobs(folder)[job]
    return compiled(name, TEMPLATES[name].options, **{**given, **more})


@pytest.mark.parametrize("job", JOBS)
def test_steps_have_the_names_that_they_had(job_of, job):
    # An update of a running job, dashboards and alerts know steps by their names. Where a change
    # is meant: PYTHONPATH=.:tests python tests/pipelines/test_job_graph.py
    golden = json.loads(STEPS.read_text(encoding="utf-8"))
    assert job_of(job).steps == golden[job]


@pytest.mark.parametrize("job", JOBS)
def test_keys_have_coders_of_their_types(job_of, job):
    # Of a key whose type it is not told, Beam looks at each value: what it knows no fixed bytes
    # for, as of numpy's numbers, fails while the job runs.
    components = job_of(job).graph.components
    context = PipelineContext(components)
    groupings = [step for step in components.transforms.values() if step.spec.urn == GROUP_BY_KEY]
    assert groupings
    for step in groupings:
        (source,) = step.inputs.values()
        pair = context.coders.get_by_id(components.pcollections[source].coder_id)
        assert isinstance(pair, coders.TupleCoder), step.unique_name
        assert pair.key_coder().is_deterministic(), step.unique_name
        if not step.unique_name.endswith(PLAIN_KEYS):
            assert not _is_guessed(pair.key_coder()), (step.unique_name, pair.key_coder())


def _is_guessed(coder):
    return isinstance(coder, GUESSING) or any(map(_is_guessed, coder._get_component_coders()))


@pytest.mark.parametrize(
    "job",
    ["sample_points, broadcast", "sample_points, partitioned", "sample_points_streaming, files"],
)
def test_a_graph_does_not_grow_with_points_or_records(folder, job):
    small = _compiled(folder, job).graph
    _write_points(folder, 200_000)
    _write_records(folder, 2_000)
    large = _compiled(folder, job).graph
    assert len(large.components.transforms) == len(small.components.transforms)
    assert abs(large.ByteSize() - small.ByteSize()) < 100
    assert large.ByteSize() < 1_000_000


def test_a_graph_does_not_grow_with_files_to_index(folder):
    listed = folder / "list.txt"
    sizes = []
    for n_files in (1, 20_000):
        listed.write_text("".join(f"gs://my-bucket/{at}.tif\n" for at in range(n_files)))
        graph = _compiled(folder, "build_collection, files", inputs=listed).graph
        sizes.append((len(graph.components.transforms), graph.ByteSize()))
    assert sizes[0][0] == sizes[1][0]
    assert abs(sizes[0][1] - sizes[1][1]) < 100


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        filled = _filled(pathlib.Path(place))
        names = {job: _compiled(filled, job).steps for job in JOBS}
    STEPS.write_text(json.dumps(names, indent=1) + "\n", encoding="utf-8")
