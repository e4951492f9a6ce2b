"""``SamplePoints`` for Beam YAML: rows of points in, rows of samples out."""

from collections.abc import Mapping, Sequence
from typing import Any, Optional

import apache_beam as beam

from rasteret_beam.collection.filters import Filters
from rasteret_beam.options import SampleOptions, band_names
from rasteret_beam.points import PointColumns
from rasteret_beam.transforms import sample_points
from rasteret_beam.transforms.rows import BatchPoints, ToRows
from rasteret_beam.yaml.choices import box, interval
from rasteret_beam.yaml.errors import GOOD, error_rows, output_of, refuse
from rasteret_beam.yaml.rows import beam_row, sample_row


class SamplePoints(beam.PTransform):
    """Samples the pixels of a Collection of COGs at points.

    Takes rows with a point in each, and gives a row for every point, record and band: the
    point's fields, and `point_index`, `point_x`, `point_y`, `point_crs`, `record_id`,
    `datetime`, `collection`, `band`, `value`, `raster_crs` and `status`.

    Args:
        collection: Address of the Collection: a Parquet file or folder.
        bands: Names of the bands.
        points_crs: CRS of the coordinates, like EPSG:4326 for longitude and latitude.
        x_column: Field of x or longitude; by default x, lon, longitude or lng.
        y_column: Field of y or latitude; by default y, lat or latitude.
        geometry_column: Field of points as WKB, in place of x and y.
        index_field: Field that becomes point_index; by default a hash of the row.
        match: Records of a point: all, or the latest.
        max_distance_pixels: How far to look for a valid pixel where the point's own has no
            data; 0 does not look.
        return_neighbourhood: Pixels around the point's as neighbourhood_values: off, always
            or if_center_nodata.
        unmatched: Points without a sample: emit gives a row with a status; omit gives none,
            and leaves out the status.
        date_range: Only records of START/END, both inclusive, like 2024-01-01/2024-02-01; an
            end that is a day is its midnight.
        bbox: Only records that overlap xmin, ymin, xmax, ymax in EPSG:4326.
        cloud_cover_lt: Only records with eo:cloud_cover below this.
        where: Only records that meet a condition, like platform == 'S2A'.
        error_handling: Where to send what could not be read, with fields element, msg and
            stack. Without it rows have a status that says so, and where those are omitted
            an error fails the pipeline.
    """

    def __init__(  # noqa: PLR0913 -- a user's choices, by name
        self,
        *,
        collection: str,
        bands: Sequence[str],
        points_crs: str,
        x_column: Optional[str] = None,
        y_column: Optional[str] = None,
        geometry_column: Optional[str] = None,
        index_field: Optional[str] = None,
        match: str = "all",
        max_distance_pixels: int = 0,
        return_neighbourhood: str = "off",
        unmatched: str = "emit",
        date_range: Optional[str] = None,
        bbox: Optional[Sequence[float]] = None,
        cloud_cover_lt: Optional[float] = None,
        where: Optional[str] = None,
        error_handling: Optional[Mapping[str, Any]] = None,
    ) -> None:
        """Checks the choices.

        Raises:
            OptionError: One cannot work.
            PointsError: Columns do not go together.
        """
        super().__init__()
        self._columns = PointColumns(points_crs, x_column, y_column, geometry_column)
        self._index_field = index_field
        self._errors = output_of(error_handling)
        self._sample = sample_points.SamplePoints(
            collection=collection,
            options=SampleOptions(
                bands=band_names(bands),
                match=match,
                max_distance_pixels=max_distance_pixels,
                return_neighbourhood=return_neighbourhood,
                unmatched=unmatched,
            ),
            filters=Filters(
                date_range=interval(date_range),
                bbox=box(bbox),
                cloud_cover_lt=cloud_cover_lt,
                where=where,
            ),
        )

    def expand(self, rows: beam.PCollection[Any]) -> Any:  # noqa: ANN401 -- one output or two
        """Batches the rows, samples, takes the batches apart."""
        options = self._sample.options
        gone = (self._columns.geometry_column, self._index_field)
        row_type = sample_row(options, rows.element_type, gone)
        read = rows | "BatchPoints" >> BatchPoints(
            columns=self._columns, index_field=self._index_field,
        )
        sampled = read.points | "SamplePoints" >> self._sample
        samples = (
            sampled.samples
            | "ToRows" >> ToRows()
            | "BeamRows" >> beam.Map(beam_row).with_output_types(row_type)
        )
        found = (read.dead_letters, sampled.dead_letters, sampled.unusable_records)
        letters = found | "Errors" >> beam.Flatten()
        if self._errors is not None:
            return {GOOD: samples, self._errors: error_rows(letters)}
        if not options.with_status:
            refuse(letters)
        return samples
