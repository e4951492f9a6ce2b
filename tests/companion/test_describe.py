"""What a collection says of itself, as text, HTML and values."""

import datetime as dt

import pyarrow.parquet as pq
import pytest
from scenes import Scene, make_collection, ramp

from rasteret_beam.companion import Collection
from rasteret_beam.errors import CollectionError


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Two records in two UTM zones."""
    folder = tmp_path_factory.mktemp("described")
    made = [
        Scene(name="a", pixels=ramp(20, 20), bands=("B04",), when=dt.datetime(2024, 1, 5)),  # noqa: DTZ001 -- UTC
        Scene(name="b", pixels=ramp(20, 20), bands=("B04",), epsg=32632),
    ]
    return make_collection(folder, made)


@pytest.fixture
def collection(path):
    return Collection.from_parquet(path, "fields", data_source="sentinel-2-l2a")


def test_a_summary_has_rasterets_keys(collection):
    assert collection.describe().data == {
        "name": "fields",
        "records": 2,
        "bands": ["B04"],
        "bounds": collection.bounds,
        "crs": [32631, 32632],
        "dates": ("2024-01-05", "2024-01-05"),
        "source": "sentinel-2-l2a",
    }


def test_a_summary_is_read_like_a_dict(collection):
    found = collection.describe()
    assert found["records"] == 2
    assert "source" in found
    assert "catalog" not in found
    found.data["records"] = 3
    assert found["records"] == 2


def test_a_summary_is_a_table_in_text(collection):
    lines = repr(collection.describe()).splitlines()
    assert lines[0] == "Collection: fields"
    assert "  CRS       EPSG:32631, EPSG:32632" in lines
    assert "  Dates     2024-01-05 .. 2024-01-05" in lines


def test_names_cannot_break_the_html(path):
    found = Collection.from_parquet(path, "<b>&").describe()
    assert "&lt;b&gt;&amp;" in found._repr_html_()
    assert found._repr_mimebundle_(include=None) == {
        "text/plain": repr(found), "text/html": found._repr_html_(),
    }  # fmt: skip


def test_long_lists_of_bands_are_cut(collection):
    table = collection.to_table()
    for number in range(7):
        table = table.append_column(f"X{number}_metadata", table["B04_metadata"])
    text = repr(Collection.from_arrow(table).describe())
    assert "B04, X0, X1, X2, X3 (+3 more)" in text


def test_known_dates_are_not_looked_for(path):
    made = Collection.from_arrow(
        pq.read_table(path),
        start_date=dt.datetime(2020, 1, 1),  # noqa: DTZ001 -- as rasteret's
        end_date=dt.datetime(2021, 1, 1),  # noqa: DTZ001 -- as rasteret's
    )
    assert made.describe()["dates"] == ("2020-01-01", "2021-01-01")
    assert "2020-01-01..2021-01-01" in repr(made)


def test_a_collection_is_set_beside_its_catalogue_entry(collection):
    found = collection.compare_to_catalog()
    assert found["catalog"]["requires_auth"] is False
    assert "B12" in found["catalog"]["all_bands"]
    assert found["records"] == 2
    assert "missing: B01" in repr(found)
    assert "Auth" in found._repr_html_()


@pytest.mark.parametrize("source", ["nobody/knows", ""])
def test_a_source_that_the_catalogue_does_not_have_is_named(path, source):
    made = Collection.from_parquet(path, data_source=source)
    with pytest.raises(CollectionError, match=f"data_source='{source}'"):
        made.compare_to_catalog()


def test_a_collection_shows_itself_even_where_a_file_cannot_be_read(path, tmp_path):
    pq.write_table(pq.read_table(path).replace_schema_metadata(None), tmp_path / "a.parquet")
    opened = Collection.from_parquet(tmp_path / "a.parquet", "gone")
    (tmp_path / "a.parquet").unlink()
    assert repr(opened) == "Collection('gone', bands=1, records=?)"


def test_reference_systems_are_spelled_one_way(path):
    table = pq.read_table(path)
    at = table.schema.get_field_index("crs")
    spelled = table.set_column(at, "crs", [["epsg:32631", "nonsense"]])
    assert Collection.from_arrow(spelled).crs == ["EPSG:32631", "nonsense"]
    assert Collection.from_arrow(table.drop_columns(["crs"])).crs == ["EPSG:32631", "EPSG:32632"]
    neither = table.drop_columns(["crs", "proj:epsg"])
    assert Collection.from_arrow(neither).crs == Collection.from_arrow(neither).epsg == []
