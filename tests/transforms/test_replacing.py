"""What a build or an export leaves of what was in its folder: nothing of the collection there."""

import pathlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from building import build, export, files, table_of
from scenes import Scene, ramp, write_scene

from rasteret_beam import Collection, FileSource, Filters, RecordTable, StacReading
from rasteret_beam.transforms import write_collection

PATTERN = r"_(\d{8})"
ONE_FILE = ["year=2024/month=5/part-0.parquet"]


@pytest.fixture
def scenes(tmp_path):
    """Files of May and June."""
    (tmp_path / "d").mkdir()
    return [
        write_scene(tmp_path / "d", Scene(name=name, pixels=ramp(48, 48)))
        for name in ("a_20240501", "b_20240602")
    ]


def source_of(*paths):
    return FileSource(inputs=paths, bands={"B1": 0}, datetime_pattern=PATTERN)


def ids(folder):
    return sorted(table_of(folder)["id"].to_pylist())


def no_rows():
    table = pa.table({
        "id": pa.array([], pa.string()), "datetime": pa.array([], pa.timestamp("us")),
        "path": pa.array([], pa.string()),
    })  # fmt: skip
    return RecordTable(table=table, href_column="path", reading=StacReading())


def laid_out_otherwise(folder, source):
    """The collection of a source as others may have written it."""
    build(source, folder.parent / "made")
    if folder.name == "by_year":
        Collection.from_parquet(str(folder.parent / "made")).export(str(folder), ("year",))
    else:
        folder.mkdir()
        (made,) = (folder.parent / "made").rglob("*.parquet")
        pq.write_table(pq.ParquetFile(made).read(), folder / "scenes.parquet")


@pytest.mark.parametrize("name", ["by_year", "by_name"])
def test_records_of_a_collection_that_is_laid_out_otherwise_are_not_doubled(
    scenes, tmp_path, name,
):
    laid_out_otherwise(tmp_path / name, source_of(scenes[0]))
    build(source_of(scenes[1]), tmp_path / name, mode="append")
    assert ids(tmp_path / name) == ["a_20240501", "b_20240602"]
    build(source_of(*scenes), tmp_path / name, mode="update")
    assert ids(tmp_path / name) == ["a_20240501", "b_20240602"]


@pytest.mark.parametrize("name", ["by_year", "by_name"])
def test_nothing_stays_of_a_collection_that_is_replaced(scenes, tmp_path, name):
    laid_out_otherwise(tmp_path / name, source_of(scenes[1]))
    build(source_of(scenes[0]), tmp_path / name)
    assert files(tmp_path / name) == ONE_FILE


@pytest.mark.parametrize("step", ["put_in_place", "delete"])
@pytest.mark.parametrize("others", [["c_20240503"], ["b_20240602"]], ids=["same", "another"])
def test_a_build_beside_which_another_one_ended_does_not_end_well(
    scenes, tmp_path, monkeypatch, step, others,
):
    theirs = [
        write_scene(tmp_path / "d", Scene(name=name, pixels=ramp(64, 48))) for name in others
    ]
    own, waiting = getattr(write_collection, step), [theirs]

    def interrupted(*given):
        if waiting:
            build(source_of(*waiting.pop()), tmp_path / "c")
        return own(*given)

    monkeypatch.setattr(write_collection, step, interrupted)
    try:
        build(source_of(scenes[0]), tmp_path / "c")
    except Exception as error:  # noqa: BLE001 -- what Beam makes of it
        assert "another run writes to this folder" in str(error)  # noqa: PT017 -- or it ends well
    else:
        assert ids(tmp_path / "c") == ["a_20240501"]


def test_a_folder_with_a_table_of_something_else_is_refused(scenes, tmp_path):
    (tmp_path / "c").mkdir()
    pq.write_table(pa.table({"x": [1.0], "y": [2.0]}), tmp_path / "c" / "points.parquet")
    with pytest.raises(Exception, match=r"holds '.*points.parquet', which is no part"):
        build(source_of(scenes[0]), tmp_path / "c")
    assert files(tmp_path / "c") == ["points.parquet"]


@pytest.mark.parametrize("mode", ["replace", "append"])
def test_a_folder_with_a_folder_of_another_collection_is_refused(scenes, tmp_path, mode):
    build(source_of(scenes[1]), tmp_path / "all" / "b")
    before = files(tmp_path / "all")
    with pytest.raises(Exception, match=r"holds '.*/all/b/.*', which is no part"):
        build(source_of(scenes[0]), tmp_path / "all", mode=mode)
    assert files(tmp_path / "all") == before


def test_what_is_no_parquet_or_is_hidden_stays(scenes, tmp_path):
    build(source_of(scenes[1]), tmp_path / "c")
    kept = ["_run/summary.parquet", "notes.txt", "year=2024/.part-0.parquet"]
    for name in kept:
        (tmp_path / "c" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "c" / name).write_bytes(b"mine")
    build(source_of(scenes[0]), tmp_path / "c")
    assert files(tmp_path / "c") == sorted([*kept, *ONE_FILE])


