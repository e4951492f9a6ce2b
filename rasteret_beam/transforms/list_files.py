"""Which files: a file, a pattern, a folder, or a list of them -> addresses."""

import dataclasses
from collections.abc import Iterator

import apache_beam as beam
from apache_beam.pvalue import PBegin

from rasteret_beam.collection import indexing
from rasteret_beam.storage import Store


@dataclasses.dataclass(eq=False, kw_only=True)
class ListFiles(beam.PTransform):
    """Lists the COGs to index.

    Input: the pipeline. Output: addresses, spread over the workers. Windows: the global
    one. Dead letters and counters: none; a list names files whether they are there or
    not.

    Attributes:
        inputs: A file, a pattern, a folder, or a text file with one address a line.
        store: How files are read.

    Raises:
        FetchError: While running: nothing matches, or the list cannot be read.
    """

    inputs: str
    store: Store = dataclasses.field(default_factory=Store)

    def expand(self, pbegin: PBegin) -> beam.PCollection[str]:
        """Expands the inputs."""
        return (
            pbegin
            | "Inputs" >> beam.Create([self.inputs])
            | "List" >> beam.ParDo(_ListFn(self.store)).with_output_types(str)
            | "Spread" >> beam.Reshuffle()
        )


class _ListFn(beam.DoFn):
    def __init__(self, store: Store) -> None:
        self._store = store

    def process(self, inputs: str) -> Iterator[str]:
        yield from indexing.list_inputs(self._store, inputs)
