"""What may be a ``point_index``: a whole number of 63 bits, or the hash of something else."""

from __future__ import annotations

import hashlib
import operator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

_MAX_INDEX = (1 << 63) - 1
_DIGEST_BYTES = 8


def whole_number(value: Any) -> int | None:  # noqa: ANN401 -- any value
    """Gives a whole number of 63 bits as an int, of numpy's types too; None for all else.

    >>> whole_number(np.int32(5)), whole_number(True), whole_number(5.0), whole_number(1 << 63)
    (5, None, None, None)
    """
    if isinstance(value, bool):
        return None
    try:
        number = operator.index(value)
    except TypeError:
        return None
    return number if abs(number) <= _MAX_INDEX else None


def hashed(data: bytes) -> int:
    """Gives bytes a number of 63 bits, 0 and above, the same in every run."""
    digest = hashlib.blake2b(data, digest_size=_DIGEST_BYTES).digest()
    return int.from_bytes(digest, "big") & _MAX_INDEX


def hashed_all(blobs: Iterable[bytes]) -> np.ndarray:
    """Gives ``hashed`` of many: int64, shape (n_blobs,)."""
    return np.fromiter(map(hashed, blobs), np.int64)
