"""Where an image lies on Earth: its outline and bbox in longitude and latitude."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import shapely

from rasteret_beam.grid import crs

if TYPE_CHECKING:
    from rasteret_beam.tiff.header import TiffHeader

_EDGE_POINTS = 64
_WORLD = (-180.0, -90.0, 180.0, 90.0)


def footprint_of(
    header: TiffHeader, raster_crs: str | None,
) -> tuple[tuple[float, float, float, float], shapely.Geometry]:
    """Gives where an image lies in longitude and latitude.

    The bbox holds every pixel: edges are densified, and poles and the antimeridian
    inside the image are seen. Where an edge cannot be transformed (a full-disk image
    whose corners look into space) it is the whole world, and the pixel test decides.

    Args:
        header: The image.
        raster_crs: Its normalised CRS; None leaves the footprint in the file's units.

    Returns:
        (xmin, ymin, xmax, ymax) and the outline.
    """
    fraction = np.linspace(0, 1, _EDGE_POINTS + 1)
    zero, one = np.zeros(_EDGE_POINTS + 1), np.ones(_EDGE_POINTS + 1)
    across = np.concatenate([fraction, one[1:], fraction[::-1][1:], zero[1:]])
    down = np.concatenate([zero, fraction[1:], one[1:], fraction[::-1][1:]])
    x = header.origin[0] + across * header.width * header.scale[0]
    y = header.origin[1] + down * header.height * header.scale[1]
    space = crs.lonlat_of(raster_crs)
    if space is None or space == raster_crs:
        return _box(x, y), shapely.Polygon(np.column_stack([x, y]))
    lon, lat = crs.transform(raster_crs, space, x, y)
    if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
        return _WORLD, shapely.box(*_WORLD)
    xmin, ymin, xmax, ymax = _box(lon, lat)
    # Between two edge points the edge can bulge by about the square of their distance.
    margin_x, margin_y = (xmax - xmin) / _EDGE_POINTS**2, (ymax - ymin) / _EDGE_POINTS**2
    xmin, ymin, xmax, ymax = xmin - margin_x, ymin - margin_y, xmax + margin_x, ymax + margin_y
    poles = [pole for pole in (-90.0, 90.0) if _holds(header, raster_crs, space, 0.0, pole)]
    crosses = bool((np.abs(np.diff(lon)) > 180).any())  # noqa: PLR2004 -- degrees
    if not poles and not crosses:
        return (xmin, ymin, xmax, ymax), shapely.Polygon(np.column_stack([lon, lat]))
    ymin, ymax = min([ymin, *poles]), max([ymax, *poles])
    box = (-180.0, max(ymin, -90.0), 180.0, min(ymax, 90.0))
    if poles:
        return box, shapely.box(*box)
    east, west = lon[lon >= 0], lon[lon < 0]
    outline = shapely.MultiPolygon(
        [
            shapely.box(float(east.min()), box[1], 180.0, box[3]),
            shapely.box(-180.0, box[1], float(west.max()), box[3]),
        ],
    )
    return box, outline


def _holds(
    header: TiffHeader, raster_crs: str | None, space: str, lon: float, lat: float,
) -> bool:
    x, y = crs.transform(space, raster_crs, np.array([lon]), np.array([lat]))
    row = (float(y[0]) - header.origin[1]) / header.scale[1]
    col = (float(x[0]) - header.origin[0]) / header.scale[0]
    return 0 <= row <= header.height and 0 <= col <= header.width


def _box(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float, float]:
    return float(x.min()), float(y.min()), float(x.max()), float(y.max())
