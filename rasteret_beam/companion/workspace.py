"""Names of collections, and the folder where rasteret keeps those it made."""

from __future__ import annotations

import pathlib
import re
from typing import TYPE_CHECKING, Any

from rasteret_beam.collection.instants import parse_instant
from rasteret_beam.companion.facts import dates_of
from rasteret_beam.companion.opening import open_parquet
from rasteret_beam.errors import CollectionError
from rasteret_beam.storage import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

_FOLDER = "rasteret_workspace"
_SUFFIXES = ("_stac", "_records")
_SHORT_NAMES = {"sentinel-2-l2a": "sentinel", "landsat-c2-l2": "landsat"}
_NAME_PARTS = 3


def create_name(custom_name: str, date_range: tuple[str, str], data_source: str) -> str:
    """Gives a collection's name: what it is, when, from where.

    Args:
        custom_name: Any text; what is neither letter nor digit becomes a dash.
        date_range: (start, end), ISO dates.
        data_source: The source's id.

    Raises:
        OptionError: A date that is none.

    >>> create_name("My fields", ("2024-01-01", "2024-03-31"), "sentinel-2-l2a")
    'my-fields_202401-03_sentinel'
    """
    start, end = (parse_instant(text) for text in date_range)
    last = f"{end:%m}" if start.year == end.year else f"{end:%Y%m}"
    source = data_source.strip().lower()
    token = _SHORT_NAMES.get(source) or _slug(source) or "source"
    return f"{_slug(custom_name) or 'collection'}_{start:%Y%m}-{last}_{token}"


def parse_name(name: str) -> dict[str, str | None]:
    """Takes a name of ``create_name`` apart.

    Returns:
        ``name`` without its suffix, ``custom_name`` and ``data_source``; the name itself
        and None where it is no such name.

    >>> parse_name("fields_202401-03_sentinel_stac")["data_source"]
    'sentinel'
    """
    clean = name.replace("_stac", "")
    parts = clean.split("_")
    if len(parts) != _NAME_PARTS or parts[1].count("-") != 1:
        return {"name": name, "custom_name": name, "data_source": None}
    return {"name": clean, "custom_name": parts[0], "data_source": parts[2]}


def list_collections(workspace_dir: str | pathlib.Path | None = None) -> list[dict[str, Any]]:
    """Lists the collections of a folder; what cannot be read is left out.

    Args:
        workspace_dir: The folder; ``~/rasteret_workspace`` by default.

    Returns:
        For each its ``name``, ``kind`` (stac or records), ``data_source``,
        ``date_range`` (two days, or None), ``size`` in records, and ``created`` in
        seconds since 1970.
    """
    return list(_read(pathlib.Path(workspace_dir or pathlib.Path.home() / _FOLDER)))


def _read(workspace: pathlib.Path) -> Iterator[dict[str, Any]]:
    for suffix in _SUFFIXES:
        for folder in sorted(workspace.glob(f"*{suffix}")):
            name = folder.name.removesuffix(suffix)
            try:
                opened = open_parquet(str(folder), Store())
                yield {
                    "name": name,
                    "kind": suffix.removeprefix("_"),
                    "data_source": opened.data_source or _last_part(name),
                    "date_range": dates_of(opened.view),
                    "size": opened.view.n_rows(),
                    "created": folder.stat().st_ctime,
                }
            except CollectionError:
                continue


def _last_part(name: str) -> str:
    return name.rpartition("_")[2] if "_" in name else "unknown"


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
