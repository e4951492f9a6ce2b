"""Places -> numbers: near numbers are near places."""

from __future__ import annotations


def hilbert_index(lon: float, lat: float, order: int) -> int:
    """Gives the place of a cell along a Hilbert curve over the whole Earth.

    Args:
        lon: Longitude, in degrees; clipped to -180 .. 180.
        lat: Latitude, in degrees; clipped to -90 .. 90.
        order: The Earth has 2**order x 2**order cells.

    Returns:
        0 .. 4**order - 1; neighbours on the curve are neighbours on Earth.

    >>> sorted(hilbert_index(x, y, 1) for x in (-90, 90) for y in (-45, 45))
    [0, 1, 2, 3]
    """
    side = 1 << order
    x = min(max(int((lon + 180) / 360 * side), 0), side - 1)
    y = min(max(int((lat + 90) / 180 * side), 0), side - 1)
    index = 0
    half = side >> 1
    while half:
        right, up = int(bool(x & half)), int(bool(y & half))
        index += half * half * ((3 * right) ^ up)
        if not up:
            if right:
                x, y = side - 1 - x, side - 1 - y
            x, y = y, x
        half >>= 1
    return index
