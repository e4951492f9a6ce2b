"""Known datasets: where each is, what its bands are called, and on what terms it comes."""

from __future__ import annotations

import dataclasses
import functools
import importlib.resources
import json
from typing import Any

from rasteret_beam.errors import OptionError


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """One dataset of the catalogue; the same ids and facts as rasteret's.

    Attributes:
        id: Its id here and in rasteret, like ``earthsearch/sentinel-2-l2a``.
        name: Its title.
        description: One line on it.
        stac_api: Address of the STAC API that has it, or None.
        stac_collection: Its id there.
        record_table_uri: A table of its files, where there is one instead of an API.
        index_uri: A narrow table to choose records from, or None.
        collection_uri: A ready-made Collection, or None.
        column_map: The table's column -> the Collection's.
        href_column: The table's column of addresses.
        band_map: Band -> STAC asset key.
        band_index_map: Band -> 0-based sample of the file, where a file has several.
        url_rewrite_patterns: Prefix of addresses as published -> prefix to read from.
        requester_pays: Whether the reader's account pays for requests.
        region: Region of the bucket, or None.
        requires_auth: Whether reading needs an account or a signature.
        signer: Name of the signer that gives one (``storage.signing.SIGNERS``), or None.
        spatial_coverage: ``global`` or a region's name.
        temporal_range: First and last date; the last may be ``present``.
        license: SPDX id, or ``proprietary``.
        license_url: Where its text is.
    """

    id: str
    name: str
    description: str
    stac_api: str | None = None
    stac_collection: str | None = None
    record_table_uri: str | None = None
    index_uri: str | None = None
    collection_uri: str | None = None
    column_map: dict[str, str] = dataclasses.field(default_factory=dict)
    href_column: str | None = None
    band_map: dict[str, str] = dataclasses.field(default_factory=dict)
    band_index_map: dict[str, int] = dataclasses.field(default_factory=dict)
    url_rewrite_patterns: dict[str, str] = dataclasses.field(default_factory=dict)
    requester_pays: bool = False
    region: str | None = None
    requires_auth: bool = False
    signer: str | None = None
    spatial_coverage: str = ""
    temporal_range: tuple[str, str] | None = None
    license: str = ""
    license_url: str = ""


@functools.cache
def datasets() -> dict[str, Dataset]:
    """Gives every dataset of the catalogue, by id.

    >>> datasets()["earthsearch/naip"].band_index_map["NIR"]
    3
    """
    text = importlib.resources.files(__package__).joinpath("catalog.json").read_text("utf-8")
    return {entry["id"]: _dataset(entry) for entry in json.loads(text)}


def find_dataset(data_source: str) -> Dataset | None:
    """Gives the dataset of a data source: its id, or the first with that STAC collection.

    >>> find_dataset("sentinel-2-l2a").id
    'earthsearch/sentinel-2-l2a'
    """
    known = datasets()
    if data_source in known:
        return known[data_source]
    return next((d for d in known.values() if d.stac_collection == data_source), None)


def dataset_of(dataset_id: str) -> Dataset:
    """Gives the dataset with an id.

    Raises:
        OptionError: There is none.
    """
    found = datasets().get(dataset_id)
    if found is None:
        msg = f"dataset {dataset_id!r} is not in the catalogue; it has {sorted(datasets())}"
        raise OptionError(msg)
    return found


def _dataset(entry: dict[str, Any]) -> Dataset:
    entry["temporal_range"] = tuple(entry["temporal_range"])
    return Dataset(**entry)
