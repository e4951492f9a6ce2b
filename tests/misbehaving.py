"""A web server that misbehaves on purpose: each fault is one that real servers have shown."""

from __future__ import annotations

import collections
import contextlib
import random
import socket
import struct
import threading
import urllib.parse
from typing import TYPE_CHECKING

import pytest
from fakes import RANGE, FileHandler, RangeServer
from serving_thread import running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FORBIDDEN = "http://169.254.169.254/latest/meta-data"
_TRICKLE_SECONDS = 0.02
_STALL_SECONDS = 20.0
_CHUNK = bytes(64 * 1024)


class MisbehavingServer(RangeServer):
    """Serves as ``RangeServer`` does, but for the faults that ``choose`` picks.

    Attributes:
        choose: (path, how often this range was asked for before, number of the request)
            -> name of a fault, or None to behave.
        faults: Name -> how often it was shown.
        bytes_sent: Of the bodies of answers that ignore Range.
    """

    def __init__(self) -> None:
        super().__init__({})
        self.RequestHandlerClass = _FaultyHandler
        self.choose: Callable[[str, int, int], str | None] = lambda *_: None
        self.faults: collections.Counter[str] = collections.Counter()
        self.bytes_sent = 0
        self.closing = threading.Event()
        self._answered = 0

    def handle_error(self, *_of: object) -> None:
        """Keeps quiet: clients hang up on faults, as they should."""

    def always(self, fault: str) -> None:
        """Shows a fault in every answer."""
        self.choose = lambda *_: fault

    def once(self, fault: str) -> None:
        """Shows a fault the first time that a range is asked for."""
        self.choose = lambda _path, before, _number: None if before else fault

    def sometimes(self, fault: str, share: float, seed: int = 0) -> None:
        """Shows a fault in a share of all answers, whichever."""
        dice = random.Random(seed)
        self.choose = lambda *_: fault if dice.random() < share else None

    def only(self, fault: str, *paths: str) -> None:
        """Shows a fault in every answer of some paths."""
        self.choose = lambda path, *_: fault if path in paths else None

    def fault_of(self, path: str, wanted: str | None) -> str | None:
        """Picks the fault of a request that was noted."""
        with self._lock:
            before = self.requests[path, wanted] - 1
            self._answered += 1
            fault = self.choose(path, before, self._answered)
            if fault is not None:
                self.faults[fault] += 1
            return fault


