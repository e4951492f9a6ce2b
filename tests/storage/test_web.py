"""Ranged reads from a web server that misbehaves on purpose."""

from __future__ import annotations

import dataclasses
import time

import pytest
from misbehaving import PERMANENT, TEMPORARY, dead_port, faulty  # noqa: F401 -- a fixture

from rasteret_beam.errors import FetchError
from rasteret_beam.storage import RetryPolicy, Store, Tally
from rasteret_beam.storage.ranges import ByteRange
from rasteret_beam.storage.web import SKIP_BYTES

CONTENT = bytes(range(256)) * 400
SPAN = ByteRange(1000, 500)
WANTED = CONTENT[1000:1500]
FAST = RetryPolicy(first_wait_seconds=0.001, max_wait_seconds=0.02, timeout_seconds=0.4)
STORE = Store(allow_http=True, retries=FAST)


@pytest.fixture
def server(faulty):  # noqa: F811 -- the fixture above
    faulty.files["f.bin"] = CONTENT
    return faulty


def read(server, store=STORE, tally=None):
    (found,) = store.read_ranges(server.uri("f.bin"), [SPAN], tally=tally)
    return found


@pytest.mark.parametrize("fault", TEMPORARY)
def test_a_fault_that_passes_costs_one_more_request(server, fault):
    server.once(fault)
    tally = Tally()
    assert read(server, tally=tally) == WANTED
    assert (server.count("f.bin"), tally.retried) == (2, 1)


@pytest.mark.parametrize("fault", TEMPORARY)
def test_a_fault_that_stays_is_an_error_after_all_attempts(server, fault):
    server.always(fault)
    store = Store(allow_http=True, retries=dataclasses.replace(FAST, attempts=3))
    tally, began = Tally(), time.monotonic()
    found = read(server, store, tally)
    assert isinstance(found, FetchError)
    assert "f.bin" in str(found)
    assert "(after 3 attempts)" in str(found)
    assert (server.count("f.bin"), tally.retried) == (3, 2)
    assert time.monotonic() - began < 3 * 0.4 + 2


@pytest.mark.parametrize("fault", PERMANENT)
def test_a_fault_that_nothing_mends_is_an_error_without_a_retry(server, fault):
    server.always(fault)
    tally = Tally()
    assert isinstance(read(server, tally=tally), FetchError)
    assert tally.retried == 0
    assert server.count("f.bin") <= 6  # a loop has its hops


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("busy", "HTTP 503"),
        ("wrong_range", "asked for bytes 1000-1499, answered with Content-Range 'bytes 1001-1500"),
        ("no_range", "answered with Content-Range ''"),
        ("truncated", "250 of 500 bytes: the answer was cut short"),
        ("short", "249 of 500 bytes: the answer was cut short"),
        ("stall", "timed out"),
        ("trickle", "timed out"),
        ("reset", "Connection reset by peer"),
        ("compressed", "compressed (gzip)"),
        ("loop", "more than 5 redirects"),
        ("to_file", "redirected to file:///etc/passwd; only http and https are followed"),
        ("to_forbidden", "169.254.169.254 is a metadata service"),
        ("to_nowhere", "a redirect that says not where to"),
    ],
)
def test_an_error_says_what_the_server_did(server, fault, message):
    server.always(fault)
    store = Store(allow_http=True, retries=dataclasses.replace(FAST, attempts=1))
    assert message in str(read(server, store))


def test_a_redirect_is_followed(server):
    server.always("redirect")
    assert read(server) == WANTED
    assert server.queries == ["/f.bin", "/f.bin?moved"]


def test_the_start_of_a_whole_answer_is_used_where_it_is_near(server):
    server.always("whole")
    tally = Tally()
    assert read(server, tally=tally) == WANTED
    assert tally.retried == 0


def test_a_server_that_ignores_ranges_far_into_a_file_is_told_so(server):
    server.files["f.bin"] = bytes(2 * SKIP_BYTES)
    server.always("whole")
    far = ByteRange(SKIP_BYTES + 1, 10)
    (found,) = STORE.read_ranges(server.uri("f.bin"), [far])
    assert "the server ignores Range" in str(found)
    assert server.count("f.bin") == FAST.attempts


def test_of_an_endless_answer_little_is_read(server):
    server.always("endless")
    assert read(server) == WANTED
    # What the system buffers on both sides goes out before the server notices.
    assert server.bytes_sent < 16 * 1024 * 1024


def test_an_attempt_ends_in_time_however_slowly_bytes_come(server):
    server.always("trickle")
    store = Store(allow_http=True, retries=dataclasses.replace(FAST, attempts=1))
    began = time.monotonic()
    assert "timed out" in str(read(server, store))
    assert time.monotonic() - began < 2


def test_a_dead_port_is_an_error_after_all_attempts():
    tally = Tally()
    (found,) = STORE.read_ranges(f"{dead_port()}/f.bin", [SPAN], tally=tally)
    assert "Connection refused" in str(found)
    assert tally.retried == FAST.attempts - 1


def test_a_host_without_a_name_is_an_error_that_says_so():
    (found,) = STORE.read_ranges("https://no-such-host.invalid/f.bin", [SPAN])
    assert isinstance(found, FetchError)
    assert "host" in str(found)


def test_of_many_ranges_each_is_asked_for_until_it_comes(server):
    server.sometimes("busy", 0.2)
    spans = [ByteRange(at, 100) for at in range(0, 100_000, 2000)]
    tally = Tally()
    found = STORE.read_ranges(server.uri("f.bin"), spans, tally=tally)
    assert found == [CONTENT[span.offset : span.end] for span in spans]
    assert server.count("f.bin") == len(spans) + tally.retried == len(spans) + server.faults["busy"]


def test_connections_are_used_again(server):
    accepted = []
    accept = server.get_request
    server.get_request = lambda: accepted.append(accept()) or accepted[-1]
    for _ in range(5):
        assert read(server) == WANTED
    assert STORE.info(server.uri("gone.bin")) is None
    assert STORE.info(server.uri("f.bin")).size == len(CONTENT)
    assert len(accepted) == 1


def test_a_proxy_of_the_environment_is_asked_instead(server, monkeypatch):
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.setenv("no_proxy", "")
    uri = "http://only-the-proxy-knows.invalid/f.bin"
    server.files[uri] = CONTENT
    assert STORE.read_ranges(uri, [SPAN]) == [WANTED]
    assert server.queries == [uri]
