"""Footprints that say they are WKB in longitude and latitude."""

from __future__ import annotations

import pyarrow as pa

from rasteret_beam.indexing.parts import geoarrow_metadata

_EXTENSION = b"ARROW:extension:name"


def with_geoarrow(schema: pa.Schema) -> pa.Schema:
    """Gives a schema whose ``geometry`` column carries GeoArrow's field metadata.

    ``crs`` and ``proj:epsg`` are the raster's; footprints are always in CRS84.
    """
    at = schema.get_field_index("geometry")
    if at < 0:
        return schema
    field = schema.field(at)
    is_wkb = pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type)
    told = field.metadata or {}
    if not is_wkb or told.get(_EXTENSION, b"").startswith(b"geoarrow."):
        return schema
    return schema.set(at, field.with_metadata({**told, **geoarrow_metadata()}))


def labelled(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Gives the same columns under a schema that differs in metadata only."""
    return pa.RecordBatch.from_arrays(batch.columns, schema=schema)
