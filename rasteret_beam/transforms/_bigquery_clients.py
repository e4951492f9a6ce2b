"""Google's clients for BigQuery, one of a kind in a process."""

import os
from typing import Any

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
