"""What there is to read: collection Parquet -> records, and COG headers -> collection."""

from rasteret_beam.collection.atlas import Atlas, cell_numbers, make_atlas
from rasteret_beam.collection.fragments import Fragment
from rasteret_beam.collection.near import Near
from rasteret_beam.collection.near_records import FoundRecord, read_near, read_rows
from rasteret_beam.collection.query import CollectionQuery
from rasteret_beam.collection.records import (
    available_bands,
    list_fragments,
    read_fragment,
)
from rasteret_beam.collection.sizes import is_larger
from rasteret_beam.collection.survey import Survey, merge, survey_fragment

__all__ = [
    "Atlas",
    "CollectionQuery",
    "FoundRecord",
    "Fragment",
    "Near",
    "Survey",
    "available_bands",
    "cell_numbers",
    "is_larger",
    "list_fragments",
    "make_atlas",
    "merge",
    "read_fragment",
    "read_near",
    "read_rows",
    "survey_fragment",
]
