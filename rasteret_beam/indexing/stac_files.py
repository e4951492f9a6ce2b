"""STAC in files: items, item collections, newline JSON, static catalogues."""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from rasteret_beam.errors import FetchError, RasteretBeamError, RecordError
from rasteret_beam.indexing import naming
from rasteret_beam.indexing.items import Item, ItemBatch, dead_letter, misnamed_letter
from rasteret_beam.indexing.stac import StacReading, check_item, links_of, resolve, span_of
from rasteret_beam.storage.addresses import has_wildcard, local_path, split_root
from rasteret_beam.storage.files import RangeFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rasteret_beam.elements import DeadLetter
    from rasteret_beam.storage import Store

_PART_FILES = 200
_BATCH_ITEMS = 1000
_CONCURRENT_READS = 32
_FIRST_READ_BYTES = 1024 * 1024
_LINES = (".ndjson", ".jsonl", ".ndgeojson", ".geojsonl")
_CATALOGUES = ("Catalog", "Collection")

_Json = dict[str, Any]


class Named(NamedTuple):
    """A file, and what names it.

    Attributes:
        uri: The file.
        by: The file that links to it, which decides what it may be: see
            ``Store.guarded``. None where the operator names it.
    """

    uri: str
    by: str | None

    def store(self, store: Store) -> Store:
        """Gives the store that reads it."""
        return store if self.by is None else store.guarded(self.by)


class StacPart(NamedTuple):
    """Files that are read in one go.

    Attributes:
        files: The files.
        catalogues: What to do with a catalogue among them: ``follow`` it, ``skip`` it
            (a folder's files are all read anyway), or ``refuse`` it (it is linked as an
            item).
        misnamed: Files whose names are no text, spelled out; they are not read.
    """

    files: list[Named]
    catalogues: str
    misnamed: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StacFiles:
    """Items of STAC files.

    Attributes:
        inputs: A STAC file, a pattern, or a local folder (all JSON below it, catalogues
            passed over). A file is an item, an ItemCollection, one item a line
            (``.ndjson``, ``.jsonl``), or a catalogue, whose children and items are
            followed.
        reading: Which items, and which of their assets are bands.
    """

    inputs: str
    reading: StacReading = dataclasses.field(default_factory=StacReading)

    def parts(self, store: Store) -> Iterator[StacPart]:
        """Lists the files; of a catalogue that is given alone, those of its items.

        Raises:
            FetchError: Nothing matches.
        """
        path = local_path(self.inputs)
        if path is not None and path.is_dir():
            found, catalogues = _json_below(store, self.inputs), "skip"
        else:
            found = [naming.absolute_href(uri) for uri in store.glob(self.inputs)]
            catalogues = "follow"
        uris = [uri for uri in found if naming.is_text(uri)]
        if len(uris) < len(found):
            odd = (uri for uri in found if not naming.is_text(uri))
            yield StacPart([], catalogues, tuple(map(naming.spelled_out, odd)))
        files = [Named(uri, None) for uri in uris]
        if len(uris) == 1 and not has_wildcard(self.inputs) and not _is_lines(uris[0]):
            files, catalogues = list(_items_of_catalogue(store, files[0])), "refuse"
        size = _PART_FILES if len(files) > _PART_FILES else 1
        for first in range(0, len(files), size):
            yield StacPart(files[first : first + size], catalogues)

    def read(self, store: Store, part: StacPart) -> Iterator[ItemBatch]:
        """Reads the items of some files, many files at a time."""
        if part.misnamed:
            yield ItemBatch([], [misnamed_letter(name) for name in part.misnamed])
        for file, found in _loaded(store, part.files):
            if isinstance(found, dict) and found.get("type") in _CATALOGUES:
                yield from self._catalogue(store, file, part.catalogues)
            else:
                yield from self._file(store, file.uri, found)

    def _catalogue(self, store: Store, file: Named, what: str) -> Iterator[ItemBatch]:
        if what == "follow":
            yield from self.read(store, StacPart(list(_items_of_catalogue(store, file)), "refuse"))
        elif what == "refuse":
            error = RecordError("A catalogue, linked as an item")
            yield ItemBatch([], [dead_letter({"href": file.uri}, error)])

    def _file(
        self, store: Store, uri: str, found: _Json | list[str] | RasteretBeamError,
    ) -> Iterator[ItemBatch]:
        """The items of a file, and of the pages after it."""
        seen = {uri}
        while True:
            if isinstance(found, RasteretBeamError):
                yield ItemBatch([], [dead_letter({"href": uri}, found)])
                return
            yield from self._batches(uri, found)
            following = links_of(found, "next") if isinstance(found, dict) else []
            if not following or "features" not in found:
                return
            page = Named(resolve(following[0][1], uri), uri)
            uri = page.uri
            if uri in seen:
                return
            seen.add(uri)
            found = _load(store, page)

    def _batches(self, uri: str, found: _Json | list[str]) -> Iterator[ItemBatch]:
        items: list[Item] = []
        letters: list[DeadLetter] = []
        for number, stac in _items_in(found):
            try:
                stac_item = _parsed(stac)
                check_item(stac_item)
                span = span_of(stac_item.get("properties") or {})
                if self.reading.wants(stac_item.get("bbox"), span):
                    items.append(self.reading.item(stac_item, uri))
            except RasteretBeamError as error:
                named = stac.get("id") if isinstance(stac, dict) else f"number {number}"
                letters.append(dead_letter({"href": uri, "item": str(named)}, error))
            if len(items) >= _BATCH_ITEMS:
                yield ItemBatch(items, letters)
                items, letters = [], []
        yield ItemBatch(items, letters)


