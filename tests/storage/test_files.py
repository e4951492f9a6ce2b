"""Files by URI for libraries: a file object over ranges, and pyarrow's filesystem."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from fakes import range_server  # noqa: F401 -- a fixture
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from make_tiff import make_tiff

from rasteret_beam.errors import FetchError
from rasteret_beam.storage import Store
from rasteret_beam.storage.files import (
    HEADER_BYTES,
    BeyondHeadError,
    HeadFile,
    RangeFile,
    arrow_filesystem,
)
from rasteret_beam.tiff.header import read_header

CONTENT = np.random.default_rng(9).integers(0, 256, 400_000, np.uint8).tobytes()
STORE = Store(allow_http=True)


@pytest.fixture
def served(range_server):  # noqa: F811 -- the fixture above
    range_server.files["f.bin"] = CONTENT
    return range_server


@pytest.fixture
def local(tmp_path):
    path = tmp_path / "f.bin"
    path.write_bytes(CONTENT)
    return str(path)


@pytest.fixture(params=["local", "http"])
def uri(request):
    if request.param == "local":
        return request.getfixturevalue("local")
    return request.getfixturevalue("served").uri("f.bin")


def test_a_file_reads_from_its_start_to_its_end(uri):
    file = RangeFile(STORE, uri)
    assert file.read() == CONTENT
    assert file.read() == b""
    assert file.tell() == len(CONTENT)


def test_reads_begin_where_seeks_end(uri):
    file = RangeFile(STORE, uri)
    assert file.seek(100_000) == 100_000
    assert file.read(50) == CONTENT[100_000:100_050]
    assert file.seek(-10, io.SEEK_CUR) == 100_040
    assert file.read(5) == CONTENT[100_040:100_045]
    assert file.seek(-3, io.SEEK_END) == len(CONTENT) - 3
    assert file.read(99) == CONTENT[-3:]


def test_reads_across_what_is_known_are_whole(uri):
    file = RangeFile(STORE, uri)
    file.seek(HEADER_BYTES - 10)
    assert file.read(20) == CONTENT[HEADER_BYTES - 10 : HEADER_BYTES + 10]


def test_beyond_the_end_there_is_nothing(uri):
    file = RangeFile(STORE, uri)
    assert file.seek(10**9) == 10**9
    assert file.read(10) == b""


def test_a_buffer_is_filled_as_far_as_the_file_goes(local):
    file = RangeFile(STORE, local)
    file.seek(len(CONTENT) - 4)
    buffer = bytearray(b"_" * 6)
    assert file.readinto(buffer) == 4
    assert bytes(buffer) == CONTENT[-4:] + b"__"


def test_a_file_is_readable_and_seekable_and_nothing_else(local):
    file = RangeFile(STORE, local)
    assert file.readable()
    assert file.seekable()
    assert not file.writable()


def test_a_file_that_is_not_there_fails_when_opened(served):
    with pytest.raises(FetchError, match=r"gone\.bin"):
        RangeFile(STORE, served.uri("gone.bin"))


def test_a_read_of_more_than_a_gigabyte_is_refused(tmp_path):
    path = tmp_path / "sparse.bin"
    with path.open("wb") as file:
        file.truncate(2**31)
    with pytest.raises(FetchError, match="2147483648 bytes"):
        RangeFile(STORE, str(path)).read()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 400_100), st.integers(0, 140_000)), max_size=8))
def test_any_reads_are_those_of_a_plain_file(local, reads):
    file, plain = RangeFile(STORE, local), io.BytesIO(CONTENT)
    for offset, size in reads:
        file.seek(offset)
        plain.seek(offset)
        assert file.read(size) == plain.read(size)
        assert file.tell() == plain.tell()


def test_the_header_of_a_file_takes_one_request(served):
    served.files["f.tif"] = make_tiff(np.zeros((1, 200, 200), np.uint16))
    header = read_header(RangeFile(STORE, served.uri("f.tif")))
    assert header.width == 200
    assert served.count("f.tif") == 1
    assert not served.heads


def test_a_header_behind_the_pixels_takes_few_requests(served):
    pixels = np.random.default_rng(1).integers(0, 99, (1, 700, 700), np.uint16)
    served.files["f.tif"] = make_tiff(pixels, ifd_at_end=True)
    header = read_header(RangeFile(STORE, served.uri("f.tif")))
    assert len(header.tile_offsets) == 44 * 44
    assert served.count("f.tif") <= 3


def test_what_was_read_is_not_asked_for_again(served):
    file = RangeFile(STORE, served.uri("f.bin"))
    for _ in range(3):
        file.seek(200_000)
        file.read(1000)
        file.seek(0)
        file.read(1000)
    assert served.count("f.bin") == 2


# pyarrow


@pytest.fixture
def table():
    return pa.table({"n": np.arange(20_000), "text": [str(n % 7) for n in range(20_000)]})


def test_local_paths_use_pyarrows_own_filesystem(local):
    filesystem, path = arrow_filesystem(STORE, local)
    assert isinstance(filesystem, pafs.LocalFileSystem)
    assert path == local


def test_parquet_is_read_by_range_over_http(served, table):
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=5_000)
    served.files["t.parquet"] = sink.getvalue()
    filesystem, path = arrow_filesystem(STORE, served.uri("t.parquet"))
    found = pq.read_table(path, filesystem=filesystem)
    assert found.equals(table)
    assert all(wanted for asked, wanted in served.requests if asked == "t.parquet")


def test_a_dataset_is_scanned_over_http(served, table):
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=5_000)
    served.files["t.parquet"] = sink.getvalue()
    filesystem, path = arrow_filesystem(STORE, served.uri("t.parquet"))
    dataset = ds.dataset([path], filesystem=filesystem, format="parquet")
    assert dataset.count_rows(filter=ds.field("n") < 100) == 100


def test_a_missing_file_is_not_found_to_pyarrow(served):
    filesystem, path = arrow_filesystem(STORE, served.uri("gone.parquet"))
    assert filesystem.get_file_info(path).type == pafs.FileType.NotFound


def test_a_file_has_its_size_for_pyarrow(served):
    filesystem, path = arrow_filesystem(STORE, served.uri("f.bin"))
    assert filesystem.get_file_info(path).size == len(CONTENT)


def test_the_filesystem_only_reads(served):
    filesystem, path = arrow_filesystem(STORE, served.uri("f.bin"))
    with pytest.raises(OSError, match="only reads"):
        filesystem.delete_file(path)
    with pytest.raises(OSError, match="only reads"):
        filesystem.open_output_stream(path)
    with pytest.raises(OSError, match="only reads"):
        filesystem.create_dir(path)


def test_filesystems_of_equal_stores_are_equal(served):
    first, _ = arrow_filesystem(STORE, served.uri("f.bin"))
    second, _ = arrow_filesystem(Store(allow_http=True), served.uri("other.bin"))
    assert first == second
    assert first != arrow_filesystem(Store(), "https://host/f.bin")[0]


def test_the_first_bytes_read_like_the_file():
    head = HeadFile(CONTENT[:1000], len(CONTENT))
    head.seek(990)
    assert head.read(10) == CONTENT[990:1000]
    assert head.seek(0, io.SEEK_END) == len(CONTENT)
    assert head.read(10) == b""


@pytest.mark.parametrize(("at", "size"), [(990, 11), (1000, 1), (5000, 4), (0, -1)])
def test_a_read_beyond_the_first_bytes_is_refused_not_cut_short(at, size):
    head = HeadFile(CONTENT[:1000], len(CONTENT))
    head.seek(at)
    with pytest.raises(BeyondHeadError):
        head.read(size)


def test_the_first_bytes_of_a_short_file_are_the_file():
    assert HeadFile(CONTENT[:100], 100).read() == CONTENT[:100]


def test_spans_that_lie_close_are_fetched_with_one_request(served):
    file = RangeFile(STORE, served.uri("f.bin"))
    file.prefetch([(100_000, 50_000), (10, 20), (160_000, 5_000)])
    for at, size in ((100_000, 50_000), (160_000, 5_000), (10, 20)):
        file.seek(at)
        assert file.read(size) == CONTENT[at : at + size]
    assert served.count("f.bin") == 2


def test_spans_beyond_the_end_fetch_only_what_is_there(served):
    file = RangeFile(STORE, served.uri("f.bin"))
    file.prefetch([(399_000, 10**12)])
    file.seek(399_000)
    assert file.read() == CONTENT[399_000:]
