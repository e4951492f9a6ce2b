"""How hard a host is asked: tries, waits, and how many requests at a time."""

from __future__ import annotations

import dataclasses
import random
import threading
import time
from typing import TYPE_CHECKING, Generic, TypeVar

from rasteret_beam.errors import FetchError, OptionError
from rasteret_beam.once import made_once

if TYPE_CHECKING:
    from collections.abc import Callable

_Answer = TypeVar("_Answer")

MAX_CONCURRENT = 128
"""Requests to one host at a time, from one process."""

# As the AWS SDKs' standard mode: what retries may cost a host before they must be earned.
_TOKENS = 500.0
_RETRY_COST = 5.0
_TIMEOUT_COST = 10.0
_GOOD_ANSWER = 1.0
_LOOK_AGAIN_SECONDS = 1.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often a request is made, and how long that may take.

    Attributes:
        attempts: Requests for one range at most, the first included.
        first_wait_seconds: Before the second attempt; doubled before each further one.
            What is waited is a random share of it.
        max_wait_seconds: The longest wait, also where the server asks for a longer one.
        timeout_seconds: One attempt, from connecting to its last byte.

    Raises:
        OptionError: A value that cannot work.
    """

    attempts: int = 5
    first_wait_seconds: float = 0.2
    max_wait_seconds: float = 20.0
    timeout_seconds: float = 60.0

    def __post_init__(self) -> None:
        """Checks every value."""
        if self.attempts < 1:
            msg = f"attempts is {self.attempts}, expected 1 or more"
            raise OptionError(msg)
        if not self.timeout_seconds > 0:
            msg = f"timeout_seconds is {self.timeout_seconds}, expected above 0"
            raise OptionError(msg)
        if not 0 <= self.first_wait_seconds <= self.max_wait_seconds:
            msg = (
                f"first_wait_seconds is {self.first_wait_seconds}, expected 0 to "
                f"max_wait_seconds ({self.max_wait_seconds})"
            )
            raise OptionError(msg)

    @property
    def patience_seconds(self) -> float:
        """How long a host may give no good answer before it counts as down."""
        return self.attempts * self.max_wait_seconds

    def wait_seconds(self, failures: int) -> float:
        """Gives the longest wait after this many failures in a row."""
        # Beyond 2 ** 60 times the first wait nothing grows any more.
        return min(self.first_wait_seconds * 2.0 ** min(failures - 1, 60), self.max_wait_seconds)


class TemporaryError(FetchError):
    """An attempt failed in a way that another may not.

    Attributes:
        retry_after_seconds: What the server asks to wait; 0 where it does not say.
        throttled: Whether the host has too much to do (429, 503), or does not answer in time.
        timed_out: Whether it did not answer in time, which costs more than an answer.
    """

    def __init__(
        self,
        message: str,
        *,
        retry_after_seconds: float = 0.0,
        throttled: bool = False,
        timed_out: bool = False,
    ) -> None:
        """Holds the message and what it means."""
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds
        self.throttled = throttled or timed_out
        self.timed_out = timed_out


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome(Generic[_Answer]):
    """What a request came to.

    Attributes:
        found: The answer, or why there is none.
        retried: How many requests it took beyond the first.
    """

    found: _Answer | FetchError
    retried: int


class Clock:
    """The time, and waiting for it: tests have one of their own."""

    def now(self) -> float:
        """Gives seconds since some instant."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Waits."""
        time.sleep(seconds)

    def wait(self, changed: threading.Condition, seconds: float) -> None:
        """Waits for a change, at most some time."""
        changed.wait(seconds)


