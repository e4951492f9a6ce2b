"""Points without an end, sampled per window of ten seconds, by a job without side inputs.

Beam's runner for Flink cannot make checkpoints of a job with side inputs (ClassCastException in
its SideInputHandler's state), and ``PlanTiles`` has its records as one. Here each process reads
them itself; all that follows is ours as it is.

``python checkpointed_job.py COLLECTION POINTS OUTPUT START SECONDS`` and flags of Beam.
"""

import sys

import apache_beam as beam
import pyarrow.parquet as pq
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.periodicsequence import PeriodicSequence
from apache_beam.transforms.window import FixedWindows

from rasteret_beam import (
    BatchPoints,
    CollectionQuery,
    FallbackRing,
    FetchTiles,
    PointColumns,
    SampleNearest,
    SampleOptions,
    WriteSamples,
    collection,
)
from rasteret_beam.transforms import plan_tiles

POINTS_A_TICK, SECONDS_A_TICK, WINDOW_SECONDS = 20, 0.5, 10
_OPTIONS = SampleOptions(bands=("B1", "B2"), unmatched="emit")


def run(uri, points, output, start, seconds, *flags):
    xy = pq.read_table(points, columns=["x", "y"]).to_pylist()

    def rows(tick):
        first = round((float(tick) - start) / SECONDS_A_TICK) * POINTS_A_TICK
        for number in range(first, first + POINTS_A_TICK):
            yield {**xy[number % len(xy)], "number": number}

    class PlanHere(beam.DoFn):
        def setup(self):
            query = CollectionQuery(uri, _OPTIONS.bands)
            found = [
                record for fragment in collection.list_fragments(query)
                for record, _ in collection.read_fragment(query, fragment) if record is not None
            ]
            self._records, self._planner = found, plan_tiles._PlanFn(_OPTIONS)

        def process(self, batch):
            yield from self._planner.process(batch, self._records)

    with beam.Pipeline(options=PipelineOptions(flags)) as pipeline:
        batches, _ = (
            pipeline
            | beam.Create([(start, start + seconds, SECONDS_A_TICK)])
            | PeriodicSequence()
            | beam.FlatMap(rows)
            | beam.WindowInto(FixedWindows(WINDOW_SECONDS))
            | BatchPoints(columns=PointColumns(crs="EPSG:32631"), index_field="number")
        )
        planned = batches | beam.ParDo(PlanHere()).with_output_types(plan_tiles.Planned)
        fetched = planned | FetchTiles()
        nearest = fetched.tiles | SampleNearest(options=_OPTIONS)
        _ = nearest | FallbackRing(options=_OPTIONS) | WriteSamples(folder=output)


if __name__ == "__main__":
    run(*sys.argv[1:4], *map(float, sys.argv[4:6]), *sys.argv[6:])
