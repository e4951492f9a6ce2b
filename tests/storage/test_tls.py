"""https:// against a server of our own, whose certificate is trusted or not."""

from __future__ import annotations

import shutil
import ssl
import subprocess

import pytest
from misbehaving import faulty  # noqa: F401 -- a fixture

from rasteret_beam.errors import FetchError
from rasteret_beam.storage import RetryPolicy, Store, Tally, connections
from rasteret_beam.storage.ranges import ByteRange

OPENSSL = shutil.which("openssl")
CONTENT = bytes(range(256)) * 4000
STORE = Store(retries=RetryPolicy(
    attempts=3, first_wait_seconds=0.001, max_wait_seconds=0.01, timeout_seconds=3,
))  # fmt: skip
SPANS = [ByteRange(0, 10), ByteRange(5000, 900_000)]

pytestmark = pytest.mark.skipif(OPENSSL is None, reason="openssl makes the certificate")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """(certificate, key) of localhost."""
    folder = tmp_path_factory.mktemp("tls")
    paths = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(  # noqa: S603 -- our own words
        [OPENSSL, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-out", paths[0], "-keyout", paths[1]],
        check=True, capture_output=True,
    )  # fmt: skip
    return paths


@pytest.fixture
def server(faulty, certificate):  # noqa: F811 -- the fixture above
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    faulty.socket = context.wrap_socket(faulty.socket, server_side=True)
    faulty.files["f.bin"] = CONTENT
    return faulty


@pytest.fixture
def trusted(certificate, monkeypatch):
    context = ssl.create_default_context(cafile=certificate[0])
    monkeypatch.setattr(connections, "_tls", lambda: context)
    _forget()
    yield
    _forget()


def _forget():
    connections.pool_of.cache_clear()
    connections._manager.cache_clear()


def uri(server):
    return server.uri("f.bin").replace("http://", "https://")


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("store", [STORE, STORE.guarded("gs://b/c")], ids=["operator", "content"])
def test_ranges_are_read_over_tls(server, store):
    found = store.read_ranges(uri(server), SPANS)
    assert found == [CONTENT[span.offset : span.end] for span in SPANS]
    assert store.info(uri(server)).size == len(CONTENT)


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("fault", ["trickle", "stall", "truncated", "reset", "busy"])
def test_faults_pass_over_tls_too(server, fault):
    server.once(fault)
    store = Store(retries=RetryPolicy(first_wait_seconds=0.001, timeout_seconds=0.6))
    tally = Tally()
    assert store.read_ranges(uri(server), [ByteRange(5, 400)], tally=tally) == [CONTENT[5:405]]
    assert tally.retried >= 1


@pytest.mark.usefixtures("trusted")
def test_a_redirect_to_plain_http_is_not_followed(server):
    server.always("to_plain")
    store = Store(allow_http=True, retries=STORE.retries)
    (found,) = store.read_ranges(uri(server), SPANS[:1])
    assert "redirected from https to plain http://127.0.0.1" in str(found)
    assert server.count("f.bin") == 1


def test_a_certificate_that_nobody_signed_is_an_error_at_once(server):
    _forget()
    tally = Tally()
    (found,) = STORE.read_ranges(uri(server), SPANS[:1], tally=tally)
    assert isinstance(found, FetchError)
    assert "certificate is not trusted" in str(found)
    assert tally.retried == 0
    assert server.count("f.bin") == 0
