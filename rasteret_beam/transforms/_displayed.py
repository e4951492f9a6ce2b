"""What a runner's page shows of a transform."""

import dataclasses
import datetime as dt
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam

from rasteret_beam.storage import redact

_PLAIN = (str, int, float, dt.date)
_LONGEST = 500


class Displayed(beam.PTransform):
    """A transform that is a dataclass, and shows its options as display data."""

    def display_data(self) -> dict[str, Any]:
        """Gives the options; those of options as ``options.match``, addresses without secrets."""
        return dict(_shown(self))


def _shown(options: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401 -- a dataclass
    for field in dataclasses.fields(options):
        # What is not for other eyes has no repr.
        if not field.repr:
            continue
        name, value = f"{prefix}{field.name}", getattr(options, field.name)
        if dataclasses.is_dataclass(value):
            yield from _shown(value, f"{name}.")
        elif isinstance(value, int):
            yield name, value
        # Not every runner takes floats that are not finite, nor times.
        elif isinstance(value, _PLAIN):
            yield name, _text((value,))
        elif isinstance(value, (tuple, list)) and all(isinstance(one, _PLAIN) for one in value):
            yield name, _text(value)


def _text(values: Iterable[Any]) -> str:
    shown = ", ".join(redact(str(value)) for value in values)
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}…"
