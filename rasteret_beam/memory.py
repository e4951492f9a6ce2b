"""Memory of a process: what is freed is used again, and what many hold is bounded together."""

import threading

import numpy as np
import pyarrow as pa

_LARGEST = 31 << 20


def keep_freed() -> None:
    """Has the C library use memory again that is freed, in place of giving it back.

    glibc maps an array of 128 kB and more from the system and unmaps it when it is freed,
    so that the system clears every page of the next one: for arrays that live shortly
    that can cost more than what is done with them. But it learns: once a mapped array is
    freed, arrays of up to its size come from memory of which up to twice as much is kept
    (mallopt(3), ``M_MMAP_THRESHOLD``; up to 32 MB). Here it learns before the work begins;
    C libraries that do not learn lose nothing by it.
    """
    np.empty(_LARGEST, np.uint8)


def buffer(n_bytes: int) -> memoryview:
    """Gives bytes to read into, not cleared.

    They are from Arrow's pool, of which all threads have each other's: the C library keeps
    apart what many threads, that read at once, have freed.
    """
    return memoryview(pa.allocate_buffer(n_bytes)).cast("B")


class Allowance:
    """Bytes that are shared by many holders, none of whom ever waits for another.

    A worker runs several bundles at once, a dozen in a stream. If each had the whole to
    itself the memory that they take would grow with their number.
    """

    def __init__(self, most_bytes: int) -> None:
        """Begins with nothing taken.

        Args:
            most_bytes: How many there are.
        """
        self.most_bytes, self.held_bytes = most_bytes, 0
        self._lock = threading.Lock()

    @property
    def is_full(self) -> bool:
        """Whether there are none left."""
        return self.held_bytes >= self.most_bytes

    def take(self, n_bytes: int, *, anyway: bool) -> bool:
        """Takes bytes, where there are as many.

        Args:
            n_bytes: How many.
            anyway: Whether to take them all the same: for who has nothing to give back
                first, or holds them already.

        Returns:
            Whether they were taken.
        """
        with self._lock:
            if not anyway and self.held_bytes + n_bytes > self.most_bytes:
                return False
            self.held_bytes += n_bytes
            return True

    def give_back(self, n_bytes: int) -> None:
        """Gives back what was taken."""
        with self._lock:
            self.held_bytes -= n_bytes
