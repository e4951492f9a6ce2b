"""What a sampling job is of: tells whether what a killed run left is of the same."""

import hashlib
import json

from apache_beam.io.filesystems import FileSystems

from rasteret_beam.errors import FetchError, OptionError
from rasteret_beam.output.manifest import MANIFEST, RUN_FOLDER, job_of
from rasteret_beam.storage import Store, redact
from rasteret_beam.storage.addresses import fixed_folder, has_wildcard, local_path

MODES = ("replace", "resume")

_FILES_LOOKED_AT = 64


class NothingToDoError(Exception):
    """A job that is done already; the message says so."""


def name_of(
    mode: str, store: Store, inputs: tuple[str, ...], choices: tuple[object, ...],
) -> str:
    """Gives a name for a job, equal for equal inputs and choices.

    Args:
        mode: One of ``MODES``.
        store: How inputs are read.
        inputs: Files, folders or patterns. Other names or sizes of files make another job,
            and so do other ETags where there are few files, or times of local ones.
        choices: Everything else that the rows depend on.

    Returns:
        The name; "" where an input cannot be looked at from here, so that nobody can take
        the job up where a killed run left it.

    Raises:
        OptionError: No such mode, or a job to be resumed that cannot be named.
    """
    if mode not in MODES:
        msg = f"--mode must be one of {', '.join(MODES)}, got {mode!r}"
        raise OptionError(msg)
    try:
        seen = [_seen(store, uri) for uri in inputs]
    except (FetchError, OptionError) as error:
        if mode == "resume":
            msg = f"--mode resume compares the inputs with those of the run before: {error}"
            raise OptionError(msg) from error
        return ""
    text = json.dumps([seen, [repr(choice) for choice in choices]])
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def check_open(folder: str, job: str) -> None:
    """Looks whether there is something to resume.

    Raises:
        NothingToDoError: The output is whole, and of this job.
        OptionError: The output cannot be looked at.
    """
    manifest = FileSystems.join(folder, RUN_FOLDER, MANIFEST)
    try:
        if not FileSystems.exists(manifest):
            return
        with FileSystems.open(manifest) as file:
            found = job_of(file.read().decode())
    except OSError as error:
        msg = f"{redact(folder)}: the output cannot be looked at: {error}"
        raise OptionError(msg) from error
    if found == job:
        msg = f"{redact(folder)} is complete: there is nothing to resume"
        raise NothingToDoError(msg)


def _seen(store: Store, uri: str) -> list[tuple[object, ...]]:
    if has_wildcard(uri):
        folder, names = fixed_folder(uri), store.glob(uri)
    else:
        info = store.info(uri)
        if info is not None:
            return [(uri, *info)]
        folder, names = uri, store.list_files(uri)
    if len(names) <= _FILES_LOOKED_AT or local_path(uri) is not None:
        return [(name, *(store.info(name) or ())) for name in names]
    # A request each would be too many.
    sizes = dict(store.list_sizes(folder))
    return [(name, sizes.get(name)) for name in names]
