"""Things that fail by counting: a web server with ranges, on this machine alone."""

from __future__ import annotations

import collections
import contextlib
import http.server
import re
import threading
import urllib.parse
from typing import TYPE_CHECKING

import pytest
from serving_thread import running

from rasteret_beam.storage import accounts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

RANGE = re.compile(r"bytes=(\d+)-(\d*)$")


class RangeServer(http.server.ThreadingHTTPServer):
    """Serves bytes by path, honours Range, counts, and fails when told to.

    Attributes:
        files: Path without the leading slash -> bytes; may change while serving.
        requests: (path, range header or None) -> how often it was asked for (GET).
        heads: Path -> how often HEAD asked for it.
        queries: Path and query of every request, in order of arrival.
        authorizations: Header of every request for a range, or None.
        etag: Sent with every answer, unless None.
        head_status: Answer to every HEAD, unless None.
    """

    daemon_threads = True
    request_queue_size = 128  # connections that come at once are not dropped

    def __init__(self, files: Mapping[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), FileHandler)
        self.files = dict(files)
        self.requests: collections.Counter[tuple[str, str | None]] = collections.Counter()
        self.heads: collections.Counter[str] = collections.Counter()
        self.queries: list[str] = []
        self.authorizations: list[str | None] = []
        self.etag: str | None = '"fake-1"'
        self.head_status: int | None = None
        self._failures: dict[str, list[int]] = {}
        self._cut: dict[str, int] = {}
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """Address of the server, without a slash at its end."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def uri(self, path: str) -> str:
        """Address of one file."""
        return f"{self.url}/{path}"

    def fail_next(self, path: str, *statuses: int) -> None:
        """Answers the next requests for a path with these statuses, then as usual."""
        with self._lock:
            self._failures.setdefault(path, []).extend(statuses)

    def cut_answers(self, path: str, length: int) -> None:
        """Gives at most ``length`` bytes of a path in any answer, as a whole answer."""
        self._cut[path] = length

    def count(self, path: str) -> int:
        """Tells how many GETs a path had."""
        return sum(n for (asked, _), n in self.requests.items() if asked == path)

    def ranges(self, path: str) -> list[tuple[int, int]]:
        """Gives the (first, last) byte pairs asked for, each once, sorted."""
        found = (RANGE.match(r or "") for asked, r in list(self.requests) if asked == path)
        return sorted((int(m[1]), int(m[2])) for m in found if m and m[2])

    def note(self, method: str, target: str, wanted: str | None) -> tuple[str, int | None]:
        """Counts a request; gives its path, and the status to fail it with or None."""
        path = urllib.parse.unquote(target.partition("?")[0]).lstrip("/")
        with self._lock:
            self.queries.append(target)
            if method == "GET":
                self.requests[path, wanted] += 1
            else:
                self.heads[path] += 1
            due = self._failures.get(path)
            return path, due.pop(0) if due else None

    def allowed(self, path: str, data: bytes) -> bytes:
        """Cuts an answer where the path was told to be cut."""
        return data[: self._cut.get(path, len(data))]


class FileHandler(http.server.BaseHTTPRequestHandler):
    """Answers for a ``RangeServer``."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one packet, or each answer waits for an ack
    server: RangeServer

    def do_GET(self) -> None:
        self.serve("GET")

    def do_HEAD(self) -> None:
        self.serve("HEAD")

    def log_message(self, *_args: object) -> None:
        """Keeps quiet."""

    def serve(self, method: str) -> None:
        """Answers a request."""
        wanted = self.headers.get("Range")
        if wanted:
            self.server.authorizations.append(self.headers.get("Authorization"))
        path, failure = self.server.note(method, self.path, wanted)
        data = self.server.files.get(path)
        failure = failure or (self.server.head_status if method == "HEAD" else None)
        if failure is not None or data is None:
            self.answer(method, failure or 404, b"")
            return
        found = RANGE.match(wanted or "")
        if not found:
            self.answer(method, 200, self.server.allowed(path, data))
            return
        first = int(found[1])
        last = min(int(found[2]) if found[2] else len(data) - 1, len(data) - 1)
        if first > last:
            self.answer(method, 416, b"", {"Content-Range": f"bytes */{len(data)}"})
            return
        part = self.server.allowed(path, data[first : last + 1])
        span = f"bytes {first}-{first + len(part) - 1}/{len(data)}"
        self.answer(method, 206, part, {"Content-Range": span})

    def answer(
        self, method: str, status: int, body: bytes, headers: Mapping[str, str] | None = None,
    ) -> None:
        """Sends a whole answer."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Accept-Ranges", "bytes")
        if self.server.etag is not None:
            self.send_header("ETag", self.server.etag)
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if method == "GET":
            self.wfile.write(body)


@contextlib.contextmanager
def serving(files: Mapping[str, bytes]) -> Iterator[RangeServer]:
    """Serves files until the block ends."""
    with running(RangeServer(files)) as server:
        yield server


@pytest.fixture
def range_server() -> Iterator[RangeServer]:
    """Gives an empty server; put bytes into its ``files``."""
    with serving({}) as server:
        yield server


def forget_accounts():
    """Drops every client of a bucket, and what was found of credentials."""
    for made in (accounts._opened, accounts._google, accounts._boto):
        made.cache_clear()
