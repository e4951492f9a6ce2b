"""STAC in files: what kinds there are, how links are followed, what is a dead letter."""

import concurrent.futures
import datetime as dt
import itertools
import json
import os
import pathlib
import pickle

import pytest
from fakes import serving
from scenes import items_of

from rasteret_beam.errors import FetchError
from rasteret_beam.indexing.stac import StacReading
from rasteret_beam.indexing.stac_files import Named, StacFiles, StacPart
from rasteret_beam.storage import Store

STORE = Store(allow_http=True)


def stac(name="a", href="./red.tif", **members):
    return {
        "type": "Feature", "stac_version": "1.0.0", "id": name,
        "properties": {"datetime": "2024-01-31T00:00:00Z"},
        "assets": {"red": {"href": href}}, **members,
    }  # fmt: skip


def collection_of(*items, **members):
    return {"type": "FeatureCollection", "features": list(items), **members}


def catalogue(*links, kind="Catalog"):
    return {"type": kind, "id": "c", "links": [{"rel": r, "href": h} for r, h in links]}


def lines(*items):
    return "\n".join(item if isinstance(item, str) else json.dumps(item) for item in items)


def write(folder, **files):
    """Writes files of JSON, text or bytes; ``__`` is a slash and ``_json`` the ending."""
    for name, content in files.items():
        path = pathlib.Path(folder) / name.replace("__", "/").replace("_json", ".json")
        path.parent.mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, (str, bytes)) else json.dumps(content)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
    return folder


def found(inputs, **reading):
    """(items' ids, messages of dead letters)."""
    source = StacFiles(inputs=str(inputs), reading=StacReading(**reading))
    items, letters = items_of(source, STORE)
    return sorted(item.id for item in items), [letter.msg for letter in letters]


def hrefs(inputs):
    items, letters = items_of(StacFiles(inputs=str(inputs)), STORE)
    assert letters == []
    return {item.id: item.assets["B04"].href for item in items}


# Kinds of files


def test_an_item_alone(tmp_path):
    write(tmp_path, x_json=stac())
    assert hrefs(tmp_path / "x.json") == {"a": str(tmp_path / "red.tif")}


def test_an_item_collection(tmp_path):
    write(tmp_path, x_json=collection_of(stac("a"), stac("b", "sub/r.tif")))
    assert hrefs(tmp_path / "x.json") == {
        "a": str(tmp_path / "red.tif"), "b": str(tmp_path / "sub/r.tif"),
    }  # fmt: skip


@pytest.mark.parametrize("features", [[], None])
def test_an_empty_item_collection_has_no_items(tmp_path, features):
    write(tmp_path, x_json={"type": "FeatureCollection", "features": features})
    assert found(tmp_path / "x.json") == ([], [])


@pytest.mark.parametrize("ending", ["ndjson", "jsonl", "ndgeojson", "geojsonl", "NDJSON"])
def test_one_item_a_line(tmp_path, ending):
    path = tmp_path / f"x.{ending}"
    path.write_text(lines(stac("a"), "", stac("b"), "   ", ""))
    assert found(path) == (["a", "b"], [])


def test_lines_may_end_as_on_windows(tmp_path):
    path = tmp_path / "x.ndjson"
    path.write_bytes(lines(stac("a"), stac("b")).replace("\n", "\r\n").encode())
    assert found(path) == (["a", "b"], [])


def test_a_broken_line_is_a_dead_letter_and_the_others_stay(tmp_path):
    path = tmp_path / "x.ndjson"
    path.write_text(lines(stac("a"), "{broken", "[1]", stac("b"), "[" * 10**5))
    ids, (broken, no_object, deep) = found(path)
    assert ids == ["a", "b"]
    assert "x.ndjson', item 'number 2': Not JSON" in broken
    assert "item 'number 3': Expected a STAC object" in no_object
    assert "item 'number 5': Not JSON: maximum recursion depth" in deep


@pytest.mark.parametrize("name", ["x.json", "x.ndjson"])
def test_a_file_may_begin_with_a_byte_order_mark(tmp_path, name):
    (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + json.dumps(stac()).encode())
    assert found(tmp_path / name) == (["a"], [])


