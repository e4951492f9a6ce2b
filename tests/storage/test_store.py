"""Ranged reads by URI: local files, and a web server on this machine."""

from __future__ import annotations

import pathlib
import pickle

import pytest
from fakes import range_server  # noqa: F401 -- a fixture

from rasteret_beam.elements import FileInfo
from rasteret_beam.errors import FetchError, OptionError
from rasteret_beam.storage import RetryPolicy, Store, redact
from rasteret_beam.storage.addresses import fixed_folder, has_wildcard, local_path, matching
from rasteret_beam.storage.ranges import MAX_REQUEST_BYTES, ByteRange

CONTENT = bytes(range(256)) * 40
STORE = Store(
    allow_http=True, retries=RetryPolicy(first_wait_seconds=0.001, max_wait_seconds=0.01),
)


@pytest.fixture
def local(tmp_path):
    path = tmp_path / "a file.bin"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture(params=["local", "file_uri", "http"])
def uri(request, local):
    """The same content behind each kind of URI."""
    if request.param == "local":
        return str(local)
    if request.param == "file_uri":
        return local.as_uri()
    server = request.getfixturevalue("range_server")
    server.files["folder/a file.bin"] = CONTENT
    return server.uri("folder/a%20file.bin")


@pytest.fixture
def served(range_server):  # noqa: F811 -- the fixture above
    """A server that never lost its escapes, with one file."""
    range_server.files["f.bin"] = CONTENT
    return range_server


# Reading


@pytest.mark.parametrize(("offset", "length"), [(0, 1), (0, 10_240), (100, 50), (10_239, 1)])
def test_a_range_is_read_whole(uri, offset, length):
    assert STORE.read(uri, offset, length) == CONTENT[offset : offset + length]


def test_ranges_come_in_the_order_asked(uri):
    spans = [ByteRange(9000, 7), ByteRange(0, 3), ByteRange(5000, 11), ByteRange(0, 3)]
    found = STORE.read_ranges(uri, spans)
    assert found == [CONTENT[span.offset : span.end] for span in spans]


def test_no_ranges_are_no_bytes(uri):
    assert STORE.read_ranges(uri, []) == []


@pytest.mark.parametrize(("offset", "length"), [(10_230, 11), (10_240, 1), (2**40, 8), (0, 2**40)])
def test_a_range_beyond_the_end_is_an_error(uri, offset, length):
    with pytest.raises(FetchError):
        STORE.read(uri, offset, length)


def test_a_range_that_fails_leaves_its_neighbours_alone(uri):
    good, bad = ByteRange(10_000, 100), ByteRange(10_200, 500)
    for spans in ([good, bad], [bad, good], [ByteRange(0, 5), bad, good]):
        found = STORE.read_ranges(uri, spans)
        for span, data in zip(spans, found, strict=True):
            if span is bad:
                assert isinstance(data, FetchError)
            else:
                assert data == CONTENT[span.offset : span.end]


def test_the_start_of_a_file_comes_with_its_size(uri):
    data, info = STORE.read_start(uri, 100)
    assert data == CONTENT[:100]
    assert info.size == len(CONTENT)


def test_the_start_of_a_short_file_is_all_of_it(uri):
    data, info = STORE.read_start(uri, 10**6)
    assert data == CONTENT
    assert info.size == len(CONTENT)


def test_info_tells_the_size(uri):
    assert STORE.info(uri).size == len(CONTENT)


@pytest.mark.parametrize("kind", ["local", "http"])
def test_a_file_that_is_not_there_is_an_error_that_names_it(kind, tmp_path, served):
    missing = str(tmp_path / "gone.tif") if kind == "local" else served.uri("gone.tif")
    with pytest.raises(FetchError, match=r"gone\.tif"):
        STORE.read(missing, 0, 1)
    with pytest.raises(FetchError, match=r"gone\.tif"):
        STORE.read_start(missing, 1)
    assert STORE.info(missing) is None


def test_a_folder_cannot_be_read(tmp_path):
    with pytest.raises(FetchError):
        STORE.read(str(tmp_path), 0, 1)
    assert STORE.info(str(tmp_path)) is None


