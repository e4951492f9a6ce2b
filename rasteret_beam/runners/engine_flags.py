"""Flags that an engine behind ``--job_endpoint`` knows, like ``--checkpointing_interval``."""

import argparse
import contextlib

import grpc
from apache_beam.options.pipeline_options import PortableOptions
from apache_beam.portability.api import beam_job_api_pb2 as job_api
from apache_beam.portability.api import beam_job_api_pb2_grpc as job_service

_SECONDS = 30


def declare(parser: argparse.ArgumentParser, argv: list[str]) -> None:
    """Adds the flags, as the engine describes them, but for those that the parser has.

    Beam asks for them again when it hands the job over. An engine that does not answer
    adds none: what is wrong with it is told by whoever runs the job.

    Args:
        parser: Where to add them.
        argv: The flags; without ``--job_endpoint`` nobody is asked.
    """
    ours = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    PortableOptions._add_argparse_args(ours)  # noqa: SLF001 -- as Beam does it
    endpoint = ours.parse_known_args(argv)[0].job_endpoint
    if not endpoint or endpoint == "embed":
        return
    with grpc.insecure_channel(endpoint) as channel, contextlib.suppress(grpc.RpcError):
        described = job_service.JobServiceStub(channel).DescribePipelineOptions(
            job_api.DescribePipelineOptionsRequest(), timeout=_SECONDS, wait_for_ready=True,
        )
        for option in described.options:
            with contextlib.suppress(argparse.ArgumentError):
                parser.add_argument(f"--{option.name}", action=_action(option))


def _action(option: job_api.PipelineOptionDescriptor) -> str:
    if option.type == job_api.PipelineOptionType.BOOLEAN:
        return "store_true"
    return "append" if option.type == job_api.PipelineOptionType.ARRAY else "store"
