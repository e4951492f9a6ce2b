"""What to run again: files of dead letters -> one small selection."""

import dataclasses
from collections.abc import Iterable, Iterator

import apache_beam as beam
from apache_beam.pvalue import PBegin

from rasteret_beam import replaying
from rasteret_beam.replaying import Replay
from rasteret_beam.storage import Store
from rasteret_beam.transforms._displayed import Displayed
from rasteret_beam.transforms._metrics import Counters


@dataclasses.dataclass(eq=False, kw_only=True)
class ReadDeadLetters(Displayed):
    """Reads what the dead letters of an earlier run name, to run just that again.

    Input: the pipeline. Output: one ``Replay``, of some 24 bytes a letter and band, for
    ``PlanTiles`` or ``PlanTilesByCell``. It goes to the workers as a side input: it is
    read once, and the job's graph stays small however many letters there are. Windows:
    the global one. Dead letters: none, a file that is none of ours ends the job.
    Counters: ``letters_read``.

    Attributes:
        folder: What ``WriteDeadLetters`` wrote to; or one file of it, or a pattern.
        bands: The bands that are sampled.
        store: How files are read.

    Raises:
        ReplayError: While running: there are none, they are not of sampling, or of other
            bands.
    """

    folder: str
    bands: tuple[str, ...]
    store: Store = dataclasses.field(default_factory=Store)

    def expand(self, pbegin: PBegin) -> beam.PCollection[Replay]:
        """Reads files in parallel, then puts them together."""
        return (
            pbegin
            | "Folder" >> beam.Create([self.folder])
            | "ListFiles" >> beam.ParDo(_ListFilesFn(self.store))
            | "SpreadFiles" >> beam.Reshuffle()
            | "Read" >> beam.ParDo(_ReadFn(self.store)).with_output_types(Replay)
            | "Merge" >> beam.CombineGlobally(_MergeFn())
            | "Check" >> beam.Map(replaying.check, self.bands).with_output_types(Replay)
        )


class _ListFilesFn(beam.DoFn):
    def __init__(self, store: Store) -> None:
        self._store = store

    def process(self, folder: str) -> Iterator[str]:
        yield from replaying.list_letters(self._store, folder)


class _ReadFn(beam.DoFn):
    def __init__(self, store: Store) -> None:
        self._store = store
        self._counters = Counters("letters_read")

    def process(self, uri: str) -> Iterator[Replay]:
        found = replaying.read_letters(self._store, uri)
        self._counters.add("letters_read", found.n_letters)
        yield found


class _MergeFn(beam.CombineFn):
    def create_accumulator(self) -> list[Replay]:
        return []

    def add_input(self, replays: list[Replay], replay: Replay) -> list[Replay]:
        return [*replays, replay]

    def merge_accumulators(self, several: Iterable[list[Replay]]) -> list[Replay]:
        return [replaying.merge(one for replays in several for one in replays)]

    def extract_output(self, replays: list[Replay]) -> Replay:
        return replaying.merge(replays)
