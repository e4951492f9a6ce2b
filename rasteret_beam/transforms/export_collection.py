"""A Collection, or what of it meets filters -> a Collection elsewhere."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import PBegin, TaggedOutput

from rasteret_beam.collection import CollectionQuery, Fragment, list_fragments
from rasteret_beam.collection.filters import Filters
from rasteret_beam.indexing.earlier import read_earlier
from rasteret_beam.indexing.rows import IndexedItem
from rasteret_beam.storage import Store
from rasteret_beam.transforms._metrics import Counters
from rasteret_beam.transforms.list_items import COLUMNS, packed_schema
from rasteret_beam.transforms.write_collection import WriteCollection


@dataclasses.dataclass(eq=False, kw_only=True)
class ExportCollection(beam.PTransform):
    """Copies records into a Collection of its own; no header is read.

    Input: the pipeline. Output: names of the files. Windows: the global one. Counters:
    ``records_read``, ``records_written``.

    Attributes:
        collection: Path or URI of the Collection.
        folder: Where to write; a collection that an earlier run left there is replaced.
        filters: Conditions on the records; pushed into the scan.
        store: How files are read.

    Raises:
        CollectionError: While running: not a collection, or without a filter's column.
    """

    collection: str
    folder: str
    filters: Filters = dataclasses.field(default_factory=Filters)
    store: Store = dataclasses.field(default_factory=Store)

    def expand(self, pbegin: PBegin) -> beam.PCollection[str]:
        """Reads files in parallel, then writes rows."""
        query = CollectionQuery(self.collection, (), store=self.store)
        read = (
            pbegin
            | "Collection" >> beam.Create([query])
            | "ListFragments" >> beam.FlatMap(list_fragments)
            | "SpreadFragments" >> beam.Reshuffle()
            | "Read" >> beam.ParDo(_ReadRowsFn(self.store, self.filters))
            .with_output_types(IndexedItem)
            .with_outputs(COLUMNS, main="rows")
        )
        return read.rows | "WriteCollection" >> WriteCollection(
            folder=self.folder, columns=read[COLUMNS],
        )


class _ReadRowsFn(beam.DoFn):
    def __init__(self, store: Store, filters: Filters) -> None:
        self._read = functools.partial(read_earlier, store, filters=filters)
        self._counters = Counters("records_read")

    def process(self, fragment: Fragment) -> Iterator[Any]:
        told = False
        for rows, schema in self._read(fragment):
            self._counters.add("records_read", len(rows))
            yield from rows
            if not told:
                yield TaggedOutput(COLUMNS, packed_schema(schema))
                told = True
