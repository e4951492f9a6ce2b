"""Rows out: sample batches -> files; dead letters -> files."""

import dataclasses
import functools
import json
import time
import uuid
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.pvalue import AsSingleton
from apache_beam.utils.windowed_value import WindowedValue

from rasteret_beam import memory
from rasteret_beam.elements import DeadLetter, SampleBatch
from rasteret_beam.output import Layout, part_writer
from rasteret_beam.output.columns import check_columns, check_output, user_names
from rasteret_beam.output.earlier import KeptRows
from rasteret_beam.output.formats import PLACED_FORMATS
from rasteret_beam.output.part_writer import PartWriter
from rasteret_beam.output.parts import Part
from rasteret_beam.output.shard_files import ShardTask, plan_files
from rasteret_beam.storage.addresses import output_folder
from rasteret_beam.transforms._blocks import GONE_ON_FROM
from rasteret_beam.transforms._displayed import Displayed
from rasteret_beam.transforms._folders import create_file, writing
from rasteret_beam.transforms._held import fullest
from rasteret_beam.transforms._metrics import Counters
from rasteret_beam.transforms._occupied import check_no_collection
from rasteret_beam.transforms._output_files import OutputFiles, Staged, parts_folder
from rasteret_beam.transforms._panes import check_discarding, check_global
from rasteret_beam.transforms._write_files import WriteFiles, name_of_run, window_name

_HELD = memory.Allowance(2 * part_writer.MOST_PART_BYTES)
"""What all bundles of the process hold."""

_SHARE_BYTES = 16 * 1024 * 1024
"""What each may hold, whatever the others do: smaller parts are not worth it."""

_LEAST_SECONDS = 1.0
_LOST_SHARE = 0.1


@dataclasses.dataclass(eq=False, kw_only=True)
class WriteSamples(Displayed):
    """Writes samples as Parquet, GeoParquet 1.1 or CSV.

    Files are named ``samples-00000-of-0000N``, with the window's span in windows other
    than the global one. Which rows are in which file, and in which order, depends on the
    rows alone: a run that is repeated gives the same bytes. Rows lie along a curve through
    space, some two million in a file, fewer where they are wide.

    Rows first go to part files in ``_run``, a folder in the output that readers of
    Parquet pass over; when all are there they are sorted into files, these get their
    names, and ``_run/manifest.json`` lists them. What an earlier run left is replaced in
    that moment. A run that is killed leaves parts, from which ``ReadEarlierRun`` goes on.
    In windows other than the global one a part goes with its window; those that a failed
    try of a bundle wrote stay in ``_run``, since nobody knows of them.

    In windows of samples that have an end only files of the same window and pane are
    replaced. An earlier run's other windows stay, and so do its panes of late points, whose
    rows are there twice where another run has them on time: give a replay a folder of its
    own. Without an end (Pub/Sub) names also have the first letters of their run, and nothing
    that another run wrote is replaced: a job that is drained in mid-window, and started anew,
    has the rest of the window in files of its own.

    Input: ``SampleBatch``. Output: names of the files. Windows: kept; each window and
    pane has files of its own. Dead letters: none. Counters: ``rows_written``.

    Attributes:
        folder: Where to write.
        output_format: ``parquet``, ``geoparquet``, ``csv``, or ``bigquery``: Parquet as
            BigQuery loads it.
        layout: ``long``: a row per (point, record, band); ``wide``: per (point, record),
            a column per band; ``array``: per (point, record), all bands in one list.
        bands: The bands in the order wanted, for ``wide`` and ``array``.
        job: Digest of what is done; parts of a run of the same job can be gone on from.
        kept: What of an earlier run counts, as ``SamplePoints`` (or ``FetchTiles``) gives it.

    Raises:
        OptionError: The format or layout is not known, there are no bands, or one has the
            name of another column; rows in windows are to have some of an earlier run; or
            windows accumulate their panes. While running: a column of the user's has a name
            that format or layout gives, or the folder holds a collection.
    """

    folder: str
    output_format: str = "parquet"
    layout: str = "long"
    bands: tuple[str, ...] = ()
    job: str = ""
    kept: beam.PCollection[KeptRows] | None = None

    def __post_init__(self) -> None:
        """Checks format and layout, and takes ``file://`` off the folder."""
        self.folder = output_folder(self.folder)
        check_output(self.output_format, Layout(self.layout, tuple(self.bands)))

    def expand(self, samples: beam.PCollection[SampleBatch]) -> beam.PCollection[str]:
        """Writes parts, gathers what is known of them, writes files, gives them their names."""
        if self.kept is not None:
            check_global(samples, GONE_ON_FROM)
        check_discarding(samples, "Rows")
        run = uuid.uuid4().hex
        files = OutputFiles(
            self.folder, self.output_format, Layout(self.layout, tuple(self.bands)), self.job, run,
        )
        parts = samples | "WriteParts" >> beam.ParDo(
            _WritePartsFn(parts_folder(self.folder, self.job or run), files),
        ).with_output_types(tuple[str, Any])
        # A run that has nothing to write still replaces what an earlier run left.
        nothing = (
            samples.pipeline
            | "Nothing" >> beam.Create([("", None)])
            | "CheckFolder" >> beam.Map(_checked, self.folder).with_output_types(tuple[str, Any])
        )
        if not samples.windowing.is_default():
            return (
                parts
                | "Gather" >> beam.GroupByKey()
                | "Publish" >> beam.ParDo(
                    _WindowFn(files, name_of_run(samples, run)),
                ).with_output_types(str)
            )
        kept = [] if self.kept is None else [AsSingleton(self.kept)]
        return (
            (parts, nothing)
            | "WithNothing" >> beam.Flatten()
            | "Gather" >> beam.GroupByKey()
            | "CutFiles" >> beam.ParDo(_CutFn(files.layout), *kept)
            .with_output_types(Any)
            | "Spread" >> beam.Reshuffle()
            | "WriteFiles" >> beam.ParDo(_WriteFileFn(files), *kept)
            .with_output_types(tuple[str, Any])
            | "GatherFiles" >> beam.GroupByKey()
            | "Publish" >> beam.ParDo(_PublishFn(files)).with_output_types(str)
        )


