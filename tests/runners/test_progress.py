"""What is told of a job under way: on a terminal, and in a log."""

import io
import logging
import threading

import pytest

from rasteret_beam.runners.progress import LOGGER, SECONDS_IN_LOG, SECONDS_ON_TERMINAL, Progress

COUNTS = {"points_read": 5000, "tiles_fetched": 12, "bytes_fetched": 2048, "rows_written": 0}


class _Terminal(io.StringIO):
    def isatty(self):
        return True


class _Clock(threading.Event):
    """An event whose waits are over at once, so many of them before it is set."""

    def __init__(self, n_waits):
        super().__init__()
        self.waits, self._left = [], n_waits

    def wait(self, timeout):
        self.waits.append(timeout)
        self._left -= 1
        return self._left < 0


def _told(stream, counts, n_waits=2):
    clock = _Clock(n_waits)
    with Progress(stream, counts, 0.0, clock):
        pass
    return clock.waits


def test_a_log_gets_a_line_a_minute(caplog):
    assert _told(io.StringIO(), COUNTS) == [SECONDS_IN_LOG] * 3 == [60.0] * 3
    assert [record.levelname for record in caplog.records] == ["INFO", "INFO"]
    assert "5,000 points" in caplog.messages[0]
    assert "12 tiles  2.0 KiB" in caplog.messages[0]


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("rasteret_beam", logging.WARNING), ("rasteret_beam.progress", logging.WARNING),
        ("root", logging.ERROR),
    ],
)  # fmt: skip
def test_a_level_of_the_users_own_keeps_it_quiet(caplog, name, level):
    _told(io.StringIO(), COUNTS, 1)
    logger = logging.getLogger(None if name == "root" else name)
    before = logger.level
    logger.setLevel(level)
    try:
        _told(io.StringIO(), COUNTS, 1)
    finally:
        logger.setLevel(before)
    assert len(caplog.messages) == 1


def test_without_any_handler_the_lines_go_where_the_summary_goes(monkeypatch):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    stream = io.StringIO()
    _told(stream, COUNTS)
    assert len(stream.getvalue().splitlines()) == 2
    assert stream.getvalue().rstrip().endswith("12 tiles  2.0 KiB  0 rows")
    assert LOGGER.handlers == []


def test_where_other_processes_count_no_number_is_told(caplog):
    _told(io.StringIO(), dict.fromkeys(COUNTS, 0))
    assert caplog.messages[0].endswith("min  nothing counted in this process yet")


def test_a_terminal_has_one_line_that_changes_and_goes(caplog):
    stream = _Terminal()
    assert _told(stream, COUNTS) == [SECONDS_ON_TERMINAL] * 3
    assert stream.getvalue().count("\r\x1b[K5,000 points") == 2
    assert stream.getvalue().endswith("\r\x1b[K")
    assert "\n" not in stream.getvalue()
    assert caplog.messages == []
