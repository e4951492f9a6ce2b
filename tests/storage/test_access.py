"""Which addresses content may name: every way round the rules that we know of."""

from __future__ import annotations

import dataclasses
import socket

import pytest
from misbehaving import FORBIDDEN, faulty  # noqa: F401 -- a fixture

from rasteret_beam.errors import FetchError, OptionError
from rasteret_beam.storage import RetryPolicy, Store
from rasteret_beam.storage.access import is_forbidden, plain_host
from rasteret_beam.storage.ranges import ByteRange

CONTENT = bytes(range(256))
FAST = RetryPolicy(attempts=2, first_wait_seconds=0.001, max_wait_seconds=0.01, timeout_seconds=2)
STORE = Store(allow_http=True, retries=FAST)
REMOTE, LOCAL = STORE.guarded("https://somewhere/collection"), STORE.guarded("/data/collection")

METADATA = [
    "http://169.254.169.254/latest/meta-data",
    "http://169.254.169.254:80/",
    "http://169.254.170.2/v2/credentials",
    "http://2852039166/",
    "http://0xa9fea9fe/",
    "http://0xA9.0xFE.0xA9.0xFE/",
    "http://0251.0376.0251.0376/",
    "http://169.254.43518/",
    "http://169.254.169.254./",
    "http://good.org@169.254.169.254/",
    "http://good.org:80@169.254.169.254/",
    "http://169%2E254%2E169%2E254/",
    "http://\uff11\uff16\uff19.254.169.254/",
    "http://169\u3002254\u3002169\u3002254/",
    "http://[::ffff:169.254.169.254]/",
    "http://[::ffff:a9fe:a9fe]/",
    "http://[::a9fe:a9fe]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://[2002:a9fe:a9fe::1]/",
    "http://[fe80::1]/",
    "http://[fe80::1%25eth0]/",
    "http://[fd00:ec2::254]/",
    "http://[fd20:ce::254]/",
    "http://100.100.100.200/",
    "http://168.63.129.16/",
    "http://metadata.google.internal/computeMetadata/v1/",
    "https://metadata.google.internal./",
    "http://METADATA.google.INTERNAL/",
    "http://metadata/",
    "http://instance-data/",
]


def read(store, uri):
    (found,) = store.read_ranges(uri, [ByteRange(0, 4)])
    return found


@pytest.fixture
def server(faulty):  # noqa: F811 -- the fixture above
    faulty.files["f.bin"] = CONTENT
    return faulty


@pytest.fixture
def no_connection(monkeypatch):
    def refuse(*_of, **_more):
        pytest.fail("a connection was made")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.usefixtures("no_connection")
@pytest.mark.parametrize("uri", METADATA)
@pytest.mark.parametrize("store", [REMOTE, LOCAL], ids=["remote", "local"])
def test_metadata_services_are_not_asked_however_they_are_spelled(store, uri):
    found = read(store, uri)
    assert isinstance(found, FetchError)
    assert "--allow_hosts" in str(found)
    with pytest.raises(FetchError):
        store.info(uri)
    with pytest.raises(FetchError):
        store.read_start(uri, 10)


@pytest.mark.parametrize(
    "uri", ["/etc/hosts", "file:///etc/hosts", "FILE:///etc/hosts", "etc/hosts", "../etc/hosts"],
)
def test_content_from_elsewhere_names_no_local_files(uri):
    found = read(REMOTE, uri)
    assert isinstance(found, FetchError)
    assert "--allow_schemes with 'file' would allow it" in str(found)
    with pytest.raises(FetchError):
        REMOTE.info(uri)
    with pytest.raises(FetchError):
        REMOTE.list_files(uri)


def test_local_content_names_local_files(tmp_path):
    path = tmp_path / "f.bin"
    path.write_bytes(CONTENT)
    assert read(LOCAL, str(path)) == CONTENT[:4]
    assert read(LOCAL, path.as_uri()) == CONTENT[:4]


def test_the_operator_may_permit_local_files(tmp_path):
    path = tmp_path / "f.bin"
    path.write_bytes(CONTENT)
    store = dataclasses.replace(REMOTE, allow_schemes=("https", "file"))
    assert read(store, str(path)) == CONTENT[:4]


def test_schemes_that_are_not_listed_are_refused_wherever_content_came_from(tmp_path, server):
    path = tmp_path / "f.bin"
    path.write_bytes(CONTENT)
    store = dataclasses.replace(LOCAL, allow_schemes=("gs",))
    for uri in (str(path), server.uri("f.bin"), "s3://bucket/f.bin"):
        assert "allow_schemes" in str(read(store, uri))
    assert server.count("f.bin") == 0


