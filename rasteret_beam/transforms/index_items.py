"""Items -> rows: headers read in parallel, and only where an earlier run cannot tell."""

import collections
import concurrent.futures
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from rasteret_beam.collection import Fragment
from rasteret_beam.elements import DeadLetter
from rasteret_beam.errors import FetchError, RasteretBeamError
from rasteret_beam.indexing import earlier
from rasteret_beam.indexing.headers import Head, IndexedFile, parse_head, rest_of
from rasteret_beam.indexing.items import EVERY_SAMPLE, Item
from rasteret_beam.indexing.joining import Joined, clash_letter, join_earlier, kept_bands
from rasteret_beam.indexing.rows import IndexedItem, make_row
from rasteret_beam.storage import Store
from rasteret_beam.storage.files import BeyondHeadError
from rasteret_beam.transforms._metrics import DEAD_LETTERS, Counters, dead_letter_outputs
from rasteret_beam.transforms._outputs import NamedOutputs, taken_one_by_one, typed
from rasteret_beam.transforms._panes import check_global
from rasteret_beam.transforms.list_items import COLUMNS, packed_schema

_CONCURRENT_HEADERS = 128
_IN_FLIGHT_FILES = 512


@taken_one_by_one
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

    A record of an earlier collection is an item's own where they have the id and a file in
    common, and are not of different ``collection``s; of STAC items id and collection are
    enough, since their files may have moved. An item's row takes the place of its own
    earlier ones. What these tell of files that cannot be read now (``FetchError``) stays.

    Input: ``Item``. Output: ``IndexItemsResult``. Windows: the global one only. Dead
    letters: a file that is not there, no TIFF, or of a kind that is not read; its item's
    other bands are kept. With ``keep_others`` also an item whose id a record of another
    one has, and nothing tells them apart; the record stays. Counters: ``files_seen`` =
    ``files_indexed`` + ``files_unchanged`` (not read again) + ``files_failed``;
    ``items_indexed``, ``items_failed`` (no band is left), ``items_kept`` (records that stay
    as they were), ``items_refused`` (by their ids), ``bands_seen``, ``bands_failed`` (though
    their files are sound), ``bands_kept`` (though their files cannot be read),
    ``dead_letters``.

    Attributes:
        store: How files are read.
        earlier: A collection; headers of files whose size and ETag it has, and which
            have not changed, are taken from it. None, or nothing there, to read all.
        keep_others: Whether rows of the earlier collection that are not among the items
            are kept.

    Raises:
        OptionError: Items in windows.
    """

    store: Store = dataclasses.field(default_factory=Store)
    earlier: str | None = None
    keep_others: bool = False

    def expand(self, items: beam.PCollection[Item]) -> IndexItemsResult:
        """Joins items with earlier rows, then reads headers."""
        check_global(items, "Items are indexed")
        if self.earlier is None:
            pairs = items | "Alone" >> beam.Map(_alone)
            columns = items.pipeline | "NoColumns" >> beam.Create([], reshuffle=False)
        else:
            read = (
                items.pipeline
                | "Earlier" >> beam.Create([self.earlier])
                | "ListEarlier" >> beam.FlatMap(_list_earlier, self.store)
                | "SpreadEarlier" >> beam.Reshuffle()
                | "ReadEarlier" >> beam.ParDo(_ReadEarlierFn(self.store))
                .with_outputs(COLUMNS, DEAD_LETTERS, main="rows")
            )
            by_id = items | "ById" >> beam.Map(_by_id).with_output_types(tuple[str, Item])
            pairs = (
                {"items": by_id, "earlier": typed(read.rows, tuple[str, IndexedItem])}
                | "JoinById" >> beam.CoGroupByKey()
                | "Pairs" >> beam.FlatMap(_join, self.keep_others)
            )
            columns = read[COLUMNS] | "Distinct" >> beam.Distinct()
        outputs = pairs | "Index" >> beam.ParDo(
            _IndexFn(self.store),
        ).with_outputs(DEAD_LETTERS, main="rows")
        letters = outputs[DEAD_LETTERS]
        if self.earlier is not None:
            letters = (letters, read[DEAD_LETTERS]) | "DeadLetters" >> beam.Flatten()
        return IndexItemsResult(typed(outputs.rows, IndexedItem), columns, letters)


def _list_earlier(uri: str, store: Store) -> list[Fragment]:
    return earlier.list_earlier(store, uri)


class _ReadEarlierFn(beam.DoFn):
    def __init__(self, store: Store) -> None:
        self._store = store
        self._counters = Counters("dead_letters")

    def process(self, fragment: Fragment) -> Iterator[Any]:
        is_told = False
        for found in earlier.read_earlier(self._store, fragment):
            for row in found.rows:
                yield row.id, row
            yield from dead_letter_outputs(found.dead_letters, self._counters, "dead_letters")
            columns = None if is_told else packed_schema(found.columns)
            if columns is not None:
                yield TaggedOutput(COLUMNS, columns)
                is_told = True


def _alone(item: Item) -> Joined:
    return Joined(item, [], [])


def _by_id(item: Item) -> tuple[str, Item]:
    return item.id, item


def _join(
    joined: tuple[str, Mapping[str, Iterable[Any]]], keep_others: bool,  # noqa: FBT001 -- FlatMap's argument
) -> Iterator[Joined]:
    _, found = joined
    return join_earlier(found["items"], found["earlier"], keep_others=keep_others)


_Reading = concurrent.futures.Future[IndexedFile | Head]


class _Job(NamedTuple):
    """An item, its earlier rows, what is being read of its files, and what has been."""

    item: Item
    own: list[IndexedItem]
    reading: dict[str, _Reading]
    files: dict[str, IndexedFile | RasteretBeamError]
    again: bool = False


class _IndexFn(beam.DoFn):
    """Reads headers, many at a time: a header is one small read and a wait.

    Threads only read; bytes are parsed in the bundle's own thread, since threads that
    all parse would wait for each other.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._counters = Counters(
            "files_seen", "files_indexed", "files_failed", "files_unchanged",
            "items_indexed", "items_failed", "items_kept", "items_refused",
            "bands_seen", "bands_failed", "bands_kept", "dead_letters",
        )  # fmt: skip

    def setup(self) -> None:
        self._pool = concurrent.futures.ThreadPoolExecutor(_CONCURRENT_HEADERS, "read-headers")

    def teardown(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def start_bundle(self) -> None:
        self._jobs: collections.deque[_Job] = collections.deque()
        self._n_reading = 0

    def process(self, joined: Joined) -> Iterator[Any]:
        item, rows, own, clash = joined
        if item is None:
            self._counters.add("items_kept", len(rows))
            yield from rows
            return
        if clash is not None:
            letter = clash_letter(item, clash)
            yield from dead_letter_outputs([letter], self._counters, "items_refused")
            return
        known, store = earlier.known_files(rows, item.assets), item.store(self._store)
        reading = {
            href: self._pool.submit(earlier.look_at, store, href, indexes, known.get(href))
            for href, indexes in _samples_by_file(item).items()
        }
        self._jobs.append(_Job(item, own, reading, {}))
        self._n_reading += len(reading)
        while self._n_reading > _IN_FLIGHT_FILES:
            yield from self._advance()

    def finish_bundle(self) -> Iterator[Any]:
        while self._jobs:
            for output in self._advance():
                yield _in_global_window(output)

    def _advance(self) -> Iterator[Any]:
        """Takes the oldest job on: to its row, or to the end of the line for more bytes."""
        job = self._jobs.popleft()
        further: dict[str, _Reading] = {}
        for href, reading in job.reading.items():
            try:
                found = reading.result()
                if isinstance(found, Head):
                    try:
                        job.files[href] = parse_head(found)
                    except BeyondHeadError:
                        store = job.item.store(self._store)
                        further[href] = self._pool.submit(rest_of, store, href, found)
                        continue
                    self._count("files_indexed")
                else:
                    job.files[href] = found
                    self._count("files_indexed" if job.again else "files_unchanged")
            except RasteretBeamError as error:
                job.files[href] = error
                self._count("files_failed")
        self._n_reading -= len(job.reading) - len(further)
        if further:
            self._jobs.append(job._replace(reading=further, again=True))
        else:
            yield from self._finish(job)

    def _count(self, counter: str) -> None:
        self._counters.add(counter)
        self._counters.add("files_seen")

    def _finish(self, job: _Job) -> Iterator[Any]:
        row, letters, bands_failed = make_row(job.item, job.files)
        rows = [] if row is None else [row]
        unread = [
            band for band, asset in job.item.assets.items()
            if isinstance(job.files[asset.href], FetchError)
        ]  # fmt: skip
        if unread and job.own:
            kept, n_bands = kept_bands(job.item, row, job.own, unread)
            self._counters.add("bands_kept", n_bands)
            self._counters.add("items_kept", 0 if rows else len(kept))
            rows = kept or rows
        if row is None and not rows:
            self._counters.add("items_failed")
        self._counters.add("items_indexed", 0 if row is None else 1)
        self._counters.add("bands_seen", len(job.item.assets))
        self._counters.add("bands_failed", bands_failed)
        yield from dead_letter_outputs(letters, self._counters, "dead_letters")
        yield from rows


def _samples_by_file(item: Item) -> dict[str, list[int | None] | None]:
    """Address -> samples that are wanted of it; None for every one."""
    wanted: dict[str, list[int | None] | None] = {}
    for band, asset in item.assets.items():
        before = wanted.setdefault(asset.href, [])
        every = band == EVERY_SAMPLE or before is None
        wanted[asset.href] = None if every else [*(before or ()), asset.band_index]
    return wanted


def _in_global_window(output: Any) -> Any:  # noqa: ANN401 -- a value or a tagged one
    value = output.value if isinstance(output, TaggedOutput) else output
    windowed = beam.transforms.window.GlobalWindows.windowed_value(value)
    return TaggedOutput(output.tag, windowed) if isinstance(output, TaggedOutput) else windowed