@pytest.mark.parametrize("character", ["\u2028", "\u0085", "\u2029"])
def test_text_may_hold_what_unicode_calls_a_line_end(tmp_path, character):
    item = stac(properties={"datetime": None, "title": f"a{character}b"})
    (tmp_path / "x.ndjson").write_text(json.dumps(item, ensure_ascii=False), encoding="utf-8")
    assert found(tmp_path / "x.ndjson") == (["a"], [])


def test_many_items_come_in_batches(tmp_path):
    write(tmp_path, x_json=collection_of(*(stac(f"{n}") for n in range(2500))))
    source = StacFiles(inputs=str(tmp_path / "x.json"))
    (part,) = source.parts(STORE)
    batches = list(source.read(STORE, part))
    assert [len(batch.items) for batch in batches] == [1000, 1000, 500]


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"", b"5", b"[1]", b'"x"', b"[" * 10**5])
def test_what_is_no_stac_is_a_dead_letter(tmp_path, content):
    (tmp_path / "x.json").write_bytes(content)
    ids, (message,) = found(tmp_path / "x.json")
    assert ids == []
    assert "x.json" in message


def test_a_broken_item_is_a_dead_letter_and_the_others_stay(tmp_path):
    write(tmp_path, x_json=collection_of(stac("a", assets={}), stac("b"), stac(None), "x", 5, None))
    ids, messages = found(tmp_path / "x.json")
    assert ids == ["b"]
    assert "item 'a': It has no asset with an href" in messages[0]
    assert len(messages) == 5


@pytest.mark.parametrize(
    "members", [{"properties": [1]}, {"assets": [1]}, {"bbox": ["a", 1, 2, 3]}, {"bbox": [1]}],
)
def test_an_item_of_wrong_types_is_a_dead_letter_too(tmp_path, members):
    write(tmp_path, x_json=collection_of(stac("a", **members), stac("b")))
    ids, messages = found(tmp_path / "x.json", bbox=(0.0, 0.0, 1.0, 1.0))
    assert ids == ["b"]
    assert len(messages) == 1


def test_features_that_are_no_list_are_a_dead_letter(tmp_path):
    write(tmp_path, x_json={"type": "FeatureCollection", "features": 5})
    assert len(found(tmp_path / "x.json")[1]) == 1


def test_the_next_page_of_an_item_collection_is_followed(tmp_path):
    links = [{"rel": "next", "href": "./y.json"}]
    write(tmp_path, x_json=collection_of(stac("a"), links=links), y_json=collection_of(stac("b")))
    assert found(tmp_path / "x.json") == (["a", "b"], [])


# Which items


def test_a_reading_chooses_among_the_items(tmp_path):
    write(tmp_path, x_json=collection_of(
        stac("in", bbox=[0, 0, 1, 1]),
        stac("far", bbox=[5, 5, 6, 6]),
        stac("late", bbox=[0, 0, 1, 1], properties={"datetime": "2024-02-01T00:00:00Z"}),
        stac("last", bbox=[0, 0, 1, 1], properties={"datetime": "2024-01-31T23:59:59Z"}),
        stac("no box"),
    ))  # fmt: skip
    ids, _ = found(
        tmp_path / "x.json", bbox=(0.0, 0.0, 2.0, 2.0), date_range=("2024-01-01", "2024-01-31"),
    )
    assert ids == ["in", "last", "no box"]


def test_what_a_broken_datetime_would_choose_is_a_dead_letter(tmp_path):
    write(tmp_path, x_json=stac(properties={"datetime": "soon"}))
    ids, (message,) = found(tmp_path / "x.json")
    assert ids == []
    assert "datetime 'soon' is no RFC 3339 date" in message


def test_datetimes_come_in_utc(tmp_path):
    write(tmp_path, x_json=stac(properties={"datetime": "2024-01-31T01:00:00+02:00"}))
    ((item,), _) = items_of(StacFiles(inputs=str(tmp_path / "x.json")), STORE)
    assert item.datetime == dt.datetime(2024, 1, 30, 23)  # noqa: DTZ001 -- UTC, as stored


# Catalogues


