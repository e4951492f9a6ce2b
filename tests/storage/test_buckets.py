"""s3:// against a server of our own, as ``AWS_ENDPOINT_URL`` names one."""

import io

import obstore
import pyarrow.parquet as pq
import pytest
from fakes import forget_accounts, serving
from s3 import KEYS, serving_s3
from scenes import Scene, file_item, index_table, ramp, write_scene

from rasteret_beam import Collection
from rasteret_beam.elements import FileInfo
from rasteret_beam.errors import FetchError, StaleIndexError
from rasteret_beam.storage import RetryPolicy, Store, Tally, accounts, buckets
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


def test_requests_are_signed_where_there_are_credentials(bucket, monkeypatch):
    STORE.read("s3://bucket/a/f.bin", 0, 1)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    forget_accounts()
    STORE.read("s3://bucket/a/f.bin", 0, 1)
    without, signed = bucket.authorizations
    assert without is None
    assert KEYS["AWS_ACCESS_KEY_ID"] in signed


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


# Names of objects

NAMES = [
    "a b.tif", "a%20b.tif", "a#1.tif", "a?1.tif", "a+b.tif", "50%.tif", "100%2Fx.tif", "\u00fc.tif",
]  # fmt: skip


def test_an_object_is_read_by_the_name_that_listings_and_catalogues_give(monkeypatch):
    with serving_s3("my-bucket") as (client, environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        forget_accounts()
        for key in NAMES:
            client.put_object(Bucket="my-bucket", Key=f"x/{key}", Body=key.encode())
        found = STORE.list_files("s3://my-bucket/x")
        assert sorted(found) == sorted(f"s3://my-bucket/x/{key}" for key in NAMES)
        for uri in found:
            assert STORE.read_start(uri, 100)[0].decode() == uri.rpartition("/x/")[2]
        assert STORE.glob("s3://my-bucket/x/a#*.tif") == ["s3://my-bucket/x/a#1.tif"]
        with pytest.raises(FetchError, match=r"s3://my-bucket/x/b\?#%20\.tif"):
            STORE.read("s3://my-bucket/x/b?#%20.tif", 0, 1)
    forget_accounts()


def test_a_collection_whose_folders_are_escaped_is_read_from_a_bucket(tmp_path, monkeypatch):
    memory, content = obstore.store.MemoryStore(), io.BytesIO()
    item = file_item("a", write_scene(tmp_path, Scene(name="a", pixels=ramp(16, 16))))
    pq.write_table(index_table([item]), content)
    # What pyarrow writes for "31U 09:00".
    obstore.put(memory, "c/tile=31U%2009%3A00/part-0.parquet", content.getvalue())
    monkeypatch.setattr(buckets, "open_client", lambda _: memory)
    (row,) = Collection.from_parquet("s3://b/c").where("tile = '31U 09:00'").to_table().to_pylist()
    assert (row["id"], row["tile"]) == ("a", "31U 09:00")
