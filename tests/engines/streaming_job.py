"""The streaming pipeline with a source that needs no cloud, for any engine.

``python streaming_job.py POINTS START SECONDS`` and flags of the pipeline and of Beam: every
half second from START some points come as messages, with its time as theirs.
"""

import json
import pathlib
import sys

import apache_beam as beam
import pyarrow.parquet as pq
from apache_beam.transforms.periodicsequence import PeriodicSequence

from rasteret_beam.runners import launch

sys.path.append(str(pathlib.Path(__file__).resolve().parents[2] / "pipelines"))
from sample_points_streaming import SamplePointsStreamingOptions, sample_messages

_POINTS_A_TICK, _SECONDS_A_TICK = 20, 0.5


def run(points, start, seconds, *flags):
    xy = pq.read_table(points, columns=["x", "y"]).to_pylist()

    def messages(tick):
        first = round((float(tick) - start) / _SECONDS_A_TICK) * _POINTS_A_TICK
        for number in range(first, first + _POINTS_A_TICK):
            yield json.dumps({**xy[number % len(xy)], "number": number}).encode()

    options = launch.parse(flags, SamplePointsStreamingOptions)
    with beam.Pipeline(options=options) as pipeline:
        ticks = (
            pipeline
            | beam.Create([(start, start + seconds, _SECONDS_A_TICK)])
            | PeriodicSequence()
        )
        arriving = ticks | beam.FlatMap(messages).with_output_types(bytes)
        sample_messages(arriving, options.view_as(SamplePointsStreamingOptions))


if __name__ == "__main__":
    run(sys.argv[1], *map(float, sys.argv[2:4]), *sys.argv[4:])