def nested(folder):
    """A catalogue of two collections at two depths."""
    return write(
        folder,
        catalog_json=catalogue(("child", "./s2/collection.json"), ("root", "./catalog.json"),
                               ("item", "top.json")),
        top_json=stac("top"),
        s2__collection_json=catalogue(("parent", "../catalog.json"), ("child", "2024/catalog.json"),
                                      ("item", "./i/a.json"), kind="Collection"),
        s2__i__a_json=stac("a", "../../r.tif"),
        s2__2024__catalog_json=catalogue(("item", "b.json"), ("items", "c.json")),
        s2__2024__b_json=stac("b"),
        s2__2024__c_json=collection_of(stac("c1"), stac("c2")),
    )  # fmt: skip


def test_a_catalogue_gives_the_items_of_all_its_children(tmp_path):
    nested(tmp_path)
    assert found(tmp_path / "catalog.json") == (["a", "b", "c1", "c2", "top"], [])


def test_relative_links_and_addresses_are_relative_to_their_own_file(tmp_path):
    nested(tmp_path)
    told = hrefs(tmp_path / "catalog.json")
    assert told["a"] == str(tmp_path / "r.tif")
    assert told["c1"] == str(tmp_path / "s2/2024/red.tif")


def test_a_folder_gives_every_item_below_it_linked_or_not(tmp_path):
    nested(tmp_path)
    write(tmp_path, stray_json=stac("stray"))
    linked, _ = found(tmp_path / "catalog.json")
    assert found(tmp_path) == (sorted([*linked, "stray"]), [])


def test_a_catalogue_over_http_gives_the_same(tmp_path):
    nested(tmp_path)
    files = {
        str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.rglob("*.json")
    }
    with serving(files) as server:
        assert found(server.uri("catalog.json"))[0] == found(tmp_path / "catalog.json")[0]
        assert hrefs(server.uri("catalog.json"))["a"] == server.uri("r.tif")
        server.requests.clear()
        assert len(list(StacFiles(inputs=server.uri("catalog.json")).parts(STORE))) == 4
        assert server.count("s2/i/a.json") == 0  # listing does not open items


def test_a_cycle_of_children_ends(tmp_path):
    write(tmp_path,
          a_json=catalogue(("child", "b.json"), ("child", "a.json")),
          b_json=catalogue(("child", "./a.json"), ("child", "b.json"), ("item", "x.json")),
          x_json=stac("x"))  # fmt: skip
    assert found(tmp_path / "a.json") == (["x"], [])


def test_a_cycle_of_items_ends(tmp_path):
    write(tmp_path, a_json=catalogue(("item", "b.json")), b_json=catalogue(("item", "a.json")))
    items, (letter,) = found(tmp_path / "a.json")
    assert items == []
    assert "b.json': A catalogue, linked as an item" in letter


def test_an_item_that_two_catalogues_name_is_read_once(tmp_path):
    write(tmp_path, c_json=catalogue(("child", "a.json"), ("child", "b.json")),
          a_json=catalogue(("item", "x.json")), b_json=catalogue(("item", "./x.json")),
          x_json=stac("x"))  # fmt: skip
    assert found(tmp_path / "c.json") == (["x"], [])


def test_a_missing_child_is_a_dead_letter_and_the_others_stay(tmp_path):
    write(tmp_path, c_json=catalogue(("child", "nope.json"), ("item", "x.json")), x_json=stac("x"))
    ids, (message,) = found(tmp_path / "c.json")
    assert ids == ["x"]
    assert "nope.json" in message


def test_a_missing_or_broken_item_is_a_dead_letter_and_the_others_stay(tmp_path):
    links = [("item", name) for name in ("gone.json", "bad.json", "x.json")]
    write(tmp_path, c_json=catalogue(*links), bad_json=b"{", x_json=stac("x"))
    ids, messages = found(tmp_path / "c.json")
    assert ids == ["x"]
    assert ["gone" in messages[0], "bad" in messages[1]] == [True, True]


def test_a_server_that_fails_is_a_dead_letter():
    files = {"c.json": json.dumps(catalogue(("item", "x.json"))).encode()}
    with serving(files) as server:
        ids, (message,) = found(server.uri("c.json"))
    assert ids == []
    assert "x.json" in message


def test_a_catalogue_without_items_has_none(tmp_path):
    write(tmp_path, c_json=catalogue())
    assert found(tmp_path / "c.json") == ([], [])


def test_links_of_the_wrong_type_are_passed_over(tmp_path):
    write(tmp_path, c_json={"type": "Catalog", "links": ["x", None, {"rel": "item"}]})
    assert found(tmp_path / "c.json") == ([], [])


