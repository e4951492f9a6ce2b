"""URIs -> ranged reads: local paths, gs://, s3://, http(s)://."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import functools
import glob
import os
import pathlib
import re
import urllib.parse
from typing import TYPE_CHECKING, Any, NamedTuple

import obstore
from obstore.exceptions import BaseError
from obstore.store import GCSStore, HTTPStore, S3Store

from rasteret_beam.errors import FetchError, OptionError
from rasteret_beam.storage.ranges import ByteRange, coalesce

if TYPE_CHECKING:
    from collections.abc import Sequence

    from obstore import Bytes, ObjectMeta
    from obstore.store import ClientConfig, RetryConfig

_CLIENT_OPTIONS: ClientConfig = {
    "connect_timeout": dt.timedelta(seconds=5),
    "timeout": dt.timedelta(seconds=60),
}
_RETRY_CONFIG: RetryConfig = {
    "max_retries": 5,
    "backoff": {
        "init_backoff": dt.timedelta(milliseconds=200),
        "max_backoff": dt.timedelta(seconds=10),
        "base": 2,
    },
    "retry_timeout": dt.timedelta(seconds=60),
}
_S3_SIGNED_BY = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)


class FileInfo(NamedTuple):
    """What a listing or a first read tells of a file.

    Attributes:
        size: Bytes.
        etag: What changes when the file does: the server's entity tag, or else when it
            was last modified; None where nobody tells.
    """

    size: int
    etag: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class Store:
    """Reads files by URI. Small enough to pickle: clients open where they are used.

    Attributes:
        allow_http: Whether plain ``http://`` is permitted, for addresses and for the
            endpoints of s3:// and gs:// stand-ins (``AWS_ENDPOINT_URL``).
    """

    allow_http: bool = False

    def read(self, uri: str, offset: int, length: int) -> bytes:
        """Reads one range whole.

        Raises:
            FetchError: Not found, not allowed, or fewer bytes than asked for.
        """
        (data,) = self.read_ranges(uri, [ByteRange(offset, length)])
        if isinstance(data, FetchError):
            raise data
        return bytes(data)

    def read_ranges(self, uri: str, ranges: Sequence[ByteRange]) -> list[memoryview | FetchError]:
        """Reads ranges of one file, near ones together.

        A range that fails does not fail its neighbours: a merged request that cannot be
        had is asked for again range by range.

        Args:
            uri: The file.
            ranges: What to read, in any order.

        Returns:
            For each range its bytes, or why they could not be had. Ranges that were read
            together share memory.
        """
        results: list[memoryview | FetchError] = [FetchError("not read")] * len(ranges)
        requests = coalesce(ranges)
        spans = self._read_spans(uri, [request.span for request in requests])
        for request, data in zip(requests, spans, strict=True):
            for index in request.wanted:
                wanted = ranges[index]
                if isinstance(data, FetchError):
                    alone = len(request.wanted) == 1
                    results[index] = data if alone else self._read_spans(uri, [wanted])[0]
                else:
                    start = wanted.offset - request.span.offset
                    results[index] = data[start : start + wanted.length]
        return results

    def read_start(self, uri: str, length: int) -> tuple[bytes, FileInfo]:
        """Reads the first bytes of a file, fewer where it is shorter, and its facts.

        Raises:
            FetchError: Not found or not allowed.
        """
        path = local_path(uri)
        with _fetch_errors(uri):
            if path is not None:
                with path.open("rb") as file:
                    return file.read(length), _local_info(path)
            store, key = self._client(uri)
            result = obstore.get(store, key, options={"range": (0, length)})
            return bytes(result.bytes()), _remote_info(result.meta)

    def info(self, uri: str) -> FileInfo | None:
        """Gives a file's facts, or None where there is no such file."""
        path = local_path(uri)
        if path is not None:
            return _local_info(path) if path.is_file() else None
        store, key = self._client(uri)
        with _fetch_errors(uri):
            try:
                meta = obstore.head(store, key)
            except (FileNotFoundError, obstore.exceptions.NotFoundError):
                return None
            return _remote_info(meta)

    def list_files(self, folder: str) -> list[str]:
        """Lists the files below a folder, at any depth, sorted by URI.

        Raises:
            FetchError: The folder cannot be listed (web servers have no listing).
        """
        return [uri for uri, _ in self.list_sizes(folder)]

    def list_sizes(self, folder: str) -> list[tuple[str, int]]:
        """Lists the files below a folder, at any depth, sorted by URI, with their bytes.

        Raises:
            FetchError: The folder cannot be listed (web servers have no listing).
        """
        path = local_path(folder)
        if path is not None:
            if not path.is_dir():
                msg = f"{folder}: no such folder"
                raise FetchError(msg)
            found = (p for p in path.rglob("*") if p.is_file())
            return sorted((str(p), p.stat().st_size) for p in found)
        if urllib.parse.urlsplit(folder).scheme in ("http", "https"):
            msg = f"{redact(folder)}: a web server has no listing; name the files one by one"
            raise FetchError(msg)
        store, prefix = self._client(folder.rstrip("/") + "/")
        parts = urllib.parse.urlsplit(folder)
        root = f"{parts.scheme}://{parts.netloc}/"
        with _fetch_errors(folder):
            return sorted(
                (root + str(meta["path"]), int(meta["size"]))
                for page in obstore.list(store, prefix=prefix)
                for meta in page
            )

    def glob(self, pattern: str) -> list[str]:
        """Expands a pattern; ``**`` crosses folders. A plain URI gives itself.

        Raises:
            FetchError: Nothing matches, or a web address holds wildcards.
        """
        if not has_wildcard(pattern):
            return [pattern]
        path = local_path(pattern)
        if path is not None:
            matches = [p for p in glob.glob(str(path), recursive=True) if os.path.isfile(p)]  # noqa: PTH207, PTH113 -- pathlib's glob takes no absolute pattern
        else:
            matches = _match(pattern, self.list_files(_fixed_folder(pattern)))
        if not matches:
            msg = f"{redact(pattern)}: no file matches"
            raise FetchError(msg)
        return sorted(matches)

    def _read_spans(self, uri: str, spans: Sequence[ByteRange]) -> list[memoryview | FetchError]:
        path = local_path(uri)
        try:
            with _fetch_errors(uri):
                if path is not None:
                    return _read_local(path, spans)
                store, key = self._client(uri)
                return _read_remote(uri, store, key, spans)
        except FetchError as error:
            if len(spans) == 1:
                return [error]
            return [self._read_spans(uri, [span])[0] for span in spans]

    def _client(self, uri: str) -> tuple[obstore.store.ObjectStore, str]:
        return open_client(uri, self.allow_http)


