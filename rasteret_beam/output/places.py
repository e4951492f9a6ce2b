"""Where a row's point is, as one number that orders rows in space."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rasteret_beam import row_sums
from rasteret_beam.grid import crs
from rasteret_beam.grid.hilbert import hilbert_indexes

PLACE_BITS = 32
"""Places on the Earth are below 2**32: cells of some 600 m along a Hilbert curve."""

CELL_SHIFT = 12
"""A cell is 2**12 places: some 40 km on the Earth."""

_SPOT_BITS = 8
SPOTS = 1 << _SPOT_BITS
"""Shares of a cell's points, among which the files of a crowded cell are dealt out."""

_ORDER = PLACE_BITS // 2
_POLE = 90
_POINTS_SHIFT = 5
_ELSEWHERE_MASK = (1 << 28) - 1


class Placed(NamedTuple):
    """Where points are.

    Attributes:
        place: int64, shape (n_points,): near places have near numbers.
        lon: float64, shape (n_points,), degrees in OGC:CRS84; NaN for points without a
            place on Earth.
        lat: float64, shape (n_points,), likewise.
        spot: int64, shape (n_points,): the cell, and in it one of ``SPOTS`` shares of its
            points, by their index.
    """

    place: np.ndarray
    lon: np.ndarray
    lat: np.ndarray
    spot: np.ndarray


def locate(
    source: str | None, x: np.ndarray, y: np.ndarray, point_index: np.ndarray,
) -> Placed:
    """Finds where points are; those without a place on Earth go by their index.

    Args:
        source: CRS of the coordinates; None where they are each raster's own.
        x: float64, shape (n_points,).
        y: float64, shape (n_points,).
        point_index: int64, shape (n_points,).
    """
    lon, lat = _lonlat(source, x, y)
    there = ~np.isnan(lon)
    if there.all():
        place = hilbert_indexes(lon, lat, _ORDER)
        return Placed(place, lon, lat, spots(place, point_index))
    place = (point_index >> _POINTS_SHIFT & _ELSEWHERE_MASK) + (1 << PLACE_BITS)
    place[there] = hilbert_indexes(lon[there], lat[there], _ORDER)
    return Placed(place, lon, lat, spots(place, point_index))


def spots(place: np.ndarray, point_index: np.ndarray) -> np.ndarray:
    """Gives the spot of each point: parts are in their order, and files are runs of them."""
    share = row_sums.point_hashes(point_index) >> np.uint64(64 - _SPOT_BITS)
    return (place >> CELL_SHIFT) * SPOTS + share.astype(np.int64)


def _lonlat(source: str | None, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    nowhere = np.full(len(x), np.nan)
    if source is None or crs.lonlat_of(source) != crs.LONLAT:
        return nowhere, nowhere
    lon, lat = crs.transform(source, crs.LONLAT, x, y)
    there = np.isfinite(lon) & (np.abs(lat) <= _POLE)
    return np.where(there, lon, np.nan), np.where(there, lat, np.nan)
