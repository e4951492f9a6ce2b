"""The name of a points file -> its kind."""

from __future__ import annotations

from rasteret_beam.errors import PointsError
from rasteret_beam.storage import redact
from rasteret_beam.storage.addresses import split_root

PARQUET, CSV, GEOJSON = "parquet", "csv", "geojson"

_SUFFIXES = (
    (PARQUET, (".parquet", ".geoparquet", ".pq")),
    (CSV, (".csv", ".tsv")),
    (GEOJSON, (".geojson", ".json", ".geojsonl", ".ndjson", ".geojsons", ".jsonl")),
)


def kind_of(uri: str) -> str:
    """Gives the kind of a file.

    Raises:
        PointsError: Its name tells none.
    """
    name = split_root(uri)[1].lower().removesuffix(".gz")
    for kind, suffixes in _SUFFIXES:
        if name.endswith(suffixes):
            return kind
    msg = (
        f"{redact(uri)}: not a points file by its name; expected .parquet, .geoparquet, .csv, "
        ".geojson or newline-delimited .geojsonl"
    )
    if "." not in name.rstrip("/").rpartition("/")[2]:
        msg += f"; of a folder give its files, like {redact(uri).rstrip('/')}/*.parquet"
    raise PointsError(msg)
