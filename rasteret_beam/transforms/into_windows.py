"""When things are read and written that have no end: windows of points, and of dead letters."""

import dataclasses
from typing import Any

import apache_beam as beam
from apache_beam.transforms.trigger import (
    AccumulationMode,
    AfterCount,
    AfterWatermark,
    DefaultTrigger,
)
from apache_beam.transforms.window import FixedWindows, TimestampedValue
from apache_beam.utils.timestamp import Duration, Timestamp

from rasteret_beam.errors import LatePointError, OptionError
from rasteret_beam.transforms._displayed import Displayed

_LEAST_SECONDS = 0.001
"""Runners count in milliseconds."""

_MOST_SECONDS = 100 * 366 * 86_400.0


@dataclasses.dataclass(eq=False, kw_only=True)
class IntoWindows(Displayed):
    """Gives points the windows that the other stages work by.

    A window's rows come once, when the watermark passes its end. A point that comes
    later, but within the allowed lateness, has its rows in a pane of its own; no row
    comes twice. What comes later still is dropped by the runner, as Beam does it; given to
    ``DecodeMessages`` too, points whose messages tell of such times are dead letters.

    Input, output: any. Windows: fixed ones, by the elements' times.

    Attributes:
        seconds: Length of a window.
        allowed_lateness_seconds: How long a window still takes points after its end.

    Raises:
        OptionError: No length of time.
    """

    seconds: float
    allowed_lateness_seconds: float = 0.0

    def __post_init__(self) -> None:
        """Checks both."""
        is_length = _LEAST_SECONDS <= self.seconds <= _MOST_SECONDS
        if not is_length or not 0 <= self.allowed_lateness_seconds <= _MOST_SECONDS:
            msg = (
                f"Windows of {self.seconds} s with {self.allowed_lateness_seconds} s of lateness: "
                f"expected more than 0 (at least {_LEAST_SECONDS}), and 0 or more; at most a "
                f"hundred years ({_MOST_SECONDS:.0f})"
            )
            raise OptionError(msg)

    def check_in_time(self, time_us: int, came_us: int) -> None:
        """Looks whether a time's window still takes points when one of it comes.

        The watermark, by which runners drop what is late, is near the time at which things
        come: where that is after the lateness, a point is lost without a word.

        Args:
            time_us: The point's time, in microseconds since 1970.
            came_us: When it came.

        Raises:
            LatePointError: It does not.
        """
        size, lateness = (
            Duration.of(seconds).micros
            for seconds in (self.seconds, self.allowed_lateness_seconds)
        )
        if time_us - time_us % size + size + lateness <= came_us:
            msg = (
                f"late: its time is {(came_us - time_us) / 1e6:.0f} s before it came, after a "
                f"window of {self.seconds:g} s and the allowed lateness of "
                f"{self.allowed_lateness_seconds:g} s; allow more, or look at the unit of its time"
            )
            raise LatePointError(msg)

    def expand(self, elements: beam.PCollection[Any]) -> beam.PCollection[Any]:
        """WindowInto."""
        late = self.allowed_lateness_seconds
        return elements | "Windows" >> beam.WindowInto(
            FixedWindows(self.seconds),
            trigger=AfterWatermark(late=AfterCount(1)) if late else DefaultTrigger(),
            accumulation_mode=AccumulationMode.DISCARDING,
            allowed_lateness=Duration.of(late),
        )


def stamp_now(element: Any) -> TimestampedValue:  # noqa: ANN401 -- any element
    """Gives an element the time at which a job is made: for a ``Create`` beside a stream.

    Else it comes before all time. When a worker is lost and its part done again, it comes
    at the same time again.
    """
    # Of its type by name: Beam looks at the element then, where it checks types.
    return TimestampedValue[type(element)](element, Timestamp.now())
