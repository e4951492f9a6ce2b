"""Tags -> where the pixels lie: the grid's size and corner, and its CRS."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from pyproj.exceptions import ProjError

from rasteret_beam.errors import MalformedTiffError, UnsupportedTiffError
from rasteret_beam.tiff.geokey_crs import crs_text
from rasteret_beam.tiff.geokeys import parse_geokeys
from rasteret_beam.tiff.tags import RASTER_PIXEL_IS_POINT, GeoKey, Tag

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rasteret_beam.tiff.tag_values import TagValues

_TIEPOINT_NUMBERS = 6
_MATRIX_NUMBERS = 16
_ALIGNED_RTOL = 1e-8


class Georeferencing(NamedTuple):
    """Where an image lies.

    Attributes:
        scale: (x, y) size of a pixel, y negative where north is up.
        origin: (x, y) of the outer corner of the first pixel.
        crs_text: ``EPSG:n``, WKT, PROJJSON or a PROJ string; None where the file names no CRS.
    """

    scale: tuple[float, float]
    origin: tuple[float, float]
    crs_text: str | None


def read_georeferencing(tags: TagValues) -> Georeferencing:
    """Locates an axis-aligned image, by GeoTIFF 1.1.

    Half a pixel less where PixelIsPoint, as GDAL.

    Raises:
        MalformedTiffError: Numbers are not finite, a pixel has no size, or the geokeys
            define no CRS.
        UnsupportedTiffError: A grid that is rotated, or none; a CRS that is not read.
    """
    (scale_x, scale_y), (origin_x, origin_y) = _grid(tags)
    text = tags.get(Tag.GEO_ASCII_PARAMS)
    keys = parse_geokeys(
        tags.integers(Tag.GEO_KEY_DIRECTORY),
        tags.floats(Tag.GEO_DOUBLE_PARAMS),
        text if isinstance(text, str) else None,
    )
    if keys.get(GeoKey.GT_RASTER_TYPE) == RASTER_PIXEL_IS_POINT:
        origin_x, origin_y = origin_x - scale_x / 2, origin_y - scale_y / 2
    numbers = (scale_x, scale_y, origin_x, origin_y)
    if not all(map(math.isfinite, numbers)) or 0 in (scale_x, scale_y):
        msg = (
            f"Pixel size ({scale_x}, {scale_y}) at origin ({origin_x}, {origin_y}): "
            "expected finite numbers, and sizes other than 0"
        )
        raise MalformedTiffError(msg)
    try:
        crs = crs_text(keys)
    except ProjError as error:
        msg = f"The geokeys define no CRS: {error}"
        raise MalformedTiffError(msg) from error
    return Georeferencing((scale_x, scale_y), (origin_x, origin_y), crs)


def _grid(tags: TagValues) -> tuple[tuple[float, float], tuple[float, float]]:
    """Size and corner as the tags have them (GeoTIFF 1.1, section 7.6.1)."""
    matrix = tags.floats(Tag.MODEL_TRANSFORMATION)
    pixel_scale = tags.floats(Tag.MODEL_PIXEL_SCALE)
    tiepoints = tags.floats(Tag.MODEL_TIEPOINT)
    if len(matrix) >= _MATRIX_NUMBERS:
        scale_x, shear_x, _, origin_x, shear_y, scale_y, _, origin_y = matrix[:8]
        tolerance = _ALIGNED_RTOL * min(abs(scale_x), abs(scale_y))
        if not (abs(shear_x) <= tolerance and abs(shear_y) <= tolerance):
            msg = f"Rotated or sheared grid (ModelTransformation {matrix[:8]})"
            raise UnsupportedTiffError(msg)
        return (scale_x, scale_y), (origin_x, origin_y)
    if len(pixel_scale) > 1 and len(tiepoints) >= _TIEPOINT_NUMBERS:
        # GDAL takes ScaleY for a size: north is up whatever its sign.
        scale = pixel_scale[0], -abs(pixel_scale[1])
        if not all(map(math.isfinite, (*scale, *tiepoints))):
            return scale, (math.nan, tiepoints[4])
        return scale, _origin(tiepoints, *scale)
    if len(tiepoints) > _TIEPOINT_NUMBERS:
        msg = f"Located by {len(tiepoints) // _TIEPOINT_NUMBERS} GCPs only, without a grid"
        raise UnsupportedTiffError(msg)
    msg = "No georeferencing: neither ModelTransformation nor PixelScale and Tiepoint"
    raise UnsupportedTiffError(msg)


def _origin(tiepoints: Sequence[float], scale_x: float, scale_y: float) -> tuple[float, float]:
    origins = [
        (x - col * scale_x, y - row * scale_y)
        for col, row, _, x, y, _ in zip(*[iter(tiepoints)] * _TIEPOINT_NUMBERS, strict=False)
    ]
    tolerance = abs(scale_x) / 100
    if len(origins) > 1 and not np.allclose(origins, origins[0], rtol=1e-9, atol=tolerance):
        msg = f"{len(origins)} tiepoints that do not agree on an axis-aligned grid: {origins[:3]}"
        raise UnsupportedTiffError(msg)
    return origins[0]
