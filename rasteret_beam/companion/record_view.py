"""One record of a collection, to look at."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import shapely

from rasteret_beam.collection.boxes import geometry_boxes, overlaps_any
from rasteret_beam.collection.records import available_bands
from rasteret_beam.grid.crs import told
from rasteret_beam.schema import METADATA_SUFFIX

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Sequence

    import pyarrow as pa

_SIDES = ("xmin", "ymin", "xmax", "ymax")


@dataclasses.dataclass(frozen=True, slots=True, eq=False, repr=False)
class RecordView:
    """One record, with the names of rasteret's accessor; values are read when asked for.

    Attributes:
        row: The record's columns, one row.
        data_source: Whose band names it uses, or "".
        sample: ``Collection.sample_points`` of this record alone.
    """

    row: pa.RecordBatch
    data_source: str
    sample: Callable[..., pa.Table]

    def __repr__(self) -> str:
        """Gives id, datetime and cloud cover."""
        known = self._value("eo:cloud_cover")
        cloud = "?" if known is None else known
        return f"RecordView(id={self.id!r}, datetime={self.datetime}, cloud={cloud})"

    @property
    def id(self) -> str:
        """The record's id."""
        return str(self._value("id"))

    @property
    def datetime(self) -> dt.datetime | None:
        """When it was taken, in UTC."""
        found: dt.datetime | None = self._value("datetime")
        return found

    @property
    def bbox(self) -> list[float]:
        """[xmin, ymin, xmax, ymax] in degrees, or [] where it has none."""
        value = self._value("bbox") or {}
        sides = value if isinstance(value, list) else [value.get(side) for side in _SIDES]
        numbers = [float(side) for side in sides if side is not None]
        return numbers if len(numbers) == len(_SIDES) else []

    @property
    def footprint(self) -> bytes | None:
        """Its outline as WKB, longitude and latitude."""
        found: bytes | None = self._value("geometry")
        return found

    @property
    def geometry(self) -> Any:  # noqa: ANN401 -- shapely's classes are untyped
        """Its outline as a shapely object."""
        return None if self.footprint is None else shapely.from_wkb(self.footprint)

    @property
    def crs(self) -> int | None:
        """EPSG code of the raster, as the row has it."""
        code = told(self._value("proj:epsg"))
        return None if code is None else int(code)

    @property
    def cloud_cover(self) -> float:
        """Percentage, 0 where it is not known."""
        return self._value("eo:cloud_cover") or 0

    @property
    def assets(self) -> dict[str, Any]:
        """Asset key -> asset; None for a key that only other records have."""
        return dict(self._value("assets") or {})

    @property
    def collection(self) -> str:
        """Name of its collection, else the data source."""
        name = self._value("collection")
        return self.data_source if name is None else str(name)

    @property
    def available_bands(self) -> list[str]:
        """Keys of its assets."""
        return list(self.assets)

    @property
    def bands(self) -> list[str]:
        """Bands whose header is known."""
        names = available_bands(self.row.schema.names)
        return [band for band in names if self.row.column(band + METADATA_SUFFIX)[0].is_valid]

    def band_metadata(self, band: str) -> dict[str, Any] | None:
        """Gives the header fields of a band, or None where they are not known."""
        found: dict[str, Any] | None = self._value(band + METADATA_SUFFIX)
        return found

    def intersects(self, geometry: Any) -> bool:  # noqa: ANN401 -- any spelling
        """Tells whether bboxes overlap, touching included; outlines are not looked at.

        Args:
            geometry: WKB, GeoJSON, a shapely object or (xmin, ymin, xmax, ymax), in
                EPSG:4326; of several the first.

        Raises:
            OptionError: It is none of these.
        """
        boxes = geometry_boxes(geometry)[:1]
        return bool(self.bbox) and overlaps_any(self.bbox, boxes)

    def sample_points(self, points: Any, bands: Sequence[str], **options: Any) -> pa.Table:  # noqa: ANN401 -- as Collection's
        """Samples this record alone; arguments as in ``Collection.sample_points``."""
        return self.sample(points, bands, **options)

    def _value(self, name: str) -> Any:  # noqa: ANN401 -- any column
        return self.row.column(name)[0].as_py() if name in self.row.schema.names else None
