"""s3:// against a server of our own, as ``AWS_ENDPOINT_URL`` names one."""

import pytest
from fakes import forget_accounts, serving

from rasteret_beam.elements import FileInfo
from rasteret_beam.errors import FetchError, StaleIndexError
from rasteret_beam.storage import RetryPolicy, Store, Tally, accounts
from rasteret_beam.storage.ranges import ByteRange

STORE = Store(
    allow_http=True, retries=RetryPolicy(first_wait_seconds=0.001, max_wait_seconds=0.01),
)


@pytest.fixture
def bucket(monkeypatch):
    with serving({"bucket/a/f.bin": bytes(range(100))}) as server:
        for name in accounts._S3_SIGNED_BY:
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        forget_accounts()
        yield server
    forget_accounts()


def test_ranges_of_an_object_are_read(bucket):
    found = STORE.read_ranges("s3://bucket/a/f.bin", [ByteRange(90, 5), ByteRange(3, 2)])
    assert found == [bytes(range(90, 95)), bytes([3, 4])]
    assert bucket.count("bucket/a/f.bin") == 1


def test_a_missing_object_is_an_error_that_names_it(bucket):
    with pytest.raises(FetchError, match=r"s3://bucket/a/gone\.bin"):
        STORE.read("s3://bucket/a/gone.bin", 0, 1)
    assert bucket.count("bucket/a/gone.bin") == 1


def test_without_credentials_requests_are_not_signed(bucket):
    STORE.read("s3://bucket/a/f.bin", 0, 1)
    assert not any("Signature" in query for query in bucket.queries)


@pytest.mark.usefixtures("bucket")
def test_a_plain_http_endpoint_needs_permission():
    with pytest.raises(FetchError):
        Store().read("s3://bucket/a/f.bin", 0, 1)


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_request_that_fails_for_now_is_tried_again(bucket, status):
    bucket.fail_next("bucket/a/f.bin", status)
    tally = Tally()
    found = STORE.read_ranges("s3://bucket/a/f.bin", [ByteRange(3, 2)], tally=tally)
    assert found == [bytes([3, 4])]
    assert (bucket.count("bucket/a/f.bin"), tally.retried) == (2, 1)


@pytest.mark.parametrize("status", [401, 403])
def test_a_request_that_is_not_allowed_is_an_error_at_once(bucket, status):
    bucket.fail_next("bucket/a/f.bin", status)
    with pytest.raises(FetchError, match=r"s3://bucket/a/f\.bin"):
        STORE.read("s3://bucket/a/f.bin", 0, 1)
    assert bucket.count("bucket/a/f.bin") == 1


def test_a_range_beyond_the_end_is_an_error_at_once(bucket):
    good, beyond = ByteRange(90, 5), ByteRange(98, 50)
    found = STORE.read_ranges("s3://bucket/a/f.bin", [good, beyond])
    assert found[0] == bytes(range(90, 95))
    assert "2 of 50 bytes at offset 98" in str(found[1])
    with pytest.raises(FetchError):
        STORE.read("s3://bucket/a/f.bin", 100, 1)
    assert bucket.count("bucket/a/f.bin") == 2


@pytest.mark.usefixtures("bucket")
def test_an_object_that_is_not_the_one_indexed_is_stale():
    indexed = FileInfo(100, '"fake-0"')
    (found,) = STORE.read_ranges("s3://bucket/a/f.bin", [ByteRange(0, 1)], indexed)
    assert isinstance(found, StaleIndexError)


def test_no_error_tells_the_signature_of_a_request(bucket, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-to-be-told")
    bucket.fail_next("bucket/a/f.bin", 403)
    with pytest.raises(FetchError) as caught:
        STORE.read("s3://bucket/a/f.bin", 0, 1)
    assert "AKIDEXAMPLE" not in str(caught.value)
    assert "not-to-be-told" not in str(caught.value)