@pytest.mark.parametrize("spelled", [".", "./d", "d/", "d//", "../c/d"])
def test_a_folder_may_be_spelled_in_any_way(scenes, tmp_path, monkeypatch, spelled):
    (tmp_path / "c").mkdir()
    monkeypatch.chdir(tmp_path / "c")
    for _ in range(2):
        build(source_of(*scenes), spelled, mode="append")
        assert ids(spelled) == ["a_20240501", "b_20240602"]


# Nothing to write


def test_an_export_that_nothing_meets_replaces_an_earlier_one(scenes, tmp_path):
    build(source_of(*scenes), tmp_path / "c", name="n")
    export(tmp_path / "c", tmp_path / "e")
    export(tmp_path / "c", tmp_path / "e", filters=Filters(where="id == 'nothing'"))
    assert files(tmp_path / "e") == ["part-0.parquet"]
    empty = Collection.from_parquet(str(tmp_path / "e"))
    assert (len(empty), empty.bands, empty.name) == (0, ["B1"], "n")
    names = pq.read_schema(tmp_path / "e/part-0.parquet").names
    assert names == pq.read_schema(tmp_path / "c" / ONE_FILE[0]).names


def test_an_update_to_a_source_without_items_leaves_no_record(scenes, tmp_path):
    build(source_of(*scenes), tmp_path / "c")
    counts, letters = build(no_rows(), tmp_path / "c", mode="update")
    assert files(tmp_path / "c") == ["part-0.parquet"]
    assert (ids(tmp_path / "c"), letters) == ([], [])
    assert counts.get("records_written", 0) == 0


def test_a_source_without_items_makes_a_collection_without_records(tmp_path, scenes):
    build(no_rows(), tmp_path / "c")
    assert len(Collection.from_parquet(str(tmp_path / "c"))) == 0
    build(source_of(scenes[0]), tmp_path / "c", mode="append")
    assert files(tmp_path / "c") == ONE_FILE


def test_where_every_file_of_a_first_run_fails_the_collection_has_no_records(tmp_path):
    _, letters = build(source_of(str(tmp_path / "gone_20240501.tif")), tmp_path / "c")
    assert len(letters) == 1
    assert len(Collection.from_parquet(str(tmp_path / "c"))) == 0


# What an export understands


def other(folder, scenes, change):
    """A collection with its rows changed, in Arrow's own types, as others write them."""
    build(source_of(scenes[0]), folder.parent / "made")
    (found,) = pq.ParquetFile(folder.parent / "made" / ONE_FILE[0]).read().to_pylist()
    change(found)
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist([found]), folder / "part-0.parquet")


def aliases(row):
    for name in ("width", "height"):
        row["B1_metadata"][name] = row["B1_metadata"].pop(f"image_{name}")


def alternates(row):
    href = row["assets"]["B1"]["href"]
    row["assets"]["B1"] = {"alternate": {"s3": {"href": href}}, "band_index": 0}



def sampled(folder):
    point = {"lon": [row["bbox"]["xmin"] + 1e-3 for row in table_of(folder).to_pylist()],
             "lat": [row["bbox"]["ymin"] + 1e-3 for row in table_of(folder).to_pylist()]}
    found = Collection.from_parquet(str(folder)).sample_points(point, ["B1"], geometry_crs=4326)
    return found.to_pylist()


@pytest.mark.parametrize("change", [aliases, alternates])
def test_what_can_be_sampled_can_be_sampled_after_an_export(scenes, tmp_path, change):
    other(tmp_path / "c", scenes, change)
    export(tmp_path / "c", tmp_path / "e")
    assert len(sampled(tmp_path / "c")) == 1
    assert sampled(tmp_path / "e") == sampled(tmp_path / "c")


def test_a_collection_without_properties_and_name_is_exported(scenes, tmp_path):
    build(source_of(*scenes), tmp_path / "c")
    counts, _ = export(tmp_path / "c", tmp_path / "e")
    assert ids(tmp_path / "e") == ids(tmp_path / "c")
    assert counts["records_read"] == 2


@pytest.mark.parametrize("broken", ["null", "holds null"])
def test_a_band_without_a_tile_table_is_a_dead_letter_and_the_record_stays(
    scenes, tmp_path, broken,
):
    def change(row):
        table = None if broken == "null" else [None, *row["B1_metadata"]["tile_offsets"][1:]]
        row["B1_metadata"]["tile_offsets"] = table

    other(tmp_path / "c", scenes, change)
    counts, (letter,) = export(tmp_path / "c", tmp_path / "e")
    assert "tile_offsets is missing, or holds nulls" in letter.msg
    assert (ids(tmp_path / "e"), counts["bands_failed"]) == (["a_20240501"], 1)


def test_what_is_no_collection_is_not_exported(tmp_path):
    pq.write_table(pa.table({"x": [1.0]}), tmp_path / "points.parquet")
    with pytest.raises(Exception, match="missing required columns"):
        export(tmp_path / "points.parquet", tmp_path / "e")
    assert not pathlib.Path(tmp_path / "e").exists()
