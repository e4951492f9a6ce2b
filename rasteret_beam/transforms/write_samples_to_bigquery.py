"""Samples out: a BigQuery table, by a load job over the Parquet files of a window."""

import dataclasses
import hashlib
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import apache_beam as beam
import pyarrow.parquet as pq
from apache_beam.io.filesystems import FileSystems
from apache_beam.transforms.core import Windowing
from apache_beam.transforms.window import FixedWindows, SlidingWindows

from rasteret_beam.bigquery import Load, table_fields
from rasteret_beam.elements import SampleBatch
from rasteret_beam.errors import OptionError
from rasteret_beam.output import Layout
from rasteret_beam.output.columns import check_output
from rasteret_beam.output.manifest import WrittenFile
from rasteret_beam.transforms._bigquery_jobs import check_dataset, run_load
from rasteret_beam.transforms._displayed import Displayed
from rasteret_beam.transforms._folders import delete, open_file, remove_folder, writing
from rasteret_beam.transforms._output_files import is_first, listed_files, manifest_of
from rasteret_beam.transforms.write_samples import WriteSamples

LEAST_WINDOW_SECONDS = 60.0
"""A load job a window: 1440 a day, of 1500 that BigQuery takes for a table."""

_CHUNK_BYTES = 1 << 20
_DAY_SECONDS = 86_400


@dataclasses.dataclass(eq=False, kw_only=True)
class WriteSamplesToBigQuery(Displayed):
    """Writes samples to a BigQuery table: Parquet files, then a load job a window.

    A load job is free of charge, and all or nothing. Columns are those of ``WriteSamples``
    in the same layout, and ``geog``, a GEOGRAPHY of longitude and latitude; names get
    underscores where BigQuery refuses their letters. A null in an array of values is NaN,
    and "" in one of statuses: BigQuery's arrays hold no nulls.

    A retry waits for the job that the first try began. Without windows a run is one load;
    with ``append`` one that is repeated, and writes the same bytes, adds nothing as long as
    BigQuery knows the job (180 days) and the table is the one that it loaded.

    In windows, each window and pane is one load, which only appends; one without rows is
    none. A job that goes on where it was, after a checkpoint or an update, adds nothing
    twice; a job that is started anew adds what comes, whatever an earlier one did.
    BigQuery takes 1500 loads a day for a table, or 30 000 changes of partitions where it
    has some: each late pane counts, and each date that a load has rows of.

    Input: ``SampleBatch``. Output: the table's name, for each load that is done; nothing
    where there is nothing to load, and the table stays as it was. Windows: kept; fixed ones
    of 60 s at least. Dead letters: none. Counters: ``rows_written``.

    Attributes:
        load: The table, and how to write to it.
        temp_folder: For the files, of a bucket that BigQuery can read, in the dataset's
            region: a folder in it. Files go when they are loaded; in windows a list of
            them stays, so that what is done again knows that they were, and so does what
            a step that was done again had begun: let the bucket's rules clean up.
        layout: ``long``, ``wide`` or ``array``, as in ``WriteSamples``.
        bands: The bands in the order wanted, for ``wide`` and ``array``.
        project: Where the jobs run; by default the table's.

    Raises:
        OptionError: The layout is not known, there are no bands, or one has the name of
            another column; windows are too short, or what they would write takes the place
            of other rows.
    """

    load: Load
    temp_folder: str
    layout: str = "long"
    bands: tuple[str, ...] = ()
    project: str | None = None

    def __post_init__(self) -> None:
        """Checks the layout."""
        check_output("bigquery", Layout(self.layout, tuple(self.bands)))

    def expand(self, samples: beam.PCollection[SampleBatch]) -> beam.PCollection[str]:
        """Writes files, loads those of a window together, takes them away."""
        is_whole = samples.windowing.is_default()
        if not is_whole:
            self._check_windows(samples.windowing)
        project = self.project or self.load.table.project
        # What is wrong is told before any pixel is read.
        _ = (
            samples.pipeline
            | "Table" >> beam.Create([self.load.table])
            | "CheckDataset" >> beam.Map(check_dataset, project)
        )
        run = uuid.uuid4().hex
        folder = FileSystems.join(self.temp_folder, f"rasteret-beam-{run}")
        files = samples | "WriteSamples" >> WriteSamples(
            folder=folder, output_format="bigquery", layout=self.layout, bands=self.bands,
        )
        load = _LoadFn(self.load, self.layout, run if is_whole else None, project)
        return (
            files
            | "Together" >> beam.FlatMap(_manifest).with_output_types(str)
            # What is loaded must not be written again; and unlike a GroupByKey, this drops
            # nothing that is late by now.
            | "Gather" >> beam.Reshuffle()
            | "Load" >> beam.ParDo(load).with_output_types(tuple[str, list[str]])
            # A retry of what follows must not load again: the files may be gone by then.
            | "Loaded" >> beam.Reshuffle()
            | "Clean" >> beam.FlatMap(_clean, folder if is_whole else None).with_output_types(str)
        )

    def _check_windows(self, windowing: Windowing) -> None:
        if self.load.write_disposition != "append":
            msg = (
                f"{self.load.table}: write_disposition {self.load.write_disposition!r} is for "
                "samples without windows: of a window it would take away, or be refused for, "
                "the rows of those before; give 'append'"
            )
            raise OptionError(msg)
        seconds = _seconds_between(windowing.windowfn)
        if seconds is not None and seconds < LEAST_WINDOW_SECONDS:
            msg = (
                f"{self.load.table}: a load job for each window of {seconds:g} s is "
                f"{_DAY_SECONDS / seconds:.0f} a day, and BigQuery takes 1500 for a table; give "
                f"windows of {LEAST_WINDOW_SECONDS:g} s or more, or publish the samples to a "
                "Pub/Sub topic (EncodeSamples, --output_topic) that has a BigQuery subscription"
            )
            raise OptionError(msg)