def test_a_short_file_says_how_many_bytes_came(local):
    with pytest.raises(FetchError, match="10 of 20 bytes at offset 10230"):
        STORE.read(str(local), 10_230, 20)


def test_a_range_of_gigabytes_beyond_the_end_is_not_allocated(local):
    with pytest.raises(FetchError, match="cut short"):
        STORE.read(str(local), 0, 2**50)


# Requests


def test_near_ranges_share_a_request(served):
    STORE.read_ranges(served.uri("f.bin"), [ByteRange(0, 10), ByteRange(500, 10)])
    assert served.ranges("f.bin") == [(0, 509)]
    assert served.count("f.bin") == 1


def test_far_ranges_have_a_request_each(served):
    STORE.read_ranges(served.uri("f.bin"), [ByteRange(0, 10), ByteRange(5000, 10)])
    assert served.ranges("f.bin") == [(0, 9), (5000, 5009)]


def test_a_range_wanted_twice_is_asked_for_once(served):
    STORE.read_ranges(served.uri("f.bin"), [ByteRange(0, 10)] * 3)
    assert served.count("f.bin") == 1


def test_requests_stay_under_the_limit(served):
    served.files["large.bin"] = bytes(2 * MAX_REQUEST_BYTES)
    step = MAX_REQUEST_BYTES // 4
    spans = [ByteRange(at * step, step) for at in range(8)]
    assert all(len(data) == step for data in STORE.read_ranges(served.uri("large.bin"), spans))
    sizes = [last - first + 1 for first, last in served.ranges("large.bin")]
    assert sizes == [MAX_REQUEST_BYTES] * 2


def test_the_start_of_a_file_is_one_request(served):
    _, info = STORE.read_start(served.uri("f.bin"), 64)
    assert served.requests == {("f.bin", "bytes=0-63"): 1}
    assert not served.heads
    assert info.etag == '"fake-1"'


@pytest.mark.parametrize("status", [401, 403, 405, 501])
def test_where_only_get_is_allowed_a_files_facts_come_with_its_first_byte(served, status):
    served.head_status = status
    served.files["empty.bin"] = b""
    assert STORE.info(served.uri("f.bin?X-Amz-Signature=x")) == FileInfo(len(CONTENT), '"fake-1"')
    assert served.requests == {("f.bin", "bytes=0-0"): 1}
    assert STORE.info(served.uri("empty.bin")) == FileInfo(0, '"fake-1"')
    assert STORE.info(served.uri("gone.bin")) is None
    served.fail_next("f.bin", 403, 403)
    with pytest.raises(FetchError, match="HTTP 403"):
        STORE.info(served.uri("f.bin"))


def test_a_missing_file_is_not_asked_for_again_and_again(served):
    with pytest.raises(FetchError):
        STORE.read(served.uri("gone.tif"), 0, 10)
    assert served.count("gone.tif") == 1


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_request_that_fails_for_now_is_tried_again(served, status):
    served.fail_next("f.bin", status)
    assert STORE.read(served.uri("f.bin"), 5, 5) == CONTENT[5:10]
    assert served.count("f.bin") == 2


@pytest.mark.parametrize("status", [401, 403])
def test_a_request_that_is_not_allowed_is_an_error_at_once(served, status):
    served.fail_next("f.bin", status)
    with pytest.raises(FetchError, match=r"f\.bin"):
        STORE.read(served.uri("f.bin"), 0, 10)
    assert served.count("f.bin") == 1


def test_an_answer_of_fewer_bytes_than_asked_is_an_error(served):
    served.cut_answers("f.bin", 7)
    with pytest.raises(FetchError):
        STORE.read(served.uri("f.bin"), 0, 10)


def test_a_merged_request_that_fails_is_not_asked_for_range_by_range(served):
    served.fail_next("f.bin", 403)
    found = STORE.read_ranges(served.uri("f.bin"), [ByteRange(0, 10), ByteRange(20, 10)])
    assert all(isinstance(data, FetchError) for data in found)
    assert served.ranges("f.bin") == [(0, 29)]


def test_a_merged_request_across_the_end_gives_what_lies_before_it(served):
    found = STORE.read_ranges(served.uri("f.bin"), [ByteRange(10_000, 10), ByteRange(10_200, 99)])
    assert found[0] == CONTENT[10_000:10_010]
    assert "40 of 99 bytes at offset 10200" in str(found[1])
    assert served.count("f.bin") == 1


