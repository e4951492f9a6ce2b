"""Flags of a stream: where messages come from, and what goes together with what."""

import argparse
import contextlib
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.io.gcp.pubsub import ReadFromPubSub, WriteToPubSub
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from rasteret_beam.errors import OptionError
from rasteret_beam.messages import INDEX_FIELD, MessageReader
from rasteret_beam.output import Layout
from rasteret_beam.output.columns import check_columns
from rasteret_beam.runners import bigquery_flags, sampling_flags
from rasteret_beam.schema import POINT_COLUMNS, check_collisions
from rasteret_beam.storage import Store

_SCHEMA_BYTES = 1 << 20
_READERS = ("DataflowRunner", "DirectRunner")
"""Also what their names end with, like Beam's BundleBasedDirectRunner."""


def read_messages(pipeline: beam.Pipeline, options: PipelineOptions) -> beam.PCollection[Any]:
    """Reads the messages of the subscription or topic that flags name.

    Raises:
        OptionError: There is none, or both.
    """
    if bool(options.input_subscription) == bool(options.input_topic):
        msg = "Give one of --input_subscription and --input_topic"
        raise OptionError(msg)
    with _naming():
        read = ReadFromPubSub(
            topic=options.input_topic or None,
            subscription=options.input_subscription or None,
            with_attributes=True,
            timestamp_attribute=options.time_attribute or None,
        )
    return pipeline | "ReadMessages" >> read


def check_runner(options: PipelineOptions) -> None:
    """Looks whether the runner reads messages.

    Raises:
        OptionError: It does not.
    """
    runner = str(options.view_as(StandardOptions).runner)
    if not runner.endswith(_READERS):
        msg = f"--runner {runner} reads no Pub/Sub: name {' or, to try it, '.join(_READERS)}"
        raise OptionError(msg)


def write_messages(messages: beam.PCollection[bytes], topic: str) -> None:
    """Adds what publishes messages.

    Raises:
        OptionError: The topic's name is none.
    """
    with _naming():
        write = WriteToPubSub(topic)
    _ = messages | "WriteToPubSub" >> write


@contextlib.contextmanager
def _naming() -> Iterator[None]:
    """Beam says what is wrong with a name, but as any ValueError."""
    try:
        yield
    except ValueError as error:
        raise OptionError(str(error)) from error


def reader_of(options: argparse.Namespace, store: Store) -> MessageReader:
    """Gives how a message is read.

    Raises:
        OptionError: A flag has a value that cannot work.
        PointsError: A column of the messages has the name of one of the output.
    """
    schema = options.input_schema
    if schema and not schema.lstrip().startswith("{"):
        data, info = store.read_start(schema, _SCHEMA_BYTES)
        if info.size > _SCHEMA_BYTES:
            msg = f"--input_schema {schema} has {info.size} bytes, which is no schema"
            raise OptionError(msg)
        schema = data.decode(errors="replace")
    reader = MessageReader(
        message_format=options.input_format,
        columns=sampling_flags.columns_of(options),
        avro_schema=schema or None,
        id_column=options.id_column or None,
        time_column=options.time_column or None,
    )
    # Of a stream every message would break its bundle, again and again.
    sampling = sampling_flags.sample_options_of(options)
    check_collisions(reader.schema, sampling)
    place = reader.point_columns.geometry_column
    names = [name for name in reader.schema.names if name != place]
    layout = Layout(options.layout, sampling.bands)
    if options.output:
        check_columns(names, options.output_format, layout)
    if options.output_table:
        check_columns(names, "bigquery", layout)
    taken = [name for name in (*POINT_COLUMNS, INDEX_FIELD) if name in reader.schema.names]
    if taken:
        msg = f"Columns of the messages are named as those of the output: {', '.join(taken)}"
        raise OptionError(msg)
    return reader


def check(options: argparse.Namespace) -> None:
    """Refuses flags that do not go together.

    Raises:
        OptionError: Some do not.
    """
    if not (options.output or options.output_topic or options.output_table):
        msg = "The samples need a place: give --output, --output_topic or --output_table"
        raise OptionError(msg)
    if bigquery_flags.is_table(options.output):
        msg = f"--output {options.output} is a table: give it as --output_table"
        raise OptionError(msg)
    if options.time_attribute and options.time_column:
        msg = "--time_attribute and --time_column: give one or the other"
        raise OptionError(msg)
    if not options.refresh_seconds >= 0:
        msg = f"--refresh_seconds is {options.refresh_seconds}, expected 0 (for never) or more"
        raise OptionError(msg)
    if options.output_topic and options.layout != "long":
        msg = (
            f"--layout {options.layout} is for --output and --output_table; messages are a sample "
            "each"
        )
        raise OptionError(msg)
    # Panes of late points come in parts, which would be taken for wholes.
    if options.allowed_lateness_seconds and options.layout != "long":
        msg = (
            f"--allowed_lateness_seconds with --layout {options.layout}: the bands of a late point "
            "may come in several panes; give --layout long"
        )
        raise OptionError(msg)
