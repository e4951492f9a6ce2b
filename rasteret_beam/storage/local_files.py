"""Files of this machine, as the other places give theirs."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

from rasteret_beam import memory
from rasteret_beam.elements import FileInfo
from rasteret_beam.errors import FetchError
from rasteret_beam.storage.answers import Answer, Listed

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator


def fetch(path: pathlib.Path, offset: int, length: int) -> Answer:
    """Reads a range of a file, less where it ends before.

    Raises:
        FetchError: It cannot be read.
    """
    try:
        with path.open("rb", buffering=0) as file:
            facts = os.fstat(file.fileno())
            # A range that claims gigabytes beyond the end must not be allocated.
            there = max(min(length, facts.st_size - offset), 0)
            view = memory.buffer(there)
            file.seek(offset)
            n_read = file.readinto(view)
            return Answer(view[:n_read].toreadonly(), _info(facts))
    except OSError as error:
        msg = f"{path}: {type(error).__name__}: {error.strerror}"
        raise FetchError(msg) from error


def head(path: pathlib.Path) -> FileInfo | None:
    """Gives a file's facts, or None where there is none."""
    if not path.is_file():
        return None
    return _info(path.stat())


def list_below(folder: pathlib.Path) -> list[Listed]:
    """Lists the files below a folder, at any depth, sorted by path.

    Raises:
        FetchError: There is no such folder.
    """
    if not folder.is_dir():
        msg = f"{folder}: no such folder"
        raise FetchError(msg)
    return sorted(_below(folder))


def _below(folder: pathlib.Path) -> Iterator[Listed]:
    for path in folder.rglob("*"):
        # What others rename or remove meanwhile is there no more.
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            facts = path.stat()
            if stat.S_ISREG(facts.st_mode):
                yield Listed(str(path), path.relative_to(folder).as_posix(), _info(facts))


def _info(facts: os.stat_result) -> FileInfo:
    return FileInfo(facts.st_size, f"{facts.st_mtime_ns:x}-{facts.st_size:x}")
