"""Items and the earlier rows that have their ids: which rows are theirs, and which stay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from rasteret_beam.errors import RecordError
from rasteret_beam.indexing.items import EVERY_SAMPLE, dead_letter
from rasteret_beam.indexing.rows import pack
from rasteret_beam.schema import METADATA_SUFFIX, TIFF_SUFFIX
from rasteret_beam.storage import redact

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rasteret_beam.elements import DeadLetter
    from rasteret_beam.indexing.items import Item
    from rasteret_beam.indexing.rows import IndexedItem

_CRS_COLUMNS = ("proj:epsg", "crs", "proj:projjson")


class Joined(NamedTuple):
    """What an earlier collection has of an item.

    Attributes:
        item: The item; None for rows that stay as they are.
        rows: Earlier rows with its id.
        own: Those among them that are the item's: its row takes their place.
        clash: A row of another item that nothing tells apart from this one, or None.
    """

    item: Item | None
    rows: list[IndexedItem]
    own: list[IndexedItem]
    clash: IndexedItem | None = None


def join_earlier(
    items: Iterable[Item], rows: Iterable[IndexedItem], *, keep_others: bool,
) -> Iterator[Joined]:
    """Joins items with the earlier rows of the same id.

    A row is an item's own where they share a file, signatures aside, and not of another
    ``collection``. Where ids are unique in a collection, as STAC's are, id and collection
    are enough: files may have moved.

    Args:
        items: Of one id.
        rows: Of that id.
        keep_others: Whether rows that no item owns stay, and clash with items from which
            not even the collection tells them apart.

    Yields:
        One for each item, and one for the rows that stay.
    """
    items, told = list(items), [(row, row.row()) for row in rows]
    every = [row for row, _ in told]
    others = dict(enumerate(every))
    for item in items:
        owned = [at for at, (_, row) in enumerate(told) if _owns(item, row)]
        clash = None
        if keep_others and not owned:
            clash = next((row for row, values in told if not _apart(item, values)), None)
        for at in owned:
            others.pop(at, None)
        yield Joined(item, every, [every[at] for at in owned], clash)
    if keep_others and others:
        yield Joined(None, list(others.values()), [])


def clash_letter(item: Item, row: IndexedItem) -> DeadLetter:
    """Gives the dead letter of an item whose id another one has."""
    here, there = (min(hrefs) for hrefs in (_item_hrefs(item), _row_hrefs(row.row())))
    msg = (
        f"The collection has another item of this id, at {redact(there)}; "
        "give each an id or a collection of its own"
    )
    return dead_letter({"id": item.id, "href": here, "earlier": there}, RecordError(msg))


def kept_bands(
    item: Item, row: IndexedItem | None, own: Iterable[IndexedItem], unread: Iterable[str],
) -> tuple[list[IndexedItem], int]:
    """Keeps what earlier rows tell of files that cannot be read just now.

    Args:
        item: The item.
        row: What could be read of it, or None.
        own: Earlier rows that are its own.
        unread: Its bands whose files cannot be read.

    Returns:
        The row with these bands as they were; or, without a row, the earlier ones that
        have such a band; and how many bands were kept. No row where nothing was.
    """
    found: list[IndexedItem] = []
    n_kept = 0
    for earlier in own:
        before = earlier.row()
        bands = earlier.bands if EVERY_SAMPLE in unread else unread
        bands = [band for band in bands if before.get(band + METADATA_SUFFIX) is not None]
        if not bands:
            continue
        if row is None:
            found.append(earlier)
            n_kept += len(bands)
            continue
        now = row.row()
        if all(now.get(name) == before.get(name) for name in _CRS_COLUMNS):
            for band in bands:
                now["assets"][band] = before["assets"].get(band)
                now[band + METADATA_SUFFIX] = before[band + METADATA_SUFFIX]
                now[band + TIFF_SUFFIX] = before.get(band + TIFF_SUFFIX)
            return [pack(now, row.bands, typed=item.typed)], len(bands)
    return found, n_kept


def _owns(item: Item, row: dict[str, Any]) -> bool:
    if item.collection is not None and row["collection"] not in (None, item.collection):
        return False
    if item.unique_id and item.collection is not None and row["collection"] is not None:
        return True
    return not _addresses(_item_hrefs(item)).isdisjoint(_addresses(_row_hrefs(row)))


def _apart(item: Item, row: dict[str, Any]) -> bool:
    """Whether a reader could tell the records of one id from each other."""
    return item.collection is not None and row["collection"] != item.collection


def _item_hrefs(item: Item) -> set[str]:
    return {asset.href for asset in item.assets.values()}


def _row_hrefs(row: dict[str, Any]) -> set[str]:
    return {asset["href"] for asset in row["assets"].values() if asset["href"]} or {""}


def _addresses(hrefs: set[str]) -> set[str]:
    """Without what signs them, which is another each time."""
    return {href.partition("?")[0] if "://" in href else href for href in hrefs if href}