def _seconds_between(windows: Any) -> float | None:  # noqa: ANN401 -- any window function
    """How often a window ends; None where no rule tells."""
    if isinstance(windows, SlidingWindows):
        return float(windows.period.micros) / 1e6
    return float(windows.size.micros) / 1e6 if isinstance(windows, FixedWindows) else None


def _manifest(name: str) -> list[str]:
    """The manifest of a window and pane; its first file tells it for all."""
    return [manifest_of(name)] if is_first(name) else []


class _LoadFn(beam.DoFn):
    """Loads all files that a manifest lists.

    Args:
        run: Name of the run where it is one load; None where each window is one.
    """

    def __init__(self, load: Load, layout: str, run: str | None, project: str) -> None:
        self._load, self._layout, self._run = load, layout, run
        self._project = project

    def process(self, manifest: str) -> Iterator[tuple[str, list[str]]]:
        files, table = listed_files(manifest), str(self._load.table)
        names = [file.name for file in files]
        if self._run is None and not any(file.rows for file in files):
            yield "", names
            return

        def configure(existing: Mapping[str, Any] | None) -> dict[str, Any]:
            with writing(table), open_file(names[0]) as file:
                fields = table_fields(pq.read_schema(file))
            return self._load.configuration(names, fields, self._layout, existing)

        with writing(table):
            told = [_place(file) if self._run is None else _content(file) for file in files]
        run_load(self._project, self._load, self._load.job_id(told, self._run or ""), configure)
        yield table, names


def _place(file: WrittenFile) -> tuple[str, str]:
    """Where a file of a stream is: a folder of its run alone, and a name of its window and pane.

    What went through it may be the same as before, and counts all the same. After a
    checkpoint a window is written again: the same, and the file may be gone by then.
    """
    return file.name, f"{file.rows} rows, {file.bytes} bytes"


def _content(file: WrittenFile) -> tuple[str, str]:
    """A file's own name and a checksum of its bytes: the same for every run that writes it."""
    own = FileSystems.split(file.name)[1]
    if "://" in file.name:
        # Buckets keep one; of local files the filesystem tells the size only.
        return own, str(FileSystems.checksum(file.name))
    digest = hashlib.blake2b(digest_size=16)
    with open_file(file.name) as opened:
        while chunk := opened.read(_CHUNK_BYTES):
            digest.update(chunk)
    return own, digest.hexdigest()


def _clean(loaded: tuple[str, list[str]], folder: str | None) -> Iterator[str]:
    """Takes away files that are loaded; with their run's folder, where that was one load."""
    table, names = loaded
    with writing(table):
        if folder is None:
            delete(names)
        else:
            for name in (FileSystems.join(folder, "_run"), folder):
                remove_folder(name)
    if table:
        yield table