class Pace:
    """The requests of one process to one host.

    - Concurrency adapts: halved where the host throttles or times out (once for the
      requests that were under way together), one more for each round of good answers.
    - ``Retry-After`` holds the whole host's requests, up to the policy's longest wait.
    - Retries cost tokens, good answers earn them. Without tokens the host is in trouble:
      one request at a time, further and further apart, until a good answer.
    - A host in trouble for longer than the policy's patience is down: its requests fail
      at once, but for one each ``max_wait_seconds``, which may find it up again.
    """

    def __init__(self, host: str, clock: Clock | None = None, seed: int | None = None) -> None:
        """Begins at full pace.

        Args:
            host: Its name, for messages.
            clock: The time.
            seed: Of the random waits; by default different in each process.
        """
        self._host, self._clock = host, clock or Clock()
        self._random = random.Random(seed)  # noqa: S311 -- waits are no secret
        self._changed = threading.Condition()
        self._limit = float(MAX_CONCURRENT)
        self._in_flight = 0
        self._tokens = _TOKENS
        self._failures = 0
        self._held_until = self._cut_at = float("-inf")
        self._trouble_since: float | None = None

    @property
    def limit(self) -> int:
        """How many requests may be under way now."""
        return int(self._limit)

    def run(self, attempt: Callable[[], _Answer], policy: RetryPolicy) -> Outcome[_Answer]:
        """Makes a request until it is answered, at the host's pace.

        Args:
            attempt: One request; a ``TemporaryError`` is tried again.
            policy: How often, and how long.

        Returns:
            The answer, or a ``FetchError`` where it failed for good, too often, or the
            host is down; and how many further requests it took.
        """
        cost, retried = 0.0, 0
        while True:
            try:
                began = self._enter(policy)
            except FetchError as error:
                return Outcome(error, max(retried - 1, 0))
            try:
                answer = attempt()
            except TemporaryError as error:
                cost = self._failed(error, began, policy)
                if retried + 1 >= policy.attempts:
                    return Outcome(_given_up(error, retried + 1), retried)
                retried += 1
                wait = self._random.uniform(0, policy.wait_seconds(retried))
                asked = min(error.retry_after_seconds, policy.max_wait_seconds)
                self._clock.sleep(max(wait, asked))
            except FetchError as error:
                # The host answered, though not with what was wanted.
                self._succeeded(0.0)
                return Outcome(error, retried)
            except BaseException:
                self._succeeded(0.0)
                raise
            else:
                self._succeeded(cost)
                return Outcome(answer, retried)

    def _enter(self, policy: RetryPolicy) -> float:
        """Waits for a turn; gives when it came.

        Raises:
            FetchError: The host is down.
        """
        with self._changed:
            while True:
                now = self._clock.now()
                held = self._held_until - now
                free = self._in_flight < int(self._limit)
                if held <= 0 and free:
                    self._in_flight += 1
                    return now
                since = self._trouble_since
                if since is not None and now - since > policy.patience_seconds:
                    msg = (
                        f"{self._host}: no good answer for {now - since:.0f} s "
                        f"({self._failures} requests failed in a row); not asked"
                    )
                    raise FetchError(msg)
                self._clock.wait(self._changed, min(held, 1.0) if held > 0 else _LOOK_AGAIN_SECONDS)

    def _failed(self, error: TemporaryError, began: float, policy: RetryPolicy) -> float:
        """Notes a failed attempt; gives what its retry costs."""
        cost = _TIMEOUT_COST if error.timed_out else _RETRY_COST
        with self._changed:
            now = self._clock.now()
            self._in_flight -= 1
            self._failures += 1
            # Those under way together meet the same crowd: it is made smaller once.
            if error.throttled and began > self._cut_at:
                self._limit = max(self._limit / 2, 1.0)
                self._cut_at = now
            held = min(error.retry_after_seconds, policy.max_wait_seconds)
            if self._tokens < cost:
                cost = 0.0
                if self._trouble_since is None:
                    self._trouble_since = now
                self._limit = 1.0
                held = max(held, policy.wait_seconds(self._failures))
            self._tokens -= cost
            self._held_until = max(self._held_until, now + held)
            self._changed.notify_all()
        return cost

    def _succeeded(self, cost: float) -> None:
        """Notes a good answer, and gives back what its last retry cost."""
        with self._changed:
            self._in_flight -= 1
            self._failures = 0
            self._trouble_since = None
            self._tokens = min(self._tokens + (cost or _GOOD_ANSWER), _TOKENS)
            self._limit = min(self._limit + 1 / self._limit, float(MAX_CONCURRENT))
            self._changed.notify(2)  # one place is free, and there may be one more


def _given_up(error: TemporaryError, attempts: int) -> FetchError:
    return FetchError(f"{error} (after {attempts} attempts)" if attempts > 1 else str(error))


@made_once(maxsize=4096)
def pace_of(host: str) -> Pace:
    """Gives the process's pace to a host."""
    return Pace(host)
