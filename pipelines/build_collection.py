"""Indexes COGs into a Collection: files, STAC or a table in, Parquet out.

Like ``python pipelines/build_collection.py --inputs 'gs://b/scenes/*.tif' --output DIR``.
"""

import argparse
import functools
import sys
from collections.abc import Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from rasteret_beam import (
    BuildCollection,
    FileSource,
    OptionError,
    RecordTable,
    StacFiles,
    StacReading,
    StacSearch,
    WriteDeadLetters,
)
from rasteret_beam.collection.catalog import Dataset, dataset_of
from rasteret_beam.indexing.items import ItemSource
from rasteret_beam.reporting import BUILD_IDENTITIES, BUILD_SHARES, build_summary
from rasteret_beam.runners import flags, launch, occupied, places, store_flags

_CATALOGUED = ("bbox", "date_range", "band_map", "bands", "url_rewrite")
_FLAGS_OF = {
    "inputs": ("bands", "datetime_pattern"),
    "stac": _CATALOGUED,
    "stac_api": (*_CATALOGUED, "stac_collections", "query", "max_items"),
    "table": (*_CATALOGUED, "column_map", "href_column", "where"),
    "dataset": (),
}
"""Flags that name a source, and those that say more of it."""


class BuildCollectionOptions(PipelineOptions):
    """Indexes COGs into a Collection: files, STAC or a table in, Parquet out."""

    REQUIRED = ("output",)

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        add = functools.partial(launch.add_flag, parser)
        add("--inputs", help="COGs: a file, a pattern, a folder, or a text file with one path or "
            "URL a line (local, gs://, s3://, https://)")
        add("--stac", help="STAC files: an item, an ItemCollection, one item a line (.ndjson), a "
            "static catalogue; or a pattern or folder of them")
        add("--stac_api", help="Address of a STAC API to search; needs --stac_collections")
        add("--table", help="Parquet with a row an item: stac-geoparquet, or any other table, "
            "with --column_map and --href_column")
        add("--dataset", help="A known dataset, like earthsearch/sentinel-2-l2a; fills in what "
            "other flags leave open")
        add("--output", type=flags.output_folder, help="Folder for the collection")
        add("--mode", default="replace", help="replace; update, which reads only headers that are "
            "new or changed; or append, which also keeps records that the source does not have")
        add("--stac_collections", help="Ids of the API's collections, separated by commas")
        add("--bbox", help="Only items that overlap xmin,ymin,xmax,ymax in EPSG:4326")
        add("--date_range", help="Only items of START/END, like 2024-01-01/2024-01-31; an end "
            "that is a day is all of it")
        add("--query", help="Conditions of a search as JSON, like "
            '{"eo:cloud_cover": {"lt": 20}}')
        add("--max_items", type=int, help="Stop a search after this many items")
        add("--where", help="Only rows of a table that meet this, like \"platform == 'S2A'\"")
        add("--band_map", help="Bands and their asset keys, like B04=red,B08=nir")
        add("--bands", help="Names and 0-based sample indexes, like red=0,nir=3 or A00:A63=0:63; "
            "by default B1 .. Bn of each file")
        add("--column_map", help="A table's columns and their names here, like "
            "fid=id,year=datetime")
        add("--href_column", help="A table's column of addresses")
        add("--url_rewrite", help="Prefixes of addresses and what to read from instead, like "
            "https://a.org/=s3://a/")
        add("--datetime_pattern", help="Regular expression that finds the acquisition time in a "
            "file's name, by its digits or by groups named year, month, day, ...")
        add("--collection_name", default="", help="Name of the collection")
        add("--data_source", default="", help="Whose band names to know, like sentinel-2-l2a")
        add("--dead_letters", type=flags.output_folder,
            help="Folder for what cannot be indexed, as JSON lines")
        add("--error_threshold", type=float, default=0.0,
            help="Tolerated share of failed files and items, 0 to 1")
        store_flags.declare(add)


