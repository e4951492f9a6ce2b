"""Points in: files -> point batches."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import PBegin

from rasteret_beam import point_files
from rasteret_beam.elements import DeadLetter, PointBatch
from rasteret_beam.errors import FetchError, PointsError
from rasteret_beam.point_files import PointsFile, PointsPiece
from rasteret_beam.points import PointColumns
from rasteret_beam.storage import Store
from rasteret_beam.transforms._metrics import DEAD_LETTERS, Counters, dead_letter_outputs
from rasteret_beam.transforms._outputs import NamedOutputs, taken_one_by_one, typed


@taken_one_by_one
class ReadPointsResult(NamedTuple):
    """Points that were read, and rows that hold no point.

    Attributes:
        points: Batches of points.
        dead_letters: Rows without usable coordinates; they stay in their batch.
    """

    points: beam.PCollection[PointBatch]
    dead_letters: beam.PCollection[DeadLetter]


@dataclasses.dataclass(eq=False, kw_only=True)
class ReadPoints(NamedOutputs):
    """Reads points from Parquet, GeoParquet, CSV or GeoJSON files.

    ``point_index`` is a row's position in the whole input, files in the order of their
    URIs: the same in every run, however many workers read. Each file's points are in the
    CRS, and in the column of geometries, that its own metadata tells.

    Input: the pipeline. Output: ``ReadPointsResult``; an input without rows gives one
    empty batch, for its schema. Windows: the global one. Dead letters: rows without
    usable coordinates. Counters: ``points_malformed``.

    Attributes:
        pattern: A file, or a pattern of files: local, gs://, s3://, https://.
        columns: Where in a row the point is, and its CRS.
        store: How files are read.

    Raises:
        PointsError: While running: no file, no columns that hold points, no CRS.
    """

    pattern: str
    columns: PointColumns = dataclasses.field(default_factory=PointColumns)
    store: Store = dataclasses.field(default_factory=Store)

    def expand(self, pbegin: PBegin) -> ReadPointsResult:
        """Lists, counts, numbers and reads the files."""
        outputs = (
            pbegin
            | "Pattern" >> beam.Impulse()
            | "ListFiles" >> beam.ParDo(_ListFilesFn(self.store, self.pattern))
            | "SpreadFiles" >> beam.Reshuffle()
            | "Inspect" >> beam.ParDo(_InspectFn(self.store, self.columns))
            | "Gather" >> beam.GroupByKey()
            | "Number" >> beam.FlatMap(_number, self.columns).with_output_types(PointsPiece)
            | "SpreadPieces" >> beam.Reshuffle()
            | "Read" >> beam.ParDo(
                _ReadFn(self.store),
            ).with_outputs(DEAD_LETTERS, main="points")
        )
        return ReadPointsResult(typed(outputs.points, PointBatch), outputs[DEAD_LETTERS])


class _ListFilesFn(beam.DoFn):
    def __init__(self, store: Store, pattern: str) -> None:
        self._store, self._pattern = store, pattern

    def process(self, _impulse: bytes) -> Iterator[str]:
        try:
            yield from self._store.glob(self._pattern)
        except FetchError as error:
            msg = f"points: {error}"
            raise PointsError(msg) from error


class _InspectFn(beam.DoFn):
    def __init__(self, store: Store, columns: PointColumns) -> None:
        self._store, self._columns = store, columns

    def process(self, uri: str) -> Iterator[tuple[int, PointsFile]]:
        yield 0, point_files.inspect_file(self._store, uri, self._columns)


def _number(
    gathered: tuple[int, Iterable[PointsFile]], columns: PointColumns,
) -> list[PointsPiece]:
    return point_files.number_files(list(gathered[1]), columns)


class _ReadFn(beam.DoFn):
    def __init__(self, store: Store) -> None:
        self._store = store
        self._counters = Counters("points_malformed")

    def process(self, piece: PointsPiece) -> Iterator[Any]:
        for batch, letters in point_files.read_piece(self._store, piece):
            yield from dead_letter_outputs(letters, self._counters, "points_malformed")
            yield batch
