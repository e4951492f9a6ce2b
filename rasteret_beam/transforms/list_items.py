"""What to index: files, STAC or a table -> items."""

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import PBegin, TaggedOutput

from rasteret_beam.elements import DeadLetter
from rasteret_beam.indexing.items import Item, ItemSource
from rasteret_beam.storage import Store
from rasteret_beam.transforms._metrics import DEAD_LETTERS, Counters, dead_letter_outputs
from rasteret_beam.transforms._outputs import NamedOutputs, taken_one_by_one, typed

COLUMNS = "columns"
"""Tag of types that a source declares: Arrow schemas as IPC messages."""


@taken_one_by_one
class ListItemsResult(NamedTuple):
    """Items that were found, and what cannot be one.

    Attributes:
        items: Items whose headers are to be read.
        columns: Types of their properties, where the source declares them.
        dead_letters: What in the source is no item.
    """

    items: beam.PCollection[Item]
    columns: beam.PCollection[bytes]
    dead_letters: beam.PCollection[DeadLetter]


@dataclasses.dataclass(eq=False, kw_only=True)
class ListItems(NamedOutputs):
    """Lists the items of a source; its parts are read in parallel.

    Input: the pipeline. Output: ``ListItemsResult``, items spread over the workers.
    Windows: the global one. Dead letters: files, lines and rows that are no item.
    Counters: ``items_read`` = items + ``items_refused``.

    Attributes:
        source: A ``FileSource``, ``StacFiles``, ``StacSearch`` or ``RecordTable``.
        store: How files are read.

    Raises:
        FetchError: While running: nothing matches, or an API cannot be searched.
        CollectionError: While running: a table lacks a column.
    """

    source: ItemSource
    store: Store = dataclasses.field(default_factory=Store)

    def expand(self, pbegin: PBegin) -> ListItemsResult:
        """Lists parts, then reads them."""
        outputs = (
            pbegin
            | "Source" >> beam.Create([self.source])
            | "ListParts" >> beam.ParDo(_ListPartsFn(self.store))
            | "SpreadParts" >> beam.Reshuffle()
            | "ReadParts" >> beam.ParDo(_ReadPartFn(self.source, self.store))
            .with_outputs(COLUMNS, DEAD_LETTERS, main="items")
        )
        return ListItemsResult(
            typed(outputs.items, Item) | "SpreadItems" >> beam.Reshuffle(),
            outputs[COLUMNS] | "Distinct" >> beam.Distinct(),
            outputs[DEAD_LETTERS],
        )


class _ListPartsFn(beam.DoFn):
    def __init__(self, store: Store) -> None:
        self._store = store

    def process(self, source: ItemSource) -> Iterator[Any]:
        yield from source.parts(self._store)


class _ReadPartFn(beam.DoFn):
    def __init__(self, source: ItemSource, store: Store) -> None:
        self._source, self._store = source, store
        self._counters = Counters("items_read", "items_refused")

    def process(self, part: Any) -> Iterator[Any]:  # noqa: ANN401 -- the source's own
        told: set[bytes] = set()
        for batch in self._source.read(self._store, part):
            self._counters.add("items_read", len(batch.items) + len(batch.dead_letters))
            yield from dead_letter_outputs(batch.dead_letters, self._counters, "items_refused")
            yield from batch.items
            columns = packed_schema(batch.columns)
            if columns is not None and columns not in told:
                told.add(columns)
                yield TaggedOutput(COLUMNS, columns)


def packed_schema(columns: pa.Schema | None) -> bytes | None:
    """Gives a schema as an IPC message, equal for equal schemas; None for an empty one."""
    if columns is None or not (len(columns) or columns.metadata):
        return None
    return bytes(columns.serialize())
