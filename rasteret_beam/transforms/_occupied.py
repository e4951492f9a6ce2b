"""What is in a folder before a run writes to it: a collection takes in no samples."""

import contextlib
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystems import FileSystems

from rasteret_beam.errors import OptionError
from rasteret_beam.output.manifest import MANIFEST, RUN_FOLDER
from rasteret_beam.schema import REQUIRED_COLUMNS
from rasteret_beam.storage import redact
from rasteret_beam.transforms._folders import matches, open_file

PARTS = ("part-*.parquet", "year=*/month=*/*.parquet")
"""Files of collections, of whoever wrote them."""


def check_no_collection(folder: str) -> None:
    """Refuses to write samples where a collection is: their rows would be its records.

    A look that fails, as for want of a permission to list, tells nothing, and stops nobody.

    Raises:
        OptionError: There is one.
    """
    with contextlib.suppress(OSError):
        # Where samples are already it is theirs, whatever else was tried there.
        if FileSystems.exists(FileSystems.join(folder, RUN_FOLDER, MANIFEST)):
            return
        for part in PARTS:
            for name in matches(folder, part)[:1]:
                if is_of_collection(name):
                    msg = (
                        f"{redact(folder)}: holds {name!r}, a file of a collection; give the "
                        "samples a folder of their own"
                    )
                    raise OptionError(msg)


def is_of_collection(name: str) -> bool:
    """Tells whether a file is of a collection."""
    with open_file(name) as file:
        return holds_records(file)


def holds_records(file: BinaryIO | pa.NativeFile) -> bool:
    """Tells whether an open file is Parquet with the columns of a collection."""
    try:
        return set(REQUIRED_COLUMNS) <= set(pq.read_schema(file).names)
    except pa.ArrowException:
        return False
