"""Memory of tiles that are on their way: what all threads of a process may hold together."""

from __future__ import annotations

import threading


class Allowance:
    """Bytes that are shared by many holders, none of whom ever waits for another.

    A worker runs several bundles at once, a dozen in a stream. If each had the whole to
    itself the memory that they take would grow with their number.
    """

    def __init__(self, most_bytes: int) -> None:
        """Begins with nothing taken."""
        self.most_bytes, self.held_bytes = most_bytes, 0
        self._lock = threading.Lock()

    def take(self, n_bytes: int, *, anyway: bool) -> bool:
        """Takes bytes, where there are as many.

        Args:
            n_bytes: How many.
            anyway: Whether to take them all the same: for who holds none, and so has
                nothing that it could give back first.

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
