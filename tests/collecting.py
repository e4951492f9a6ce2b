"""What a run leaves for a test to look at.

Beam pickles the functions that a pipeline runs, so a test's own list would stay empty;
this module is imported by name, and its lists are the same ones inside and outside.
"""

import itertools

import apache_beam as beam
from apache_beam.metrics.metric import MetricsFilter

from rasteret_beam.transforms._metrics import NAMESPACE

_FOUND: dict[int, list] = {}
_NUMBERS = itertools.count()


def collect(pcollection):
    """Gathers the elements of a PCollection; the list is full when the pipeline has run."""
    number = next(_NUMBERS)
    _FOUND[number] = []
    _ = pcollection | f"Collect{number}" >> beam.Map(_keep, number)
    return _FOUND[number]


def _keep(element, number):
    _FOUND[number].append(element)


def counters(result):
    """Our counters of a run, by name: sums, since several steps may have one of a name."""
    found = {}
    for counter in result.metrics().query(MetricsFilter().with_namespace(NAMESPACE))["counters"]:
        name = counter.key.metric.name
        found[name] = found.get(name, 0) + (counter.committed or counter.attempted or 0)
    return found
