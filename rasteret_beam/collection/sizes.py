"""How large a collection is, from its listing and its Parquet footers alone."""

from __future__ import annotations

import concurrent.futures
import functools
from typing import TYPE_CHECKING

from rasteret_beam.collection.columns import TABLES
from rasteret_beam.collection.fragments import find_files, open_fragment
from rasteret_beam.collection.records import metadata_names
from rasteret_beam.schema import METADATA_SUFFIX

if TYPE_CHECKING:
    import pyarrow.parquet as pq

    from rasteret_beam.collection.fragments import Fragment
    from rasteret_beam.collection.query import CollectionQuery

RECORD_BYTES = 2048
"""What a record takes in memory beside its tile tables, about."""

_FOOTERS_AT_ONCE = 32
# Tile tables of files that are alike pack up to 35-fold.
_MOST_PACKED = 32


def is_larger(query: CollectionQuery, limit_bytes: int) -> bool:
    """Tells whether a collection's records, with the wanted bands, take more memory.

    Filters are not looked at. The listing tells of a small collection; of others footers
    are read, until they are enough to know.

    Args:
        query: Its URI, bands and store.
        limit_bytes: To compare with.

    Raises:
        CollectionError: Not there, or not Parquet.
        FetchError: It cannot be listed or read.
    """
    fragments = find_files(query.store, query.uri)
    if sum(fragment.n_bytes for fragment in fragments) * _MOST_PACKED <= limit_bytes:
        return False
    total = 0
    with concurrent.futures.ThreadPoolExecutor(_FOOTERS_AT_ONCE) as pool:
        for first in range(0, len(fragments), _FOOTERS_AT_ONCE):
            few = fragments[first : first + _FOOTERS_AT_ONCE]
            total += sum(pool.map(functools.partial(_memory_bytes, query), few))
            if total > limit_bytes:
                return True
    return False


def table_columns(metadata: pq.FileMetaData, query: CollectionQuery) -> list[int]:
    """Gives the Parquet columns of a file that hold tile tables of the wanted bands."""
    paths = [metadata.schema.column(at).path.split(".") for at in range(metadata.num_columns)]
    names = {path[0] for path in paths}
    wanted = {
        name + METADATA_SUFFIX
        for band in query.bands
        for name in metadata_names(band, query.data_source, names)
    }
    return [
        at for at, path in enumerate(paths)
        if path[0] in wanted and not set(TABLES).isdisjoint(path)
    ]


def row_group_bytes(metadata: pq.FileMetaData, group: int, columns: list[int]) -> int:
    """Gives the memory that the records of a row group take; tile tables are exact."""
    found = metadata.row_group(group)
    numbers = sum(found.column(at).num_values for at in columns)
    return 8 * numbers + RECORD_BYTES * found.num_rows


def _memory_bytes(query: CollectionQuery, fragment: Fragment) -> int:
    file = next(open_fragment(query.store, fragment).get_fragments())
    columns = table_columns(file.metadata, query)
    return sum(
        row_group_bytes(file.metadata, group, columns)
        for group in range(file.metadata.num_row_groups)
    )
