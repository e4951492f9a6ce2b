"""What there is to read: collection Parquet -> records, and COG headers -> collection."""

from rasteret_beam.collection.fragments import Fragment
from rasteret_beam.collection.records import (
    CollectionQuery,
    available_bands,
    list_fragments,
    read_fragment,
)

__all__ = ["CollectionQuery", "Fragment", "available_bands", "list_fragments", "read_fragment"]
