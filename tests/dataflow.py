"""Pipelines compiled for Dataflow: the job that the service would be sent, without a cloud."""

import importlib.util
import pathlib
import sys
from typing import NamedTuple

import apache_beam as beam
from apache_beam.pipeline import PipelineVisitor
from apache_beam.portability.api import beam_runner_api_pb2

from rasteret_beam.runners import launch

PIPELINES = pathlib.Path(__file__).resolve().parents[1] / "pipelines"
SERVICE = {
    "runner": "DataflowRunner", "project": "my-project", "region": "europe-west1",
    "job_name": "job", "temp_location": "gs://my-bucket/temp",
    "staging_location": "gs://my-bucket/staging", "sdk_container_image": "image:1",
    "sdk_location": "container",
}  # fmt: skip
"""What a launcher says of the service, beside the pipeline's own flags."""


def script(name):
    """A pipeline's module, loaded by path, once, as a launcher runs it."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, PIPELINES / f"{name}.py")
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


def as_flags(**given):
    """Flags as Dataflow's launcher passes a template's parameters: all ``--name=value``."""
    return [f"--{name}={value}" for name, value in given.items() if value is not None]


class Job(NamedTuple):
    """What the service would get, and the names of our own steps in it."""

    graph: beam_runner_api_pb2.Pipeline
    steps: list


def compiled(name, options_class, **given):
    """The pipeline as Dataflow would get it."""
    module = script(name)
    ours = getattr(module, options_class)
    options = launch.parse(as_flags(**SERVICE, dry_run="True", **given), ours)
    pipeline = beam.Pipeline(options=options)
    module.build(pipeline, options.view_as(ours))
    steps = _OwnSteps()
    pipeline.visit(steps)
    graph = pipeline.run().job.proto_pipeline
    # Of a part that has nothing to do, the service gets no step.
    there = {step.unique_name for step in graph.components.transforms.values()}
    return Job(graph, sorted(steps.names & there))


class _OwnSteps(PipelineVisitor):
    """Our transforms, and the parts that each is made of: what is below those is Beam's."""

    def __init__(self):
        self.names = set()

    def enter_composite_transform(self, transform_node):
        is_ours = type(transform_node.transform).__module__.startswith("rasteret_beam.")
        if is_ours or transform_node.parent is None:
            parts = [transform_node, *transform_node.parts]
            self.names |= {part.full_label for part in parts}
