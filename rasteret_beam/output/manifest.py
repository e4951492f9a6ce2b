"""The list of an output's files: what is in it belongs together, whatever else lies there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

RUN_FOLDER = "_run"
"""Folder in an output for what is no data: readers of Parquet pass such names over."""

MANIFEST = "manifest.json"
"""In ``RUN_FOLDER``; written last, so that an output that has one is whole."""

_VERSION = 1


class WrittenFile(NamedTuple):
    """A file of an output.

    Attributes:
        name: Relative to the output's folder.
        rows: Number of its rows.
        bytes: Its size.
    """

    name: str
    rows: int
    bytes: int


class Manifest(NamedTuple):
    """What an output consists of.

    Attributes:
        job: Digest of the job that wrote it; the run's name where nobody gave one.
        output_format: ``parquet``, ``geoparquet`` or ``csv``.
        layout: ``long``, ``wide`` or ``array``.
        files: In the order of their names.
    """

    job: str
    output_format: str
    layout: str
    files: tuple[WrittenFile, ...]

    def to_json(self) -> str:
        """Gives it as text; the same for the same job and rows, whenever they were written."""
        told = {
            "version": _VERSION,
            "job": self.job,
            "format": self.output_format,
            "layout": self.layout,
            "rows": sum(file.rows for file in self.files),
            "files": [file._asdict() for file in self.files],
        }
        return json.dumps(told, indent=1) + "\n"


def make_manifest(
    job: str, output_format: str, layout: str, files: Sequence[WrittenFile],
) -> Manifest:
    """Gives the manifest of files in any order."""
    return Manifest(job, output_format, layout, tuple(sorted(files)))


def files_of(text: str) -> tuple[WrittenFile, ...]:
    """Gives the files that a manifest lists.

    Raises:
        ValueError: The text is no manifest.
    """
    try:
        return tuple(WrittenFile(**file) for file in json.loads(text)["files"])
    except (KeyError, TypeError) as error:
        msg = f"not a manifest: {text[:100]!r}"
        raise ValueError(msg) from error


def job_of(text: str) -> str:
    """Gives the job that a manifest names; "" where it is no manifest or names none."""
    try:
        told = json.loads(text)
    except ValueError:
        return ""
    return str(told.get("job", "")) if isinstance(told, dict) else ""
