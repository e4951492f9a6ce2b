"""s3:// against a server of our own, as ``AWS_ENDPOINT_URL`` names one."""

import pytest
from fakes import serving

from rasteret_beam.errors import FetchError
from rasteret_beam.storage import Store
from rasteret_beam.storage import store as store_module
from rasteret_beam.storage.ranges import ByteRange

STORE = Store(allow_http=True)


@pytest.fixture
def bucket(monkeypatch):
    with serving({"bucket/a/f.bin": bytes(range(100))}) as server:
        for name in store_module._S3_SIGNED_BY:
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        store_module._s3.cache_clear()
        store_module.open_client.cache_clear()
        yield server
    store_module._s3.cache_clear()
    store_module.open_client.cache_clear()


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
