"""Copies of a collection: what is in them, how large their parts are, what they replace."""

import datetime as dt
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from scene_row import scene
from scenes import grid_points, make_collection, run

from rasteret_beam.companion import Collection, part_writer
from rasteret_beam.errors import CollectionError, OptionError, OutputError

WHEN = [dt.datetime(2023, 12, 31, 23), dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 9), None]  # noqa: DTZ001 -- UTC
SCENES = [scene(number, when=when) for number, when in enumerate(WHEN)]
HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Four records: one in December, two in January, one without a date."""
    return make_collection(tmp_path_factory.mktemp("four"), SCENES)


def files(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def ids(folder):
    return sorted(Collection.from_parquet(folder).to_table(["id"])["id"].to_pylist())


def repeated(collection, times):
    """The collection's rows many times over, in memory."""
    return Collection.from_arrow(pa.concat_tables([collection.to_table()] * times))


def test_files_lie_in_folders_of_their_month(collection, tmp_path):
    collection.export(tmp_path / "out")
    assert files(tmp_path / "out") == [
        "year=2023/month=12/part-0.parquet",
        "year=2024/month=1/part-0.parquet",
        f"year={HIVE_NULL}/month={HIVE_NULL}/part-0.parquet",
    ]
    assert len(pq.read_table(tmp_path / "out" / "year=2024" / "month=1" / "part-0.parquet")) == 2


def test_a_copy_holds_the_same_rows(collection, tmp_path):
    collection.export(tmp_path / "out")
    copy = Collection.from_parquet(tmp_path / "out").to_table().drop_columns(["year", "month"])
    original = collection.to_table()
    assert copy.schema.equals(original.schema, check_metadata=False)
    assert copy.sort_by("id").to_pylist() == original.to_pylist()


def test_a_copy_is_sampled_as_the_original(collection, path, tmp_path):
    collection.export(tmp_path / "out")
    points = {axis: [v for s in SCENES for v in grid_points(s, [(1, 2)])[axis]] for axis in "xy"}
    rows = [
        run(where, points).samples.sort_by("point_index") for where in (path, str(tmp_path / "out"))
    ]
    assert rows[0].num_rows == 4
    assert rows[0].equals(rows[1])


def test_a_view_exports_exactly_its_rows(collection, tmp_path):
    apart = [(3.0005, 41.549, 3.001, 41.55), (3.0725, 41.549, 3.073, 41.55)]
    view = collection.subset(geometries=apart)
    view.export(tmp_path / "out")
    assert ids(tmp_path / "out") == ["s0", "s3"]
    assert len(view) == 2


def test_a_collection_without_any_date_is_not_partitioned(collection, tmp_path):
    collection.where("datetime is null").export(tmp_path / "out")
    assert files(tmp_path / "out") == ["part-0.parquet"]
    assert "year" not in Collection.from_parquet(tmp_path / "out").view.schema.names


def test_no_records_are_a_collection_too(collection, tmp_path):
    collection.where("id = 'x'").export(tmp_path / "out")
    assert files(tmp_path / "out") == ["part-0.parquet"]
    assert ids(tmp_path / "out") == []


def test_any_column_can_name_folders(collection, tmp_path):
    split = pa.array(["a/b", "c d", None, "a/b"])
    made = Collection.from_arrow(collection.to_table().append_column("split", split))
    made.export(tmp_path / "out", partition_by=["split"])
    assert files(tmp_path / "out") == [
        f"split={HIVE_NULL}/part-0.parquet", "split=a%2Fb/part-0.parquet",
        "split=c%20d/part-0.parquet",
    ]  # fmt: skip
    copy = Collection.from_parquet(tmp_path / "out")
    assert len(copy.select_split("a/b")) == 2
    made.export(tmp_path / "flat", partition_by=())
    assert files(tmp_path / "flat") == ["part-0.parquet"]


def test_years_that_the_rows_have_are_kept(collection, tmp_path):
    made = collection.to_table().append_column("year", pa.array([1999] * 4))
    Collection.from_arrow(made).export(tmp_path / "out", partition_by=["year"])
    assert files(tmp_path / "out") == ["year=1999/part-0.parquet"]


@pytest.mark.parametrize(("name", "words"), [("zz", "no column"), ("assets", "no single values")])
def test_a_column_that_cannot_name_folders_is_refused(collection, tmp_path, name, words):
    with pytest.raises(OptionError, match=words):
        collection.export(tmp_path / "out", partition_by=[name])
    assert not (tmp_path / "out").exists()


