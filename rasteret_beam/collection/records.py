"""Collection Parquet -> records, as rasteret 0.3 and 0.4 write and read it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from rasteret_beam import schema
from rasteret_beam.collection.bands import asset_keys
from rasteret_beam.collection.boxes import bbox_array, meets_any
from rasteret_beam.collection.fragments import (
    Fragment,
    declared_source,
    find_files,
    open_fragment,
    stored_schema,
)
from rasteret_beam.collection.making import CRS_COLUMNS, make_records
from rasteret_beam.errors import (
    BandNotFoundError,
    CollectionError,
    RasteretBeamError,
)
from rasteret_beam.schema import METADATA_SUFFIX, TIFF_SUFFIX
from rasteret_beam.storage import redact

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow.dataset as ds

    from rasteret_beam.collection.query import CollectionQuery
    from rasteret_beam.elements import DeadLetter, Record

BATCH_ROWS = 1024
RECORD_BITS = 40
_UTC = (None, "UTC", "Etc/UTC", "+00:00")


def list_fragments(query: CollectionQuery) -> list[Fragment]:
    """Lists a collection's files, and checks that it is one.

    Raises:
        CollectionError: Not there, not Parquet, or without a required column.
        BandNotFoundError: A band is in no record.
    """
    fragments = find_files(query.store, query.uri)
    found, name = open_fragment(query.store, fragments[0]).schema, redact(query.uri)
    check_schema(found, name)
    check_bands(found, query.bands, name)
    source = query.data_source or declared_source(query.store, fragments)
    return [fragment._replace(data_source=source) for fragment in fragments]


def read_fragment(
    query: CollectionQuery, fragment: Fragment,
) -> Iterator[tuple[Record | None, list[DeadLetter]]]:
    """Reads the records of one file that meet the query's filters.

    Args:
        query: What to read.
        fragment: The file.

    Yields:
        Each record with the dead letters of what in it cannot be used; None where
        nothing of it can.

    Raises:
        CollectionError: The file is not Parquet, or lacks a filter's column.
    """
    dataset = open_fragment(query.store, fragment)
    with reading(fragment):
        yield from read_dataset(dataset, query, fragment.data_source, fragment.number)


@contextlib.contextmanager
def reading(fragment: Fragment) -> Iterator[None]:
    """Tells of a file that turns out not to be Parquet, by name.

    Raises:
        CollectionError: It is not.
    """
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, RasteretBeamError):
            raise
        msg = f"{redact(fragment.uri)}: cannot be read as Parquet: {error}"
        raise CollectionError(msg) from error


def read_dataset(
    dataset: ds.Dataset, query: CollectionQuery, data_source: str, number: int = 0,
) -> Iterator[tuple[Record | None, list[DeadLetter]]]:
    """Reads the records of an Arrow dataset that meet the query's filters.

    Args:
        dataset: Rows of a collection.
        query: What to read; its ``uri`` is not opened.
        data_source: Whose band names the rows use, where the query does not say; or "".
        number: Place of the dataset among those that are read, for the scan order.

    Yields:
        Each record with the dead letters of what in it cannot be used; None where
        nothing of it can.

    Raises:
        CollectionError: The dataset lacks a filter's column.
    """
    scanner = dataset.scanner(
        columns=record_columns(dataset.schema, query),
        filter=query.filters.expression(stored_schema(dataset)),
        batch_size=BATCH_ROWS,
        use_threads=False,
    )
    boxes = None if query.filters.geometries is None else query.filters.boxes()
    first = number << RECORD_BITS
    for batch in scanner.to_batches():
        ordinals = np.arange(first, first + batch.num_rows)
        first += batch.num_rows
        if boxes is not None:
            kept = np.flatnonzero(meets_any(bbox_array(batch.column("bbox")), boxes))
            batch, ordinals = batch.take(pa.array(kept)), ordinals[kept]  # noqa: PLW2901 -- the rows
        for _, record, letters in make_records(batch, ordinals, query, data_source):
            yield record, letters


def record_columns(found: pa.Schema, query: CollectionQuery) -> list[str]:
    """Gives the columns of a collection that its records are made of."""
    names = set(found.names)
    bands = [band for b in query.bands for band in metadata_names(b, query.data_source, names)]
    wanted = [
        *schema.REQUIRED_COLUMNS, *CRS_COLUMNS, "collection",
        *(band + METADATA_SUFFIX for band in bands), *(band + TIFF_SUFFIX for band in bands),
    ]  # fmt: skip
    return [name for name in dict.fromkeys(wanted) if name in names and name != "geometry"]


def available_bands(names: Sequence[str]) -> list[str]:
    """Gives a collection's bands: every column that ends in ``_metadata``."""
    return [name[: -len(METADATA_SUFFIX)] for name in names if name.endswith(METADATA_SUFFIX)]


def check_schema(found: pa.Schema, name: str) -> None:
    """Refuses what is no collection.

    Args:
        found: Its schema.
        name: What to call it in messages.

    Raises:
        CollectionError: A required column is not there, or of the wrong kind.
    """
    missing = [column for column in schema.REQUIRED_COLUMNS if column not in found.names]
    if missing:
        msg = f"{name}: Parquet is missing required columns: {missing}; it has {found.names}"
        raise CollectionError(msg)
    if not pa.types.is_struct(found.field("bbox").type):
        msg = (
            f"{name}: 'bbox' must be a struct of xmin, ymin, xmax, ymax, "
            f"got {found.field('bbox').type}"
        )
        raise CollectionError(msg)
    check_datetime(found, name)


def check_datetime(found: pa.Schema, name: str) -> None:
    """Refuses a ``datetime`` that is no timestamp in UTC.

    Raises:
        CollectionError: It is something else.
    """
    when = found.field("datetime").type
    if not pa.types.is_timestamp(when) or when.tz not in _UTC:
        msg = f"{name}: 'datetime' is {when}, expected a timestamp in UTC"
        raise CollectionError(msg)


def check_bands(found: pa.Schema, bands: Sequence[str], name: str) -> None:
    """Refuses bands that no record can have.

    Raises:
        BandNotFoundError: A band has no ``_metadata`` column.
    """
    unknown = [band for band in bands if band + METADATA_SUFFIX not in found.names]
    if unknown:
        msg = (
            f"{name}: Band(s) not found: {unknown}. "
            f"Available bands: {available_bands(found.names)}"
        )
        raise BandNotFoundError(msg)


def metadata_names(band: str, data_source: str | None, names: set[str]) -> list[str]:
    """Gives the names under which a collection may hold a band's metadata."""
    keys = asset_keys(band, data_source or "")
    return [key for key in keys if key + METADATA_SUFFIX in names] or [band]
