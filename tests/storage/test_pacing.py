"""How hard a host is asked, by a clock of our own: nothing here waits."""

from __future__ import annotations

import threading

import pytest

from rasteret_beam.errors import FetchError, OptionError
from rasteret_beam.storage.pacing import (
    MAX_CONCURRENT,
    Clock,
    Pace,
    RetryPolicy,
    TemporaryError,
    pace_of,
)

POLICY = RetryPolicy()


class FakeClock(Clock):
    """Time that passes only when somebody waits for it."""

    def __init__(self):
        self.time = 0.0
        self.slept = []

    def now(self):
        return self.time

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.time += seconds

    def wait(self, changed, seconds):  # noqa: ARG002 -- nobody else is there
        self.time += seconds


class Host:
    """Answers by a script: an exception is raised, anything else given; the last stays."""

    def __init__(self, clock, *script, seconds=0.0):
        self._clock, self._script, self._seconds = clock, list(script), seconds
        self.asked = []

    def __call__(self):
        self.asked.append(self._clock.time)
        self._clock.time += self._seconds
        step = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        if isinstance(step, Exception):
            raise step
        return step


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def pace(clock):
    return Pace("host", clock, seed=1)


def busy(**more):
    return TemporaryError("HTTP 503", throttled=True, **more)


BROKEN = TemporaryError("HTTP 500")
LATE = TemporaryError("timed out", timed_out=True)


def test_a_good_answer_takes_no_wait(pace, clock):
    outcome = pace.run(Host(clock, "bytes"), POLICY)
    assert (outcome.found, outcome.retried, clock.slept) == ("bytes", 0, [])


def test_waits_are_random_shares_of_times_that_double():
    longest = [POLICY.wait_seconds(failures) for failures in range(1, 10)]
    assert longest == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 20.0, 20.0]
    waits = []
    for seed in range(200):
        clock = FakeClock()
        Pace("host", clock, seed).run(Host(clock, BROKEN, BROKEN, "bytes"), POLICY)
        waits.append(clock.slept)
    assert all(0 <= first <= 0.2 and 0 <= second <= 0.4 for first, second in waits)
    assert max(second for _, second in waits) > 0.35
    assert min(second for _, second in waits) < 0.05


def test_an_error_that_stays_is_told_after_the_last_attempt(pace, clock):
    host = Host(clock, BROKEN)
    outcome = pace.run(host, POLICY)
    assert str(outcome.found) == "HTTP 500 (after 5 attempts)"
    assert not isinstance(outcome.found, TemporaryError)
    assert (len(host.asked), outcome.retried) == (5, 4)


def test_an_error_for_good_is_not_asked_for_again(pace, clock):
    host = Host(clock, FetchError("HTTP 404"))
    outcome = pace.run(host, POLICY)
    assert (str(outcome.found), outcome.retried, len(host.asked)) == ("HTTP 404", 0, 1)


def test_what_is_no_fetch_error_is_raised(pace, clock):
    with pytest.raises(ZeroDivisionError):
        pace.run(Host(clock, ZeroDivisionError()), POLICY)
    assert pace.run(Host(clock, "bytes"), POLICY).found == "bytes"


def test_retry_after_holds_every_request_to_the_host(pace, clock):
    once = RetryPolicy(attempts=1)
    pace.run(Host(clock, busy(retry_after_seconds=7)), once)
    other = Host(clock, "bytes")
    pace.run(other, POLICY)
    assert other.asked == [7.0]


def test_a_server_cannot_ask_for_a_longer_wait_than_the_longest(pace, clock):
    pace.run(Host(clock, busy(retry_after_seconds=86400), "bytes"), POLICY)
    assert clock.time <= POLICY.max_wait_seconds


def test_a_throttled_host_is_asked_half_as_much_and_then_ever_more(pace, clock):
    pace.run(Host(clock, busy(), "bytes"), POLICY)
    assert pace.limit == MAX_CONCURRENT // 2
    before = pace.limit
    for _ in range(before + 1):
        pace.run(Host(clock, "bytes"), POLICY)
    assert pace.limit == before + 1


