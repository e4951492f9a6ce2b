"""Counters: their names, and how a stage counts."""

import collections
import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics

from rasteret_beam.elements import DeadLetter
from rasteret_beam.storage.addresses import redact_text

NAMESPACE = "rasteret_beam"

LIVE: collections.Counter[str] = collections.Counter()
"""This process's counts so far, for a progress line: Beam's own come when a job ends.

Has a 0 for each counter that a stage of the job declares: Beam forgets those.
"""

DEAD_LETTERS = "dead_letters"
"""Tag of every stage's output of ``DeadLetter`` elements."""

LETTERS_OF = "dead_letters_"
"""Begins the names of counters of dead letters by code; there where there are some."""

EXAMPLES = "dead_letter_examples"
"""A set of strings: rank, code and message of some dead letters, parted by a space.

The least of a code is the same in every run, however many workers have met how many: each
tells only what is less than all it has told before, so some twenty of a million.
"""

_EXAMPLE_CHARACTERS = 300


class Counters:
    """Counts under one namespace; the keys of a job's summary."""

    def __init__(self, *names: str) -> None:
        """Declares the counters that a stage uses."""
        self._counters = {name: Metrics.counter(NAMESPACE, name) for name in names}
        self._examples = Metrics.string_set(NAMESPACE, EXAMPLES)
        self._least: dict[str, str] = {}
        LIVE.update(dict.fromkeys(names, 0))

    def add(self, name: str, amount: int = 1) -> None:
        """Adds to a counter; nothing is sent for an amount of 0."""
        if amount:
            self._counters[name].inc(amount)
            LIVE[name] += amount

    def tell(self, letters: Iterable[DeadLetter]) -> None:
        """Counts dead letters by their codes, and keeps an example of each code."""
        by_code: collections.Counter[str] = collections.Counter()
        for letter in letters:
            by_code[letter.code] += 1
            rank = hashlib.blake2b(letter.msg.encode(errors="replace"), digest_size=8).hexdigest()
            if letter.code not in self._least or rank < self._least[letter.code]:
                self._least[letter.code] = rank
                text = " ".join(redact_text(letter.msg).split())
                self._examples.add(f"{rank} {letter.code} {text[:_EXAMPLE_CHARACTERS]}")
        for code, amount in by_code.items():
            Metrics.counter(NAMESPACE, LETTERS_OF + code).inc(amount)


def dead_letter_outputs(
    letters: list[DeadLetter], counters: Counters, counter: str,
) -> Iterator[Any]:
    """Counts dead letters and sends them to their output."""
    counters.add(counter, len(letters))
    counters.tell(letters)
    for letter in letters:
        yield beam.pvalue.TaggedOutput(DEAD_LETTERS, letter)
