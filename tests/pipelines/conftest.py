"""The pipelines are scripts: they are loaded by path, as a launcher does."""

import pytest
from dataflow import script


@pytest.fixture
def build():
    """Runs ``build_collection.py`` with flags; gives its exit code."""
    return lambda *flags: script("build_collection").run([str(flag) for flag in flags])


@pytest.fixture
def sample():
    """Runs ``sample_points.py`` with flags; gives its exit code."""
    return lambda *flags: script("sample_points").run([str(flag) for flag in flags])
