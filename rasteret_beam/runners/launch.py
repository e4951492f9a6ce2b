"""Options -> a run: checked flags, progress while it lasts, counters at its end."""

import argparse
import contextlib
import datetime as dt
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, SetupOptions, StandardOptions

from rasteret_beam.errors import OptionError, RasteretBeamError
from rasteret_beam.runners import engine_flags
from rasteret_beam.runners.ending import Ending, Report, say
from rasteret_beam.runners.failures import EXIT_OK, EXIT_REFUSED, quiet_beam
from rasteret_beam.runners.progress import Progress
from rasteret_beam.runners.resuming import NothingToDoError
from rasteret_beam.runners.told import told_of
from rasteret_beam.transforms._metrics import LIVE

_HELP_EPILOG = "Every option of Apache Beam works too, like --runner DataflowRunner."
_LOCAL_RUNNER = "rasteret_beam.runners.local_runner.LocalRunner"
__all__ = ["Report", "add_flag", "check_given", "parse", "run", "say"]

_Options = TypeVar("_Options", bound=PipelineOptions)


def add_flag(parser: argparse.ArgumentParser, name: str, **how: Any) -> None:  # noqa: ANN401 -- argparse's own
    """Adds a flag, unless the parser has it.

    Beam puts the flags of every options class of a process into one parser to pass a
    job on, and two of our pipelines share names like ``--output``. Each class still
    reads its own flags, with its own defaults.
    """
    with contextlib.suppress(argparse.ArgumentError):
        parser.add_argument(name, **how)


def check_given(options: PipelineOptions, names: Sequence[str]) -> None:
    """Looks whether flags that a job needs are there.

    Beam reads every options class of a process from one line, so ``required=True`` would
    be asked of other pipelines too.

    Raises:
        OptionError: One is not.
    """
    for name in names:
        if not getattr(options, name):
            msg = f"--{name} is required"
            raise OptionError(msg)


def parse(argv: Sequence[str], ours: type[PipelineOptions]) -> PipelineOptions:
    """Parses flags, ours and Beam's.

    The local runner is named where none is given: Beam's default tries to download an
    engine first.

    Args:
        argv: The flags.
        ours: The pipeline's options class; ``--help`` lists its flags. Where it has a true
            ``STREAMING``, Beam's ``--streaming`` is taken for given.

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
        engine_flags.declare(parser, list(argv))
        _, unknown = parser.parse_known_args(list(argv))
    if unknown:
        msg = f"Unknown option(s): {' '.join(unknown)}; --help lists those that are known"
        raise OptionError(msg)
    options = PipelineOptions(list(argv))
    standard = options.view_as(StandardOptions)
    # Before there is a pipeline: it takes its options as they are then.
    standard.streaming = standard.streaming or getattr(ours, "STREAMING", False)
    if standard.runner is None:
        standard.runner = _LOCAL_RUNNER
    setup = options.view_as(SetupOptions)
    if setup.save_main_session is None:
        # All that workers run is in the package: a script's own names stay with it.
        setup.save_main_session = False
    return options


def run(
    argv: Sequence[str] | None,
    ours: type[_Options],
    build: Callable[[beam.Pipeline, _Options], None],
    report_of: Callable[[_Options], Report],
) -> int:
    """Builds and runs a pipeline, and tells a person about it on standard error.

    Machines find the same, and more, in ``_run/summary.json`` of the output. On Dataflow
    the job is submitted and left to itself: nobody waits to write a summary.

    Args:
        argv: The flags; those of the command line by default.
        ours: The pipeline's options class.
        build: Adds the transforms; raises ``NothingToDoError`` for a job that is done.
        report_of: Gives how to judge the end.

    Returns:
        The exit code: 0 for a job without failures beyond the threshold, 1 for one
        with, 2 where the input or an option was refused.
    """
    started, clock = dt.datetime.now(dt.timezone.utc), time.monotonic()
    LIVE.clear()
    quiet_beam()
    try:
        options = parse(sys.argv[1:] if argv is None else argv, ours)
        report = report_of(options.view_as(ours))
        ending = Ending(options, options.view_as(ours), report, started)
        pipeline = beam.Pipeline(options=options)
        build(pipeline, options.view_as(ours))
    except NothingToDoError as done:
        return ending.without_work(str(done), time.monotonic() - clock)
    except RasteretBeamError as error:
        say(f"error: {error}")
        return EXIT_REFUSED
    for caution in report.cautions:
        say(f"WARNING   {caution}")
    try:
        with Progress(sys.stderr, LIVE, clock):
            result = pipeline.run()
            if "Dataflow" in str(options.view_as(StandardOptions).runner):
                return EXIT_OK
            state = result.wait_until_finish()
    except BaseException as error:
        code = ending.after_error(error, time.monotonic() - clock)
        if code is None:
            raise
        return code
    return ending.after_end(told_of(result), state, time.monotonic() - clock)
