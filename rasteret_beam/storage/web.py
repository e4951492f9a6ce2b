"""Files on web servers, one attempt at a time: every answer is checked before it is used."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import email.utils
import functools
import http.client
import re
import socket
import ssl
import time
import urllib.parse
from typing import TYPE_CHECKING, NamedTuple

import urllib3.exceptions

from rasteret_beam import memory
from rasteret_beam.elements import FileInfo
from rasteret_beam.errors import FetchError
from rasteret_beam.storage.addresses import redact
from rasteret_beam.storage.answers import UNKNOWN_SIZE, Answer, BeyondEndError
from rasteret_beam.storage.connections import pool_of
from rasteret_beam.storage.pacing import TemporaryError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rasteret_beam.storage.access import Access
    from rasteret_beam.storage.connections import Exchanged

SKIP_BYTES = 1024 * 1024
"""A server that ignores Range is read up to here before what is wanted, and no further."""

_MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TEMPORARY = frozenset({408, 425, 429})
_THROTTLED = frozenset({429, 503})
_GONE = frozenset({404, 410})
_NO_HEAD = frozenset({401, 403, 405, 501})
_OK, _PARTIAL, _BEYOND, _SERVER_ERROR = 200, 206, 416, 500
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)$")
_LOOSE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_NO_SUCH_NAME = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})


class _Place(NamedTuple):
    """An address, taken apart.

    Attributes:
        scheme: ``http`` or ``https``.
        host: Its name.
        port: Its port, or None.
        url: The whole address, escaped, without user and password.
        user: ``user:password``, or None.
    """

    scheme: str
    host: str
    port: int | None
    url: str
    user: str | None


def fetch(uri: str, offset: int, length: int, *, access: Access, timeout: float) -> Answer:
    """Reads a range of a file, less where it ends before.

    Args:
        uri: The file.
        offset: First byte.
        length: Number of bytes, above 0.
        access: What may be asked; every address that a redirect leads to is checked.
        timeout: Of the attempt, from connecting to the last byte, in seconds.

    Raises:
        FetchError: Not there, not permitted, or the range begins beyond the end.
        TemporaryError: Another attempt may do.
    """
    headers = {"Range": f"bytes={offset}-{offset + length - 1}"}
    with _translated(), _asked("GET", uri, headers, access, timeout) as response:
        _refuse_status(response, offset)
        if response.headers.get("Content-Encoding", "identity") != "identity":
            told = response.headers["Content-Encoding"]
            msg = f"the answer is compressed ({told}), which was not asked for"
            raise TemporaryError(msg)
        if response.status == _PARTIAL:
            return _partial(response, offset, length)
        return _out_of_whole(response, offset, length)


def fetch_whole(uri: str, *, headers: dict[str, str], access: Access, timeout: float) -> bytes:
    """Reads a small answer of a service, whole.

    Args:
        uri: What to ask.
        headers: What to send; no other host gets them.
        access: What may be asked.
        timeout: Of the attempt, in seconds.

    Raises:
        FetchError: Not there, or not permitted.
        TemporaryError: Another attempt may do.
    """
    with _translated(), _asked("GET", uri, headers, access, timeout) as response:
        _refuse_status(response, 0)
        return response.read(SKIP_BYTES)


def head(uri: str, *, access: Access, timeout: float) -> FileInfo | None:
    """Gives a file's facts, or None where there is none.

    Addresses are signed for one method, so where HEAD is refused GET may not be.

    Raises:
        FetchError: Not permitted, or the server does not tell.
        TemporaryError: Another attempt may do.
    """
    with _translated(), _asked("HEAD", uri, {}, access, timeout) as response:
        if response.status in _GONE:
            return None
        if response.status not in _NO_HEAD:
            _refuse_status(response, 0)
            length = response.headers.get("Content-Length", "")
            if length.isdigit():
                return FileInfo(int(length), _etag(response))
    return _facts_by_get(uri, access, timeout)


def _facts_by_get(uri: str, access: Access, timeout: float) -> FileInfo | None:
    """A file's facts, as they come with its first byte."""
    with _translated(), _asked("GET", uri, {"Range": "bytes=0-0"}, access, timeout) as response:
        if response.status in _GONE:
            return None
        try:
            _refuse_status(response, 0)
            whole = response.status != _PARTIAL
            info = (_out_of_whole if whole else _partial)(response, 0, 1).info
        except BeyondEndError as error:  # an empty file has no first byte
            info = FileInfo(error.size, _etag(response))
    if info.size == UNKNOWN_SIZE:
        msg = "the server does not tell the file's size"
        raise FetchError(msg)
    return info


