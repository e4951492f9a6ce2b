"""Records by where they are: the dates of one place share what points ask of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rasteret_beam.grid import crs
from rasteret_beam.schema import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rasteret_beam.elements import Record
    from rasteret_beam.planning.positions import BatchPositions


class _Space(NamedTuple):
    """Footprints that are compared in one longitude/latitude CRS."""

    ids: np.ndarray
    crs: np.ndarray
    proper: np.ndarray
    boxes: np.ndarray


class Footprints:
    """The distinct footprints (bbox and CRS) of records.

    Attributes:
        members: For each footprint the numbers of its records, ascending.
    """

    def __init__(self, records: Sequence[Record]) -> None:
        """Finds which records share a footprint."""
        found: dict[tuple[tuple[float, ...], str | None], list[int]] = {}
        for number, record in enumerate(records):
            found.setdefault(_footprint(record), []).append(number)
        self.members = list(found.values())
        self.footprint_of = np.empty(len(records), np.int64)
        for at, numbers in enumerate(self.members):
            self.footprint_of[numbers] = at
        spaces: dict[str, list[int]] = {}
        keys = list(found)
        for at, (_, own_crs) in enumerate(keys):
            spaces.setdefault(crs.lonlat_of(own_crs) or crs.LONLAT, []).append(at)
        self._spaces = {space: _space(ids, keys) for space, ids in spaces.items()}

    def candidates(self, work: BatchPositions) -> dict[int, np.ndarray]:
        """Gives for each footprint that holds points (closed) those points, ascending.

        Points that have no longitude (space around the disk of a geostationary image)
        are left to the pixel test of the images in their own CRS.
        """
        found: dict[int, np.ndarray] = {}
        for space, footprints in self._spaces.items():
            ids = footprints.ids[footprints.proper]
            for at, points in work.in_boxes(footprints.boxes, space):
                found[int(ids[at])] = points
            nowhere = work.nowhere(space)
            if len(nowhere):
                for at in footprints.ids[footprints.crs == work.batch.crs].tolist():
                    found[at] = np.union1d(found[at], nowhere) if at in found else nowhere
        return dict(sorted(found.items()))


class Winner(NamedTuple):
    """A record that is the newest of its footprint for a band.

    Attributes:
        number: Which record.
        footprint: Which footprint.
    """

    number: int
    footprint: int


def winners(records: Sequence[Record], footprints: Footprints) -> list[Winner]:
    """Gives the records that can be a point's latest, newest first.

    All points of a footprint see all of its records, so for each band only the newest of
    them counts. A band whose metadata is unusable wins all the same.

    Args:
        records: In scan order, by which ties go.
        footprints: Theirs.
    """
    newest = sorted(range(len(records)), key=lambda i: newest_first(records[i]))
    taken: set[tuple[int, str]] = set()
    found = []
    for number in newest:
        footprint = int(footprints.footprint_of[number])
        new = {(footprint, band) for band in _rivals(records[number])} - taken
        if new:
            taken |= new
            found.append(Winner(number, footprint))
    return found


def newest_first(record: Record) -> tuple[bool, int]:
    """Key by which records are sorted: newest first, those without a time last.

    Sorting is stable, so ties keep scan order.
    """
    when = record.info.datetime_us
    return when is None, -(when or 0)


def _rivals(record: Record) -> Iterable[str]:
    yield from (band for asset in record.assets for band in asset.bands)
    yield from (band for band, code in record.missing if code == Status.UNSUPPORTED.value)


def _footprint(record: Record) -> tuple[tuple[float, ...], str | None]:
    return record.bbox, record.assets[0].grid.crs if record.assets else crs.LONLAT


def _space(ids: list[int], keys: list[tuple[tuple[float, ...], str | None]]) -> _Space:
    bboxes = np.array([keys[at][0] for at in ids], np.float64).reshape(-1, 4)
    # A bbox whose minimum lies above its maximum holds no point; as a shape it would.
    proper = (bboxes[:, 0] <= bboxes[:, 2]) & (bboxes[:, 1] <= bboxes[:, 3])
    own_crs = np.array([keys[at][1] for at in ids], object)
    return _Space(np.array(ids, np.int64), own_crs, proper, bboxes[proper])
