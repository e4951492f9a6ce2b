"""Addresses are rewritten, then signed as each request is made; signatures are told to nobody."""

import concurrent.futures
import dataclasses
import datetime as dt
import logging
import pickle

import pytest
from blobs import azure, blob  # noqa: F401 -- a fixture
from fakes import serving

from rasteret_beam.errors import FetchError, OptionError
from rasteret_beam.indexing.items import rewrite_href
from rasteret_beam.storage import PlanetaryComputer, RetryPolicy, Store, signing
from rasteret_beam.storage.addresses import rewritten
from rasteret_beam.storage.ranges import ByteRange

QUICK = RetryPolicy(
    attempts=3, first_wait_seconds=0.0, max_wait_seconds=0.0, timeout_seconds=5.0,
)


@dataclasses.dataclass(frozen=True)
class Counting:
    """Adds a number that grows with each signature."""

    said: str = "s3cret"

    def sign(self, uri):
        _SIGNED.append(uri)
        return f"{uri}?sig={self.said}{len(_SIGNED)}"


@dataclasses.dataclass(frozen=True)
class Leading:
    """Signs by leading elsewhere."""

    to: str

    def sign(self, _uri):
        return self.to


class Failing:
    """Fails, and would tell its key."""

    def sign(self, uri):
        msg = f"bad key s3cret for {uri}?sig=s3cret"
        raise ValueError(msg)


_SIGNED = []


@pytest.fixture
def server():
    _SIGNED.clear()
    with serving({"f.bin": bytes(range(100))}) as server:
        yield server


def store(**more):
    return Store(allow_http=True, retries=QUICK, **more)


def error_of(made, uri):
    (found,) = made.read_ranges(uri, [ByteRange(0, 4)])
    assert isinstance(found, FetchError)
    return str(found)


# Signers


def test_each_attempt_has_a_signature_of_its_own(server):
    server.fail_next("f.bin", 503, 503)
    assert store(signer=Counting()).read(server.uri("f.bin"), 3, 2) == bytes([3, 4])
    assert server.queries == [f"/f.bin?sig=s3cret{number}" for number in (1, 2, 3)]
    assert set(_SIGNED) == {server.uri("f.bin")}


@pytest.mark.parametrize("status", [403, 503])
def test_no_error_or_log_tells_a_signature(server, status, caplog):
    caplog.set_level(logging.DEBUG)
    server.fail_next("f.bin", *[status] * 9)
    told = error_of(store(signer=Counting()), server.uri("f.bin"))
    assert told.startswith(server.uri("f.bin"))
    assert "s3cret" not in told + caplog.text


def test_facts_of_a_file_are_asked_for_with_a_signature(server):
    assert store(signer=Counting()).info(server.uri("f.bin")).size == 100
    assert server.queries == ["/f.bin?sig=s3cret1"]


def test_a_signed_address_is_checked_as_any_other(server):
    made = store(signer=Leading(server.uri("f.bin?sig=s3cret")), allow_hosts=("b",)).guarded("gs://b")
    told = error_of(made, "https://b/f.bin")
    assert "https://b/f.bin: as it was signed: host 127.0.0.1 is not one of --allow_hosts" in told
    assert "s3cret" not in told
    assert server.queries == []


def test_what_may_not_be_read_is_not_signed():
    _SIGNED.clear()
    made = store(signer=Counting(), allow_hosts=("b",)).guarded("gs://b")
    assert "not one of --allow_hosts" in error_of(made, "https://other/f.bin")
    assert _SIGNED == []


def test_a_signer_may_lead_from_a_bucket_to_the_web(server):
    made = store(signer=Leading(server.uri("f.bin?sig=s3cret")))
    assert made.read("gs://bucket/f.bin", 3, 2) == bytes([3, 4])


def test_a_signer_cannot_lead_to_a_local_file(tmp_path):
    (tmp_path / "f").write_bytes(bytes(9))
    made = store(signer=Leading(str(tmp_path / "f")))
    assert "the signer Leading gave no remote address" in error_of(made, "gs://bucket/f.bin")


def test_local_files_are_not_signed(tmp_path):
    (tmp_path / "f").write_bytes(bytes(9))
    assert store(signer=Failing()).read(str(tmp_path / "f"), 0, 2) == bytes(2)


def test_a_signer_that_fails_tells_nothing_of_its_key(server):
    told = error_of(store(signer=Failing()), server.uri("f.bin"))
    assert told == f"{server.uri('f.bin')}: the signer Failing failed: ValueError"


def test_a_store_with_a_signer_travels_and_says_nothing_of_it():
    made = store(
        signer=Counting("s3cret"), url_rewrite=(("https://a/", "https://me:s3cret@b/"),),
    )
    assert pickle.loads(pickle.dumps(made)) == made  # noqa: S301 -- our own
    assert hash(made) == hash(dataclasses.replace(made))
    assert "s3cret" not in repr(made)


@pytest.mark.parametrize(
    ("signer", "message"),
    [
        ("planetary_computer", r"signer is a str without a method sign\(uri\)"),
        (dataclasses.make_dataclass("Loose", [], namespace={"sign": str})(), "cannot be hashed"),
    ],
)
def test_what_cannot_sign_is_refused(signer, message):
    with pytest.raises(OptionError, match=message):
        Store(signer=signer)


# Rewriting


