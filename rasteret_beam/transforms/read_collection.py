"""Records in: collection Parquet -> records."""

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import PBegin, TaggedOutput

from rasteret_beam import collection
from rasteret_beam.collection import CollectionQuery, Fragment
from rasteret_beam.elements import DeadLetter, Record
from rasteret_beam.schema import Status
from rasteret_beam.transforms._metrics import DEAD_LETTERS, Counters
from rasteret_beam.transforms._outputs import NamedOutputs, taken_one_by_one, typed


@taken_one_by_one
class ReadCollectionResult(NamedTuple):
    """Records that were read, and what in them cannot be used.

    Attributes:
        records: Records that meet the filters.
        dead_letters: Records, or bands of them, with unusable or missing metadata.
    """

    records: beam.PCollection[Record]
    dead_letters: beam.PCollection[DeadLetter]


@dataclasses.dataclass(eq=False, kw_only=True)
class ReadCollection(NamedOutputs):
    """Reads the records of a Collection that rasteret 0.3 or 0.4 wrote, or this package.

    Filters and the choice of columns are pushed into the Parquet scan; files are read
    in parallel.

    Input: the pipeline. Output: ``ReadCollectionResult``. Windows: the global one. Dead
    letters: each (record, bands) whose metadata is missing or unusable; the record's
    other bands are kept. Counters: ``records_read``, ``records_failed`` (unusable),
    ``bands_missing`` (a record does not have the band).

    Attributes:
        query: What to read.

    Raises:
        CollectionError: While running: not a collection.
        BandNotFoundError: While running: a band that no record has.
    """

    query: CollectionQuery

    def expand(self, pbegin: PBegin) -> ReadCollectionResult:
        """Lists the files, then reads them."""
        outputs = (
            pbegin
            | "Query" >> beam.Impulse()
            | "ListFragments" >> beam.FlatMap(_list_fragments, self.query)
            | "SpreadFragments" >> beam.Reshuffle()
            | "Read" >> beam.ParDo(
                _ReadFragmentFn(self.query),
            ).with_outputs(DEAD_LETTERS, main="records")
        )
        return ReadCollectionResult(typed(outputs.records, Record), outputs[DEAD_LETTERS])


def _list_fragments(_impulse: bytes, query: CollectionQuery) -> list[Fragment]:
    return collection.list_fragments(query)


class _ReadFragmentFn(beam.DoFn):
    def __init__(self, query: CollectionQuery) -> None:
        self._query = query
        self._counters = Counters("records_read", "records_failed", "bands_missing")

    def process(self, fragment: Fragment) -> Iterator[Any]:
        for record, letters in collection.read_fragment(self._query, fragment):
            self._counters.add("records_read")
            count_letters(letters, self._counters)
            for letter in letters:
                yield TaggedOutput(DEAD_LETTERS, letter)
            if record is not None:
                yield record


def count_letters(letters: list[DeadLetter], counters: Counters) -> None:
    """Counts what in one record cannot be used."""
    absent = sum(letter.code == Status.BAND_MISSING.value for letter in letters)
    counters.add("bands_missing", absent)
    counters.add("records_failed", 1 if len(letters) > absent else 0)
    counters.tell(letters)