@contextlib.contextmanager
def _asked(
    method: str, uri: str, headers: dict[str, str], access: Access, timeout: float,
) -> Iterator[http.client.HTTPResponse]:
    """The answer to a request, its redirects followed as far as they may be."""
    deadline = time.monotonic() + timeout
    place = _place(uri)
    user = place.user
    for _ in range(_MAX_REDIRECTS + 1):
        sent = {**headers, **_authorization(user)}
        with _send(method, place, sent, access, deadline) as response:
            if response.status not in _REDIRECTS:
                yield response
                return
            target = response.headers.get("Location")
        following = _following(place, target)
        if (following.scheme, following.host, following.port) != place[:3]:
            # Credentials are for the host that they were given for.
            user = following.user
            headers = {name: told for name, told in headers.items() if name == "Range"}
        place, access = following, access.of_redirects
        access.check(place.url)
    msg = f"more than {_MAX_REDIRECTS} redirects, the last to {redact(place.url)}"
    raise FetchError(msg)


def _send(
    method: str, place: _Place, headers: dict[str, str], access: Access, deadline: float,
) -> Exchanged:
    pool = pool_of(
        place.scheme, place.host, place.port, check_peer=access.checks_peer(place.host),
    )
    told = {"Accept-Encoding": "identity", "User-Agent": "rasteret-beam", **headers}
    exchanged: Exchanged = pool.ask(method, place.url, told, deadline)
    return exchanged


@functools.lru_cache(maxsize=4096)
def _place(uri: str) -> _Place:
    parts = urllib.parse.urlsplit(uri)
    if not parts.hostname:
        msg = "names no host"
        raise FetchError(msg)
    try:
        host, port = parts.hostname.encode("idna").decode(), parts.port
    except (UnicodeError, ValueError):
        host, port = parts.hostname, None
    netloc = f"[{host}]" if ":" in host else host
    netloc = netloc if port is None else f"{netloc}:{port}"
    user = parts.netloc.rpartition("@")[0] or None
    # What is escaped stays as it is: a signature covers it.
    path = urllib.parse.quote(_LOOSE_PERCENT.sub("%25", parts.path), safe="/%:@!$&'()*+,;=~[]")
    query = urllib.parse.quote(_LOOSE_PERCENT.sub("%25", parts.query), safe="/%:@!$&'()*+,;=~?[]")
    target = f"{path or '/'}?{query}" if query else path or "/"
    return _Place(parts.scheme, host, port, f"{parts.scheme}://{netloc}{target}", user)


def _following(place: _Place, location: str | None) -> _Place:
    """Where a redirect leads.

    Raises:
        FetchError: Nowhere, to another kind of address, or to a less safe one.
    """
    if not location:
        msg = "a redirect that says not where to"
        raise FetchError(msg)
    target = urllib.parse.urljoin(place.url, location)
    scheme = urllib.parse.urlsplit(target).scheme
    if scheme not in ("http", "https"):
        msg = f"redirected to {redact(target)}; only http and https are followed"
        raise FetchError(msg)
    if place.scheme == "https" and scheme == "http":
        msg = f"redirected from https to plain {redact(target)}, which is not followed"
        raise FetchError(msg)
    return _place(target)


def _authorization(user: str | None) -> dict[str, str]:
    if user is None:
        return {}
    told = base64.b64encode(urllib.parse.unquote(user).encode()).decode()
    return {"Authorization": f"Basic {told}"}


def _refuse_status(response: http.client.HTTPResponse, offset: int) -> None:
    """Raises for an answer that holds nothing of the file."""
    status = response.status
    if status in (_OK, _PARTIAL):
        return
    told = f"HTTP {status} {http.client.responses.get(status, '')}".rstrip()
    if status in _TEMPORARY or status >= _SERVER_ERROR:
        raise TemporaryError(
            told,
            retry_after_seconds=_retry_after(response.headers.get("Retry-After")),
            throttled=status in _THROTTLED,
        )
    if status == _BEYOND:
        size = response.headers.get("Content-Range", "").rpartition("/")[2]
        raise _beyond(offset, int(size) if size.isdigit() else UNKNOWN_SIZE)
    raise FetchError(told)


