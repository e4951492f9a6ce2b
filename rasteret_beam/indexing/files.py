"""COGs by address: a file, a pattern, a folder, or a list of them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from rasteret_beam.errors import FetchError, RasteretBeamError
from rasteret_beam.indexing import naming
from rasteret_beam.indexing.earlier import earlier_ids
from rasteret_beam.indexing.items import (
    EVERY_SAMPLE,
    AssetRef,
    Item,
    ItemBatch,
    dead_letter,
    misnamed_letter,
)
from rasteret_beam.storage import redact
from rasteret_beam.storage.addresses import has_wildcard, local_path, split_root
from rasteret_beam.storage.files import RangeFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rasteret_beam.storage import Store

_PART_FILES = 1000

NamedFile = tuple[str | None, str]
"""Record id and address; no id where the file's name is no text, but spelled out."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FileSource:
    """Items of one COG each.

    Attributes:
        inputs: A file whose name ends as a TIFF's does, a pattern, a local folder (all
            TIFFs below it), or else a text file with one path or URL a line; blank
            lines and lines that begin with ``#`` are passed over. Or addresses, one by
            one.
        bands: Name -> 0-based sample index; by default ``B1`` .. ``Bn`` of each file.
        datetime_pattern: Regular expression that finds the acquisition time in a
            file's name; see ``naming.find_datetime``.
        beside: A collection that the items are to be added to: its files keep their ids,
            and no other file gets one of them. None, or nothing there, for ids that are
            apart among themselves.

    Raises:
        OptionError: The pattern is no regular expression.
    """

    inputs: str | tuple[str, ...]
    bands: Mapping[str, int] | None = None
    datetime_pattern: str | None = None
    beside: str | None = None

    def __post_init__(self) -> None:
        """Checks the pattern."""
        if self.datetime_pattern is not None:
            naming.check_datetime_pattern(self.datetime_pattern)

    def parts(self, store: Store) -> Iterator[list[NamedFile]]:
        """Lists the files, and gives those that share a stem ids of their own.

        Files whose names are no text come last, spelled out.

        Raises:
            FetchError: Nothing matches, or the list cannot be read.
        """
        found = list_files(store, self.inputs)
        hrefs = [href for href in found if naming.is_text(href)]
        by_stem: dict[str, list[str]] = {}
        for href in hrefs:
            by_stem.setdefault(naming.stem(href), []).append(href)
        ids = {}
        known, taken = self._earlier(store, by_stem)
        for name, same in by_stem.items():
            new = sorted(set(same) - known.keys())
            ids.update({href: known[href] for href in same if href in known})
            ids.update(naming.record_ids(new, taken.get(name, ())) if new else {})
        named: list[NamedFile] = [(ids[href], href) for href in hrefs]
        named += [(None, naming.spelled_out(href)) for href in found if not naming.is_text(href)]
        for first in range(0, len(named), _PART_FILES):
            yield named[first : first + _PART_FILES]

    def _earlier(
        self, store: Store, by_stem: Mapping[str, Sequence[str]],
    ) -> tuple[dict[str, str], dict[str, set[str]]]:
        """Ids that files have already, and ids that are taken, by stem."""
        known: dict[str, str] = {}
        taken: dict[str, set[str]] = {}
        for record_id, hrefs in [] if self.beside is None else earlier_ids(store, self.beside):
            name = record_id.rpartition("/")[2]
            if name in by_stem:
                taken.setdefault(name, set()).add(record_id)
            href = hrefs[0] if len(hrefs) == 1 else ""
            if naming.could_be_id(record_id, href):
                known[href] = record_id
        return known, taken

    def read(self, store: Store, part: list[NamedFile]) -> Iterator[ItemBatch]:  # noqa: ARG002 -- an address is all there is
        """Gives an item for each file; a dead letter where its name has no time, or is no text."""
        items, letters = [], []
        for record_id, href in part:
            if record_id is None:
                letters.append(misnamed_letter(href))
                continue
            try:
                items.append(self._item(record_id, href))
            except RasteretBeamError as error:
                letters.append(dead_letter({"href": href}, error))
        yield ItemBatch(items, letters)

    def _item(self, record_id: str, href: str) -> Item:
        pattern = self.datetime_pattern
        wanted: Mapping[str, int | None] = self.bands or {EVERY_SAMPLE: None}
        return Item(
            record_id,
            {name: AssetRef(href, index) for name, index in wanted.items()},
            None if pattern is None else naming.find_datetime(pattern, href),
            # A list may come from elsewhere; what a flag or a pattern names does not.
            origin=self.inputs if isinstance(self.inputs, str) and _is_list(self.inputs) else None,
        )


def list_files(store: Store, inputs: str | Sequence[str]) -> list[str]:
    """Lists files to index.

    Args:
        store: How files are read.
        inputs: As ``FileSource.inputs``.

    Returns:
        Addresses, each once, local ones in full.

    Raises:
        FetchError: Nothing matches, or the list cannot be read.
    """
    if not isinstance(inputs, str):
        return list(dict.fromkeys(naming.absolute_href(uri) for uri in inputs))
    path = local_path(inputs)
    if path is not None and path.is_dir():
        found = [uri for uri in store.list_files(inputs) if _is_tiff(uri)]
        if not found:
            msg = f"{inputs}: no .tif or .tiff file below it"
            raise FetchError(msg)
    elif not _is_list(inputs):
        found = store.glob(inputs)
    else:
        with RangeFile(store, inputs) as file:
            try:
                lines = file.read().decode("utf-8-sig").splitlines()
            except UnicodeDecodeError as error:
                msg = f"{redact(inputs)}: neither a TIFF by its name nor a list of files"
                raise FetchError(msg) from error
        found = [line.strip() for line in lines]
        found = [line for line in found if line and not line.startswith("#")]
        if not found:
            msg = f"{redact(inputs)}: the list names no file"
            raise FetchError(msg)
    return list(dict.fromkeys(naming.absolute_href(uri) for uri in found))


def _is_list(inputs: str) -> bool:
    """Whether a text file names the files."""
    path = local_path(inputs)
    is_folder = path is not None and path.is_dir()
    return not (is_folder or has_wildcard(inputs) or _is_tiff(inputs))


def _is_tiff(uri: str) -> bool:
    return split_root(uri)[1].lower().endswith((".tif", ".tiff", ".gtiff", ".cog"))
