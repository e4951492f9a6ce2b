"""Section 1 of rasteret's rules: a collection's files and folders, and their order."""

import datetime as dt
import pathlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fakes import serving
from scenes import Scene, file_item, index_table, make_collection, ramp, write_scene

from rasteret_beam import Collection
from rasteret_beam.collection import (
    CollectionQuery,
    list_fragments,
    read_fragment,
    survey_fragment,
)
from rasteret_beam.collection.filters import Filters
from rasteret_beam.indexing.layout import partition_of
from rasteret_beam.storage import Store


def scene(name):
    return Scene(name=name, pixels=ramp(20, 20))


def records(path, filters=None):
    query = CollectionQuery(path, ("B1",), filters or Filters())
    return [r for f in list_fragments(query) for r, _ in read_fragment(query, f)]


def ids(path, filters=None):
    return [record.info.record_id for record in records(path, filters)]


def partitioned(tmp_path, *rows):
    """A hive-partitioned collection of (name, year and month or None)."""
    folder = tmp_path / "collection"
    for name, year, month in rows:
        made = scene(name)
        when = year and dt.datetime(year, month, 2)  # noqa: DTZ001 -- UTC, as stored
        table = index_table([file_item(name, write_scene(tmp_path, made), when=when)])
        part = folder / partition_of(when)
        part.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, part / f"{name}.parquet")
    return str(folder)


def test_rule_1_hive_folders_are_read_in_the_order_of_their_paths(tmp_path):
    path = partitioned(tmp_path, ("feb", 2024, 2), ("oct", 2024, 10), ("old", 2023, 12))
    assert ids(path) == ["old", "oct", "feb"]
    ordinals = [record.info.ordinal for record in records(path)]
    assert ordinals == sorted(ordinals)


def test_rule_1_records_without_a_datetime_lie_in_the_default_partition(tmp_path):
    path = partitioned(tmp_path, ("feb", 2024, 2), ("none", None, None))
    assert partition_of(None).startswith("year=__HIVE_DEFAULT_PARTITION__/")
    assert sorted(ids(path)) == ["feb", "none"]
    assert {r.info.record_id: r.info.datetime_us for r in records(path)}["none"] is None


def test_rule_1_a_collection_of_only_null_datetimes_is_read(tmp_path):
    assert ids(partitioned(tmp_path, ("none", None, None))) == ["none"]


def test_rule_1_year_and_month_are_columns_that_filters_can_name(tmp_path):
    path = partitioned(tmp_path, ("feb", 2024, 2), ("oct", 2024, 10), ("none", None, None))
    assert ids(path, Filters(where="year == 2024 and month == 10")) == ["oct"]
    assert ids(path, Filters(where="year is null")) == ["none"]


@pytest.mark.parametrize(
    ("where", "spelled"),
    [
        ("", "./collection"), ("", "collection//"), ("", "x/./../collection"),
        ("", "./x/../collection"),
        ("collection", "."), ("x", "../collection"), ("", "file://{}/collection"),
        ("", "FILE://{}/x/../collection/"),
    ],
)
def test_rule_1_a_collection_is_the_same_however_its_address_is_spelled(
    tmp_path, monkeypatch, where, spelled,
):
    partitioned(tmp_path, ("feb", 2024, 2), ("old", 2023, 12))
    (tmp_path / "x").mkdir()
    hidden = tmp_path / "collection" / "_old" / "year=2023"
    hidden.mkdir(parents=True)
    pq.write_table(index_table([file_item("gone", tmp_path / "old.tif")]), hidden / "gone.parquet")
    monkeypatch.chdir(tmp_path / where)
    path = spelled.format(tmp_path)
    assert ids(path) == ["old", "feb"]
    assert ids(path, Filters(where="year = 2024 and month = 2")) == ["feb"]


def test_rule_1_any_column_may_partition(tmp_path):
    table = pq.read_table(make_collection(tmp_path, [scene("a"), scene("b")]))
    folder = tmp_path / "by_split"
    table = table.append_column("split", pa.array(["train", "test"]))
    pq.write_to_dataset(table, folder, partition_cols=["split"])
    assert sorted(ids(str(folder))) == ["a", "b"]
    assert ids(str(folder), Filters(split="train")) == ["a"]


