"""What is in an output folder before a run: of some things it must not become a part.

A look is worth a request or two. One that fails, as for want of a permission to list or
read, tells nothing, and stops nobody.
"""

import contextlib
import dataclasses
import itertools
import json
import pathlib

import pyarrow as pa

from rasteret_beam.errors import OptionError, RasteretBeamError
from rasteret_beam.output.manifest import MANIFEST, RUN_FOLDER, files_of, job_of
from rasteret_beam.runners.places import Source, Target, is_replaced, may_hold, refuse
from rasteret_beam.runners.run_summary import SUMMARY
from rasteret_beam.storage import RetryPolicy, Store, redact
from rasteret_beam.storage.addresses import local_path
from rasteret_beam.storage.files import RangeFile, arrow_filesystem
from rasteret_beam.transforms._occupied import PARTS, holds_records

_ONCE = RetryPolicy(attempts=1, timeout_seconds=10.0)
_FIRST_PART = "part-0.parquet"
_PASSED_OVER = (RasteretBeamError, OSError, ValueError, pa.ArrowException)


def check_points_stay(store: Store, points: Source, output: Target) -> None:
    """Refuses an output whose earlier samples the points' pattern takes for points.

    Raises:
        OptionError: It does.
    """
    if may_hold(points, output):
        names: list[str] = []
        with contextlib.suppress(*_PASSED_OVER):
            names = _looker(store).glob(str(points.value))
        if any(is_replaced(output, name) for name in names):
            refuse(points, output)


def check_no_samples(store: Store, folder: str) -> None:
    """Refuses to build a collection where samples are: their rows would be its records.

    Raises:
        OptionError: There are.
    """
    if _manifest(store, folder) is not None:
        msg = (
            f"--output {redact(folder)} holds samples, as its {RUN_FOLDER}/{MANIFEST} says; give "
            "the collection a folder of its own"
        )
        raise OptionError(msg)


def check_no_collection(store: Store, folder: str) -> None:
    """Refuses to write samples where a collection is: their rows would be its records.

    Raises:
        OptionError: There is one.
    """
    # Where samples are already it is theirs, whatever else was tried there.
    if _manifest(store, folder) is None and _is_collection(store, folder):
        msg = (
            f"--output {redact(folder)} holds a collection; give the samples a folder of their own"
        )
        raise OptionError(msg)


def check_replay(store: Store, folder: str, job: str) -> None:
    """Refuses to replay into the samples of another run: a replay's rows are not all of them.

    Args:
        store: How files are read.
        folder: The output.
        job: The replay's name, or "".

    Raises:
        OptionError: Another run's samples are there.
    """
    manifest = _manifest(store, folder)
    if manifest is not None and not (job and job_of(manifest) == job):
        msg = (
            f"--output {redact(folder)} holds the samples of another run, and --replay would "
            "replace them by some of their rows; give --output a folder of its own"
        )
        raise OptionError(msg)


def _is_collection(store: Store, folder: str) -> bool:
    summary = _text(store, folder, SUMMARY)
    with contextlib.suppress(ValueError, AttributeError, KeyError):
        told = json.loads(summary or "{}")
        if told.get("pipeline") == "build_collection" and told["counters"].get("records_written"):
            return True
    with contextlib.suppress(*_PASSED_OVER):
        for name in _parts(folder):
            filesystem, path = arrow_filesystem(_looker(store), name)
            with filesystem.open_input_file(path) as file:
                if holds_records(file):
                    return True
    return False


def _parts(folder: str) -> list[str]:
    """A file that would be of a collection; elsewhere only its usual name costs no listing."""
    top = local_path(folder)
    if top is None:
        return [_join(folder, _FIRST_PART)]
    return [str(name) for part in PARTS for name in itertools.islice(top.glob(part), 1)]


def _manifest(store: Store, folder: str) -> str | None:
    """The text of the manifest of samples, where there is one."""
    text = _text(store, folder, MANIFEST)
    with contextlib.suppress(ValueError):
        files_of(text or "")
        return text
    return None


def _text(store: Store, folder: str, name: str) -> str | None:
    try:
        with RangeFile(_looker(store), _join(folder, f"{RUN_FOLDER}/{name}")) as file:
            return file.read().decode()
    except _PASSED_OVER:
        return None


def _join(folder: str, name: str) -> str:
    path = local_path(folder)
    return f"{folder.rstrip('/')}/{name}" if path is None else str(pathlib.Path(path, name))


def _looker(store: Store) -> Store:
    """Asks once; and what is written is where it is named, not where a rewrite leads."""
    return dataclasses.replace(store, retries=_ONCE, url_rewrite=(), signer=None)
