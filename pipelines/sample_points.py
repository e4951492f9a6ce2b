"""Samples a Collection at points: files in, files out.

Like ``python pipelines/sample_points.py --collection DIR --points FILE_OR_GLOB
--bands B04,B08 --output DIR --points_crs EPSG:4326``.
"""

import argparse
import functools
import sys
from collections.abc import Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from rasteret_beam import (
    Filters,
    OptionError,
    PointColumns,
    ReadPoints,
    SampleOptions,
    SamplePoints,
    Store,
    WriteDeadLetters,
    WriteSamples,
)
from rasteret_beam.options import MATCHES, NEIGHBOURHOODS, UNMATCHED
from rasteret_beam.output import FORMATS
from rasteret_beam.reporting import SAMPLE_SHARES, sample_summary
from rasteret_beam.runners import flags, launch
from rasteret_beam.transforms.sample_points import JOINS


class SamplePointsOptions(PipelineOptions):
    """Samples a Collection at points: files in, files out."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        add = functools.partial(launch.add_flag, parser)
        add("--collection", help="Collection: a Parquet folder or file (local, gs://, s3://)")
        add("--points", help="Points: Parquet, GeoParquet, CSV or GeoJSON; a file or a pattern")
        add("--bands", help="Bands to sample, separated by commas, like B04,B08")
        add("--output", help="Folder for the samples")
        add("--points_crs", help="CRS of the coordinates, like EPSG:4326; 'none' where they are "
            "each raster's own; needed unless the file's metadata has it")
        add("--x_column", help="Column of x or longitude (default: x, lon, longitude, lng)")
        add("--y_column", help="Column of y or latitude (default: y, lat, latitude)")
        add("--geometry_column", help="Column of WKB or GeoArrow points")
        add("--match", default="all", help=f"Records of a point: {' | '.join(MATCHES)}")
        add("--max_distance_pixels", type=int, default=0,
            help="How far to look for a valid pixel where the point's own is nodata")
        add("--return_neighbourhood", default="off",
            help=f"Pixels around the point's: {' | '.join(NEIGHBOURHOODS)}")
        add("--date_range", help="Records from/to, both inclusive: 2024-01-01/2024-02-01")
        add("--bbox", help="Records that overlap xmin,ymin,xmax,ymax (EPSG:4326)")
        add("--cloud_cover_lt", type=float, help="Records with eo:cloud_cover below this")
        add("--where", help="Records that meet a condition, like \"platform == 'S2A'\"")
        add("--output_format", default="parquet", help=f"Format: {' | '.join(FORMATS)}")
        add("--unmatched", default="emit",
            help=f"Points without a sample: {' | '.join(UNMATCHED)} (a row with a status)")
        add("--error_threshold", type=float, default=0.01,
            help="Tolerated share of failed tiles, records or points, 0 to 1")
        add("--dead_letters", help="Folder for what could not be read, as JSON lines")
        add("--join", default="auto", help=f"How points meet records: {' | '.join(JOINS)} "
            "(auto: by the collection's size)")
        add("--data_source", help="Whose band names to know, like sentinel-2-l2a")
        add("--allow_http", action="store_true", help="Permit plain http:// addresses")


def build(pipeline: beam.Pipeline, options: SamplePointsOptions) -> None:
    """Adds the job to a pipeline.

    Raises:
        OptionError: A flag is missing, or has a value that cannot work.
    """
    for name in ("collection", "points", "bands", "output"):
        if not getattr(options, name):
            msg = f"--{name} is required"
            raise OptionError(msg)
    store = Store(allow_http=options.allow_http)
    columns = PointColumns(
        crs=options.points_crs,
        x_column=options.x_column,
        y_column=options.y_column,
        geometry_column=options.geometry_column,
    )
    read = pipeline | "ReadPoints" >> ReadPoints(
        pattern=options.points, columns=columns, store=store,
    )
    sampled = read.points | "SamplePoints" >> SamplePoints(
        collection=options.collection,
        options=SampleOptions(
            bands=flags.listed(options.bands),
            match=options.match,
            max_distance_pixels=options.max_distance_pixels,
            return_neighbourhood=options.return_neighbourhood,
            unmatched=options.unmatched,
        ),
        filters=Filters(
            date_range=flags.date_range(options.date_range),
            bbox=flags.bbox(options.bbox),
            cloud_cover_lt=options.cloud_cover_lt,
            where=options.where,
        ),
        data_source=options.data_source,
        store=store,
        join=options.join,
    )
    _ = sampled.samples | "WriteSamples" >> WriteSamples(
        folder=options.output, output_format=options.output_format,
    )
    if options.dead_letters:
        letters = (read.dead_letters, sampled.dead_letters, sampled.unusable_records)
        together = letters | "DeadLetters" >> beam.Flatten()
        _ = together | "WriteDeadLetters" >> WriteDeadLetters(folder=options.dead_letters)


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the job.

    Args:
        argv: Flags; those of the command line by default.

    Returns:
        The exit code, as ``launch.run`` defines it.
    """
    return launch.run(argv, SamplePointsOptions, build, _report)


def _report(options: SamplePointsOptions) -> launch.Report:
    return launch.Report(sample_summary, SAMPLE_SHARES, options.error_threshold)


if __name__ == "__main__":
    sys.exit(run())
