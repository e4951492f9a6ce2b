"""Each module has a ``path``: a collection of its own scenes."""

import pytest

from rasteret_beam.companion import Collection


@pytest.fixture
def collection(path):
    return Collection.from_parquet(path)
