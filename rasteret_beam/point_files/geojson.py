"""GeoJSON -> tables: properties as columns, geometries as WKB."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import shapely
import shapely.geometry

from rasteret_beam.errors import PointsError
from rasteret_beam.grid import crs
from rasteret_beam.points import EXTENSION_METADATA, EXTENSION_NAME
from rasteret_beam.storage import redact
from rasteret_beam.storage.files import arrow_filesystem

if TYPE_CHECKING:
    from rasteret_beam.storage import Store

_GEOMETRY, _ID = "geometry", "id"
_NO_GEOJSON = (ValueError, AttributeError, TypeError, OverflowError, RecursionError)
"""What is raised where the text is none, or a member is of another kind than it should be."""


def read_geojson(store: Store, uri: str) -> pa.Table:
    """Reads features as a table: properties, and the geometry as WKB in a column of its own.

    The features' ids are a column too, where no property is named so.

    RFC 7946, a FeatureCollection, or one feature a line (RFC 8142 and plain).

    Raises:
        PointsError: The file holds something else.
    """
    filesystem, path = arrow_filesystem(store, uri)
    with filesystem.open_input_stream(path) as stream:
        text = stream.read().decode("utf-8-sig")
    try:
        features, declared = _features(text)
        _check_types(features)
        rows = [dict(feature.get("properties") or {}) for feature in features]
        blobs = [_wkb(feature.get("geometry")) for feature in features]
        names = list(dict.fromkeys(name for row in rows for name in row))
        columns = {name: _column(name, [row.get(name) for row in rows]) for name in names}
        ids = [feature.get(_ID) for feature in features]
        if _ID not in names and ids.count(None) < len(ids):
            columns = {_ID: _id_column(ids), **columns}
    except _NO_GEOJSON as error:
        msg = f"{redact(uri)}: not GeoJSON features: {error}"
        raise PointsError(msg) from error
    if _GEOMETRY in names:
        msg = f"{redact(uri)}: a property is named {_GEOMETRY!r}; rename it"
        raise PointsError(msg)
    metadata = {
        EXTENSION_NAME: b"geoarrow.wkb",
        EXTENSION_METADATA: json.dumps({"crs": declared}).encode(),
    }
    fields = [pa.field(name, column.type) for name, column in columns.items()]
    fields.append(pa.field(_GEOMETRY, pa.binary(), metadata=metadata))
    arrays = [*columns.values(), pa.array(blobs, pa.binary())]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _features(text: str) -> tuple[list[dict[str, Any]], str]:
    try:
        parsed = json.loads(text)
    except ValueError:
        # Not splitlines(): text may hold what Unicode calls a line's end.
        lines = [line.strip().lstrip("\x1e") for line in text.split("\n")]
        return [json.loads(line) for line in lines if line], crs.LONLAT
    if parsed.get("type") == "FeatureCollection":
        if not isinstance(parsed.get("features"), list):
            found = type(parsed["features"]).__name__ if "features" in parsed else "missing"
            msg = f"the FeatureCollection's 'features' is {found}, expected a list"
            raise ValueError(msg)
        # The 2008 draft's "crs" member is still written.
        named = ((parsed.get("crs") or {}).get("properties") or {}).get("name")
        return parsed["features"], crs.normalise(named) if named else crs.LONLAT
    if parsed.get("type") == "Feature":
        return [parsed], crs.LONLAT
    msg = f"expected a FeatureCollection or features, got type {parsed.get('type')!r}"
    raise ValueError(msg)


def _check_types(features: list[dict[str, Any]]) -> None:
    """Refuses what is told to be something else: it would be a feature without a geometry."""
    for number, feature in enumerate(features):
        kind = feature.get("type", "Feature")
        if kind != "Feature":
            msg = f"number {number} is of type {kind!r}, expected a Feature in each place or line"
            raise ValueError(msg)


def _column(name: str, values: list[Any]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        msg = f"property {name!r} has values that are of no one type: {error}"
        raise ValueError(msg) from error


def _id_column(ids: list[Any]) -> pa.Array:
    """Ids are texts or numbers; where they are both, texts."""
    with contextlib.suppress(pa.ArrowException, TypeError, ValueError, OverflowError):
        return pa.array(ids)
    return pa.array([v if v is None or isinstance(v, str) else json.dumps(v) for v in ids])


def _wkb(geometry: dict[str, Any] | None) -> bytes | None:
    """WKB of a point; of anything else bytes that are found to be no point later."""
    if geometry is None:
        return None
    if geometry.get("type") == "Point":
        try:
            x, y = (float(v) for v in geometry["coordinates"][:2])
        except (TypeError, ValueError, KeyError, OverflowError):
            return b"coordinates that are no numbers"
        return bytes(shapely.to_wkb(shapely.Point(x, y)))
    try:
        return bytes(shapely.to_wkb(shapely.geometry.shape(geometry)))
    except (shapely.errors.ShapelyError, *_NO_GEOJSON, LookupError):
        return f"a {geometry.get('type')}".encode(errors="replace")
