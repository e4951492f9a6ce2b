"""What a run raised -> what a person is told of it, in one line."""

import logging
import re
from typing import NamedTuple

from rasteret_beam import errors
from rasteret_beam.errors import RasteretBeamError

EXIT_OK, EXIT_FAILURES, EXIT_REFUSED, EXIT_CANCELLED = 0, 1, 2, 130

_FAILED = ("OutputError",)
"""Errors of the place that was to be written: what was given was right."""

# A worker process hands its error over as the text of a traceback.
_IN_TRACEBACK = re.compile(
    r"^rasteret_beam\.errors\.(?P<name>\w+): (?P<text>.*?)"
    r"(?= \[while running |^Traceback |^During handling |^The above exception |\n\n|\Z)",
    re.DOTALL | re.MULTILINE,
)
_STEP = re.compile(r" \[while running '.*?'\]", re.DOTALL)
_LOGGERS = ("apache_beam.runners.common", "apache_beam.runners.portability.local_job_service")


class Failure(NamedTuple):
    """An error of ours that ended a run.

    Attributes:
        name: Its class.
        text: What it says, in one line.
    """

    name: str
    text: str

    @property
    def exit_code(self) -> int:
        """1 where the output could not be written, 2 where something was refused."""
        return EXIT_FAILURES if self.name in _FAILED else EXIT_REFUSED


def failure_of(error: BaseException) -> Failure | None:
    """Finds an error of ours in what a runner raised.

    Args:
        error: The error, or what a runner of worker processes made of it.

    Returns:
        The error; None where it is not one of ours, so a fault of the program.
    """
    if isinstance(error, RasteretBeamError):
        return Failure(type(error).__name__, _one_line(str(error)))
    found = [match for match in _IN_TRACEBACK.finditer(str(error)) if _is_ours(match["name"])]
    return Failure(found[-1]["name"], _one_line(found[-1]["text"])) if found else None


def quiet_beam() -> None:
    """Keeps Beam from logging where in its engine an error of ours was met."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_is_unexpected)


def _is_unexpected(record: logging.LogRecord) -> bool:
    if record.exc_info and isinstance(record.exc_info[1], RasteretBeamError):
        return False
    text = record.getMessage()
    return not ("Traceback" in text and re.search(r"rasteret_beam\.errors\.\w+: ", text))


def _is_ours(name: str) -> bool:
    found = getattr(errors, name, None)
    return isinstance(found, type) and issubclass(found, RasteretBeamError)


def _one_line(text: str) -> str:
    # Without Beam's name of the step: the message says what would be right.
    return " ".join(_STEP.sub("", text).split("\n")).strip()
