"""What the rows of a view have in common: extent, reference systems, dates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from rasteret_beam.errors import CrsError
from rasteret_beam.grid import crs

if TYPE_CHECKING:
    import datetime as dt

    from rasteret_beam.companion.views import View

_SIDES = ("xmin", "ymin", "xmax", "ymax")
_BATCH_ROWS = 65536


def bounds_of(view: View) -> tuple[float, float, float, float] | None:
    """Gives (xmin, ymin, xmax, ymax) of all bboxes, in degrees; None without any."""
    if not pa.types.is_struct(view.schema.field("bbox").type):
        return None
    # Of a struct only these leaves are read.
    leaves = {side: pc.field("bbox", side) for side in _SIDES}
    found: dict[str, float] = {}
    for batch in view.batches(leaves, _BATCH_ROWS):
        for side in _SIDES:
            choose, reduce = (min, pc.min) if side.endswith("min") else (max, pc.max)
            value = reduce(batch.column(side)).as_py()
            if value is not None:
                found[side] = float(choose(value, found.get(side, value)))
    if len(found) < len(_SIDES):
        return None
    return found["xmin"], found["ymin"], found["xmax"], found["ymax"]


def epsg_of(view: View) -> list[int]:
    """Gives the EPSG codes of ``proj:epsg``, ascending."""
    codes = map(crs.told, _distinct(view, "proj:epsg"))
    return sorted(int(code) for code in codes if code is not None)


def crs_of(view: View) -> list[str]:
    """Gives the reference systems of the rasters, sorted: ``EPSG:n`` where there is one."""
    if "crs" in view.schema.names:
        return sorted({_spelled(str(text)) for text in _distinct(view, "crs") if text})
    return [f"EPSG:{code}" for code in epsg_of(view)]


def dates_of(view: View) -> tuple[str, str] | None:
    """Gives the first and the last day, YYYY-MM-DD; None without any datetime."""
    first: dt.datetime | None = None
    last: dt.datetime | None = None
    for batch in view.batches(["datetime"], _BATCH_ROWS):
        # Through microseconds: nanoseconds are no Python datetimes.
        column = batch.column("datetime").cast(pa.timestamp("us"), safe=False)
        low, high = pc.min(column).as_py(), pc.max(column).as_py()
        if low is not None:
            first = low if first is None else min(first, low)
            last = high if last is None else max(last, high)
    if first is None or last is None:
        return None
    return first.date().isoformat(), last.date().isoformat()


def _distinct(view: View, column: str) -> set[Any]:
    if column not in view.schema.names:
        return set()
    found: set[Any] = set()
    for batch in view.batches([column], _BATCH_ROWS):
        found.update(pc.unique(batch.column(column)).to_pylist())
    return found - {None}


def _spelled(text: str) -> str:
    """Text that names no CRS is given as it stands."""
    try:
        return crs.normalise(text)
    except CrsError:
        return text