class _FaultyHandler(FileHandler):
    server: MisbehavingServer

    def serve(self, method: str) -> None:
        wanted = self.headers.get("Range")
        found = RANGE.match(wanted or "")
        path = urllib.parse.unquote(self.path.partition("?")[0]).lstrip("/")
        data = self.server.files.get(path)
        if method != "GET" or data is None or not found:
            super().serve(method)
            return
        self.server.note(method, self.path, wanted)
        self.server.authorizations.append(self.headers.get("Authorization"))
        first, last = int(found[1]), min(int(found[2]), len(data) - 1)
        fault = self.server.fault_of(path, wanted)
        if fault is None:
            self._partial(data, first, last)
        else:
            getattr(self, f"_{fault}")(data, first, last)

    def _partial(self, data: bytes, first: int, last: int, **more: str) -> None:
        span = {"Content-Range": f"bytes {first}-{last}/{len(data)}"}
        self.answer("GET", 206, data[first : last + 1], {**span, **more})

    def _begin(self, data: bytes, first: int, last: int) -> bytes:
        """Sends the head of a right answer; gives the body that was promised."""
        body = data[first : last + 1]
        self.send_response(206)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.send_header("ETag", str(self.server.etag))
        self.end_headers()
        self.wfile.flush()
        self.close_connection = True
        return body

    # Answers that say that the server has too much to do

    def _busy(self, *_of: object) -> None:
        self.answer("GET", 503, b"busy")

    def _busy_with_seconds(self, *_of: object) -> None:
        self.answer("GET", 503, b"busy", {"Retry-After": "3600"})

    def _busy_with_date(self, *_of: object) -> None:
        self.answer("GET", 429, b"busy", {"Retry-After": "Fri, 31 Dec 2399 23:59:59 GMT"})

    def _broken(self, *_of: object) -> None:
        self.answer("GET", 500, b"")

    # Answers that end too early, or never

    def _reset(self, data: bytes, first: int, last: int) -> None:
        body = self._begin(data, first, last)
        self.wfile.write(body[: len(body) // 2])
        self.wfile.flush()
        # No farewell: the other side sees a reset.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def _hang_up(self, *_of: object) -> None:
        self.close_connection = True

    def _truncated(self, data: bytes, first: int, last: int) -> None:
        body = self._begin(data, first, last)
        self.wfile.write(body[: len(body) // 2])

    def _short(self, data: bytes, first: int, last: int) -> None:
        span = {"Content-Range": f"bytes {first}-{last}/{len(data)}"}
        self.answer("GET", 206, data[first : (first + last) // 2], span)

    def _stall(self, data: bytes, first: int, last: int) -> None:
        body = self._begin(data, first, last)
        self.wfile.write(body[: len(body) // 2])
        self.wfile.flush()
        self.server.closing.wait(_STALL_SECONDS)

    def _trickle(self, data: bytes, first: int, last: int) -> None:
        with contextlib.suppress(OSError):
            for byte in self._begin(data, first, last):
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                if self.server.closing.wait(_TRICKLE_SECONDS):
                    return

    def _slow_head(self, *_of: object) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            for byte in b"HTTP/1.1 206 Partial Content\r\n" + b"X-Filler: of no use\r\n" * 100:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                if self.server.closing.wait(_TRICKLE_SECONDS):
                    return

    # Answers that hold something else

    def _garbage(self, data: bytes, first: int, last: int) -> None:
        wrong = bytes(byte ^ 0xA5 for byte in data[first : last + 1])
        self._partial(data[:first] + wrong + data[last + 1 :], first, last)

    def _wrong_range(self, data: bytes, first: int, last: int) -> None:
        span = {"Content-Range": f"bytes {first + 1}-{last + 1}/{len(data)}"}
        self.answer("GET", 206, data[first : last + 1], span)

    def _no_range(self, data: bytes, first: int, last: int) -> None:
        self.answer("GET", 206, data[first : last + 1])

    def _compressed(self, data: bytes, first: int, last: int) -> None:
        self._partial(data, first, last, **{"Content-Encoding": "gzip"})

    def _whole(self, data: bytes, *_span: int) -> None:
        self.answer("GET", 200, data)

    def _endless(self, data: bytes, *_span: int) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(1 << 40))
        self.end_headers()
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.write(data)
            while not self.server.closing.is_set():
                self.wfile.write(_CHUNK)
                self.server.bytes_sent += len(_CHUNK)

    # Answers that lead elsewhere

    def _redirect(self, data: bytes, first: int, last: int) -> None:
        if "?moved" in self.path:
            self._partial(data, first, last)
        else:
            self.answer("GET", 302, b"moved", {"Location": f"{self.path}?moved"})

    def _loop(self, *_of: object) -> None:
        self.answer("GET", 307, b"", {"Location": self.path})

    def _to_forbidden(self, *_of: object) -> None:
        self.answer("GET", 302, b"", {"Location": FORBIDDEN})

    def _to_plain(self, *_of: object) -> None:
        self.answer("GET", 302, b"", {"Location": self.server.uri(self.path.lstrip("/"))})

    def _to_signed(self, *_of: object) -> None:
        target = FORBIDDEN.replace("http://", "http://me:s3cret@") + "?sig=s3cret"
        self.answer("GET", 302, b"", {"Location": target})

    def _to_other_name(self, data: bytes, first: int, last: int) -> None:
        if "localhost" in self.headers["Host"]:
            self._partial(data, first, last)
        else:
            there = self.server.uri(self.path.lstrip("/")).replace("127.0.0.1", "localhost")
            self.answer("GET", 302, b"", {"Location": there})

    def _to_file(self, *_of: object) -> None:
        self.answer("GET", 302, b"", {"Location": "file:///etc/passwd"})

    def _to_nowhere(self, *_of: object) -> None:
        self.answer("GET", 302, b"")


TEMPORARY = ("busy", "busy_with_seconds", "busy_with_date", "broken", "reset", "hang_up",
             "truncated", "short", "stall", "trickle", "slow_head", "wrong_range", "no_range",
             "compressed")  # fmt: skip
"""Faults after which another attempt may do."""

PERMANENT = ("loop", "to_forbidden", "to_file", "to_nowhere")
"""Faults that no further attempt mends."""


@contextlib.contextmanager
def misbehaving() -> Iterator[MisbehavingServer]:
    """Serves until the block ends."""
    server = MisbehavingServer()
    with running(server):
        try:
            yield server
        finally:
            server.closing.set()


def dead_port() -> str:
    """Gives the address of a port that nobody listens at."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{sock.getsockname()[1]}"


@pytest.fixture
def faulty() -> Iterator[MisbehavingServer]:
    """Gives an empty server; put bytes into its ``files``."""
    with misbehaving() as server:
        yield server
