"""Rows -> the Parquet files of a collection."""

import concurrent.futures
import dataclasses
import posixpath
import re
import uuid
from collections.abc import Iterable, Iterator

import apache_beam as beam
import pyarrow as pa
from apache_beam.io.filesystems import FileSystems
from apache_beam.pvalue import AsIter, AsSingleton

from rasteret_beam.elements import DeadLetter
from rasteret_beam.errors import OptionError
from rasteret_beam.indexing.layout import Layout, Shard, Sketch
from rasteret_beam.indexing.parts import collection_schema, write_part
from rasteret_beam.indexing.rows import IndexedItem
from rasteret_beam.storage import redact
from rasteret_beam.storage.addresses import is_hidden, output_folder
from rasteret_beam.transforms._displayed import Displayed
from rasteret_beam.transforms._folders import (
    create_file,
    delete,
    give_way,
    matches,
    put_in_place,
    remove,
    size_of,
    sizes_of,
    writing,
)
from rasteret_beam.transforms._metrics import Counters
from rasteret_beam.transforms._occupied import PARTS, is_of_collection
from rasteret_beam.transforms._panes import check_global

_CONCURRENT_FOOTERS = 32
_OWN_FILE = re.compile(r"(^|/)year=[^/]*/month=[^/]*/part-\d+\.parquet$")

_Sharded = tuple[tuple[str, int], IndexedItem | None]
"""A row, or None for no row, by folder and number of its file."""
_Written = tuple[str, str, int]
"""Hidden name and final name of a file, and its bytes."""


@dataclasses.dataclass(eq=False, kw_only=True)
class WriteCollection(Displayed):
    """Writes rows as a Collection: Parquet in folders by year and month.

    Files hold rows of one neighbourhood, in row groups of bounded size, so that a bbox
    filter reads little. They are written under hidden names, and take the place of the
    collection that was there, however it was laid out, when all are complete. Without a
    row there is one file, which has none.

    Input: ``IndexedItem``. Output: names of the files. Windows: the global one only.
    Counters: ``records_written``, ``duplicates_dropped`` (rows equal in everything).

    Attributes:
        folder: Where to write: local, gs:// and what else Beam's filesystems know.
        columns: Types of properties, where a source declared them.
        failures: What is in the collection only if all goes well. Where there are any,
            and no row at all, a collection that is there stays: nobody asked for none.
        may_empty: Whether no row at all may take the place of a collection that is there.
        name: Name of the collection; value of ``collection`` where an item has none.
        data_source: A dataset's id or its STAC collection.
        description: One line on it. What is left out is taken from ``columns``.

    Raises:
        OptionError: Rows in windows. While running: the folder has Parquet files of
            something else, or of another collection in a folder of its own.
        OutputError: While running: it cannot be written, or another build wrote to it
            meanwhile.
    """

    folder: str
    columns: beam.PCollection[bytes] | None = None
    failures: beam.PCollection[DeadLetter] | None = None
    may_empty: bool = True
    name: str = ""
    data_source: str = ""
    description: str = ""

    def __post_init__(self) -> None:
        """Takes ``file://`` off the folder."""
        self.folder = output_folder(self.folder)

    def expand(self, rows: beam.PCollection[IndexedItem]) -> beam.PCollection[str]:
        """Plans the files from all rows, then writes them."""
        check_global(rows, "A collection is written")
        columns = self.columns
        if columns is None:
            columns = rows.pipeline | "NoColumns" >> beam.Create([], reshuffle=False)
        layout = AsSingleton(
            rows
            | "Sketch" >> beam.CombineGlobally(_SketchFn())
            | "Layout" >> beam.Map(_layout, AsIter(columns)),
        )
        told = {
            "name": self.name, "data_source": self.data_source, "description": self.description,
        }
        hidden = uuid.uuid4().hex
        # Listed before the first file gets its name: what a retry finds later may be new.
        there = AsSingleton(
            rows.pipeline
            | "Folder" >> beam.Impulse()
            | "ListThere" >> beam.Map(_list_there, self.folder),
        )
        failures = self.failures
        if failures is None:
            failures = rows.pipeline | "NoFailures" >> beam.Create([], reshuffle=False)
        failed = AsSingleton(failures | "Failed" >> beam.CombineGlobally(any))
        sharded = rows | "Shard" >> beam.ParDo(_ShardFn(), layout).with_output_types(_Sharded)
        nothing = (
            rows.pipeline
            | "Nothing" >> beam.Impulse()
            | "EmptyShard" >> beam.FlatMap(_empty_shard, self.may_empty, layout, there, failed)
            .with_output_types(_Sharded)
        )
        return (
            (sharded, nothing)
            | "WithNothing" >> beam.Flatten()
            | "GroupByShard" >> beam.GroupByKey()
            | "Write" >> beam.ParDo(_WriteShardFn(self.folder, hidden, told), layout)
            .with_output_types(tuple[int, _Written])
            | "AllFiles" >> beam.GroupByKey()
            | "Publish" >> beam.ParDo(_PublishFn(self.folder, hidden), there)
            .with_output_types(str)
        )


