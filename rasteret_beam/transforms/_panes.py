"""What windows and panes a step can do with: told when the pipeline is built, not when it runs."""

from typing import Any

import apache_beam as beam
from apache_beam.transforms.core import Windowing
from apache_beam.transforms.trigger import AccumulationMode, DefaultTrigger

from rasteret_beam.errors import OptionError


def fires_once(windowing: Windowing) -> bool:
    """Tells whether what is grouped in a window comes in one pane."""
    # A Duration of 0 counts as true.
    is_late = windowing.allowed_lateness != 0
    return isinstance(windowing.triggerfn, DefaultTrigger) and not is_late


def check_global(elements: beam.PCollection[Any], what: str) -> None:
    """Refuses windows where all must come together.

    Args:
        elements: The input.
        what: Begins the message: what needs the global window.

    Raises:
        OptionError: There are windows other than the global one, or early panes.
    """
    if not elements.windowing.is_default():
        msg = f"{what} in the global window with its default trigger, got {elements.windowing}"
        raise OptionError(msg)


def check_discarding(elements: beam.PCollection[Any], what: str) -> None:
    """Refuses panes that give again what earlier panes gave.

    Args:
        elements: The input.
        what: Begins the message: what would be there twice.

    Raises:
        OptionError: A window may have such panes.
    """
    windowing = elements.windowing
    is_repeated = windowing.accumulation_mode == AccumulationMode.ACCUMULATING
    if is_repeated and not fires_once(windowing):
        msg = (
            f"{what} would come again in each later pane of accumulating windows: give WindowInto "
            "accumulation_mode=AccumulationMode.DISCARDING, as IntoWindows does"
        )
        raise OptionError(msg)
