"""Which points a record's bbox holds, found all at once as one by one."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from rasteret_beam.elements import PointBatch, Record, RecordInfo
from rasteret_beam.planning.footprints import Footprints, winners
from rasteret_beam.planning.positions import BatchPositions

sides = st.integers(-5, 5).map(float) | st.floats(-200, 200)
boxes = st.lists(st.tuples(sides, sides, sides, sides), max_size=12)
places = st.lists(
    st.tuples(sides | st.just(float("nan")) | st.integers(175, 185).map(float), sides), max_size=25,
)


def _record(number, bbox, when=None, missing=()):
    return Record(RecordInfo(str(number), number, when, "", None), bbox, (), missing)


def _batch(places):
    x, y = ([place[at] for place in places] for at in (0, 1))
    points = {"point_index": np.arange(len(places)), "point_x": pa.array(x, pa.float64()),
              "point_y": pa.array(y, pa.float64())}  # fmt: skip
    return PointBatch(pa.record_batch(points), "EPSG:4326")


def _wrapped(lon):
    return (lon + 180) % 360 - 180 if abs(lon) > 180 else lon


@given(boxes, places)
def test_candidates_are_the_points_that_a_closed_bbox_holds(boxes, places):
    footprints = Footprints([_record(at, bbox) for at, bbox in enumerate(boxes)])
    found = footprints.candidates(BatchPositions(_batch(places)))
    told = {
        number: found[at].tolist() for at in found for number in footprints.members[at]
    }
    for number, (xmin, ymin, xmax, ymax) in enumerate(boxes):
        held = [
            at for at, (x, y) in enumerate(places)
            if ymin <= y <= ymax and np.isfinite(x)
            and any(xmin <= lon <= xmax for lon in (x, _wrapped(x)))
        ]  # fmt: skip
        assert told.get(number, []) == held


def test_only_the_newest_of_a_footprint_can_win():
    here, there = (0.0, 0.0, 1.0, 1.0), (5.0, 0.0, 6.0, 1.0)
    lost = (("B1", "UNSUPPORTED"),)
    records = [
        _record(0, here, 30, lost), _record(1, here, 50, lost), _record(2, there, 10, lost),
        _record(3, here, 50, lost), _record(4, there, None, lost), _record(5, here, 60),
        _record(6, here, 20, (*lost, ("B2", "UNSUPPORTED"))),
    ]  # fmt: skip
    found = winners(records, Footprints(records))
    assert [winner.number for winner in found] == [1, 6, 2]
