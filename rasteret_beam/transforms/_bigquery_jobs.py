"""Load jobs that run once, however often they are asked for."""

import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any

from rasteret_beam.bigquery import Load, TableName
from rasteret_beam.errors import OutputError
from rasteret_beam.transforms import _bigquery_clients

_WAIT_SECONDS = {
    "backendError": 5.0, "internalError": 5.0, "jobBackendError": 5.0, "rateLimitExceeded": 5.0,
    # What a table may take in a day comes back bit by bit, and failures count as well.
    "quotaExceeded": 600.0,
}  # fmt: skip
"""Reasons of failures that may pass, and how long to wait first; twice as long each time."""

_MOST_OWN_TRIES = 4
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
        configure: Gives its configuration from the table, None where there is none. Called
            when a job has to begin: where one did its work the files may be gone.

    Raises:
        OutputError: BigQuery refuses it, or it failed too often.
    """
    with _telling(load.table):
        jobs = _Jobs(_bigquery_clients.job_client(project), load, job_id)
        number = jobs.newest()
        if number >= 0 and jobs.did(number):
            return
        for tries in range(_MOST_OWN_TRIES):
            number += 1
            while not jobs.begin(number, configure):
                # Another worker did, this moment.
                if jobs.did(number):
                    return
                number += 1
            error = jobs.wait(number)
            if error is None:
                return
            seconds = _WAIT_SECONDS.get(str(error.get("reason")))
            if seconds is None or tries + 1 == _MOST_OWN_TRIES:
                msg = f"{load.table}: BigQuery did not load the samples: {error.get('message')}"
                raise OutputError(msg)
            time.sleep(seconds * 2**tries)


def check_dataset(table: TableName, project: str) -> None:
    """Looks whether a table's dataset is there, before any work is done for it.

    Raises:
        OutputError: It is not, or cannot be looked at.
    """
    with _telling(table):
        _bigquery_clients.job_client(project).get_dataset(f"{table.project}.{table.dataset}")


def _telling(table: TableName) -> contextlib.AbstractContextManager[None]:
    return _bigquery_clients.telling(f"{table}: the table cannot be written", OutputError)


class _Jobs:
    """The jobs of one load: numbered from 0, one after another, each when the last had failed."""

    def __init__(self, client: Any, load: Load, job_id: str) -> None:  # noqa: ANN401 -- Google's
        self._client, self._load, self._id = client, load, job_id
        dataset = client.get_dataset(f"{load.table.project}.{load.table.dataset}")
        self._location = dataset.location
        self._found: dict[int, Any] = {}

    def newest(self) -> int:
        """Gives the number of the newest job; -1 where there is none.

        A stream tries again for as long as it takes: there may be thousands.
        """
        there, step = -1, 1
        while self._find(there + step):
            there, step = there + step, 2 * step
        missing = there + step
        while missing - there > 1:
            middle = (there + missing) // 2
            if self._find(middle):
                there = middle
            else:
                missing = middle
        return there

    def begin(
        self, number: int, configure: Callable[[Mapping[str, Any] | None], dict[str, Any]],
    ) -> bool:
        """Begins a job; tells whether it did, and not another before."""
        from google.api_core.exceptions import Conflict  # noqa: PLC0415 -- slow to import
        from google.cloud import bigquery  # noqa: PLC0415 -- slow to import

        configuration = configure(self._table())
        try:
            self._found[number] = self._client.load_table_from_uri(
                configuration["load"]["sourceUris"], str(self._load.table),
                job_id=self._name(number), location=self._location,
                job_config=bigquery.LoadJobConfig.from_api_repr(configuration),
            )  # fmt: skip
        except Conflict:
            return False
        return True

    def wait(self, number: int) -> Mapping[str, Any] | None:
        """Waits for the end of a job; gives why it failed, or None."""
        from google.api_core.exceptions import GoogleAPICallError  # noqa: PLC0415 -- slow to import

        job = self._found.get(number) or self._client.get_job(
            self._name(number), location=self._location,
        )
        self._found[number] = job
        try:
            job.result()
        except GoogleAPICallError:
            # Also a question that got no answer raises; that is for the caller.
            if not job.error_result:
                raise
        error: Mapping[str, Any] | None = job.error_result
        return error

    def did(self, number: int) -> bool:
        """Waits for the end of a job; tells whether what it loaded is there."""
        if self.wait(number) is not None:
            return False
        if self._load.write_disposition != "append":
            # Such a job has the name of this run, which has begun it.
            return True
        # Its table may have been deleted since, or made anew.
        table = self._table()
        if table is None:
            return False
        made = int(table["creationTime"]) / 1000
        return bool(made <= self._found[number].ended.timestamp() + _CLOCK_SECONDS)

    def _name(self, number: int) -> str:
        return f"{self._id}_{number}"

    def _find(self, number: int) -> bool:
        from google.api_core.exceptions import NotFound  # noqa: PLC0415 -- slow to import

        try:
            job = self._client.get_job(self._name(number), location=self._location)
        except NotFound:
            return False
        self._found[number] = job
        return True

    def _table(self) -> Mapping[str, Any] | None:
        from google.api_core.exceptions import NotFound  # noqa: PLC0415 -- slow to import

        try:
            found: Mapping[str, Any] = self._client.get_table(str(self._load.table)).to_api_repr()
        except NotFound:
            return None
        return found
