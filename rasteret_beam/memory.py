"""Memory that is freed is used again."""

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
