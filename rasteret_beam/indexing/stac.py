"""STAC items -> items to index."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
import posixpath
import re
from typing import TYPE_CHECKING, Any

from rasteret_beam.collection.bands import choose_assets
from rasteret_beam.collection.catalog import find_dataset
from rasteret_beam.collection.filters import check_bbox
from rasteret_beam.collection.instants import Moment, instant_text, parse_instant
from rasteret_beam.collection.making import CRS_COLUMNS
from rasteret_beam.errors import CrsError, OptionError, RecordError
from rasteret_beam.grid import crs
from rasteret_beam.indexing import naming
from rasteret_beam.indexing.items import AssetRef, Item, check_bands_apart, rewrite_href
from rasteret_beam.storage.addresses import split_root

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PARTIAL_DATE = re.compile(r"(\d{4})(-\d{2})?(-\d{2})?")
_INSTANT = dt.timedelta(microseconds=1)
_MONTHS = 12
_BBOX_2D, _BBOX_3D = 4, 6
_MEMBERS = {"properties": dict, "assets": dict, "collection": str, "bbox": list}

Span = tuple[dt.datetime, dt.datetime]
"""First and last instant, UTC, without tzinfo."""


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
            (rasteret's rule for STAC). Of an item with two ends in place of a datetime some
            of the time between must be in it, as in a search; items without any are kept.

    Raises:
        OptionError: An asset is given to several bands without their samples, or the
            bbox or date range is none.
    """

    band_map: Mapping[str, str] | None = None
    band_index_map: Mapping[str, int] = dataclasses.field(default_factory=dict)
    data_source: str = ""
    url_rewrite_patterns: Mapping[str, str] = dataclasses.field(default_factory=dict)
    bbox: tuple[float, float, float, float] | None = None
    date_range: tuple[Moment, Moment] | None = None

    def __post_init__(self) -> None:
        """Checks what can be checked without an item."""
        check_bands_apart(self.band_map, self.band_index_map)
        if self.bbox is not None:
            check_bbox(self.bbox)
        if self.date_range is not None:
            instants_of(self.date_range)

    def wants(self, bbox: Sequence[float] | None, span: Span | None) -> bool:
        """Tells whether an item meets the bbox and the date range.

        Args:
            bbox: Of the item, with or without heights; None where it has none.
            span: Its ``span_of``.
        """
        if self.bbox is not None and bbox:
            west, south, east, north = (
                [*bbox[:2], *bbox[3:5]] if len(bbox) == _BBOX_3D else bbox
            )
            xmin, ymin, xmax, ymax = self.bbox
            inside = (west <= xmax, east >= xmin)
            # West of its east it crosses the antimeridian (RFC 7946, section 5.2).
            if not (south <= ymax and north >= ymin):
                return False
            if not (any(inside) if west > east else all(inside)):
                return False
        if self.date_range is None or span is None:
            return True
        start, end = instants_of(self.date_range)
        return start <= span[1] and span[0] <= end

    def item(self, stac: Mapping[str, Any], base_href: str | None = None) -> Item:
        """Makes an item of a STAC item.

        Args:
            stac: The item, as JSON has it.
            base_href: Where it was read from, for relative addresses (its ``self`` link
                where None), and the item's origin.

        Raises:
            RecordError: No id, a member of the wrong type, no date where one is spelled, or
                no asset that is a band.
        """
        check_item(stac)
        base = base_href or _self_href(stac)
        properties = dict(stac.get("properties") or {})
        span = span_of(properties)
        properties.pop("datetime", None)
        return Item(
            stac["id"],
            self.assets(stac.get("assets") or {}, stac.get("collection") or "", base),
            None if span is None else span[0],
            stac.get("collection"),
            declared_crs(properties),
            {k: v for k, v in properties.items() if k not in CRS_COLUMNS},
            unique_id=True,
            origin=base_href,
        )

    def assets(
        self, assets: Mapping[str, Any], collection: str, base_href: str | None,
    ) -> dict[str, AssetRef]:
        """Chooses bands among assets.

        Raises:
            RecordError: None of them has an address, or none is a band.
        """
        there = {key: asset for key, asset in assets.items() if _href_of(asset)}
        chosen = choose_assets(there, self.band_map, self.data_source or collection)
        if not there:
            msg = "It has no asset with an href"
            raise RecordError(msg)
        if not chosen:
            wanted = "" if self.band_map is None else f" of {sorted(set(self.band_map.values()))}"
            msg = f"None{wanted} among its assets {sorted(assets)}; give a band_map"
            raise RecordError(msg)
        indexes = self.band_index_map or _known_indexes(self.data_source or collection)
        return {
            band: self._asset(there[key], indexes.get(band), base_href)
            for band, key in chosen.items()
        }

    def _asset(
        self, asset: Any, band_index: int | None, base_href: str | None,  # noqa: ANN401 -- JSON
    ) -> AssetRef:
        href = rewrite_href(resolve(_href_of(asset) or "", base_href), self.url_rewrite_patterns)
        return AssetRef(href, band_index, *_calibration(asset, band_index or 0))


def span_of(properties: Mapping[str, Any]) -> Span | None:
    """Gives the first and last instant of a STAC item, UTC, without tzinfo; None without any.

    What has no one datetime has ``start_datetime`` and ``end_datetime``: a year of land cover,
    a composite. The first of them stands for it where one instant is wanted.

    Raises:
        RecordError: One of them is no date.
    """
    when = _instant(properties, "datetime")
    ends = [when] if when else [_instant(properties, f"{end}_datetime") for end in ("start", "end")]
    there = [end for end in ends if end is not None]
    return (there[0], there[-1]) if there else None


