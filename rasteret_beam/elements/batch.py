"""What all elements of many rows have in common."""

from __future__ import annotations

import abc


class Batch(abc.ABC):
    """What PCollections carry many rows of. Pickles itself; its coder asks for its size."""

    __slots__ = ()

    @property
    @abc.abstractmethod
    def nbytes(self) -> int:
        """Memory of its arrays, in bytes."""
