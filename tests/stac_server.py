"""A STAC API on this machine alone, and static catalogues: what searches and links meet."""

from __future__ import annotations

import collections
import contextlib
import datetime as dt
import http.server
import json
import operator
import os
import pathlib
import threading
import urllib.parse
from typing import TYPE_CHECKING, Any

from serving_thread import running

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

Json = dict[str, Any]

CONFORMANCE = [
    "https://api.stacspec.org/v1.0.0/core",
    "https://api.stacspec.org/v1.0.0/collections",
    "https://api.stacspec.org/v1.0.0/item-search",
    "https://api.stacspec.org/v1.0.0/item-search#query",
]
COG = "image/tiff; application=geotiff; profile=cloud-optimized"
_JSON, _GEOJSON = "application/json", "application/geo+json"
_OPERATORS = {
    "eq": operator.eq,
    "neq": operator.ne,
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
    "in": lambda value, wanted: value in wanted,
}
_PARAMETERS = {"collections", "ids", "bbox", "datetime", "limit", "query", "token"}


class BadSearchError(Exception):
    """A search that an API would answer with 400."""


def stac_item(
    item_id: str,
    hrefs: Mapping[str, str | Mapping[str, Any]],
    *,
    when: str | tuple[str, str] | None = "2024-01-15T10:30:00Z",
    bbox: Sequence[float] | None = (3.0, 41.0, 4.0, 42.0),
    collection: str | None = "scenes",
    properties: Mapping[str, Any] | None = None,
    version: str = "1.0.0",
) -> Json:
    """Makes a STAC item without links; whoever serves or writes it adds them.

    Args:
        item_id: Its id.
        hrefs: Asset key -> address, or the asset's whole object.
        when: Its datetime, RFC 3339; (start, end) for an item of an interval; None for
            neither, which no valid item has.
        bbox: (xmin, ymin, xmax, ymax) in EPSG:4326, or six numbers with heights; None
            for an item that has no place.
        collection: Id of its collection, or None.
        properties: More properties.
        version: ``stac_version``.
    """
    times: Json = {"datetime": when if isinstance(when, str) else None}
    if isinstance(when, tuple):
        times.update(start_datetime=when[0], end_datetime=when[1])
    item: Json = {
        "type": "Feature",
        "stac_version": version,
        "stac_extensions": [],
        "id": item_id,
        "geometry": None if bbox is None else _outline(bbox),
        "properties": {**times, **(properties or {})},
        "links": [],
        "assets": {
            key: {"href": href, "type": COG, "roles": ["data"]} if isinstance(href, str)
            else dict(href)
            for key, href in hrefs.items()
        },
    }  # fmt: skip
    if bbox is not None:
        item["bbox"] = list(bbox)
    if collection is not None:
        item["collection"] = collection
    return item


def write_static_catalog(
    folder: str | os.PathLike[str], items: Iterable[Json], *, relative_hrefs: bool = False,
) -> str:
    """Writes a self-contained catalogue: catalog > collections > catalogues of years > items.

    Args:
        folder: Where to; ``{collection}/{year}/{id}/{id}.json`` and what leads there.
        items: Items of ``stac_item``; those without a collection or time are kept too.
        relative_hrefs: Whether assets that are local files are named relative to their
            item's file.

    Returns:
        The path of ``catalog.json``.
    """
    root = pathlib.Path(folder)
    groups: dict[str, dict[str, list[Json]]] = {}
    for item in items:
        years = groups.setdefault(item.get("collection") or "no-collection", {})
        years.setdefault(_year(item), []).append(item)
    _write(root / "catalog.json", _catalog("root"), [
        *_hierarchy(".", parent=None),
        *(_link("child", f"./{name}/collection.json") for name in groups),
    ])  # fmt: skip
    for name, years in groups.items():
        here = root / name
        every = [item for part in years.values() for item in part]
        _write(here / "collection.json", _collection(name, every), [
            *_hierarchy("..", parent="../catalog.json"),
            *(_link("child", f"./{year}/catalog.json") for year in years),
        ])  # fmt: skip
        for year, part in years.items():
            _write(here / year / "catalog.json", _catalog(f"{name}-{year}"), [
                *_hierarchy("../..", parent="../collection.json"),
                *(_link("item", f"./{i['id']}/{i['id']}.json", _GEOJSON) for i in part),
            ])  # fmt: skip
            for item in part:
                _write_item(here / year / item["id"], item, relative_hrefs=relative_hrefs)
    return str(root / "catalog.json")


