"""Indexes COGs into a Collection: a list or glob of files in, Parquet out.

Like ``python pipelines/build_collection.py --inputs 'gs://b/scenes/*.tif' --output DIR``.
"""

import argparse
import functools
import sys
from collections.abc import Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from rasteret_beam import BuildCollection, OptionError, Store, WriteDeadLetters
from rasteret_beam.reporting import BUILD_SHARES, build_summary
from rasteret_beam.runners import launch
from rasteret_beam.transforms.list_files import ListFiles


class BuildCollectionOptions(PipelineOptions):
    """Indexes COGs into a Collection: a list or glob of files in, Parquet out."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        add = functools.partial(launch.add_flag, parser)
        add("--inputs", help="COGs: a file, a pattern, a folder, or a text file with one path or "
            "URL a line (local, gs://, s3://, https://)")
        add("--output", help="Folder for the collection")
        add("--datetime_pattern", help="Regular expression that finds the acquisition time in a "
            "file's name, by its digits or by groups named year, month, day, ...")
        add("--bands", help="Names and 0-based sample indexes, like red=0,nir=3; by default B1 .. "
            "Bn of each file")
        add("--collection_name", default="", help="Value of the column 'collection'")
        add("--dead_letters", help="Folder for files that cannot be indexed, as JSON lines")
        add("--error_threshold", type=float, default=0.0,
            help="Tolerated share of failed files, 0 to 1")
        add("--allow_http", action="store_true", help="Permit plain http:// addresses")


def build(pipeline: beam.Pipeline, options: BuildCollectionOptions) -> None:
    """Adds the job to a pipeline.

    Raises:
        OptionError: A flag is missing, or has a value that cannot work.
    """
    for name in ("inputs", "output"):
        if not getattr(options, name):
            msg = f"--{name} is required"
            raise OptionError(msg)
    store = Store(allow_http=options.allow_http)
    built = (
        pipeline
        | "ListFiles" >> ListFiles(inputs=options.inputs, store=store)
        | "BuildCollection" >> BuildCollection(
            folder=options.output,
            bands=_bands(options.bands),
            datetime_pattern=options.datetime_pattern,
            collection=options.collection_name,
            store=store,
        )
    )
    if options.dead_letters:
        _ = built.dead_letters | "WriteDeadLetters" >> WriteDeadLetters(
            folder=options.dead_letters,
        )


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the job.

    Args:
        argv: Flags; those of the command line by default.

    Returns:
        The exit code, as ``launch.run`` defines it.
    """
    return launch.run(argv, BuildCollectionOptions, build, _report)


def _report(options: BuildCollectionOptions) -> launch.Report:
    return launch.Report(build_summary, BUILD_SHARES, options.error_threshold)


def _bands(text: str | None) -> dict[str, int] | None:
    if not text:
        return None
    bands: dict[str, int] = {}
    for part in text.split(","):
        name, _, index = part.partition("=")
        if not name.strip() or not index.strip().isdigit() or name.strip() in bands:
            msg = f"--bands has {part!r}, expected NAME=INDEX with each name once, like red=0,nir=3"
            raise OptionError(msg)
        bands[name.strip()] = int(index)
    return bands


if __name__ == "__main__":
    sys.exit(run())
