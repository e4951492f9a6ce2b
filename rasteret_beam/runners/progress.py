"""How far a job is, while it runs: a line that changes on a terminal, a line a minute in a log."""

import contextlib
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from typing import TextIO

from rasteret_beam.reporting import progress_line

SECONDS_ON_TERMINAL = 1.0
SECONDS_IN_LOG = 60.0
"""Often enough to see that a job lives; a night of it is a few hundred lines."""

LOGGER = logging.getLogger("rasteret_beam.progress")
"""Logs at INFO, unless it, ``rasteret_beam`` or all of logging was given another level."""


class Progress:
    """Tells how far a job is while its context lasts, from what is counted in this process."""

    def __init__(
        self, stream: TextIO, counts: Mapping[str, int], started: float,
        done: threading.Event | None = None,
    ) -> None:
        """Starts nothing.

        Args:
            stream: Where a person may look; a log is written where this is no terminal.
            counts: Counters, as they grow.
            started: When the job began, by ``time.monotonic``.
            done: What to wait by; set at the end.
        """
        self._stream, self._counts, self._started = stream, counts, started
        self._done = done or threading.Event()
        self._is_terminal = stream.isatty()
        self._log = contextlib.ExitStack()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        """Begins to tell."""
        if not self._is_terminal:
            self._log.enter_context(_heard(self._stream))
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        """Ends it, and takes the line off a terminal."""
        self._done.set()
        self._thread.join()
        self._log.close()
        if self._is_terminal:
            self._stream.write("\r\x1b[K")

    def _run(self) -> None:
        seconds = SECONDS_ON_TERMINAL if self._is_terminal else SECONDS_IN_LOG
        while not self._done.wait(seconds):
            passed, counts = time.monotonic() - self._started, dict(self._counts)
            # Workers in processes of their own count there.
            line = "nothing counted in this process yet"
            if any(counts.values()):
                line = progress_line(counts, passed)
            if self._is_terminal:
                self._stream.write(f"\r\x1b[K{line}")
                self._stream.flush()
            else:
                LOGGER.info("%.0f min  %s", passed / 60, line)


@contextlib.contextmanager
def _heard(stream: TextIO) -> Iterator[None]:
    """Lets the lines be seen where nobody has said anything about logs."""
    before, handler = LOGGER.level, logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    is_untouched = logging.getLogger().level <= logging.WARNING
    if is_untouched and logging.getLogger("rasteret_beam").level == before == logging.NOTSET:
        LOGGER.setLevel(logging.INFO)
    if not LOGGER.hasHandlers():
        LOGGER.addHandler(handler)
    try:
        yield
    finally:
        LOGGER.setLevel(before)
        LOGGER.removeHandler(handler)
