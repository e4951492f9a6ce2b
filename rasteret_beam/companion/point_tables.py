"""What a caller has as points -> a table, and where in it the points are."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import shapely
import shapely.geometry

from rasteret_beam.errors import PointsError
from rasteret_beam.grid import crs
from rasteret_beam.points import NO_CRS, PointColumns

_GEOMETRY = "geometry"


def point_table(
    points: Any,  # noqa: ANN401 -- any spelling
    *,
    geometry_column: str | None,
    x_column: str | None,
    y_column: str | None,
    geometry_crs: Any,  # noqa: ANN401 -- any spelling
) -> tuple[pa.Table, PointColumns]:
    """Gives points as a table.

    Args:
        points: A table of any kind that Arrow can read, or that gives itself as one
            (``to_arrow``: a GeoDataFrame, with its CRS); or shapely Points, WKB or GeoJSON
            geometries, one or several (None is no point), also as an Arrow array of WKB.
        geometry_column: Column of WKB or GeoArrow points.
        x_column: Column of x or longitude.
        y_column: Column of y or latitude.
        geometry_crs: ``auto`` takes it from the table's metadata, and longitude and
            latitude for what is no table; None takes coordinates as each raster's own;
            else an EPSG code, text or PROJJSON.

    Returns:
        One row a point, and where the point is in it.

    Raises:
        TypeError: Neither table nor geometry.
        PointsError: Columns that do not fit together.
        CrsError: The CRS is none.
    """
    geometries = _geometries(points)
    if geometries is not None:
        if (geometry_column, x_column, y_column) != (None, None, None):
            msg = "geometry_column, x_column and y_column name columns, but points are no table"
            raise TypeError(msg)
        table, geometry_column = pa.table({_GEOMETRY: geometries}), _GEOMETRY
    else:
        table = _table(points)
    chosen = _chosen_crs(geometry_crs, is_table=geometries is None)
    return table, PointColumns(chosen, x_column, y_column, geometry_column)


def _chosen_crs(value: Any, *, is_table: bool) -> str | None:  # noqa: ANN401 -- any spelling
    if isinstance(value, str) and value == "auto":
        return None if is_table else crs.LONLAT
    return NO_CRS if value is None else crs.normalise_any(value)


def _table(points: Any) -> pa.Table:  # noqa: ANN401 -- any spelling
    if isinstance(points, ds.Dataset):
        return points.to_table()
    convert = getattr(points, "to_arrow", None)
    try:
        # A GeoDataFrame has pandas' __arrow_c_stream__ too, which knows no geometries.
        table = pa.table(convert() if callable(convert) else points)
    except (TypeError, ValueError) as error:
        msg = (
            f"Points of type {type(points).__name__} are neither a table nor geometries: {error}; "
            "expected Arrow data, columns, a DataFrame or GeoDataFrame, shapely Points, WKB or "
            "GeoJSON geometries"
        )
        raise TypeError(msg) from error
    if not table.num_columns:
        msg = f"Points of type {type(points).__name__} have no columns; expected coordinates"
        raise PointsError(msg)
    return table


def _geometries(points: Any) -> pa.Array | None:  # noqa: ANN401 -- any spelling
    """WKB of what is no table."""
    if isinstance(points, pa.ChunkedArray):
        points = points.combine_chunks()
    if isinstance(points, pa.Array):
        return points
    if _is_geometry(points):
        points = [points]
    if not isinstance(points, list) or not all(p is None or _is_geometry(p) for p in points):
        return None
    return pa.array([None if p is None else _wkb(p) for p in points], pa.binary())


def _is_geometry(value: Any) -> bool:  # noqa: ANN401 -- any spelling
    if isinstance(value, dict):
        return isinstance(value.get("type"), str) and "coordinates" in value
    return isinstance(value, (bytes, bytearray, shapely.Geometry))


def _wkb(geometry: Any) -> bytes:  # noqa: ANN401 -- any spelling
    if isinstance(geometry, (bytes, bytearray)):
        return bytes(geometry)
    found = shapely.geometry.shape(geometry) if isinstance(geometry, dict) else geometry
    return bytes(shapely.to_wkb(found))
