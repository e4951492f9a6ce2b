"""Points whose columns the output cannot have are refused, before a tile is read."""

import dataclasses
from collections.abc import Iterator

import apache_beam as beam
import pyarrow as pa

from rasteret_beam import bigquery, schema
from rasteret_beam.elements import PointBatch
from rasteret_beam.output import Layout
from rasteret_beam.output.columns import check_columns, check_output
from rasteret_beam.transforms._displayed import Displayed


@dataclasses.dataclass(eq=False, kw_only=True)
class CheckColumns(Displayed):
    """Refuses points with a column that ``WriteSamples`` would refuse.

    It meets them when tiles were fetched for them; this goes before ``SamplePoints``.

    Input: ``PointBatch``. Output: the same. Windows: kept. Dead letters and counters: none.

    Attributes:
        output_format: As in ``WriteSamples``.
        layout: Likewise.
        bands: Likewise.

    Raises:
        OptionError: What ``WriteSamples`` refuses when it is built. While running: a column
            has a name that format or layout gives.
        OutputError: Likewise: a list has a null, and BigQuery no form for that.
    """

    output_format: str
    layout: str
    bands: tuple[str, ...]

    def __post_init__(self) -> None:
        """Checks format, layout and bands: of a run that only plans nobody else does."""
        check_output(self.output_format, Layout(self.layout, self.bands))

    def expand(self, points: beam.PCollection[PointBatch]) -> beam.PCollection[PointBatch]:
        """One ParDo."""
        return points | "Check" >> beam.ParDo(
            _CheckFn(self.output_format, Layout(self.layout, self.bands)),
        ).with_output_types(PointBatch)


class _CheckFn(beam.DoFn):
    def __init__(self, output_format: str, layout: Layout) -> None:
        self._output_format, self._layout = output_format, layout
        self._known: pa.Schema | None = None

    def process(self, batch: PointBatch) -> Iterator[PointBatch]:
        found = batch.points.schema
        if found is not self._known:
            names = schema.user_columns(found).names
            check_columns(names, self._output_format, self._layout)
            self._known = found
        if self._output_format == "bigquery":
            bigquery.check_lists(batch.points)
        yield batch
