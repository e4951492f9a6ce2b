"""Transforms with several outputs, by name."""

from typing import Any, NoReturn, TypeVar

import apache_beam as beam
from apache_beam.typehints.decorators import IOTypeHints
from apache_beam.typehints.native_type_compatibility import convert_to_beam_type

from rasteret_beam.transforms._displayed import Displayed

_Result = TypeVar("_Result")


class NamedOutputs(Displayed):
    """A transform whose ``expand`` returns a NamedTuple of PCollections.

    Beam takes the return annotation of ``expand`` for an element type, and warns that a
    NamedTuple is none; the element types are declared on the steps inside.
    """

    def default_type_hints(self) -> IOTypeHints | None:
        """Takes no hints from ``expand``."""
        return None


def typed(output: beam.PCollection[Any], of: Any) -> beam.PCollection[Any]:  # noqa: ANN401 -- any type hint
    """Says of what type the elements of one of several outputs are.

    ``with_output_types`` says it of the whole step: a run with ``--runtime_type_check``
    would hold its dead letters to the type of its rows, and end at the first.
    """
    output.element_type = convert_to_beam_type(of)
    return output


def taken_one_by_one(result: type[_Result]) -> type[_Result]:
    """Decorates a NamedTuple of PCollections: a transform applied to it all says what to take.

    Beam would take it for a tuple of inputs, and look for what tuples do not have.
    """
    setattr(result, "__or__", _refuse)  # noqa: B010 -- a type that has none, to mypy
    return result


def _refuse(outputs: Any, transform: Any) -> NoReturn:  # noqa: ANN401 -- a NamedTuple; any transform
    names, label = outputs._fields, getattr(transform, "label", transform)
    msg = (
        f"{type(outputs).__name__} has several outputs, and {label} takes one: name it, like "
        f"outputs.{names[0]}, of {', '.join(names)}"
    )
    raise TypeError(msg)
