"""COGs -> a Collection: headers read in parallel, rows written as rasteret reads them."""

import collections
import concurrent.futures
import dataclasses
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow.parquet as pq
from apache_beam.io.filesystems import FileSystems
from apache_beam.pvalue import AsList, TaggedOutput

from rasteret_beam.collection import indexing, naming
from rasteret_beam.collection.indexing import IndexedFile
from rasteret_beam.elements import DeadLetter
from rasteret_beam.errors import RasteretBeamError
from rasteret_beam.storage import Store, redact
from rasteret_beam.transforms._metrics import DEAD_LETTERS, Counters, dead_letter_outputs
from rasteret_beam.transforms._outputs import NamedOutputs
from rasteret_beam.transforms._write_files import make_folder, remove_stale

_CONCURRENT_HEADERS = 32
_IN_FLIGHT_HEADERS = 256
_ROW_GROUP_ROWS = 50_000


class BuildCollectionResult(NamedTuple):
    """The files of a collection, and inputs that are not in it.

    Attributes:
        files: Names of the Parquet files.
        dead_letters: Files whose header cannot be read, or whose pixels cannot be.
    """

    files: beam.PCollection[str]
    dead_letters: beam.PCollection[DeadLetter]


@dataclasses.dataclass(eq=False, kw_only=True)
class BuildCollection(NamedOutputs):
    """Indexes COGs into a Collection of Parquet files, partitioned by year and month.

    Input: addresses of the files. Output: ``BuildCollectionResult``. Windows: the global
    one only. Dead letters: a file that is not there, no TIFF, or of a kind that is not
    read. Counters: ``files_read`` = ``files_indexed`` + ``files_failed``.

    Attributes:
        folder: Where to write; a collection that an earlier run left there is replaced.
        bands: Name -> 0-based sample index; by default ``B1`` .. ``Bn`` of each file.
        datetime_pattern: Regular expression that finds the time in a file's name.
        collection: Name of the collection, in its ``collection`` column.
        store: How files are read.

    Raises:
        OptionError: The pattern is no regular expression.
    """

    folder: str
    bands: dict[str, int] | None = None
    datetime_pattern: str | None = None
    collection: str = ""
    store: Store = dataclasses.field(default_factory=Store)

    def __post_init__(self) -> None:
        """Checks the pattern."""
        if self.datetime_pattern is not None:
            naming.check_datetime_pattern(self.datetime_pattern)

    def expand(self, hrefs: beam.PCollection[str]) -> BuildCollectionResult:
        """Indexes files, names records, and writes a file for each partition."""
        indexed = (
            hrefs
            | "Distinct" >> beam.Distinct()
            | "Index" >> beam.ParDo(
                _IndexFn(self.store, self.bands, self.datetime_pattern),
            ).with_output_types(tuple[str, IndexedFile]).with_outputs(DEAD_LETTERS, main="indexed")
        )
        bands = (
            indexed.indexed
            | "Bands" >> beam.FlatMap(lambda pair: list(pair[1].bands)).with_output_types(str)
            | "DistinctBands" >> beam.Distinct()
        )
        files = (
            indexed.indexed
            | "KeyByStem" >> beam.Map(_identity).with_output_types(tuple[str, IndexedFile])
            | "GroupByStem" >> beam.GroupByKey()
            | "NameRecords" >> beam.FlatMap(
                _name_records, self.datetime_pattern is not None,
            ).with_output_types(tuple[str, tuple[str, IndexedFile]])
            | "GroupByPartition" >> beam.GroupByKey()
            | "Write" >> beam.ParDo(
                _WritePartitionFn(self.folder, self.collection), AsList(bands),
            ).with_output_types(str)
        )
        published = (
            files
            | "One" >> beam.Map(lambda name: (0, name)).with_output_types(tuple[int, str])
            | "AllFiles" >> beam.GroupByKey()
            | "Replace" >> beam.ParDo(_ReplaceFn(self.folder)).with_output_types(str)
        )
        return BuildCollectionResult(published, indexed[DEAD_LETTERS])


