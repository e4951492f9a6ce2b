"""A run's end: judged, told to a person, written down for machines."""

import dataclasses
import datetime as dt
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineState

from rasteret_beam.bigquery import SCHEME
from rasteret_beam.errors import OptionError
from rasteret_beam.reporting import Identity, Share, complaints, tolerated
from rasteret_beam.runners.causes import Cause, causes_of, causes_told
from rasteret_beam.runners.failures import (
    EXIT_CANCELLED,
    EXIT_FAILURES,
    EXIT_OK,
    EXIT_REFUSED,
    Failure,
    failure_of,
)
from rasteret_beam.runners.run_summary import RunSummary, is_told_of, options_given
from rasteret_beam.runners.told import Told
from rasteret_beam.storage import redact

_TOLD_CHARACTERS = 2000


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """How a job's end is judged and told.

    Attributes:
        summary: Text from counters and seconds.
        shares: Failures to hold against the threshold.
        threshold: Tolerated share of failures.
        output: Counter of what the job is for; a job that has none of it has failed. ""
            where none may be right.
        name: The pipeline's name, for machines.
        identities: What must add up; where it does not the job has failed.
        cautions: What flags say that a run can begin with, and a person should look at.
        doubts: Gives from what stages told why an output that counts as right may not be
            what was meant.

    Raises:
        OptionError: The threshold is no share.
    """

    summary: Callable[[Counter[str], float], str]
    shares: tuple[Share, ...]
    threshold: float
    output: str = ""
    name: str = ""
    identities: tuple[Identity, ...] = ()
    cautions: Sequence[str] = ()
    doubts: Callable[[Told], list[str]] = lambda _: []

    def __post_init__(self) -> None:
        """Checks the threshold."""
        if not 0 <= self.threshold <= 1:
            msg = f"--error_threshold is {self.threshold}, expected 0 to 1"
            raise OptionError(msg)

    def complaints(self, counts: Mapping[str, int]) -> list[str]:
        """Gives why a job that reached its end counts as failed; nothing where it does not."""
        found = complaints(counts, self.shares, self.threshold)
        found += [
            f"{identity.what} do not add up: {identity.told(counts)}"
            for identity in self.identities if not identity.holds(counts)
        ]
        if self.output and not counts.get(self.output):
            found.append("nothing was written; what was at --output is left as it was")
        return found

    def warnings(self, told: Told) -> list[str]:
        """Gives what a person should look at though it fails no job."""
        return tolerated(told.counts, self.shares, self.threshold) + self.doubts(told)


class Ending:
    """Tells how one run ended, once."""

    def __init__(
        self, options: PipelineOptions, ours: Any, report: Report, started: dt.datetime,  # noqa: ANN401 -- a pipeline's own options class
    ) -> None:
        """Takes what is known when the run begins.

        Args:
            options: All options.
            ours: The pipeline's own; ``output`` says where the summary goes.
            report: How to judge.
            started: When, UTC.
        """
        self._given, self._report, self._started = options_given(options), report, started
        output = getattr(ours, "output", None) or ""
        # A table has no place for a file.
        self._folder = "" if output.startswith(SCHEME) else output
        self._has_dead_letters = bool(getattr(ours, "dead_letters", None))

    def after_end(self, told: Told, state: str | None, seconds: float) -> int:
        """Judges a run that reached its end; gives the exit code."""
        counts = told.counts
        say(self._report.summary(counts, seconds))
        found, causes = self._report.complaints(counts), causes_of(counts, told.examples)
        warnings = self._report.warnings(told)
        for complaint in found:
            say(f"FAILED    {complaint}")
        for warning in warnings:
            say(f"WARNING   {warning}")
        if found or tolerated(counts, self._report.shares, self._report.threshold):
            self._tell(causes)
        failed = found or state not in (None, PipelineState.DONE)
        code = EXIT_FAILURES if failed else EXIT_OK
        self._write(
            seconds=seconds, state=state or PipelineState.DONE, exit_code=code, counts=counts,
            complaints=found, warnings=[*self._report.cautions, *warnings], causes=causes,
        )  # fmt: skip
        return code

    def _tell(self, causes: list[Cause]) -> None:
        for cause in causes_told(causes):
            say(f"          {cause}")
        if not self._has_dead_letters:
            say("          --dead_letters DIR would have them all")

    def after_error(self, error: BaseException, seconds: float) -> int | None:
        """Tells of an error of ours; gives the exit code, or None for a fault of a program."""
        failure = failure_of(error)
        if failure is not None:
            code = failure.exit_code
            state = "REFUSED" if code == EXIT_REFUSED else PipelineState.FAILED
        elif isinstance(error, KeyboardInterrupt):
            code, state = EXIT_CANCELLED, PipelineState.CANCELLED
        else:
            code, state = EXIT_FAILURES, PipelineState.FAILED
        text = redact(str(error))[-_TOLD_CHARACTERS:]
        told = failure or Failure(type(error).__name__, text)
        # What was refused has changed nothing of what an earlier run left.
        if not (code == EXIT_REFUSED and is_told_of(self._folder)):
            self._write(seconds=seconds, state=state, exit_code=code, error=told)
        if failure is None:
            return None
        say(f"error: {failure.text}")
        return code

    def without_work(self, why: str, seconds: float) -> int:
        """Tells that all was done before; gives the exit code.

        The summary of the run that did it stays, for its counters.
        """
        say(why)
        if not is_told_of(self._folder):
            self._write(
                seconds=seconds, state=PipelineState.DONE, exit_code=EXIT_OK, warnings=[why],
            )
        return EXIT_OK

    def _write(self, **how: Any) -> None:  # noqa: ANN401 -- fields of the summary
        """Writes the summary, as far as the output can be written to."""
        if not self._folder:
            return
        summary = RunSummary(
            pipeline=self._report.name, options=self._given, started=self._started,
            identities=self._report.identities, **how,
        )  # fmt: skip
        try:
            summary.write(self._folder)
        except (OSError, ValueError) as error:  # Beam says so of schemes that it does not know
            say(f"warning: no summary.json: {type(error).__name__}: {redact(str(error))}")


def say(text: str) -> None:
    """Tells a person; standard output stays free for data."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 -- a terminal program's voice