def test_a_signed_address_is_asked_for_as_it_is(served):
    query = "X-Sig=a%2Fb%2Bc%3D&se=2026-01-01T00%3A00%3A00Z"
    assert STORE.read(f"{served.uri('f.bin')}?{query}", 0, 4) == CONTENT[:4]
    assert served.queries == [f"/f.bin?{query}"]


@pytest.mark.parametrize("status", [403, 404])
@pytest.mark.parametrize(
    "secret",
    [
        "s3cret",
        "s3%2Fcret%3D",
        "s3+cret/=",
        "s3 cret",
    ],
)
def test_errors_do_not_tell_the_signature(served, status, secret):
    served.fail_next("f.bin", status)
    with pytest.raises(FetchError) as caught:
        STORE.read(f"{served.uri('f.bin')}?sig={secret}", 0, 4)
    assert "f.bin" in str(caught.value)
    assert "cret" not in str(caught.value)


# What a URI means


def test_plain_http_needs_permission(served):
    with pytest.raises((OptionError, FetchError), match="plain http:// needs allow_http"):
        Store().read(served.uri("f.bin"), 0, 1)
    assert served.count("f.bin") == 0


@pytest.mark.parametrize("uri", ["ftp://host/f.tif", "abc://f.tif", "hdfs://n/f"])
def test_an_unknown_scheme_is_an_error_that_names_those_known(uri):
    with pytest.raises((OptionError, FetchError), match="not one of gs, s3, http, https"):
        STORE.read(uri, 0, 1)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("/data/a b.tif", "/data/a b.tif"),
        ("relative/f.tif", "relative/f.tif"),
        ("file:///data/a%20b.tif", "/data/a b.tif"),
        ("gs://bucket/f.tif", None),
        ("https://host/f.tif", None),
    ],
)
def test_local_paths_are_known_from_other_uris(uri, expected):
    assert local_path(uri) == (expected and pathlib.Path(expected))


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("s3://bucket/a/f.tif", "s3://bucket/a/f.tif"),
        ("https://host/f.tif?sig=secret&x=1", "https://host/f.tif?REDACTED"),
        ("https://user:secret@host:8080/f.tif", "https://host:8080/f.tif"),
        ("https://host/f.tif#secret", "https://host/f.tif"),
        ("/data/what?.tif", "/data/what?.tif"),
        ("s3://bucket/a?1#2%3F.tif", "s3://bucket/a?1#2%3F.tif"),
        ("s3://user:secret@bucket/a.tif?sig=secret", "s3://bucket/a.tif?REDACTED"),
        ("gs://b/a?1: see https://h/f?secret", "gs://b/a?REDACTED"),
        ("https://user%3Asecret%40host/f.tif", "https://host/f.tif"),
        ("https://host/f.tif%3Fsig%3Dsecret", "https://host/f.tif?REDACTED"),
        ("https%3A%2F%2Fme%3Asecret%40host%2Ff%3Fsig%3Dsecret", "https%3A%2F%2Fhost%2Ff?REDACTED"),
        ("/vsicurl/https://me:secret@host/f.tif?sig=secret", "/vsicurl/https://host/f.tif?REDACTED"),
    ],
)
def test_redacted_uris_hold_no_credentials(uri, expected):
    assert redact(uri) == expected


@pytest.mark.parametrize(
    ("path", "asked"),
    [("a%20b.tif", "/a%20b.tif"), ("a b.tif", "/a%20b.tif"), ("100%.tif", "/100%25.tif"),
     ("\u00e9.tif", "/%C3%A9.tif"), ("a+b(1).tif", "/a+b(1).tif")],
)  # fmt: skip
def test_a_path_is_escaped_where_it_is_not_yet(served, path, asked):
    assert STORE.info(served.uri(path)) is None
    assert served.queries == [asked]


def test_a_store_can_be_sent_to_another_process():
    assert pickle.loads(pickle.dumps(STORE)) == STORE  # noqa: S301 -- our own bytes


# Listing


