"""Where an image lies on Earth: its outline and bbox in longitude and latitude."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import shapely

from rasteret_beam.grid import crs

_EDGE_POINTS = 64
_OUTLINE_TOLERANCE = 1e-4
_WORLD = (-180.0, -90.0, 180.0, 90.0)


class Extent(NamedTuple):
    """Where an image's pixels lie in its CRS.

    Attributes:
        width: Columns, in pixels.
        height: Rows, in pixels.
        scale: (x, y) size of a pixel, y negative where north is up.
        origin: (x, y) of the outer corner of the first pixel.
    """

    width: int
    height: int
    scale: tuple[float, float]
    origin: tuple[float, float]


class Footprint(NamedTuple):
    """Where an image lies on Earth.

    Attributes:
        bbox: (xmin, ymin, xmax, ymax), longitude and latitude.
        outline: Polygon or MultiPolygon.
    """

    bbox: tuple[float, float, float, float]
    outline: shapely.Geometry


def join(footprints: list[Footprint]) -> Footprint:
    """Gives what holds all of some footprints: those of one item's files."""
    if len(set(footprints)) == 1:
        return footprints[0]
    boxes = np.array([footprint.bbox for footprint in footprints])
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    outline = shapely.union_all([footprint.outline for footprint in footprints])
    return Footprint((*map(float, low), *map(float, high)), outline)  # type: ignore[arg-type]


@functools.lru_cache(maxsize=4096)
def footprint_of(extent: Extent, raster_crs: str | None) -> Footprint:
    """Gives where an image lies in longitude and latitude.

    The bbox holds every pixel: edges are densified, and poles and the antimeridian
    inside the image are seen. Where an edge cannot be transformed (a full-disk image
    whose corners look into space) it is the whole world, and the pixel test decides.

    Args:
        extent: The image.
        raster_crs: Its normalised CRS; None leaves the footprint in the file's units.

    Returns:
        Its bbox and outline.
    """
    fraction = np.linspace(0, 1, _EDGE_POINTS + 1)
    zero, one = np.zeros(_EDGE_POINTS + 1), np.ones(_EDGE_POINTS + 1)
    across = np.concatenate([fraction, one[1:], fraction[::-1][1:], zero[1:]])
    down = np.concatenate([zero, fraction[1:], one[1:], fraction[::-1][1:]])
    x = extent.origin[0] + across * extent.width * extent.scale[0]
    y = extent.origin[1] + down * extent.height * extent.scale[1]
    space = crs.lonlat_of(raster_crs)
    if space is None or space == raster_crs:
        return Footprint(_box(x, y), shapely.Polygon(np.column_stack([x, y])))
    lon, lat = crs.transform(raster_crs, space, x, y)
    if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
        return Footprint(_WORLD, shapely.box(*_WORLD))
    xmin, ymin, xmax, ymax = _box(lon, lat)
    # Between two edge points the edge can bulge by about the square of their distance.
    margin_x, margin_y = (xmax - xmin) / _EDGE_POINTS**2, (ymax - ymin) / _EDGE_POINTS**2
    xmin, ymin, xmax, ymax = xmin - margin_x, ymin - margin_y, xmax + margin_x, ymax + margin_y
    poles = [pole for pole in (-90.0, 90.0) if _holds(extent, raster_crs, space, 0.0, pole)]
    crosses = bool((np.abs(np.diff(lon)) > 180).any())  # noqa: PLR2004 -- degrees
    if not poles and not crosses:
        # A row keeps only the edge points that tell a curve: 4 kB would outweigh its tables.
        tolerance = max(xmax - xmin, ymax - ymin) * _OUTLINE_TOLERANCE
        outline = shapely.Polygon(np.column_stack([lon, lat])).simplify(tolerance)
        return Footprint((xmin, ymin, xmax, ymax), outline)
    ymin, ymax = min([ymin, *poles]), max([ymax, *poles])
    box = (-180.0, max(ymin, -90.0), 180.0, min(ymax, 90.0))
    if poles:
        return Footprint(box, shapely.box(*box))
    east, west = lon[lon >= 0], lon[lon < 0]
    outline = shapely.MultiPolygon(
        [
            shapely.box(float(east.min()), box[1], 180.0, box[3]),
            shapely.box(-180.0, box[1], float(west.max()), box[3]),
        ],
    )
    return Footprint(box, outline)


def _holds(
    extent: Extent, raster_crs: str | None, space: str, lon: float, lat: float,
) -> bool:
    """Whether a place lies in the image, or within a step between two edge points of it."""
    x, y = crs.transform(space, raster_crs, np.array([lon]), np.array([lat]))
    down = (float(y[0]) - extent.origin[1]) / extent.scale[1] / extent.height
    across = (float(x[0]) - extent.origin[0]) / extent.scale[0] / extent.width
    step = 1 / _EDGE_POINTS
    return -step <= down <= 1 + step and -step <= across <= 1 + step


def _box(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float, float]:
    return float(x.min()), float(y.min()), float(x.max()), float(y.max())
