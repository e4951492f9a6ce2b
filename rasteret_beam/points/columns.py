"""Where in a table the points are: coordinate columns or geometries, and their CRS."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import logging
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from rasteret_beam.errors import CrsError, PointsError
from rasteret_beam.grid import crs
from rasteret_beam.schema import POINT_COLUMNS
from rasteret_beam.storage import redact

if TYPE_CHECKING:
    from collections.abc import Iterator

NO_CRS = "none"
"""Spelling of "the coordinates as they are": no transformation at all."""

COORDINATE_PAIRS = (("x", "y"), ("lon", "lat"), ("longitude", "latitude"), ("lng", "lat"))
"""Columns that are taken for coordinates where none are named, in this order."""
EXTENSION_NAME = b"ARROW:extension:name"
EXTENSION_METADATA = b"ARROW:extension:metadata"
_LOGGER = logging.getLogger("rasteret_beam.points")


@dataclasses.dataclass(frozen=True, slots=True)
class PointColumns:
    """Where in a table the points are.

    Attributes:
        crs: CRS of the coordinates, an EPSG code, text or PROJJSON; None takes it from the
            file's metadata, which plain columns do not have; ``none`` takes the coordinates as
            they are, for records' bboxes (in degrees) and for pixels alike: projected rasters
            meet no point.
        x_column: Column of x or longitude; by default the first of x/y, lon/lat,
            longitude/latitude, lng/lat that is there.
        y_column: Column of y or latitude; given together with ``x_column``.
        geometry_column: Column of WKB or GeoArrow points; by default the one that the
            file's metadata names.
    """

    crs: str | int | None = None
    x_column: str | None = None
    y_column: str | None = None
    geometry_column: str | None = None

    def __post_init__(self) -> None:
        """Checks that the choices fit together.

        Raises:
            PointsError: Only one of x and y, or both ways at once.
            CrsError: The CRS is none.
        """
        if (self.x_column is None) != (self.y_column is None):
            msg = f"x_column={self.x_column!r} and y_column={self.y_column!r}: give both or none"
            raise PointsError(msg)
        if self.x_column is not None and self.geometry_column is not None:
            msg = (
                f"geometry_column={self.geometry_column!r} and x_column={self.x_column!r}: "
                "give one or the other"
            )
            raise PointsError(msg)
        if self.crs is not None and not isinstance(self.crs, str):
            object.__setattr__(self, "crs", crs.normalise_any(self.crs))
        if self.crs is not None and str(self.crs).lower() != NO_CRS:
            crs.normalise(str(self.crs))


def locate(schema: pa.Schema, columns: PointColumns, source: str) -> PointColumns:
    """Finds where in a table the points are, and their CRS.

    Args:
        schema: The table's columns, with the metadata that they have in their file.
        columns: What is told of it.
        source: Name of the input, for messages.

    Returns:
        All of it told: the column of geometries, or those of both coordinates; and the CRS,
        or ``NO_CRS``.

    Raises:
        PointsError: No columns that hold points, no CRS, or a reserved column name.
    """
    try:
        geometry = _geometry_field(schema, columns)
        _check_free(schema, geometry)
        if geometry is not None:
            found = None if columns.crs is not None else _metadata_crs(schema, geometry)
            place = PointColumns(_points_crs(columns, found), geometry_column=geometry)
        else:
            x, y = coordinate_columns(schema, columns)
            place = PointColumns(_points_crs(columns, None), x, y)
    except PointsError as error:
        msg = f"{redact(source)}: {error}"
        raise PointsError(msg) from error
    for choice in _choices(schema, columns, place):
        _warn_once(f"{redact(source)}: {choice}")
    return place


def _choices(schema: pa.Schema, told: PointColumns, place: PointColumns) -> Iterator[str]:
    """What was taken where a table says two things."""
    if place.geometry_column is not None:
        declared = None
        with contextlib.suppress(PointsError, CrsError):
            declared = _metadata_crs(schema, place.geometry_column)
        if declared not in (None, place.crs):
            yield f"read in points_crs={place.crs}, although the file says {declared}"
    elif told.x_column is None:
        pairs = [pair for pair in COORDINATE_PAIRS if set(pair) <= set(schema.names)]
        if len(pairs) > 1:
            others = " and ".join(", ".join(pair) for pair in pairs[1:])
            yield (
                f"the points are taken from columns {', '.join(pairs[0])}, although there are "
                f"{others} too; x_column and y_column choose"
            )


@functools.lru_cache(maxsize=4096)
def _warn_once(text: str) -> None:
    """Once a process: a table's batches all say the same."""
    _LOGGER.warning(text)


