"""Samples a Collection at points that arrive: messages in, samples out window by window.

Like ``python pipelines/sample_points_streaming.py --collection gs://bucket/collection
--input_subscription projects/P/subscriptions/S --bands B04,B08 --points_crs EPSG:4326
--output gs://bucket/samples --runner DataflowRunner ...``.
"""

import argparse
import functools
import math
import sys
from collections.abc import Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from rasteret_beam import (
    BatchMessages,
    DeadLetter,
    DecodeMessages,
    EncodeSamples,
    IntoWindows,
    SamplePoints,
    WriteDeadLetters,
    WriteSamples,
)
from rasteret_beam.messages import MESSAGE_FORMATS
from rasteret_beam.output import FORMATS, LAYOUTS
from rasteret_beam.reporting import SAMPLE_IDENTITIES, SAMPLE_SHARES, sample_summary
from rasteret_beam.runners import (
    bigquery_flags,
    flags,
    launch,
    occupied,
    places,
    sampling_flags,
    store_flags,
    stream_flags,
)

_LETTERS_LATE_SECONDS = 7 * 86400.0
"""How late what tells of a late point may be, at least; a window that had some is remembered."""


class SamplePointsStreamingOptions(PipelineOptions):
    """Samples a Collection at points that arrive as messages, window by window."""

    REQUIRED = ("collection", "bands", "points_crs")
    STREAMING = True

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        add = functools.partial(launch.add_flag, parser)
        add("--collection", help="Collection: a Parquet folder or file (local, gs://, s3://)")
        add("--bands", help="Bands to sample, and ranges of them, separated by commas, semicolons "
            "or spaces: B04,B08 or A00:A63")
        add("--input_subscription", help="Messages: projects/PROJECT/subscriptions/NAME")
        add("--input_topic", help="Messages: projects/PROJECT/topics/NAME, from now on")
        add("--input_format", default="json", help="A message is a JSON object, or an Avro record "
            f"without a header: {' | '.join(MESSAGE_FORMATS)}")
        add("--input_schema", help="Avro schema of the messages: a file, or its text; needed for "
            "avro, and for json where further columns are to be kept")
        add("--id_column", help="Column that becomes point_index: numbers as they are, text by "
            "its hash (default: a hash of row and time)")
        add("--time_attribute", help="Attribute of the message that has the point's time "
            "(default: when it was published)")
        add("--time_column", help="Column that has the point's time: RFC 3339 text, milliseconds "
            "since 1970, or an Avro timestamp; points behind their messages are late")
        sampling_flags.declare_points(add)
        sampling_flags.declare_sampling(add)
        add("--window_seconds", type=float, default=60.0,
            help="Points of so many seconds are read together, each tile once")
        add("--allowed_lateness_seconds", type=float, default=0.0,
            help="How long after its window a point still has its rows; later ones are dead "
            "letters, or dropped")
        add("--refresh_seconds", type=float, default=300.0,
            help="How often to look for new records of the collection; 0 for never")
        add("--tile_cache", default="256MB",
            help="Memory of a process for tiles that later windows need again, like 256MB; 0")
        add("--output", type=flags.output_folder,
            help="Folder for the samples, in files of each window")
        add("--output_format", default="parquet", help=f"Format: {' | '.join(FORMATS)}")
        add("--layout", default="long", help=f"Rows: {' | '.join(LAYOUTS)} (a row per sample; per "
            "point and record, with a column per band; the same with all bands in a list)")
        add("--output_topic", help="Topic for the samples: projects/PROJECT/topics/NAME, a JSON "
            "object each")
        bigquery_flags.declare_stream(add)
        add("--dead_letters", type=flags.output_folder,
            help="Folder for what could not be read, as JSON lines")
        sampling_flags.declare_reading(add)
        store_flags.declare(add)


