"""Templates are launched as Dataflow's launcher does, up to the job that the service would get.

The launcher runs the pipeline's script with each parameter as ``--name=value``, and takes the
job's description from where ``--template_location`` says. A bucket on this machine takes it.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.portability.api import beam_runner_api_pb2
from dataflow import PIPELINES, SERVICE, as_flags
from gcs import serving_bucket
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from scenes import Scene, grid_points, make_collection, ramp

from templates.make import ROOT, templates

TEMPLATES = {template.name: template for template in templates()}
SCENE = Scene(name="s2_20240512", pixels=ramp(48, 48, bands=2), nodata="0")
LOCATION = "gs://my-bucket/launches/job_object"


class Launcher:
    """Launches templates; reads what they left in the bucket."""

    def __init__(self, environment):
        self._environment = {**os.environ, **environment}
        host = environment["STORAGE_EMULATOR_HOST"]
        self._client = storage.Client(
            "my-project", credentials=AnonymousCredentials(), client_options={"api_endpoint": host},
        )

    def launch(self, name, **parameters):
        """Gives the launcher's process when it has ended."""
        flags = as_flags(**parameters, **SERVICE, template_location=LOCATION)
        return subprocess.run(  # noqa: S603 -- our own pipelines
            [sys.executable, str(PIPELINES / f"{name}.py"), *flags],
            env=self._environment, capture_output=True, text=True, check=False, cwd="/",
        )  # fmt: skip

    def read(self, uri):
        """Gives the bytes of an object."""
        bucket, name = uri.removeprefix("gs://").split("/", 1)
        return self._client.bucket(bucket).blob(name).download_as_bytes()

    def names(self):
        """Gives the names of all objects."""
        return [blob.name for blob in self._client.list_blobs("my-bucket")]


@pytest.fixture(scope="module")
def launcher(tmp_path_factory):
    folder = tmp_path_factory.mktemp("account")
    with serving_bucket(folder) as environment:
        yield Launcher(environment)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    make_collection(folder, [SCENE])
    pq.write_table(pa.table(grid_points(SCENE, [(1, 2), (20, 30)])), folder / "points.parquet")
    return folder


def _parameters(name, place):
    """A template's example, but for what is there at construction: that lies on this machine."""
    local = {
        "sample_points": {
            "collection": place / "collection.parquet", "points": place / "points.parquet",
            "bands": "B1:B2", "plan_only": "false", "allow_http": "true",
        },
        "sample_points_streaming": {"collection": place / "collection.parquet", "bands": "B1:B2"},
        "build_collection": {"inputs": place / "*.tif"},
    }  # fmt: skip
    return {**TEMPLATES[name].example, **local[name]}


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_launch_leaves_a_job_that_names_its_graph(name, launcher, place):
    done = launcher.launch(name, **_parameters(name, place))
    assert done.returncode == 0, done.stderr[-2000:]
    job = json.loads(launcher.read(LOCATION))
    assert job["type"] == f"JOB_TYPE_{'STREAMING' if TEMPLATES[name].streaming else 'BATCH'}"
    environment = job["environment"]
    images = {pool["workerHarnessContainerImage"] for pool in environment["workerPools"]}
    assert images == {SERVICE["sdk_container_image"]}
    options = environment["sdkPipelineOptions"]["options"]
    given = {key: options[key] for key in TEMPLATES[name].example if key in options}
    assert given["output"] == TEMPLATES[name].example["output"]
    graph = beam_runner_api_pb2.Pipeline.FromString(launcher.read(options["pipelineUrl"]))
    steps = {step.unique_name for step in graph.components.transforms.values()}
    assert "WriteDeadLetters" in steps
    # Nothing was run, so nothing was written but the launch; workers get no script's names.
    assert not any(file.startswith(("samples", "collection")) for file in launcher.names())
    assert not any(file.endswith("pickled_main_session") for file in launcher.names())


def test_a_wrong_parameter_ends_the_launch_with_a_line_that_says_what(launcher, place):
    wrong = {**_parameters("sample_points", place), "bands": "A63:A00"}
    done = launcher.launch("sample_points", **wrong)
    assert done.returncode == 2
    assert "error: --bands has 'A63:A00', expected the lower number" in done.stderr


def test_setup_file_stages_all_that_workers_need(launcher, place, tmp_path):
    pytest.importorskip("setuptools", reason="needs setuptools, as --setup_file does")
    # Of a copy: a build leaves its traces beside setup.py.
    source = tmp_path / "source"
    source.mkdir()
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "rasteret_beam", source / "rasteret_beam")
    done = launcher.launch(
        "sample_points", **_parameters("sample_points", place), setup_file=source / "setup.py",
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (staged,) = [name for name in launcher.names() if name.endswith("workflow.tar.gz")]
    package = tmp_path / "workflow.tar.gz"
    package.write_bytes(launcher.read(f"gs://my-bucket/{staged}"))
    python = _environment_with(package, tmp_path)
    _check_that_all_is_there(python, source / "rasteret_beam", tmp_path)
    _check_that_it_samples(python, place, tmp_path)


def _environment_with(package, folder):
    """An environment of its own with the package; what it needs is taken from this one."""
    wheels, home = folder / "wheels", folder / "venv"
    _run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-index",
         "--no-build-isolation", "--wheel-dir", wheels, package)  # fmt: skip
    _run(sys.executable, "-m", "venv", "--without-pip", home)
    python = home / "bin" / "python"
    (wheel,) = wheels.glob("*.whl")
    _run(sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps",
         "--no-index", wheel)  # fmt: skip
    (site,) = home.glob("lib/python*/site-packages")
    # As a path file names it, so that editable installs of this environment are not seen.
    places = {sysconfig.get_path(kind) for kind in ("purelib", "platlib")}
    (site / "needs.pth").write_text("\n".join(sorted(places)), encoding="utf-8")
    return python


def _check_that_all_is_there(python, source, folder):
    told = "import rasteret_beam; print(rasteret_beam.__path__[0])"
    found = pathlib.Path(_run(python, "-c", told, cwd=folder).strip())
    assert found.is_relative_to(folder / "venv")
    wanted, there = (
        {str(path.relative_to(place)) for path in place.rglob("*")
         if path.is_file() and path.suffix != ".pyc"}
        for place in (source, found)
    )  # fmt: skip
    assert there == wanted
    assert {"py.typed", "collection/catalog.json", "forecast/prices.json"} <= there


def _check_that_it_samples(python, place, folder):
    flags = as_flags(
        collection=place / "collection.parquet", points=place / "points.parquet", bands="B1:B2",
        points_crs="EPSG:32631", output=folder / "samples",
    )  # fmt: skip
    _run(python, PIPELINES / "sample_points.py", *flags, cwd=folder)
    values = pq.read_table(folder / "samples")["value"].to_pylist()
    assert sorted(values) == [102.0, 2030.0, 10102.0, 12030.0]


def _run(*command, cwd=None):
    done = subprocess.run(  # noqa: S603 -- this interpreter and the package under test
        [str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
