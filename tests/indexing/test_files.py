"""COGs by address: what is listed, what each is called, when it was taken."""

import datetime as dt
import json
import os
import pathlib
import pickle

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fakes import range_server  # noqa: F401 -- a fixture
from hypothesis import given
from hypothesis import strategies as st
from scenes import items_of

from rasteret_beam.errors import FetchError, OptionError
from rasteret_beam.indexing.files import FileSource, list_files
from rasteret_beam.indexing.items import EVERY_SAMPLE, AssetRef, Item
from rasteret_beam.schema import BBOX
from rasteret_beam.storage import Store

STORE = Store()


def make_files(folder, *names):
    """Empty files, at any depth; their paths as texts."""
    paths = [pathlib.Path(folder) / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return [str(path) for path in paths]


def items(inputs, **options):
    found, letters = items_of(FileSource(inputs=inputs, **options), STORE)
    assert letters == []
    return found


def ids(inputs, **options):
    return {item.assets[EVERY_SAMPLE].href: item.id for item in items(inputs, **options)}


# What is listed


def test_a_single_tiff_is_listed_without_being_looked_at():
    assert list_files(STORE, "s3://bucket/a.tif") == ["s3://bucket/a.tif"]


@pytest.mark.parametrize("name", ["a.tif", "a.TIF", "a.tiff", "a.gtiff", "a.cog"])
def test_a_tiff_is_known_by_the_end_of_its_name(tmp_path, name):
    (path,) = make_files(tmp_path, name)
    assert list_files(STORE, path) == [path]


def test_a_query_does_not_hide_the_end_of_a_name():
    signed = "https://host/a.tif?sig=b%2Fc"
    assert list_files(STORE, signed) == [signed]


def test_a_folder_gives_all_tiffs_below_it(tmp_path):
    paths = make_files(tmp_path, "a.tif", "deep/er/b.tiff", "c.txt", "d.tif.aux.xml")
    assert list_files(STORE, str(tmp_path)) == paths[:2]


def test_a_folder_without_tiffs_is_refused(tmp_path):
    make_files(tmp_path, "a.txt")
    with pytest.raises(FetchError, match=r"no \.tif or \.tiff file below it"):
        list_files(STORE, str(tmp_path))


def test_a_pattern_stays_in_its_folder(tmp_path):
    paths = make_files(tmp_path, "a_1.tif", "a_2.tif", "b_1.tif", "x/a_3.tif")
    assert list_files(STORE, f"{tmp_path}/a_*.tif") == paths[:2]


def test_two_stars_cross_folders(tmp_path):
    paths = make_files(tmp_path, "a.tif", "x/b.tif", "x/y/c.tif")
    assert sorted(list_files(STORE, f"{tmp_path}/**/*.tif")) == paths


def test_a_pattern_that_matches_nothing_is_refused(tmp_path):
    with pytest.raises(FetchError, match="no file matches"):
        list_files(STORE, f"{tmp_path}/*.tif")


def test_a_list_has_one_address_a_line_but_for_blanks_and_comments(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("# scenes\n\n  s3://b/a.tif  \r\nhttps://h/b.tif?x=1\n/c.tif\n")
    assert list_files(STORE, str(path)) == ["s3://b/a.tif", "https://h/b.tif?x=1", "/c.tif"]


def test_a_list_may_begin_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes(b"\xef\xbb\xbf/a.tif\n/b.tif\n")
    assert list_files(STORE, str(path)) == ["/a.tif", "/b.tif"]


def test_a_list_that_names_nothing_is_refused(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("# nothing yet\n")
    with pytest.raises(FetchError):
        list_files(STORE, str(path))


def test_what_is_neither_a_tiff_nor_text_is_refused(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FetchError, match="neither a TIFF by its name nor a list"):
        list_files(STORE, str(path))


def test_a_list_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(FetchError, match=r"nowhere\.txt"):
        list_files(STORE, str(tmp_path / "nowhere.txt"))


def test_a_list_may_come_from_a_web_server(range_server):  # noqa: F811 -- the fixture
    range_server.files["list.txt"] = b"https://h/a.tif\nhttps://h/b.tif\n"
    found = list_files(Store(allow_http=True), range_server.uri("list.txt"))
    assert found == ["https://h/a.tif", "https://h/b.tif"]


def test_addresses_are_taken_as_they_are_and_each_once():
    given_twice = ("s3://b/a.tif", "https://h/x", "s3://b/a.tif")
    assert list_files(STORE, given_twice) == ["s3://b/a.tif", "https://h/x"]


def test_local_addresses_are_given_in_full(tmp_path, monkeypatch):
    (path,) = make_files(tmp_path, "a.tif")
    monkeypatch.chdir(tmp_path)
    assert list_files(STORE, ("a.tif", "./a.tif", f"file://{path}")) == [path]


# What each is called


@pytest.mark.parametrize("root", ["s3://b/", "gs://b/", "/data/"])
def test_names_in_buckets_and_folders_are_as_they_are_spelled(root):
    hrefs = [f"{root}a%20b?20240101.tif", f"{root}a b?20240102.tif"]
    found = items(hrefs, datetime_pattern=r"\?(\d{8})")
    assert [item.id for item in found] == ["a%20b?20240101", "a b?20240102"]
    assert list_files(STORE, f"{root}a#1.tif") == [f"{root}a#1.tif"]


def test_names_on_web_servers_are_unescaped():
    assert [item.id for item in items(["https://h/a%20b.tif?x=1"])] == ["a b"]


def test_a_file_is_called_by_its_stem(tmp_path):
    (path,) = make_files(tmp_path, "scene.v1.tif")
    assert ids(path) == {path: "scene.v1"}


def test_a_query_is_no_part_of_an_id():
    assert ids(("https://h/a/scene.tif?sig=x",)) == {"https://h/a/scene.tif?sig=x": "scene"}


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path):
    paths = make_files(tmp_path, "2023/a/b4.tif", "2024/a/b4.tif", "2024/b8.tif")
    assert ids(str(tmp_path)) == dict(zip(paths, ["2023/a/b4", "2024/a/b4", "b8"], strict=True))


def test_files_that_differ_by_their_ending_alone_keep_apart(tmp_path):
    paths = make_files(tmp_path, "a.tif", "a.tiff")
    assert len(set(ids(str(tmp_path)).values())) == len(paths)


def test_ids_do_not_depend_on_the_order_of_addresses():
    hrefs = ("s3://b/2023/b4.tif", "s3://b/2024/b4.tif", "s3://b/c.tif")
    assert ids(hrefs) == ids(hrefs[::-1])


_PARTS = st.sampled_from(["a", "b", "2023", "B4", "a.b"])
_HREFS = st.lists(_PARTS, min_size=1, max_size=4).map(lambda p: "s3://x/" + "/".join(p) + ".tif")


@given(hrefs=st.lists(_HREFS, min_size=1, max_size=12, unique=True))
def test_every_file_has_an_id_of_its_own(hrefs):
    found = ids(tuple(hrefs))
    assert set(found) == set(hrefs)
    assert len(set(found.values())) == len(hrefs)


def test_many_files_are_listed_in_parts():
    hrefs = tuple(f"s3://b/{n}.tif" for n in range(2001))
    parts = list(FileSource(inputs=hrefs).parts(STORE))
    assert [len(part) for part in parts] == [1000, 1000, 1]
    assert [href for part in parts for _, href in part] == list(hrefs)


def test_a_file_whose_name_is_no_text_is_a_dead_letter_and_the_others_stay(tmp_path):
    (sound,) = make_files(tmp_path, "a.tif")
    pathlib.Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.tif")).touch()
    found, (letter,) = items_of(FileSource(inputs=str(tmp_path)), STORE)
    assert [item.assets[EVERY_SAMPLE].href for item in found] == [sound]
    assert json.loads(letter.element) == {"href": f"{tmp_path}/caf\\xe9.tif"}
    assert letter.code == "INVALID_RECORD"


# Beside a collection


def beside(folder, records, *hrefs):
    """Ids of files, where a collection has these (id, addresses) already."""
    items = [
        Item(name, {f"B{n}": AssetRef(href, 0) for n, href in enumerate(each)})
        for name, each in records
    ]
    assets = {"id": [item.id for item in items],
              "assets": [{k: {"href": a.href} for k, a in item.assets.items()} for item in items]}
    others = {name: [None] * len(items) for name in ("geometry", "bbox")}
    table = pa.table({**assets, **others, "datetime": pa.nulls(len(items), pa.timestamp("us"))})
    at = table.column_names.index("bbox")
    table = table.set_column(at, "bbox", pa.nulls(len(items), BBOX))
    pq.write_table(table, folder / "c.parquet")
    return ids(hrefs, beside=str(folder / "c.parquet"))


def test_a_file_keeps_the_id_that_it_has_in_a_collection(tmp_path):
    records = [("1/b4", ["s3://b/1/b4.tif"]), ("b4", ["s3://b/2/b4.tif"])]
    hrefs = ("s3://b/1/b4.tif", "s3://b/2/b4.tif")
    assert beside(tmp_path, records, *hrefs) == {hrefs[0]: "1/b4", hrefs[1]: "b4"}


def test_a_new_file_gets_no_id_that_a_collection_has(tmp_path):
    records = [("b4", ["s3://b/2024/1/1/b4.tif"]), ("2/b4", ["s3://b/2024/1/2/b4.tif"])]
    new = "s3://b/2024/2/2/b4.tif"
    assert beside(tmp_path, records, new) == {new: "2/2/b4"}


def test_a_record_of_several_files_gives_none_of_them_its_id(tmp_path):
    records = [("b4", ["s3://b/1/b4.tif", "s3://b/1/b8.tif"])]
    assert beside(tmp_path, records, "s3://b/1/b4.tif") == {"s3://b/1/b4.tif": "1/b4"}


def test_a_record_of_another_source_does_not_give_a_file_its_id(tmp_path):
    assert beside(tmp_path, [("7", ["s3://b/b4.tif"])], "s3://b/b4.tif") == {
        "s3://b/b4.tif": "b4",
    }


def test_where_there_is_no_collection_yet_ids_are_as_ever(tmp_path):
    found = ids(("s3://b/b4.tif",), beside=str(tmp_path / "nowhere"))
    assert found == {"s3://b/b4.tif": "b4"}


# What an item is


def test_without_names_every_sample_is_a_band():
    (item,) = items(("s3://b/a.tif",))
    assert item.assets == {EVERY_SAMPLE: AssetRef("s3://b/a.tif")}
    assert (item.datetime, item.collection, item.crs) == (None, None, None)


def test_named_bands_are_samples_of_one_file():
    (item,) = items(("s3://b/a.tif",), bands={"red": 0, "nir": 3})
    assert item.assets == {"red": AssetRef("s3://b/a.tif", 0), "nir": AssetRef("s3://b/a.tif", 3)}


@pytest.mark.parametrize(
    ("pattern", "name", "when"),
    [
        (r"\d{8}", "a_20240131.tif", (2024, 1, 31)),
        (r"_(\d{8})T(\d{6})", "a_20240131T101112.tif", (2024, 1, 31, 10, 11, 12)),
        (r"_(\d{7})", "a_2024031.tif", (2024, 1, 31)),
        (r"\d{4}-\d\d", "a_2024-03.tif", (2024, 3, 1)),
        (r"(?P<day>\d\d)\.(?P<month>\d\d)\.(?P<year>\d{4})", "31.01.2024.tif", (2024, 1, 31)),
    ],
)
def test_a_pattern_finds_the_datetime(pattern, name, when):
    (item,) = items((f"s3://b/{name}",), datetime_pattern=pattern)
    assert item.datetime == dt.datetime(*when)  # noqa: DTZ001 -- UTC, as stored


def test_the_file_name_goes_before_its_folders():
    (item,) = items(("s3://b/20230101/a_20240131.tif",), datetime_pattern=r"\d{8}")
    assert item.datetime == dt.datetime(2024, 1, 31)  # noqa: DTZ001


def test_a_folder_may_have_the_datetime():
    (item,) = items(("s3://b/20230101/a.tif",), datetime_pattern=r"\d{8}")
    assert item.datetime == dt.datetime(2023, 1, 1)  # noqa: DTZ001


@pytest.mark.parametrize("name", ["none", "20241331", "20240230"])
def test_a_name_without_a_date_is_a_dead_letter_and_the_others_stay(name):
    source = FileSource(inputs=(f"s3://b/{name}.tif", "s3://b/20240101.tif"),
                        datetime_pattern=r"\d{8}")
    found, (letter,) = items_of(source, STORE)
    assert [item.id for item in found] == ["20240101"]
    assert f"s3://b/{name}.tif" in letter.element
    assert letter.code == "INVALID_RECORD"


def test_a_year_of_twenty_digits_is_a_dead_letter():
    source = FileSource(inputs=("s3://b/99999999999999999999.tif",),
                        datetime_pattern=r"(?P<year>\d+)")
    assert len(items_of(source, STORE)[1]) == 1


def test_a_dead_letter_keeps_no_credentials():
    source = FileSource(inputs=("https://h/a.tif?sig=secret",), datetime_pattern=r"\d{8}")
    _, (letter,) = items_of(source, STORE)
    assert "secret" not in repr(letter)


def test_a_pattern_that_is_no_expression_is_refused_at_once():
    with pytest.raises(OptionError, match="no regular expression"):
        FileSource(inputs="a.tif", datetime_pattern="(")


def test_a_source_travels():
    source = FileSource(inputs=("s3://b/a.tif",), bands={"red": 0}, datetime_pattern=r"\d{8}")
    assert pickle.loads(pickle.dumps(source)) == source  # noqa: S301
