"""Collections built with Beam in this process, and what is in them."""

import pathlib

import apache_beam as beam
import pyarrow.dataset as ds
from collecting import collect, counters

from rasteret_beam import BuildCollection, ExportCollection, Store

STORE = Store(allow_http=True)


def build(source, folder, *, store=STORE, **options):
    """Builds a collection; gives its counters and dead letters."""
    return _run(BuildCollection(source=source, folder=str(folder), store=store, **options))


def export(collection, folder, **options):
    """Exports a collection; gives its counters and dead letters."""
    return _run(ExportCollection(collection=str(collection), folder=str(folder), **options))


def _run(transform):
    pipeline = beam.Pipeline("FnApiRunner")
    made = pipeline | transform
    letters = collect(made.dead_letters)
    result = pipeline.run()
    result.wait_until_finish()
    return counters(result), letters


def table_of(folder):
    """The collection's rows."""
    return ds.dataset(str(folder), partitioning="hive", exclude_invalid_files=True).to_table()


def rows(folder):
    """The collection's rows by id."""
    found = sorted(table_of(folder).to_pylist(), key=lambda row: row["id"])
    return {row["id"]: row for row in found}


def files(folder):
    """Names of all files in a folder."""
    return sorted(str(p.relative_to(folder)) for p in pathlib.Path(folder).rglob("*")
                  if p.is_file())  # fmt: skip
