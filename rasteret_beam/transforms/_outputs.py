"""Transforms with several outputs, by name."""

import apache_beam as beam
from apache_beam.typehints.decorators import IOTypeHints


class NamedOutputs(beam.PTransform):
    """A transform whose ``expand`` returns a NamedTuple of PCollections.

    Beam takes the return annotation of ``expand`` for an element type, and warns that a
    NamedTuple is none; the element types are declared on the steps inside.
    """

    def default_type_hints(self) -> IOTypeHints | None:
        """Takes no hints from ``expand``."""
        return None
