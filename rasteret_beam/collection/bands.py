"""Which asset holds a band: the names that STAC catalogues use for sensors' bands."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# rasteret's built-in registry, by data source: band -> asset key.
_REGISTRY: Mapping[str, Mapping[str, str]] = {
    "sentinel-2-l2a": {
        "B01": "coastal",
        "B02": "blue",
        "B03": "green",
        "B04": "red",
        "B05": "rededge1",
        "B06": "rededge2",
        "B07": "rededge3",
        "B08": "nir",
        "B8A": "nir08",
        "B09": "nir09",
        "B11": "swir16",
        "B12": "swir22",
        "SCL": "scl",
    },
    "landsat-c2-l2": {
        "B1": "coastal",
        "B2": "blue",
        "B3": "green",
        "B4": "red",
        "B5": "nir08",
        "B6": "swir16",
        "B7": "swir22",
        "qa_aerosol": "qa_aerosol",
        "qa_pixel": "qa_pixel",
        "qa_radsat": "qa_radsat",
    },
}


def asset_keys(band: str, data_source: str) -> list[str]:
    """Gives the asset keys under which a band may stand, most likely first.

    >>> asset_keys("B04", "sentinel-2-l2a"), asset_keys("red", "sentinel-2-l2a")
    (['B04', 'red'], ['red', 'B04'])
    """
    forward = _REGISTRY.get(data_source, {})
    keys = [band]
    if band in forward:
        keys.append(forward[band])
    keys.extend(name for name, key in forward.items() if key == band)
    return list(dict.fromkeys(keys))