def _json_below(store: Store, folder: str) -> list[str]:
    found = [naming.absolute_href(uri) for uri in store.list_files(folder)]
    found = [uri for uri in found if uri.lower().endswith((".json", ".geojson", *_LINES))]
    if not found:
        msg = f"{folder}: no JSON file below it"
        raise FetchError(msg)
    return found


def _is_lines(uri: str) -> bool:
    return split_root(uri)[1].lower().endswith(_LINES)


def _loaded(
    store: Store, files: Iterable[Named],
) -> Iterator[tuple[Named, _Json | list[str] | RasteretBeamError]]:
    """Loads files in their order; only so many are read ahead, since each is held whole."""
    waiting: collections.deque[tuple[Named, concurrent.futures.Future[Any]]] = collections.deque()
    with concurrent.futures.ThreadPoolExecutor(_CONCURRENT_READS) as pool:
        for file in files:
            waiting.append((file, pool.submit(_load, store, file)))
            if len(waiting) == _CONCURRENT_READS:
                first, found = waiting.popleft()
                yield first, found.result()
        while waiting:
            first, found = waiting.popleft()
            yield first, found.result()


def _load(store: Store, named: Named) -> _Json | list[str] | RasteretBeamError:
    """A file's JSON object, its lines, or why it cannot be read."""
    allowed = named.store(store)
    try:
        with RangeFile(allowed, named.uri, first_read_bytes=_FIRST_READ_BYTES) as file:
            text = file.read().decode("utf-8-sig")
        if _is_lines(named.uri):
            return text.split("\n")
        return _parsed(text)
    except RasteretBeamError as error:
        return error
    except UnicodeDecodeError as error:
        return RecordError(f"Not JSON: {error}")


def _parsed(stac: Any) -> _Json:  # noqa: ANN401 -- JSON
    if isinstance(stac, str):
        try:
            stac = json.loads(stac)
        except (ValueError, RecursionError) as error:
            msg = f"Not JSON: {error}"
            raise RecordError(msg) from error
    if not isinstance(stac, dict):
        msg = f"Expected a STAC object, got {stac!r:.80}"
        raise RecordError(msg)
    return stac


def _items_in(found: _Json | list[str]) -> Iterable[tuple[int, Any]]:
    """(number from 1, item) of what a file holds."""
    if isinstance(found, list):
        return ((n, line) for n, line in enumerate(found, 1) if line.strip())
    if "features" not in found:
        return [(1, found)]
    features = found["features"] or []
    return enumerate(features, 1) if isinstance(features, list) else [(1, features)]


def _items_of_catalogue(store: Store, root: Named) -> Iterator[Named]:
    """Addresses of a catalogue's items, at any depth; what is no catalogue gives itself.

    Catalogues of one level are read at a time. One that cannot be read gives itself too,
    so that reading it again as an item says why.
    """
    level, seen = [root], {root.uri}
    while level:
        below: list[Named] = []
        for file, found in _loaded(store, level):
            if not isinstance(found, dict) or found.get("type") not in _CATALOGUES:
                yield file
                continue
            for rel, link in links_of(found, "child", "item", "items"):
                linked = Named(resolve(link, file.uri), file.uri)
                if linked.uri in seen:
                    continue
                seen.add(linked.uri)
                if rel == "child":
                    below.append(linked)
                else:
                    yield linked
        level = below
