"""STAC in files: items, item collections, newline JSON, static catalogues."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json
from typing import TYPE_CHECKING, Any

from rasteret_beam.errors import RasteretBeamError, RecordError
from rasteret_beam.indexing import naming
from rasteret_beam.indexing.items import Item, ItemBatch, dead_letter
from rasteret_beam.indexing.stac import StacReading, datetime_of, resolve
from rasteret_beam.storage.files import RangeFile
from rasteret_beam.storage.store import has_wildcard, local_path

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


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StacFiles:
    """Items of STAC files.

    Attributes:
        inputs: A STAC file, a pattern, or a local folder (all JSON below it). A file is
            an item, an ItemCollection, one item a line (``.ndjson``, ``.jsonl``), or a
            catalogue, whose children and items are followed.
        reading: Which items, and which of their assets are bands.
    """

    inputs: str
    reading: StacReading = dataclasses.field(default_factory=StacReading)

    def parts(self, store: Store) -> Iterator[list[str]]:
        """Lists the files; of a catalogue that is given alone, those of its items.

        Raises:
            FetchError: Nothing matches.
        """
        path = local_path(self.inputs)
        if path is not None and path.is_dir():
            uris = _json_below(store, self.inputs)
        else:
            uris = [naming.absolute_href(uri) for uri in store.glob(self.inputs)]
        if len(uris) == 1 and not has_wildcard(self.inputs) and not _is_lines(uris[0]):
            uris = list(_items_of_catalogue(store, uris[0])) or uris
        size = _PART_FILES if len(uris) > _PART_FILES else 1
        for first in range(0, len(uris), size):
            yield uris[first : first + size]

    def read(self, store: Store, part: list[str]) -> Iterator[ItemBatch]:
        """Reads the items of some files, many files at a time."""
        with concurrent.futures.ThreadPoolExecutor(_CONCURRENT_READS) as pool:
            for uri, found in zip(part, pool.map(lambda u: _load(store, u), part), strict=True):
                if isinstance(found, RasteretBeamError):
                    yield ItemBatch([], [dead_letter({"href": uri}, found)])
                elif isinstance(found, dict) and found.get("type") in _CATALOGUES:
                    below = [u for u in _items_of_catalogue(store, uri) if u != uri]
                    yield from self.read(store, below)
                else:
                    yield from self._batches(uri, found)

    def _batches(self, uri: str, found: _Json | list[str]) -> Iterator[ItemBatch]:
        items: list[Item] = []
        letters: list[DeadLetter] = []
        for number, stac in _items_in(found):
            try:
                stac_item = _parsed(stac)
                if self.reading.wants(stac_item.get("bbox"), datetime_of(stac_item)):
                    items.append(self.reading.item(stac_item, uri))
            except RasteretBeamError as error:
                named = stac.get("id") if isinstance(stac, dict) else f"number {number}"
                letters.append(dead_letter({"href": uri, "item": named}, error))
            if len(items) >= _BATCH_ITEMS:
                yield ItemBatch(items, letters)
                items, letters = [], []
        yield ItemBatch(items, letters)


def _json_below(store: Store, folder: str) -> list[str]:
    """A folder's root catalogue, or else all its JSON files."""
    found = [naming.absolute_href(uri) for uri in store.list_files(folder)]
    names = {uri.rsplit("/", 1)[-1]: uri for uri in found if uri.count("/") == min(
        other.count("/") for other in found)}
    for name in ("catalog.json", "collection.json"):
        if name in names:
            return [names[name]]
    return [uri for uri in found if uri.lower().endswith((".json", ".geojson", *_LINES))]


def _is_lines(uri: str) -> bool:
    return uri.partition("?")[0].lower().endswith(_LINES)


def _load(store: Store, uri: str) -> _Json | list[str] | RasteretBeamError:
    """A file's JSON object, its lines, or why it cannot be read."""
    try:
        with RangeFile(store, uri, first_read_bytes=_FIRST_READ_BYTES) as file:
            text = file.read().decode()
        if _is_lines(uri):
            return text.splitlines()
        return _parsed(text)
    except RasteretBeamError as error:
        return error
    except UnicodeDecodeError as error:
        return RecordError(f"Not JSON: {error}")


def _parsed(stac: Any) -> _Json:  # noqa: ANN401 -- JSON
    if isinstance(stac, str):
        try:
            stac = json.loads(stac)
        except ValueError as error:
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
    if "features" in found:
        return enumerate(found["features"] or [], 1)
    return [(1, found)]


def _items_of_catalogue(store: Store, root: str) -> Iterator[str]:
    """Addresses of a catalogue's items, at any depth; what is no catalogue gives itself.

    Catalogues of one level are read at a time. One that cannot be read gives itself too,
    so that reading it again as an item says why.
    """
    level, seen = [root], {root}
    with concurrent.futures.ThreadPoolExecutor(_CONCURRENT_READS) as pool:
        while level:
            below: list[str] = []
            for uri, found in zip(level, pool.map(lambda u: _load(store, u), level), strict=True):
                if not isinstance(found, dict) or found.get("type") not in _CATALOGUES:
                    yield uri
                    continue
                for rel, href in _links(found, uri):
                    if href in seen:
                        continue
                    seen.add(href)
                    if rel == "child":
                        below.append(href)
                    else:
                        yield href
            level = below


def _links(catalogue: _Json, uri: str) -> Iterator[tuple[str, str]]:
    for link in catalogue.get("links") or []:
        if link.get("rel") in ("child", "item", "items") and link.get("href"):
            yield link["rel"], resolve(link["href"], uri)
