"""Flags on what is sampled, the same for files and for streams."""

import argparse
import difflib
from collections.abc import Callable

from rasteret_beam.collection.catalog import datasets, find_dataset
from rasteret_beam.collection.filters import Filters
from rasteret_beam.options import MATCHES, NEIGHBOURHOODS, UNMATCHED, SampleOptions
from rasteret_beam.points import PointColumns
from rasteret_beam.runners import flags, store_flags
from rasteret_beam.storage import Store
from rasteret_beam.storage.answers import FRESHNESS
from rasteret_beam.transforms.sample_points import JOINS


def declare_points(add: Callable[..., None]) -> None:
    """Adds the flags on where in a row the point is.

    Args:
        add: ``launch.add_flag`` of a parser.
    """
    add("--points_crs", help="CRS of the coordinates, like EPSG:4326; needed unless the file's "
        "metadata has it; 'none' takes them as they are: for rasters in longitude and latitude or "
        "without a CRS, since projected ones are met in degrees only")
    add("--x_column", help="Column of x or longitude (default: x, lon, longitude, lng)")
    add("--y_column", help="Column of y or latitude (default: y, lat, latitude)")
    add("--geometry_column", help="Column of WKB or GeoArrow points")


def declare_sampling(add: Callable[..., None]) -> None:
    """Adds the flags on what to sample, and of which records.

    Args:
        add: ``launch.add_flag`` of a parser.
    """
    add("--match", default="all", help=f"Records of a point: {' | '.join(MATCHES)}")
    add("--max_distance_pixels", type=int, default=0,
        help="How far to look for a valid pixel where the point's own is nodata")
    add("--return_neighbourhood", default="off",
        help=f"Pixels around the point's: {' | '.join(NEIGHBOURHOODS)}")
    add("--date_range", help="Records from/to these instants, like 2024-01-01/2024-02-01; "
        "an end that is a day is its midnight")
    add("--bbox", help="Records that overlap xmin,ymin,xmax,ymax (EPSG:4326)")
    add("--cloud_cover_lt", type=float, help="Records with eo:cloud_cover below this")
    add("--where", help="Records that meet a condition, like \"platform == 'S2A'\"")
    add("--unmatched", default="emit",
        help=f"Points without a sample: {' | '.join(UNMATCHED)} (a row with a status)")


def declare_reading(add: Callable[..., None]) -> None:
    """Adds the flags on how the collection and its files are read.

    Args:
        add: ``launch.add_flag`` of a parser.
    """
    add("--join", default="auto", help=f"How points meet records: {' | '.join(JOINS)} "
        "(auto: by the collection's size)")
    add("--data_source", help="Whose band names to know, like sentinel-2-l2a")
    add("--freshness", default="etag", help="What of a file must be as the index says: "
        f"{' | '.join(FRESHNESS)} (size for mirrors that change ETags)")
    add("--url_rewrite", help="Prefixes of addresses in the collection and what to read from "
        "instead, like https://a.org/=s3://a/")


def columns_of(options: argparse.Namespace) -> PointColumns:
    """Gives where in a row the point is.

    Raises:
        PointsError: Flags that do not go together.
        CrsError: The CRS is none.
    """
    return PointColumns(
        crs=options.points_crs,
        x_column=options.x_column,
        y_column=options.y_column,
        geometry_column=options.geometry_column,
    )


def store_of(options: argparse.Namespace) -> Store:
    """Gives how the collection and its files are read.

    Raises:
        OptionError: A flag has a value that cannot work.
    """
    return store_flags.store_of(
        options, options.freshness, options.url_rewrite, options.data_source,
    )


def sample_options_of(options: argparse.Namespace) -> SampleOptions:
    """Gives what to sample.

    Raises:
        OptionError: A flag has a value that cannot work.
    """
    return SampleOptions(
        bands=flags.band_names("--bands", options.bands),
        match=options.match,
        max_distance_pixels=options.max_distance_pixels,
        return_neighbourhood=options.return_neighbourhood,
        unmatched=options.unmatched,
    )


def cautions_of(options: argparse.Namespace) -> list[str]:
    """Gives what in the flags is probably not what was meant, though it may be."""
    name = options.data_source
    if not name or find_dataset(name):
        return []
    known = sorted({key for d in datasets().values() for key in (d.id, d.stac_collection) if key})
    near = ", ".join(difflib.get_close_matches(name, known, 3) or known)
    return [
        f"--data_source {name} is not in the catalogue, so bands go by their own names; it has: "
        + near,
    ]


def filters_of(options: argparse.Namespace) -> Filters:
    """Gives the conditions on the records.

    Raises:
        OptionError: A flag has a value that cannot work.
    """
    return Filters(
        date_range=flags.date_range(options.date_range),
        bbox=flags.bbox(options.bbox),
        cloud_cover_lt=options.cloud_cover_lt,
        where=options.where,
    )
