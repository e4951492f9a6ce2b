"""The fake STAC API and catalogue, met by the clients that everyone uses."""

import pathlib

import pystac
import pystac_client
import pytest
import requests
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO
from stac_server import serving_stac, stac_item, write_static_catalog
from urllib3 import Retry

ITEMS = [
    stac_item(
        f"s{number:02}",
        {"red": f"https://example.org/s{number:02}.tif"},
        when=f"2024-01-{number + 1:02}T12:00:00Z",
        bbox=(number, 40.0, number + 1, 41.0),
        collection="even" if number % 2 == 0 else "odd",
        properties={"eo:cloud_cover": number * 10, "platform": "ab"[number % 2]},
    )
    for number in range(10)
]


@pytest.fixture(params=["POST", "GET"])
def search(request):
    """Gives ids that a search finds, by each method."""
    with serving_stac(ITEMS, page_items=3) as server:

        def found(**parameters):
            client = pystac_client.Client.open(server.url)
            parameters.setdefault("collections", ["even", "odd"])
            items = client.search(method=request.param, **parameters).items()
            return [int(item.id[1:]) for item in items]

        yield found


def test_pages_give_each_item_once_and_in_order(search):
    assert search() == list(range(10))
    assert search(limit=1) == list(range(10))
    assert search(limit=1000, max_items=4) == [0, 1, 2, 3]


def test_collections_and_ids_choose(search):
    assert search(collections=["odd"]) == [1, 3, 5, 7, 9]
    assert search(collections=["none"]) == []
    assert search(ids=["s07", "s02"]) == [2, 7]


def test_boxes_that_touch_overlap(search):
    assert search(bbox=[3.0, 41.0, 4.0, 42.0]) == [2, 3, 4]
    assert search(bbox=[3.5, 40.5, 3.6, 40.6]) == [3]
    assert search(bbox=[9.5, 0.0, -170.0, 80.0]) == [9]
    assert search(bbox=[0.0, 41.5, 9.0, 50.0]) == []


def test_intervals_are_closed_or_open(search):
    assert search(datetime="2024-01-03T12:00:00Z") == [2]
    assert search(datetime="2024-01-03T12:00:00Z/2024-01-05T12:00:00Z") == [2, 3, 4]
    assert search(datetime="2024-01-03T12:00:01Z/2024-01-05T11:59:59Z") == [3]
    assert search(datetime="../2024-01-02") == [0, 1]
    assert search(datetime="2024-01-09/..") == [8, 9]


def test_conditions_on_properties(search):
    assert search(query={"eo:cloud_cover": {"lt": 20}}) == [0, 1]
    assert search(query={"eo:cloud_cover": {"gte": 20, "lte": 40}}) == [2, 3, 4]
    assert search(query={"eo:cloud_cover": {"gt": 60}, "platform": {"eq": "b"}}) == [7, 9]
    assert search(query={"platform": {"neq": "a"}}) == [1, 3, 5, 7, 9]
    assert search(query={"eo:cloud_cover": {"in": [10, 90]}}) == [1, 9]
    assert search(query={"nobody:has": {"neq": 1}}) == []


def test_items_of_an_interval_are_found_by_overlap():
    whole = stac_item("year", {}, when=("2024-01-01T00:00:00Z", "2024-12-31T00:00:00Z"))
    with serving_stac([whole]) as server:
        client = pystac_client.Client.open(server.url)
        assert [i.id for i in client.search(datetime="2024-06-01").items()] == ["year"]
        assert list(client.search(datetime="2025-06-01").items()) == []


def test_collections_are_listed_with_their_extent():
    with serving_stac(ITEMS) as server:
        client = pystac_client.Client.open(server.url)
        assert [c.id for c in client.get_collections()] == ["even", "odd"]
        assert client.get_collection("odd").extent.spatial.bboxes == [[1, 40.0, 10, 41.0]]
        assert client.conforms_to("QUERY")
        item = next(client.search(ids=["s03"]).items())
        assert requests.get(item.get_self_href(), timeout=5).json()["id"] == "s03"


