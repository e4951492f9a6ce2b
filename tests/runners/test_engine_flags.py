"""Flags of an engine behind ``--job_endpoint``, as it describes them."""

import concurrent.futures

import grpc
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_job_api_pb2 as job_api
from apache_beam.portability.api import beam_job_api_pb2_grpc as job_service

from rasteret_beam.errors import OptionError
from rasteret_beam.runners import launch

_TYPES = job_api.PipelineOptionType
KNOWN = {
    "checkpointing_interval": _TYPES.INTEGER,
    "finish_bundle_before_checkpointing": _TYPES.BOOLEAN,
    "files_to_stage": _TYPES.ARRAY,
    "runner": _TYPES.STRING,
}


class _Options(PipelineOptions):
    """No flags of its own."""


class _Engine(job_service.JobServiceServicer):
    def DescribePipelineOptions(self, request, context):  # noqa: ARG002, N802 -- gRPC's name
        return job_api.DescribePipelineOptionsResponse(
            options=[
                job_api.PipelineOptionDescriptor(name=name, type=kind)
                for name, kind in KNOWN.items()
            ],
        )


@pytest.fixture
def endpoint():
    """Where an engine answers."""
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
    job_service.add_JobServiceServicer_to_server(_Engine(), server)
    port = server.add_insecure_port("localhost:0")
    server.start()
    yield f"localhost:{port}"
    server.stop(None)


def _parse(*flags):
    return launch.parse(["--runner=PortableRunner", *flags], _Options)


def test_what_the_engine_describes_is_known(endpoint):
    flags = (
        "--checkpointing_interval", "1000", "--finish_bundle_before_checkpointing",
        "--files_to_stage=a.jar", "--files_to_stage=b.jar",
    )  # fmt: skip
    assert _parse(f"--job_endpoint={endpoint}", *flags).get_all_options()["job_endpoint"]


def test_what_it_does_not_describe_is_refused(endpoint):
    with pytest.raises(OptionError, match=r"Unknown option\(s\): --checkpoint_interval=1; "):
        _parse(f"--job_endpoint={endpoint}", "--checkpoint_interval=1", "--files_to_stage=a.jar")


@pytest.mark.parametrize("flags", [(), ("--job_endpoint=embed",)])
def test_nobody_is_asked_where_there_is_no_engine(flags):
    with pytest.raises(OptionError, match="Unknown option"):
        _parse(*flags, "--checkpointing_interval=1000")


def test_an_engine_that_does_not_answer_knows_nothing(monkeypatch):
    monkeypatch.setattr("rasteret_beam.runners.engine_flags._SECONDS", 0.2)
    with pytest.raises(OptionError, match="Unknown option"):
        _parse("--job_endpoint=localhost:1", "--checkpointing_interval=1000")
