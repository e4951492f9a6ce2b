"""What BigQuery wants: names, types, load jobs; and its rows as points. Nothing here calls it."""

from rasteret_beam.bigquery.loadable import (
    GEOGRAPHY_COLUMN,
    check_lists,
    loadable,
    table_fields,
)
from rasteret_beam.bigquery.loads import Load
from rasteret_beam.bigquery.names import SCHEME, TableName, safe_names

__all__ = [
    "GEOGRAPHY_COLUMN",
    "SCHEME",
    "Load",
    "TableName",
    "check_lists",
    "loadable",
    "safe_names",
    "table_fields",
]
