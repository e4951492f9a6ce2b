"""Dead letters as Beam YAML has them: rows of element, msg and stack in an output with a name."""

from collections.abc import Mapping
from typing import Any

import apache_beam as beam
from apache_beam.typehints.row_type import RowTypeConstraint

from rasteret_beam.elements import DeadLetter
from rasteret_beam.errors import OptionError
from rasteret_beam.yaml.choices import mapping

GOOD = "good"
"""Output of the rows themselves, as Beam YAML names it where there are errors too."""

ERROR_ROW = RowTypeConstraint.from_fields([("element", str), ("msg", str), ("stack", str)])


def output_of(error_handling: Mapping[str, Any] | None) -> str | None:
    """Gives the name of the output for errors.

    Raises:
        OptionError: There is none, more than a name, or the name of the other output.
    """
    if error_handling is None:
        return None
    told = mapping(error_handling)
    if set(told) != {"output"} or not isinstance(told["output"], str):
        msg = f"error_handling is {told}, expected the name of an output, like {{output: errors}}"
        raise OptionError(msg)
    if told["output"] == GOOD:
        msg = f"error_handling has output {GOOD!r}, which is that of the rows; name another"
        raise OptionError(msg)
    return str(told["output"])


def error_rows(letters: beam.PCollection[DeadLetter]) -> beam.PCollection[beam.Row]:
    """Gives a row for each dead letter."""
    return letters | "ErrorRows" >> beam.Map(_error_row).with_output_types(ERROR_ROW)


def refuse(letters: beam.PCollection[DeadLetter]) -> None:
    """Fails the pipeline at the first dead letter."""
    _ = letters | "RefuseErrors" >> beam.Map(_refuse)


def _error_row(letter: DeadLetter) -> beam.Row:
    return beam.Row(element=letter.element, msg=letter.msg, stack=letter.stack)


def _refuse(letter: DeadLetter) -> None:
    msg = f"{letter.stage}: {letter.msg} ({letter.element}); error_handling would keep it apart"
    raise RuntimeError(msg)
