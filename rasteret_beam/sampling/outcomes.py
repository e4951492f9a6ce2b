"""What became of rows: their status codes, counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rasteret_beam.elements import Outcomes
from rasteret_beam.schema import STATUS_CODES, STATUSES, Status

if TYPE_CHECKING:
    from collections.abc import Iterable

_OK, _FALLBACK, _NODATA = (
    STATUS_CODES[status.value] for status in (Status.OK, Status.FALLBACK, Status.NODATA)
)


def outcomes_of(codes: np.ndarray, n_lost: int = 0) -> Outcomes:
    """Counts finished rows by what became of them.

    Args:
        codes: int8, shape (n_rows,), index into ``STATUSES``.
        n_lost: Rows besides whose tile could not be read, and that are omitted.
    """
    if not codes.any():  # OK is 0
        return Outcomes(len(codes), 0, 0, n_lost)
    by_code = np.bincount(codes, minlength=len(STATUSES)).tolist()
    ok, fallback, nodata = by_code[_OK], by_code[_FALLBACK], by_code[_NODATA]
    return Outcomes(ok, fallback, nodata, len(codes) - ok - fallback - nodata + n_lost)


def total(outcomes: Iterable[Outcomes | None]) -> Outcomes:
    """Adds counts; None counts nothing."""
    sums = (sum(column) for column in zip((0, 0, 0, 0), *filter(None, outcomes), strict=True))
    return Outcomes(*sums)