class StacServer(http.server.ThreadingHTTPServer):
    """Answers searches over items in the order given, page by page; counts and fails.

    Attributes:
        items: Items; may change while serving.
        page_items: Items of a page at most, and where a search names no ``limit``.
        drifting: Whether the last item of a search's first page comes again on its
            second, as where an item was added to the front in between.
        required_headers: Headers without which every request is answered with 401.
        requests: (method, path) -> how often it was asked for.
        searches: Parameters of every search, pages and failed ones too, as received.
        pages: Pages of items that were given.
    """

    daemon_threads = True

    def __init__(
        self,
        items: Iterable[Json],
        *,
        page_items: int = 100,
        drifting: bool = False,
        required_headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.items = list(items)
        self.page_items, self.drifting = page_items, drifting
        self.required_headers = dict(required_headers or {})
        self.requests: collections.Counter[tuple[str, str]] = collections.Counter()
        self.searches: list[Json] = []
        self.pages = 0
        self._failures: list[tuple[int, int | None]] = []
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """Address of the landing page, without a slash at its end."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def count(self, path: str) -> int:
        """Tells how often a path was asked for, by any method."""
        return sum(n for (_, asked), n in self.requests.items() if asked == path)

    def fail_searches(
        self, status: int, times: int = 1, *, retry_after_seconds: int | None = None,
    ) -> None:
        """Answers the next searches with a status, then as usual."""
        with self._lock:
            self._failures += [(status, retry_after_seconds)] * times

    def note(self, method: str, path: str, search: Json | None) -> tuple[int, int | None] | None:
        """Counts a request; gives the (status, Retry-After) to fail it with, or None."""
        with self._lock:
            self.requests[method, path] += 1
            if search is None:
                return None
            self.searches.append(search)
            return self._failures.pop(0) if self._failures else None

    def page(self, method: str, search: Json) -> Json:
        """Gives one page of a search.

        Raises:
            BadSearchError: A parameter that is not known or cannot be read.
        """
        unknown = search.keys() - _PARAMETERS
        if unknown:
            msg = f"Parameters that are not known: {sorted(unknown)}"
            raise BadSearchError(msg)
        try:
            limit = min(int(search.get("limit") or self.page_items), self.page_items)
            start = int(search.get("token") or 0)
            found = [item for item in list(self.items) if _meets(item, search)]
        except (TypeError, ValueError, KeyError) as error:
            msg = f"{type(error).__name__}: {error}"
            raise BadSearchError(msg) from error
        if limit < 1:
            msg = f"limit is {limit}, expected 1 or more"
            raise BadSearchError(msg)
        features = [self.linked(item) for item in found[start : start + limit]]
        links = [_link("root", self.url + "/"), _link("self", self.url + "/search", _GEOJSON)]
        if start + limit < len(found):
            again = 1 if self.drifting and start == 0 and limit > 1 else 0
            links.append(self._next(method, search, str(start + limit - again)))
        with self._lock:
            self.pages += 1
        return {
            "type": "FeatureCollection",
            "features": features,
            "links": links,
            "numberMatched": len(found),
            "numberReturned": len(features),
        }

    def document(self, path: str) -> Json | None:
        """Gives what is at a path other than the search, or None."""
        if path == "/":
            return self._landing_page()
        if path == "/conformance":
            return {"conformsTo": CONFORMANCE}
        by_collection: dict[str, list[Json]] = {}
        for item in self.items:
            by_collection.setdefault(item.get("collection", ""), []).append(item)
        by_collection.pop("", None)
        if path == "/collections":
            every = [self._collection(name, part) for name, part in by_collection.items()]
            links = [_link("root", self.url + "/"), _link("self", self.url + path)]
            return {"collections": every, "links": links}
        parts = [urllib.parse.unquote(part) for part in path.split("/")[2:]]
        if not path.startswith("/collections/") or parts[0] not in by_collection:
            return None
        if len(parts) == 1:
            return self._collection(parts[0], by_collection[parts[0]])
        wanted = parts[2] if len(parts) == 3 and parts[1] == "items" else None
        same = (item for item in by_collection[parts[0]] if item["id"] == wanted)
        return next((self.linked(item) for item in same), None)

    def linked(self, item: Json) -> Json:
        """Gives an item with the links that an API adds."""
        links = [_link("root", self.url + "/")]
        if "collection" in item:
            home = f"{self.url}/collections/{urllib.parse.quote(item['collection'])}"
            own = f"{home}/items/{urllib.parse.quote(item['id'])}"
            links += [
                _link("self", own, _GEOJSON), _link("parent", home), _link("collection", home),
            ]  # fmt: skip
        return {**item, "links": [*item["links"], *links]}

    def _next(self, method: str, search: Json, token: str) -> Json:
        href = self.url + "/search"
        if method == "POST":
            link = _link("next", href, _GEOJSON)
            return {**link, "method": "POST", "body": {"token": token}, "merge": True}
        spelled = {
            name: json.dumps(value) if name == "query"
            else ",".join(map(str, value)) if isinstance(value, list) else value
            for name, value in search.items()
        }  # fmt: skip
        query = urllib.parse.urlencode({**spelled, "token": token})
        return {**_link("next", f"{href}?{query}", _GEOJSON), "method": "GET"}

    def _landing_page(self) -> Json:
        search = self.url + "/search"
        links = [
            _link("self", self.url + "/"),
            _link("root", self.url + "/"),
            _link("conformance", self.url + "/conformance"),
            _link("data", self.url + "/collections"),
            {**_link("search", search, _GEOJSON), "method": "GET"},
            {**_link("search", search, _GEOJSON), "method": "POST"},
        ]
        names = dict.fromkeys(i["collection"] for i in self.items if "collection" in i)
        links += [
            _link("child", f"{self.url}/collections/{urllib.parse.quote(n)}") for n in names
        ]
        return {**_catalog("local"), "conformsTo": CONFORMANCE, "links": links}

    def _collection(self, name: str, items: list[Json]) -> Json:
        home = f"{self.url}/collections/{urllib.parse.quote(name)}"
        links = [
            _link("self", home), _link("root", self.url + "/"), _link("parent", self.url + "/"),
        ]  # fmt: skip
        return {**_collection(name, items), "links": links}


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one packet: apart, the second waits 40 ms for an ACK
    server: StacServer

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        search = None if path != "/search" else _parameters(urllib.parse.parse_qsl(query))
        self._serve("GET", path, search)

    def do_POST(self) -> None:
        # Whatever the answer: a body that is left unread would be the next request.
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        try:
            search = json.loads(body or b"{}")
        except ValueError:
            search = {"body that is no JSON": None}
        self._serve("POST", path, search if path == "/search" else None)

    def log_message(self, *_args: object) -> None:
        """Keeps quiet."""

    def _serve(self, method: str, path: str, search: Json | None) -> None:
        failure = self.server.note(method, path, search)
        required = self.server.required_headers
        if any(self.headers.get(name) != value for name, value in required.items()):
            self._answer(401, {"code": "Unauthorized", "description": "A header is missing"})
        elif failure is not None:
            status, seconds = failure
            headers = {} if seconds is None else {"Retry-After": str(seconds)}
            self._answer(status, {"code": str(status), "description": "As told"}, headers)
        elif search is not None:
            try:
                self._answer(200, self.server.page(method, search), kind=_GEOJSON)
            except BadSearchError as error:
                self._answer(400, {"code": "BadRequest", "description": str(error)})
        else:
            found = self.server.document(path) if method == "GET" else None
            missing = {"code": "NotFound", "description": path}
            self._answer(404 if found is None else 200, found or missing)

    def _answer(
        self, status: int, document: Json, headers: Mapping[str, str] | None = None,
        *, kind: str = _JSON,
    ) -> None:  # fmt: skip
        body = json.dumps(document).encode()
        self.send_response(status)
        for name, value in {"Content-Type": kind, **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextlib.contextmanager
def serving_stac(
    items: Iterable[Json],
    *,
    page_items: int = 100,
    drifting: bool = False,
    required_headers: Mapping[str, str] | None = None,
) -> Iterator[StacServer]:
    """Serves items until the block ends; arguments are those of ``StacServer``."""
    server = StacServer(
        items, page_items=page_items, drifting=drifting, required_headers=required_headers,
    )
    with running(server):
        yield server


def _parameters(pairs: Iterable[tuple[str, str]]) -> Json:
    """Parameters of a GET, as the body of a POST would have them."""
    search: Json = dict(pairs)
    for name in ("collections", "ids", "bbox"):
        if name in search:
            search[name] = search[name].split(",")
    if "query" in search:
        search["query"] = json.loads(search["query"])
    return search


def _meets(item: Json, search: Json) -> bool:
    wanted = search.get("collections")
    if wanted and item.get("collection") not in wanted:
        return False
    if search.get("ids") and item["id"] not in search["ids"]:
        return False
    if search.get("bbox") and not _overlaps(item.get("bbox"), [float(v) for v in search["bbox"]]):
        return False
    if search.get("datetime") and not _at(item["properties"], search["datetime"]):
        return False
    return all(
        # A property that an item does not have meets no condition, as SQL's NULL.
        item["properties"].get(name) is not None
        and all(_OPERATORS[sign](item["properties"][name], value) for sign, value in asked.items())
        for name, asked in (search.get("query") or {}).items()
    )


def _overlaps(bbox: Sequence[float] | None, asked: Sequence[float]) -> bool:
    if bbox is None:
        return False
    xmin, ymin, xmax, ymax = _flat(bbox)
    left, bottom, right, top = _flat(asked)
    if ymin > top or ymax < bottom:
        return False
    if left > right:  # across the antimeridian
        return xmax >= left or xmin <= right
    return xmin <= right and xmax >= left


def _at(properties: Json, asked: str) -> bool:
    instant = properties.get("datetime")
    start = properties.get("start_datetime") or instant
    end = properties.get("end_datetime") or instant
    if start is None or end is None:
        return False
    first, slash, last = asked.partition("/")
    if not slash:
        last = first
    after = first in ("", "..") or _instant(end) >= _instant(first)
    before = last in ("", "..") or _instant(start) <= _instant(last)
    return after and before


def _instant(text: str) -> dt.datetime:
    found = dt.datetime.fromisoformat(text.replace("Z", "+00:00"))
    return found if found.tzinfo else found.replace(tzinfo=dt.timezone.utc)


def _flat(bbox: Sequence[float]) -> tuple[float, ...]:
    """A bbox without heights."""
    return (*bbox[:2], *bbox[3:5]) if len(bbox) == 6 else tuple(bbox)


def _outline(bbox: Sequence[float]) -> Json:
    xmin, ymin, xmax, ymax = _flat(bbox)
    ring = [[xmin, ymin], [xmax, ymin], [xmax, ymax], [xmin, ymax], [xmin, ymin]]
    return {"type": "Polygon", "coordinates": [ring]}


def _year(item: Json) -> str:
    properties = item["properties"]
    moment = properties.get("datetime") or properties.get("start_datetime")
    return moment[:4] if moment else "undated"


def _link(rel: str, href: str, kind: str = _JSON) -> Json:
    return {"rel": rel, "href": href, "type": kind}


def _hierarchy(to_root: str, parent: str | None) -> list[Json]:
    links = [_link("root", f"{to_root}/catalog.json")]
    return links if parent is None else [*links, _link("parent", parent)]


def _catalog(catalog_id: str) -> Json:
    return {
        "type": "Catalog",
        "stac_version": "1.0.0",
        "id": catalog_id,
        "title": catalog_id,
        "description": f"Catalogue {catalog_id}",
        "links": [],
    }


def _collection(name: str, items: list[Json]) -> Json:
    boxes = [_flat(item["bbox"]) for item in items if "bbox" in item] or [(-180, -90, 180, 90)]
    sides = list(zip(*boxes, strict=True))
    times = sorted(
        moment
        for item in items
        for key in ("datetime", "start_datetime", "end_datetime")
        if (moment := item["properties"].get(key))
    )
    return {
        "type": "Collection",
        "stac_version": "1.0.0",
        "id": name,
        "title": name,
        "description": f"Collection {name}",
        "license": "other",
        "extent": {
            "spatial": {"bbox": [[min(sides[0]), min(sides[1]), max(sides[2]), max(sides[3])]]},
            "temporal": {"interval": [[times[0], times[-1]] if times else [None, None]]},
        },
        "links": [],
    }


def _write_item(folder: pathlib.Path, item: Json, *, relative_hrefs: bool) -> None:
    assets = {key: dict(asset) for key, asset in item["assets"].items()}
    if relative_hrefs:
        for asset in assets.values():
            if "://" not in asset["href"]:
                asset["href"] = os.path.relpath(asset["href"], folder)
    links = _hierarchy("../../..", parent="../catalog.json")
    if "collection" in item:
        links.append(_link("collection", "../../collection.json"))
    _write(folder / f"{item['id']}.json", {**item, "assets": assets}, links)


def _write(path: pathlib.Path, document: Json, links: list[Json]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**document, "links": links}, indent=1))
