"""The streaming pipeline with a source that needs no cloud, for any engine.

``python streaming_job.py POINTS START SECONDS`` and flags of the pipeline and of Beam: every
half second from START some points come as messages, with its time as theirs, and one message
that is no point. START is a time, or a file that has it; where there is no such file it is made
when the first worker is at work, so that a slow start of the engine takes nothing of the stream.
"""

import json
import math
import pathlib
import sys
import time

import apache_beam as beam
import pyarrow.parquet as pq
from apache_beam.transforms.periodicsequence import PeriodicSequence

from rasteret_beam.runners import launch

sys.path.append(str(pathlib.Path(__file__).resolve().parents[2] / "pipelines"))
from sample_points_streaming import SamplePointsStreamingOptions, sample_messages

_POINTS_A_TICK, _SECONDS_A_TICK = 20, 0.5
WINDOW_SECONDS = 5
"""A stream that begins when it is at work begins with a window of so many seconds."""


def run(points, start, seconds, *flags):
    xy = pq.read_table(points, columns=["x", "y"]).to_pylist()

    def span(_):
        begin = _begin(start)
        return begin, begin + seconds, _SECONDS_A_TICK

    def messages(tick):
        first = round((float(tick) - _begin(start)) / _SECONDS_A_TICK) * _POINTS_A_TICK
        for number in range(first, first + _POINTS_A_TICK):
            yield json.dumps({**xy[number % len(xy)], "number": number}).encode()
        yield b"no point, but the message before %d" % (first + _POINTS_A_TICK)

    options = launch.parse(flags, SamplePointsStreamingOptions)
    with beam.Pipeline(options=options) as pipeline:
        ticks = pipeline | beam.Create([None]) | beam.Map(span) | PeriodicSequence()
        arriving = ticks | beam.FlatMap(messages).with_output_types(bytes)
        sample_messages(arriving, options.view_as(SamplePointsStreamingOptions))


def _begin(start):
    if not start.startswith("/"):
        return float(start)
    file = pathlib.Path(start)
    if not file.exists():
        hidden = file.with_suffix(".new")
        hidden.write_text(str(math.floor(time.time() / WINDOW_SECONDS) * WINDOW_SECONDS))
        hidden.rename(file)
    return float(file.read_text())


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2], float(sys.argv[3]), *sys.argv[4:])
