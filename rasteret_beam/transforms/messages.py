"""Messages of a queue: in as rows of points, each at its time; out as a sample each."""

import base64
import codecs
import dataclasses
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from rasteret_beam.elements import DeadLetter, PointBatch, SampleBatch, stages
from rasteret_beam.errors import InvalidPointError, OptionError
from rasteret_beam.messages import INDEX_FIELD, MessageReader, json_messages
from rasteret_beam.transforms._metrics import DEAD_LETTERS, Counters, dead_letter_outputs
from rasteret_beam.transforms._outputs import NamedOutputs, taken_one_by_one, typed
from rasteret_beam.transforms.into_windows import IntoWindows
from rasteret_beam.transforms.rows import BatchPoints

_KEPT_BYTES = 64 * 1024


@taken_one_by_one
class DecodedMessages(NamedTuple):
    """Rows of points, and messages that hold none.

    Attributes:
        rows: A dict a message, for ``BatchMessages``.
        dead_letters: Messages that are no row.
    """

    rows: beam.PCollection[dict[str, Any]]
    dead_letters: beam.PCollection[DeadLetter]


@dataclasses.dataclass(eq=False, kw_only=True)
class DecodeMessages(NamedOutputs):
    """Reads the messages of a queue: a row each.

    Input: ``bytes``, or ``PubsubMessage`` of ``ReadFromPubSub(with_attributes=True)``.
    Output: ``DecodedMessages``. Windows: kept; give windows after this, since with a
    time column each row has its own time from here on. The watermark is still that of
    the messages: a row whose time lies far behind its message's is late, and windows
    need a lateness of as much. Dead letters: messages that are no row, and rows that are
    too late for ``windows``, with up to 64 KiB of what they hold. Counters:
    ``messages_read``, ``messages_failed``.

    Attributes:
        reader: What a message is.
        windows: The windows that follow: a row whose window, with its lateness, was over
            before its message came is a dead letter then, where the runner would drop it.
    """

    reader: MessageReader
    windows: IntoWindows | None = None

    def expand(self, messages: beam.PCollection[Any]) -> DecodedMessages:
        """One ParDo."""
        outputs = messages | "Decode" >> beam.ParDo(
            _DecodeFn(self.reader, self.windows),
        ).with_outputs(DEAD_LETTERS, main="rows")
        return DecodedMessages(typed(outputs.rows, dict[str, Any]), outputs[DEAD_LETTERS])


@dataclasses.dataclass(eq=False, kw_only=True)
class BatchMessages(NamedOutputs):
    """Batches the rows of ``DecodeMessages``: ``BatchPoints``, with what their reader knows.

    Input, output, windows, dead letters and counters: as ``BatchPoints`` has them. All
    batches have the same columns.

    Attributes:
        reader: The reader of the messages. Its points need a CRS.

    Raises:
        OptionError: There is none.
    """

    reader: MessageReader

    def __post_init__(self) -> None:
        """Looks for the CRS."""
        if self.reader.columns.crs is None:
            msg = "Messages do not tell the CRS of their points: give it, like EPSG:4326"
            raise OptionError(msg)

    def expand(
        self, rows: beam.PCollection[dict[str, Any]],
    ) -> tuple[beam.PCollection[PointBatch], beam.PCollection[DeadLetter]]:
        """BatchPoints."""
        return rows | BatchPoints(
            columns=self.reader.point_columns,
            index_field=INDEX_FIELD if self.reader.id_column else None,
            schema=self.reader.schema,
        )


class EncodeSamples(beam.PTransform):
    """Writes samples as messages: a JSON object a row.

    Input: ``SampleBatch``. Output: ``bytes``. Windows and panes: kept; each message has the time
    of its point where that came through ``BatchPoints``. Counters: ``rows_written``.
    """

    def expand(self, samples: beam.PCollection[SampleBatch]) -> beam.PCollection[bytes]:
        """One ParDo."""
        return samples | "Encode" >> beam.ParDo(_EncodeFn()).with_output_types(bytes)


class _DecodeFn(beam.DoFn):
    def __init__(self, reader: MessageReader, windows: IntoWindows | None) -> None:
        self._reader, self._windows = reader, windows
        self._counters = Counters("messages_read", "messages_failed")

    def process(
        self, message: Any, came: Any = beam.DoFn.TimestampParam,  # noqa: ANN401 -- bytes or a message; Beam's timestamp
    ) -> Iterator[Any]:
        data = message.data if isinstance(message, PubsubMessage) else message
        self._counters.add("messages_read")
        try:
            row, time_us = self._reader.read(data or b"")
            if time_us is not None and self._windows is not None:
                self._windows.check_in_time(time_us, came.micros)
        except InvalidPointError as error:
            letter = _dead_letter(message, data or b"", error)
            yield from dead_letter_outputs([letter], self._counters, "messages_failed")
            return
        yield row if time_us is None else TimestampedValue(row, Timestamp(micros=time_us))


def _dead_letter(message: Any, data: bytes, error: InvalidPointError) -> DeadLetter:  # noqa: ANN401 -- as above
    element: dict[str, Any] = {"n_bytes": len(data)}
    try:
        # The last letter may be cut in two.
        is_whole = len(data) <= _KEPT_BYTES
        element["data"], _ = codecs.utf_8_decode(data[:_KEPT_BYTES], "strict", is_whole)
    except UnicodeDecodeError:
        element["data_base64"] = base64.b64encode(data[:_KEPT_BYTES]).decode()
    if isinstance(message, PubsubMessage):
        element["message_id"] = message.message_id
        element["attributes"] = message.attributes or {}
    msg = f"The message is {error}"
    return DeadLetter(json.dumps(element), msg, "", stages.MESSAGES, error.code)


class _EncodeFn(beam.DoFn):
    def __init__(self) -> None:
        self._counters = Counters("rows_written")

    def process(
        self,
        batch: SampleBatch,
        window: Any = beam.DoFn.WindowParam,  # noqa: ANN401 -- a window
        pane: Any = beam.DoFn.PaneInfoParam,  # noqa: ANN401 -- Beam's pane
    ) -> Iterator[Any]:
        times = batch.event_time_us
        self._counters.add("rows_written", batch.samples.num_rows)
        for number, data in enumerate(json_messages(pa.Table.from_batches([batch.samples]))):
            if times is None:
                yield data
            else:
                # Named with its window: a window function must not assign it anew.
                time = Timestamp(micros=int(times[number]))
                yield WindowedValue(data, time, (window,), pane)
