"""Times how long a point waits for its row: from being published to being written.

Messages are published at a rate, sampled window by window over HTTP, and stamped where
rows leave as messages. On Prism, with a worker process of its own; without Prism there is
nothing here that runs points without an end, and the benchmark says so.

    python tests/benchmarks/streaming.py
    python tests/benchmarks/streaming.py --rates 1000 5000 --window_seconds 5 --tile_cache 0

A window's rows come when it ends, so a point waits half a window on average whatever is done;
what reading costs is the time from the window's end on, given beside. (The source tells its
watermark a tenth of a second ahead, so rows may come that much before the end.) ``came`` is
the share of points that had their row some seconds after the last was published: below 100 %
the machine did not keep up, and the percentiles are of those that came.
"""

import argparse
import itertools
import json
import os
import pathlib
import random
import sys
import tempfile
import time

import apache_beam as beam
import numpy as np
import pyarrow.parquet as pq
import serving
from apache_beam.transforms.periodicsequence import PeriodicImpulse

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "tests"), str(ROOT / "pipelines")]
from engines import getting, running  # noqa: E402 -- found by the line above
from sample_points_streaming import SamplePointsStreamingOptions  # noqa: E402
from scenes import Scene, file_item, index_table, write_scene  # noqa: E402

from rasteret_beam import (  # noqa: E402
    BatchMessages,
    DecodeMessages,
    EncodeSamples,
    IntoWindows,
    MessageReader,
    PointColumns,
    SampleOptions,
    SamplePoints,
    Store,
)
from rasteret_beam.runners import launch  # noqa: E402

PIXELS, TILE = 4096, 256
_TICK_SECONDS = 0.1
_WARM_SECONDS = 5.0
_NS = 1e9
_JOBS = itertools.count()


class Publish(beam.DoFn):
    """Messages of a tick; an id is the moment of publishing, in nanoseconds."""

    def __init__(self, per_tick):
        self._per_tick = per_tick

    def process(self, _tick):
        for _ in range(self._per_tick):
            row, col = random.randrange(PIXELS), random.randrange(PIXELS)
            x, y = 500000.0 + (col + 0.5) * 10, 4600000.0 - (row + 0.5) * 10
            yield json.dumps({"x": x, "y": y, "id": time.time_ns()}).encode()


class Note(beam.DoFn):
    """Appends when a row was published, when its window ended, and when it came."""

    def __init__(self, folder):
        self._folder = folder

    def setup(self):
        name = f"{os.getpid()}-{time.time_ns()}.txt"
        self._file = (pathlib.Path(self._folder) / name).open("w", encoding="ascii")

    def process(self, data, window=beam.DoFn.WindowParam):
        published = json.loads(data)["point_index"]
        ended = int(float(window.end) * _NS)
        self._file.write(f"{published} {ended} {time.time_ns()}\n")

    def finish_bundle(self):
        self._file.flush()

    def teardown(self):
        self._file.close()


def run(engine, folder, collection, rate, given):
    """Runs one job; gives seconds from publishing and from the window's end, by row."""
    noted = pathlib.Path(folder) / f"noted-{next(_JOBS)}"
    noted.mkdir()
    options = launch.parse([*engine.flags, "--streaming"], SamplePointsStreamingOptions)
    reader = MessageReader(columns=PointColumns(crs="EPSG:32631"), id_column="id")
    pipeline = beam.Pipeline(options=options)
    # Time for the workers to start: what waits for them is no latency.
    start = time.time() + _WARM_SECONDS
    messages = (
        pipeline
        | PeriodicImpulse(start, start + given.seconds, _TICK_SECONDS)
        | "Publish" >> beam.ParDo(Publish(round(rate * _TICK_SECONDS)))
    )
    decoded = messages | DecodeMessages(reader=reader)
    points, _ = (
        decoded.rows
        | IntoWindows(seconds=given.window_seconds)
        | BatchMessages(reader=reader)
    )
    sampled = points | SamplePoints(
        collection=collection, options=SampleOptions(bands=("B1",)),
        store=Store(allow_http=True), cache_bytes=given.tile_cache,
        refresh_seconds=given.refresh_seconds,
    )  # fmt: skip
    _ = sampled.samples | EncodeSamples() | "Note" >> beam.ParDo(Note(str(noted)))
    result = pipeline.run()
    # It looks for new records without end.
    time.sleep(start + given.seconds + 2 * given.window_seconds + _WARM_SECONDS - time.time())
    result.cancel()
    rows = np.concatenate([np.loadtxt(file, np.int64, ndmin=2) for file in noted.glob("*.txt")
                           if file.stat().st_size])  # fmt: skip
    published, ended, came = rows.T
    # The first windows pay for imports, connections and an empty cache.
    steady = published > published.min() + _WARM_SECONDS * _NS
    return ((came - published) / _NS)[steady], ((came - ended) / _NS)[steady], len(rows)


def told(seconds):
    """Median, 95th and 99th percentile, and the longest."""
    p50, p95, p99 = np.percentile(seconds, [50, 95, 99])
    return f"{p50:6.2f} {p95:6.2f} {p99:6.2f} {seconds.max():6.2f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rates", type=float, nargs="+", default=[200, 1000, 5000])
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--window_seconds", type=float, default=1.0)
    parser.add_argument("--latency_ms", type=float, default=0)
    parser.add_argument("--tile_cache", type=int, default=256 * 10**6)
    parser.add_argument("--refresh_seconds", type=float, default=5.0)
    given = parser.parse_args()
    program, why = getting.find_prism()
    if program is None:
        sys.exit(f"{why}; python tests/engines/getting.py gets it")
    with tempfile.TemporaryDirectory() as folder:
        pixels = np.random.default_rng(1).integers(0, 4000, (1, PIXELS, PIXELS), np.uint16)
        scene = Scene(name="a", pixels=pixels, tile=(TILE, TILE))
        files = pathlib.Path(folder) / "files"
        files.mkdir()
        write_scene(files, scene)
        with (
            serving.serving(files, given.latency_ms, folder) as server,
            running.prism(program, pathlib.Path(folder)) as engine,
        ):
            collection = f"{folder}/c.parquet"
            item = file_item("a", f"{server.url}/a.tif")
            pq.write_table(index_table([item], store=Store(allow_http=True)), collection)
            print(
                f"{(PIXELS // TILE) ** 2} tiles by {server.title}, windows of "
                f"{given.window_seconds} s, cache of {given.tile_cache / 1e6:.0f} MB",
            )
            print("points/s  came     publish to row, s            window's end to row, s")
            print(" " * 16 + "   p50    p95    p99    max   " * 2)
            for rate in given.rates:
                whole, reading, n_rows = run(engine, folder, collection, rate, given)
                sent = round(rate * _TICK_SECONDS) * round(given.seconds / _TICK_SECONDS)
                line = f"{rate:8.0f} {n_rows / sent:5.0%}  {told(whole)}   {told(reading)}"
                print(line, flush=True)


if __name__ == "__main__":
    main()