def _instant(properties: Mapping[str, Any], name: str) -> dt.datetime | None:
    value = properties.get(name)
    if value is None:
        return None
    try:
        return parse_instant(instant_text(value if isinstance(value, dt.date) else str(value)))
    except OptionError as error:
        msg = f"{name} {value!r} is no RFC 3339 date"
        raise RecordError(msg) from error


def instants_of(date_range: Sequence[Moment]) -> tuple[dt.datetime, dt.datetime]:
    """Gives a date range as instants; an end that is a day, month or year is all of it.

    The year 9999 is the end of time: ranges that have no end are spelled so.

    Raises:
        OptionError: It is no range.

    >>> instants_of(("2024-01-01", "2024-01-31"))[1]
    datetime.datetime(2024, 1, 31, 23, 59, 59, 999999)
    """
    if len(date_range) != 2:  # noqa: PLR2004 -- start and end
        msg = f"Invalid date range: {date_range!r}; expected (start, end)"
        raise OptionError(msg)
    first, last = (instant_text(when) for when in date_range)
    start, end = parse_instant(first), parse_instant(last)
    partial = _PARTIAL_DATE.fullmatch(last.strip())
    if partial is not None:
        end = _last(end, partial)
    if start > end:
        msg = f"Invalid date range: {date_range!r}; its start is after its end"
        raise OptionError(msg)
    return start, end


def _next(start: dt.datetime, partial: re.Match[str]) -> dt.datetime:
    """The day, month or year after one that begins there."""
    if partial[3]:
        return start + dt.timedelta(days=1)
    if partial[2]:
        years, month = divmod(start.month, _MONTHS)
        return start.replace(year=start.year + years, month=month + 1)
    return start.replace(year=start.year + 1)


def _last(start: dt.datetime, partial: re.Match[str]) -> dt.datetime:
    """The last instant of a day, month or year."""
    try:
        return _next(start, partial) - _INSTANT
    except (OverflowError, ValueError):
        return dt.datetime.max  # noqa: DTZ901 -- UTC, as all here


def declared_crs(values: Mapping[str, Any]) -> str | None:
    """Gives the CRS that an item's columns or properties declare, normalised, or None.

    The first that can be read, in rasteret's order: ``proj:code``, ``proj:epsg``,
    ``crs``, ``proj:wkt2``, ``proj:projjson``.

    Raises:
        RecordError: Some are there, and none names a CRS.
    """
    unreadable: list[str] = []
    for name in CRS_COLUMNS:
        value = crs.told(values.get(name))
        if value is None:
            continue
        try:
            return crs.normalise_any(value)
        except CrsError as error:
            unreadable.append(f"{name} is {value!r:.80}: {error}")
    if unreadable:
        raise RecordError("; ".join(unreadable))
    return None


def resolve(href: str, base_href: str | None) -> str:
    """Gives an address in full: relative ones are relative to the item that names them.

    >>> resolve("./b4.tif", "s3://b/items/a.json"), resolve("b4.tif", "/data/a.json")
    ('s3://b/items/b4.tif', '/data/b4.tif')
    """
    if "://" in href.partition("?")[0] or base_href is None:
        return naming.absolute_href(href)
    # Path by path: urljoin knows no s3: and gs:, and takes S2A:B04.tif for a scheme.
    root, base = split_root(base_href)
    if root and href.startswith("//"):
        return f"{root.partition('//')[0]}{href}"
    # A query is no path; in a bucket, and of a local file, it is part of the name.
    own, mark, query = href.partition("?") if root.startswith("http") else (href, "", "")
    below = posixpath.join(posixpath.dirname(base) or "/"[: len(root)], own)
    path = posixpath.normpath(base if mark and not own else below)
    return root + path + mark + query if root else naming.absolute_href(path)


def links_of(stac: Mapping[str, Any], *rels: str) -> list[tuple[str, str]]:
    """Gives (relation, address) of the links of some relations; what is no link is passed over."""
    links = stac.get("links")
    found = [link for link in links if isinstance(link, dict)] if isinstance(links, list) else []
    return [
        (link["rel"], link["href"])
        for link in found
        if link.get("rel") in rels and isinstance(link.get("href"), str) and link["href"]
    ]


def _self_href(stac: Mapping[str, Any]) -> str | None:
    return next((href for _, href in links_of(stac, "self")), None)


def check_item(stac: Mapping[str, Any]) -> None:
    """Refuses what is no STAC item.

    Raises:
        RecordError: No id, or a member of another JSON type than the specification's.
    """
    item_id = stac.get("id")
    if not isinstance(item_id, str) or not item_id or not item_id.isprintable():
        msg = f"A STAC item needs an id, got {item_id!r}"
        raise RecordError(msg)
    for name, kind in _MEMBERS.items():
        value = stac.get(name)
        if value is not None and not isinstance(value, kind):
            msg = f"{name} is {value!r:.80}, expected {kind.__name__}"
            raise RecordError(msg)
    box = stac.get("bbox") or []
    sides = [side for side in box if isinstance(side, (int, float))]
    if box and (len(sides) != len(box) or len(sides) not in (_BBOX_2D, _BBOX_3D)):
        msg = f"bbox is {box!r:.80}, expected 4 or 6 numbers"
        raise RecordError(msg)


def _href_of(asset: Any) -> str | None:  # noqa: ANN401 -- JSON
    href = asset.get("href") if isinstance(asset, dict) else asset
    return href if isinstance(href, str) and href else None


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