def _beyond(offset: int, size: int) -> BeyondEndError:
    told = "" if size == UNKNOWN_SIZE else f" ({size} bytes)"
    return BeyondEndError(f"offset {offset} is beyond the file's end{told}", size)


def _retry_after(text: str | None) -> float:
    """Seconds that a server asks to wait, told as seconds or as a date; else 0."""
    if not text:
        return 0.0
    if text.strip().isdigit():
        return float(text)
    try:
        when = email.utils.parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return 0.0
    when = when if when.tzinfo else when.replace(tzinfo=dt.timezone.utc)
    return max((when - dt.datetime.now(dt.timezone.utc)).total_seconds(), 0.0)


def _partial(response: http.client.HTTPResponse, offset: int, length: int) -> Answer:
    told = response.headers.get("Content-Range", "")
    found = _CONTENT_RANGE.match(told.strip())
    end = offset + length
    size = UNKNOWN_SIZE if found is None or found[3] == "*" else int(found[3])
    if size != UNKNOWN_SIZE:
        end = min(end, size)
    if found is None or (int(found[1]), int(found[2])) != (offset, end - 1):
        msg = (
            f"asked for bytes {offset}-{offset + length - 1}, "
            f"answered with Content-Range {told!r}"
        )
        raise TemporaryError(msg)
    return Answer(_body(response, end - offset), FileInfo(size, _etag(response)))


def _out_of_whole(response: http.client.HTTPResponse, offset: int, length: int) -> Answer:
    """What is wanted, out of the whole file: the server ignores Range."""
    told = response.headers.get("Content-Length", "")
    size = int(told) if told.isdigit() else UNKNOWN_SIZE
    if size != UNKNOWN_SIZE and offset >= size:
        raise _beyond(offset, size)
    if offset > SKIP_BYTES:
        msg = (
            "the server ignores Range and sends the whole file; "
            f"bytes {offset}-{offset + length - 1} of it were asked for"
        )
        raise TemporaryError(msg)
    wanted = length if size == UNKNOWN_SIZE else min(length, size - offset)
    if offset:
        _body(response, offset)
    return Answer(_body(response, wanted), FileInfo(size, _etag(response)))


def _body(response: http.client.HTTPResponse, length: int) -> memoryview:
    """So many bytes of the body, read-only.

    Raises:
        TemporaryError: It ends before.
    """
    view, at = memory.buffer(length), 0
    while at < length:
        n_read = response.readinto(view[at:])
        if not n_read:
            msg = f"{at} of {length} bytes: the answer was cut short"
            raise TemporaryError(msg)
        at += n_read
    return view.toreadonly()


def _etag(response: http.client.HTTPResponse) -> str | None:
    etag = response.headers.get("ETag")
    if etag:
        return etag
    modified = response.headers.get("Last-Modified")
    try:
        return email.utils.parsedate_to_datetime(modified).isoformat() if modified else None
    except (TypeError, ValueError):
        return None


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Failures on the way as ours, without the texts of libraries: those hold addresses."""
    try:
        yield
    except FetchError:
        raise
    except urllib3.exceptions.NameResolutionError as error:
        number = getattr(error.__cause__, "errno", None)
        if number in _NO_SUCH_NAME:
            msg = "no such host"
            raise FetchError(msg) from None
        msg = "the host's name cannot be resolved for now"
        raise TemporaryError(msg) from None
    except ssl.SSLCertVerificationError as error:
        msg = f"the server's certificate is not trusted: {error.verify_message}"
        raise FetchError(msg) from None
    except urllib3.exceptions.NewConnectionError as error:  # a kind of timeout, there
        raise TemporaryError(_told(error)) from None
    except (TimeoutError, urllib3.exceptions.TimeoutError):
        msg = "timed out"
        raise TemporaryError(msg, timed_out=True) from None
    except (http.client.InvalidURL, urllib3.exceptions.LocationValueError):
        msg = "is no address"
        raise FetchError(msg) from None
    except (OSError, http.client.HTTPException, urllib3.exceptions.HTTPError) as error:
        raise TemporaryError(_told(error)) from None


def _told(error: Exception) -> str:
    """The kind of a failure; of what the system says, its words."""
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    words = cause.strerror if isinstance(cause, OSError) and cause.strerror else ""
    name = type(cause).__name__
    return f"{name}: {words}" if words else name
