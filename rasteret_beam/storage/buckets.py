"""Objects in gs:// and s3:// buckets, one attempt at a time; retries are the caller's."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, NamedTuple

import obstore
from obstore.exceptions import (
    BaseError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
)

from rasteret_beam.elements import FileInfo
from rasteret_beam.errors import FetchError
from rasteret_beam.storage.accounts import Client, open_client
from rasteret_beam.storage.addresses import split_root
from rasteret_beam.storage.answers import UNKNOWN_SIZE, Answer, BeyondEndError, Listed
from rasteret_beam.storage.pacing import TemporaryError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from obstore import ObjectMeta

    from rasteret_beam.storage.accounts import Account

_STATUS = re.compile(r"status(?: code)?:? (\d{3})")
_TEMPORARY = frozenset({408, 425, 429})
_THROTTLED = frozenset({429, 503})
_SERVER_ERROR = 500
_BEYOND = ("Wanted range starting at", "status 416", "status code: 416")
_ONLY = re.compile(r"was only (\d+) bytes")
_SECRETS = re.compile(r"\w+://\S+|[\w-]*(?:signature|credential|token)[\w-]*=\S+", re.IGNORECASE)


class Way(NamedTuple):
    """How buckets are reached.

    Attributes:
        account: In whose name.
        allow_http: Whether an endpoint may be plain ``http://``.
        timeout_seconds: Of one attempt.
    """

    account: Account
    allow_http: bool
    timeout_seconds: float


def fetch(uri: str, offset: int, length: int, way: Way) -> Answer:
    """Reads a range of an object, less where it ends before.

    Raises:
        FetchError: Not there, not permitted, or the range begins beyond its end.
        TemporaryError: Another attempt may do.
    """
    with _asked(uri, way) as (store, key):
        result = obstore.get(store, key, options={"range": (offset, offset + length)})
        data = memoryview(result.bytes())
        info = _info(result.meta)
    if len(data) != min(length, info.size - offset):
        msg = f"{len(data)} of {length} bytes at offset {offset}: the answer was cut short"
        raise TemporaryError(msg)
    return Answer(data, info)


def head(uri: str, way: Way) -> FileInfo | None:
    """Gives an object's facts, or None where there is none.

    Raises:
        FetchError: Not permitted.
        TemporaryError: Another attempt may do.
    """
    with _asked(uri, way) as (store, key):
        try:
            return _info(obstore.head(store, key))
        except (FileNotFoundError, NotFoundError):
            return None


def list_below(folder: str, way: Way) -> list[Listed]:
    """Lists the objects whose names begin with a folder's, sorted by URI.

    Raises:
        FetchError: Not permitted.
        TemporaryError: Another attempt may do.
    """
    root, _ = split_root(folder)
    with _asked(folder.rstrip("/") + "/", way) as (store, prefix):
        return sorted(
            Listed(f"{root}/{meta['path']}", meta["path"].removeprefix(prefix), _info(meta))
            for page in obstore.list(store, prefix=prefix)
            for meta in page
        )


@contextlib.contextmanager
def _asked(uri: str, way: Way) -> Iterator[tuple[obstore.store.ObjectStore, str]]:
    """An object's client and key; the client's errors as ours.

    It tells them by text alone, addresses included.
    """
    root, path = split_root(uri)
    scheme, _, bucket = root.partition("://")
    try:
        yield open_client(Client(scheme, bucket, *way)), path.lstrip("/")
    except FetchError:
        raise
    except (OSError, BaseError, ValueError) as error:
        text = str(error).strip()
        told = f"{type(error).__name__}: {_SECRETS.sub('REDACTED', text.split(chr(10))[0])}"
        raise _judged(error, text, told + _advice(text, scheme, way.account)) from None


def _advice(text: str, scheme: str, account: Account) -> str:
    """What may help, where the client's text shows it."""
    if "UserProjectMissing" in text and not account.billing_project:
        return " (the requester pays for this bucket: --billing_project)"
    if scheme == "s3" and "configured region" in text:
        return " (the bucket is in another region: --s3_region)"
    if scheme == "s3" and "403" in text and not account.s3_requester_pays:
        return " (where the requester pays for the bucket: --s3_requester_pays)"
    return ""


def _info(meta: ObjectMeta) -> FileInfo:
    modified = meta.get("last_modified")
    etag = meta.get("e_tag") or (modified.isoformat() if modified else None)
    return FileInfo(int(meta["size"]), etag)


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
