"""What a catalogue, a list or a table may name is decided by where it came from."""

from __future__ import annotations

import json
import logging
import traceback

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fakes import range_server  # noqa: F401 -- a fixture
from make_tiff import make_tiff
from misbehaving import dead_port
from numpy import zeros
from scenes import items_of

from rasteret_beam.errors import FetchError
from rasteret_beam.indexing.files import FileSource
from rasteret_beam.indexing.in_process import index_items
from rasteret_beam.indexing.items import AssetRef, Item
from rasteret_beam.indexing.stac import StacReading
from rasteret_beam.indexing.stac_api import StacSearch
from rasteret_beam.indexing.stac_files import StacFiles
from rasteret_beam.indexing.tables import RecordTable
from rasteret_beam.storage import Store

STORE = Store(allow_http=True)
READING = StacReading(band_map={"B1": "red"})
TIFF = make_tiff(zeros((1, 40, 40), "uint16"))


@pytest.fixture
def server(range_server):  # noqa: F811 -- the fixture above
    range_server.files["f.tif"] = TIFF
    return range_server


@pytest.fixture
def local(tmp_path):
    path = tmp_path / "f.tif"
    path.write_bytes(TIFF)
    return path.as_uri()


def stac(href, name="i"):
    item = {
        "type": "Feature", "stac_version": "1.0.0", "id": name, "bbox": [0, 0, 1, 1],
        "geometry": None, "links": [], "properties": {"datetime": "2024-05-01T00:00:00Z"},
        "assets": {"red": {"href": href}},
    }  # fmt: skip
    return json.dumps(item).encode()


def catalogue(*links):
    told = {"type": "Catalog", "stac_version": "1.0.0", "id": "c", "description": "",
            "links": [{"rel": rel, "href": href} for rel, href in links]}  # fmt: skip
    return json.dumps(told).encode()


def indexed(source, store=STORE):
    """(ids of records, messages of dead letters)."""
    found, refused = items_of(source, store)
    table, letters = index_items(found, store=store)
    return table["id"].to_pylist(), [letter.msg for letter in refused + letters]


def test_an_item_from_elsewhere_indexes_no_local_file(server, local):
    server.files["i.json"] = stac(local)
    ids, letters = indexed(StacFiles(inputs=server.uri("i.json"), reading=READING))
    assert ids == []
    assert "a local file, named by content" in letters[0]


def test_a_local_item_indexes_local_files(local, tmp_path):
    (tmp_path / "i.json").write_bytes(stac(local))
    assert indexed(StacFiles(inputs=str(tmp_path / "i.json"), reading=READING)) == (["i"], [])


def test_no_item_makes_a_worker_ask_a_metadata_service(tmp_path):
    (tmp_path / "i.json").write_bytes(stac("http://169.254.169.254/latest"))
    ids, letters = indexed(StacFiles(inputs=str(tmp_path / "i.json"), reading=READING))
    assert ids == []
    assert "metadata service" in letters[0]


def test_a_catalogue_from_elsewhere_links_to_no_local_file(server, local, tmp_path):
    (tmp_path / "i.json").write_bytes(stac(local))
    (tmp_path / "c.json").write_bytes(catalogue(("item", str(tmp_path / "i.json"))))
    for kind, name in (("item", "i.json"), ("child", "c.json")):
        server.files["c.json"] = catalogue((kind, (tmp_path / name).as_uri()))
        ids, letters = indexed(StacFiles(inputs=server.uri("c.json"), reading=READING))
        assert ids == []
        assert "a local file, named by content" in letters[0]


def test_trust_in_a_local_catalogue_does_not_reach_what_it_links_to(server, local, tmp_path):
    server.files["i.json"] = stac(local)
    (tmp_path / "c.json").write_bytes(catalogue(("item", server.uri("i.json"))))
    ids, letters = indexed(StacFiles(inputs=str(tmp_path / "c.json"), reading=READING))
    assert ids == []
    assert "a local file, named by content" in letters[0]


def test_a_page_from_elsewhere_is_followed_to_no_local_file(server, local, tmp_path):
    page = {"type": "FeatureCollection", "features": [json.loads(stac(local))]}
    (tmp_path / "2.json").write_text(json.dumps(page))
    first = {"type": "FeatureCollection", "features": [json.loads(stac(server.uri("f.tif"), "a"))],
             "links": [{"rel": "next", "href": (tmp_path / "2.json").as_uri()}]}  # fmt: skip
    server.files["1.json"] = json.dumps(first).encode()
    ids, letters = indexed(StacFiles(inputs=server.uri("1.json"), reading=READING))
    assert ids == ["a"]
    assert "a local file, named by content" in letters[0]


def test_a_list_from_elsewhere_names_no_local_file(server, local):
    server.files["list.txt"] = f"{local}\n{server.uri('f.tif')}\n".encode()
    ids, letters = indexed(FileSource(inputs=server.uri("list.txt")))
    assert len(ids) == 1
    assert "a local file, named by content" in letters[0]


def test_files_that_the_operator_names_are_read_wherever_they_are(server, local):
    ids, letters = indexed(FileSource(inputs=(local, server.uri("f.tif"))))
    assert (len(ids), letters) == (2, [])


def test_a_table_from_elsewhere_names_no_local_file(server, local, tmp_path):
    table = pa.table({"id": ["a", "b"], "datetime": [2024, 2024],
                      "href": [local, server.uri("f.tif")]})  # fmt: skip
    pq.write_table(table, tmp_path / "t.parquet")
    server.files["t.parquet"] = (tmp_path / "t.parquet").read_bytes()
    ids, letters = indexed(RecordTable(table=server.uri("t.parquet"), href_column="href"))
    assert ids == ["b"]
    assert "a local file, named by content" in letters[0]
    assert indexed(RecordTable(table=table, href_column="href")) == (["a", "b"], [])


def test_a_file_that_several_name_is_read_as_the_least_trusted_may(local):
    items = [Item(name, {"B1": AssetRef(local)}, origin=origin)
             for name, origin in (("a", "https://x/i.json"), ("b", "/data/i.json"))]  # fmt: skip
    for given in (items, items[::-1]):
        _, letters = index_items(given, store=STORE)
        assert "a local file, named by content" in letters[0].msg


def test_hosts_and_schemes_are_held_when_headers_are_read(server, tmp_path):
    (tmp_path / "i.json").write_bytes(stac(server.uri("f.tif")))
    source = StacFiles(inputs=str(tmp_path / "i.json"), reading=READING)
    allowed = Store(allow_http=True, allow_hosts=("127.0.0.1",))
    assert indexed(source, allowed) == (["i"], [])
    _, letters = indexed(source, Store(allow_http=True, allow_hosts=("*.example.com",)))
    assert "host 127.0.0.1 is not one of --allow_hosts (*.example.com)" in letters[0]


def test_no_log_or_error_of_a_search_tells_a_signature(caplog, monkeypatch):
    caplog.set_level(logging.DEBUG)
    source = StacSearch(url=f"{dead_port()}/v1?sig=s3cret", collections=("c",))
    monkeypatch.setattr("rasteret_beam.indexing.stac_api._RETRIES", 1)
    with pytest.raises(FetchError) as caught:
        list(source.read(STORE, None))
    assert "Retrying" in caplog.text
    assert "REDACTED" in caplog.text
    assert "s3cret" not in caplog.text
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))
