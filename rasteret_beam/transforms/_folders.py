"""Files in folders, through Beam's filesystems: made, put in place, taken away."""

import contextlib
import glob
import pathlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from apache_beam.io.filesystems import FileSystems

from rasteret_beam.errors import OutputError, RasteretBeamError
from rasteret_beam.storage import redact

_TRIES = 10


@contextlib.contextmanager
def writing(folder: str) -> Iterator[None]:
    """Turns what goes wrong with files into one error that names the folder.

    Raises:
        OutputError: A file cannot be written, read back, renamed or removed.
    """
    try:
        yield
    except RasteretBeamError:
        raise
    except OSError as error:
        reason = str(error).split("\n")[0] or type(error).__name__
        msg = f"{redact(folder)}: the output cannot be written: {reason}"
        raise OutputError(msg) from error


def make_folder(name: str) -> None:
    """Makes the folder of a file where the filesystem has folders."""
    folder = FileSystems.split(name)[0]
    if folder and "://" not in folder and not FileSystems.exists(folder):
        try:
            FileSystems.mkdirs(folder)
        except OSError:  # another worker was first
            if not FileSystems.exists(folder):
                raise


def create_file(name: str) -> BinaryIO:
    """Opens a file to write to, as it is, in a folder that ``remove_if_empty`` may take away."""
    for _ in range(_TRIES - 1):
        # Between the folder and its file somebody else may find the folder empty.
        with contextlib.suppress(FileNotFoundError):
            return _create(name)
    return _create(name)


def _create(name: str) -> BinaryIO:
    make_folder(name)
    return FileSystems.create(name, compression_type="uncompressed")


def put_in_place(files: Iterable[tuple[str, str]]) -> None:
    """Gives files their final names.

    Args:
        files: (name, final name); what has the final name is replaced.
    """
    for name, final in files:
        # A retry of this step finds some of them renamed already.
        if FileSystems.exists(name):
            if FileSystems.exists(final):
                FileSystems.delete([final])
            FileSystems.rename([name], [final])


def delete(names: Iterable[str]) -> None:
    """Deletes those files that are there."""
    for name in names:
        if FileSystems.exists(name):
            FileSystems.delete([name])


def remove(pattern: str, keep: Iterable[str] = ()) -> None:
    """Deletes the files that match a pattern, but for those to keep."""
    kept = set(keep)
    stale = [name for name in matches(pattern) if name not in kept]
    if stale:
        FileSystems.delete(stale)


def remove_folders(pattern: str) -> None:
    """Deletes the folders that match a pattern, with the files right in them."""
    remove(FileSystems.join(pattern, "*"))
    if "://" not in pattern:
        # Where folders are things of their own they are empty now, and stay else.
        for folder in glob.glob(pattern):  # noqa: PTH207 -- an absolute pattern
            pathlib.Path(folder).rmdir()


def remove_if_empty(folder: str) -> None:
    """Deletes a folder with nothing in it, where folders are things of their own."""
    if "://" not in folder:
        with contextlib.suppress(OSError):
            pathlib.Path(folder).rmdir()


def matches(pattern: str) -> list[str]:
    """Gives the names of the files that match a pattern, sorted."""
    (found,) = FileSystems.match([pattern])
    return sorted(file.path for file in found.metadata_list)
