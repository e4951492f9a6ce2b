"""What a process has one of, whichever thread asks for it first."""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, Generic, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_Asked = ParamSpec("_Asked")
_Made = TypeVar("_Made")


def made_once(
    maxsize: int | None = None,
) -> Callable[[Callable[_Asked, _Made]], Once[_Asked, _Made]]:
    """Caches a function as ``functools.lru_cache``, whose calls wait for each other.

    With ``lru_cache`` alone, threads that ask together make one each: as good for values,
    but not for pools, clients and paces, which all threads must share. Thirty-two threads
    at once made as many TLS contexts, a second of work before the first byte.

    Args:
        maxsize: How many are kept; None for all.
    """
    return lambda make: Once(make, maxsize)


class Once(Generic[_Asked, _Made]):
    """A function whose results are shared by all threads."""

    def __init__(self, make: Callable[_Asked, _Made], maxsize: int | None) -> None:
        """Takes the place of ``make``."""
        functools.update_wrapper(self, make)
        self._cached = functools.lru_cache(maxsize)(make)
        self._making = threading.Lock()

    def __call__(self, *args: _Asked.args, **kwargs: _Asked.kwargs) -> _Made:
        """Gives what ``make`` gave, or gives now."""
        with self._making:
            return self._cached(*args, **kwargs)  # type: ignore[arg-type]

    def cache_clear(self) -> None:
        """Forgets all: for tests."""
        with self._making:
            self._cached.cache_clear()
