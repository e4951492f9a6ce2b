"""Our pipeline, as the bench runs it: from points in Parquet to a digest, or to Parquet."""

import json
import pathlib
import tempfile

import apache_beam as beam
import digests
import jobs
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from rasteret_beam import (
    CollectionQuery,
    PlanTiles,
    PointColumns,
    ReadCollection,
    ReadPoints,
    SampleOptions,
    SamplePoints,
    Store,
    WriteSamples,
)
from rasteret_beam.runners import launch

STORE = Store(allow_http=True)


def digest(spec):
    with tempfile.TemporaryDirectory() as folder:
        target = str(pathlib.Path(folder) / "digest.json")
        with beam.Pipeline(options=pipeline_options(spec)) as pipeline:
            _ = (
                samples(pipeline, spec)
                | "Digest" >> beam.ParDo(_DigestFn())
                | "Add" >> beam.CombineGlobally(digests.add).without_defaults()
                | "Tell" >> beam.Map(_tell, target)
            )
        return json.loads(pathlib.Path(target).read_text())


def write(spec, folder):
    with beam.Pipeline(options=pipeline_options(spec)) as pipeline:
        _ = samples(pipeline, spec) | WriteSamples(folder=folder)


def shuffle(spec):
    """Plans and groups the same points, and then only counts what was grouped."""
    query = CollectionQuery(spec["collection"], tuple(spec["bands"]), store=STORE)
    with beam.Pipeline(options=pipeline_options(spec)) as pipeline:
        records = pipeline | ReadCollection(query=query)
        _ = (
            points(pipeline, spec)
            | PlanTiles(records=records.records, options=sample_options(spec))
            | beam.GroupByKey()
            | beam.Map(lambda block: sum(1 for _ in block[1]))
            | beam.CombineGlobally(sum)
        )


def samples(pipeline, spec):
    sampled = points(pipeline, spec) | SamplePoints(
        collection=spec["collection"], options=sample_options(spec), store=STORE,
    )
    return sampled.samples


def points(pipeline, spec):
    columns = PointColumns(crs=spec.get("crs", "EPSG:4326"))
    return (pipeline | ReadPoints(pattern=spec["points"], columns=columns)).points


def sample_options(spec):
    return SampleOptions(bands=tuple(spec["bands"]), **jobs.window_options(spec))


def pipeline_options(spec):
    flags = []
    if spec.get("processes"):
        flags = [
            "--direct_running_mode=multi_processing",
            f"--direct_num_workers={spec['processes']}",
        ]
    # With the runner that our pipelines take where none is named.
    return launch.parse(flags, PipelineOptions)


class _DigestFn(beam.DoFn):
    """One digest a bundle."""

    def start_bundle(self):
        self._total = digests.EMPTY

    def process(self, batch):
        self._total = digests.add([self._total, digests.of_batch(batch.samples)])

    def finish_bundle(self):
        window = GlobalWindow()
        yield WindowedValue(self._total, window.max_timestamp(), (window,))


def _tell(digest, target):
    pathlib.Path(target).write_text(json.dumps(digest))