def test_hosts_that_are_not_listed_are_refused(server):
    store = dataclasses.replace(REMOTE, allow_hosts=("*.example.com", "my-bucket"))
    for uri in (server.uri("f.bin"), "https://example.com.evil.org/f", "s3://other-bucket/f",
                "https://example.com/f", "https://a.example.com@evil.org/f"):  # fmt: skip
        assert "is not one of --allow_hosts" in str(read(store, uri))
    assert server.count("f.bin") == 0


def test_hosts_that_match_a_pattern_are_read(server):
    for pattern in ("127.0.0.1", "127.*", "*"):
        store = dataclasses.replace(REMOTE, allow_hosts=("a.org", pattern))
        assert read(store, server.uri("f.bin")) == CONTENT[:4]


@pytest.mark.usefixtures("no_connection")
def test_a_wildcard_permits_no_metadata_service():
    store = dataclasses.replace(REMOTE, allow_hosts=("*", "169.254.*"))
    assert "metadata service" in str(read(store, FORBIDDEN))


def test_what_an_operator_names_is_asked_for_as_it_is(server):
    assert read(STORE, server.uri("f.bin")) == CONTENT[:4]
    listed = dataclasses.replace(STORE, allow_hosts=("elsewhere.org",), allow_schemes=("gs",))
    assert read(listed, server.uri("f.bin")) == CONTENT[:4]


def test_plain_http_needs_its_own_permission():
    store = Store(allow_schemes=("http", "https")).guarded("gs://b/c")
    assert "plain http:// needs allow_http" in str(read(store, "http://a.org/f"))


def _resolving(monkeypatch, addresses):
    """Names of hosts that lead to addresses; those of machines that are not here, to nobody."""
    real = socket.getaddrinfo

    def lookup(host, port, *more, **named):
        return real(addresses.get(host, host), port, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)


def test_a_name_that_resolves_to_a_forbidden_machine_is_not_sent_a_byte(server, monkeypatch):
    # The machine behind the name says that it is the metadata service.
    _resolving(monkeypatch, {"rebound.example.com": "127.0.0.1"})
    uri = server.uri("f.bin").replace("127.0.0.1", "rebound.example.com")
    assert read(REMOTE, uri) == CONTENT[:4]
    monkeypatch.setattr("rasteret_beam.storage.connections.is_forbidden", lambda _: True)
    uri = uri.replace("rebound", "again")
    _resolving(monkeypatch, {"again.example.com": "127.0.0.1"})
    before = len(server.queries)
    found = read(REMOTE, uri)
    assert "again.example.com is the machine 127.0.0.1, a metadata service" in str(found)
    assert len(server.queries) == before
    # The operator's own addresses, and those listed one by one, are not looked at.
    assert read(STORE, uri) == CONTENT[:4]
    listed = dataclasses.replace(REMOTE, allow_hosts=("again.example.com",))
    assert read(listed, uri) == CONTENT[:4]


@pytest.mark.parametrize("store", [STORE, REMOTE, LOCAL], ids=["operator", "remote", "local"])
@pytest.mark.parametrize("fault", ["to_forbidden", "to_file"])
def test_redirects_lead_to_nothing_forbidden_whoever_named_the_first_address(server, store, fault):
    server.always(fault)
    assert isinstance(read(store, server.uri("f.bin")), FetchError)
    assert server.count("f.bin") == 1


def test_redirects_lead_to_no_host_that_is_not_listed(server):
    server.always("redirect")
    store = dataclasses.replace(STORE, allow_hosts=("elsewhere.org",))
    assert "is not one of --allow_hosts" in str(read(store, server.uri("f.bin")))


@pytest.mark.parametrize(
    "address",
    ["169.254.0.1", "fe80::1", "fe80::1%eth0", "::ffff:169.254.169.254", "fd00:ec2::254",
     "100.100.100.200", "64:ff9b::a9fe:a9fe"],
)  # fmt: skip
def test_these_machines_are_forbidden(address):
    assert is_forbidden(address)


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "8.8.8.8", "10.0.0.1", "::1", "2001:db8::1", "168.63.129.17", "a.org"],
)
def test_these_machines_are_not_forbidden(address):
    assert not is_forbidden(address)


@pytest.mark.parametrize(
    ("host", "plain"),
    [("A.Org", "a.org"), ("face.cafe", "face.cafe"), ("dead", "dead"), ("b.c", "b.c"),
     ("s3.eu-west-1.amazonaws.com", "s3.eu-west-1.amazonaws.com"), ("10.1", "10.0.0.1")],
)  # fmt: skip
def test_hosts_keep_their_names(host, plain):
    assert plain_host(host) == plain


def test_a_scheme_that_is_not_read_cannot_be_permitted():
    with pytest.raises(OptionError, match="allow_schemes has 'ftp', expected some of gs, s3"):
        Store(allow_schemes=("https", "ftp"))
