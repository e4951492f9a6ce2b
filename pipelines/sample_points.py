"""Samples a Collection at points: files in, files out.

Like ``python pipelines/sample_points.py --collection DIR --points FILE_OR_GLOB
--bands B04,B08 --output DIR --points_crs EPSG:4326``.
"""

import argparse
import dataclasses
import functools
import sys
from collections.abc import Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from rasteret_beam import (
    Budget,
    OptionError,
    PointColumns,
    ReadEarlierRun,
    ReadPoints,
    SamplePoints,
    Store,
    SummarizePlan,
    WriteDeadLetters,
    WritePlan,
    WriteSamples,
    __version__,
)
from rasteret_beam.forecast import prices
from rasteret_beam.output import FORMATS, LAYOUTS
from rasteret_beam.output.earlier import EarlierRun
from rasteret_beam.reporting import SAMPLE_IDENTITIES, SAMPLE_SHARES, sample_summary
from rasteret_beam.runners import (
    bigquery_flags,
    flags,
    launch,
    occupied,
    places,
    resuming,
    sampling_flags,
    store_flags,
)
from rasteret_beam.runners.nothing_sampled import nothing_sampled
from rasteret_beam.storage import redact
from rasteret_beam.transforms.check_columns import CheckColumns
from rasteret_beam.transforms.summarize_plan import plan_told


class SamplePointsOptions(PipelineOptions):
    """Samples a Collection at points: files in, files out."""

    REQUIRED = ("collection", "bands", "output")

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        add = functools.partial(launch.add_flag, parser)
        add("--collection", help="Collection: a Parquet folder or file (local, gs://, s3://)")
        add("--points", help="Points: Parquet, GeoParquet, CSV or GeoJSON, a file or a pattern; "
            "or a BigQuery table: bq://project.dataset.table")
        add("--bands", help="Bands to sample, and ranges of them, separated by commas, semicolons "
            "or spaces: B04,B08 or A00:A63")
        add("--output", type=flags.output_folder,
            help="Folder for the samples; or a BigQuery table: "
            "bq://project.dataset.table")
        sampling_flags.declare_points(add)
        sampling_flags.declare_sampling(add)
        add("--output_format", default="parquet", help=f"Format: {' | '.join(FORMATS)}")
        add("--layout", default="long", help=f"Rows: {' | '.join(LAYOUTS)} (a row per sample; per "
            "point and record, with a column per band; the same with all bands in a list)")
        add("--mode", default="replace", help=f"An --output that is there: "
            f"{' | '.join(resuming.MODES)} (go on where a killed run of the same job ended)")
        add("--error_threshold", type=float, default=0.01,
            help="Tolerated share of failed tiles, records or points, 0 to 1")
        add("--dead_letters", type=flags.output_folder,
            help="Folder for what could not be read, as JSON lines")
        add("--replay", help="Dead letters of an earlier run, as --dead_letters left them: runs "
            "just those again, with the other flags of that run and an --output of its own")
        add("--plan_only", **flags.SWITCH, help="Read no pixel: tell what a run would read and "
            "cost, and write it to _run/plan.json and _run/plan.html of --output")
        add("--max_tiles", help="Read nothing where more tiles than this are planned")
        add("--max_bytes", help="Read nothing where more bytes are planned, like 20GB or 1.5GiB")
        add("--max_requests", help="Read nothing where more requests than this are planned")
        add("--prices", help="Price table for the plan's estimate, as JSON (default: packaged)")
        sampling_flags.declare_reading(add)
        bigquery_flags.declare(add)
        store_flags.declare(add)


