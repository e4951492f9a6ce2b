"""One small file at a time, whole or not at all, on any of Beam's filesystems."""

import contextlib
import uuid

from apache_beam.io.filesystems import FileSystems

from rasteret_beam.output.manifest import RUN_FOLDER
from rasteret_beam.transforms._folders import create_file, delete, open_file, writing


def write_whole(path: str, data: bytes) -> None:
    """Writes a file under a hidden name, and renames it: readers never see a part.

    What was at the path is replaced, and stays where the file cannot be written.

    Raises:
        OutputError: It cannot be written.
    """
    folder, name = FileSystems.split(path)
    hidden = FileSystems.join(folder, f".{name}-{uuid.uuid4().hex}")
    with writing(folder):
        try:
            with create_file(hidden) as file:
                file.write(data)
            FileSystems.rename([hidden], [path])
        except OSError:
            with contextlib.suppress(OSError):
                delete([hidden])
            raise


def read_whole(path: str) -> bytes:
    """Reads a small file.

    Raises:
        OSError: It is not there, or cannot be read.
    """
    with open_file(path) as file:
        return file.read()


def run_file(folder: str, name: str) -> str:
    """Gives the address of a file that tells of the run that wrote a folder."""
    return FileSystems.join(folder, RUN_FOLDER, name)
