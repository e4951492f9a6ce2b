"""``BuildCollection`` for Beam YAML: files, STAC or a table in, rows of file names out."""

from collections.abc import Mapping, Sequence
from typing import Any, Optional

import apache_beam as beam
from apache_beam.pvalue import PBegin
from apache_beam.typehints.row_type import RowTypeConstraint

from rasteret_beam.errors import OptionError
from rasteret_beam.indexing.files import FileSource
from rasteret_beam.indexing.items import ItemSource
from rasteret_beam.indexing.stac import StacReading
from rasteret_beam.indexing.stac_api import StacSearch
from rasteret_beam.indexing.stac_files import StacFiles
from rasteret_beam.indexing.tables import RecordTable
from rasteret_beam.transforms import build_collection
from rasteret_beam.yaml.choices import box, interval, mapping
from rasteret_beam.yaml.errors import GOOD, error_rows, output_of, refuse

_CATALOGUED = ("bbox", "date_range", "bands", "band_map", "url_rewrite")
_CHOICES_OF = {
    "inputs": ("bands", "datetime_pattern"),
    "stac": _CATALOGUED,
    "stac_api": (*_CATALOGUED, "stac_collections", "query", "max_items"),
    "table": (*_CATALOGUED, "where", "column_map", "href_column"),
}
"""Choices that say more of each source."""

_ROW = RowTypeConstraint.from_fields([("path", str)])


class BuildCollection(beam.PTransform):
    """Indexes COGs into a Collection that SamplePoints reads.

    Takes no input; one of `inputs`, `stac`, `stac_api` and `table` says what to index. Gives
    a row with the `path` of each file of the Collection.

    Args:
        output: Folder for the Collection.
        inputs: COGs: a file, a pattern, a folder, or a text file with an address a line.
        stac: STAC files: an item, an ItemCollection, items as lines, or a static catalogue.
        stac_api: Address of a STAC API to search.
        table: Parquet with a row an item: stac-geoparquet, or any other with column_map.
        mode: replace; update, which reads only headers that are new or changed; or append,
            which also keeps records that the source does not have.
        stac_collections: Ids of the API's collections.
        query: Conditions of a search, like eo:cloud_cover with lt 20.
        max_items: Stop a search after this many items.
        where: Only rows of a table that meet a condition, like platform == 'S2A'.
        column_map: A table's columns and their names here, like year and datetime.
        href_column: A table's column of addresses.
        bbox: Only items that overlap xmin, ymin, xmax, ymax in EPSG:4326.
        date_range: Only items of START/END, both inclusive, like 2024-01-01/2024-01-31; an
            end that is a day is all of it.
        bands: Names of bands and their 0-based sample in the file; by default B1 and so on.
        band_map: Names of bands and the keys of their assets.
        url_rewrite: Beginnings of addresses and what to read from instead.
        datetime_pattern: Regular expression that finds the time in a file's name.
        collection_name: Name of the Collection.
        data_source: Whose band names to know, like sentinel-2-l2a.
        error_handling: Where to send what cannot be indexed, with fields element, msg and
            stack. Without it an error fails the pipeline.
    """

    _yaml_requires_inputs = False

    def __init__(  # noqa: PLR0913 -- a user's choices, by name
        self,
        *,
        output: str,
        inputs: Optional[str] = None,
        stac: Optional[str] = None,
        stac_api: Optional[str] = None,
        table: Optional[str] = None,
        mode: str = "replace",
        stac_collections: Optional[Sequence[str]] = None,
        query: Optional[Mapping[str, Any]] = None,
        max_items: Optional[int] = None,
        where: Optional[str] = None,
        column_map: Optional[Mapping[str, str]] = None,
        href_column: Optional[str] = None,
        bbox: Optional[Sequence[float]] = None,
        date_range: Optional[str] = None,
        bands: Optional[Mapping[str, int]] = None,
        band_map: Optional[Mapping[str, str]] = None,
        url_rewrite: Optional[Mapping[str, str]] = None,
        datetime_pattern: Optional[str] = None,
        collection_name: str = "",
        data_source: str = "",
        error_handling: Optional[Mapping[str, Any]] = None,
    ) -> None:
        """Checks the choices.

        Raises:
            OptionError: One cannot work, or does nothing.
        """
        super().__init__()
        addresses = {"inputs": inputs, "stac": stac, "stac_api": stac_api, "table": table}
        choices = {
            "stac_collections": stac_collections, "query": mapping(query), "max_items": max_items,
            "where": where, "column_map": mapping(column_map), "href_column": href_column,
            "bbox": box(bbox), "date_range": interval(date_range), "bands": mapping(bands),
            "band_map": mapping(band_map), "url_rewrite": mapping(url_rewrite),
            "datetime_pattern": datetime_pattern,
        }  # fmt: skip
        self._errors = output_of(error_handling)
        self._build = build_collection.BuildCollection(
            source=_source(addresses, choices, data_source),
            folder=output,
            mode=mode,
            name=collection_name,
            data_source=data_source,
        )

    def expand(self, pbegin: PBegin) -> Any:  # noqa: ANN401 -- one output or two
        """Builds; names the files."""
        built = pbegin | "BuildCollection" >> self._build
        files = built.files | "Rows" >> beam.Map(_file_row).with_output_types(_ROW)
        if self._errors is not None:
            return {GOOD: files, self._errors: error_rows(built.dead_letters)}
        refuse(built.dead_letters)
        return files


def _source(
    addresses: Mapping[str, str | None], choices: Mapping[str, Any], data_source: str,
) -> ItemSource:
    """The source that has an address, from the choices that are for it."""
    given = [(kind, address) for kind, address in addresses.items() if address]
    if len(given) != 1:
        told = [kind for kind, _ in given] or "none"
        msg = f"One source is required, of {', '.join(addresses)}; given: {told}"
        raise OptionError(msg)
    kind, address = given[0]
    idle = [name for name, value in choices.items() if value and name not in _CHOICES_OF[kind]]
    if idle:
        msg = f"{idle[0]} does nothing with {kind}"
        raise OptionError(msg)
    if kind == "inputs":
        return FileSource(
            inputs=address,
            bands=choices["bands"] or None,
            datetime_pattern=choices["datetime_pattern"],
        )
    reading = StacReading(
        band_map=choices["band_map"] or None,
        band_index_map=choices["bands"],
        data_source=data_source,
        url_rewrite_patterns=choices["url_rewrite"],
        bbox=choices["bbox"],
        date_range=choices["date_range"],
    )
    if kind == "stac":
        return StacFiles(inputs=address, reading=reading)
    if kind == "stac_api":
        return StacSearch(
            url=address,
            collections=tuple(choices["stac_collections"] or ()),
            reading=reading,
            query=choices["query"] or None,
            max_items=choices["max_items"],
        )
    return RecordTable(
        table=address,
        reading=reading,
        column_map=choices["column_map"],
        href_column=choices["href_column"],
        where=choices["where"],
    )


def _file_row(path: str) -> beam.Row:
    return beam.Row(path=path)
