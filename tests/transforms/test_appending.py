"""What a second build keeps: which records are whose, and what cannot be read just now."""

import datetime as dt
import json
import pathlib

import pyarrow as pa
import pytest
from building import build, rows, table_of
from fakes import serving
from scenes import Scene, ramp, write_scene

from rasteret_beam import FileSource, RecordTable, StacFiles, StacReading

MAY = dt.datetime(2024, 5, 1)  # noqa: DTZ001 -- UTC, as stored


def scene(folder, name="B04", seed=0):
    """A file of two samples in a folder of its own; its path."""
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
    return write_scene(folder, Scene(name=name, pixels=ramp(48, 48, bands=2) + seed))


def files_in(*folders):
    return FileSource(inputs=tuple(str(path) for f in folders for path in sorted(f.glob("*.tif"))))


def hrefs(folder, band="B1"):
    """(id, address) of every record."""
    found = table_of(folder).select(["id", "assets"]).to_pylist()
    return sorted((row["id"], row["assets"][band]["href"]) for row in found)


def table_source(href, *, record_id=1, **columns):
    table = pa.table({
        "id": [record_id], "datetime": pa.array([MAY], pa.timestamp("us")), "path": [href],
        **{name: [value] for name, value in columns.items()},
    })  # fmt: skip
    reading = StacReading(band_index_map={"B1": 0})
    return RecordTable(table=table, href_column="path", reading=reading)


def stac_source(folder, hrefs_by_key, *, name="items.json", **members):
    stac = {
        "type": "Feature", "stac_version": "1.0.0", "id": "one", "geometry": None,
        "properties": {"datetime": "2024-05-01T10:00:00Z"}, "links": [],
        "assets": {key: {"href": href} for key, href in hrefs_by_key.items()}, **members,
    }  # fmt: skip
    path = pathlib.Path(folder) / name
    path.write_text(json.dumps(stac), encoding="utf-8")
    reading = StacReading(
        band_map={key: key for key in hrefs_by_key},
        band_index_map=dict.fromkeys(hrefs_by_key, 0),
    )
    return StacFiles(inputs=str(path), reading=reading)


# Whose record it is


def test_files_of_one_name_in_other_folders_are_appended(tmp_path):
    first, second = scene(tmp_path / "2024-01-01"), scene(tmp_path / "2024-01-02")
    build(files_in(tmp_path / "2024-01-01"), tmp_path / "c")
    counts, letters = build(files_in(tmp_path / "2024-01-02"), tmp_path / "c", mode="append")
    assert hrefs(tmp_path / "c") == [("2024-01-02/B04", second), ("B04", first)]
    assert (counts["items_kept"], letters) == (1, [])


def test_files_that_are_appended_again_are_not_doubled(tmp_path):
    for day in ("1", "2"):
        scene(tmp_path / day)
    build(files_in(tmp_path / "1"), tmp_path / "c")
    build(files_in(tmp_path / "2"), tmp_path / "c", mode="append")
    before = hrefs(tmp_path / "c")
    for source in (files_in(tmp_path / "2"), files_in(tmp_path / "1", tmp_path / "2")):
        build(source, tmp_path / "c", mode="append")
        assert hrefs(tmp_path / "c") == before


def test_a_file_that_had_a_longer_id_keeps_it_when_it_is_appended_alone(tmp_path):
    for day in ("1", "2"):
        scene(tmp_path / day)
    build(files_in(tmp_path / "1", tmp_path / "2"), tmp_path / "c")
    before = hrefs(tmp_path / "c")
    build(files_in(tmp_path / "2"), tmp_path / "c", mode="append")
    assert hrefs(tmp_path / "c") == before


def test_a_table_whose_ids_begin_anew_does_not_replace_records(tmp_path):
    first, second = scene(tmp_path, "a"), scene(tmp_path, "b")
    build(table_source(first), tmp_path / "c")
    counts, (letter,) = build(table_source(second), tmp_path / "c", mode="append")
    assert hrefs(tmp_path / "c") == [("1", first)]
    assert json.loads(letter.element) == {"id": "1", "href": second, "earlier": first}
    assert first in letter.msg
    assert (counts["items_refused"], counts["items_kept"]) == (1, 1)


def test_records_of_one_id_in_two_collections_are_both_kept(tmp_path):
    first, second = scene(tmp_path, "a"), scene(tmp_path, "b")
    build(table_source(first, collection="x"), tmp_path / "c")
    _, letters = build(table_source(second, collection="y"), tmp_path / "c", mode="append")
    assert (hrefs(tmp_path / "c"), letters) == ([("1", first), ("1", second)], [])
    build(table_source(second, collection="y"), tmp_path / "c", mode="append")
    assert hrefs(tmp_path / "c") == [("1", first), ("1", second)]


