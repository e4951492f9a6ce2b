"""Stored tiles that were read before, by what identifies their bytes, up to some memory.

A tile that is kept costs no request, only its decoding: stored bytes are several times
smaller than pixels, and serve whichever rows of the tile are wanted next.
"""

from __future__ import annotations

import concurrent.futures
import threading
import weakref
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from rasteret_beam.errors import FetchError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rasteret_beam.elements import FileInfo
    from rasteret_beam.storage import Store
    from rasteret_beam.storage.ranges import ByteRange

_ENTRY_BYTES = 512
"""What an entry takes beside the tile's bytes, or little more."""

_Found = memoryview | bytes | FetchError
_Future = concurrent.futures.Future[_Found]


class StoredBytes(NamedTuple):
    """What identifies the bytes of a stored tile.

    Attributes:
        store: How the file is read: another store might not be allowed to.
        href: The file.
        info: Its size and ETag, as the index says.
        span: Where in it the bytes are.
    """

    store: Store
    href: str
    info: FileInfo
    span: ByteRange


class TileCache:
    """Bytes of stored tiles, the least recently used ones dropped first. Thread-safe."""

    def __init__(self, max_bytes: int) -> None:
        """Begins empty.

        Args:
            max_bytes: Memory that it may take.
        """
        self.max_bytes = max_bytes
        self._held: OrderedDict[StoredBytes, bytes] = OrderedDict()
        self._n_bytes = 0
        self._under_way: dict[StoredBytes, _Future] = {}
        self._lock = threading.Lock()

    @property
    def n_bytes(self) -> int:
        """Memory that it takes."""
        return self._n_bytes

    def read(
        self,
        wanted: Sequence[StoredBytes],
        read: Callable[[list[int]], Sequence[memoryview | FetchError]],
    ) -> tuple[list[_Found], list[int]]:
        """Gives bytes that are held, and has the others read, each once.

        What another thread is reading already is waited for.

        Args:
            wanted: What to give.
            read: Reads those of ``wanted`` with these numbers. It is called once.

        Returns:
            The bytes of each, or why they could not be had; and the numbers of those
            that ``read`` was called for.
        """
        found: list[_Found] = [FetchError("not read")] * len(wanted)
        mine, theirs = self._claim(wanted, found)
        try:
            data = read(mine)
        except BaseException as error:
            with self._lock:
                futures = [self._under_way.pop(wanted[at]) for at in mine]
            for future in futures:
                future.set_exception(error)
            raise
        for at, got in zip(mine, data, strict=True):
            found[at] = got
            self._settle(wanted[at], got)
        # What is claimed here is settled by now: no two threads wait for each other.
        for at, future in theirs:
            found[at] = future.result()
        return found, mine

    def _claim(
        self, wanted: Sequence[StoredBytes], found: list[_Found],
    ) -> tuple[list[int], list[tuple[int, _Future]]]:
        """Takes what is held; parts the rest into what is to be read and what is being read."""
        mine, theirs = [], []
        with self._lock:
            for at, key in enumerate(wanted):
                held = self._held.get(key)
                if held is not None:
                    self._held.move_to_end(key)
                    found[at] = held
                elif key in self._under_way:
                    theirs.append((at, self._under_way[key]))
                else:
                    self._under_way[key] = concurrent.futures.Future()
                    mine.append(at)
        return mine, theirs

    def _settle(self, key: StoredBytes, data: memoryview | FetchError) -> None:
        size = _ENTRY_BYTES + (0 if isinstance(data, FetchError) else len(data))
        with self._lock:
            if not isinstance(data, FetchError) and size <= self.max_bytes:
                # A copy: ranges that were read together share one block of memory.
                self._held[key] = bytes(data)
                self._n_bytes += size
                while self._n_bytes > self.max_bytes:
                    _, dropped = self._held.popitem(last=False)
                    self._n_bytes -= _ENTRY_BYTES + len(dropped)
            future = self._under_way.pop(key)
        future.set_result(data)


_caches: weakref.WeakValueDictionary[int, TileCache] = weakref.WeakValueDictionary()
_making = threading.Lock()


def of_process(max_bytes: int) -> TileCache | None:
    """Gives the process's cache of a size, shared by all who hold it; None for no bytes."""
    if not max_bytes:
        return None
    with _making:
        cache = _caches.get(max_bytes)
        if cache is None:
            cache = _caches[max_bytes] = TileCache(max_bytes)
        return cache
