"""Files, STAC or a table -> a Collection that rasteret loads."""

import dataclasses
from typing import NamedTuple

import apache_beam as beam
from apache_beam.pvalue import PBegin

from rasteret_beam.elements import DeadLetter
from rasteret_beam.errors import OptionError
from rasteret_beam.indexing.files import FileSource
from rasteret_beam.indexing.items import ItemSource
from rasteret_beam.storage import Store
from rasteret_beam.transforms._outputs import NamedOutputs, taken_one_by_one
from rasteret_beam.transforms.index_items import IndexItems
from rasteret_beam.transforms.list_items import ListItems
from rasteret_beam.transforms.write_collection import WriteCollection

MODES = ("replace", "update", "append")


@taken_one_by_one
class BuildCollectionResult(NamedTuple):
    """The files of a collection, and inputs that are not in it.

    Attributes:
        files: Names of the Parquet files.
        dead_letters: What in the source is no item, and files that cannot be used.
    """

    files: beam.PCollection[str]
    dead_letters: beam.PCollection[DeadLetter]


@dataclasses.dataclass(eq=False, kw_only=True)
class BuildCollection(NamedOutputs):
    """Indexes the COGs of a source into a Collection of Parquet files.

    Composed of ``ListItems``, ``IndexItems`` and ``WriteCollection``; items that come
    from elsewhere go into the last two.

    Input: the pipeline. Output: ``BuildCollectionResult``. Windows: the global one. Dead
    letters and counters: those of its parts.

    Attributes:
        source: A ``FileSource``, ``StacFiles``, ``StacSearch`` or ``RecordTable``.
        folder: Where to write; a collection that an earlier run left there is replaced.
        mode: ``replace`` reads every header. ``update`` gives the same collection, but
            takes headers of unchanged files from the one that is there, and of files that
            cannot be read just now too. ``append`` does so as well, and keeps its records
            that the source does not have; see ``IndexItems``.
        name: Name of the collection; value of ``collection`` where an item has none.
        data_source: A dataset's id or its STAC collection.
        description: One line on it.
        store: How files are read.

    Raises:
        OptionError: The mode is not known.
    """

    source: ItemSource
    folder: str
    mode: str = "replace"
    name: str = ""
    data_source: str = ""
    description: str = ""
    store: Store = dataclasses.field(default_factory=Store)

    def __post_init__(self) -> None:
        """Checks the mode."""
        if self.mode not in MODES:
            msg = f"mode is {self.mode!r}, expected one of {list(MODES)}"
            raise OptionError(msg)

    def expand(self, pbegin: PBegin) -> BuildCollectionResult:
        """Lists items, indexes them, writes rows."""
        source = self.source
        if self.mode == "append" and isinstance(source, FileSource):
            source = dataclasses.replace(source, beside=self.folder)
        listed = pbegin | "ListItems" >> ListItems(source=source, store=self.store)
        indexed = listed.items | "IndexItems" >> IndexItems(
            store=self.store,
            earlier=None if self.mode == "replace" else self.folder,
            keep_others=self.mode == "append",
        )
        columns = (listed.columns, indexed.columns) | "Columns" >> beam.Flatten()
        letters = (listed.dead_letters, indexed.dead_letters) | "DeadLetters" >> beam.Flatten()
        files = indexed.rows | "WriteCollection" >> WriteCollection(
            folder=self.folder,
            columns=columns,
            failures=letters,
            # A search that finds nothing is rather a slip than a wish.
            may_empty=self.mode == "update",
            name=self.name,
            data_source=self.data_source,
            description=self.description,
        )
        return BuildCollectionResult(files, letters)
