"""What a PCollection held, as a list after an in-process run.

Beam pickles the functions that a pipeline runs, so a test's own list would stay empty;
this module is imported by name, and its lists are the same ones inside and outside.
"""

import itertools

import apache_beam as beam

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
