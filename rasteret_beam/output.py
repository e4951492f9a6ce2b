"""Sample rows -> bytes of a Parquet, GeoParquet or CSV file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import shapely

from rasteret_beam import schema
from rasteret_beam.errors import OptionError
from rasteret_beam.grid import crs

if TYPE_CHECKING:
    from rasteret_beam.elements import SampleBatch

FORMATS = ("parquet", "geoparquet", "csv")
ROW_GROUP_ROWS = 100_000
"""Rows of a Parquet row group; GeoParquet's guide asks for 50 000 to 150 000."""

_GEOMETRY, _GEOMETRY_BBOX = "geometry", "geometry_bbox"
_COMPRESSION_LEVEL = 3


def suffix_of(output_format: str) -> str:
    """Gives the ending of a format's files.

    Raises:
        OptionError: The format is not known.
    """
    if output_format not in FORMATS:
        msg = f"output_format must be one of {list(FORMATS)}, got {output_format!r}"
        raise OptionError(msg)
    return ".csv" if output_format == "csv" else ".parquet"


class SampleWriter:
    """Writes batches of samples to one open file, row group by row group.

    Attributes:
        n_rows: Rows written so far.
    """

    def __init__(self, file: BinaryIO, output_format: str) -> None:
        """Starts a file; the schema is that of the first batch.

        Args:
            file: Open for writing bytes; the caller closes it.
            output_format: One of ``FORMATS``.
        """
        self._file, self._format = file, output_format
        self._held: list[pa.RecordBatch] = []
        self._n_held, self.n_rows = 0, 0
        self._writer: Any = None

    def write(self, batch: SampleBatch) -> None:
        """Takes a batch; rows reach the file when a row group is full."""
        samples = batch.samples
        if self._format == "geoparquet":
            samples = self._with_geometry(samples, batch.crs)
        self._held.append(samples)
        self._n_held += batch.samples.num_rows
        if self._n_held >= ROW_GROUP_ROWS:
            self._flush()

    def close(self) -> None:
        """Writes what is left, and the file's end."""
        if self._held or self._writer is None:
            self._flush()
        if self._writer is not None:
            self._writer.close()

    def _flush(self) -> None:
        if not self._held:
            return
        table = schema.plain(_as_table(self._held))
        self._held, self._n_held = [], 0
        self.n_rows += table.num_rows
        if self._format == "csv":
            table = _printable(table)
        if self._writer is None:
            self._writer = self._open(table.schema)
        table = table.cast(self._writer_schema)
        for start in range(0, max(table.num_rows, 1), ROW_GROUP_ROWS):
            self._writer.write_table(table.slice(start, ROW_GROUP_ROWS))

    def _open(self, found: pa.Schema) -> Any:  # noqa: ANN401 -- two kinds of writer
        if self._format == "geoparquet":
            found = found.with_metadata({"geo": _geo_metadata()})
        self._writer_schema = found
        if self._format == "csv":
            return pacsv.CSVWriter(self._file, found)
        return pq.ParquetWriter(
            self._file, found, compression="zstd", compression_level=_COMPRESSION_LEVEL,
            use_dictionary=_repetitive(found),
            column_encoding={"point_index": "DELTA_BINARY_PACKED"},
        )  # fmt: skip

    @staticmethod
    def _with_geometry(samples: pa.RecordBatch, source: str | None) -> pa.RecordBatch:
        """Adds the points as WKB in longitude and latitude, with their bbox.

        A point has no geometry where its coordinates are each raster's own, or of
        another celestial body: CRS84 has no place for it.
        """
        names = samples.schema.names
        taken = [name for name in (_GEOMETRY, _GEOMETRY_BBOX) if name in names]
        if taken:
            msg = f"Columns {taken} have the names of GeoParquet's; rename them in the input"
            raise OptionError(msg)
        x, y = (samples.column(names.index(n)).to_numpy() for n in ("point_x", "point_y"))
        lon, lat = np.full(len(x), np.nan), np.full(len(x), np.nan)
        if source is not None and crs.lonlat_of(source) == crs.LONLAT:
            lon, lat = crs.transform(source, crs.LONLAT, x, y)
        present = np.isfinite(lon) & np.isfinite(lat)
        lon, lat = np.where(present, lon, np.nan), np.where(present, lat, np.nan)
        wkb = pa.array(shapely.to_wkb(shapely.points(lon, lat)), pa.binary(), mask=~present)
        sides = [pa.array(v) for v in (lon, lat, lon, lat)]
        bbox = pa.StructArray.from_arrays(
            sides, [field.name for field in schema.BBOX], mask=pa.array(~present),
        )
        added = samples.append_column(_GEOMETRY, wkb)
        return added.append_column(_GEOMETRY_BBOX, bbox)


def _repetitive(found: pa.Schema) -> list[str]:
    """Columns worth a dictionary: to look for repetitions in coordinates is half the work."""
    unique = (*schema.POINT_COLUMNS, _GEOMETRY)
    return [
        field.name for field in found
        if field.name not in unique and not pa.types.is_nested(field.type)
    ]  # fmt: skip


def _geo_metadata() -> str:
    """GeoParquet 1.1 file metadata."""
    sides = [field.name for field in schema.BBOX]
    column = {
        "encoding": "WKB",
        "geometry_types": ["Point"],
        "crs": crs.to_projjson("OGC:CRS84"),
        "covering": {"bbox": {side: [_GEOMETRY_BBOX, side] for side in sides}},
    }
    geo = {"version": "1.1.0", "primary_column": _GEOMETRY, "columns": {_GEOMETRY: column}}
    return json.dumps(geo)


def _as_table(batches: list[pa.RecordBatch]) -> pa.Table:
    """The batches as one table; a user column may be null in one and typed in another."""
    first = batches[0].schema
    if all(batch.schema.equals(first) for batch in batches):
        return pa.Table.from_batches(batches)
    tables = [pa.Table.from_batches([batch]) for batch in batches]
    return pa.concat_tables(tables, promote_options="permissive")


def _printable(table: pa.Table) -> pa.Table:
    """The table as CSV can hold it: lists and structs as JSON, bytes as hexadecimal."""
    for at, field in enumerate(table.schema):
        if pa.types.is_nested(field.type):
            texts = [None if v is None else json.dumps(v) for v in table[field.name].to_pylist()]
        elif pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):
            texts = [None if v is None else v.hex() for v in table[field.name].to_pylist()]
        elif pa.types.is_dictionary(field.type):
            table = table.set_column(at, field.name, pc.cast(table[field.name], pa.string()))
            continue
        else:
            continue
        table = table.set_column(at, field.name, pa.array(texts, pa.string()))
    return table
