"""Between one element a row and batches: ``BatchPoints`` in, ``ToRows`` out."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.pvalue import TaggedOutput
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from rasteret_beam import points, schema
from rasteret_beam.elements import DeadLetter, PointBatch, SampleBatch
from rasteret_beam.errors import PointsError
from rasteret_beam.points import BATCH_ROWS, PointColumns
from rasteret_beam.points import index as point_index
from rasteret_beam.points.tabulating import tabulate
from rasteret_beam.transforms._held import fullest
from rasteret_beam.transforms._metrics import DEAD_LETTERS, Counters, dead_letter_outputs
from rasteret_beam.transforms._outputs import NamedOutputs, taken_one_by_one, typed

_PLAIN_TYPES = frozenset({float, int, str, bool, bytes, list, dict, type(None)})
"""Of most values: these need no look."""

_MOST_HELD_ROWS = 4 * BATCH_ROWS
"""Rows of all windows that a bundle holds at once."""


@taken_one_by_one
class BatchPointsResult(NamedTuple):
    """Points, and rows that hold none.

    Attributes:
        points: Batches of points, each within one window.
        dead_letters: Rows without usable coordinates.
    """

    points: beam.PCollection[PointBatch]
    dead_letters: beam.PCollection[DeadLetter]


@dataclasses.dataclass(eq=False, kw_only=True)
class BatchPoints(NamedOutputs):
    """Batches points that come one row an element.

    Input: ``beam.Row``, NamedTuples, dataclasses or dicts; rows within them are structs, and
    Beam's ``Timestamp`` a time in UTC. Output: ``BatchPointsResult``. Windows:
    kept, and a batch never crosses one; each row's timestamp travels with it, and
    ``ToRows`` gives it back. A field whose values are of several types is text, in a
    batch and in files that are written of several; ``schema`` says what type it has.
    Dead letters: rows without usable coordinates, or no index; they stay in their batch,
    without coordinates. And values that do not fit the ``schema``, which are null in rows
    that are sampled all the same.
    Counters: ``points_malformed``.

    Attributes:
        columns: Where in a row the point is, and its CRS (rows have no metadata: give
            it).
        index_field: Field that becomes ``point_index``, a whole number. Without one the
            index
            is a 63-bit hash of the row and its timestamp: the same in every retry, and
            shared by rows that are equal in both.
        schema: Arrow types of the fields, where Python's values leave them open (a
            field that is None in a whole batch); other fields are left out.
    """

    columns: PointColumns
    index_field: str | None = None
    schema: pa.Schema | None = None

    def expand(self, rows: beam.PCollection[Any]) -> BatchPointsResult:
        """Collects the rows of each bundle and window."""
        outputs = rows | "Batch" >> beam.ParDo(
            _BatchFn(self.columns, self.index_field, self.schema),
        ).with_outputs(DEAD_LETTERS, main="points")
        return BatchPointsResult(typed(outputs.points, PointBatch), outputs[DEAD_LETTERS])


class ToRows(beam.PTransform):
    """Takes batches of samples apart: one ``beam.Row`` a sample.

    Input: ``SampleBatch``. Output: ``beam.Row`` with the columns of the sample schema
    in their order, ``datetime`` as naive UTC. Windows and panes: kept; a row that came through
    ``BatchPoints`` has its own timestamp again. Dead letters and counters: none.
    """

    def expand(self, samples: beam.PCollection[SampleBatch]) -> beam.PCollection[beam.Row]:
        """One ParDo."""
        return samples | "Rows" >> beam.ParDo(_ToRowsFn()).with_output_types(beam.Row)


class _BatchFn(beam.DoFn):
    def __init__(
        self, columns: PointColumns, index_field: str | None, table_schema: pa.Schema | None,
    ) -> None:
        self._columns, self._index_field, self._schema = columns, index_field, table_schema
        self._counters = Counters("points_malformed")

    def start_bundle(self) -> None:
        self._held: dict[Any, tuple[list[dict[str, Any]], list[int]]] = {}
        self._n_held = 0

    def process(
        self, row: Any, window: Any = beam.DoFn.WindowParam, timestamp: Any = beam.DoFn.TimestampParam,  # noqa: ANN401, E501 -- Beam's parameters
    ) -> Iterator[Any]:
        rows, times = self._held.setdefault(window, ([], []))
        rows.append(_as_dict(row))
        times.append(timestamp.micros)
        self._n_held += 1
        if len(rows) >= BATCH_ROWS:
            yield from self._flush(window)
        elif self._n_held >= _MOST_HELD_ROWS:
            held = {window: len(rows) for window, (rows, _) in self._held.items()}
            for full in fullest(held):
                yield from self._flush(full)

    def finish_bundle(self) -> Iterator[Any]:
        for window in list(self._held):
            yield from self._flush(window)

    def _flush(self, window: Any) -> Iterator[Any]:  # noqa: ANN401 -- a window
        rows, times = self._held.pop(window)
        self._n_held -= len(rows)
        broken: dict[int, str] = {}
        index = np.array(
            [
                self._index(row, time, at, broken)
                for at, (row, time) in enumerate(zip(rows, times, strict=True))
            ],
            np.int64,
        )
        table, unfit = tabulate(
            rows, self._schema, set(broken), self._columns.geometry_column,
        )
        broken.update(unfit)
        batch, letters = points.to_points(
            table.to_batches()[0], self._columns, index, "BatchPoints", broken,
        )
        batch = dataclasses.replace(batch, event_time_us=np.array(times, np.int64))
        stamp = Timestamp(micros=min(times))
        for output in dead_letter_outputs(letters, self._counters, "points_malformed"):
            value = WindowedValue(output.value, stamp, (window,))
            yield TaggedOutput(DEAD_LETTERS, value)
        yield WindowedValue(batch, stamp, (window,))

    def _index(self, row: dict[str, Any], time: int, at: int, broken: dict[int, str]) -> int:
        if self._index_field is not None:
            value = row.pop(self._index_field, None)
            number = point_index.whole_number(value)
            if number is not None:
                return number
            wanted = "a whole number of 63 bits"
            broken[at] = f"index_field {self._index_field!r} is {value!r}, expected {wanted}"
        text = repr((sorted(row.items(), key=lambda item: item[0]), time))
        return point_index.hashed(text.encode())


def _as_dict(row: Any) -> dict[str, Any]:  # noqa: ANN401 -- any row
    fields = _fields(row)
    if fields is None:
        msg = (
            "A point comes as a beam.Row, a NamedTuple, a dataclass or a dict, "
            f"got {type(row).__name__}: {row!r}"
        )
        raise PointsError(msg)
    return {name: _plain(value) for name, value in fields.items()}


def _fields(row: Any) -> Mapping[str, Any] | None:  # noqa: ANN401 -- any value
    """The fields of a row; None where it is none."""
    if isinstance(row, Mapping):
        return row
    if isinstance(row, beam.Row):
        found: dict[str, Any] = row.as_dict()
        return found
    if hasattr(row, "_asdict"):
        named: dict[str, Any] = row._asdict()
        return named
    if dataclasses.is_dataclass(row):
        return {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}
    return None


def _plain(value: Any) -> Any:  # noqa: ANN401 -- any value
    """Gives a value of Beam's own types as one that Arrow knows; other values as they are."""
    if type(value) in _PLAIN_TYPES:
        return value
    if isinstance(value, Timestamp):
        # As text where it is before or beyond what a datetime can tell.
        with contextlib.suppress(OverflowError):
            return value.to_utc_datetime(has_tz=True)
        return value
    if isinstance(value, beam.Row) or hasattr(value, "_asdict"):
        return _as_dict(value)
    return value


class _ToRowsFn(beam.DoFn):
    def process(
        self,
        batch: SampleBatch,
        window: Any = beam.DoFn.WindowParam,  # noqa: ANN401 -- a window
        pane: Any = beam.DoFn.PaneInfoParam,  # noqa: ANN401 -- Beam's pane
    ) -> Iterator[Any]:
        table = schema.plain(pa.Table.from_batches([batch.samples]))
        times = batch.event_time_us
        for number, row in enumerate(table.to_pylist()):
            value = beam.Row(**row)
            if times is None:
                yield value
            else:
                # Named with its window: a window function must not assign it anew.
                time = Timestamp(micros=int(times[number]))
                yield WindowedValue(value, time, (window,), pane)