def test_an_address_is_read_from_where_its_longest_prefix_leads(server):
    made = store(url_rewrite=(("https://a/", "https://b/"), ("https://a/x/", f"{server.url}/")))
    assert made.read("https://a/x/f.bin", 3, 2) == bytes([3, 4])
    assert made.info("https://a/x/f.bin").size == 100


def test_errors_say_the_address_as_the_collection_has_it(server):
    made = store(url_rewrite=(("https://a/", f"{server.url}/"),))
    assert error_of(made, "https://a/gone.bin").startswith("https://a/gone.bin: HTTP 404")


@pytest.mark.parametrize(
    ("uri", "old", "new", "expected"),
    [
        ("https://a/x%20y.tif?v=1", "https://a/", "s3://b/", "s3://b/x y.tif"),
        ("s3://b/x%20y?.tif", "s3://b/", "https://a/", "https://a/x%2520y%3F.tif"),
        ("https://a/x%20y.tif?v=1", "https://a/", "https://b/", "https://b/x%20y.tif?v=1"),
        ("gs://a/x%20y?.tif", "gs://a/", "s3://b/", "s3://b/x%20y?.tif"),
        ("https://a/x%20y.tif", "https://a/", "/data/", "/data/x y.tif"),
    ],
)
def test_a_rewritten_address_is_spelled_as_its_new_place_spells(uri, old, new, expected):
    assert rewritten(uri, [(old, new)]) == expected
    assert rewrite_href(uri, {old: new}) == expected


def test_hosts_are_allowed_as_they_are_after_rewriting(server):
    rewrite = (("https://a/", f"{server.url}/"),)
    made = store(url_rewrite=rewrite, allow_hosts=("a",)).guarded("gs://b")
    assert "host 127.0.0.1 is not one of --allow_hosts (a)" in error_of(made, "https://a/f.bin")
    made = store(url_rewrite=rewrite, allow_hosts=("127.0.0.1",)).guarded("gs://b")
    assert made.read("https://a/f.bin", 3, 2) == bytes([3, 4])


def test_a_folder_is_listed_where_it_is_read_from(tmp_path):
    (tmp_path / "f").write_bytes(bytes(9))
    made = store(url_rewrite=(("https://a/", f"{tmp_path}/"),))
    assert made.list_files("https://a/") == [str(tmp_path / "f")]


@pytest.mark.parametrize("pair", [("a/", "s3://b/"), ("https://a/", "")])
def test_a_prefix_that_no_address_has_is_refused(pair):
    with pytest.raises(OptionError, match="expected prefixes of addresses"):
        Store(url_rewrite=(pair,))


# The Planetary Computer


def test_a_blob_is_read_with_a_token_of_its_container(azure):  # noqa: F811 -- the fixture above
    assert "HTTP 403" in error_of(store(), blob())
    made = store(signer=azure.signer)
    assert made.read(blob(), 3, 2) == made.read(blob(), 3, 2) == bytes([3, 4])
    assert azure.queries[0] == "/token/account/container"
    assert azure.queries[1:] == ["/container/f.tif?se=x&sig=s3cret1"] * 2


def test_threads_that_come_together_ask_for_one_token(azure):  # noqa: F811 -- the fixture above
    sign = azure.signer.sign
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = set(pool.map(sign, [blob()] * 16))
    assert found == {f"{blob()}?se=x&sig=s3cret1"}
    sign(blob(container="other"))
    assert azure.queries == ["/token/account/container", "/token/account/other"]


def test_a_token_that_ends_soon_is_asked_for_anew(azure):  # noqa: F811 -- the fixture above
    azure.lasts = dt.timedelta(seconds=signing._MARGIN_SECONDS - 10)
    sign = azure.signer.sign
    assert sign(blob()).endswith("s3cret1")
    assert sign(blob()).endswith("s3cret2")


@pytest.mark.parametrize(
    "uri",
    [
        "https://host/container/f.tif", "s3://bucket/f.tif", "https://blob.core.windows.net/c/f",
        f"{blob()}?se=y&sig=mine", "https://account.blob.core.windows.net/",
        "https://account.blob.core.windows.net.evil.org/container/f.tif",
    ],
)
def test_what_needs_no_token_of_the_planetary_computer_stays_as_it_is(azure, uri):  # noqa: F811 -- the fixture above
    assert azure.signer.sign(uri) == uri
    assert azure.queries == []


def test_a_token_is_added_to_a_query(azure):  # noqa: F811 -- the fixture above
    assert azure.signer.sign(f"{blob()}?v=1") == f"{blob()}?v=1&se=x&sig=s3cret1"


def test_a_key_of_the_workers_environment_is_sent_with_the_request(azure, monkeypatch):  # noqa: F811 -- the fixture above
    monkeypatch.setenv("PC_SDK_SUBSCRIPTION_KEY", "k")
    azure.signer.sign(blob())
    assert azure.keys == ["k"]


def test_a_container_without_a_token_is_an_error_that_names_it(azure, monkeypatch):  # noqa: F811 -- the fixture above
    monkeypatch.setattr(signing, "_RETRIES", QUICK)
    azure.gives_tokens = False
    told = error_of(store(signer=azure.signer), blob())
    assert told.startswith(
        f"{blob()}: no token for the container account/container: the answer holds no token",
    )


def test_signers_are_known_by_name():
    assert signing.signer_named("planetary_computer") == PlanetaryComputer()
    with pytest.raises(OptionError, match="signer is 'pc', expected one of planetary_computer"):
        signing.signer_named("pc")
