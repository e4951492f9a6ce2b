"""Files in folders, through Beam's filesystems: made, put in place, taken away."""

import contextlib
import pathlib
import re
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NoReturn

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


def give_way(folder: str, how: str) -> NoReturn:
    """Ends a run that finds another one at work in its folder.

    Args:
        folder: The folder.
        how: What shows it.

    Raises:
        OutputError: In any case.
    """
    msg = (
        f"{redact(folder)}: {how}: another run writes to this folder, or did until now; "
        "run one at a time, and this one again"
    )
    raise OutputError(msg)


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


def open_file(name: str) -> BinaryIO:
    """Opens a file to read, as it is."""
    return FileSystems.open(name, compression_type="uncompressed")


def put_in_place(files: Iterable[tuple[str, str]]) -> None:
    """Gives files their final names.

    A final name always has a file, the one of before or the new one: what is read
    meanwhile is whole, and two tries of one step at once do not harm each other.

    Args:
        files: (name, final name); what has the final name is replaced. A file that is
            gone and has its final name was renamed by an earlier try.

    Raises:
        OSError: There is neither the file nor what it is to become.
    """
    for name, final in files:
        try:
            _rename(name, final)
        except OSError:
            if FileSystems.exists(name) or not FileSystems.exists(final):
                raise


def _rename(name: str, final: str) -> None:
    """Renames a file over what has its final name; to buckets that is a copy, then a delete."""
    if "://" in name:
        FileSystems.rename([name], [final])
    else:
        pathlib.Path(name).replace(final)


def delete(names: Iterable[str]) -> None:
    """Deletes those files that are there."""
    for name in names:
        if "://" not in name:
            pathlib.Path(name).unlink(missing_ok=True)
        elif FileSystems.exists(name):
            # Of Beam's filesystems for buckets only that of gs:// takes a pattern here.
            FileSystems.delete([_literal(name) if name.startswith("gs://") else name])


def remove(folder: str, pattern: str, keep: Iterable[str] = ()) -> None:
    """Deletes the files in a folder that match a pattern, but for those to keep."""
    kept = set(keep)
    delete(name for name in matches(folder, pattern) if name not in kept)


def remove_folder(folder: str) -> None:
    """Deletes a folder with the files right in it; it stays where there is more."""
    remove(folder, "*")
    remove_if_empty(folder)


def remove_old_folders(folder: str, pattern: str, before: float) -> None:
    """Deletes the folders in a folder that match a pattern, and in which nothing is new.

    Args:
        folder: The folder.
        pattern: Names in it.
        before: Time in seconds since 1970. What has a file of this time or later stays
            whole, and so does what has one whose time the filesystem does not tell.
    """
    found: dict[str, dict[str, float]] = {}
    for name, seconds in _times(folder, f"{pattern}/*"):
        found.setdefault(FileSystems.split(name)[0], {})[name] = seconds
    for files in found.values():
        if all(0 < seconds < before for seconds in files.values()):
            delete(files)
    if "://" not in folder:
        for path in pathlib.Path(folder).glob(pattern):
            remove_if_empty(str(path))


def _times(folder: str, pattern: str) -> Iterator[tuple[str, float]]:
    """The files that match, and when each was written."""
    if "://" in folder:
        (found,) = FileSystems.match([FileSystems.join(_literal(folder), pattern)])
        for file in found.metadata_list:
            yield file.path, file.last_updated_in_seconds
        return
    for name in matches(folder, pattern):
        # Somebody else may take them away, too.
        with contextlib.suppress(FileNotFoundError):
            yield name, pathlib.Path(name).stat().st_mtime


def remove_if_empty(folder: str) -> None:
    """Deletes a folder with nothing in it, where folders are things of their own."""
    if "://" not in folder:
        with contextlib.suppress(OSError):
            pathlib.Path(folder).rmdir()


def matches(folder: str, pattern: str) -> list[str]:
    """Gives the files in a folder that match a pattern, sorted.

    Args:
        folder: The folder, by its very name, whatever signs are in it.
        pattern: Names in it, with ``*`` and ``?``; folders below it, divided by ``/``.
    """
    if "://" in folder:
        (found,) = FileSystems.match([FileSystems.join(_literal(folder), pattern)])
        return sorted(file.path for file in found.metadata_list)
    # Where a folder's name has such signs, Beam would walk through all that lies beside it.
    top = pathlib.Path(folder)
    names = (path.relative_to(top).as_posix() for path in top.glob(pattern) if path.is_file())
    return sorted(FileSystems.join(folder, name) for name in names)


def _literal(name: str) -> str:
    """Gives the pattern that only this name matches: Beam knows no other quoting."""
    return re.sub(r"[*?\[]", r"[\g<0>]", name)


def size_of(name: str) -> int:
    """Gives the bytes of a file that is there."""
    return int(FileSystems.get_filesystem(name).metadata(name).size_in_bytes)


def sizes_of(folder: str, pattern: str) -> dict[str, int]:
    """Gives the bytes of the files in a folder that match a pattern, with one listing."""
    if "://" in folder:
        (found,) = FileSystems.match([FileSystems.join(_literal(folder), pattern)])
        return {file.path: int(file.size_in_bytes) for file in found.metadata_list}
    found = {}
    for name in matches(folder, pattern):
        # Somebody else may take them away.
        with contextlib.suppress(FileNotFoundError):
            found[name] = pathlib.Path(name).stat().st_size
    return found
