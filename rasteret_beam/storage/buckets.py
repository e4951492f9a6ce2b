"""Objects in gs:// and s3:// buckets, one attempt at a time; retries are the caller's."""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import os
import re
import urllib.parse
from typing import TYPE_CHECKING, Any, NamedTuple

import obstore
from obstore.exceptions import (
    BaseError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import GCSStore, S3Store

from rasteret_beam.elements import FileInfo
from rasteret_beam.errors import FetchError
from rasteret_beam.storage.answers import UNKNOWN_SIZE, Answer, BeyondEndError
from rasteret_beam.storage.pacing import TemporaryError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from obstore import ObjectMeta
    from obstore.store import ClientConfig, RetryConfig

_CONNECT_SECONDS = 5.0
_ONE_ATTEMPT: RetryConfig = {"max_retries": 0}
_S3_SIGNED_BY = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
_STATUS = re.compile(r"status(?: code)?:? (\d{3})")
_TEMPORARY = frozenset({408, 425, 429})
_THROTTLED = frozenset({429, 503})
_SERVER_ERROR = 500
_BEYOND = ("Wanted range starting at", "status 416", "status code: 416")
_ONLY = re.compile(r"was only (\d+) bytes")
_SECRETS = re.compile(r"\w+://\S+|[\w-]*(?:signature|credential|token)[\w-]*=\S+", re.IGNORECASE)


class Client(NamedTuple):
    """How a bucket is reached.

    Attributes:
        scheme: ``gs`` or ``s3``.
        bucket: Its name.
        allow_http: Whether its endpoint may be plain ``http://``.
        timeout_seconds: Of one attempt.
    """

    scheme: str
    bucket: str
    allow_http: bool
    timeout_seconds: float


def is_bucket(uri: str) -> bool:
    """Tells whether a URI is of an object in a bucket."""
    return uri.startswith(("gs://", "s3://"))


def fetch(uri: str, offset: int, length: int, *, allow_http: bool, timeout: float) -> Answer:
    """Reads a range of an object, less where it ends before.

    Raises:
        FetchError: Not there, not permitted, or the range begins beyond its end.
        TemporaryError: Another attempt may do.
    """
    store, key = _open(uri, allow_http, timeout)
    with _translated():
        result = obstore.get(store, key, options={"range": (offset, offset + length)})
        data = memoryview(result.bytes())
        info = _info(result.meta)
    if len(data) != min(length, info.size - offset):
        msg = f"{len(data)} of {length} bytes at offset {offset}: the answer was cut short"
        raise TemporaryError(msg)
    return Answer(data, info)


def head(uri: str, *, allow_http: bool, timeout: float) -> FileInfo | None:
    """Gives an object's facts, or None where there is none.

    Raises:
        FetchError: Not permitted.
        TemporaryError: Another attempt may do.
    """
    store, key = _open(uri, allow_http, timeout)
    with _translated():
        try:
            return _info(obstore.head(store, key))
        except (FileNotFoundError, NotFoundError):
            return None


def list_below(folder: str, *, allow_http: bool, timeout: float) -> list[tuple[str, int]]:
    """Lists the objects whose names begin with a folder's, with their bytes.

    Raises:
        FetchError: Not permitted.
        TemporaryError: Another attempt may do.
    """
    store, prefix = _open(folder.rstrip("/") + "/", allow_http, timeout)
    parts = urllib.parse.urlsplit(folder)
    root = f"{parts.scheme}://{parts.netloc}/"
    with _translated():
        return sorted(
            (root + str(meta["path"]), int(meta["size"]))
            for page in obstore.list(store, prefix=prefix)
            for meta in page
        )


def _open(uri: str, allow_http: bool, timeout: float) -> tuple[obstore.store.ObjectStore, str]:  # noqa: FBT001 -- as its callers
    parts = urllib.parse.urlsplit(uri)
    client = Client(parts.scheme, parts.netloc, allow_http, timeout)
    with _translated():
        return open_client(client), urllib.parse.unquote(parts.path).lstrip("/")


@functools.lru_cache(maxsize=1024)
def open_client(client: Client) -> obstore.store.ObjectStore:
    """Gives the process's client of a bucket."""
    options: ClientConfig = {
        "connect_timeout": dt.timedelta(seconds=min(_CONNECT_SECONDS, client.timeout_seconds)),
        "timeout": dt.timedelta(seconds=client.timeout_seconds),
        "allow_http": client.allow_http,
    }
    if client.scheme == "gs":
        return _gcs(client.bucket, options)
    return _s3(client.bucket, options)


def _s3(bucket: str, options: ClientConfig) -> S3Store:
    anonymous = not any(os.environ.get(name) for name in _S3_SIGNED_BY)
    return S3Store(
        bucket, skip_signature=anonymous, client_options=options, retry_config=_ONE_ATTEMPT,
    )


def _gcs(bucket: str, options: ClientConfig) -> GCSStore:
    from google.auth.exceptions import DefaultCredentialsError  # noqa: PLC0415 -- heavy
    from obstore.auth.google import GoogleCredentialProvider  # noqa: PLC0415 -- heavy

    arguments: dict[str, Any] = {}
    try:
        arguments["credential_provider"] = GoogleCredentialProvider()
    except DefaultCredentialsError:
        arguments["skip_signature"] = True
    return GCSStore(bucket, client_options=options, retry_config=_ONE_ATTEMPT, **arguments)


def _info(meta: ObjectMeta) -> FileInfo:
    modified = meta.get("last_modified")
    etag = meta.get("e_tag") or (modified.isoformat() if modified else None)
    return FileInfo(int(meta["size"]), etag)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """The client's errors as ours; it tells them by text alone, addresses included."""
    try:
        yield
    except FetchError:
        raise
    except (OSError, BaseError, ValueError) as error:
        text = str(error).strip().split("\n")[0]
        told = f"{type(error).__name__}: {_SECRETS.sub('REDACTED', text)}"
        raise _judged(error, text, told) from None


def _judged(error: Exception, text: str, told: str) -> FetchError:
    final = (
        FileNotFoundError, NotFoundError, PermissionError, PermissionDeniedError,
        UnauthenticatedError, ValueError,
    )  # fmt: skip
    if any(sign in text for sign in _BEYOND):
        size = _ONLY.search(text)
        return BeyondEndError(told, int(size[1]) if size else UNKNOWN_SIZE)
    if isinstance(error, final):
        return FetchError(told)
    found = _STATUS.search(text)
    status = int(found[1]) if found else None
    if status is not None and status < _SERVER_ERROR and status not in _TEMPORARY:
        return FetchError(told)
    return TemporaryError(
        told, throttled=status in _THROTTLED, timed_out="timed out" in text.lower(),
    )
