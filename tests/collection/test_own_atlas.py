"""The atlas that a process makes for itself: that of the whole collection, made once."""

import concurrent.futures
import gc

import numpy as np
import pyarrow.parquet as pq
import pytest
from scenes import Scene, file_item, index_table, ramp, write_scene

from rasteret_beam.collection import CollectionQuery, list_fragments, make_atlas, merge
from rasteret_beam.collection import own_atlas as module
from rasteret_beam.collection.own_atlas import atlas_of_process
from rasteret_beam.collection.refreshing import query_digest
from rasteret_beam.collection.survey import survey_fragment

CELL_BYTES, RECORDS_PER_KEY = 2000, 2


@pytest.fixture
def query(tmp_path):
    """Three files of scenes apart."""
    folder = tmp_path / "c"
    folder.mkdir()
    for number in range(3):
        name = f"s{number}"
        scene = Scene(name=name, pixels=ramp(16, 16), origin=(500_000.0 + 90_000 * number, 4.6e6))
        table = index_table([file_item(name, write_scene(tmp_path, scene))])
        pq.write_table(table, folder / f"{name}.parquet")
    return CollectionQuery(str(folder), ("B1",))


def test_it_is_the_atlas_of_all_files(query):
    made = atlas_of_process(query, query_digest(query), CELL_BYTES, RECORDS_PER_KEY).atlas
    surveys = [survey_fragment(query, fragment)[0] for fragment in list_fragments(query)]
    expected = make_atlas(merge(surveys), CELL_BYTES, RECORDS_PER_KEY)
    assert len(made.files) == 3
    assert [file.fragment for file in made.files] == [file.fragment for file in expected.files]
    np.testing.assert_array_equal(made.leaves, expected.leaves)
    assert len(made.leaves) > 1


def test_threads_that_ask_together_share_it_until_nobody_holds_it(query, monkeypatch):
    looked = []

    def counting(query, fragment):
        looked.append(fragment.uri)
        return survey_fragment(query, fragment)

    monkeypatch.setattr(module, "survey_fragment", counting)
    name = query_digest(query)

    def ask(_=None):
        return atlas_of_process(query, name, CELL_BYTES, RECORDS_PER_KEY)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        held = list(pool.map(ask, range(8)))
    assert all(one is held[0] for one in held)
    assert len(looked) == 3
    del held
    gc.collect()
    ask()
    assert len(looked) == 6