@pytest.fixture
def tree(tmp_path):
    for name in ("a/x.tif", "a/y.txt", "a/b/z.tif", "a/b/c/QA_z.tif", "top.tif"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"tiff")
    return tmp_path


def _names(root: pathlib.Path, found: list[str]) -> list[str]:
    return [str(pathlib.Path(name).relative_to(root)) for name in found]


def test_a_folder_lists_its_files_at_any_depth(tree):
    assert _names(tree, STORE.list_files(str(tree / "a"))) == [
        "a/b/c/QA_z.tif", "a/b/z.tif", "a/x.tif", "a/y.txt",
    ]  # fmt: skip


def test_a_web_server_has_no_listing(served):
    with pytest.raises(FetchError, match="no listing"):
        STORE.list_files(served.uri("folder/"))
    with pytest.raises(FetchError, match="no listing"):
        STORE.glob(served.uri("*.tif"))


PATTERNS = {
    "*.tif": ["top.tif"],
    "a/*.tif": ["a/x.tif"],
    "a/?.t??": ["a/x.tif", "a/y.txt"],
    "a/[xy].*": ["a/x.tif", "a/y.txt"],
    "*/*/*.tif": ["a/b/z.tif"],
    "**/*.tif": ["a/b/c/QA_z.tif", "a/b/z.tif", "a/x.tif", "top.tif"],
    "a/**/*.tif": ["a/b/c/QA_z.tif", "a/b/z.tif", "a/x.tif"],
    "**/z.tif": ["a/b/z.tif"],
}
FILES = ["a/x.tif", "a/y.txt", "a/b/z.tif", "a/b/c/QA_z.tif", "top.tif"]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_match_local_files(tree, pattern):
    assert _names(tree, STORE.glob(str(tree / pattern))) == PATTERNS[pattern]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_match_the_same_files_in_a_bucket(pattern):
    root = "gs://bucket/data/"
    found = matching(root + pattern, [root + name for name in FILES])
    assert sorted(name.removeprefix(root) for name in found) == PATTERNS[pattern]


@pytest.mark.parametrize(
    ("pattern", "folder"),
    [("gs://b/a/*.tif", "gs://b/a/"), ("gs://b/a/x*/y?.tif", "gs://b/a/"),
     ("gs://b/**/y.tif", "gs://b/"), ("gs://b/a/[xy].tif", "gs://b/a/")],
)  # fmt: skip
def test_only_the_folder_before_the_first_wildcard_is_listed(pattern, folder):
    assert fixed_folder(pattern) == folder


def test_a_plain_uri_is_its_own_match(tmp_path):
    assert STORE.glob("gs://bucket/f.tif") == ["gs://bucket/f.tif"]
    assert STORE.glob(str(tmp_path / "gone.tif")) == [str(tmp_path / "gone.tif")]


def test_a_pattern_without_a_match_is_an_error(tree):
    with pytest.raises(FetchError, match="no file matches"):
        STORE.glob(str(tree / "*.jp2"))


def test_folders_are_no_match(tree):
    assert _names(tree, STORE.glob(str(tree / "a/*"))) == ["a/x.tif", "a/y.txt"]


def test_a_file_whose_name_looks_like_a_pattern_is_itself(tmp_path):
    path = tmp_path / "odd[1].tif"
    path.write_bytes(b"tiff")
    assert not has_wildcard(str(path))
    assert STORE.glob(str(path)) == [str(path)]


@pytest.mark.parametrize(
    ("uri", "expected"),
    [("https://h/f.tif?sig=*", False), ("https://h/*.tif", True), ("gs://b/f?.tif", True),
     ("s3://b/[ab].tif", True), ("gs://b/f.tif", False)],
)  # fmt: skip
def test_a_query_is_no_wildcard(uri, expected):
    assert has_wildcard(uri) == expected


def test_a_folder_that_is_not_there_cannot_be_listed(tmp_path):
    with pytest.raises(FetchError, match="gone"):
        STORE.list_files(str(tmp_path / "gone"))


def test_info_of_an_empty_file_is_size_0(tmp_path):
    path = tmp_path / "empty"
    path.touch()
    assert STORE.info(str(path)).size == 0
    assert STORE.read_start(str(path), 10)[0] == b""
