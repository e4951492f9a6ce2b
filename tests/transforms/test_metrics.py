"""What stages tell of dead letters, besides sending them on."""

import apache_beam as beam
import pytest
from apache_beam.metrics.metric import MetricsFilter
from collecting import counters

from rasteret_beam.elements import DeadLetter
from rasteret_beam.transforms._metrics import EXAMPLES, Counters

N_LETTERS = 20_000
LETTERS = [
    DeadLetter("{}", f"https://me:hidden@host/{n}.tif?sig=hidden not\nthere", "", "Fetch", code)
    for n in range(N_LETTERS // 2) for code in ("FETCH_ERROR", "STALE_INDEX")
]  # fmt: skip


class _TellFn(beam.DoFn):
    def __init__(self):
        self._counters = Counters()

    def process(self, letters):
        self._counters.tell(letters)


def _told(letters, size):
    """Runs; gives the counters, and the examples."""
    pieces = [letters[at : at + size] for at in range(0, len(letters), size)]
    pipeline = beam.Pipeline("FnApiRunner")
    _ = pipeline | beam.Create(pieces) | beam.ParDo(_TellFn())
    result = pipeline.run()
    told = result.metrics().query(MetricsFilter().with_name(EXAMPLES))["string_sets"]
    (examples,) = told
    return counters(result), sorted(examples.committed)


def _least(examples):
    return [next(e for e in examples if code in e) for code in ("FETCH_ERROR", "STALE_INDEX")]


def test_letters_are_counted_by_code_and_few_are_kept():
    counts, examples = _told(LETTERS, 500)
    half = N_LETTERS // 2
    assert counts == {"dead_letters_FETCH_ERROR": half, "dead_letters_STALE_INDEX": half}
    assert len(examples) < 60


@pytest.mark.parametrize("size", [1000, N_LETTERS])
def test_the_example_of_a_code_does_not_depend_on_order_or_bundles(size):
    one = _least(_told(LETTERS, N_LETTERS)[1])
    assert _least(_told(LETTERS[::-1], size)[1]) == one


def test_examples_are_one_line_without_secrets():
    (example,) = _told(LETTERS[:1], 1)[1]
    assert example.split(" ", 1)[1] == "FETCH_ERROR https://host/0.tif?REDACTED not there"