def build(pipeline: beam.Pipeline, options: SamplePointsStreamingOptions) -> None:
    """Adds the job to a pipeline.

    Raises:
        OptionError: A flag is missing, or has a value that cannot work.
    """
    sample_messages(stream_flags.read_messages(pipeline, options), options)
    # Last: who tries flags out names no runner, and wants to know what is wrong with them.
    stream_flags.check_runner(options)


def sample_messages(
    messages: beam.PCollection[Any], options: SamplePointsStreamingOptions,
) -> None:
    """Adds the job to messages from wherever.

    Args:
        messages: ``bytes`` or ``PubsubMessage``.
        options: The flags.

    Raises:
        OptionError: A flag is missing, or has a value that cannot work.
    """
    launch.check_given(options, options.REQUIRED)
    stream_flags.check(options)
    places.check(
        [places.Source("--collection", options.collection, places.PARQUET)],
        [
            places.samples_target("--output", options.output, options.output_format),
            places.letters_target(options.dead_letters),
        ],
    )
    load = bigquery_flags.load_of_stream(options) if options.output_table else None
    store = sampling_flags.store_of(options)
    if options.output:
        occupied.check_no_collection(store, options.output)
    reader = stream_flags.reader_of(options, store)
    windows = IntoWindows(
        seconds=options.window_seconds, allowed_lateness_seconds=options.allowed_lateness_seconds,
    )
    decoded = messages | "DecodeMessages" >> DecodeMessages(reader=reader, windows=windows)
    points, broken = (
        decoded.rows
        | "IntoWindows" >> windows
        | "BatchMessages" >> BatchMessages(reader=reader)
    )
    job = SamplePoints(
        collection=options.collection,
        options=sampling_flags.sample_options_of(options),
        filters=sampling_flags.filters_of(options),
        data_source=options.data_source,
        store=store,
        join=options.join,
        cache_bytes=flags.limit("--tile_cache", options.tile_cache, flags.byte_count) or 0,
        refresh_seconds=options.refresh_seconds or math.inf,
    )
    sampled = points | "SamplePoints" >> job
    if options.output:
        _ = sampled.samples | "WriteSamples" >> WriteSamples(
            folder=options.output, output_format=options.output_format, layout=options.layout,
            bands=job.options.bands,
        )  # fmt: skip
    if options.output_topic:
        encoded = sampled.samples | "EncodeSamples" >> EncodeSamples()
        stream_flags.write_messages(encoded, options.output_topic)
    if load:
        bigquery_flags.write(sampled.samples, load, options, job.options.bands)
    if options.dead_letters:
        letters = (decoded.dead_letters, broken, sampled.dead_letters, sampled.unusable_records)
        _write_letters(letters, options)


def _write_letters(
    letters: Sequence[beam.PCollection[DeadLetter]], options: SamplePointsStreamingOptions,
) -> None:
    """Writes dead letters in the windows of what they tell of.

    By the clock, what is done again would come in another window.
    """
    late = max(_LETTERS_LATE_SECONDS, options.allowed_lateness_seconds)
    waiting = IntoWindows(seconds=options.window_seconds, allowed_lateness_seconds=late)
    windowed = [
        found | f"LettersIntoWindows{number}" >> waiting for number, found in enumerate(letters)
    ]
    together = windowed | "DeadLetters" >> beam.Flatten()
    _ = together | "WriteDeadLetters" >> WriteDeadLetters(folder=options.dead_letters)


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the job, until it is drained or cancelled.

    Args:
        argv: Flags; those of the command line by default.

    Returns:
        The exit code, as ``launch.run`` defines it.
    """
    return launch.run(argv, SamplePointsStreamingOptions, build, _report)


def _report(options: SamplePointsStreamingOptions) -> launch.Report:
    return launch.Report(
        sample_summary, SAMPLE_SHARES, 1.0, name="sample_points_streaming",
        identities=SAMPLE_IDENTITIES, cautions=sampling_flags.cautions_of(options),
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(run())
