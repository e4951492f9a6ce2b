"""A Collection, or what of it meets filters -> a Collection elsewhere."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import PBegin, TaggedOutput

from rasteret_beam.collection import CollectionQuery, Fragment, list_fragments
from rasteret_beam.collection.filters import Filters
from rasteret_beam.elements import DeadLetter
from rasteret_beam.errors import OptionError
from rasteret_beam.indexing.earlier import read_earlier
from rasteret_beam.indexing.rows import IndexedItem
from rasteret_beam.storage import Store, redact
from rasteret_beam.storage.addresses import place
from rasteret_beam.transforms._metrics import DEAD_LETTERS, Counters, dead_letter_outputs
from rasteret_beam.transforms._outputs import NamedOutputs, taken_one_by_one, typed
from rasteret_beam.transforms.list_items import COLUMNS, packed_schema
from rasteret_beam.transforms.write_collection import WriteCollection


@taken_one_by_one
class ExportCollectionResult(NamedTuple):
    """The files of a collection, and what of its records is not in it.

    Attributes:
        files: Names of the Parquet files.
        dead_letters: Bands that nobody could read.
    """

    files: beam.PCollection[str]
    dead_letters: beam.PCollection[DeadLetter]


@dataclasses.dataclass(eq=False, kw_only=True)
class ExportCollection(NamedOutputs):
    """Copies records into a Collection of its own; no header is read.

    Input: the pipeline. Output: ``ExportCollectionResult``. Windows: the global one. Dead
    letters: bands whose tile tables are missing, or hold nulls; their records are copied
    without them. Counters: ``records_read``, ``bands_failed``, and those of
    ``WriteCollection``.

    Attributes:
        collection: Path or URI of the Collection.
        folder: Where to write; a collection that an earlier run left there is replaced.
        filters: Conditions on the records; pushed into the scan.
        store: How files are read.

    Raises:
        OptionError: The folder is the collection's own: what does not meet the filters would go.
        CollectionError: While running: not a collection, or without a filter's column.
    """

    collection: str
    folder: str
    filters: Filters = dataclasses.field(default_factory=Filters)
    store: Store = dataclasses.field(default_factory=Store)

    def __post_init__(self) -> None:
        """Looks that nothing is taken away from what is read."""
        if place(self.collection) == place(self.folder):
            msg = (
                f"folder {redact(self.folder)} is the collection that is copied from; "
                "give the copy a folder of its own"
            )
            raise OptionError(msg)

    def expand(self, pbegin: PBegin) -> ExportCollectionResult:
        """Reads files in parallel, then writes rows."""
        query = CollectionQuery(self.collection, (), store=self.store)
        read = (
            pbegin
            | "Collection" >> beam.Create([query])
            | "ListFragments" >> beam.FlatMap(list_fragments)
            | "SpreadFragments" >> beam.Reshuffle()
            | "Read" >> beam.ParDo(_ReadRowsFn(self.store, self.filters))
            .with_outputs(COLUMNS, DEAD_LETTERS, main="rows")
        )
        files = typed(read.rows, IndexedItem) | "WriteCollection" >> WriteCollection(
            folder=self.folder, columns=read[COLUMNS],
        )
        return ExportCollectionResult(files, read[DEAD_LETTERS])


class _ReadRowsFn(beam.DoFn):
    def __init__(self, store: Store, filters: Filters) -> None:
        self._read = functools.partial(read_earlier, store, filters=filters)
        self._counters = Counters("records_read", "bands_failed")

    def process(self, fragment: Fragment) -> Iterator[Any]:
        is_told = False
        for found in self._read(fragment):
            self._counters.add("records_read", len(found.rows))
            yield from found.rows
            yield from dead_letter_outputs(found.dead_letters, self._counters, "bands_failed")
            columns = None if is_told else packed_schema(found.columns)
            if columns is not None:
                yield TaggedOutput(COLUMNS, columns)
                is_told = True