# What the files say


def test_files_carry_rasterets_metadata(collection, tmp_path):
    made = Collection.from_arrow(
        collection.to_table().replace_schema_metadata(None), name="n", description="d",
        data_source="s", start_date=WHEN[1], end_date=WHEN[2],
    )  # fmt: skip
    made.export(tmp_path / "out", partition_by=())
    told = pq.read_schema(tmp_path / "out" / "part-0.parquet").metadata
    assert (told[b"name"], told[b"description"], told[b"data_source"]) == (b"n", b"d", b"s")
    assert told[b"date_range"] == b"2024-01-01T00:00:00,2024-01-09T00:00:00"
    assert told[b"rasteret_collection_version"] == b"1"
    assert dt.datetime.fromisoformat(told[b"created"].decode())
    geometry = json.loads(told[b"geo"])["columns"]["geometry"]
    assert geometry["geometry_types"] == ["Polygon"]
    assert geometry["covering"]["bbox"]["ymax"] == ["bbox", "ymax"]
    again = Collection.from_parquet(tmp_path / "out")
    assert (again.name, again.end_date) == ("n", WHEN[2])


def test_metadata_that_is_there_stays(collection, tmp_path):
    table = collection.to_table().replace_schema_metadata({"name": "old", "mine": "x"})
    Collection.from_arrow(table, name="new").export(tmp_path / "out", partition_by=())
    told = pq.read_schema(tmp_path / "out" / "part-0.parquet").metadata
    assert (told[b"name"], told[b"mine"]) == (b"old", b"x")


def test_the_types_of_footprints_are_told(collection, tmp_path):
    shapes = [shapely.Point(1, 2), shapely.Point(1, 2, 3), shapely.MultiPolygon(), None]
    wkb = [None if s is None else shapely.to_wkb(s, byte_order=n % 2) for n, s in enumerate(shapes)]
    table = collection.to_table().replace_schema_metadata(None)
    at = table.schema.get_field_index("geometry")
    made = Collection.from_arrow(table.set_column(at, "geometry", pa.array(wkb, pa.binary())))
    made.export(tmp_path / "out", partition_by=())
    found = pq.read_schema(tmp_path / "out" / "part-0.parquet")
    geometry = json.loads(found.metadata[b"geo"])["columns"]["geometry"]
    assert geometry["geometry_types"] == ["MultiPolygon", "Point", "Point Z"]
    assert found.field("geometry").metadata[b"ARROW:extension:name"] == b"geoarrow.wkb"


@pytest.mark.parametrize("kind", [
    pa.list_(pa.float64()), pa.large_list(pa.float32()), pa.list_(pa.float64(), 4),
], ids=str)  # fmt: skip
def test_a_bbox_that_is_a_list_becomes_a_struct(collection, tmp_path, kind):
    table = collection.to_table()
    at = table.schema.get_field_index("bbox")
    lists = pa.array([[0, 1, 2, 3], [1, 2, 3, 4], None, [0, 0, 0, 0]], kind)
    made = Collection.from_arrow(table.set_column(at, "bbox", lists))
    assert made.bounds is None
    assert made.get_first_record().bbox == [0, 1, 2, 3]
    with pytest.raises(CollectionError, match="bbox filtering requires"):
        made.subset(bbox=(0, 0, 1, 1))
    made.export(tmp_path / "out")
    copy = Collection.from_parquet(tmp_path / "out")
    assert copy.bounds == (0, 0, 3, 4)
    assert copy.where("id = 's2'").to_table(["bbox"])["bbox"].to_pylist() == [None]


def test_a_list_that_is_no_bbox_is_refused(collection, tmp_path):
    table = collection.to_table()
    short = pa.array([[0.0, 1.0]] * 4)
    at = table.schema.get_field_index("bbox")
    with pytest.raises(CollectionError, match="does not hold four numbers"):
        Collection.from_arrow(table.set_column(at, "bbox", short)).export(tmp_path / "out")
    assert files(tmp_path) == []


# How large


def test_row_groups_are_bounded_in_rows(collection, tmp_path, monkeypatch):
    monkeypatch.setattr(part_writer, "ROW_GROUP_ROWS", 700)
    repeated(collection, 500).export(tmp_path / "out", partition_by=())
    found = pq.ParquetFile(tmp_path / "out" / "part-0.parquet").metadata
    sizes = [found.row_group(n).num_rows for n in range(found.num_row_groups)]
    assert sum(sizes) == 2000
    assert max(sizes) <= 700


