"""Flags for points from BigQuery and samples to it: ``bq://`` where a file or folder would be."""

from collections.abc import Callable

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

from rasteret_beam.bigquery import SCHEME, Load, TableName
from rasteret_beam.bigquery.loads import PARTITIONS, WRITE_DISPOSITIONS
from rasteret_beam.elements import SampleBatch
from rasteret_beam.errors import OptionError
from rasteret_beam.points import PointColumns
from rasteret_beam.runners import flags
from rasteret_beam.transforms.read_points_from_bigquery import ReadPointsFromBigQuery
from rasteret_beam.transforms.write_samples_to_bigquery import WriteSamplesToBigQuery

_BUCKET = "gs://"


def declare(add: Callable[..., None]) -> None:
    """Adds the flags.

    Args:
        add: ``launch.add_flag`` of a parser.
    """
    add("--points_query", help="Points: a query in GoogleSQL, run in --project; in place of "
        "--points")
    add("--index_field", help="BigQuery points: column that becomes point_index (default: a "
        "hash of the row, as rows have no order)")
    add("--point_columns", help="BigQuery points: columns to carry through, separated by commas "
        "(default: all)")
    add("--write_disposition", default="truncate", help="A BigQuery --output that is there: "
        f"{' | '.join(WRITE_DISPOSITIONS)} (replace its rows; add, the same rows once; refuse)")
    _declare_table(add)


def declare_stream(add: Callable[..., None]) -> None:
    """Adds the flags of a stream: rows are only ever added.

    Args:
        add: ``launch.add_flag`` of a parser.
    """
    add("--output_table", help="BigQuery table that rows are added to, a load job a window: "
        "bq://project.dataset.table")
    _declare_table(add)


def _declare_table(add: Callable[..., None]) -> None:
    add("--partition", default="day", help="Partitions of a new BigQuery table, by datetime: "
        f"{' | '.join(PARTITIONS)}")
    add("--cluster_fields", help="Up to four columns that a new BigQuery table is clustered by "
        "(default: record_id, band, geog and point_index, as far as the layout has them)")


def is_table(address: str | None) -> bool:
    """Tells whether an address is that of a table."""
    return bool(address) and str(address).startswith(SCHEME)


def is_remote(options: PipelineOptions) -> bool:
    """Tells whether points or samples are in BigQuery.

    Raises:
        OptionError: They are, and a killed run is to be gone on from.
    """
    found = bool(options.points_query) or is_table(options.points) or is_table(options.output)
    if found and options.mode != "replace":
        msg = f"--mode {options.mode} is for files; with BigQuery give --mode replace"
        raise OptionError(msg)
    return found


def reader_of(options: PipelineOptions, columns: PointColumns) -> ReadPointsFromBigQuery | None:
    """Gives what reads the points; None where they are files.

    Args:
        options: The pipeline's own: ``points`` and what ``declare`` added.
        columns: Where the points are.

    Raises:
        OptionError: Flags that do not go together.
    """
    kept = flags.listed(options.point_columns)
    if options.points_query and options.points:
        msg = "--points and --points_query: give one or the other"
        raise OptionError(msg)
    if not options.points_query and not is_table(options.points):
        for name in ("index_field", "point_columns"):
            if getattr(options, name):
                msg = f"--{name} is for points from BigQuery; --points is {options.points!r}"
                raise OptionError(msg)
        return None
    return ReadPointsFromBigQuery(
        table=options.points or None,
        query=options.points_query or None,
        columns=columns,
        index_field=options.index_field or None,
        kept=kept or None,
        project=_project(options),
    )


def write(
    samples: beam.PCollection[SampleBatch],
    load: Load,
    options: PipelineOptions,
    bands: tuple[str, ...],
) -> None:
    """Adds what writes samples to a table.

    Args:
        samples: The samples.
        load: What ``load_of`` or ``load_of_stream`` gives.
        options: The pipeline's own.
        bands: The bands in the order wanted.
    """
    _ = samples | "WriteSamplesToBigQuery" >> WriteSamplesToBigQuery(
        load=load,
        temp_folder=options.view_as(GoogleCloudOptions).temp_location,
        layout=options.layout,
        bands=bands,
        project=_project(options),
    )


def load_of(options: PipelineOptions) -> Load:
    """Gives how samples get into the table that ``output`` names.

    Raises:
        OptionError: A flag is there that does not go with a table.
    """
    if options.plan_only:
        msg = f"--plan_only writes files: give a folder as --output, not {options.output}"
        raise OptionError(msg)
    if options.output_format not in ("parquet", "bigquery"):
        msg = f"--output_format {options.output_format} is for files; --output is {options.output}"
        raise OptionError(msg)
    return _load(options, options.output, options.write_disposition)


def load_of_stream(options: PipelineOptions) -> Load:
    """Gives how samples get into the table that ``output_table`` names: none is replaced.

    Raises:
        OptionError: A flag is there that does not go with a table.
    """
    return _load(options, options.output_table, "append")


def _load(options: PipelineOptions, table: str, write_disposition: str) -> Load:
    temp = options.view_as(GoogleCloudOptions).temp_location or ""
    if not temp.startswith(_BUCKET):
        msg = (
            f"--temp_location is {temp!r}: BigQuery loads from a bucket, in the region of the "
            "dataset; give one like gs://bucket/temp"
        )
        raise OptionError(msg)
    return Load(
        table=TableName.parse(table),
        write_disposition=write_disposition,
        partition=options.partition,
        cluster_fields=flags.listed(options.cluster_fields) or None,
    )


def _project(options: PipelineOptions) -> str | None:
    found: str | None = options.view_as(GoogleCloudOptions).project
    return found
