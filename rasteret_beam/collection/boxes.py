"""Bounding boxes of geometries, and which of them overlap."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
import shapely.geometry

from rasteret_beam.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

_BBOX_NUMBERS = 4
_EPSG = 4326
_PAIRS_AT_ONCE = 4_000_000


def geometry_boxes(geometries: Any) -> np.ndarray:  # noqa: ANN401 -- any spelling
    """Gives the bboxes of the geometries that have one.

    Args:
        geometries: WKB, a GeoJSON geometry, a shapely object or a tuple (xmin, ymin,
            xmax, ymax); or several of them, also as an Arrow array of WKB, or a
            GeoDataFrame or GeoSeries, which are taken to longitude and latitude.

    Returns:
        float64, shape (n_boxes, 4).

    Raises:
        OptionError: No geometry, or what is none.
    """
    several = _as_list(geometries)
    if not several:
        msg = "geometries is empty; expected WKB, GeoJSON geometries or shapely objects"
        raise OptionError(msg)
    boxes = np.array([_bounds(geometry) for geometry in several], np.float64)
    return boxes[np.isfinite(boxes).all(axis=1)]


def bbox_array(column: pa.Array) -> np.ndarray:
    """Gives a ``bbox`` column's sides, float64, shape (n_rows, 4); NaN for what is not there."""
    sides = []
    for name in ("xmin", "ymin", "xmax", "ymax"):
        if column.type.get_field_index(name) < 0:
            sides.append(np.full(len(column), np.nan))
            continue
        numbers = pc.cast(pc.struct_field(column, name), pa.float64(), safe=False)
        sides.append(pc.fill_null(numbers, float("nan")).to_numpy(zero_copy_only=False))
    return np.stack(sides, axis=1)


def overlaps_any(bbox: Sequence[float], boxes: np.ndarray) -> bool:
    """Tells whether a bbox overlaps one of many, touching included."""
    xmin, ymin, xmax, ymax = bbox
    x = (boxes[:, 2] >= xmin) & (boxes[:, 0] <= xmax)
    return bool((x & (boxes[:, 3] >= ymin) & (boxes[:, 1] <= ymax)).any())


def box_tree(boxes: np.ndarray) -> shapely.STRtree:
    """Gives a search tree of boxes, float64, shape (n_boxes, 4)."""
    return shapely.STRtree(shapely.box(*boxes.T))


def overlap_mask(bboxes: np.ndarray, tree: shapely.STRtree) -> np.ndarray:
    """Tells for each of many bboxes whether it overlaps a box of a tree, touching included.

    Args:
        bboxes: float64, shape (n_rows, 4); NaN overlaps nothing.
        tree: The boxes.

    Returns:
        bool, shape (n_rows,).
    """
    found = np.zeros(len(bboxes), bool)
    whole = np.flatnonzero(np.isfinite(bboxes).all(axis=1))
    # Every pair that overlaps is listed: as many rows at once as can be, if all do.
    step = max(_PAIRS_AT_ONCE // max(len(tree), 1), 1)
    for start in range(0, len(whole), step):
        rows = whole[start : start + step]
        pairs = tree.query(shapely.box(*bboxes[rows].T))
        found[rows[pairs[0]]] = True
    return found


def meets_any(bboxes: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Tells for each of many bboxes what ``overlaps_any`` tells; True where there is none.

    Args:
        bboxes: float64, shape (n_rows, 4); NaN where a record has no bbox.
        boxes: float64, shape (n_boxes, 4).

    Returns:
        bool, shape (n_rows,).
    """
    there = np.isfinite(bboxes).all(axis=1)
    proper = there & (bboxes[:, :2] <= bboxes[:, 2:]).all(axis=1)
    found = ~there
    if len(boxes):
        found[proper] = overlap_mask(bboxes[proper], box_tree(boxes))
    for row in np.flatnonzero(there & ~proper):
        found[row] = overlaps_any(bboxes[row], boxes)
    return found


def _as_list(geometries: Any) -> list[Any]:  # noqa: ANN401 -- any spelling
    if isinstance(geometries, (pa.Array, pa.ChunkedArray)):
        return [value for value in geometries.to_pylist() if value is not None]
    one = (bytes, bytearray, dict, shapely.Geometry)
    if isinstance(geometries, one) or _is_box(geometries):
        return [geometries]
    if hasattr(geometries, "to_crs") and hasattr(geometries, "geometry"):
        # geopandas' frames and series, which are no dependency.
        series = geometries.geometry
        series = series if series.crs is None else series.to_crs(_EPSG)
        return [value for value in series if value is not None]
    if hasattr(geometries, "columns") or not isinstance(geometries, Iterable):
        msg = (
            f"geometries is of type {type(geometries).__name__}, expected one geometry, "
            "several, or a table's column of them"
        )
        raise OptionError(msg)
    return list(geometries)


def _is_box(value: Any) -> bool:  # noqa: ANN401 -- any spelling
    numbers = (int, float, np.number)
    return (
        isinstance(value, tuple)
        and len(value) == _BBOX_NUMBERS
        and all(isinstance(number, numbers) for number in value)
    )


def _bounds(geometry: Any) -> tuple[float, float, float, float]:  # noqa: ANN401 -- any spelling
    if _is_box(geometry):
        xmin, ymin, xmax, ymax = geometry
        return xmin, ymin, xmax, ymax
    try:
        if isinstance(geometry, (bytes, bytearray)):
            geometry = shapely.from_wkb(bytes(geometry))
        elif isinstance(geometry, dict):
            geometry = shapely.geometry.shape(geometry)
        xmin, ymin, xmax, ymax = geometry.bounds
    except (shapely.errors.ShapelyError, AttributeError, ValueError, KeyError, TypeError) as error:
        msg = f"geometries: {geometry!r:.80} is no WKB, GeoJSON geometry or shapely object"
        raise OptionError(msg) from error
    return xmin, ymin, xmax, ymax
