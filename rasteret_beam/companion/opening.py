"""Parquet or Arrow -> a view whose columns have been checked."""

from __future__ import annotations

import pathlib
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.dataset as ds

from rasteret_beam.arrow_types import fields_without_views, rows_without_views
from rasteret_beam.collection.fragments import find_files, open_fragments, source_of
from rasteret_beam.collection.records import check_datetime, check_schema
from rasteret_beam.companion.views import View
from rasteret_beam.errors import CollectionError
from rasteret_beam.iso_times import read_time
from rasteret_beam.schema import METADATA_SUFFIX, REQUIRED_COLUMNS
from rasteret_beam.storage import redact
from rasteret_beam.storage.addresses import plain_path

if TYPE_CHECKING:
    import datetime as dt

    from rasteret_beam.storage import Store

_LARGE_BYTES = 2 * 1024**3
_NEEDED_FIELDS = (
    "tile_offsets", "tile_byte_counts", "tile_width", "tile_height", "dtype", "transform",
)  # fmt: skip


class Opened(NamedTuple):
    """A checked view, and what its schema says of it.

    Attributes:
        view: The rows.
        name: Name of the collection.
        description: Text on it, or "".
        data_source: Whose band names it uses, or "".
        dates: First and last date, or None.
    """

    view: View
    name: str
    description: str
    data_source: str
    dates: tuple[dt.datetime, dt.datetime] | None


def open_parquet(uri: str, store: Store) -> Opened:
    """Opens a Parquet file or a folder of them; reads the listing and one footer.

    Raises:
        CollectionError: Not there, not Parquet, or no collection.
    """
    dataset = open_fragments(store, find_files(store, uri))
    check_schema(dataset.schema, redact(uri))
    told = _told(dataset.schema)
    return Opened(
        View(dataset, redact(uri)),
        told.get("name") or _stem(uri),
        told.get("description", ""),
        told.get("data_source", ""),
        _dates(told.get("date_range", "")),
    )


def open_arrow(data: Any, *, require_band_metadata: bool) -> Opened:  # noqa: ANN401 -- any Arrow
    """Opens Arrow data; a Dataset stays where it is, the rest is held in memory.

    Raises:
        TypeError: It is no Arrow data.
        CollectionError: It is no collection.
    """
    rows = _dataset(data) if isinstance(data, ds.Dataset) else rows_without_views(_as_table(data))
    schema = rows.schema
    missing = [name for name in REQUIRED_COLUMNS if name not in schema.names]
    if missing:
        msg = f"Table is missing required columns: {missing}; it has {schema.names}"
        raise CollectionError(msg)
    check_datetime(schema, "table")
    if require_band_metadata:
        _check_metadata(schema)
    if isinstance(rows, pa.Table) and rows.nbytes >= _LARGE_BYTES:
        warnings.warn(
            f"A table of {rows.nbytes / 2**30:.1f} GiB is held in memory; a pyarrow Dataset, "
            "or Parquet files, would be read as they are needed",
            UserWarning,
            stacklevel=3,
        )
    view = View(rows, "table")
    return Opened(view, "", "", source_of(view.dataset()) or "", None)


def _dataset(data: ds.Dataset) -> ds.Dataset:
    """The same files, read without views; of other datasets Arrow changes no type."""
    plain = pa.schema(fields_without_views(data.schema), metadata=data.schema.metadata)
    if plain.equals(data.schema) or not isinstance(data, ds.FileSystemDataset):
        return data
    try:
        files = list(data.get_fragments())
    except ValueError:  # it has a filter of its own
        return data
    return ds.FileSystemDataset(files, plain, data.format, data.filesystem)


def _as_table(data: Any) -> pa.Table:  # noqa: ANN401 -- any Arrow
    if isinstance(data, pa.Table):
        return data
    if isinstance(data, pa.RecordBatch):
        return pa.Table.from_batches([data])
    if hasattr(data, "__arrow_c_stream__"):
        return pa.RecordBatchReader.from_stream(data).read_all()
    msg = (
        f"{type(data).__name__} is no Arrow data; expected a Table, RecordBatch, "
        "RecordBatchReader, Dataset or an object with __arrow_c_stream__"
    )
    raise TypeError(msg)


def _check_metadata(schema: pa.Schema) -> None:
    names = [name for name in schema.names if name.endswith(METADATA_SUFFIX)]
    if not names:
        msg = (
            "No '*_metadata' columns found: no pixel can be read without; build a collection, or "
            "pass require_band_metadata=False to use the records alone"
        )
        raise CollectionError(msg)
    for name in names:
        kind = schema.field(name).type
        if not pa.types.is_struct(kind):
            msg = f"Column {name!r} must be a struct of header fields, got {kind}"
            raise CollectionError(msg)
        missing = [field for field in _NEEDED_FIELDS if kind.get_field_index(field) < 0]
        if missing:
            msg = f"Column {name!r} is missing required metadata fields: {missing}"
            raise CollectionError(msg)


def _told(schema: pa.Schema) -> dict[str, str]:
    """Schema-level metadata as text."""
    raw = schema.metadata or {}
    return {key.decode(errors="replace"): v.decode(errors="replace") for key, v in raw.items()}


def _dates(text: str) -> tuple[dt.datetime, dt.datetime] | None:
    start, comma, end = text.partition(",")
    if not comma:
        return None
    try:
        return read_time(start), read_time(end)
    except ValueError as error:
        msg = f"The file's date_range {text!r} is no pair of ISO dates"
        raise CollectionError(msg) from error


def _stem(uri: str) -> str:
    return pathlib.PurePosixPath(plain_path(uri).rstrip("/")).stem