def build(pipeline: beam.Pipeline, options: SamplePointsOptions) -> None:
    """Adds the job to a pipeline.

    Raises:
        OptionError: A flag is missing, or has a value that cannot work.
    """
    launch.check_given(options, options.REQUIRED)
    if not options.points_query:
        launch.check_given(options, ("points",))
    if options.replay and options.layout != "long":
        msg = (
            f"--replay with --layout {options.layout}: its rows would hold some of a record's "
            "bands, and must not replace whole ones; give --layout long"
        )
        raise OptionError(msg)
    store = sampling_flags.store_of(options)
    _check_places(options, store)
    columns = sampling_flags.columns_of(options)
    load = bigquery_flags.load_of(options) if bigquery_flags.is_table(options.output) else None
    read = pipeline | "ReadPoints" >> (
        bigquery_flags.reader_of(options, columns)
        or ReadPoints(pattern=options.points, columns=columns, store=store)
    )
    job = _job(options, store)
    name, earlier = _resumed(pipeline, options, job, columns)
    points = read.points | "CheckColumns" >> CheckColumns(
        output_format="bigquery" if load else options.output_format, layout=options.layout,
        bands=job.options.bands,
    )  # fmt: skip
    if options.plan_only:
        planned, _ = job.plan(points)
        summary = planned | "SummarizePlan" >> SummarizePlan(earlier=earlier)
        _ = summary | "WritePlan" >> WritePlan(
            folder=options.output, job=_told(options), budget=job.budget,
            price_table=prices.load(options.prices, store),
        )  # fmt: skip
        return
    sampled = points | "SamplePoints" >> dataclasses.replace(job, earlier=earlier)
    if load:
        bigquery_flags.write(sampled.samples, load, options, job.options.bands)
    else:
        _ = sampled.samples | "WriteSamples" >> WriteSamples(
            folder=options.output, output_format=options.output_format, layout=options.layout,
            bands=job.options.bands, job=name, kept=sampled.kept,
        )  # fmt: skip
    if options.dead_letters:
        letters = (read.dead_letters, sampled.dead_letters, sampled.unusable_records)
        together = letters | "DeadLetters" >> beam.Flatten()
        _ = together | "WriteDeadLetters" >> WriteDeadLetters(folder=options.dead_letters)


def _check_places(options: SamplePointsOptions, store: Store) -> None:
    """Refuses an output that the job, or the next one, would take for its input."""
    table = bigquery_flags.is_table(options.output)
    output = places.samples_target(
        "--output", None if table else options.output, options.output_format,
    )
    points = places.Source("--points", options.points)
    places.check(
        (
            points,
            places.Source("--collection", options.collection, places.PARQUET),
            places.Source("--replay", options.replay, places.LETTERS),
        ),
        (output, places.letters_target(options.dead_letters)),
    )
    if not table:
        occupied.check_points_stay(store, points, output)
        occupied.check_no_collection(store, options.output)


def _resumed(
    pipeline: beam.Pipeline, options: SamplePointsOptions, job: SamplePoints, columns: PointColumns,
) -> tuple[str, beam.PCollection[EarlierRun] | None]:
    """Gives the job's name; and what an earlier run left of it, where that is to be used."""
    choices = (
        job.options, job.filters, job.data_source, columns, options.output_format, options.layout,
        options.replay, __version__,
    )  # fmt: skip
    name = "" if bigquery_flags.is_remote(options) else resuming.name_of(
        options.mode, job.store, (job.collection, options.points), choices,
    )
    if options.replay and not bigquery_flags.is_table(options.output):
        occupied.check_replay(job.store, options.output, name)
    if options.mode != "resume":
        return name, None
    resuming.check_open(options.output, name)
    return name, pipeline | "ReadEarlierRun" >> ReadEarlierRun(folder=options.output, job=name)


def _job(options: SamplePointsOptions, store: Store) -> SamplePoints:
    return SamplePoints(
        collection=options.collection,
        options=sampling_flags.sample_options_of(options),
        filters=sampling_flags.filters_of(options),
        data_source=options.data_source,
        store=store,
        join=options.join,
        replay=options.replay,
        budget=Budget(
            max_tiles=flags.limit("--max_tiles", options.max_tiles, flags.number),
            max_bytes=flags.limit("--max_bytes", options.max_bytes, flags.byte_count),
            max_requests=flags.limit("--max_requests", options.max_requests, flags.number),
        ),
    )


def _told(options: SamplePointsOptions) -> dict[str, object]:
    """What a plan says that it is of."""
    return {
        "collection": redact(options.collection),
        "points": redact(options.points or options.points_query),
        "bands": flags.band_names("--bands", options.bands),
        "match": options.match,
        "max_distance_pixels": options.max_distance_pixels,
    }


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the job.

    Args:
        argv: Flags; those of the command line by default.

    Returns:
        The exit code, as ``launch.run`` defines it.
    """
    return launch.run(argv, SamplePointsOptions, build, _report)


def _report(options: SamplePointsOptions) -> launch.Report:
    doubts = functools.partial(nothing_sampled, options)
    cautions = sampling_flags.cautions_of(options)
    if options.plan_only:
        told = functools.partial(plan_told, options.output)
        return launch.Report(
            told, (), options.error_threshold, name="sample_points",
            cautions=cautions, doubts=doubts,
        )  # fmt: skip
    return launch.Report(
        sample_summary, SAMPLE_SHARES, options.error_threshold, name="sample_points",
        identities=SAMPLE_IDENTITIES, cautions=cautions, doubts=doubts,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(run())
