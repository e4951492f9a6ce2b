"""Which records: rasteret's filters, as expressions that a Parquet scan pushes down."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rasteret_beam.arrow_types import comparable
from rasteret_beam.collection.boxes import geometry_boxes
from rasteret_beam.collection.condition import read_condition
from rasteret_beam.collection.instants import (
    Moment,
    instant_scalar,
    instant_text,
    parse_instant,
)
from rasteret_beam.collection.where import parse_where
from rasteret_beam.errors import CollectionError, OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

_BBOX_NUMBERS = 4


@dataclasses.dataclass(frozen=True, slots=True)
class Filters:
    """Conditions that a record must meet, all of them; rasteret's ``subset`` and ``where``.

    Attributes:
        date_range: (start, end), both inclusive instants: an end of ``2024-01-31`` is
            that day's midnight. Text, dates or datetimes (UTC without an offset), which are
            kept as text. Records without a datetime are dropped.
        bbox: (xmin, ymin, xmax, ymax) in EPSG:4326; closed overlap, touching counts.
        geometries: WKB, GeoJSON dicts, shapely objects or bbox tuples in EPSG:4326, one
            or several, or a GeoDataFrame in any CRS; a record must overlap the bbox of one.
        cloud_cover_lt: Strictly below this percentage of ``eo:cloud_cover``; records
            without one are dropped.
        split: A split's name, or several.
        split_column: The column that names splits.
        where: A condition on any column, as text (``eo:cloud_cover < 20 and
            platform = 'S2A'``, as ``read_condition`` knows it) or as a pyarrow expression.
    """

    date_range: tuple[Moment, Moment] | None = None
    bbox: tuple[float, float, float, float] | None = None
    geometries: Any = None
    cloud_cover_lt: float | None = None
    split: str | Sequence[str] | None = None
    split_column: str = "split"
    where: Any = None

    def __post_init__(self) -> None:
        """Checks what can be checked without a collection; rasteret's messages.

        Raises:
            OptionError: A value that cannot work.
        """
        if self.date_range is not None:
            start, end = _pair(self.date_range)
            if parse_instant(start) > parse_instant(end):
                msg = f"Invalid date range: {self.date_range}; expected start <= end"
                raise OptionError(msg)
            # As text: a worker that is to unpickle this may have no pandas.
            object.__setattr__(self, "date_range", (start, end))
        if self.bbox is not None:
            check_bbox(self.bbox)
        cloud = self.cloud_cover_lt
        is_number = isinstance(cloud, (int, float)) and not isinstance(cloud, bool)
        if cloud is not None and not (is_number and 0 <= cloud <= 100):  # noqa: PLR2004 -- percent
            msg = f"Invalid cloud_cover_lt={cloud!r}: must be between 0 and 100."
            raise OptionError(msg)
        names = self.split if isinstance(self.split, (str, list, tuple)) else ()
        if self.split is not None and (
            not names or not all(isinstance(name, str) for name in names)
        ):
            msg = (
                "Invalid split filter. Use a split name or sequence of split names; "
                f"got {self.split!r}"
            )
            raise OptionError(msg)
        if isinstance(self.where, str):
            read_condition(self.where)

    def expression(self, schema: pa.Schema) -> pc.Expression | None:
        """Gives the condition as an expression over a collection's schema.

        Args:
            schema: Its columns, of the types that they have in its files.

        Raises:
            CollectionError: The collection lacks a column that a filter names.
        """
        terms: list[pc.Expression] = []
        if self.date_range is not None:
            kind = _column(schema, "datetime", "Collection has no datetime column").type
            low, high = (instant_scalar(text, kind) for text in _pair(self.date_range))
            terms += [pc.field("datetime") >= low, pc.field("datetime") <= high]
        if self.bbox is not None:
            terms.append(_overlaps(schema, self.bbox))
        if self.geometries is not None:
            terms.append(_overlaps_common(schema, self.boxes()))
        if self.cloud_cover_lt is not None:
            _column(schema, "eo:cloud_cover", "Collection has no cloud cover data")
            terms.append(pc.field("eo:cloud_cover") < self.cloud_cover_lt)
        if self.split is not None:
            text = f"Collection has no split column: {self.split_column!r}"
            kind = _column(schema, self.split_column, text).type
            names = [self.split] if isinstance(self.split, str) else list(self.split)
            terms.append(comparable(kind, self.split_column).isin(names))
        if self.where is not None:
            parsed = self.where
            if isinstance(parsed, str):
                parsed = parse_where(parsed, schema)
            terms.append(parsed)
        if not terms:
            return None
        condition = terms[0]
        for term in terms[1:]:
            condition &= term
        return condition

    def boxes(self) -> np.ndarray:
        """Gives the bboxes of the geometries that have one, float64, shape (n, 4).

        Raises:
            OptionError: No geometry, or what is none.
        """
        return geometry_boxes(self.geometries)


def _pair(value: Sequence[Moment]) -> tuple[str, str]:
    if isinstance(value, str) or not hasattr(value, "__len__") or len(value) != 2:  # noqa: PLR2004 -- start and end
        msg = f"Invalid date range: {value!r}; expected (start, end)"
        raise OptionError(msg)
    start, end = value
    return instant_text(start), instant_text(end)


def check_bbox(bbox: Sequence[float]) -> None:
    """Refuses what is no bbox.

    Raises:
        OptionError: Not four finite numbers, or a minimum above its maximum.
    """
    try:
        fits = len(bbox) == _BBOX_NUMBERS and bool(np.isfinite(bbox).all())
    except TypeError:
        fits = False
    if not fits:
        msg = f"Invalid bbox format: {bbox}; expected xmin, ymin, xmax, ymax"
        raise OptionError(msg)
    if bbox[0] > bbox[2] or bbox[1] > bbox[3]:
        msg = f"Invalid bbox coordinates: {bbox}; expected xmin <= xmax and ymin <= ymax"
        raise OptionError(msg)


def _overlaps(schema: pa.Schema, bbox: Sequence[float]) -> pc.Expression:
    kind = _column(schema, "bbox", "Collection has no bbox column").type
    if not pa.types.is_struct(kind):
        msg = (
            "bbox filtering requires a root-level 'bbox' struct with xmin/ymin/xmax/ymax "
            f"children, got {kind}"
        )
        raise CollectionError(msg)
    xmin, ymin, xmax, ymax = (float(v) for v in bbox)
    return (
        (pc.field("bbox", "xmax") >= xmin)
        & (pc.field("bbox", "xmin") <= xmax)
        & (pc.field("bbox", "ymax") >= ymin)
        & (pc.field("bbox", "ymin") <= ymax)
    )


def _overlaps_common(schema: pa.Schema, boxes: np.ndarray) -> pc.Expression:
    """What can overlap one of many boxes; ``overlaps_any`` looks at each.

    One term a box would overflow Arrow's stack in the thousands.
    """
    if not len(boxes):
        return pc.scalar(False)  # noqa: FBT003 -- a literal
    return _overlaps(schema, [*boxes[:, :2].min(axis=0), *boxes[:, 2:].max(axis=0)])


def _column(schema: pa.Schema, name: str, complaint: str) -> pa.Field:
    if name not in schema.names:
        msg = f"{complaint}; its columns are {schema.names}"
        raise CollectionError(msg)
    return schema.field(name)
