"""Rows of a table -> points: coordinate columns, WKB or GeoArrow, and their CRS."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely

from rasteret_beam.arrow_types import rows_without_views
from rasteret_beam.elements import DeadLetter, PointBatch, stages
from rasteret_beam.errors import CrsError, InvalidPointError, PointsError
from rasteret_beam.grid import crs
from rasteret_beam.schema import POINT_COLUMNS
from rasteret_beam.storage import redact

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BATCH_ROWS = 65536
"""Rows of a point batch."""

NO_CRS = "none"
"""Spelling of "the coordinates as they are": no transformation at all."""

COORDINATE_PAIRS = (("x", "y"), ("lon", "lat"), ("longitude", "latitude"), ("lng", "lat"))
"""Columns that are taken for coordinates where none are named, in this order."""
EXTENSION_NAME = b"ARROW:extension:name"
EXTENSION_METADATA = b"ARROW:extension:metadata"
_POINT_TYPE = 0
_LOGGER = logging.getLogger(__name__)


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


def to_points(
    rows: pa.RecordBatch,
    columns: PointColumns,
    first_index: int | np.ndarray,
    source: str,
    broken: Mapping[int, str] | None = None,
) -> tuple[PointBatch, list[DeadLetter]]:
    """Reads the points of a table.

    Args:
        rows: The table.
        columns: Where the points are.
        first_index: ``point_index`` of the first row, or of every row.
        source: Name of the input, for messages.
        broken: Rows of which something is known to be wrong, and what.

    Returns:
        The points; and a dead letter for each row that is broken, or without usable
        coordinates: null, NaN, infinite, an empty point, or something else than a point.
        All rows keep their place.

    Raises:
        PointsError: As ``locate``, or the columns hold something else.
    """
    place = locate(rows.schema, columns, source)
    rows = rows_without_views(rows)
    index = first_index
    if isinstance(index, int):
        index = np.arange(index, index + rows.num_rows, dtype=np.int64)
    if place.geometry_column is None:
        x, y, unusable = _from_columns(rows, str(place.x_column), str(place.y_column))
    else:
        x, y, unusable = _from_geometry(rows, place.geometry_column)
        rows = rows.select([name for name in rows.schema.names if name != place.geometry_column])
    points = pa.RecordBatch.from_arrays(
        [pa.array(index, pa.int64()), pa.array(x), pa.array(y), *rows.columns],
        schema=pa.schema(
            [
                ("point_index", pa.int64()), ("point_x", pa.float64()), ("point_y", pa.float64()),
                *(field.with_metadata(None) for field in rows.schema),
            ],
        ),
    )
    reasons = {**unusable, **(broken or {})}
    letters = [dead_letter(source, int(index[row]), reasons[row]) for row in sorted(reasons)]
    return PointBatch(points, None if place.crs == NO_CRS else str(place.crs)), letters


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


def _from_columns(
    rows: pa.RecordBatch, x_column: str, y_column: str,
) -> tuple[np.ndarray, np.ndarray, dict[int, str]]:
    """Both coordinates, and why rows have none: one reason a row, however much is broken."""
    reasons: dict[int, list[str]] = {}
    axes = []
    for name in (x_column, y_column):
        column = rows.column(rows.schema.get_field_index(name))
        axes.append(_numbers(column, name))
        wrong = np.flatnonzero(~np.isfinite(axes[-1]))
        for row, value in zip(wrong, column.take(pa.array(wrong)).to_pylist(), strict=True):
            found = "is empty" if value is None or value == "" else f"holds {value!r}"
            told = f"column {name!r} {found}, expected a number"
            reasons.setdefault(int(row), []).append(told)
    return axes[0], axes[1], {row: "; ".join(told) for row, told in reasons.items()}


def _numbers(column: pa.Array, name: str) -> np.ndarray:
    """float64, NaN where there is no number."""
    try:
        numbers = pc.cast(column, pa.float64(), safe=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            msg = f"Column {name!r} of type {column.type} holds no coordinates"
            raise PointsError(msg) from error
        return _parsed(column.to_pylist())
    return np.asarray(pc.fill_null(numbers, float("nan")).to_numpy(zero_copy_only=False))


def _parsed(texts: list[str | None]) -> np.ndarray:
    values = np.full(len(texts), np.nan)
    for row, text in enumerate(texts):
        with contextlib.suppress(ValueError):
            values[row] = np.nan if text is None else number(text)
    return values


def number(text: str) -> float:
    """Gives the coordinate that a text is; NaN, which is none, of an empty one.

    Raises:
        ValueError: It is no number.
    """
    return float(text) if text else float("nan")


def _from_geometry(
    rows: pa.RecordBatch, name: str,
) -> tuple[np.ndarray, np.ndarray, dict[int, str]]:
    """Both coordinates, and why rows have none."""
    field, column = rows.schema.field(name), rows.column(rows.schema.get_field_index(name))
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    reasons: dict[int, str] = {}
    if pa.types.is_struct(column.type) or pa.types.is_fixed_size_list(column.type):
        x, y = _from_native(column)
    elif pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        x, y, reasons = _from_wkb(column)
    else:
        msg = (
            f"Geometry column {name!r} of type {field.type} holds neither WKB nor GeoArrow points; "
            "write geometries with ST_AsWKB"
        )
        raise PointsError(msg)
    present = np.asarray(column.is_valid())
    for row in map(int, np.flatnonzero(~(np.isfinite(x) & np.isfinite(y)))):
        found = f"a Point at {x[row]}, {y[row]}" if present[row] else "null"
        reasons.setdefault(row, f"geometry is {found}, expected a Point with coordinates")
    return x, y, reasons


def _from_native(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """GeoArrow points: a struct of x, y or pairs, null where there is none."""
    present = np.asarray(column.is_valid())
    if pa.types.is_struct(column.type):
        parts = (pc.struct_field(column, axis) for axis in ("x", "y"))
        x, y = (np.asarray(part.to_numpy(zero_copy_only=False), np.float64) for part in parts)
        return np.where(present, x, np.nan), np.where(present, y, np.nan)
    pairs = np.full((len(column), column.type.list_size), np.nan)
    pairs[present] = pc.list_flatten(column).to_numpy(zero_copy_only=False).reshape(
        -1, column.type.list_size,
    )
    return pairs[:, 0], pairs[:, 1]


def _from_wkb(column: pa.Array) -> tuple[np.ndarray, np.ndarray, dict[int, str]]:
    """Both coordinates, and what rows hold that are no points or empty ones."""
    blobs = np.array(column.to_pylist(), dtype=object)
    shapes = shapely.from_wkb(blobs, on_invalid="ignore")
    is_point = shapely.get_type_id(shapes) == _POINT_TYPE
    empty = is_point & shapely.is_empty(shapes)
    x, y = np.full(len(blobs), np.nan), np.full(len(blobs), np.nan)
    there = is_point & ~empty
    x[there], y[there] = shapely.get_x(shapes[there]), shapely.get_y(shapes[there])
    reasons = {
        int(row): "geometry is an empty Point, expected a Point with coordinates"
        for row in np.flatnonzero(empty)
    }
    wrong = np.flatnonzero(~is_point & np.array([blob is not None for blob in blobs], bool))
    for row in wrong:
        found = f"no valid WKB ({bytes(blobs[row])[:40]!r})"
        if shapes[row] is not None:
            found = f"a {shapes[row].geom_type}"
        reasons[int(row)] = f"geometry is {found}, expected one Point a row"
    return x, y, reasons


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


def dead_letter(source: str, index: int, reason: str) -> DeadLetter:
    """Names a row without usable coordinates."""
    error = InvalidPointError(f"{redact(source)}: point {index}: {reason}")
    element = json.dumps({"source": redact(source), "point_index": index})
    return DeadLetter(element, str(error), "", stages.POINTS, error.code)