def local_path(uri: str) -> pathlib.Path | None:
    """Gives the path of a local file, or None for another kind of URI."""
    if uri.startswith("file://"):
        return pathlib.Path(urllib.parse.unquote(urllib.parse.urlsplit(uri).path))
    return None if "://" in uri else pathlib.Path(uri)


def has_wildcard(pattern: str) -> bool:
    """Tells whether a URI is a pattern (a query's ``?`` is none)."""
    if local_path(pattern) is None:
        parts = urllib.parse.urlsplit(pattern)
        if parts.scheme in ("http", "https"):
            return "*" in parts.path
    elif pathlib.Path(pattern).exists():
        return False
    return any(sign in pattern for sign in "*?[")


def redact(uri: str) -> str:
    """Takes credentials out of a URI for messages: user, password, query."""
    if "://" not in uri:
        return uri
    parts = urllib.parse.urlsplit(uri)
    host = parts.netloc.rpartition("@")[2]
    query = "REDACTED" if parts.query else ""
    return urllib.parse.urlunsplit((parts.scheme, host, parts.path, query, ""))


@functools.lru_cache(maxsize=1024)
def open_client(uri_or_folder: str, allow_http: bool) -> tuple[obstore.store.ObjectStore, str]:  # noqa: FBT001 -- a cache key
    """Gives the process's client for a URI, and the object's key in it.

    Raises:
        OptionError: A scheme that is not known, or plain http:// without permission.
    """
    parts = urllib.parse.urlsplit(uri_or_folder)
    if parts.scheme == "gs":
        return _gcs(parts.netloc, allow_http), urllib.parse.unquote(parts.path).lstrip("/")
    if parts.scheme == "s3":
        return _s3(parts.netloc, allow_http), urllib.parse.unquote(parts.path).lstrip("/")
    if parts.scheme not in ("http", "https"):
        msg = f"{redact(uri_or_folder)}: scheme {parts.scheme!r} is not one of gs, s3, http, https"
        raise OptionError(msg)
    if parts.scheme == "http" and not allow_http:
        msg = f"{redact(uri_or_folder)}: plain http:// needs allow_http"
        raise OptionError(msg)
    if parts.query:
        # A signature covers the address as it is: it must not be split and re-escaped.
        return _http(uri_or_folder, allow_http), ""
    origin = f"{parts.scheme}://{parts.netloc}"
    return _http(origin, allow_http), urllib.parse.unquote(parts.path).lstrip("/")


@functools.lru_cache(maxsize=1024)
def _http(url: str, allow_http: bool) -> HTTPStore:  # noqa: FBT001 -- a cache key
    options = _client_options(allow_http)
    return HTTPStore.from_url(url, client_options=options, retry_config=_RETRY_CONFIG)