def build(pipeline: beam.Pipeline, options: BuildCollectionOptions) -> None:
    """Adds the job to a pipeline.

    Raises:
        OptionError: A flag is missing, or has a value that cannot work.
    """
    launch.check_given(options, options.REQUIRED)
    store = store_flags.store_of(options, dataset=options.dataset or options.data_source)
    places.check(
        (
            places.Source("--inputs", options.inputs, places.TIFFS),
            places.Source("--stac", options.stac, places.STAC),
            places.Source("--table", options.table, places.PARQUET),
        ),
        (places.collection_target(options.output), places.letters_target(options.dead_letters)),
    )
    occupied.check_no_samples(store, options.output)
    known = dataset_of(options.dataset) if options.dataset else None
    source_name = options.data_source or (known.stac_collection or known.id if known else "")
    built = pipeline | "BuildCollection" >> BuildCollection(
        source=source_of(options),
        folder=options.output,
        mode=options.mode,
        name=options.collection_name,
        data_source=source_name,
        store=store,
    )
    if options.dead_letters:
        _ = built.dead_letters | "WriteDeadLetters" >> WriteDeadLetters(
            folder=options.dead_letters,
        )


def source_of(options: BuildCollectionOptions) -> ItemSource:
    """Gives the source that the flags describe.

    Raises:
        OptionError: None or several are named, a flag cannot be read, or does nothing.
    """
    given = [name for name in _FLAGS_OF if getattr(options, name)]
    if len(given) != 1:
        names = ", ".join(f"--{name}" for name in _FLAGS_OF)
        told = " and ".join(f"--{name}" for name in given) or "none"
        msg = f"One source is required, of {names}; given: {told}"
        raise OptionError(msg)
    known = dataset_of(options.dataset) if options.dataset else None
    kind = given[0]
    if known is not None:
        kind = "table" if known.record_table_uri else "stac_api"
    every = {name for names in _FLAGS_OF.values() for name in names}
    idle = sorted(n for n in every - set(_FLAGS_OF[kind]) if getattr(options, n) is not None)
    if idle:
        msg = f"--{idle[0]} does nothing with --{given[0]}"
        raise OptionError(msg)
    if kind == "inputs":
        return FileSource(
            inputs=options.inputs,
            bands=flags.band_indexes("--bands", options.bands) or None,
            datetime_pattern=options.datetime_pattern,
        )
    return _catalogued(options, kind, known or Dataset(id="", name="", description=""))


def _catalogued(options: BuildCollectionOptions, kind: str, known: Dataset) -> ItemSource:
    """A source of items with assets; a known dataset fills in what no flag says."""
    rewrite = flags.pairs("--url_rewrite", options.url_rewrite, str) or known.url_rewrite_patterns
    reading = StacReading(
        band_map=flags.pairs("--band_map", options.band_map, str) or known.band_map or None,
        band_index_map=flags.band_indexes("--bands", options.bands) or known.band_index_map,
        data_source=options.data_source or known.id,
        url_rewrite_patterns=rewrite,
        bbox=flags.bbox(options.bbox),
        date_range=flags.date_range(options.date_range),
    )
    if kind == "stac":
        return StacFiles(inputs=options.stac, reading=reading)
    if kind == "stac_api":
        collections = flags.listed(options.stac_collections or known.stac_collection)
        return StacSearch(
            url=options.stac_api or str(known.stac_api),
            collections=collections,
            reading=reading,
            query=flags.json_object("--query", options.query),
            max_items=options.max_items,
        )
    column_map = flags.pairs("--column_map", options.column_map, str) or known.column_map
    return RecordTable(
        table=options.table or str(known.record_table_uri),
        reading=reading,
        column_map=column_map,
        href_column=options.href_column or known.href_column,
        where=options.where,
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
    return launch.Report(
        build_summary, BUILD_SHARES, options.error_threshold, output="records_written",
        name="build_collection", identities=BUILD_IDENTITIES,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(run())
