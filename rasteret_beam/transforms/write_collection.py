"""Rows -> the Parquet files of a collection."""

import dataclasses
import uuid
from collections.abc import Iterable, Iterator

import apache_beam as beam
import pyarrow as pa
from apache_beam.io.filesystems import FileSystems
from apache_beam.pvalue import AsIter, AsSingleton

from rasteret_beam.indexing.layout import Layout, Shard, Sketch
from rasteret_beam.indexing.parts import collection_schema, write_part
from rasteret_beam.indexing.rows import IndexedItem
from rasteret_beam.storage.addresses import output_folder
from rasteret_beam.transforms._folders import make_folder, put_in_place, remove, writing
from rasteret_beam.transforms._metrics import Counters

_Written = tuple[str, str]
"""Hidden name and final name of a file."""


@dataclasses.dataclass(eq=False, kw_only=True)
class WriteCollection(beam.PTransform):
    """Writes rows as a Collection: Parquet in folders by year and month.

    Files hold rows of one neighbourhood, in row groups of bounded size, so that a bbox
    filter reads little. They are written under hidden names, and take the place of an
    earlier run's when all are complete.

    Input: ``IndexedItem``. Output: names of the files. Windows: the global one only.
    Counters: ``records_written``, ``duplicates_dropped`` (rows equal in everything).

    Attributes:
        folder: Where to write: local, gs:// and what else Beam's filesystems know.
        columns: Types of properties, where a source declared them.
        name: Name of the collection; value of ``collection`` where an item has none.
        data_source: A dataset's id or its STAC collection.
        description: One line on it. What is left out is taken from ``columns``.
    """

    folder: str
    columns: beam.PCollection[bytes] | None = None
    name: str = ""
    data_source: str = ""
    description: str = ""

    def __post_init__(self) -> None:
        """Takes ``file://`` off the folder."""
        self.folder = output_folder(self.folder)

    def expand(self, rows: beam.PCollection[IndexedItem]) -> beam.PCollection[str]:
        """Plans the files from all rows, then writes them."""
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
        return (
            rows
            | "Shard" >> beam.ParDo(_ShardFn(), layout)
            .with_output_types(tuple[tuple[str, int], IndexedItem])
            | "GroupByShard" >> beam.GroupByKey()
            | "Write" >> beam.ParDo(_WriteShardFn(self.folder, hidden, told), layout)
            .with_output_types(tuple[int, _Written])
            | "AllFiles" >> beam.GroupByKey()
            | "Publish" >> beam.ParDo(_PublishFn(self.folder, hidden)).with_output_types(str)
        )


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
    ) -> Iterator[tuple[tuple[str, int], IndexedItem]]:
        folder, number = layout.shard_of(row)
        yield (folder, number), row


class _WriteShardFn(beam.DoFn):
    def __init__(self, folder: str, hidden: str, told: dict[str, str]) -> None:
        self._folder, self._hidden, self._told = folder, hidden, told
        self._counters = Counters("records_written", "duplicates_dropped")

    def process(
        self, group: tuple[tuple[str, int], Iterable[IndexedItem]], layout: Layout,
    ) -> Iterator[tuple[int, _Written]]:
        shard = Shard(*group[0])
        folder = FileSystems.join(self._folder, shard.folder) if shard.folder else self._folder
        final = FileSystems.join(folder, f"part-{shard.number}.parquet")
        hidden = FileSystems.join(folder, f".part-{self._hidden}-{uuid.uuid4().hex}")
        schema = collection_schema(layout, self._told)
        name = schema.metadata.get(b"name", b"").decode()
        with writing(self._folder):
            make_folder(final)
            with FileSystems.create(hidden, compression_type="uncompressed") as file:
                written, dropped = write_part(file, group[1], schema, name)
        self._counters.add("records_written", written)
        self._counters.add("duplicates_dropped", dropped)
        yield 0, (hidden, final)


class _PublishFn(beam.DoFn):
    """Gives files their names, and removes an earlier run's, once all are complete."""

    def __init__(self, folder: str, hidden: str) -> None:
        self._folder, self._hidden = folder, hidden

    def process(self, group: tuple[int, Iterable[_Written]]) -> Iterator[str]:
        # A retried bundle reports only its last file of a shard.
        files = sorted({final: hidden for hidden, final in group[1]}.items())
        finals = [final for final, _ in files]
        with writing(self._folder):
            put_in_place((hidden, final) for final, hidden in files)
            for below in ("year=*/month=*/", ""):
                remove(self._folder, f"{below}part-*.parquet", keep=finals)
                remove(self._folder, f"{below}.part-{self._hidden}-*")
        yield from finals
