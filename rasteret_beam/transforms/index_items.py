"""Items -> rows: headers read in parallel, and only where an earlier run cannot tell."""

import collections
import concurrent.futures
import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from rasteret_beam.collection import Fragment
from rasteret_beam.elements import DeadLetter
from rasteret_beam.errors import RasteretBeamError
from rasteret_beam.indexing import earlier
from rasteret_beam.indexing.headers import IndexedFile
from rasteret_beam.indexing.items import EVERY_SAMPLE, Item
from rasteret_beam.indexing.rows import IndexedItem, make_row
from rasteret_beam.storage import Store
from rasteret_beam.transforms._metrics import DEAD_LETTERS, Counters, dead_letter_outputs
from rasteret_beam.transforms._outputs import NamedOutputs
from rasteret_beam.transforms.list_items import COLUMNS, packed_schema

_CONCURRENT_HEADERS = 64
_IN_FLIGHT_ITEMS = 256

_Reading = concurrent.futures.Future[tuple[IndexedFile, bool]]


class IndexItemsResult(NamedTuple):
    """Rows of a collection, and what cannot be in it.

    Attributes:
        rows: Rows, one an item.
        columns: Types of properties that an earlier collection has.
        dead_letters: Files, or bands of them, that cannot be used.
    """

    rows: beam.PCollection[IndexedItem]
    columns: beam.PCollection[bytes]
    dead_letters: beam.PCollection[DeadLetter]


@dataclasses.dataclass(eq=False, kw_only=True)
class IndexItems(NamedOutputs):
    """Reads the headers of items' files; many at a time in each worker.

    Input: ``Item``. Output: ``IndexItemsResult``. Windows: the global one only. Dead
    letters: a file that is not there, no TIFF, or of a kind that is not read; its item's
    other bands are kept. Counters: ``files_read`` (headers) = ``files_indexed`` +
    ``files_failed``; ``files_unchanged`` (not read again); ``items_indexed``,
    ``items_failed`` (no band is left), ``items_kept`` (of the earlier collection),
    ``bands_failed`` (dead letters).

    Attributes:
        store: How files are read.
        earlier: A collection; headers of files whose size and ETag it has, and which
            have not changed, are taken from it. None, or nothing there, to read all.
        keep_others: Whether rows of the earlier collection that are not among the items
            are kept.
    """

    store: Store = dataclasses.field(default_factory=Store)
    earlier: str | None = None
    keep_others: bool = False

    def expand(self, items: beam.PCollection[Item]) -> IndexItemsResult:
        """Joins items with earlier rows, then reads headers."""
        if self.earlier is None:
            pairs = items | "Alone" >> beam.Map(_alone)
            columns = items.pipeline | "NoColumns" >> beam.Create([], reshuffle=False)
        else:
            read = (
                items.pipeline
                | "Earlier" >> beam.Create([self.earlier])
                | "ListEarlier" >> beam.FlatMap(functools.partial(earlier.list_earlier, self.store))
                | "SpreadEarlier" >> beam.Reshuffle()
                | "ReadEarlier" >> beam.ParDo(_ReadEarlierFn(self.store))
                .with_output_types(tuple[str, IndexedItem])
                .with_outputs(COLUMNS, main="rows")
            )
            by_id = items | "ById" >> beam.Map(_by_id).with_output_types(tuple[str, Item])
            pairs = (
                {"items": by_id, "earlier": read.rows}
                | "JoinById" >> beam.CoGroupByKey()
                | "Pairs" >> beam.FlatMap(_pairs, self.keep_others)
            )
            columns = read[COLUMNS] | "Distinct" >> beam.Distinct()
        outputs = pairs | "Index" >> beam.ParDo(
            _IndexFn(self.store),
        ).with_output_types(IndexedItem).with_outputs(DEAD_LETTERS, main="rows")
        return IndexItemsResult(outputs.rows, columns, outputs[DEAD_LETTERS])


class _ReadEarlierFn(beam.DoFn):
    def __init__(self, store: Store) -> None:
        self._store = store

    def process(self, fragment: Fragment) -> Iterator[Any]:
        told = None
        for rows, schema in earlier.read_earlier(self._store, fragment):
            for row in rows:
                yield row.id, row
            if told is None:
                told = packed_schema(schema)
                if told is not None:
                    yield TaggedOutput(COLUMNS, told)


def _alone(item: Item) -> tuple[Item | None, list[IndexedItem]]:
    return item, []


def _by_id(item: Item) -> tuple[str, Item]:
    return item.id, item


def _pairs(
    joined: tuple[str, Mapping[str, Iterable[Any]]], keep_others: bool,  # noqa: FBT001 -- FlatMap's argument
) -> Iterator[tuple[Item | None, list[IndexedItem]]]:
    """(item, earlier rows with its id); None for rows that no item has any more."""
    _, found = joined
    items, rows = list(found["items"]), list(found["earlier"])
    if not items and keep_others:
        yield None, rows
    for item in items:
        yield item, rows


class _IndexFn(beam.DoFn):
    """Reads headers, many at a time: a header is one small read and a wait."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._counters = Counters(
            "files_read", "files_indexed", "files_failed", "files_unchanged",
            "items_indexed", "items_failed", "items_kept", "bands_failed",
        )  # fmt: skip

    def setup(self) -> None:
        self._pool = concurrent.futures.ThreadPoolExecutor(_CONCURRENT_HEADERS, "read-headers")

    def teardown(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def start_bundle(self) -> None:
        self._in_flight: collections.deque[tuple[Item, dict[str, _Reading]]] = collections.deque()

    def process(self, pair: tuple[Item | None, list[IndexedItem]]) -> Iterator[Any]:
        item, rows = pair
        if item is None:
            self._counters.add("items_kept", len(rows))
            yield from rows
            return
        if len(self._in_flight) >= _IN_FLIGHT_ITEMS:
            yield from self._finish_one()
        known = earlier.known_files(rows)
        wanted: dict[str, list[int | None] | None] = {}
        for band, asset in item.assets.items():
            indexes = wanted.setdefault(asset.href, [])
            if band == EVERY_SAMPLE or indexes is None:
                wanted[asset.href] = None
            else:
                indexes.append(asset.band_index)
        readings = {
            href: self._pool.submit(
                earlier.current_file, self._store, href, indexes, known.get(href),
            )
            for href, indexes in wanted.items()
        }
        self._in_flight.append((item, readings))

    def finish_bundle(self) -> Iterator[Any]:
        while self._in_flight:
            for output in self._finish_one():
                yield _in_global_window(output)

    def _finish_one(self) -> Iterator[Any]:
        item, readings = self._in_flight.popleft()
        files: dict[str, IndexedFile | RasteretBeamError] = {}
        for href, reading in readings.items():
            try:
                files[href], unchanged = reading.result()
            except RasteretBeamError as error:
                files[href], unchanged = error, False
            failed = isinstance(files[href], RasteretBeamError)
            self._counters.add("files_unchanged" if unchanged else "files_read")
            if not unchanged:
                self._counters.add("files_failed" if failed else "files_indexed")
        row, letters = make_row(item, files)
        self._counters.add("items_failed" if row is None else "items_indexed")
        yield from dead_letter_outputs(letters, self._counters, "bands_failed")
        if row is not None:
            yield row


def _in_global_window(output: Any) -> Any:  # noqa: ANN401 -- a value or a tagged one
    value = output.value if isinstance(output, TaggedOutput) else output
    windowed = beam.transforms.window.GlobalWindows.windowed_value(value)
    return TaggedOutput(output.tag, windowed) if isinstance(output, TaggedOutput) else windowed
