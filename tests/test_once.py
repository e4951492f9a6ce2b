"""What a process has one of is made once, by whichever thread asks first."""

import concurrent.futures
import threading

import pytest

from rasteret_beam.once import made_once
from rasteret_beam.storage import connections


def test_threads_that_ask_together_share_what_one_of_them_made():
    n_threads, made = 8, []
    together = threading.Barrier(n_threads)

    @made_once()
    def thing(name):
        made.append(name)
        return object()

    def ask(_):
        together.wait()
        return thing("a")

    with concurrent.futures.ThreadPoolExecutor(n_threads) as pool:
        found = set(pool.map(ask, range(n_threads)))
    assert made == ["a"]
    assert len(found) == 1
    assert thing("b") not in found


def test_what_failed_is_tried_again():
    tries = []

    @made_once()
    def thing():
        tries.append(None)
        if len(tries) == 1:
            raise OSError
        return len(tries)

    with pytest.raises(OSError):  # noqa: PT011 -- raised above
        thing()
    assert (thing(), thing()) == (2, 2)


def test_only_as_many_are_kept_as_asked_for_and_all_can_be_forgotten():
    made = []
    keeps_one = made_once(maxsize=1)(made.append)
    for name in ("a", "a", "b", "a"):
        keeps_one(name)
    assert made == ["a", "b", "a"]
    keeps_one.cache_clear()
    keeps_one("a")
    assert made == ["a", "b", "a", "a"]


def test_connections_to_one_host_are_of_one_pool_and_plain_ones_know_no_certificates():
    def pool(scheme):
        return connections.pool_of(scheme, "nowhere.example", None, check_peer=False)

    assert pool("http") is pool("http")
    assert pool("http").conn_kw.get("ssl_context") is None
    assert pool("https").conn_kw["ssl_context"] is connections._tls()
