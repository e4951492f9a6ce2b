"""Rows out: sample batches -> files; dead letters -> files."""

import dataclasses
import functools
import io
import json

import apache_beam as beam

from rasteret_beam import output
from rasteret_beam.elements import DeadLetter, SampleBatch
from rasteret_beam.output import SampleWriter
from rasteret_beam.transforms._metrics import Counters
from rasteret_beam.transforms._write_files import WriteFiles


@dataclasses.dataclass(eq=False, kw_only=True)
class WriteSamples(beam.PTransform):
    """Writes samples as Parquet, GeoParquet 1.1 or CSV.

    Files are named ``samples-00000-of-0000N``, with the window's span in windows other
    than the global one; a name appears when its file is complete, and a rerun replaces
    the files of the run before.

    Input: ``SampleBatch``. Output: names of the files. Windows: kept. Dead letters:
    none. Counters: ``rows_written``.

    Attributes:
        folder: Where to write.
        output_format: ``parquet``, ``geoparquet`` or ``csv``.

    Raises:
        OptionError: The format is not known.
    """

    folder: str
    output_format: str = "parquet"

    def __post_init__(self) -> None:
        """Checks the format."""
        output.suffix_of(self.output_format)

    def expand(self, samples: beam.PCollection[SampleBatch]) -> beam.PCollection[str]:
        """Counts and writes."""
        return (
            samples
            | "Count" >> beam.ParDo(_CountFn()).with_output_types(SampleBatch)
            | "Files" >> WriteFiles(
                folder=self.folder,
                prefix="samples",
                suffix=output.suffix_of(self.output_format),
                make_writer=functools.partial(SampleWriter, output_format=self.output_format),
            )
        )


@dataclasses.dataclass(eq=False, kw_only=True)
class WriteDeadLetters(beam.PTransform):
    """Writes dead letters as JSON lines, ``dead-letters-00000-of-0000N.jsonl``.

    Input: ``DeadLetter``. Output: names of the files; none without dead letters.
    Windows: kept. Counters: ``dead_letters``.

    Attributes:
        folder: Where to write.
    """

    folder: str

    def expand(self, letters: beam.PCollection[DeadLetter]) -> beam.PCollection[str]:
        """Writes a line each."""
        return letters | "Files" >> WriteFiles(
            folder=self.folder,
            prefix="dead-letters",
            suffix=".jsonl",
            make_writer=_JsonLinesWriter,
        )


class _CountFn(beam.DoFn):
    def __init__(self) -> None:
        self._counters = Counters("rows_written")

    def process(self, batch: SampleBatch) -> list[SampleBatch]:
        self._counters.add("rows_written", batch.samples.num_rows)
        return [batch]


class _JsonLinesWriter:
    def __init__(self, file: io.BufferedIOBase) -> None:
        self._file = file

    def write(self, letter: DeadLetter) -> None:
        self._file.write(json.dumps(letter._asdict()).encode() + b"\n")

    def close(self) -> None:
        """Every line is written as it comes."""
