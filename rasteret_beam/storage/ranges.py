"""Byte ranges of one file -> few requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

COALESCE_GAP_BYTES = 1024
"""Ranges this close share a request (rasteret's gap); more would fetch unwanted bytes."""

MAX_REQUEST_BYTES = 8 * 1024 * 1024
"""No merged request grows beyond this; one larger range is still asked for whole."""


class ByteRange(NamedTuple):
    """A run of bytes in a file.

    Attributes:
        offset: First byte.
        length: Number of bytes.
    """

    offset: int
    length: int

    @property
    def end(self) -> int:
        """One past the last byte."""
        return self.offset + self.length


class Request(NamedTuple):
    """One merged range, and which of the wanted ranges it holds.

    Attributes:
        span: What to ask the server for.
        wanted: Indexes into the list that was given to ``coalesce``.
    """

    span: ByteRange
    wanted: tuple[int, ...]


def coalesce(ranges: Sequence[ByteRange]) -> list[Request]:
    """Merges ranges that lie close, up to ``MAX_REQUEST_BYTES`` a request.

    >>> coalesce([ByteRange(5000, 10), ByteRange(0, 100), ByteRange(150, 50)])[0]
    Request(span=ByteRange(offset=0, length=200), wanted=(1, 2))
    """
    requests: list[Request] = []
    for index in sorted(range(len(ranges)), key=ranges.__getitem__):
        wanted = ranges[index]
        if requests:
            span, members = requests[-1]
            end = max(span.end, wanted.end)
            near = wanted.offset <= span.end + COALESCE_GAP_BYTES
            if near and (end <= span.end or end - span.offset <= MAX_REQUEST_BYTES):
                merged = ByteRange(span.offset, end - span.offset)
                requests[-1] = Request(merged, (*members, index))
                continue
        requests.append(Request(wanted, (index,)))
    return requests