def _geometry_field(schema: pa.Schema, columns: PointColumns) -> str | None:
    """The column of geometries, in rasteret's order of preference."""
    if columns.geometry_column is not None:
        if columns.geometry_column not in schema.names:
            msg = (
                f"geometry_column={columns.geometry_column!r} not found in table columns. "
                f"Available columns: {schema.names}"
            )
            raise PointsError(msg)
        return columns.geometry_column
    if columns.x_column is not None:
        return None
    primary = _geo_metadata(schema).get("primary_column")
    if primary in schema.names:
        return str(primary)
    tagged = [field.name for field in schema if _extension(field).startswith("geoarrow.")]
    if len(tagged) > 1:
        msg = f"Multiple GeoArrow geometry columns found: {tagged}; name one as geometry_column"
        raise PointsError(msg)
    return tagged[0] if tagged else None


def _check_free(schema: pa.Schema, geometry: str | None) -> None:
    reserved = [name for name in POINT_COLUMNS if name in schema.names and name != geometry]
    if reserved:
        msg = (
            f"Input metadata columns collide with Rasteret output columns: {reserved}; "
            "rename them in the input"
        )
        raise PointsError(msg)


def coordinate_columns(schema: pa.Schema, columns: PointColumns) -> tuple[str, str]:
    """Gives the names of the columns of x and y.

    Raises:
        PointsError: There are none.
    """
    if columns.x_column is not None and columns.y_column is not None:
        pair = (columns.x_column, columns.y_column)
        missing = [name for name in pair if name not in schema.names]
        if missing:
            msg = (
                f"Missing point coordinate columns: {missing}. "
                f"Available columns: {schema.names}"
            )
            raise PointsError(msg)
        return pair
    for pair in COORDINATE_PAIRS:
        if set(pair) <= set(schema.names):
            return pair
    msg = (
        "Unsupported table input for point sampling. Provide geometry_column (WKB/GeoArrow point "
        f"column) or x_column/y_column. Available columns: {schema.names}"
    )
    raise PointsError(msg)


def _extension(field: pa.Field) -> str:
    if isinstance(field.type, pa.BaseExtensionType):
        return str(field.type.extension_name)
    return (field.metadata or {}).get(EXTENSION_NAME, b"").decode()


def _geo_metadata(schema: pa.Schema) -> dict[str, Any]:
    """GeoParquet's ``geo`` key, or nothing."""
    try:
        found = json.loads((schema.metadata or {}).get(b"geo", b"{}"))
    except ValueError as error:
        msg = f"The file's 'geo' metadata is no JSON: {error}"
        raise PointsError(msg) from error
    return found if isinstance(found, dict) else {}


def _metadata_crs(schema: pa.Schema, geometry: str) -> str | None:
    """The CRS that metadata gives a geometry column, normalised; None where none does."""
    column = _geo_metadata(schema).get("columns", {}).get(geometry)
    if isinstance(column, dict):
        _check_edges(geometry, column)
        # GeoParquet 1.1: no "crs" means OGC:CRS84, null means unknown.
        found = column.get("crs", crs.LONLAT)
        return None if found is None else crs.normalise_any(found)
    field = schema.field(geometry)
    raw = (field.metadata or {}).get(EXTENSION_METADATA)
    if raw is None and isinstance(field.type, pa.ExtensionType):
        raw = field.type.__arrow_ext_serialize__()
    try:
        found = json.loads(raw or b"{}")
    except ValueError:
        found = {}
    if not isinstance(found, dict) or found.get("crs") is None:
        return None
    _check_edges(geometry, found)
    return crs.normalise_any(found["crs"])


def _check_edges(geometry: str, metadata: dict[str, Any]) -> None:
    """A CRS is taken from the metadata of planar geometries only, as in rasteret."""
    edges = metadata.get("edges") or "planar"
    if edges != "planar":
        msg = f"Geometry column {geometry!r} has {edges} edges, not planar: give points_crs"
        raise PointsError(msg)


def _points_crs(columns: PointColumns, found: str | None) -> str:
    if columns.crs is not None:
        told = str(columns.crs)
        return NO_CRS if told.lower() == NO_CRS else crs.normalise(told)
    if found is None:
        msg = (
            "the points' CRS is not in the file's metadata: give it as points_crs, like "
            "EPSG:4326 for longitude and latitude"
        )
        raise PointsError(msg)
    return found
