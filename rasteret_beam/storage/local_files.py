"""Files of this machine, as the other places give theirs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from rasteret_beam import memory
from rasteret_beam.elements import FileInfo
from rasteret_beam.errors import FetchError
from rasteret_beam.storage.answers import Answer

if TYPE_CHECKING:
    import pathlib


def fetch(path: pathlib.Path, offset: int, length: int) -> Answer:
    """Reads a range of a file, less where it ends before.

    Raises:
        FetchError: It cannot be read.
    """
    try:
        with path.open("rb", buffering=0) as file:
            stat = os.fstat(file.fileno())
            # A range that claims gigabytes beyond the end must not be allocated.
            there = max(min(length, stat.st_size - offset), 0)
            view = memory.empty(there, np.uint8).data
            file.seek(offset)
            n_read = file.readinto(view)
            return Answer(view[:n_read].toreadonly(), _info(stat))
    except OSError as error:
        msg = f"{path}: {type(error).__name__}: {error.strerror}"
        raise FetchError(msg) from error


def head(path: pathlib.Path) -> FileInfo | None:
    """Gives a file's facts, or None where there is none."""
    if not path.is_file():
        return None
    return _info(path.stat())


def list_below(folder: pathlib.Path) -> list[tuple[str, int]]:
    """Lists the files below a folder, at any depth, sorted, with their bytes.

    Raises:
        FetchError: There is no such folder.
    """
    if not folder.is_dir():
        msg = f"{folder}: no such folder"
        raise FetchError(msg)
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted((str(path), path.stat().st_size) for path in found)


def _info(stat: os.stat_result) -> FileInfo:
    return FileInfo(stat.st_size, f"{stat.st_mtime_ns:x}-{stat.st_size:x}")
