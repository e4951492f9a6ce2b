"""Options -> a run: checked flags, a progress line while it lasts, counters at its end."""

import argparse
import contextlib
import dataclasses
import logging
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TextIO, TypeVar

import apache_beam as beam
from apache_beam.metrics.metric import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners.runner import PipelineState

from rasteret_beam.errors import OptionError, RasteretBeamError
from rasteret_beam.reporting import Share, complaints, progress_line
from rasteret_beam.transforms._metrics import LIVE, NAMESPACE

_HELP_EPILOG = "Every option of Apache Beam works too, like --runner DataflowRunner."
_LOCAL_RUNNER = "FnApiRunner"
_EXIT_OK, _EXIT_FAILURES, _EXIT_REFUSED = 0, 1, 2
_SECONDS_BETWEEN_LINES = 1.0


_Options = TypeVar("_Options", bound=PipelineOptions)


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """How a job's end is judged and told.

    Attributes:
        summary: Text from counters and seconds.
        shares: Failures to hold against the threshold.
        threshold: Tolerated share of failures.
        output: Counter of what the job is for; a job that has none of it has failed. ""
            where none may be right.

    Raises:
        OptionError: The threshold is no share.
    """

    summary: Callable[[Counter[str], float], str]
    shares: tuple[Share, ...]
    threshold: float
    output: str = ""

    def __post_init__(self) -> None:
        """Checks the threshold."""
        if not 0 <= self.threshold <= 1:
            msg = f"--error_threshold is {self.threshold}, expected 0 to 1"
            raise OptionError(msg)


def add_flag(parser: argparse.ArgumentParser, name: str, **how: Any) -> None:  # noqa: ANN401 -- argparse's own
    """Adds a flag, unless the parser has it.

    Beam puts the flags of every options class of a process into one parser to pass a
    job on, and two of our pipelines share names like ``--output``. Each class still
    reads its own flags, with its own defaults.
    """
    with contextlib.suppress(argparse.ArgumentError):
        parser.add_argument(name, **how)


def parse(argv: Sequence[str], ours: type[PipelineOptions]) -> PipelineOptions:
    """Parses flags, ours and Beam's.

    The local runner is named where none is given: Beam's default tries to download an
    engine first.

    Args:
        argv: The flags.
        ours: The pipeline's options class; ``--help`` lists its flags.

    Raises:
        OptionError: A flag that neither knows.
    """
    if {"-h", "--help"} & set(argv):
        about = argparse.ArgumentParser(description=ours.__doc__, epilog=_HELP_EPILOG)
        ours._add_argparse_args(about)  # noqa: SLF001 -- as Beam does it
        about.parse_args(["--help"])
    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    for cls in PipelineOptions.__subclasses__():
        cls._add_argparse_args(parser)
    _, unknown = parser.parse_known_args(list(argv))
    if unknown:
        msg = f"Unknown option(s): {' '.join(unknown)}; --help lists those that are known"
        raise OptionError(msg)
    options = PipelineOptions(list(argv))
    standard = options.view_as(StandardOptions)
    if standard.runner is None:
        standard.runner = _LOCAL_RUNNER
    return options


def run(
    argv: Sequence[str] | None,
    ours: type[_Options],
    build: Callable[[beam.Pipeline, _Options], None],
    report_of: Callable[[_Options], Report],
) -> int:
    """Builds and runs a pipeline, and tells a person about it on standard error.

    On Dataflow the job is submitted and left to itself.

    Args:
        argv: The flags; those of the command line by default.
        ours: The pipeline's options class.
        build: Adds the transforms.
        report_of: Gives how to judge the end.

    Returns:
        The exit code: 0 for a job without failures beyond the threshold, 1 for one
        with, 2 where the input or an option was refused.
    """
    started = time.monotonic()
    LIVE.clear()
    # What is refused is told in one line; Beam would log where in its engine it was met.
    logging.getLogger("apache_beam.runners.common").addFilter(_is_unexpected)
    try:
        options = parse(sys.argv[1:] if argv is None else argv, ours)
        report = report_of(options.view_as(ours))
        pipeline = beam.Pipeline(options=options)
        build(pipeline, options.view_as(ours))
        with _Progress(sys.stderr, started):
            result = pipeline.run()
            if "Dataflow" in str(options.view_as(StandardOptions).runner):
                return _EXIT_OK
            state = result.wait_until_finish()
    except RasteretBeamError as error:
        # Without Beam's trace of where.
        say(f"error: {str(error).split(' [while running ')[0]}")
        return _EXIT_REFUSED
    counts: Counter[str] = Counter()
    for counter in result.metrics().query(MetricsFilter().with_namespace(NAMESPACE))["counters"]:
        counts[counter.key.metric.name] += counter.committed or counter.attempted or 0
    say(report.summary(counts, time.monotonic() - started))
    found = complaints(counts, report.shares, report.threshold)
    if report.output and not counts[report.output]:
        found.append("nothing was written; what was at --output is left as it was")
    for complaint in found:
        say(f"FAILED    {complaint}")
    if found and not getattr(options.view_as(ours), "dead_letters", None):
        say("          --dead_letters DIR would tell which, and why")
    failed = state is not None and state != PipelineState.DONE
    return _EXIT_FAILURES if found or failed else _EXIT_OK


def say(text: str) -> None:
    """Tells a person; standard output stays free for data."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 -- a terminal program's voice


def _is_unexpected(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], RasteretBeamError))


class _Progress:
    """A line a second while a job runs in this process, on a terminal only."""

    def __init__(self, stream: TextIO, started: float) -> None:
        self._stream, self._started = stream, started
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        if self._stream.isatty():
            self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()
            self._stream.write("\r\x1b[K")

    def _run(self) -> None:
        while not self._done.wait(_SECONDS_BETWEEN_LINES):
            line = progress_line(dict(LIVE), time.monotonic() - self._started)
            self._stream.write(f"\r\x1b[K{line}")
            self._stream.flush()
