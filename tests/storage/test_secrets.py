"""User names, passwords and signatures stay out of all that is told to anybody."""

from __future__ import annotations

import dataclasses
import logging
import pickle
import traceback
import urllib.parse

import pytest
from misbehaving import PERMANENT, TEMPORARY, dead_port, faulty  # noqa: F401 -- a fixture

from rasteret_beam.elements import FileInfo
from rasteret_beam.errors import FetchError, StaleIndexError
from rasteret_beam.storage import RetryPolicy, Store
from rasteret_beam.storage.ranges import ByteRange

SECRETS = ["s3cret", "s3%63ret", "s3cret/+=&x=s3cret", "s3%2Fcret%3D", "s3 cret", "s3\u00e9cret"]
"""Parts of an address; whatever is made of them, these letters stay together."""

STORE = Store(
    allow_http=True,
    retries=RetryPolicy(attempts=2, first_wait_seconds=0.0, max_wait_seconds=0.0,
                        timeout_seconds=0.3),
)  # fmt: skip


@pytest.fixture
def server(faulty):  # noqa: F811 -- the fixture above
    faulty.files["f.bin"] = bytes(1000)
    return faulty


def leaks(text):
    """Whether a text holds a secret, in any spelling."""
    for _ in range(3):
        if any(sign in text for sign in ("cret", "me:")):
            return True
        text = urllib.parse.unquote(text)
    return False


def told(error):
    """Everything that an error can put before somebody's eyes."""
    return "\n".join([str(error), repr(error), *traceback.format_exception(error)])


def signed(server, secret):
    return f"{server.uri('f.bin')}?sig={secret}".replace("http://", f"http://me:{secret[:6]}@")


def _errors(store, uri):
    """What every way of reading says of a file that cannot be read."""
    (found,) = store.read_ranges(uri, [ByteRange(0, 400)])
    assert isinstance(found, FetchError)
    yield found
    for read in (lambda: store.read(uri, 0, 400), lambda: store.read_start(uri, 400)):
        with pytest.raises(FetchError) as caught:
            read()
        # The frames of this file show the test's own lines.
        yield caught.value.with_traceback(None)


@pytest.mark.parametrize("fault", [*TEMPORARY, *PERMANENT])
def test_no_error_tells_a_secret(server, fault, caplog):
    caplog.set_level(logging.DEBUG)
    server.always(fault)
    store = dataclasses.replace(STORE, retries=dataclasses.replace(STORE.retries, attempts=1))
    for error in _errors(store, signed(server, "s3cret")):
        assert not leaks(told(error)), told(error)
        assert "f.bin" in str(error)
        assert not leaks(str(pickle.dumps(error)))
    assert not leaks(caplog.text)


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("status", [403, 404, 503])
def test_no_spelling_of_a_secret_is_told(server, secret, status, caplog):
    caplog.set_level(logging.DEBUG)
    server.fail_next("f.bin", *[status] * 9)
    server.files.clear()
    for error in _errors(STORE, signed(server, secret)):
        assert not leaks(told(error)), told(error)
    assert not leaks(caplog.text)


@pytest.mark.parametrize(
    "uri",
    [
        "ftp://me:s3cret@host/f?sig=s3cret",
        "http://me:s3cret@169.254.169.254/f?sig=s3cret",
        "http://me:s3cret@[::1/f?sig=s3cret",
        "http://me:s3cret@host:99999/f?sig=s3cret",
        "http://me:s3cret@/f?sig=s3cret",
        "http://me:s3cret@no-such-host.invalid/f?sig=s3cret",
        "s3://me:s3cret@bucket/f?sig=s3cret",
        "https://host.invalid/f%3Fsig=s3cret",
    ],
)
def test_no_refusal_tells_a_secret(uri):
    (found,) = STORE.guarded("gs://b/c").read_ranges(uri, [ByteRange(0, 1)])
    assert isinstance(found, FetchError)
    assert not leaks(told(found)), told(found)


def test_no_dead_port_tells_a_secret():
    (found,) = STORE.read_ranges(f"{dead_port()}/f?sig=s3cret", [ByteRange(0, 1)])
    assert not leaks(told(found))


def test_a_stale_file_does_not_tell_its_signature(server):
    uri = signed(server, "s3cret")
    (found,) = STORE.read_ranges(uri, [ByteRange(0, 4)], FileInfo(999, None))
    assert isinstance(found, StaleIndexError)
    assert not leaks(told(found))


def test_a_redirect_to_a_signed_address_is_not_told(server):
    server.always("to_signed")
    (found,) = STORE.guarded("gs://b/c").read_ranges(server.uri("f.bin"), [ByteRange(0, 4)])
    assert "metadata service" in str(found)
    assert not leaks(told(found))


def test_user_and_password_are_sent_to_their_host_and_no_other(server):
    uri = server.uri("f.bin").replace("http://", "http://me:s3cret@")
    assert len(STORE.read(uri, 0, 4)) == 4
    assert server.authorizations == ["Basic bWU6czNjcmV0"]
    server.always("to_other_name")
    assert isinstance(STORE.read_ranges(uri, [ByteRange(0, 4)])[0], memoryview)
    assert server.authorizations == ["Basic bWU6czNjcmV0"] * 2 + [None]


def test_a_store_says_nothing_of_what_it_read(server):
    STORE.read(signed(server, "s3cret"), 0, 4)
    assert not leaks(repr(STORE) + repr(STORE.guarded("https://me:s3cret@host/c?sig=s3cret")))