def test_pages_requests_and_parameters_are_counted():
    with serving_stac(ITEMS, page_items=4) as server:
        client = pystac_client.Client.open(server.url)
        assert len(list(client.search(collections=["even", "odd"]).items())) == 10
        assert (server.pages, server.requests["POST", "/search"]) == (3, 3)
        assert [s.get("token") for s in server.searches] == [None, "4", "8"]
        assert all(s["collections"] == ["even", "odd"] for s in server.searches)
        assert (server.count("/search"), server.count("/collections")) == (3, 0)


def test_drifting_pages_give_one_item_twice():
    with serving_stac(ITEMS, page_items=4, drifting=True) as server:
        client = pystac_client.Client.open(server.url)
        found = [int(item.id[1:]) for item in client.search().items()]
    assert found == [0, 1, 2, 3, 3, 4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_failures_come_as_often_as_told(status):
    with serving_stac(ITEMS) as server:
        client = pystac_client.Client.open(server.url)
        server.fail_searches(status, 2)
        for _ in range(2):
            with pytest.raises(APIError) as failure:
                list(client.search().items())
            assert failure.value.status_code == status
        assert len(list(client.search().items())) == 10
        assert (server.pages, server.count("/search")) == (1, 3)


def test_clients_that_retry_get_over_failures():
    retry = Retry(total=3, backoff_factor=0, status_forcelist=(429, 503), allowed_methods=None)
    with serving_stac(ITEMS, page_items=5) as server:
        client = pystac_client.Client.open(server.url, stac_io=StacApiIO(max_retries=retry))
        server.fail_searches(503, 2)
        server.fail_searches(429, retry_after_seconds=0)
        assert len(list(client.search().items())) == 10
        assert (server.pages, server.count("/search")) == (2, 5)


def test_retry_after_is_told():
    with serving_stac(ITEMS) as server:
        server.fail_searches(429, retry_after_seconds=7)
        answer = requests.post(server.url + "/search", json={}, timeout=5)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")


def test_what_is_not_understood_is_refused():
    with serving_stac(ITEMS) as server:
        unknown = {"query": {"platform": {"like": "a"}}}
        for search in ({"sortby": "id"}, {"limit": -1}, {"bbox": ["west"]}, unknown):
            answer = requests.post(server.url + "/search", json=search, timeout=5)
            assert answer.status_code == 400
        assert requests.get(server.url + "/nothing", timeout=5).status_code == 404


def test_a_header_can_be_required():
    headers = {"Authorization": "Bearer secret"}
    with serving_stac(ITEMS, required_headers=headers) as server:
        with pytest.raises(APIError, match="header is missing"):
            pystac_client.Client.open(server.url)
        client = pystac_client.Client.open(server.url, headers=headers)
        assert len(list(client.search().items())) == 10


def test_static_catalogue_leads_to_its_items(tmp_path):
    file = tmp_path / "data" / "s.tif"
    local = stac_item("local", {"red": str(file)}, collection=None)
    root = write_static_catalog(tmp_path / "stac", [*ITEMS, local], relative_hrefs=True)
    catalog = pystac.Catalog.from_file(root)
    items = {item.id: item for item in catalog.get_items(recursive=True)}
    assert len(items) == 11
    assert items["s04"].get_collection().id == "even"
    assert items["s04"].assets["red"].href == "https://example.org/s04.tif"
    href = items["local"].assets["red"].href
    assert not pathlib.Path(href).is_absolute()
    assert pathlib.Path(items["local"].get_self_href()).parent.joinpath(href).resolve() == file


def test_absolute_hrefs_stay_unless_asked(tmp_path):
    root = write_static_catalog(tmp_path, [stac_item("a", {"red": "/data/a.tif"})])
    (item,) = pystac.Catalog.from_file(root).get_items(recursive=True)
    assert item.assets["red"].href == "/data/a.tif"
