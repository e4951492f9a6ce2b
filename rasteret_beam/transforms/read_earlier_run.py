"""What a killed run left: parts of an output -> what need not be done again."""

import dataclasses
from collections.abc import Iterator

import apache_beam as beam
from apache_beam.pvalue import PBegin

from rasteret_beam.errors import OutputError
from rasteret_beam.output.earlier import EarlierRun, earlier_run
from rasteret_beam.output.parts import Part, read_part
from rasteret_beam.storage.addresses import output_folder
from rasteret_beam.transforms._displayed import Displayed
from rasteret_beam.transforms._folders import matches, open_file, writing
from rasteret_beam.transforms._output_files import parts_folder


@dataclasses.dataclass(eq=False, kw_only=True)
class ReadEarlierRun(Displayed):
    """Finds what a killed run of the same job left in its output.

    Give its output to ``SamplePoints`` (or ``FetchTiles``), and what these give as ``kept``
    to ``WriteSamples``: blocks of tiles all of whose rows are there are not read again, and
    the rows reach the files. A block counts where its rows are those that are planned now.

    Input: the pipeline. Output: one ``EarlierRun``, also where there is nothing. Windows:
    the global one; for points of the global window. Dead letters: none (a part that was
    being written when the run was killed does not count). Counters: none.

    Attributes:
        folder: The output.
        job: The digest that the killed run's ``WriteSamples`` had.
    """

    folder: str
    job: str

    def __post_init__(self) -> None:
        """Takes ``file://`` off the folder."""
        self.folder = output_folder(self.folder)

    def expand(self, pbegin: PBegin) -> beam.PCollection[EarlierRun]:
        """Lists and reads the parts."""
        return (
            pbegin
            | "Folder" >> beam.Create([parts_folder(self.folder, self.job)])
            | "Read" >> beam.Map(_read).with_output_types(EarlierRun)
        )


def _read(folder: str) -> EarlierRun:
    with writing(folder):
        return earlier_run(_parts(matches(folder, "*.part")))


def _parts(names: list[str]) -> Iterator[Part]:
    for name in names:
        with open_file(name) as file:
            try:
                yield read_part(file, name)
            except OutputError:
                # It was being written when the run was killed.
                continue
