"""Memory that is used again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    import numpy.typing as npt


def empty(shape: int | tuple[int, ...], dtype: npt.DTypeLike) -> np.ndarray:
    """Gives an array that is not initialised, as ``numpy.empty``, from Arrow's memory pool.

    The pool keeps what is freed for a while. The C library gives it back to the system,
    which clears each page again: for short-lived arrays of some 100 kB and more that can
    cost more than what is done with them.
    """
    kind = np.dtype(dtype)
    n_bytes = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
    buffer: Any = pa.allocate_buffer(n_bytes)
    return np.frombuffer(buffer, kind).reshape(shape)