@pytest.mark.parametrize("names", [("12", "1a"), ("123456789012", "3"), ("a=b", "c d")])
def test_rule_1_the_values_of_a_partition_may_be_any_text(tmp_path, names):
    table = pq.read_table(make_collection(tmp_path, [scene("a"), scene("b")]))
    folder = tmp_path / "by_tile"
    table = table.append_column("tile", pa.array(names))
    pq.write_to_dataset(table, folder, partition_cols=["tile"])
    assert sorted(ids(str(folder))) == ["a", "b"]
    for name, expected in zip(names, "ab", strict=True):
        assert ids(str(folder), Filters(split=name, split_column="tile")) == [expected]


@pytest.mark.parametrize("above", ["month=May", "month=May/id=7"])
def test_rule_1_folders_above_the_collection_are_no_partitions(tmp_path, above):
    folder = tmp_path / above
    folder.mkdir(parents=True)
    make_collection(folder, [scene("a"), scene("b")])
    assert ids(str(folder)) == ["a", "b"]


def test_rule_1_a_file_in_a_folder_named_like_a_partition_is_read(tmp_path):
    folder = tmp_path / "month=May"
    folder.mkdir()
    assert ids(make_collection(folder, [scene("a"), scene("b")])) == ["a", "b"]


def test_rule_1_plain_folders_are_read_in_the_order_of_their_paths(tmp_path):
    table = pq.read_table(make_collection(tmp_path, [scene("a"), scene("b")]))
    folder = tmp_path / "plain"
    (folder / "deep").mkdir(parents=True)
    pq.write_table(table.slice(1, 1), folder / "1.parquet")
    pq.write_table(table.slice(0, 1), folder / "deep" / "0.parquet")
    assert ids(str(folder)) == ["b", "a"]


def test_rule_1_sidecars_and_other_files_are_no_records(tmp_path):
    path = partitioned(tmp_path, ("feb", 2024, 2))
    (pathlib.Path(path) / "_metadata").write_bytes(b"sidecar")
    (pathlib.Path(path) / "README.txt").write_text("a collection")
    (pathlib.Path(path) / ".hidden.parquet").write_bytes(b"half written")
    assert ids(path) == ["feb"]


def test_rule_1_the_first_collection_may_stand_in_a_later_file(tmp_path):
    table = pq.read_table(make_collection(tmp_path, [scene("a"), scene("b")]))
    at = table.schema.get_field_index("collection")
    table = table.set_column(at, "collection", pa.array([None, "second"]))
    folder = tmp_path / "folder"
    folder.mkdir()
    for row in (0, 1):
        pq.write_table(table.slice(row, 1), folder / f"{row}.parquet")
    assert [record.info.collection for record in records(str(folder))] == ["second", "second"]


def test_a_collection_is_read_from_an_address_that_is_signed_for_reading_only(tmp_path):
    content = pathlib.Path(make_collection(tmp_path, [scene("a")])).read_bytes()
    with serving({"c.parquet": content}) as server:
        server.head_status = 403
        uri, store = server.uri("c.parquet?X-Amz-Signature=x"), Store(allow_http=True)
        query = CollectionQuery(uri, ("B1",), store=store)
        found = [r for f in list_fragments(query) for r, _ in read_fragment(query, f)]
        assert [record.info.record_id for record in found] == ["a"]
        assert len(Collection.from_parquet(uri, store=store)) == 1


def test_text_that_other_writers_store_as_views_is_filtered_by(tmp_path):
    table = pq.read_table(make_collection(tmp_path, [scene("a"), scene("b"), scene("c")]))
    views = {
        "id": pa.array(["a", "b", "c"], pa.string_view()),
        "split": pa.array(["train", "test", "val"], pa.string_view()),
        "deep": pa.array([{"x": x} for x in "abc"], pa.struct({"x": pa.string_view()})),
    }
    for name, column in views.items():
        at = table.schema.get_field_index(name)
        table = table.append_column(name, column) if at < 0 else table.set_column(at, name, column)
    (tmp_path / "v").mkdir()
    pq.write_table(table, tmp_path / "v" / "a.parquet")
    path = str(tmp_path / "v")
    assert ids(path) == ["a", "b", "c"]
    for filters in (
        Filters(where="id = 'b'"), Filters(where="id in ('b', 'x') and split > 'm'"),
        Filters(split="test"), Filters(where="deep.x = 'b'"),
    ):
        assert ids(path, filters) == ["b"]
        query = CollectionQuery(path, ("B1",), filters)
        (fragment,) = list_fragments(query)
        assert survey_fragment(query, fragment)[0].n_records == 1
