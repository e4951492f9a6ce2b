"""Samples out: a BigQuery table, by one load job over Parquet files."""

import dataclasses
import functools
import hashlib
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import apache_beam as beam
import pyarrow.parquet as pq
from apache_beam.io.filesystems import FileSystems

from rasteret_beam.bigquery import Load, table_fields
from rasteret_beam.elements import SampleBatch
from rasteret_beam.errors import OptionError
from rasteret_beam.output import Layout
from rasteret_beam.transforms._bigquery_jobs import check_dataset, run_load
from rasteret_beam.transforms._folders import remove_folders, writing
from rasteret_beam.transforms.write_samples import WriteSamples

_CHUNK_BYTES = 1 << 20


@dataclasses.dataclass(eq=False, kw_only=True)
class WriteSamplesToBigQuery(beam.PTransform):
    """Writes samples to a BigQuery table: Parquet files, then one load job.

    A load job is free of charge, and all or nothing. Columns are those of ``WriteSamples``
    in the same layout, and ``geog``, a GEOGRAPHY of longitude and latitude; names get
    underscores where BigQuery refuses their letters. A null in an array of values is NaN,
    and "" in one of statuses: BigQuery's arrays hold no nulls.

    A retry waits for the job that the first try began. With ``append`` a run that is
    repeated, and writes the same bytes, adds nothing as long as BigQuery knows the
    job (180 days) and the table is the one that it loaded.

    Input: ``SampleBatch`` in the global window. Output: the table's name, when it is
    loaded; nothing where there is nothing to load, and the table stays as it was. Dead
    letters: none. Counters: ``rows_written``.

    Attributes:
        load: The table, and how to write to it.
        temp_folder: For the files, of a bucket that BigQuery can read, in the dataset's
            region: a folder in it, taken away when they are loaded.
        layout: ``long``, ``wide`` or ``array``, as in ``WriteSamples``.
        bands: The bands in the order wanted, for ``wide`` and ``array``.
        project: Where the job runs; by default the table's.

    Raises:
        OptionError: The layout is not known, there are no bands, or windows.
    """

    load: Load
    temp_folder: str
    layout: str = "long"
    bands: tuple[str, ...] = ()
    project: str | None = None

    def __post_init__(self) -> None:
        """Checks the layout."""
        Layout(self.layout, tuple(self.bands)).check()

    def expand(self, samples: beam.PCollection[SampleBatch]) -> beam.PCollection[str]:
        """Writes files, loads them together, takes them away."""
        if not samples.windowing.is_default():
            msg = "WriteSamplesToBigQuery loads whole jobs; write rows of windows with ToRows"
            raise OptionError(msg)
        project = self.project or self.load.table.project
        # What is wrong is told before any pixel is read.
        _ = (
            samples.pipeline
            | "Table" >> beam.Create([self.load.table])
            | "CheckDataset" >> beam.Map(functools.partial(check_dataset, project))
        )
        run = uuid.uuid4().hex
        folder = FileSystems.join(self.temp_folder, f"rasteret-beam-{run}")
        files = samples | "WriteSamples" >> WriteSamples(
            folder=folder, output_format="bigquery", layout=self.layout, bands=self.bands,
        )
        return (
            files
            | "Together" >> beam.Map(_keyed).with_output_types(tuple[str, str])
            | "Gather" >> beam.GroupByKey()
            | "Load" >> beam.ParDo(
                _LoadFn(self.load, self.layout, run, project),
            ).with_output_types(str)
            # A retry of what follows must not load again: the files may be gone by then.
            | "Loaded" >> beam.Reshuffle()
            | "Clean" >> beam.Map(_clean, folder).with_output_types(str)
        )


def _keyed(name: str) -> tuple[str, str]:
    return "", name


class _LoadFn(beam.DoFn):
    def __init__(self, load: Load, layout: str, run: str, project: str) -> None:
        self._load, self._layout, self._run = load, layout, run
        self._project = project

    def process(self, gathered: tuple[str, Iterable[str]]) -> Iterator[str]:
        names = sorted(gathered[1])
        with writing(str(self._load.table)):
            job_id = self._load.job_id([_identity(name) for name in names], self._run)
            with FileSystems.open(names[0], compression_type="uncompressed") as file:
                fields = table_fields(pq.read_schema(file))

        def configure(existing: Mapping[str, Any] | None) -> dict[str, Any]:
            return self._load.configuration(names, fields, self._layout, existing)

        run_load(self._project, self._load, job_id, configure)
        yield str(self._load.table)


def _identity(name: str) -> tuple[str, str]:
    """A file's own name and a checksum of its bytes."""
    own = FileSystems.split(name)[1]
    if "://" in name:
        # Buckets keep one; of local files the filesystem tells the size only.
        return own, str(FileSystems.checksum(name))
    digest = hashlib.blake2b(digest_size=16)
    with FileSystems.open(name, compression_type="uncompressed") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return own, digest.hexdigest()


def _clean(table: str, folder: str) -> str:
    with writing(folder):
        for name in (FileSystems.join(folder, "_run"), folder):
            if FileSystems.exists(name) or "://" in name:
                remove_folders(name)
    return table
