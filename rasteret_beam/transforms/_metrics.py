"""Counters: their names, and how a stage counts."""

import collections
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics

from rasteret_beam.elements import DeadLetter

NAMESPACE = "rasteret_beam"

LIVE: collections.Counter[str] = collections.Counter()
"""This process's counts so far, for a progress line: Beam's own come when a job ends.

Has a 0 for each counter that a stage of the job declares: Beam forgets those.
"""

DEAD_LETTERS = "dead_letters"
"""Tag of every stage's output of ``DeadLetter`` elements."""


class Counters:
    """Counts under one namespace; the keys of a job's summary."""

    def __init__(self, *names: str) -> None:
        """Declares the counters that a stage uses."""
        self._counters = {name: Metrics.counter(NAMESPACE, name) for name in names}
        LIVE.update(dict.fromkeys(names, 0))

    def add(self, name: str, amount: int = 1) -> None:
        """Adds to a counter; nothing is sent for an amount of 0."""
        if amount:
            self._counters[name].inc(amount)
            LIVE[name] += amount


def dead_letter_outputs(
    letters: list[DeadLetter], counters: Counters, counter: str,
) -> Iterator[Any]:
    """Counts dead letters and sends them to their output."""
    counters.add(counter, len(letters))
    for letter in letters:
        yield beam.pvalue.TaggedOutput(DEAD_LETTERS, letter)
