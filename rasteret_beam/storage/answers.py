"""What one attempt gives, whichever backend made it: bytes that were checked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from rasteret_beam.errors import FetchError, OptionError, StaleIndexError

if TYPE_CHECKING:
    from rasteret_beam.elements import FileInfo

FRESHNESS = ("etag", "size", "none")
"""What of a file must be as the index says: size and ETag, size alone, or nothing."""

UNKNOWN_SIZE = -1
"""Size of a file where the server does not tell it."""

_TIME = re.compile(r"\d{4}-\d\d-\d\d")


class Answer(NamedTuple):
    """Bytes of a file.

    Attributes:
        data: What was asked for; less where the file ends before.
        info: The file's size and ETag, as they came with the bytes.
    """

    data: memoryview
    info: FileInfo


class Listed(NamedTuple):
    """One of the files below a folder.

    Attributes:
        uri: Where it is.
        name: Its name in the folder, with those of the folders between: ``a/b.tif``.
        info: Its size and ETag, as the listing tells them.
    """

    uri: str
    name: str
    info: FileInfo


class BeyondEndError(FetchError):
    """A range that begins beyond its file's end.

    Attributes:
        size: Of the file, or ``UNKNOWN_SIZE``.
    """

    def __init__(self, message: str, size: int = UNKNOWN_SIZE) -> None:
        """Holds both."""
        super().__init__(message)
        self.size = size


def check_freshness(freshness: str) -> None:
    """Refuses what is none of ``FRESHNESS``.

    Raises:
        OptionError: It is not.
    """
    if freshness not in FRESHNESS:
        msg = f"freshness is {freshness!r}, expected one of {', '.join(FRESHNESS)}"
        raise OptionError(msg)


def check_fresh(found: FileInfo, expected: FileInfo | None, freshness: str) -> None:
    """Refuses bytes of a file that is not the one that was indexed.

    Args:
        found: What came with the bytes.
        expected: What the index says; None where it does not.
        freshness: One of ``FRESHNESS``.

    Raises:
        StaleIndexError: Size or ETag differ.
    """
    if expected is None or freshness == "none":
        return
    if found.size not in (expected.size, UNKNOWN_SIZE):
        raise StaleIndexError(_stale(f"has {found.size} bytes", f"{expected.size} bytes"))
    if freshness == "etag" and _differ(found.etag, expected.etag):
        raise StaleIndexError(_stale(f"has ETag {found.etag}", f"ETag {expected.etag}"))


def whole(answer: Answer, offset: int, length: int) -> memoryview:
    """Gives the bytes of an answer where none is missing.

    Raises:
        FetchError: The file ends before.
    """
    if len(answer.data) == length:
        return answer.data
    msg = (
        f"{len(answer.data)} of {length} bytes at offset {offset}; "
        f"the file is cut short or was changed ({answer.info.size} bytes)"
    )
    raise FetchError(msg)


def _differ(found: str | None, expected: str | None) -> bool:
    """Whether two ETags are of different files; where one is a time, both must be."""
    if found is None or expected is None or _is_time(found) != _is_time(expected):
        return False
    return _strong(found) != _strong(expected)


def _is_time(etag: str) -> bool:
    """Whether it tells when a file was modified, for want of an ETag."""
    return _TIME.match(etag) is not None


def _strong(etag: str) -> str:
    """An ETag without its mark of weakness: the bytes that count are those we read."""
    return etag.removeprefix("W/").removeprefix("w/").strip('"')


def _stale(found: str, indexed: str) -> str:
    return (
        f"the file {found}, but was indexed with {indexed}: it has changed since; "
        "rebuild the collection with --mode update (or see --freshness)"
    )
