"""Items -> a collection's table in one process, without Beam: for notebooks and tests."""

from __future__ import annotations

import concurrent.futures
from typing import TYPE_CHECKING

from rasteret_beam.errors import RasteretBeamError
from rasteret_beam.indexing.headers import IndexedFile, index_file
from rasteret_beam.indexing.layout import Sketch
from rasteret_beam.indexing.parts import collection_schema, to_table
from rasteret_beam.indexing.rows import make_row
from rasteret_beam.storage import Store

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa

    from rasteret_beam.elements import DeadLetter
    from rasteret_beam.indexing.items import Item

_CONCURRENT_HEADERS = 128


def index_items(
    items: Iterable[Item],
    *,
    store: Store | None = None,
    name: str = "",
    columns: pa.Schema | None = None,
) -> tuple[pa.Table, list[DeadLetter]]:
    """Reads the headers of items' files into a collection's table.

    Args:
        items: What to index.
        store: How files are read.
        name: Name of the collection; value of ``collection`` where an item has none.
        columns: Types of their properties, where the source declares them.

    Returns:
        The table, in the order of the items, and what cannot be used.
    """
    items, store = list(items), store or Store()
    stores: dict[str, Store] = {}
    for item in items:
        own = item.store(store)
        for asset in item.assets.values():
            # Of a file that several name, what the least trusted may read is read.
            if own.named_by == "remote" or asset.href not in stores:
                stores[asset.href] = own
    with concurrent.futures.ThreadPoolExecutor(_CONCURRENT_HEADERS) as pool:
        read = pool.map(lambda href: _file(stores[href], href), stores)
        files = dict(zip(stores, read, strict=True))
    sketch, rows, letters = Sketch(), [], []
    for item in items:
        indexed, found, _ = make_row(item, files)
        letters.extend(found)
        if indexed is not None:
            sketch.add(indexed)
            rows.append(indexed.row())
    for row in rows:
        row["collection"] = name if row["collection"] is None else row["collection"]
    return to_table(rows, collection_schema(sketch.layout(columns), {"name": name})), letters


def _file(store: Store, href: str) -> IndexedFile | RasteretBeamError:
    try:
        return index_file(store, href)
    except RasteretBeamError as error:
        return error
