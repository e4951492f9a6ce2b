"""Google's clients for BigQuery, one of a kind in a process."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from rasteret_beam.errors import RasteretBeamError
from rasteret_beam.once import made_once

_EMULATOR = "BIGQUERY_EMULATOR_HOST"
"""Google's own variable: where an emulator of the REST API is; it takes no credentials."""


@made_once(maxsize=8)
def job_client(project: str) -> Any:  # noqa: ANN401 -- imported when it is needed
    """Gives a client for jobs and tables, with the credentials of the environment.

    Args:
        project: Where jobs run, and who pays for them.
    """
    # Slow to import, and only here is it needed.
    from google.auth.credentials import AnonymousCredentials  # noqa: PLC0415
    from google.cloud import bigquery  # noqa: PLC0415

    if os.environ.get(_EMULATOR):
        return bigquery.Client(project, credentials=AnonymousCredentials())  # type: ignore[no-untyped-call]
    return bigquery.Client(project)


@made_once(maxsize=1)
def read_client() -> Any:  # noqa: ANN401 -- imported when it is needed
    """Gives a client for reading tables, with the credentials of the environment."""
    from google.cloud.bigquery_storage import BigQueryReadClient  # noqa: PLC0415

    return BigQueryReadClient()  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def telling(what: str, kind: type[RasteretBeamError]) -> Iterator[None]:
    """Tells what BigQuery refuses, or that there are no credentials to ask it with.

    Args:
        what: Of what, and that it cannot be done.
        kind: The error to raise.

    Raises:
        RasteretBeamError: Of that kind.
    """
    from google.api_core.exceptions import GoogleAPICallError  # noqa: PLC0415 -- slow to import
    from google.auth.exceptions import GoogleAuthError  # noqa: PLC0415 -- slow to import

    try:
        yield
    except (GoogleAPICallError, GoogleAuthError) as error:
        msg = f"{what}: {getattr(error, 'message', None) or error}"
        raise kind(msg) from error
