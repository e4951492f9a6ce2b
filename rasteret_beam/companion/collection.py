"""A collection in the hand: rasteret's ``Collection``, for what needs no pipeline."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from rasteret_beam.collection.catalog import find_dataset
from rasteret_beam.collection.filters import Filters
from rasteret_beam.collection.fragments import source_of
from rasteret_beam.collection.records import available_bands
from rasteret_beam.companion import exporting, facts, sampling, workspace
from rasteret_beam.companion.describe import DescribeResult, compare, summarise
from rasteret_beam.companion.opening import Opened, open_arrow, open_parquet
from rasteret_beam.companion.point_tables import point_table
from rasteret_beam.companion.record_view import RecordView
from rasteret_beam.companion.rows import Rows
from rasteret_beam.companion.views import View
from rasteret_beam.errors import CollectionError, OptionError, RasteretBeamError
from rasteret_beam.options import SampleOptions, band_names
from rasteret_beam.schema import METADATA_SUFFIX, TIFF_SUFFIX
from rasteret_beam.storage import Store

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator, Sequence

    import pyarrow.compute as pc

    from rasteret_beam.collection.instants import Moment


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Collection(Rows):
    """Records of a collection, filtered or not; nothing is read before it is asked for.

    Every filter gives a new collection and leaves this one as it is.

    Attributes:
        view: The records.
        name: Name of the collection.
        description: Text on it.
        data_source: Whose band names it uses (``sentinel-2-l2a``, ...), or "".
        start_date: First date, where it is known.
        end_date: Last date, where it is known.
        store: How files are read.
    """

    name: str = ""
    description: str = ""
    data_source: str = ""
    start_date: dt.datetime | None = None
    end_date: dt.datetime | None = None
    store: Store = dataclasses.field(default_factory=Store)

    create_name = staticmethod(workspace.create_name)
    parse_name = staticmethod(workspace.parse_name)
    list_collections = staticmethod(workspace.list_collections)

    @classmethod
    def from_parquet(
        cls,
        path: str | pathlib.Path,
        name: str = "",
        *,
        data_source: str = "",
        store: Store | None = None,
    ) -> Collection:
        """Opens a Parquet file, or a folder of them (hive-partitioned or plain).

        Args:
            path: Local, gs://, s3:// or https://; only the listing and one footer are read.
            name: Name of the collection; by default the file's own, else the path's.
            data_source: Whose band names to know; by default as the file says.
            store: How files are read.

        Raises:
            CollectionError: Not there, not Parquet, or no collection.
        """
        store = store or Store()
        opened = open_parquet(str(path), store)
        return cls._of(opened, store, name, data_source)

    @classmethod
    def from_arrow(  # noqa: PLR0913 -- rasteret's arguments
        cls,
        data: Any,  # noqa: ANN401 -- any Arrow
        *,
        name: str = "",
        data_source: str = "",
        description: str = "",
        start_date: dt.datetime | None = None,
        end_date: dt.datetime | None = None,
        require_band_metadata: bool = True,
        store: Store | None = None,
    ) -> Collection:
        """Takes rows of a collection that are Arrow data already.

        Args:
            data: A Table, RecordBatch, RecordBatchReader, Dataset (which stays where it
                is), or an object with ``__arrow_c_stream__``.
            name: Name of the collection.
            data_source: Whose band names to know; by default as the rows say.
            description: Text on it.
            start_date: First date.
            end_date: Last date.
            require_band_metadata: Whether rows without any header are refused.
            store: How files are read.

        Raises:
            TypeError: It is no Arrow data, or a date is no datetime.
            CollectionError: It is no collection.
        """
        _check_date("start_date", start_date)
        _check_date("end_date", end_date)
        opened = open_arrow(data, require_band_metadata=require_band_metadata)
        made = cls._of(opened, store or Store(), name, data_source)
        return dataclasses.replace(
            made, description=description, start_date=start_date, end_date=end_date,
        )

    @classmethod
    def _of(cls, opened: Opened, store: Store, name: str, data_source: str) -> Collection:
        start, end = opened.dates or (None, None)
        name, source = name or opened.name, data_source or opened.data_source
        return cls(
            opened.view, name, opened.description, source, start, end, store,
        )

    # Filters

    def subset(
        self,
        *,
        cloud_cover_lt: float | None = None,
        date_range: tuple[Moment, Moment] | None = None,
        bbox: tuple[float, float, float, float] | None = None,
        geometries: Any = None,  # noqa: ANN401 -- any spelling
        split: str | Sequence[str] | None = None,
        split_column: str = "split",
    ) -> Collection:
        """Gives the records that meet all of some conditions; ``Filters`` says each.

        Raises:
            OptionError: No condition, or a value that cannot work.
            CollectionError: A condition's column is not there.
        """
        if all(v is None for v in (cloud_cover_lt, date_range, bbox, geometries, split)):
            msg = (
                "No filters provided; expected cloud_cover_lt, date_range, bbox, geometries or "
                "split"
            )
            raise OptionError(msg)
        return self._narrowed(
            Filters(date_range, bbox, geometries, cloud_cover_lt, split, split_column),
        )

    def select_split(
        self, split: str | Sequence[str], *, split_column: str = "split",
    ) -> Collection:
        """Gives the records of a split, or of several."""
        return self.subset(split=split, split_column=split_column)

    def where(self, condition: pc.Expression | str) -> Collection:
        """Gives the records that meet a condition on any column.

        Args:
            condition: A pyarrow expression, or text like ``eo:cloud_cover < 20``.

        Raises:
            OptionError: It cannot be read as one, or does not fit its column.
            CollectionError: A column is not there.
        """
        return self._narrowed(Filters(where=condition))

    def _narrowed(self, filters: Filters) -> Collection:
        return dataclasses.replace(self, view=self.view.narrowed(filters))

    # Facts

    @property
    def bands(self) -> list[str]:
        """Names of the bands."""
        return available_bands(self.view.schema.names)

    @property
    def bounds(self) -> tuple[float, float, float, float] | None:
        """(xmin, ymin, xmax, ymax) of all records, in degrees; None without a bbox."""
        return facts.bounds_of(self.view)

    @property
    def crs(self) -> list[str]:
        """The rasters' reference systems."""
        return facts.crs_of(self.view)

    @property
    def epsg(self) -> list[int]:
        """The rasters' EPSG codes."""
        return facts.epsg_of(self.view)

    def describe(self) -> DescribeResult:
        """Gives a summary: records, bands, extent, reference systems, dates."""
        return summarise(self._facts())

    def compare_to_catalog(self) -> DescribeResult:
        """Gives a summary beside what the catalogue says of the data source.

        Raises:
            CollectionError: The catalogue does not have it.
        """
        known = find_dataset(self.data_source) if self.data_source else None
        if known is None:
            msg = (
                f"No catalog entry found for data_source={self.data_source!r}. "
                "Use describe() for the collection alone"
            )
            raise CollectionError(msg)
        return compare(self._facts(), known)

    def _facts(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "name": self.name, "records": len(self), "bands": self.bands,
            "bounds": self.bounds, "crs": self.epsg,
        }  # fmt: skip
        dates = facts.dates_of(self.view)
        if self.start_date and self.end_date:
            dates = str(self.start_date)[:10], str(self.end_date)[:10]
        if dates is not None:
            found["dates"] = dates
        if self.data_source:
            found["source"] = self.data_source
        return found

    def __repr__(self) -> str:
        """Gives name and source, and how much there is; "?" where that cannot be read."""
        told = [repr(self.name)]
        if self.data_source:
            told.append(f"source={self.data_source!r}")
        told.append(f"bands={len(self.bands)}")
        try:
            codes = self.epsg
            told.append(f"records={len(self)}")
        except RasteretBeamError:
            codes = []
            told.append("records=?")
        if codes:
            told.append(f"crs={codes[0] if len(codes) == 1 else codes}")
        if self.start_date and self.end_date:
            told.append(f"{self.start_date.date()}..{self.end_date.date()}")
        return f"Collection({', '.join(told)})"

    # Records and pixels

    def iterate_records(self, bands: Sequence[str] | None = None) -> Iterator[RecordView]:
        """Reads the records one by one.

        Args:
            bands: Bands whose header fields to read; all by default.
        """
        columns = None
        if bands is not None:
            suffixes = (METADATA_SUFFIX, TIFF_SUFFIX)
            others = {b + suffix for b in set(self.bands) - set(bands) for suffix in suffixes}
            columns = [name for name in self.view.schema.names if name not in others]
        for batch in self.view.batches(columns):
            for at in range(batch.num_rows):
                row = batch.slice(at, 1)
                alone = dataclasses.replace(
                    self, view=View(pa.Table.from_batches([row]), self.view.label),
                )
                yield RecordView(row, self.data_source, alone.sample_points)

    def get_first_record(self) -> RecordView:
        """Reads the first record.

        Raises:
            CollectionError: There is none.
        """
        for record in self.iterate_records():
            return record
        msg = f"No raster records found in collection {self.name!r}"
        raise CollectionError(msg)

    def sample_points(  # noqa: PLR0913 -- rasteret's arguments
        self,
        points: Any,  # noqa: ANN401 -- any spelling
        bands: Sequence[str],
        *,
        geometry_column: str | None = None,
        x_column: str | None = None,
        y_column: str | None = None,
        geometry_crs: Any = "auto",  # noqa: ANN401 -- any spelling
        data_source: str | None = None,
        match: str = "all",
        max_distance_pixels: int = 0,
        return_neighbourhood: str = "off",
        unmatched: str = "omit",
        **filters: Any,  # noqa: ANN401 -- those of ``Filters``
    ) -> pa.Table:
        """Reads the pixels of points, in this process.

        Args:
            points: A table with one row a point (Arrow data, a dict of columns, a
                DataFrame or GeoDataFrame), or shapely Points, WKB or GeoJSON geometries.
            bands: Names of the bands.
            geometry_column: Column of WKB or GeoArrow points.
            x_column: Column of x or longitude, with ``y_column``.
            y_column: Column of y or latitude.
            geometry_crs: CRS of the points: ``auto`` as the table's metadata says
                (EPSG:4326 for what is no table), None for each raster's own.
            data_source: Whose band names to know; by default the collection's.
            match: ``all`` records that hold a point, or the ``latest``.
            max_distance_pixels: How far to look for a valid pixel.
            return_neighbourhood: ``off``, ``always`` or ``if_center_nodata``.
            unmatched: ``omit`` points without a sample, as rasteret does; ``emit`` gives
                every point a row, with a ``status``.
            **filters: Conditions on the records, as ``Filters`` has them.

        Returns:
            One row per (point, record, band) in rasteret's schema, then the points' own
            columns. What could not be read is a RuntimeWarning.

        Raises:
            TypeError: Points that are neither table nor geometry, or an unknown filter.
            OptionError: A value that cannot work.
            PointsError: The table holds no points, or does not say their CRS.
            CollectionError: A band is not there, or nothing could be read.
        """
        names = band_names(bands)
        sampling.check(self.view, names)
        options = SampleOptions(
            names, match, max_distance_pixels, return_neighbourhood, unmatched,
        )
        view = self.view.narrowed(sampling.filters_of(filters))
        table = point_table(
            points, geometry_column=geometry_column, x_column=x_column, y_column=y_column,
            geometry_crs=geometry_crs,
        )  # fmt: skip
        source = data_source or self.data_source or source_of(self.view.dataset()) or ""
        return sampling.sample(view, table, options, source, self.store)

    def export(
        self, path: str | pathlib.Path, partition_by: Sequence[str] = ("year", "month"),
    ) -> None:
        """Writes the records as a collection of their own, which rasteret loads too.

        Args:
            path: The folder, empty or with a collection to replace; local, gs://, s3://.
            partition_by: Columns whose values name folders.

        Raises:
            OptionError: Something else is in the folder, or a column is not there.
            CollectionError: The records cannot be read.
        """
        dates = ""
        if self.start_date and self.end_date:
            dates = f"{self.start_date.isoformat()},{self.end_date.isoformat()}"
        told = {
            "name": self.name, "description": self.description,
            "data_source": self.data_source, "date_range": dates,
        }  # fmt: skip
        exporting.export(self.view, str(path), partition_by, told)


def _check_date(argument: str, value: object) -> None:
    if value is not None and not isinstance(value, dt.datetime):
        msg = f"{argument} must be a datetime, got {value!r}"
        raise TypeError(msg)
