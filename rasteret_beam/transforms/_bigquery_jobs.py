"""Load jobs that run once, however often they are asked for."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rasteret_beam.bigquery import Load, TableName
from rasteret_beam.errors import OutputError
from rasteret_beam.transforms import _bigquery_clients

_TRANSIENT = ("backendError", "internalError", "jobBackendError", "rateLimitExceeded")
"""Reasons of failures that may pass."""

_MOST_OWN_TRIES, _MOST_JOBS = 4, 100
_CLOCK_SECONDS = 10.0
"""What the times of a job and of its table may differ by."""



def run_load(
    project: str,
    load: Load,
    job_id: str,
    configure: Callable[[Mapping[str, Any] | None], dict[str, Any]],
) -> None:
    """Runs a load job to its end, unless one of its name did.

    BigQuery refuses a second job of one name, whoever asks: what a lost worker began is
    waited for, and what failed is tried again under the next name. A load is all or nothing.

    Args:
        project: Where it runs.
        load: What is loaded.
        job_id: Its name; a number follows.
        configure: Gives its configuration from the table, None where there is none.

    Raises:
        OutputError: BigQuery refuses it, or it failed too often.
    """
    own_tries = 0
    with _telling(load.table):
        jobs = _Jobs(_bigquery_clients.job_client(project), load)
        for number in range(_MOST_JOBS):
            name = f"{job_id}_{number}"
            job, is_ours = jobs.begin(name, configure)
            error = _wait(job)
            if error is None and (is_ours or not jobs.is_undone(job)):
                return
            own_tries += is_ours
            if is_ours and error and (_is_final(error) or own_tries >= _MOST_OWN_TRIES):
                msg = f"{load.table}: BigQuery did not load the samples: {error.get('message')}"
                raise OutputError(msg)
    msg = f"{load.table}: load job {job_id} failed {_MOST_JOBS} times"
    raise OutputError(msg)


def check_dataset(project: str, table: TableName) -> None:
    """Looks whether a table's dataset is there, before any work is done for it.

    Raises:
        OutputError: It is not, or cannot be looked at.
    """
    with _telling(table):
        _bigquery_clients.job_client(project).get_dataset(f"{table.project}.{table.dataset}")


@contextlib.contextmanager
def _telling(table: TableName) -> Iterator[None]:
    from google.api_core.exceptions import GoogleAPICallError  # noqa: PLC0415 -- slow to import

    try:
        yield
    except GoogleAPICallError as error:
        msg = f"{table}: the table cannot be written: {error.message or error}"
        raise OutputError(msg) from error


class _Jobs:
    """Load jobs into one table."""

    def __init__(self, client: Any, load: Load) -> None:  # noqa: ANN401 -- Google's
        self._client, self._load, self._table = client, load, load.table
        dataset = client.get_dataset(f"{load.table.project}.{load.table.dataset}")
        self._location = dataset.location

    def begin(
        self, name: str, configure: Callable[[Mapping[str, Any] | None], dict[str, Any]],
    ) -> tuple[Any, bool]:
        """Begins a job, or finds that of its name; tells whether it was begun here."""
        from google.api_core.exceptions import Conflict  # noqa: PLC0415 -- slow to import
        from google.cloud import bigquery  # noqa: PLC0415 -- slow to import

        configuration = configure(self._existing())
        try:
            job = self._client.load_table_from_uri(
                configuration["load"]["sourceUris"], str(self._table), job_id=name,
                location=self._location,
                job_config=bigquery.LoadJobConfig.from_api_repr(configuration),
            )  # fmt: skip
        except Conflict:
            return self._client.get_job(name, location=self._location), False
        return job, True

    def is_undone(self, job: Any) -> bool:  # noqa: ANN401 -- Google's
        """Whether what a job appended is gone: its table was deleted, or made anew."""
        if self._load.write_disposition != "append":
            # Such a job has the name of this run, which has begun it.
            return False
        table = self._existing()
        if table is None:
            return True
        made = int(table["creationTime"]) / 1000
        return bool(made > job.ended.timestamp() + _CLOCK_SECONDS)

    def _existing(self) -> Mapping[str, Any] | None:
        from google.api_core.exceptions import NotFound  # noqa: PLC0415 -- slow to import

        try:
            found: Mapping[str, Any] = self._client.get_table(str(self._table)).to_api_repr()
        except NotFound:
            return None
        return found


def _is_final(error: Mapping[str, Any]) -> bool:
    return error.get("reason") not in _TRANSIENT


def _wait(job: Any) -> Mapping[str, Any] | None:  # noqa: ANN401 -- Google's
    """Waits for the end of a job; gives why it failed, or None."""
    from google.api_core.exceptions import GoogleAPICallError  # noqa: PLC0415 -- slow to import

    try:
        job.result()
    except GoogleAPICallError:
        # Also a question that got no answer raises; that is for the caller.
        if not job.error_result:
            raise
    found: Mapping[str, Any] | None = job.error_result
    return found