def test_a_stac_item_whose_files_moved_is_the_same_item(tmp_path):
    first, second = scene(tmp_path / "old"), scene(tmp_path / "new")
    build(stac_source(tmp_path, {"B1": first}, collection="s"), tmp_path / "c")
    _, letters = build(
        stac_source(tmp_path, {"B1": second}, collection="s"), tmp_path / "c", mode="append",
    )
    assert (hrefs(tmp_path / "c"), letters) == ([("one", second)], [])


def test_a_stac_item_without_a_collection_is_another_one_with_other_files(tmp_path):
    first, second = scene(tmp_path / "old"), scene(tmp_path / "new")
    build(stac_source(tmp_path, {"B1": first}), tmp_path / "c", name="mine")
    _, (letter,) = build(stac_source(tmp_path, {"B1": second}), tmp_path / "c", mode="append")
    assert hrefs(tmp_path / "c") == [("one", first)]
    assert letter.code == "INVALID_RECORD"


def test_an_item_that_is_signed_anew_is_the_same_item(tmp_path):
    data = {"a.tif": pathlib.Path(scene(tmp_path, "a")).read_bytes()}
    with serving(data) as server:
        build(table_source(server.uri("a.tif") + "?sig=1"), tmp_path / "c")
        signed = server.uri("a.tif") + "?sig=2"
        _, letters = build(table_source(signed), tmp_path / "c", mode="append")
    assert (hrefs(tmp_path / "c"), letters) == ([("1", signed)], [])


def test_a_collection_that_is_named_anew_is_appended_to_all_the_same(tmp_path):
    path = scene(tmp_path / "1")
    build(files_in(tmp_path / "1"), tmp_path / "c", name="first")
    build(files_in(tmp_path / "1"), tmp_path / "c", name="second", mode="append")
    assert hrefs(tmp_path / "c") == [("B04", path)]
    assert rows(tmp_path / "c")["B04"]["collection"] == "second"


# What cannot be read just now


@pytest.mark.parametrize("mode", ["update", "append"])
def test_a_record_whose_file_cannot_be_read_stays(tmp_path, mode):
    paths = [scene(tmp_path / "d", name) for name in ("a", "b")]
    build(files_in(tmp_path / "d"), tmp_path / "c")
    before = rows(tmp_path / "c")
    pathlib.Path(paths[1]).unlink()
    counts, (letter,) = build(FileSource(inputs=tuple(paths)), tmp_path / "c", mode=mode)
    assert rows(tmp_path / "c") == before
    assert letter.code == "FETCH_ERROR"
    assert (counts["files_failed"], counts["items_kept"], counts["bands_kept"]) == (1, 1, 2)
    assert counts.get("items_failed", 0) == 0


def test_a_record_of_which_one_file_cannot_be_read_is_brought_up_to_date_but_for_it(tmp_path):
    red, nir = scene(tmp_path, "red"), scene(tmp_path, "nir")
    source = {"red": red, "nir": nir}
    build(stac_source(tmp_path, source, collection="s"), tmp_path / "c")
    before = rows(tmp_path / "c")["one"]
    pathlib.Path(nir).unlink()
    scene(tmp_path, "red", seed=7)
    changed = stac_source(
        tmp_path, source, collection="s",
        properties={"datetime": "2024-05-01T10:00:00Z", "eo:cloud_cover": 3},
    )
    counts, (letter,) = build(changed, tmp_path / "c", mode="update")
    after = rows(tmp_path / "c")["one"]
    assert after["eo:cloud_cover"] == 3
    assert after["nir_metadata"] == before["nir_metadata"]
    assert after["nir_tiff"] == before["nir_tiff"]
    assert after["red_tiff"]["etag"] != before["red_tiff"]["etag"]
    assert (counts["items_indexed"], counts["bands_kept"]) == (1, 1)
    assert json.loads(letter.element)["href"] == nir


def test_a_file_that_is_no_tiff_any_more_is_no_band(tmp_path):
    path = scene(tmp_path / "d", "a")
    scene(tmp_path / "d", "b")
    build(files_in(tmp_path / "d"), tmp_path / "c")
    pathlib.Path(path).write_bytes(b"<Error>gone</Error>")
    counts, _ = build(files_in(tmp_path / "d"), tmp_path / "c", mode="update")
    assert list(rows(tmp_path / "c")) == ["b"]
    assert counts["items_failed"] == 1


def test_another_items_record_does_not_stand_in_for_a_file(tmp_path):
    first, second = scene(tmp_path, "a"), scene(tmp_path, "b")
    scene(tmp_path, "c")
    build(table_source(first), tmp_path / "c")
    pathlib.Path(second).unlink()
    other = table_source(str(tmp_path / "c.tif"), record_id=2).table
    both = pa.concat_tables([table_source(second).table, other])
    reading = StacReading(band_index_map={"B1": 0})
    source = RecordTable(table=both, href_column="path", reading=reading)
    build(source, tmp_path / "c", mode="update")
    assert list(rows(tmp_path / "c")) == ["2"]
