"""A run's end -> ``_run/summary.json`` in its output folder, for machines."""

import contextlib
import dataclasses
import datetime as dt
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from rasteret_beam.output.manifest import MANIFEST, job_of
from rasteret_beam.reporting import Identity
from rasteret_beam.runners.causes import Cause
from rasteret_beam.runners.failures import Failure
from rasteret_beam.storage import redact
from rasteret_beam.transforms._small_files import read_whole, run_file, write_whole

SUMMARY = "summary.json"
_SECRET = re.compile(r"secret|password|token|credential|access_key|api_key|connection_string")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """What a run was and how it ended.

    Attributes:
        pipeline: Its name.
        options: What was given, without secrets.
        started: When, UTC.
        seconds: How long it took.
        state: ``DONE``; ``FAILED``; ``REFUSED``; or what else the runner says.
        exit_code: What the command returns.
        counts: The counters; none where the run ended with an error.
        identities: What must add up, checked where there are counters.
        complaints: Why the run counts as failed though it reached its end.
        warnings: What a person should look at though it fails no run.
        causes: What dead letters there are, whether they are complained of or not.
        error: What ended it before.
    """

    pipeline: str
    options: Mapping[str, Any]
    started: dt.datetime
    seconds: float
    state: str
    exit_code: int
    counts: Mapping[str, int] = dataclasses.field(default_factory=dict)
    identities: Sequence[Identity] = ()
    complaints: Sequence[str] = ()
    warnings: Sequence[str] = ()
    causes: Sequence[Cause] = ()
    error: Failure | None = None

    def facts(self) -> dict[str, Any]:
        """Gives the summary as JSON has it."""
        from rasteret_beam import __version__  # noqa: PLC0415 -- the package imports its parts

        ended = self.started + dt.timedelta(seconds=self.seconds)
        checked = self.identities if self.error is None else ()
        return {
            "pipeline": self.pipeline,
            "version": __version__,
            "beam_version": beam.__version__,
            "started": _utc(self.started),
            "ended": _utc(ended),
            "seconds": round(self.seconds, 3),
            "state": self.state,
            "exit_code": self.exit_code,
            "error": self.error and self.error._asdict(),
            "complaints": list(self.complaints),
            "warnings": list(self.warnings),
            "causes": [cause._asdict() for cause in self.causes],
            "counters": dict(sorted(self.counts.items())),
            "identities": {identity.what: self._checked(identity) for identity in checked},
            "options": dict(self.options),
        }

    def _checked(self, identity: Identity) -> dict[str, Any]:
        names = (identity.whole, *identity.parts)
        numbers = {name: self.counts.get(name, 0) for name in names}
        return {**numbers, "holds": identity.holds(self.counts)}

    def write(self, folder: str) -> None:
        """Writes the summary beside the run's other files, whole or not at all.

        Raises:
            OSError: The folder cannot be written (``OutputError`` is one).
        """
        job = _job_there(folder)
        facts = {**self.facts(), "manifest": None if job is None else MANIFEST, "job": job}
        text = json.dumps(facts, indent=2, ensure_ascii=False, default=str) + "\n"
        write_whole(run_file(folder, SUMMARY), text.encode("utf-8", "replace"))


def is_told_of(folder: str) -> bool:
    """Tells whether the summary in a folder is of the run that wrote what lies there."""
    with contextlib.suppress(OSError, ValueError, AttributeError, KeyError):
        told = json.loads(read_whole(run_file(folder, SUMMARY)))
        return told["error"] is None and told.get("job") == _job_there(folder)
    return False


def _job_there(folder: str) -> str | None:
    """Gives the job that the manifest of an output names; None where there is no manifest."""
    path = run_file(folder, MANIFEST)
    return job_of(read_whole(path).decode()) if FileSystems.exists(path) else None


def options_given(options: PipelineOptions) -> dict[str, Any]:
    """Gives the options that differ from their defaults, without secrets in them."""
    given = options.get_all_options(drop_default=True)
    return {
        name: "REDACTED" if _SECRET.search(name.lower()) else _without_secrets(value)
        for name, value in sorted(given.items())
    }


def _without_secrets(value: Any) -> Any:  # noqa: ANN401 -- any option
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, (list, tuple)):
        return [_without_secrets(item) for item in value]
    if isinstance(value, dict):
        return {str(name): _without_secrets(item) for name, item in value.items()}
    return value


def _utc(moment: dt.datetime) -> str:
    return moment.astimezone(dt.timezone.utc).isoformat(timespec="milliseconds").replace(
        "+00:00", "Z",
    )
