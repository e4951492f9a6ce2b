"""What of a collection is wanted."""

from __future__ import annotations

import dataclasses

from rasteret_beam.collection.filters import Filters
from rasteret_beam.storage import Store


@dataclasses.dataclass(frozen=True, slots=True)
class CollectionQuery:
    """Which records and bands of a collection.

    Attributes:
        uri: A Parquet file, or a folder of them (hive-partitioned or plain).
        bands: Names of the bands.
        filters: Conditions on the records.
        data_source: Whose band names to know (``sentinel-2-l2a``, ...); by default as
            the collection says.
        store: How files are read.
    """

    uri: str
    bands: tuple[str, ...]
    filters: Filters = dataclasses.field(default_factory=Filters)
    data_source: str | None = None
    store: Store = dataclasses.field(default_factory=Store)