def test_row_groups_are_bounded_in_bytes(collection, tmp_path, monkeypatch):
    monkeypatch.setattr(part_writer, "ROW_GROUP_BYTES", 200_000)
    monkeypatch.setattr(part_writer, "HELD_BYTES", 800_000)
    made = repeated(collection, 1000)
    made.export(tmp_path / "out", partition_by=())
    found = pq.ParquetFile(tmp_path / "out" / "part-0.parquet").metadata
    row_bytes = made.view.data.nbytes / 4000
    largest = max(found.row_group(n).num_rows for n in range(found.num_row_groups))
    assert largest * row_bytes < 200_000 + 512 * row_bytes


def test_rows_of_many_folders_do_not_pile_up(collection, tmp_path, monkeypatch):
    monkeypatch.setattr(part_writer, "HELD_BYTES", 100_000)
    monkeypatch.setattr(part_writer, "MAX_OPEN_FILES", 3)
    table = repeated(collection, 500).to_table()
    folders = pa.array(np.arange(2000) % 9)
    made = Collection.from_arrow(table.append_column("fold", folders))
    made.export(tmp_path / "out", partition_by=["fold"])
    copy = Collection.from_parquet(tmp_path / "out")
    assert len(copy) == 2000
    assert len(copy.where("fold == 4")) == np.sum(np.arange(2000) % 9 == 4)
    assert not any(name.startswith(".") for name in files(tmp_path / "out"))


# What is replaced


def test_an_earlier_export_is_replaced_whole(collection, tmp_path):
    collection.export(tmp_path / "out")
    (tmp_path / "out" / "_metadata").write_bytes(b"of the earlier files")
    collection.where("id = 's0'").export(tmp_path / "out")
    assert files(tmp_path / "out") == ["year=2023/month=12/part-0.parquet"]
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["year=2023"]


def test_a_view_can_replace_what_it_was_read_from(collection, tmp_path):
    collection.export(tmp_path / "out")
    Collection.from_parquet(tmp_path / "out").where("id != 's1'").export(tmp_path / "out")
    assert ids(tmp_path / "out") == ["s0", "s2", "s3"]


@pytest.mark.parametrize("name", ["notes.txt", "part-00000-of-00001.parquet", "deep/part-0.txt"])
def test_a_folder_with_something_else_is_left_alone(collection, tmp_path, name):
    file = tmp_path / "out" / name
    file.parent.mkdir(parents=True)
    file.write_text("mine")
    with pytest.raises(OptionError, match="no collection"):
        collection.export(tmp_path / "out")
    assert file.read_text() == "mine"


def test_a_folder_with_other_parquet_is_left_alone(collection, tmp_path):
    pq.write_table(pa.table({"mine": [1]}), tmp_path / "part-0.parquet")
    with pytest.raises(OptionError, match="no collection"):
        collection.export(tmp_path)
    assert pq.read_table(tmp_path / "part-0.parquet").num_rows == 1


def test_a_file_is_no_folder_to_export_to(collection, path):
    with pytest.raises(OptionError, match="is a file"):
        collection.export(path)


def test_an_export_that_fails_leaves_the_earlier_one(collection, tmp_path):
    collection.export(tmp_path / "out")
    before = files(tmp_path / "out")
    (tmp_path / "in").mkdir()
    pq.write_table(collection.to_table(), tmp_path / "in" / "a.parquet")
    broken = Collection.from_parquet(tmp_path / "in")
    data = (tmp_path / "in" / "a.parquet").read_bytes()
    footer = len(data) - int.from_bytes(data[-8:-4], "little") - 8
    (tmp_path / "in" / "a.parquet").write_bytes(b"\xff" * footer + data[footer:])
    with pytest.raises(CollectionError, match="cannot be read"):
        broken.export(tmp_path / "out")
    assert files(tmp_path / "out") == before
    assert ids(tmp_path / "out") == ["s0", "s1", "s2", "s3"]


def test_a_folder_that_cannot_be_written_is_named(collection, tmp_path):
    (tmp_path / "file").write_bytes(b"no folder")
    with pytest.raises(OutputError, match=r"file/out: cannot be written: "):
        collection.export(tmp_path / "file" / "out")
