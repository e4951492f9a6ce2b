"""Columns of a table -> coordinates: numbers, text, WKB or GeoArrow."""

from __future__ import annotations

import contextlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely

from rasteret_beam.errors import PointsError

_POINT_TYPE = 0


def from_columns(
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


def from_geometry(
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
