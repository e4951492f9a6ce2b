"""Which asset holds a band: the names that STAC catalogues use for sensors' bands."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from rasteret_beam.collection.catalog import datasets, find_dataset

if TYPE_CHECKING:
    from collections.abc import Mapping

_TIFF_TYPES = ("image/tiff", "image/vnd.stac.geotiff")


@functools.lru_cache(maxsize=4096)
def asset_keys(band: str, data_source: str) -> tuple[str, ...]:
    """Gives the asset keys under which a band may stand, most likely first.

    >>> asset_keys("B04", "sentinel-2-l2a"), asset_keys("red", "sentinel-2-l2a")
    (('B04', 'red'), ('red', 'B04'))
    """
    dataset = find_dataset(data_source)
    forward = {} if dataset is None else dataset.band_map
    keys = [band]
    if band in forward:
        keys.append(forward[band])
    keys.extend(name for name, key in forward.items() if key == band)
    return tuple(dict.fromkeys(keys))


def choose_assets(
    assets: Mapping[str, Any], band_map: Mapping[str, str] | None, data_source: str,
) -> dict[str, str]:
    """Chooses which of an item's assets are bands, and what they are called.

    In this order: the map that was given; the catalogue's map of the data source; the
    known map that fits most of the assets, by band or asset names (rasteret's order; but
    not a map that gives an asset to several bands); else every asset whose media type is
    TIFF, under its own key.

    Args:
        assets: Asset key -> asset, as STAC has it.
        band_map: Band -> asset key, or None.
        data_source: A dataset's id, or its STAC collection; "" where not known.

    Returns:
        Band -> asset key, of assets that the item has; none where nothing fits.

    >>> choose_assets({"red": {}, "nir": {}, "visual": {}}, None, "")
    {'B04': 'red', 'B08': 'nir'}
    """
    if band_map is not None:
        return _present(band_map, assets)
    known = find_dataset(data_source)
    if known is not None and _present(known.band_map, assets):
        return _present(known.band_map, assets)
    best: dict[str, str] = {}
    for dataset in datasets().values():
        if dataset.band_index_map:
            continue
        by_key = _present(dataset.band_map, assets)
        by_name = {band: band for band in dataset.band_map if band in assets}
        best = max(best, by_key, by_name, key=len)
    if best:
        return best
    return {key: key for key, asset in assets.items() if _is_tiff(asset)}


def _present(band_map: Mapping[str, str], assets: Mapping[str, Any]) -> dict[str, str]:
    return {band: key for band, key in band_map.items() if assets.get(key) is not None}


def _is_tiff(asset: Any) -> bool:  # noqa: ANN401 -- STAC JSON
    media_type = asset.get("type") if isinstance(asset, dict) else None
    return str(media_type or "").lower().startswith(_TIFF_TYPES)