def test_an_error_that_is_no_throttling_leaves_the_pace_alone(pace, clock):
    pace.run(Host(clock, BROKEN, "bytes"), POLICY)
    assert pace.limit == MAX_CONCURRENT


def test_requests_that_fail_together_halve_the_pace_once(pace, clock):
    began = [pace._enter(POLICY) for _ in range(8)]
    clock.time += 1
    for time in began:
        pace._failed(busy(), time, POLICY)
    assert pace.limit == MAX_CONCURRENT // 2


def test_the_pace_never_falls_below_one_request(pace, clock):
    for _ in range(20):
        clock.time += 100
        pace.run(Host(clock, busy()), RetryPolicy(attempts=1))
    assert pace.limit == 1


def test_no_more_requests_are_under_way_than_the_pace_allows():
    pace, gate, running, most = Pace("host"), threading.Event(), [], []

    def ask():
        running.append(1)
        most.append(len(running))
        gate.wait(5)
        running.pop()

    pace._limit = 3.0
    threads = [threading.Thread(target=pace.run, args=(ask, POLICY)) for _ in range(10)]
    for thread in threads:
        thread.start()
    gate.set()
    for thread in threads:
        thread.join(20)
    assert len(most) == 10
    assert max(most) <= 4  # one more for each round of good answers


@pytest.mark.parametrize(
    ("error", "seconds", "most_requests"), [(LATE, 5.0, 80), (BROKEN, 0.01, 140)],
)
def test_a_dead_host_costs_bounded_time_and_requests(pace, clock, error, seconds, most_requests):
    host = Host(clock, error, seconds=seconds)
    outcomes = [pace.run(host, POLICY) for _ in range(100_000)]
    assert all(isinstance(outcome.found, FetchError) for outcome in outcomes)
    assert "not asked" in str(outcomes[-1].found)
    assert len(host.asked) < most_requests
    assert clock.time < 600
    assert sum(outcome.retried for outcome in outcomes) < most_requests


def test_a_host_that_is_down_is_looked_at_again_and_found_up(pace, clock):
    down = Host(clock, BROKEN, seconds=0.01)
    while "not asked" not in str(pace.run(down, POLICY).found):
        pass
    asked = len(down.asked)
    for _ in range(1000):
        clock.time += 0.1
        pace.run(down, POLICY)
    assert 4 <= len(down.asked) - asked <= 6  # 100 s, one each 20 s
    clock.time += POLICY.max_wait_seconds
    for _ in range(50):
        assert pace.run(Host(clock, "bytes"), POLICY).found == "bytes"
    assert pace.limit > 5


def test_a_short_outage_loses_few_ranges(pace, clock):
    # Down for 30 s: what is asked for then waits, it does not fail by the thousand.
    ends = 30.0

    def ask():
        clock.time += 0.01
        if clock.time < ends:
            raise BROKEN
        return "bytes"

    found = [pace.run(ask, POLICY).found for _ in range(10_000)]
    assert sum(isinstance(one, FetchError) for one in found) < 40
    assert found[-1] == "bytes"


def test_a_fifth_of_bad_answers_never_empties_the_tokens(pace, clock):
    script = (["bytes"] * 4 + [busy()]) * 2000
    host = Host(clock, *script)
    found = [pace.run(host, POLICY).found for _ in range(7000)]
    assert set(found) == {"bytes"}
    assert pace._tokens > 400


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"attempts": 0}, "attempts is 0, expected 1 or more"),
        ({"timeout_seconds": 0.0}, "timeout_seconds is 0.0, expected above 0"),
        ({"timeout_seconds": float("nan")}, "timeout_seconds is nan"),
        ({"first_wait_seconds": -1.0}, "first_wait_seconds is -1.0, expected 0 to"),
        ({"first_wait_seconds": 30.0}, "expected 0 to max_wait_seconds"),
    ],
)
def test_a_policy_that_cannot_work_is_refused(wrong, message):
    with pytest.raises(OptionError, match=message):
        RetryPolicy(**wrong)


def test_a_host_has_one_pace_in_a_process():
    assert pace_of("https://a") is pace_of("https://a")
    assert pace_of("https://a") is not pace_of("https://b")
