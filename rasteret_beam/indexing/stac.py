"""STAC items -> items to index."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
import re
import urllib.parse
from typing import TYPE_CHECKING, Any

from rasteret_beam.collection.bands import choose_assets
from rasteret_beam.collection.catalog import find_dataset
from rasteret_beam.collection.filters import check_bbox, parse_instant
from rasteret_beam.errors import CrsError, OptionError, RecordError
from rasteret_beam.grid import crs
from rasteret_beam.indexing import naming
from rasteret_beam.indexing.items import AssetRef, Item, check_bands_apart, rewrite_href

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_CRS_PROPERTIES = ("proj:code", "proj:epsg", "crs", "proj:wkt2", "proj:projjson")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_END_OF_DAY = dt.timedelta(days=1) - dt.timedelta(microseconds=1)
_BBOX_3D = 6


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StacReading:
    """How STAC items become items, and which of them.

    Attributes:
        band_map: Band -> asset key; by default as the catalogue knows the data source,
            else as the assets' names tell, else every TIFF asset.
        band_index_map: Band -> 0-based sample, for assets of several bands.
        data_source: A dataset's id or its STAC collection; by default the item's.
        url_rewrite_patterns: Prefix of an address -> what to read it from.
        bbox: (xmin, ymin, xmax, ymax) in EPSG:4326; closed overlap. Items without a
            bbox are kept.
        date_range: (start, end), both inclusive; an end that is a day is all of it
            (rasteret's rule for STAC). Items without a datetime are kept.

    Raises:
        OptionError: An asset is given to several bands without their samples, or the
            bbox or date range is none.
    """

    band_map: Mapping[str, str] | None = None
    band_index_map: Mapping[str, int] = dataclasses.field(default_factory=dict)
    data_source: str = ""
    url_rewrite_patterns: Mapping[str, str] = dataclasses.field(default_factory=dict)
    bbox: tuple[float, float, float, float] | None = None
    date_range: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        """Checks what can be checked without an item."""
        check_bands_apart(self.band_map, self.band_index_map)
        if self.bbox is not None:
            check_bbox(self.bbox)
        if self.date_range is not None:
            instants_of(self.date_range)

    def wants(self, bbox: Sequence[float] | None, when: dt.datetime | None) -> bool:
        """Tells whether an item meets the bbox and the date range.

        Args:
            bbox: Of the item, with or without heights; None where it has none.
            when: Its datetime, or None.
        """
        if self.bbox is not None and bbox:
            box = [*bbox[:2], *bbox[3:5]] if len(bbox) == _BBOX_3D else bbox
            xmin, ymin, xmax, ymax = self.bbox
            if not (box[0] <= xmax and box[2] >= xmin and box[1] <= ymax and box[3] >= ymin):
                return False
        if self.date_range is None or when is None:
            return True
        start, end = instants_of(self.date_range)
        return start <= when <= end

    def item(self, stac: Mapping[str, Any], base_href: str | None = None) -> Item:
        """Makes an item of a STAC item.

        Args:
            stac: The item, as JSON has it.
            base_href: Where it was read from, for relative addresses; its ``self`` link
                where None.

        Raises:
            RecordError: No id, no date where one is spelled, or no asset that is a band.
        """
        if not isinstance(stac.get("id"), str) or not stac["id"]:
            msg = f"A STAC item needs an id, got {stac.get('id')!r}"
            raise RecordError(msg)
        base = base_href or _self_href(stac)
        properties = dict(stac.get("properties") or {})
        when = datetime_of(stac)
        properties.pop("datetime", None)
        return Item(
            stac["id"],
            self.assets(stac.get("assets") or {}, stac.get("collection") or "", base),
            when,
            stac.get("collection"),
            declared_crs(properties),
            {k: v for k, v in properties.items() if k not in _CRS_PROPERTIES},
        )

    def assets(
        self, assets: Mapping[str, Any], collection: str, base_href: str | None,
    ) -> dict[str, AssetRef]:
        """Chooses bands among assets.

        Raises:
            RecordError: None of them is a band, or one has no address.
        """
        chosen = choose_assets(assets, self.band_map, self.data_source or collection)
        if not chosen:
            wanted = "" if self.band_map is None else f" of {sorted(set(self.band_map.values()))}"
            msg = f"None{wanted} among its assets {sorted(assets)}; give a band_map"
            raise RecordError(msg)
        indexes = self.band_index_map or _known_indexes(self.data_source or collection)
        return {
            band: self._asset(band, assets[key], indexes.get(band), base_href)
            for band, key in chosen.items()
        }

    def _asset(
        self, band: str, asset: Any, band_index: int | None, base_href: str | None,  # noqa: ANN401 -- JSON
    ) -> AssetRef:
        href = asset.get("href") if isinstance(asset, dict) else asset
        if not isinstance(href, str) or not href:
            msg = f"The asset of band {band} has no href: {asset!r:.120}"
            raise RecordError(msg)
        href = rewrite_href(resolve(href, base_href), self.url_rewrite_patterns)
        return AssetRef(href, band_index, *_calibration(asset, band_index or 0))


def datetime_of(stac: Mapping[str, Any]) -> dt.datetime | None:
    """Gives a STAC item's datetime, UTC, without tzinfo; None where it is null.

    Raises:
        RecordError: It is no date.
    """
    text = (stac.get("properties") or {}).get("datetime")
    if text is None:
        return None
    try:
        return parse_instant(str(text))
    except OptionError as error:
        msg = f"datetime {text!r} is no RFC 3339 date"
        raise RecordError(msg) from error


def instants_of(date_range: Sequence[str]) -> tuple[dt.datetime, dt.datetime]:
    """Gives a date range as instants; an end that is a day is all of that day.

    Raises:
        OptionError: It is no range.

    >>> instants_of(("2024-01-01", "2024-01-31"))[1]
    datetime.datetime(2024, 1, 31, 23, 59, 59, 999999)
    """
    if len(date_range) != 2:  # noqa: PLR2004 -- start and end
        msg = f"Invalid date range: {date_range!r}; expected (start, end)"
        raise OptionError(msg)
    start, end = (parse_instant(text) for text in date_range)
    if _DAY.fullmatch(date_range[1].strip()):
        end += _END_OF_DAY
    if start > end:
        msg = f"Invalid date range: {date_range!r}; its start is after its end"
        raise OptionError(msg)
    return start, end


def declared_crs(values: Mapping[str, Any]) -> str | None:
    """Gives the CRS that an item's columns or properties declare, normalised, or None.

    In rasteret's order: ``proj:code``, ``proj:epsg``, ``crs``, ``proj:wkt2``,
    ``proj:projjson``.

    Raises:
        RecordError: The first that is there names no CRS.
    """
    for name in _CRS_PROPERTIES:
        value = values.get(name)
        if value is None or value == "":
            continue
        try:
            return crs.normalise_any(value)
        except CrsError as error:
            msg = f"{name} is {value!r:.80}: {error}"
            raise RecordError(msg) from error
    return None


def resolve(href: str, base_href: str | None) -> str:
    """Gives an address in full: relative ones are relative to the item that names them.

    >>> resolve("./b4.tif", "s3://b/items/a.json"), resolve("b4.tif", "/data/a.json")
    ('s3://b/items/b4.tif', '/data/b4.tif')
    """
    if "://" in href or href.startswith("/") or base_href is None:
        return naming.absolute_href(href)
    if "://" not in base_href:
        return naming.absolute_href(urllib.parse.urljoin(base_href, href))
    parts = urllib.parse.urlsplit(base_href)
    # urljoin knows no s3: and gs:.
    joined = urllib.parse.urljoin(f"http://{parts.netloc}{parts.path}", href)
    return parts.scheme + joined.removeprefix("http")


def _self_href(stac: Mapping[str, Any]) -> str | None:
    links = stac.get("links") or []
    found = (link.get("href") for link in links if link.get("rel") == "self")
    return next((href for href in found if href), None)


def _known_indexes(data_source: str) -> Mapping[str, int]:
    dataset = find_dataset(data_source)
    return {} if dataset is None else dataset.band_index_map


def _calibration(
    asset: Any, index: int,  # noqa: ANN401 -- JSON
) -> tuple[float | None, float | None, str | None]:
    """Scale, offset and unit of an asset's band: STAC 1.1 ``bands``, else ``raster:bands``."""
    if not isinstance(asset, dict):
        return None, None, None
    told: dict[str, Any] = {}
    for entry in (asset, *(_nth(asset.get(name), index) for name in ("raster:bands", "bands"))):
        told.update({k.removeprefix("raster:"): v for k, v in entry.items()})
    unit = told.get("unit")
    scale, offset = (_number(told.get(name)) for name in ("scale", "offset"))
    return scale, offset, unit if isinstance(unit, str) and unit else None


def _nth(entries: Any, index: int) -> Mapping[str, Any]:  # noqa: ANN401 -- JSON
    fits = isinstance(entries, list) and index < len(entries) and isinstance(entries[index], dict)
    return entries[index] if fits else {}


def _number(value: Any) -> float | None:  # noqa: ANN401 -- JSON
    whole = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if whole and math.isfinite(value) else None
