"""Which sample rows there are, as one number: what was planned and what was written compare."""

from __future__ import annotations

import functools
import hashlib
from typing import NamedTuple

import numpy as np

_BITS = (1 << 64) - 1


class RowLabel(NamedTuple):
    """What all sample rows of one band of one record say alike.

    Attributes:
        record_id: The record's id; None where there is no record.
        datetime_us: Microseconds since 1970 UTC, or None.
        collection: Name of the record's collection, or None.
        epsg: EPSG code of the raster CRS, or None.
        band: Name of the band, or None.
    """

    record_id: str | None
    datetime_us: int | None
    collection: str | None
    epsg: int | None
    band: str | None


def point_hashes(point_index: np.ndarray) -> np.ndarray:
    """Gives a number for every point that tells it from others (splitmix64's finalizer).

    Args:
        point_index: int64, shape (n_points,).

    Returns:
        uint64, shape (n_points,).
    """
    mixed = point_index.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def row_sum(label: RowLabel, hashes: np.ndarray) -> int:
    """Gives the sum of the rows that points have under one label.

    The sums of parts add up (modulo 2**64) to that of the whole: rows that are missing,
    or there twice, change it.

    Args:
        label: What the rows are of.
        hashes: uint64, ``point_hashes`` of the points.

    Returns:
        0 .. 2**64 - 1.
    """
    return int(hashes.sum(dtype=np.uint64)) * _weight(label) & _BITS


def add(*sums: int) -> int:
    """Adds sums of rows."""
    return sum(sums) & _BITS


@functools.lru_cache(maxsize=65536)
def _weight(label: RowLabel) -> int:
    digest = hashlib.blake2b(repr(tuple(label)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") | 1