class _IndexFn(beam.DoFn):
    """Reads headers, many at a time: a header is one small read and a wait."""

    def __init__(
        self, store: Store, bands: dict[str, int] | None, datetime_pattern: str | None,
    ) -> None:
        self._store, self._bands, self._pattern = store, bands, datetime_pattern
        self._counters = Counters("files_read", "files_indexed", "files_failed")

    def setup(self) -> None:
        self._pool = concurrent.futures.ThreadPoolExecutor(_CONCURRENT_HEADERS, "read-headers")

    def teardown(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def start_bundle(self) -> None:
        self._in_flight: collections.deque[
            tuple[str, concurrent.futures.Future[IndexedFile]]
        ] = collections.deque()

    def process(self, href: str) -> Iterator[Any]:
        if len(self._in_flight) >= _IN_FLIGHT_HEADERS:
            yield from self._finish_one()
        future = self._pool.submit(
            indexing.index_file, self._store, href,
            bands=self._bands, datetime_pattern=self._pattern,
        )
        self._in_flight.append((href, future))

    def finish_bundle(self) -> Iterator[Any]:
        while self._in_flight:
            for output in self._finish_one():
                yield _in_global_window(output)

    def _finish_one(self) -> Iterator[Any]:
        href, future = self._in_flight.popleft()
        self._counters.add("files_read")
        try:
            indexed = future.result()
        except RasteretBeamError as error:
            text = f"{redact(href)}: {error}"
            element = json.dumps({"href": redact(href)})
            letter = DeadLetter(element, text, "", indexing.STAGE, error.code)
            yield from dead_letter_outputs([letter], self._counters, "files_failed")
            return
        self._counters.add("files_indexed")
        yield naming.stem(href), indexed


def _in_global_window(output: Any) -> Any:  # noqa: ANN401 -- a value or a tagged one
    value = output.value if isinstance(output, TaggedOutput) else output
    windowed = beam.transforms.window.GlobalWindows.windowed_value(value)
    return TaggedOutput(output.tag, windowed) if isinstance(output, TaggedOutput) else windowed


def _identity(pair: tuple[str, IndexedFile]) -> tuple[str, IndexedFile]:
    """Declares the key's type, which outputs with tags do not carry."""
    return pair


def _name_records(
    group: tuple[str, Iterable[IndexedFile]], dated: bool,  # noqa: FBT001 -- FlatMap's argument
) -> Iterator[tuple[str, tuple[str, IndexedFile]]]:
    """(partition, (record id, file)) of the files that share a stem."""
    files = sorted(group[1], key=lambda file: file.href)
    ids = naming.record_ids([file.href for file in files])
    for file in files:
        # Hive folders without a single date have no type that readers could infer.
        partition = indexing.partition_of(file.datetime) if dated else ""
        yield partition, (ids[file.href], file)


class _WritePartitionFn(beam.DoFn):
    def __init__(self, folder: str, collection: str) -> None:
        self._folder, self._collection = folder, collection

    def process(
        self, group: tuple[str, Iterable[tuple[str, IndexedFile]]], bands: list[str],
    ) -> Iterator[str]:
        partition = group[0]
        rows = sorted(group[1], key=lambda row: (row[1].datetime is None, row[1].datetime, row[0]))
        table = indexing.collection_table(rows, sorted(bands, key=_natural), self._collection)
        folder = FileSystems.join(self._folder, partition) if partition else self._folder
        final = FileSystems.join(folder, "part-0.parquet")
        hidden = FileSystems.join(folder, ".part-0.parquet")
        make_folder(final)
        with FileSystems.create(hidden, compression_type="uncompressed") as file:
            pq.write_table(table, file, compression="zstd", row_group_size=_ROW_GROUP_ROWS)
        if FileSystems.exists(final):
            FileSystems.delete([final])
        FileSystems.rename([hidden], [final])
        yield final


class _ReplaceFn(beam.DoFn):
    """Removes partitions of an earlier run, once this run's are complete."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def process(self, group: tuple[int, Iterable[str]]) -> Iterator[str]:
        files = sorted(group[1])
        for levels in (("year=*", "month=*"), ()):
            remove_stale(FileSystems.join(self._folder, *levels, "part-*.parquet"), files)
        yield from files


def _natural(name: str) -> list[Any]:
    """B2 before B10."""
    return [(int(t), "") if t.isdigit() else (-1, t) for t in re.split(r"(\d+)", name)]