# Folders and patterns


def test_a_folder_without_a_catalogue_gives_all_its_json(tmp_path):
    write(tmp_path, x_json=stac("x"), deep__y_json=collection_of(stac("y")))
    (tmp_path / "z.ndjson").write_text(lines(stac("z")))
    (tmp_path / "readme.md").write_text("no")
    assert found(tmp_path) == (["x", "y", "z"], [])


def test_a_pattern_gives_the_files_it_matches(tmp_path):
    write(tmp_path, x1_json=stac("x1"), x2_json=stac("x2"), y_json=stac("y"))
    assert found(tmp_path / "x*.json") == (["x1", "x2"], [])


def test_a_pattern_may_match_catalogues(tmp_path):
    nested(tmp_path)
    assert found(tmp_path / "*" / "collection.json") == (["a", "b", "c1", "c2"], [])


def test_many_files_are_read_in_parts(tmp_path):
    for n in range(401):
        (tmp_path / f"{n}.json").write_text(json.dumps(stac(str(n))))
    parts = list(StacFiles(inputs=str(tmp_path)).parts(STORE))
    assert [len(part.files) for part in parts] == [200, 200, 1]
    assert len(found(tmp_path)[0]) == 401


def test_a_folder_of_catalogues_gives_the_items_of_each(tmp_path):
    write(tmp_path, a__catalog_json=catalogue(("item", "i.json")), a__i_json=stac("a"),
          b__catalog_json=catalogue(("item", "i.json")), b__i_json=stac("b"))  # fmt: skip
    assert found(tmp_path) == (["a", "b"], [])


def test_a_catalogue_below_a_readme_is_still_the_catalogue(tmp_path):
    write(tmp_path, README="x", data__catalog_json=catalogue(("item", "x.json")),
          data__x_json=stac("x"))  # fmt: skip
    assert found(tmp_path) == (["x"], [])


def test_a_pattern_that_matches_nothing_is_refused(tmp_path):
    with pytest.raises(FetchError, match="no file matches"):
        found(tmp_path / "*.json")


def test_a_folder_without_json_is_refused(tmp_path):
    with pytest.raises(FetchError):
        found(tmp_path)


def test_a_file_that_is_not_there_is_a_dead_letter(tmp_path):
    ids, (message,) = found(tmp_path / "nowhere.json")
    assert ids == []
    assert "nowhere.json" in message


def test_dead_letters_keep_no_credentials():
    with serving({"x.json": json.dumps(stac("a", assets={})).encode()}) as server:
        items, (letter,) = items_of(StacFiles(inputs=server.uri("x.json?sig=secret")), STORE)
    assert items == []
    assert "secret" not in repr(letter)


def test_a_source_travels():
    source = StacFiles(inputs="s3://b/c.json", reading=StacReading(band_map={"R": "red"}))
    assert pickle.loads(pickle.dumps(source)) == source  # noqa: S301


# How much is held


def test_a_file_whose_name_is_no_text_is_a_dead_letter_and_the_others_stay(tmp_path):
    write(tmp_path, x_json=stac())
    odd = pathlib.Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.json"))
    odd.write_text(json.dumps(stac("b")), encoding="utf-8")
    ids, (message,) = found(tmp_path)
    assert ids == ["a"]
    assert "caf\\\\xe9.json" in message


def test_only_some_files_are_read_ahead(tmp_path, monkeypatch):
    asked = []

    class Pool(concurrent.futures.ThreadPoolExecutor):
        def submit(self, *args, **kwargs):
            asked.append(args)
            return super().submit(*args, **kwargs)

    monkeypatch.setattr(concurrent.futures, "ThreadPoolExecutor", Pool)
    write(tmp_path, **{f"{n}_json": stac(str(n)) for n in range(100)})
    part = StacPart([Named(str(tmp_path / f"{n}.json"), None) for n in range(100)], "skip")
    batches = StacFiles(inputs=str(tmp_path)).read(STORE, part)
    taken = [item.id for batch in itertools.islice(batches, 10) for item in batch.items]
    assert len(asked) <= 10 + 32
    taken += [item.id for batch in batches for item in batch.items]
    assert taken == [str(n) for n in range(100)]
