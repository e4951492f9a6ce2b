"""Item + headers -> one row of a collection, in the Parquet contract that rasteret reads."""

from __future__ import annotations

import dataclasses
import math
import pickle
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import shapely

from rasteret_beam.arrow_types import holds_empty_struct
from rasteret_beam.collection.columns import TABLES
from rasteret_beam.errors import CrsError, RasteretBeamError, RecordError
from rasteret_beam.grid import crs
from rasteret_beam.indexing.footprint import footprint_of, join
from rasteret_beam.indexing.headers import BY_CATALOGUE, BandStructs, IndexedFile, structs_of
from rasteret_beam.indexing.items import EVERY_SAMPLE, AssetRef, Item, dead_letter
from rasteret_beam.schema import METADATA_SUFFIX, TIFF_SUFFIX

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

    from rasteret_beam.elements import DeadLetter

_SIDES = ("xmin", "ymin", "xmax", "ymax")
_PLAIN_ROW_BYTES = 512
_TILE_BYTES = 16
_BEYOND_32_BITS = 2**32

CONTRACT_COLUMNS = (
    "id", "datetime", "geometry", "assets", "bbox", "proj:epsg", "crs", "proj:projjson",
    "collection",
)  # fmt: skip
"""Columns of every collection, in their order."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class IndexedItem:
    """One row, packed for travel: tile tables are most of it, and mostly fit 32 bits.

    Attributes:
        id: The item's id.
        datetime: When it was taken, UTC, without tzinfo; or None.
        bbox: (xmin, ymin, xmax, ymax), longitude and latitude.
        bands: Names of the bands it has.
        columns: Name -> Arrow type of its properties, as their values tell; null where
            their source declares it.
        n_bytes: About how large the row is in memory.
        packed: The row itself.
    """

    id: str
    datetime: dt.datetime | None
    bbox: tuple[float, float, float, float]
    bands: tuple[str, ...]
    columns: dict[str, pa.DataType]
    n_bytes: int
    packed: bytes

    def row(self) -> dict[str, Any]:
        """Gives the row: column -> value, tile tables as arrays of integers."""
        return dict(pickle.loads(self.packed))  # noqa: S301 -- packed by ``pack`` of the same job


class MadeRow(NamedTuple):
    """What became of an item.

    Attributes:
        row: Its row; None where no band can be used.
        dead_letters: What of it cannot be used.
        bands_failed: How many of its bands cannot be, though their files are sound.
    """

    row: IndexedItem | None
    dead_letters: list[DeadLetter]
    bands_failed: int


class _Band(NamedTuple):
    name: str
    asset: AssetRef
    file: IndexedFile
    structs: BandStructs


def make_row(
    item: Item, files: Mapping[str, IndexedFile | RasteretBeamError],
) -> MadeRow:
    """Makes the row of an item.

    A band whose file cannot be used is left without metadata, and becomes a dead letter;
    the item's other bands are kept.

    Args:
        item: The item.
        files: What became of each of its files.

    Returns:
        The row, and what cannot be used.
    """
    letters: list[DeadLetter] = []
    bands: list[_Band] = []
    refused: dict[str, list[tuple[str, RasteretBeamError]]] = {}
    for name, asset in _named_assets(item, files).items():
        try:
            bands.append(_band(name, asset, files[asset.href]))
        except RasteretBeamError as error:
            refused.setdefault(asset.href, []).append((name, error))
    record_crs = item.crs or next((b.file.crs for b in bands if b.file.crs), None)
    bands, odd = _of_one_crs(bands, record_crs)
    for band in odd:
        msg = (
            f"Band {band.name} is in {crs.short(band.file.crs)}, its record in "
            f"{crs.short(record_crs)}; a record has one CRS: index them as items of their own"
        )
        refused.setdefault(band.asset.href, []).append((band.name, RecordError(msg)))
    for href, failed in refused.items():
        told = {"id": item.id, "href": href, "bands": [n for n, _ in failed if n != EVERY_SAMPLE]}
        letters.append(dead_letter({k: v for k, v in told.items() if v}, failed[0][1]))
    sound = [href for href, file in files.items() if isinstance(file, IndexedFile)]
    n_failed = sum(len(refused.get(href, ())) for href in sound)
    if not bands:
        return MadeRow(None, letters, n_failed)
    try:
        return MadeRow(_packed(item, bands, record_crs), letters, n_failed)
    except CrsError as error:
        letters.append(dead_letter({"id": item.id}, error))
        return MadeRow(None, letters, n_failed + len(bands))


def pack(row: dict[str, Any], bands: tuple[str, ...], *, typed: bool) -> IndexedItem:
    """Packs a row for travel.

    Args:
        row: Column -> value.
        bands: Names of its bands.
        typed: Whether the types of its properties are declared.
    """
    n_tiles = 0
    for name in (band + METADATA_SUFFIX for band in bands):
        metadata = row.get(name)
        if metadata is not None:
            n_tiles += len(metadata["tile_offsets"])
            row[name] = {**metadata, **{key: _narrow(metadata[key]) for key in TABLES}}
    own = {name + suffix for name in bands for suffix in (METADATA_SUFFIX, TIFF_SUFFIX)}
    own.update(CONTRACT_COLUMNS)
    columns = {k: pa.null() if typed else _type_of(v) for k, v in row.items() if k not in own}
    sides = [(row["bbox"] or {}).get(side) for side in _SIDES]
    xmin, ymin, xmax, ymax = (math.nan if side is None else float(side) for side in sides)
    return IndexedItem(
        str(row["id"]),
        row["datetime"],
        (xmin, ymin, xmax, ymax),
        bands,
        columns,
        _PLAIN_ROW_BYTES * (1 + len(bands)) + _TILE_BYTES * n_tiles,
        pickle.dumps(row, protocol=pickle.HIGHEST_PROTOCOL),
    )


def _narrow(table: np.ndarray) -> np.ndarray:
    fits = len(table) and table.min() >= 0 and table.max() < _BEYOND_32_BITS
    return table.astype(np.uint32) if fits else table


def property_column(name: str) -> str | None:
    """Gives the column of an item's property, or None for what other columns tell.

    A column that ends in ``_metadata`` would be taken for a band.

    >>> property_column("eo:cloud_cover"), property_column("qa_metadata"), property_column("bbox")
    ('eo:cloud_cover', 'qa_metadata_property', None)
    """
    if name in CONTRACT_COLUMNS or name in ("year", "month"):
        return None
    return name + "_property" if name.endswith((METADATA_SUFFIX, TIFF_SUFFIX)) else name


def _named_assets(
    item: Item, files: Mapping[str, IndexedFile | RasteretBeamError],
) -> dict[str, AssetRef]:
    """The item's bands; a file without named bands has one a sample."""
    every = item.assets.get(EVERY_SAMPLE)
    file = None if every is None else files[every.href]
    if every is None or not isinstance(file, IndexedFile):
        return dict(item.assets)
    return {f"B{i + 1}": every._replace(band_index=i) for i in range(file.samples)}


