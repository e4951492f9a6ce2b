"""Files that appear whole: written under a hidden name, renamed when a window is done."""

import dataclasses
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple, Protocol

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.transforms.window import GlobalWindow, IntervalWindow
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from rasteret_beam.transforms._displayed import Displayed
from rasteret_beam.transforms._folders import (
    create_file,
    give_way,
    put_in_place,
    remove,
    size_of,
    sizes_of,
    writing,
)
from rasteret_beam.transforms._panes import check_discarding

_ID_LENGTH = 32
_RUN_LENGTH = 8


class Writer(Protocol):
    """What writes elements into one open file."""

    def write(self, element: Any) -> None:  # noqa: ANN401 -- any element
        """Takes an element."""

    def close(self) -> None:
        """Writes what is left; the file itself is closed by the caller."""


@dataclasses.dataclass(eq=False, kw_only=True)
class WriteFiles(Displayed):
    """Writes elements to ``<folder>/<prefix>-00000-of-0000N<suffix>``.

    In windows other than the global one the files are ``<prefix>-<window>-<id><suffix>``,
    and of elements without an end ``<prefix>-<window>-<run>-<id><suffix>``.
    A bundle writes to a file whose name begins with a dot, so that readers of the
    folder pass it over; when all of a window is written its files get their final
    names, and files that an earlier run left under the same prefix go; not those of an
    earlier run without an end, which the next one only adds to. Of a retried bundle
    only the names that its success reports are published; what its failed tries wrote
    goes too, but stays under its hidden name in windows other than the global one. Of
    two runs that publish at once the files are of one, and the other ends with an error.

    Input: any. Output: final file names. Windows: kept; each window and pane has files
    of its own.

    Attributes:
        folder: Where to write: local, gs:// and what else Beam's filesystems know.
        prefix: What file names begin with.
        suffix: What they end with.
        make_writer: Gives a writer for an open file; pickled.

    Raises:
        OptionError: Windows accumulate their panes.
        OutputError: While running: files cannot be written, or another run puts its own in
            their places.
    """

    folder: str
    prefix: str
    suffix: str
    make_writer: Callable[[BinaryIO], Writer]

    def expand(self, elements: beam.PCollection[Any]) -> beam.PCollection[str]:
        """Writes, gathers the names of a window, publishes."""
        check_discarding(elements, f"What is in {self.prefix} files")
        run = uuid.uuid4().hex
        hidden = FileSystems.join(self.folder, f".{self.prefix}-{run}")
        written = elements | "Write" >> beam.ParDo(
            _WriteFn(hidden, self.make_writer),
        ).with_output_types(tuple[str, tuple[str, int]])
        is_whole = elements.windowing.is_default()
        if is_whole:
            # A run that has nothing to write still replaces what an earlier run left.
            nothing = elements.pipeline | "Nothing" >> beam.Create([("", ("", 0))])
            written = (written, nothing) | "WithNothing" >> beam.Flatten()
        return (
            written
            | "Gather" >> beam.GroupByKey()
            | "Publish" >> beam.ParDo(
                _PublishFn(
                    self.folder, self.prefix, self.suffix, hidden, name_of_run(elements, run),
                    is_whole=is_whole,
                ),
            ).with_output_types(str)
        )


class _WriteFn(beam.DoFn):
    """One hidden file for each window of a bundle."""

    def __init__(
        self, hidden: str, make_writer: Callable[[BinaryIO], Writer],
    ) -> None:
        self._hidden, self._make_writer = hidden, make_writer

    def start_bundle(self) -> None:
        self._open: dict[Any, tuple[str, Any, Writer, Any]] = {}

    def process(
        self,
        element: Any,  # noqa: ANN401 -- any element
        window: Any = beam.DoFn.WindowParam,  # noqa: ANN401 -- any window
        timestamp: Any = beam.DoFn.TimestampParam,  # noqa: ANN401 -- Beam's timestamp
    ) -> None:
        with writing(self._hidden):
            if window not in self._open:
                name = f"{self._hidden}-{uuid.uuid4().hex}"
                file = create_file(name)
                self._open[window] = name, file, self._make_writer(file), timestamp
            self._open[window][2].write(element)

    def finish_bundle(self) -> Iterator[Any]:
        for window, (name, file, writer, timestamp) in self._open.items():
            with writing(self._hidden):
                writer.close()
                file.close()
                n_bytes = size_of(name)
            yield WindowedValue(("", (name, n_bytes)), timestamp, (window,))
        self._open = {}


