"""Which error ended a run, however a runner hands it over."""

import logging
import textwrap

import pytest

from rasteret_beam import errors
from rasteret_beam.errors import FetchError, PointsError, RasteretBeamError
from rasteret_beam.runners import failures
from rasteret_beam.runners.failures import Failure, failure_of

TRACEBACK = textwrap.dedent("""\
    Traceback (most recent call last):
      File "common.py", line 1512, in process
    rasteret_beam.errors.PointsError: points.csv: no column 'x';
    expected one of x, lon

    During handling of the above exception, another exception occurred:

    Traceback (most recent call last):
      File "sdk_worker.py", line 310, in _execute
        raise PointsError("rasteret_beam.errors.PointsError: not this")
    rasteret_beam.errors.PointsError: points.csv: no column 'x';
    expected one of x, lon [while running 'ReadPoints/Read']
    """)
TOLD = Failure("PointsError", "points.csv: no column 'x'; expected one of x, lon")


def test_an_error_of_ours_is_told_without_the_step_it_was_met_in():
    error = PointsError("points.csv: no column 'x';\nexpected one of x, lon [while running 'A/B']")
    assert failure_of(error) == TOLD


def test_a_worker_process_hands_it_over_as_text():
    assert failure_of(RuntimeError(TRACEBACK)) == TOLD


@pytest.mark.parametrize(
    "text", ["", "PointsError: x", "Traceback\nValueError: x", "rasteret_beam.errors.Any: x"],
)
def test_what_is_not_ours_is_a_fault(text):
    assert failure_of(RuntimeError(text)) is None
    assert failure_of(ValueError(text)) is None


def test_every_error_of_ours_is_found_by_its_name():
    names = [
        name for name, found in vars(errors).items()
        if isinstance(found, type) and issubclass(found, RasteretBeamError)
    ]
    assert len(names) > 15
    for name in names:
        text = f"Traceback (most recent call last):\nrasteret_beam.errors.{name}: why\n"
        assert failure_of(RuntimeError(text)) == Failure(name, "why")


def test_an_output_that_cannot_be_written_is_a_failure_and_the_rest_a_refusal():
    assert Failure("OutputError", "disk full").exit_code == 1
    assert {Failure(n, "").exit_code for n in ("BudgetError", "OptionError", "FetchError")} == {2}


def test_beam_keeps_quiet_of_errors_of_ours_and_of_nothing_else(caplog):
    failures.quiet_beam()
    log = logging.getLogger("apache_beam.runners.common")
    for error in (FetchError("ours"), ValueError("a fault")):
        try:
            raise error
        except (FetchError, ValueError):
            log.exception("while running")
    other = logging.getLogger("apache_beam.runners.portability.local_job_service")
    other.error("Worker: %s", repr(TRACEBACK))
    other.error("Worker: out of memory")
    told = [(record.exc_info and str(record.exc_info[1]), record.getMessage())
            for record in caplog.records]  # fmt: skip
    assert told == [("a fault", "while running"), (None, "Worker: out of memory")]
