"""What a template's parameter is beyond its flag: label, kind, group.

Names, help, defaults and what is required come from the pipeline's options class.
"""

import argparse
import dataclasses
import importlib.util
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

from rasteret_beam.options import MATCHES, NEIGHBOURHOODS, UNMATCHED
from rasteret_beam.storage.answers import FRESHNESS
from rasteret_beam.storage.signing import SIGNERS
from rasteret_beam.transforms.sample_points import JOINS
from templates import kinds
from templates.kinds import Kind, one_of

PIPELINES = pathlib.Path(__file__).resolve().parents[1] / "pipelines"


@dataclasses.dataclass(frozen=True, slots=True)
class Parameter:
    """One flag of a pipeline, as a person at a form sees it.

    Attributes:
        label: What the form calls it.
        kind: What values it has.
        group: Part of the form that it is in.
    """

    label: str
    kind: Kind
    group: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A pipeline that Dataflow can launch.

    Attributes:
        name: Its folder here, and its script in ``pipelines/``.
        title: What a person calls it.
        description: What it does.
        options: Name of the options class in the script.
        parameters: What the flags do not say, by flag.
        left_out: Flags that a launched job has no use for, and why.
        example: Values of a launch, by flag; all that is required, and what is typical.
        streaming: Whether its jobs never end.
    """

    name: str
    title: str
    description: str
    options: str
    parameters: Mapping[str, Parameter]
    left_out: Mapping[str, str]
    example: Mapping[str, str]
    streaming: bool = False

    @property
    def flags(self) -> dict[str, argparse.Action]:
        """The pipeline's flags, by name, in their order."""
        parser = argparse.ArgumentParser(add_help=False)
        self.options_class._add_argparse_args(parser)  # noqa: SLF001 -- as Beam does it
        return {action.dest: action for action in parser._actions}  # noqa: SLF001 -- no other way

    @property
    def options_class(self) -> Any:  # noqa: ANN401 -- a class of a script that is loaded by path
        """The pipeline's options class."""
        script = sys.modules.get(self.name)
        if script is None:
            spec = importlib.util.spec_from_file_location(self.name, PIPELINES / f"{self.name}.py")
            if spec is None or spec.loader is None:
                msg = f"no pipeline {self.name}.py in {PIPELINES}"
                raise FileNotFoundError(msg)
            script = importlib.util.module_from_spec(spec)
            sys.modules[self.name] = script
            spec.loader.exec_module(script)
        return getattr(script, self.options)


POINTS = {
    "points_crs": Parameter("CRS of the points", kinds.CRS, "Input"),
    "x_column": Parameter("Column of x", kinds.COLUMN, "Input"),
    "y_column": Parameter("Column of y", kinds.COLUMN, "Input"),
    "geometry_column": Parameter("Column of geometries", kinds.COLUMN, "Input"),
}
SAMPLING = {
    "match": Parameter("Records of a point", one_of(*MATCHES), "Sampling"),
    "max_distance_pixels": Parameter("Reach of the fallback", kinds.INTEGER, "Sampling"),
    "return_neighbourhood": Parameter("Neighbourhood", one_of(*NEIGHBOURHOODS), "Sampling"),
    "date_range": Parameter("Dates", kinds.DATES, "Records"),
    "bbox": Parameter("Bounding box", kinds.BBOX, "Records"),
    "cloud_cover_lt": Parameter("Cloud cover below", kinds.FLOAT, "Records"),
    "where": Parameter("Condition", kinds.TEXT, "Records"),
    "unmatched": Parameter("Points without a sample", one_of(*UNMATCHED), "Output"),
}
READING = {
    "join": Parameter("Join", one_of(*JOINS), "Reading"),
    "data_source": Parameter("Data source", kinds.NAME, "Input"),
    "freshness": Parameter("Freshness", one_of(*FRESHNESS), "Reading"),
    "url_rewrite": Parameter("Addresses to rewrite", kinds.PAIRS, "Reading"),
}
"""Parameters of ``sampling_flags``, by the function there that declares them."""

STORE = {
    "allow_http": Parameter("Permit http://", kinds.BOOLEAN, "Reading"),
    "allow_schemes": Parameter("Permitted schemes", kinds.SCHEMES, "Reading"),
    "allow_hosts": Parameter("Permitted hosts and buckets", kinds.HOSTS, "Reading"),
    "attempts": Parameter("Attempts of a request", kinds.INTEGER, "Reading"),
    "timeout_seconds": Parameter("Seconds of a request", kinds.FLOAT, "Reading"),
    "anonymous": Parameter("Read without credentials", kinds.BOOLEAN, "Reading"),
    "billing_project": Parameter("Billing project", kinds.GOOGLE_PROJECT, "Reading"),
    "s3_region": Parameter("Region of S3 buckets", kinds.NAME, "Reading"),
    "s3_requester_pays": Parameter("Pay for S3 requests", kinds.BOOLEAN, "Reading"),
    "signer": Parameter("Signer of addresses", one_of(*SIGNERS), "Reading"),
}
"""Parameters of ``store_flags``, which every pipeline has."""

NOBODY_WAITS = "judged by a process that waits for the job's end; a launcher does not"