class _Written(NamedTuple):
    """A file that is complete: where it is, its size, and where it is to be."""

    name: str
    bytes: int
    final: str


class _PublishFn(beam.DoFn):
    def __init__(
        self, folder: str, prefix: str, suffix: str, hidden: str, run: str, *, is_whole: bool,
    ) -> None:
        self._folder, self._prefix, self._suffix, self._hidden = folder, prefix, suffix, hidden
        self._run, self._is_whole = run, is_whole

    def process(
        self,
        gathered: tuple[str, Iterable[tuple[str, int]]],
        window: Any = beam.DoFn.WindowParam,  # noqa: ANN401 -- any window
        pane: Any = beam.DoFn.PaneInfoParam,  # noqa: ANN401 -- Beam's pane
    ) -> Iterator[str]:
        written = list(gathered[1])
        if not written:
            # A window may fire once more when it goes, with nothing: that takes nothing back.
            return
        hidden = sorted(file for file in set(written) if file[0])
        prefix = self._prefix + window_name(window, pane) + self._run
        names = [self._name(window, at, hidden) for at in range(len(hidden))]
        files = [
            _Written(*file, FileSystems.join(self._folder, f"{prefix}-{name}{self._suffix}"))
            for file, name in zip(hidden, names, strict=True)
        ]
        every = "?????-of-?????" if isinstance(window, GlobalWindow) else "?" * _ID_LENGTH
        with writing(self._folder):
            if files or FileSystems.exists(self._folder):
                self._publish(files, f"{prefix}-{every}{self._suffix}")
        yield from (file.final for file in files)

    def _publish(self, files: Sequence[_Written], pattern: str) -> None:
        """Puts files in place of all that have such names."""
        finals = {file.final: file.bytes for file in files}
        every_hidden = f"{FileSystems.split(self._hidden)[1]}-*"
        # What of a stream has such names is of its own run.
        is_shared = not self._run
        if is_shared:
            left, there = sizes_of(self._folder, every_hidden), sizes_of(self._folder, pattern)
            if any(f.name not in left and there.get(f.final) != f.bytes for f in files):
                give_way(self._folder, "what an earlier try put in place is gone")
        put_in_place((file.name, file.final) for file in files)
        remove(self._folder, pattern, finals)
        if self._is_whole:
            # Else other windows and panes may be at work in them.
            remove(self._folder, every_hidden)
        # Who puts files here from now on comes to this look later.
        if is_shared and sizes_of(self._folder, pattern) != finals:
            give_way(self._folder, f"{pattern} are not what this run wrote")

    def _name(
        self, window: Any, at: int, hidden: Sequence[tuple[str, int]],  # noqa: ANN401 -- any window
    ) -> str:
        """What tells a file from the others of its window.

        A stream goes back to a checkpoint of before this was done, and writes some of the
        files anew: those that have their final names already are known by their ids.
        """
        if isinstance(window, GlobalWindow):
            return f"{at:05d}-of-{len(hidden):05d}"
        return hidden[at][0].rpartition("-")[2]


def name_of_run(elements: beam.PCollection[Any], run: str) -> str:
    """Gives what names of files say of the run: nothing, but of elements without an end.

    A stream that is drained in mid-window, and started anew, writes what is left of that
    window: beside what the first one wrote, and not in its place.
    """
    return "" if elements.is_bounded else f"-{run[:_RUN_LENGTH]}"


def window_name(window: Any, pane: Any) -> str:  # noqa: ANN401 -- any window, Beam's pane
    """Gives what names of files say of a window and pane; nothing of the global one's first."""
    told = ""
    if isinstance(window, IntervalWindow):
        told = f"-{_time_name(window.start)}-{_time_name(window.end)}"
    elif not isinstance(window, GlobalWindow):
        told = f"-{window}"
    return told + (f"-pane-{pane.index}" if pane.index > 0 else "")


def _time_name(time: Timestamp) -> str:
    """A time in UTC; microseconds since 1970 where Python's years, 1 to 9999, do not reach.

    Points that have no time come before all time, and a time of "never" may be the last
    second of 9999, whose window ends after it.
    """
    try:
        return str(time.to_rfc3339()).replace(":", ".")
    except OverflowError:
        return f"{time.micros}us"
