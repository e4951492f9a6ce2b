"""Which boxes may hold one of many points: a coarse look, that errs on the side of yes."""

from __future__ import annotations

import numpy as np

_BINS = 512


class Near:
    """Where points are, counted on a grid over their own extent."""

    def __init__(self, lon: np.ndarray, lat: np.ndarray) -> None:
        """Counts points.

        Args:
            lon: float64, shape (n_points,), finite.
            lat: float64, shape (n_points,), finite.
        """
        points = np.stack([lon, lat], axis=1)
        self._low = points.min(axis=0, initial=np.inf)
        self._high = points.max(axis=0, initial=-np.inf)
        counts = np.zeros((_BINS, _BINS), np.int64)
        bins = self._bins(points)
        np.add.at(counts, (bins[:, 0], bins[:, 1]), 1)
        self._sums = np.zeros((_BINS + 1, _BINS + 1), np.int64)
        self._sums[1:, 1:] = counts.cumsum(0).cumsum(1)

    def may_hold(self, boxes: np.ndarray) -> np.ndarray:
        """Tells for each box whether it may hold one of the points; closed.

        Args:
            boxes: float64, shape (n_boxes, 4); NaN holds nothing.

        Returns:
            bool, shape (n_boxes,).

        >>> import numpy as np
        >>> near = Near(np.array([1.0, 5.0]), np.array([1.0, 5.0]))
        >>> near.may_hold(np.array([[0, 0, 1, 1], [2, 2, 4, 4], [4, 0, 6, 2]])).tolist()
        [True, False, False]
        """
        found = np.zeros(len(boxes), bool)
        near = np.flatnonzero(
            (boxes[:, :2] <= self._high).all(1) & (boxes[:, 2:] >= self._low).all(1)
            & (boxes[:, :2] <= boxes[:, 2:]).all(1),
        )
        low, high = self._bins(boxes[near, :2]), self._bins(boxes[near, 2:]) + 1
        sums = self._sums
        found[near] = (
            sums[high[:, 0], high[:, 1]] - sums[low[:, 0], high[:, 1]]
            - sums[high[:, 0], low[:, 1]] + sums[low[:, 0], low[:, 1]]
        ) > 0  # fmt: skip
        return found

    def _bins(self, places: np.ndarray) -> np.ndarray:
        """Ascending with the coordinates, so that no point slips out of a box."""
        with np.errstate(all="ignore"):
            extent = np.maximum(self._high - self._low, np.finfo(np.float64).tiny)
            # Coordinates whose differences overflow share a bin.
            share = np.nan_to_num(np.clip((places - self._low) / extent, 0, 1))
        return np.minimum((share * _BINS).astype(np.int64), _BINS - 1)
