"""In whose name buckets are asked: one client of each, made when it is first needed."""

from __future__ import annotations

import dataclasses
import datetime as dt
import importlib.util
import os
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from obstore.store import GCSStore, S3Store

from rasteret_beam.errors import FetchError, OptionError
from rasteret_beam.once import made_once

if TYPE_CHECKING:
    import obstore
    from obstore.auth.google import GoogleCredentialProvider
    from obstore.store import ClientConfig, RetryConfig

_CONNECT_SECONDS = 5.0
_ONE_ATTEMPT: RetryConfig = {"max_retries": 0}
_GOOGLE_SCOPE = "https://www.googleapis.com/auth/devstorage.read_only"
_GOOGLE_FILE = "GOOGLE_APPLICATION_CREDENTIALS"
_S3_SIGNED_BY = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
_MAKING = threading.RLock()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """In whose name buckets are asked, and who pays. Holds no secret: workers find those.

    Attributes:
        anonymous: Whether requests go unsigned although there may be credentials.
        billing_project: Google project that pays for requests to gs:// buckets whose
            owner does not; None for the bucket's own.
        s3_region: Region of the s3:// buckets; None for ``AWS_REGION``, or us-east-1.
        s3_requester_pays: Whether the account pays for requests to s3:// buckets whose
            owner does not.

    Raises:
        OptionError: Nobody would pay: an unsigned request is on no account.
    """

    anonymous: bool = False
    billing_project: str | None = None
    s3_region: str | None = None
    s3_requester_pays: bool = False

    def __post_init__(self) -> None:
        """Checks that somebody pays."""
        if self.anonymous and (self.billing_project or self.s3_requester_pays):
            what = "billing_project" if self.billing_project else "s3_requester_pays"
            msg = f"{what} needs an account that pays; leave out anonymous"
            raise OptionError(msg)


class Client(NamedTuple):
    """How a bucket is reached.

    Attributes:
        scheme: ``gs`` or ``s3``.
        bucket: Its name.
        account: In whose name.
        allow_http: Whether its endpoint may be plain ``http://``.
        timeout_seconds: Of one attempt.
    """

    scheme: str
    bucket: str
    account: Account
    allow_http: bool
    timeout_seconds: float


def open_client(client: Client) -> obstore.store.ObjectStore:
    """Gives the process's client of a bucket; the first call looks for credentials.

    Raises:
        FetchError: Credentials that were named cannot be used.
    """
    with _MAKING:  # threads that come together must not make one each
        return _opened(client)


@made_once(maxsize=1024)
def _opened(client: Client) -> obstore.store.ObjectStore:
    options: ClientConfig = {
        "connect_timeout": dt.timedelta(seconds=min(_CONNECT_SECONDS, client.timeout_seconds)),
        "timeout": dt.timedelta(seconds=client.timeout_seconds),
        "allow_http": client.allow_http,
    }
    if client.scheme == "gs":
        return _gcs(client.bucket, client.account, options)
    return _s3(client.bucket, client.account, options)


def _s3(bucket: str, account: Account, options: ClientConfig) -> S3Store:
    more: dict[str, Any] = {}
    if account.anonymous:
        more["skip_signature"] = True
    elif not any(os.environ.get(name) for name in _S3_SIGNED_BY):
        provider = _boto()
        more.update({"credential_provider": provider} if provider else {"skip_signature": True})
    region = account.s3_region or os.environ.get("AWS_REGION")
    if region:
        more["region"] = region
    if account.s3_requester_pays:
        more["request_payer"] = True
    return S3Store(bucket, client_options=options, retry_config=_ONE_ATTEMPT, **more)


def _gcs(bucket: str, account: Account, options: ClientConfig) -> GCSStore:
    if account.billing_project:
        options["default_headers"] = {"x-goog-user-project": account.billing_project}
    provider = None if account.anonymous else _google()
    more: dict[str, Any] = (
        {"credential_provider": provider} if provider else {"skip_signature": True}
    )
    emulator = os.environ.get("STORAGE_EMULATOR_HOST")
    if emulator:
        more["base_url"] = emulator if "://" in emulator else f"http://{emulator}"
    return GCSStore(bucket, client_options=options, retry_config=_ONE_ATTEMPT, **more)


@made_once(maxsize=1)
def _google() -> GoogleCredentialProvider | None:
    """Google's application default credentials; None where there are none.

    Raises:
        FetchError: A file of them was named that cannot be used.
    """
    import google.auth  # noqa: PLC0415 -- heavy
    from google.auth.exceptions import DefaultCredentialsError  # noqa: PLC0415 -- heavy
    from obstore.auth.google import GoogleCredentialProvider  # noqa: PLC0415 -- heavy

    try:
        # A service account's token is refused where it does not say what it is for.
        credentials, _ = google.auth.default(scopes=[_GOOGLE_SCOPE])
    except DefaultCredentialsError:
        if os.environ.get(_GOOGLE_FILE):
            msg = f"{_GOOGLE_FILE} names no file of Google credentials"
            raise FetchError(msg) from None
        return None
    return GoogleCredentialProvider(credentials)


@made_once(maxsize=1)
def _boto() -> Any:  # noqa: ANN401 -- of a library that may be missing
    """What boto3 finds where it is installed: profiles, machine roles; else None.

    Raises:
        FetchError: A profile was named that is not there, or its files cannot be used.
    """
    if importlib.util.find_spec("boto3") is None:
        return None
    from obstore.auth.boto3 import Boto3CredentialProvider  # noqa: PLC0415 -- may be missing

    try:
        return Boto3CredentialProvider()
    except ValueError:  # it found none
        return None
    except Exception as error:
        msg = f"boto3 cannot use the AWS credentials that are named: {error}"
        raise FetchError(msg) from error
