"""Beam's local runner, without holding in memory what flows through a Flatten.

FnApiRunner keeps all elements that reach a Flatten until its last input has come to an
end. Steps that look at one element at a time may as well stand before the Flatten, once
for each of its inputs: they give the same, and only what they give is held. Engines for
many machines do so by themselves.
"""

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import common_urns, python_urns
from apache_beam.portability.api import beam_runner_api_pb2 as api
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.runner import PipelineResult

from rasteret_beam.transforms.fallback_ring import PASSING

_FLATTEN = common_urns.primitives.FLATTEN.urn
_PARDO = common_urns.primitives.PAR_DO.urn
_COMPOSITE = python_urns.GENERIC_COMPOSITE_TRANSFORM


class LocalRunner(FnApiRunner):
    """FnApiRunner, for graphs with a Flatten that much flows through."""

    def run_via_runner_api(
        self, pipeline_proto: api.Pipeline, options: PipelineOptions,
    ) -> PipelineResult:
        """Moves steps before such Flattens, and runs the graph."""
        return super().run_via_runner_api(unzipped(pipeline_proto), options)


def unzipped(pipeline: api.Pipeline) -> api.Pipeline:
    """Moves steps that take one element at a time before the Flattens marked ``PASSING``.

    Args:
        pipeline: A graph; it stays as it is.

    Returns:
        A graph that gives the same.
    """
    changed = api.Pipeline()
    changed.CopyFrom(pipeline)
    steps = changed.components.transforms
    flattens = [
        name for name, step in steps.items()
        if step.spec.urn == _FLATTEN and PASSING in step.annotations
    ]
    while flattens:
        flattens += _move(changed, flattens.pop())
    return changed


def _move(pipeline: api.Pipeline, name: str) -> list[str]:
    """Puts the steps behind a Flatten before it; gives the Flattens of what these give."""
    steps, flatten = pipeline.components.transforms, api.PTransform()
    flatten.CopyFrom(steps[name])
    ((only, merged),) = flatten.outputs.items()
    behind = _readers(pipeline, merged)
    if not behind or not all(_is_movable(steps[step], merged) for step in behind):
        return []
    found: list[str] = []
    for step in behind:
        copies = {
            at: _copy(pipeline, step, {merged: source}, number)
            for number, (at, source) in enumerate(flatten.inputs.items())
        }
        flattens = []
        for tag, output in dict(steps[step].outputs).items():
            if _readers(pipeline, output):
                after = steps[f"{name} of {output}"]
                after.CopyFrom(flatten)
                after.unique_name += f" of {output}"
                after.outputs[only] = output
                for at, copy in copies.items():
                    after.inputs[at] = steps[copy].outputs[tag]
                flattens.append(f"{name} of {output}")
        _replace(pipeline, step, [*copies.values(), *flattens])
        found += flattens
    _replace(pipeline, name, [])
    return found


def _copy(pipeline: api.Pipeline, step: str, source_of: dict[str, str], number: int) -> str:
    """Adds a copy of a step that reads something else; the first keeps its name for people."""
    parts, name = pipeline.components, f"{step}-{number}"
    copy = parts.transforms[name]
    copy.CopyFrom(parts.transforms[step])
    copy.unique_name += f"-{number}" if number else ""
    for tag, source in dict(copy.inputs).items():
        copy.inputs[tag] = source_of.get(source, source)
    for tag, output in dict(copy.outputs).items():
        copy.outputs[tag] = f"{output}-{number}"
        parts.pcollections[copy.outputs[tag]].CopyFrom(parts.pcollections[output])
    return name


def _replace(pipeline: api.Pipeline, step: str, others: list[str]) -> None:
    """Puts steps where one stood."""
    steps = pipeline.components.transforms
    for siblings in (pipeline.root_transform_ids, *(s.subtransforms for s in steps.values())):
        if step in siblings:
            at = list(siblings).index(step)
            siblings[:] = [*siblings[:at], *others, *siblings[at + 1 :]]
    del steps[step]


def _readers(pipeline: api.Pipeline, collection: str) -> list[str]:
    """Steps that read a PCollection, without those that only hold such steps."""
    return [
        name for name, step in pipeline.components.transforms.items()
        if collection in step.inputs.values() and step.spec.urn != _COMPOSITE
    ]


def _is_movable(step: api.PTransform, collection: str) -> bool:
    """Whether a step looks at one element at a time, and has these for its main input."""
    if step.spec.urn != _PARDO:
        return False
    what = api.ParDoPayload.FromString(step.spec.payload)
    sides = {step.inputs[tag] for tag in what.side_inputs}
    stateful = what.state_specs or what.timer_family_specs or what.restriction_coder_id
    return collection not in sides and not stateful
