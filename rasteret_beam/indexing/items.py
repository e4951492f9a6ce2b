"""What is to be indexed: items, and the assets that hold their bands."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from rasteret_beam.elements import DeadLetter, stages
from rasteret_beam.errors import OptionError, RasteretBeamError, RecordError
from rasteret_beam.storage import redact
from rasteret_beam.storage.addresses import with_prefix

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Mapping

    import pyarrow as pa

    from rasteret_beam.storage import Store

EVERY_SAMPLE = "*"
"""Name of an asset whose samples all become bands, ``B1`` .. ``Bn``."""


class AssetRef(NamedTuple):
    """Where one band is.

    Attributes:
        href: The file.
        band_index: 0-based sample of the file; None where it has one.
        scale: As the catalogue says; goes before the file's own tag.
        offset: As the catalogue says.
        unit: As the catalogue says.
    """

    href: str
    band_index: int | None = None
    scale: float | None = None
    offset: float | None = None
    unit: str | None = None

    @property
    def calibration(self) -> dict[str, float | str]:
        """Scale, offset and unit, those that the catalogue says."""
        told = {"scale": self.scale, "offset": self.offset, "unit": self.unit}
        return {name: value for name, value in told.items() if value is not None}


@dataclasses.dataclass(frozen=True, slots=True)
class Item:
    """One acquisition, before its headers are read.

    Attributes:
        id: Its id, in the collection's ``id`` column.
        assets: Band -> where it is; ``EVERY_SAMPLE`` alone for files without named bands.
        datetime: When it was taken, UTC, without tzinfo; or None.
        collection: Value of the ``collection`` column; None for the whole run's.
        crs: CRS that its source declares, normalised; wins over the header's, as in
            rasteret. None to take the header's.
        properties: Further columns, name -> value.
        unique_id: Whether no other item of its ``collection`` has its id, as STAC has it:
            then an earlier record of both is this item's wherever its files were.
        typed: Whether its source declares the types of its properties; those of others
            are told by their values.
        origin: The content that names the assets, which decides what it may name: see
            ``Store.guarded``. None where the operator names them.
    """

    id: str
    assets: Mapping[str, AssetRef]
    datetime: dt.datetime | None = None
    collection: str | None = None
    crs: str | None = None
    properties: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    unique_id: bool = False
    typed: bool = False
    origin: str | None = None

    def store(self, store: Store) -> Store:
        """Gives the store that reads its assets."""
        return store if self.origin is None else store.guarded(self.origin)


class ItemBatch(NamedTuple):
    """Some items of a source.

    Attributes:
        items: Those that can be indexed.
        dead_letters: What cannot be, and why.
        columns: Types of the items' properties, where the source declares them.
    """

    items: list[Item]
    dead_letters: list[DeadLetter]
    columns: pa.Schema | None = None


@runtime_checkable
class ItemSource(Protocol):
    """Where items come from. Small enough to pickle; opens nothing when made."""

    def parts(self, store: Store) -> Iterator[Any]:
        """Lists what can be read apart from each other, cheaply."""

    def read(self, store: Store, part: Any) -> Iterator[ItemBatch]:  # noqa: ANN401 -- its own
        """Reads the items of one part."""


def dead_letter(element: Mapping[str, Any], error: RasteretBeamError) -> DeadLetter:
    """Gives the dead letter of what cannot be indexed.

    Args:
        element: What it is, by names; addresses lose their credentials.
        error: Why not.
    """
    told = {k: redact(v) if isinstance(v, str) else v for k, v in element.items()}
    where = ", ".join(f"{name} {value!r}" for name, value in told.items())
    return DeadLetter(json.dumps(told), f"{where}: {error}", "", stages.ITEMS, error.code)


def misnamed_letter(name: str) -> DeadLetter:
    """Gives the dead letter of a file whose name is no text; it is spelled out here."""
    error = RecordError("Its name is no UTF-8, as addresses in a collection are: rename it")
    return dead_letter({"href": name}, error)


def rewrite_href(href: str, patterns: Mapping[str, str]) -> str:
    """Gives an address with the first prefix that matches replaced.

    >>> rewrite_href("https://a.org/data/x.tif", {"https://a.org/": "s3://a/"})
    's3://a/data/x.tif'
    """
    for prefix, replacement in patterns.items():
        if href.startswith(prefix):
            return with_prefix(href, prefix, replacement)
    return href


def check_bands_apart(
    band_map: Mapping[str, str] | None, band_index_map: Mapping[str, int],
) -> None:
    """Refuses several bands of one asset without the samples that tell them apart.

    Raises:
        OptionError: An asset has two bands, and one of them no index.
    """
    by_asset: dict[str, list[str]] = {}
    for band, key in (band_map or {}).items():
        by_asset.setdefault(key, []).append(band)
    for key, bands in by_asset.items():
        without = [band for band in bands if band not in band_index_map]
        if len(bands) > 1 and without:
            msg = (
                f"band_map names asset {key!r} for {bands}, but band_index_map gives no "
                f"sample for {without}; expected like {{{bands[0]!r}: 0, {bands[1]!r}: 1}}"
            )
            raise OptionError(msg)