@dataclasses.dataclass(eq=False, kw_only=True)
class WriteDeadLetters(Displayed):
    """Writes dead letters as JSON lines, ``dead-letters-00000-of-0000N.jsonl``.

    In windows other than the global one, ``dead-letters-<window>-<id>.jsonl``; of a stream
    with its run's name before the id, and nothing of an earlier run's is replaced.

    Input: ``DeadLetter``. Output: names of the files; none without dead letters.
    Windows: kept. Counters: ``dead_letters``.

    Attributes:
        folder: Where to write.

    Raises:
        OptionError: Windows accumulate their panes.
    """

    folder: str

    def __post_init__(self) -> None:
        """Takes ``file://`` off the folder."""
        self.folder = output_folder(self.folder)

    def expand(self, letters: beam.PCollection[DeadLetter]) -> beam.PCollection[str]:
        """Writes a line each."""
        return letters | "Files" >> WriteFiles(
            folder=self.folder,
            prefix="dead-letters",
            suffix=".jsonl",
            make_writer=_JsonLinesWriter,
        )


def _checked(nothing: tuple[str, None], folder: str) -> tuple[str, None]:
    """Looks into the folder before anything is put in place there."""
    check_no_collection(folder)
    return nothing


class _WritePartsFn(beam.DoFn):
    """Parts of some million rows, and sooner where a kill would lose a tenth of the work."""

    def __init__(self, folder: str, files: OutputFiles) -> None:
        self._folder, self._run, self._files = folder, files.run, files
        self._make_writer = functools.partial(
            PartWriter, with_lonlat=files.output_format in PLACED_FORMATS,
        )
        self._known: list[str] | None = None
        self._open: dict[Any, tuple[PartWriter, Any]] = {}
        self._n_bytes = 0

    def start_bundle(self) -> None:
        self._let_go()
        self._started = self._written = time.monotonic()

    def teardown(self) -> None:
        self._let_go()

    def _let_go(self) -> None:
        """Drops what a bundle left that failed."""
        self._open.clear()
        self._give_back(self._n_bytes)

    def _give_back(self, n_bytes: int) -> None:
        self._n_bytes -= n_bytes
        _HELD.give_back(n_bytes)

    def process(
        self,
        batch: SampleBatch,
        window: Any = beam.DoFn.WindowParam,  # noqa: ANN401 -- any window
        timestamp: Any = beam.DoFn.TimestampParam,  # noqa: ANN401 -- Beam's timestamp
    ) -> Iterator[Any]:
        self._check(batch)
        if window in self._open:
            writer, _ = self._open[window]
            # All samples of some points belong into one part.
            is_cut = writer.is_worth_a_part and not writer.goes_on(batch)
            # Half a block is of no use to a run that goes on.
            is_saved = writer.n_rows and self._is_due() and not writer.is_amid_block_of(batch)
            if is_cut or is_saved:
                yield self._write(window)
        if window not in self._open:
            self._open[window] = self._make_writer(), timestamp
        writer, _ = self._open[window]
        before = writer.n_bytes
        writer.add(batch)
        self._n_bytes += writer.n_bytes - before
        _HELD.take(writer.n_bytes - before, anyway=True)
        is_much = _HELD.is_full and self._n_bytes >= _SHARE_BYTES
        if writer.is_full:
            yield self._write(window)
        elif is_much or self._n_bytes >= part_writer.MOST_PART_BYTES:
            # Of many windows, or in many bundles, none of them is worth a part.
            held = {window: writer.n_bytes for window, (writer, _) in self._open.items()}
            for full in fullest(held):
                yield self._write(full)

    def finish_bundle(self) -> Iterator[Any]:
        for window in list(self._open):
            yield self._write(window)

    def _check(self, batch: SampleBatch) -> None:
        if batch.samples.schema.names != self._known:
            names = user_names(batch.samples.schema)
            check_columns(names, self._files.output_format, self._files.layout)
            self._known = batch.samples.schema.names

    def _is_due(self) -> bool:
        now = time.monotonic()
        lost = now - self._written
        return lost > max(_LEAST_SECONDS, _LOST_SHARE * (now - self._started))

    def _write(self, window: Any) -> Any:  # noqa: ANN401 -- any window
        writer, timestamp = self._open.pop(window)
        self._give_back(writer.n_bytes)
        name = FileSystems.join(self._folder, f"{self._run}-{uuid.uuid4().hex}.part")
        with writing(self._folder), create_file(name) as file:
            part = writer.write(file, name, self._run)
        self._written = time.monotonic()
        return WindowedValue(("", part), timestamp, (window,))


