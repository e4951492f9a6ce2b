"""Stored tiles that are kept: within their memory, read once, and told from others."""

import concurrent.futures
import threading

import pytest

from rasteret_beam.elements.rasters import FileInfo
from rasteret_beam.errors import FetchError
from rasteret_beam.fetching import tile_cache
from rasteret_beam.fetching.tile_cache import StoredBytes, TileCache
from rasteret_beam.storage import Store
from rasteret_beam.storage.ranges import ByteRange

STORE = Store()
FILE = FileInfo(10_000, "v1")


def _key(at, info=FILE, store=STORE, href="a.tif"):
    return StoredBytes(store, href, info, ByteRange(at * 100, 100))


class Reads:
    """Reads 100 bytes each, and notes what for."""

    def __init__(self, wanted):
        self.wanted, self.asked = wanted, []

    def __call__(self, numbers):
        self.asked += [self.wanted[at] for at in numbers]
        return [memoryview(bytes([at % 256]) * 100) for at in numbers]


def _read(cache, wanted):
    reads = Reads(wanted)
    found, missed = cache.read(wanted, reads)
    assert [wanted[at] for at in missed] == reads.asked
    return found, reads.asked


def test_what_was_read_is_not_read_again():
    cache = TileCache(10_000)
    first, _ = _read(cache, [_key(0), _key(1)])
    again, asked = _read(cache, [_key(1), _key(0), _key(2)])
    assert [bytes(data) for data in again[:2]] == [bytes(first[1]), bytes(first[0])]
    assert asked == [_key(2)]


@pytest.mark.parametrize(
    "other",
    [
        _key(0, info=FileInfo(10_000, "v2")), _key(0, info=FileInfo(9_999, "v1")),
        _key(0, store=Store(allow_http=True)), _key(0, href="b.tif"),
        _key(0)._replace(span=ByteRange(0, 99)),
    ],
    ids=["etag", "size", "store", "file", "bytes"],
)  # fmt: skip
def test_other_bytes_are_read(other):
    cache = TileCache(10_000)
    _read(cache, [_key(0)])
    assert _read(cache, [other])[1] == [other]


def test_memory_is_bounded_and_the_least_recently_used_goes_first():
    cache = TileCache(3 * (100 + 512))
    _read(cache, [_key(0), _key(1), _key(2)])
    _read(cache, [_key(0)])
    _read(cache, [_key(3)])
    assert cache.n_bytes == cache.max_bytes
    assert _read(cache, [_key(0), _key(2), _key(3)])[1] == []
    assert _read(cache, [_key(1)])[1] == [_key(1)]


def test_what_is_larger_than_the_cache_is_not_held():
    cache = TileCache(500)
    _read(cache, [_key(0)])
    assert cache.n_bytes == 0


def test_failures_are_not_held():
    cache = TileCache(10_000)
    found, _ = cache.read([_key(0)], lambda _: [FetchError("gone")])
    assert isinstance(found[0], FetchError)
    assert _read(cache, [_key(0)])[1] == [_key(0)]


def test_the_same_bytes_twice_in_one_request_are_read_once():
    assert _read(TileCache(10_000), [_key(0), _key(0)])[1] == [_key(0)]


def test_many_threads_read_a_tile_once():
    cache, reads, started = TileCache(10_000), [], threading.Barrier(8)

    def read(wanted):
        def fetch(numbers):
            reads.extend(numbers)
            return [memoryview(b"x" * 100)] * len(numbers)

        started.wait()
        return cache.read(wanted, fetch)[0]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = list(pool.map(read, [[_key(0)]] * 8))
    assert reads == [0]
    assert {bytes(data) for (data,) in found} == {b"x" * 100}


def test_who_waits_for_a_read_that_breaks_hears_of_it():
    cache, waiting = TileCache(10_000), threading.Event()

    def breaks(_):
        waiting.wait(5)
        msg = "broken"
        raise RuntimeError(msg)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        owner = pool.submit(cache.read, [_key(0)], breaks)
        while _key(0) not in cache._under_way:
            pass
        other = pool.submit(cache.read, [_key(0)], lambda numbers: [b""] * len(numbers))
        waiting.set()
        for future in (owner, other):
            with pytest.raises(RuntimeError, match="broken"):
                future.result(10)
    assert _read(cache, [_key(0)])[1] == [_key(0)]


def test_a_process_has_one_cache_of_a_size_while_somebody_holds_it():
    first = tile_cache.of_process(4096)
    assert tile_cache.of_process(4096) is first
    assert tile_cache.of_process(8192) is not first
    assert tile_cache.of_process(0) is None