def _list_there(_impulse: bytes, folder: str) -> list[str]:
    """The files of the collection that is there, which will go.

    A reader takes every Parquet file below a folder for a part of its collection. What is
    none, or lies in a folder of its own, must be neither read as one nor removed.
    """
    with writing(folder):
        top = FileSystems.join(folder, "")
        found = [
            name
            for name in sorted({*matches(folder, "*.parquet"), *matches(folder, "**/*.parquet")})
            if not is_hidden(name.removeprefix(top))
        ]
        apart = [
            name for name in found
            if not all("=" in part for part in name.removeprefix(top).split("/")[:-1])
        ]
        odd = [name for name in found if not _OWN_FILE.search(name)]
        with concurrent.futures.ThreadPoolExecutor(_CONCURRENT_FOOTERS) as pool:
            known = zip(odd, pool.map(is_of_collection, odd), strict=True)
            others = [name for name, is_one in known if not is_one]
    for name in apart + others:
        msg = (
            f"{redact(folder)}: holds {name!r}, which is no part of a collection there; "
            "write to a folder of its own"
        )
        raise OptionError(msg)
    return found


def _empty_shard(
    _impulse: bytes, may_empty: bool, layout: Layout, there: list[str], failed: bool,  # noqa: FBT001 -- FlatMap's arguments
) -> Iterator[_Sharded]:
    """The one file of a collection without a row, which must say so to its readers."""
    stays = there and (failed or not may_empty)
    if not layout.shards and not stays:
        yield ("", 0), None


class _SketchFn(beam.CombineFn):
    def create_accumulator(self) -> Sketch:
        return Sketch()

    def add_input(self, sketch: Sketch, row: IndexedItem) -> Sketch:
        sketch.add(row)
        return sketch

    def merge_accumulators(self, sketches: Iterable[Sketch]) -> Sketch:
        merged = Sketch()
        merged.merge(sketches)
        return merged

    def extract_output(self, sketch: Sketch) -> Sketch:
        return sketch


def _layout(sketch: Sketch, columns: Iterable[bytes]) -> Layout:
    declared = Sketch()
    for packed in sorted(columns):
        declared.declare(pa.ipc.read_schema(pa.BufferReader(packed)))
    return sketch.layout(declared.columns)


class _ShardFn(beam.DoFn):
    def process(
        self, row: IndexedItem, layout: Layout,
    ) -> Iterator[_Sharded]:
        folder, number = layout.shard_of(row)
        yield (folder, number), row


class _WriteShardFn(beam.DoFn):
    def __init__(self, folder: str, hidden: str, told: dict[str, str]) -> None:
        self._folder, self._hidden, self._told = folder, hidden, told
        self._counters = Counters("records_written", "duplicates_dropped")

    def process(
        self, group: tuple[tuple[str, int], Iterable[IndexedItem | None]], layout: Layout,
    ) -> Iterator[tuple[int, _Written]]:
        shard = Shard(*group[0])
        folder = FileSystems.join(self._folder, shard.folder) if shard.folder else self._folder
        final = FileSystems.join(folder, f"part-{shard.number}.parquet")
        hidden = FileSystems.join(folder, f".part-{self._hidden}-{uuid.uuid4().hex}")
        rows = (row for row in group[1] if row is not None)
        schema = collection_schema(layout, self._told)
        name = schema.metadata.get(b"name", b"").decode()
        with writing(self._folder), create_file(hidden) as file:
            n_rows, dropped = write_part(file, rows, schema, name)
        with writing(self._folder):
            n_bytes = size_of(hidden)
        self._counters.add("records_written", n_rows)
        self._counters.add("duplicates_dropped", dropped)
        yield 0, (hidden, final, n_bytes)


class _PublishFn(beam.DoFn):
    """Gives files their names, and removes those that were there, once all are complete."""

    def __init__(self, folder: str, hidden: str) -> None:
        self._folder, self._hidden = folder, hidden

    def process(
        self, group: tuple[int, Iterable[_Written]], there: list[str],
    ) -> Iterator[str]:
        # A retried bundle reports only its last file of a shard.
        written = {final: (hidden, n_bytes) for hidden, final, n_bytes in group[1]}
        sizes = {posixpath.normpath(final): n_bytes for final, (_, n_bytes) in written.items()}
        with writing(self._folder):
            put_in_place((hidden, final) for final, (hidden, _) in sorted(written.items()))
            # What is listed may be spelled otherwise than what was written.
            delete(name for name in there if posixpath.normpath(name) not in sizes)
            for below in ("year=*/month=*/", ""):
                remove(self._folder, f"{below}.part-{self._hidden}-*")
            self._check_alone(sizes)
        yield from sorted(written)

    def _check_alone(self, sizes: dict[str, int]) -> None:
        """Refuses files of another build: records of two do not add up to a collection."""
        found = {
            posixpath.normpath(name): n_bytes
            for part in PARTS for name, n_bytes in sizes_of(self._folder, part).items()
        }  # fmt: skip
        others = sorted(name for name, _ in found.items() ^ sizes.items())
        if others:
            give_way(self._folder, f"{others[0]} is not as this build left it")
