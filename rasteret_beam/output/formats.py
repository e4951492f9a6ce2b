"""Tables -> bytes of a Parquet, GeoParquet or CSV file."""

from __future__ import annotations

import json
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from rasteret_beam import bigquery, schema
from rasteret_beam.arrow_types import holds_empty_struct
from rasteret_beam.errors import OptionError
from rasteret_beam.grid import crs
from rasteret_beam.json_values import json_texts
from rasteret_beam.output.arranging import GROUP_ROWS
from rasteret_beam.output.parts import LAT, LON

FORMATS = ("parquet", "geoparquet", "csv", "bigquery")
"""``bigquery`` is Parquet whose types and names BigQuery loads, with a GEOGRAPHY column."""

PLACED_FORMATS = ("geoparquet", "bigquery")
"""Formats whose rows have a place on Earth."""

SUFFIXES = (".parquet", ".csv")
"""Endings of the files of all formats."""

LEAST_GROUP_ROWS, MOST_GROUP_ROWS = GROUP_ROWS // 2, GROUP_ROWS * 3 // 2
"""Row groups are within these, but for a file's last."""

_GEOMETRY, _GEOMETRY_BBOX = "geometry", "geometry_bbox"
_ADDED = {
    "geoparquet": (_GEOMETRY, _GEOMETRY_BBOX), "bigquery": (bigquery.GEOGRAPHY_COLUMN,),
}  # fmt: skip
_COMPRESSION_LEVEL = 3
_POLE = 90
_DELTAS = {"point_index": "DELTA_BINARY_PACKED"}
_LITTLE_ENDIAN, _POINT = 1, 1
_WKB_POINT = np.dtype([("order", "u1"), ("kind", "<u4"), ("x", "<f8"), ("y", "<f8")])


def check_format(output_format: str) -> None:
    """Refuses what is no format.

    Raises:
        OptionError: The format is not known.
    """
    if output_format not in FORMATS:
        msg = f"output_format must be one of {list(FORMATS)}, got {output_format!r}"
        raise OptionError(msg)


def added_names(output_format: str) -> tuple[str, ...]:
    """Gives the names of columns that a format adds, in lower case."""
    return _ADDED.get(output_format, ())


def suffix_of(output_format: str) -> str:
    """Gives the ending of a format's files."""
    return ".csv" if output_format == "csv" else ".parquet"


class TableWriter:
    """Writes tables of one schema to one open file, row group by row group.

    Attributes:
        n_rows: Rows written so far.
        bounds: (xmin, ymin, xmax, ymax) of all points that are going to be written, in
            degrees; None where none has a place on Earth. To be set before the first table.
    """

    def __init__(self, file: BinaryIO, output_format: str) -> None:
        """Starts a file; the schema is that of the first table.

        Args:
            file: Open for writing bytes; the caller closes it.
            output_format: One of ``FORMATS``.
        """
        self._file, self._format = file, output_format
        self._held: list[pa.Table] = []
        self._writer: Any = None
        self.bounds: tuple[float, float, float, float] | None = None
        self.n_rows = 0

    def write(self, table: pa.Table) -> None:
        """Takes a table; rows reach the file when a row group is full."""
        if self._format == "geoparquet":
            table = _with_geometry(table)
        table = _by_rows(schema.plain(table))
        if self._format in ("parquet", "geoparquet"):
            table = _storable(table)
        if self._format == "bigquery":
            table = bigquery.loadable(_with_geography(table))
        if self._format == "csv":
            table = _printable(table)
        if self._writer is None:
            self._writer = self._open(table.schema)
        self._held.append(table)
        n_held = sum(one.num_rows for one in self._held)
        if len(self._held) == 1 and LEAST_GROUP_ROWS <= n_held <= MOST_GROUP_ROWS:
            self._flush(n_held)
        while n_held >= MOST_GROUP_ROWS:
            # What is left is a group of its own, if nothing follows.
            self._flush(GROUP_ROWS)
            n_held -= GROUP_ROWS

    def close(self) -> None:
        """Writes what is left, and the file's end; there was one table at least."""
        n_held = sum(one.num_rows for one in self._held)
        if n_held or not self.n_rows:
            self._flush(n_held)
        self._writer.close()

    def _flush(self, n_rows: int) -> None:
        held = self._held[0] if len(self._held) == 1 else pa.concat_tables(self._held)
        rest = held.slice(n_rows)
        self._held = [rest] if rest.num_rows else []
        self._writer.write_table(held.slice(0, n_rows))
        self.n_rows += n_rows

    def _open(self, found: pa.Schema) -> Any:  # noqa: ANN401 -- two kinds of writer
        if self._format == "csv":
            return pacsv.CSVWriter(self._file, found)
        if self._format == "geoparquet":
            found = found.with_metadata({"geo": _geo_metadata(self.bounds)})
        return pq.ParquetWriter(
            self._file, found, compression="zstd", compression_level=_COMPRESSION_LEVEL,
            use_dictionary=_repetitive(found),
            # BigQuery does not say that it reads this encoding.
            column_encoding=None if self._format == "bigquery" else _DELTAS,
        )  # fmt: skip