def _band(name: str, asset: AssetRef, file: IndexedFile | RasteretBeamError) -> _Band:
    if isinstance(file, RasteretBeamError):
        raise file
    structs = structs_of(file, name, asset.band_index)
    tiff = structs.tiff
    if asset.calibration:
        tiff = {**tiff, **asset.calibration, "calibrated_by": BY_CATALOGUE}
    index = asset.band_index or 0
    return _Band(name, asset._replace(band_index=index), file, BandStructs(structs.metadata, tiff))


def _of_one_crs(
    bands: list[_Band], record_crs: str | None,
) -> tuple[list[_Band], list[_Band]]:
    """Bands that a record in this CRS can hold, and those that it cannot.

    A CRS that the item's source declares wins where no header agrees with it (rasteret's
    rule); where one does, the others are of another grid.
    """
    of_record = [b for b in bands if b.file.crs in (None, record_crs)]
    if any(b.file.crs == record_crs for b in of_record):
        return of_record, [b for b in bands if b.file.crs not in (None, record_crs)]
    first = next((b.file.crs for b in bands if b.file.crs), None)
    return (
        [b for b in bands if b.file.crs in (None, first)],
        [b for b in bands if b.file.crs not in (None, first)],
    )


def _packed(item: Item, bands: list[_Band], record_crs: str | None) -> IndexedItem:
    footprint = join([footprint_of(band.file.extent, record_crs) for band in bands])
    epsg = crs.epsg(record_crs)
    properties = {property_column(name): value for name, value in item.properties.items()}
    row: dict[str, Any] = {
        "id": item.id,
        "datetime": item.datetime,
        "geometry": shapely.to_wkb(footprint.outline),
        "assets": {name: _asset_struct(asset) for name, asset in item.assets.items()},
        "bbox": dict(zip(_SIDES, footprint.bbox, strict=True)),
        "proj:epsg": epsg,
        "crs": None if epsg is None else record_crs,
        "proj:projjson": record_crs if epsg is None else None,
        "collection": item.collection,
        **{name: value for name, value in properties.items() if name is not None},
    }
    row["assets"].pop(EVERY_SAMPLE, None)
    for band in bands:
        row["assets"][band.name] = _asset_struct(band.asset)
        row[band.name + METADATA_SUFFIX] = band.structs.metadata
        row[band.name + TIFF_SUFFIX] = band.structs.tiff
    return pack(row, tuple(row["assets"]), typed=item.typed)


def _asset_struct(asset: AssetRef) -> dict[str, Any]:
    return {"href": asset.href, "band_index": asset.band_index}


def _type_of(value: Any) -> pa.DataType:  # noqa: ANN401 -- any property
    plain = _PLAIN_TYPES.get(type(value))
    if plain is not None:
        return plain
    try:
        kind = pa.array([value]).type
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        return pa.string()
    return pa.string() if holds_empty_struct(kind) else kind


_PLAIN_TYPES = {
    str: pa.string(), float: pa.float64(), bool: pa.bool_(), type(None): pa.null(),
}  # fmt: skip
