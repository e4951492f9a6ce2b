"""The pipelines are scripts: they are loaded by path, as a launcher does."""

import importlib.util
import pathlib
import sys

import pytest

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "pipelines"


def _load(name):
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@pytest.fixture
def build():
    """Runs ``build_collection.py`` with flags; gives its exit code."""
    return lambda *flags: _load("build_collection").run([str(flag) for flag in flags])


@pytest.fixture
def sample():
    """Runs ``sample_points.py`` with flags; gives its exit code."""
    return lambda *flags: _load("sample_points").run([str(flag) for flag in flags])
