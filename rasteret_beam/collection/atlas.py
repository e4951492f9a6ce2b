"""A collection cut into cells: how points are spread, and where their records are read."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from rasteret_beam.collection.survey import DAY_US, ORDER, SKETCH, places_of, unpacked

if TYPE_CHECKING:
    from rasteret_beam.collection.survey import RowGroups, Survey


_HASHES = 2.0**64
# A cell whose quarters hold most of its records each is as small as it can be.
_LEAST_GAIN = 2.0


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Atlas:
    """Cells of the Earth with about as many records each, and the files' row groups.

    The cells only spread the work: which records are read follows from the points.

    Attributes:
        leaves: int64, shape (n_cells, 3): (level, col, row) of quarters of quarters of
            the Earth.
        files: The row groups, by file number.
        last_days: int64, ascending: last day of each group of records but the last one.
    """

    leaves: np.ndarray
    files: tuple[RowGroups, ...]
    last_days: np.ndarray

    def cells(self) -> np.ndarray:
        """Gives the number of the cell of each finest place, int32, shape (row, col)."""
        side = 1 << ORDER
        numbers = np.empty((side, side), np.int32)
        for number, (level, col, row) in enumerate(self.leaves.tolist()):
            size = side >> level
            numbers[row * size : (row + 1) * size, col * size : (col + 1) * size] = number
        return numbers

    def group_of(self, datetime_us: int | None, ordinal: int, records_per_key: int) -> int:
        """Gives the group in which a record shares its key with others of its grid.

        The same wherever the record is read: neighbours in time share a group.
        """
        if datetime_us is None:
            return len(self.last_days) + 1 + ordinal // records_per_key
        return int(np.searchsorted(self.last_days, datetime_us // DAY_US))


def cell_numbers(cells: np.ndarray, lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    """Gives the number of the cell that holds each point, -180 <= lon <= 180."""
    col, row = places_of(lon, lat)
    return cells[row, col]


def make_atlas(survey: Survey, cell_bytes: int, records_per_key: int) -> Atlas:
    """Cuts a collection into cells.

    Args:
        survey: Of all its files.
        cell_bytes: Memory that the records of a cell should take at most.
        records_per_key: How many dates of one place should share a key.
    """
    files = sorted(survey.files, key=lambda file: file.fragment.number)
    return Atlas(
        _leaves(survey, cell_bytes), tuple(files), _last_days(survey, records_per_key),
    )


def _leaves(survey: Survey, cell_bytes: int) -> np.ndarray:
    """Quarters the Earth until each part is light enough."""
    levels = [_weights(survey, level) for level in range(ORDER + 1)]
    leaves: list[tuple[int, int, int]] = []
    open_parts = [(0, 0, 0)]
    while open_parts:
        level, col, row = part = open_parts.pop()
        weight = levels[level][row, col]
        if weight <= cell_bytes or level == ORDER:
            leaves.append(part)
            continue
        quarters = levels[level + 1][2 * row : 2 * row + 2, 2 * col : 2 * col + 2]
        if quarters.sum() > _LEAST_GAIN * weight:
            leaves.append(part)
            continue
        open_parts += [(level + 1, 2 * col + x, 2 * row + y) for x in (0, 1) for y in (0, 1)]
    return np.array(leaves, np.int64).reshape(-1, 3)


def _weights(survey: Survey, level: int) -> np.ndarray:
    """Bytes of the records that each part of a level overlaps, shape (row, col)."""
    corners = [side >> (ORDER - level) for side in unpacked(survey.places)]
    first_col, first_row, last_col, last_row = corners
    side = (1 << level) + 1
    change = np.zeros((side, side))
    weights = survey.weights
    # Each box adds its weight at its first corner, and takes it back behind the others.
    np.add.at(change, (first_row, first_col), weights)
    np.add.at(change, (last_row + 1, first_col), -weights)
    np.add.at(change, (first_row, last_col + 1), -weights)
    np.add.at(change, (last_row + 1, last_col + 1), weights)
    return change.cumsum(0).cumsum(1)[:-1, :-1]


def _last_days(survey: Survey, records_per_key: int) -> np.ndarray:
    """Cuts time so that a place has about as many records in each part."""
    if not len(survey.days):
        return np.zeros(0, np.int64)
    dated = int(survey.records.sum())
    parts = round(dated / _distinct(survey) / records_per_key)
    if parts <= 1:
        return np.zeros(0, np.int64)
    ends = np.searchsorted(np.cumsum(survey.records), dated * np.arange(1, parts) / parts)
    return np.unique(survey.days[np.minimum(ends, len(survey.days) - 1)])


def _distinct(survey: Survey) -> float:
    """Estimates how many distinct bboxes there are, by how close their hashes lie."""
    n_hashes = len(survey.distinct)
    if n_hashes < SKETCH:
        return max(n_hashes, 1)
    return (n_hashes - 1) / ((float(survey.distinct[-1]) + 1) / _HASHES)
