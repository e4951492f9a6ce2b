"""Signatures that addresses get as they are read: made on the worker, and told to nobody."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import os
import threading
import urllib.parse
from typing import Protocol

from rasteret_beam.errors import FetchError, OptionError
from rasteret_beam.iso_times import read_time
from rasteret_beam.once import made_once
from rasteret_beam.storage import web
from rasteret_beam.storage.access import Access
from rasteret_beam.storage.pacing import RetryPolicy, TemporaryError, pace_of

_MARGIN_SECONDS = 120.0
"""A token is not used for so long before its end: a request takes time, and clocks differ."""

_RETRIES = RetryPolicy(timeout_seconds=30.0)
_BLOBS = ".blob.core.windows.net"
_KEY = "PC_SDK_SUBSCRIPTION_KEY"


class Signer(Protocol):
    """What gives addresses the signatures that their server asks for.

    It is pickled to the workers and compared: a frozen dataclass will do. It must hold no
    secret of its own; what it signs with it finds where it runs.
    """

    def sign(self, uri: str) -> str:
        """Gives the address to read, or the same where it needs no signature.

        Called before each request, by many threads at a time.

        Args:
            uri: A remote address, after ``url_rewrite``.

        Raises:
            FetchError: There is no signature to be had.
        """
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class PlanetaryComputer:
    """Signs what Microsoft's Planetary Computer serves, with the tokens it gives to anyone.

    A token is for a container, and is kept until shortly before its end. Where the worker's
    environment has ``PC_SDK_SUBSCRIPTION_KEY``, tokens are asked for with that key.

    Attributes:
        token_url: What gives tokens: ``/account/container`` is added to it.
    """

    token_url: str = "https://planetarycomputer.microsoft.com/api/sas/v1/token"  # noqa: S105 -- where tokens are, none itself

    def sign(self, uri: str) -> str:
        """Gives an address in a container its token; others stay as they are.

        Raises:
            FetchError: There is no token for the container.
        """
        parts = urllib.parse.urlsplit(uri)
        host = (parts.hostname or "").lower()
        container = parts.path.lstrip("/").partition("/")[0]
        signed = "sig" in urllib.parse.parse_qs(parts.query)
        if not host.endswith(_BLOBS) or not container or signed:
            return uri
        token = _token_of(self.token_url, host.removesuffix(_BLOBS), container).get()
        return f"{uri}{'&' if parts.query else '?'}{token}"


SIGNERS: dict[str, type[Signer]] = {"planetary_computer": PlanetaryComputer}
"""Signers that are known by name."""


def signer_named(name: str) -> Signer:
    """Gives a signer by its name.

    Raises:
        OptionError: There is none.
    """
    if name not in SIGNERS:
        msg = f"signer is {name!r}, expected one of {', '.join(SIGNERS)}"
        raise OptionError(msg)
    return SIGNERS[name]()


def check_signer(signer: Signer | None) -> None:
    """Refuses what cannot sign on a worker.

    Raises:
        OptionError: It has no ``sign``, or cannot be compared.
    """
    if signer is None:
        return
    if not callable(getattr(signer, "sign", None)):
        msg = f"signer is a {type(signer).__name__} without a method sign(uri)"
        raise OptionError(msg)
    if type(signer).__hash__ is None:
        msg = f"signer is a {type(signer).__name__}, which cannot be hashed; freeze its dataclass"
        raise OptionError(msg)


def signed(signer: Signer, uri: str) -> str:
    """Gives the address to read; failures say nothing of what was signed with.

    Raises:
        FetchError: It cannot be signed.
    """
    try:
        return signer.sign(uri)
    except FetchError:
        raise
    except Exception as error:  # noqa: BLE001 -- anybody's code
        # Its text may hold keys.
        msg = f"the signer {type(signer).__name__} failed: {type(error).__name__}"
        raise FetchError(msg) from None


class _Token:
    """A container's token, asked for anew when it ends."""

    def __init__(self, url: str, what: str) -> None:
        self._url, self._what = url, what
        self._text, self._until = "", dt.datetime.min.replace(tzinfo=dt.timezone.utc)
        self._asking = threading.Lock()

    def get(self) -> str:
        with self._asking:  # one thread asks, the others wait for its answer
            if dt.datetime.now(dt.timezone.utc) >= self._until:
                self._text, self._until = self._asked()
            return self._text

    def _asked(self) -> tuple[str, dt.datetime]:
        parts = urllib.parse.urlsplit(self._url)
        pace = pace_of(f"{parts.scheme}://{parts.netloc}")
        found = pace.run(self._attempt, _RETRIES).found
        if isinstance(found, FetchError):
            msg = f"no token for the container {self._what}: {found}"
            raise FetchError(msg)
        return found

    def _attempt(self) -> tuple[str, dt.datetime]:
        key = os.environ.get(_KEY)
        body = web.fetch_whole(
            self._url,
            headers={"Ocp-Apim-Subscription-Key": key} if key else {},
            access=Access(allow_http=True),
            timeout=_RETRIES.timeout_seconds,
        )
        try:
            told = json.loads(body)
            until = read_time(told["msft:expiry"])
            margin = dt.timedelta(seconds=_MARGIN_SECONDS)
            return str(told["token"]).lstrip("?"), until - margin
        except (ValueError, KeyError, TypeError, AttributeError):
            msg = "the answer holds no token"
            raise TemporaryError(msg) from None


@made_once(maxsize=4096)
def _token_of(token_url: str, account: str, container: str) -> _Token:
    """Gives the process's token of a container."""
    what = f"{account}/{container}"
    return _Token(f"{token_url.rstrip('/')}/{what}", what)