class _CutFn(beam.DoFn):
    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def process(
        self, gathered: tuple[str, Iterable[Part | None]], kept: KeptRows | None = None,
    ) -> Iterator[ShardTask | None]:
        # In any order they come; a retry must cut the same files.
        parts = sorted((part for part in gathered[1] if part), key=lambda part: part.name)
        if parts or (kept and kept.parts):
            yield from plan_files(parts, kept, self._layout)
        # The sign to publish, also where there are no files.
        yield None


class _WriteFileFn(beam.DoFn):
    def __init__(self, files: OutputFiles) -> None:
        self._files = files
        self._counters = Counters("rows_written")

    def process(
        self, task: ShardTask | None, kept: KeptRows | None = None,
    ) -> Iterator[tuple[str, Staged | None]]:
        staged = None
        if task is not None:
            staged = self._files.write(task, kept)
            self._counters.add("rows_written", staged.rows)
        yield "", staged


class _PublishFn(beam.DoFn):
    def __init__(self, files: OutputFiles) -> None:
        self._files = files

    def process(self, gathered: tuple[str, Iterable[Staged | None]]) -> Iterator[str]:
        # A retried bundle reports only its last file of a shard.
        staged = {file.final: file for file in gathered[1] if file}
        yield from self._files.publish(list(staged.values()))


class _WindowFn(beam.DoFn):
    """All of one window and pane in one place: windows are many, and small."""

    def __init__(self, files: OutputFiles, run: str) -> None:
        self._files, self._run = files, run
        self._counters = Counters("rows_written")

    def process(
        self,
        gathered: tuple[str, Iterable[Part]],
        window: Any = beam.DoFn.WindowParam,  # noqa: ANN401 -- any window
        pane: Any = beam.DoFn.PaneInfoParam,  # noqa: ANN401 -- Beam's pane
    ) -> Iterator[str]:
        # A stream that takes each element at least once may give a part twice.
        named = {part.name: part for part in gathered[1]}
        parts = [named[name] for name in sorted(named)]
        files = self._files.of_window(window_name(window, pane) + self._run)
        if parts:
            tasks = plan_files(parts, None, files.layout)
            staged = [files.write(task, None) for task in tasks]
            self._counters.add("rows_written", sum(file.rows for file in staged))
            yield from files.publish(staged, [part.name for part in parts])


class _JsonLinesWriter:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, letter: DeadLetter) -> None:
        self._file.write(json.dumps(letter._asdict()).encode() + b"\n")

    def close(self) -> None:
        """Every line is written as it comes."""