def _by_rows(table: pa.Table) -> pa.Table:
    """Puts words of the user's dictionaries in the order of the rows, not of who brought them."""
    for at, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            words = table.column(at).cast(field.type.value_type).combine_chunks()
            again = words.dictionary_encode()
            column = pa.DictionaryArray.from_arrays(
                again.indices.cast(field.type.index_type), again.dictionary,
                ordered=field.type.ordered,
            )  # fmt: skip
            table = table.set_column(at, field, column)
    return table


def _with_geometry(table: pa.Table) -> pa.Table:
    """Turns longitude and latitude into WKB points, with their bbox.

    A point has no geometry where its coordinates are each raster's own, or of another
    celestial body: CRS84 has no place for it.
    """
    lon, lat = (table[name].to_numpy() for name in (LON, LAT))
    present = ~np.isnan(lon)
    sides = [pa.array(side) for side in (lon, lat, lon, lat)]
    bbox = pa.StructArray.from_arrays(
        sides, [field.name for field in schema.BBOX], mask=pa.array(~present),
    )
    table = table.drop_columns([LON, LAT])
    table = table.append_column(_GEOMETRY, _wkb_points(lon, lat, present))
    return table.append_column(_GEOMETRY_BBOX, bbox)


def _with_geography(table: pa.Table) -> pa.Table:
    """Turns longitude and latitude into WKB points, null where there is no place on Earth.

    One latitude that is none would make BigQuery refuse all rows.
    """
    lon, lat = (table[name].to_numpy() for name in (LON, LAT))
    points = _wkb_points(crs.wrapped(lon), lat, np.abs(lat) <= _POLE)
    return table.drop_columns([LON, LAT]).append_column(bigquery.GEOGRAPHY_COLUMN, points)


def _wkb_points(lon: np.ndarray, lat: np.ndarray, present: np.ndarray) -> pa.Array:
    """Points as WKB (OGC 06-103r4, 8.2): 21 bytes each, null where not present."""
    n_points = int(present.sum())
    wkb = np.empty(n_points, _WKB_POINT)
    wkb["order"], wkb["kind"] = _LITTLE_ENDIAN, _POINT
    wkb["x"], wkb["y"] = lon[present], lat[present]
    ends = np.cumsum(np.where(present, _WKB_POINT.itemsize, 0), dtype=np.int64)
    offsets = np.concatenate([[0], ends]).astype(np.int32)
    mask = pa.array(present).buffers()[1]
    return pa.Array.from_buffers(
        pa.binary(), len(present), [mask, pa.py_buffer(offsets), pa.py_buffer(wkb.tobytes())],
    )


def _repetitive(found: pa.Schema) -> list[str]:
    """Columns worth a dictionary: to look for repetitions in coordinates is half the work."""
    unique = (*schema.POINT_COLUMNS, _GEOMETRY, bigquery.GEOGRAPHY_COLUMN)
    return [
        field.name for field in found
        if field.name not in unique and not pa.types.is_nested(field.type)
    ]  # fmt: skip


def _geo_metadata(bounds: tuple[float, float, float, float] | None) -> str:
    """GeoParquet 1.1 file metadata."""
    sides = [field.name for field in schema.BBOX]
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": ["Point"],
        "crs": crs.to_projjson("OGC:CRS84"),
        "covering": {"bbox": {side: [_GEOMETRY_BBOX, side] for side in sides}},
    }
    if bounds is not None:
        column["bbox"] = list(bounds)
    geo = {"version": "1.1.0", "primary_column": _GEOMETRY, "columns": {_GEOMETRY: column}}
    return json.dumps(geo)


def _storable(table: pa.Table) -> pa.Table:
    """The table as Parquet can hold it: objects without members as JSON, which is text."""
    for at, field in enumerate(table.schema):
        if holds_empty_struct(field.type):
            column = pa.array(json_texts(table.column(at)), pa.string())
            table = table.set_column(at, field.name, column)
    return table


def _printable(table: pa.Table) -> pa.Table:
    """The table as CSV can hold it: what Arrow does not write of itself, as text."""
    for at, field in enumerate(table.schema):
        column = table[field.name]
        if pa.types.is_dictionary(field.type):
            column = column.cast(field.type.value_type)
        if not any(is_kind(column.type) for is_kind in _WRITTEN):
            column = pa.array(json_texts(column, bytes.hex), pa.string())
        table = table.set_column(at, field.name, column)
    return table


_WRITTEN = (
    pa.types.is_null, pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating,
    pa.types.is_decimal, pa.types.is_string, pa.types.is_large_string, pa.types.is_date,
    pa.types.is_time, pa.types.is_timestamp,
)  # fmt: skip
"""Types that Arrow writes as CSV."""