def _client_options(allow_http: bool) -> ClientConfig:  # noqa: FBT001 -- as its callers
    return {**_CLIENT_OPTIONS, "allow_http": allow_http}


@functools.lru_cache(maxsize=1024)
def _s3(bucket: str, allow_http: bool) -> S3Store:  # noqa: FBT001 -- a cache key
    anonymous = not any(os.environ.get(name) for name in _S3_SIGNED_BY)
    return S3Store(
        bucket,
        skip_signature=anonymous,
        client_options=_client_options(allow_http),
        retry_config=_RETRY_CONFIG,
    )


@functools.lru_cache(maxsize=1024)
def _gcs(bucket: str, allow_http: bool) -> GCSStore:  # noqa: FBT001 -- a cache key
    from google.auth.exceptions import DefaultCredentialsError  # noqa: PLC0415 -- heavy
    from obstore.auth.google import GoogleCredentialProvider  # noqa: PLC0415 -- heavy

    arguments: dict[str, Any] = {}
    try:
        arguments["credential_provider"] = GoogleCredentialProvider()
    except DefaultCredentialsError:
        arguments["skip_signature"] = True
    return GCSStore(
        bucket,
        client_options=_client_options(allow_http),
        retry_config=_RETRY_CONFIG,
        **arguments,
    )


def _local_info(path: pathlib.Path) -> FileInfo:
    stat = path.stat()
    return FileInfo(stat.st_size, f"{stat.st_mtime_ns:x}-{stat.st_size:x}")


def _remote_info(meta: ObjectMeta) -> FileInfo:
    modified = meta.get("last_modified")
    etag = meta.get("e_tag") or (modified.isoformat() if modified else None)
    return FileInfo(int(meta["size"]), etag)


def _read_local(path: pathlib.Path, spans: Sequence[ByteRange]) -> list[memoryview | FetchError]:
    with path.open("rb") as file:
        descriptor, size = file.fileno(), path.stat().st_size
        return [
            _whole(str(path), span, os.pread(descriptor, _bounded(span, size), span.offset))
            for span in spans
        ]


def _read_remote(
    uri: str, store: obstore.store.ObjectStore, key: str, spans: Sequence[ByteRange],
) -> list[memoryview | FetchError]:
    results: list[memoryview | FetchError] = [FetchError("not read")] * len(spans)
    # The client joins ranges that touch, without a limit; of spans in order only
    # neighbours can touch, so every other one goes into a call of its own.
    for turn in (slice(0, None, 2), slice(1, None, 2)):
        asked = spans[turn]
        if asked:
            found = obstore.get_ranges(
                store, key,
                starts=[span.offset for span in asked],
                lengths=[span.length for span in asked],
                coalesce=0,
            )  # fmt: skip
            results[turn] = [
                _whole(uri, span, data) for span, data in zip(asked, found, strict=True)
            ]
    return results


def _bounded(span: ByteRange, size: int) -> int:
    """A range that claims gigabytes beyond the end must not be allocated."""
    return max(min(span.length, size - span.offset), 0)


def _whole(uri: str, span: ByteRange, data: bytes | Bytes) -> memoryview | FetchError:
    view = memoryview(data)
    if len(view) == span.length:
        return view
    return FetchError(
        f"{redact(uri)}: {len(view)} of {span.length} bytes at offset {span.offset}; "
        "the file is cut short or was changed",
    )


@contextlib.contextmanager
def _fetch_errors(uri: str):  # type: ignore[no-untyped-def]  # noqa: ANN202 -- contextmanager's own
    try:
        yield
    except (OSError, BaseError, ValueError) as error:
        if isinstance(error, (FetchError, OptionError)):
            raise
        text = str(error).strip().split("\n")[0]
        # Clients escape a URI anew: what may be a secret goes, however it is spelled.
        text = re.sub(r"//[^/@\s]+@", "//", re.sub(r"\?\S+", "?REDACTED", text))
        msg = f"{redact(uri)}: {type(error).__name__}: {text}"
        raise FetchError(msg) from error


def _fixed_folder(pattern: str) -> str:
    head = re.split(r"[*?\[]", pattern, maxsplit=1)[0]
    return head[: head.rfind("/") + 1]


def _match(pattern: str, names: Sequence[str]) -> list[str]:
    """Names that match as local files would: ``*`` stays in a folder, ``**/`` does not."""
    tokens = re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]+\])", pattern)
    spelled = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    regex = "".join(
        spelled.get(token) or (token.replace("[!", "[^") if token[:1] == "[" else re.escape(token))
        for token in tokens
    )
    return [name for name in names if re.fullmatch(regex, name)]
