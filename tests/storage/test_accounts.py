"""Who asks buckets, and who pays: found on the worker, once, and only when it is needed."""

import concurrent.futures
import time

import pytest
from fakes import FileHandler, forget_accounts, serving
from gcs import serving_bucket

from rasteret_beam.elements import FileInfo
from rasteret_beam.errors import FetchError, OptionError, StaleIndexError
from rasteret_beam.storage import Account, RetryPolicy, Store, accounts
from rasteret_beam.storage.ranges import ByteRange

ONCE = RetryPolicy(attempts=1, timeout_seconds=10.0)
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "s3cret"}


class _HeaderHandler(FileHandler):
    def serve(self, method):
        self.server.headers.append(self.headers)
        super().serve(method)


@pytest.fixture
def s3(monkeypatch, tmp_path):
    """A server of one object that remembers headers; no credentials but those of a test."""
    for name in (*accounts._S3_SIGNED_BY, "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    forget_accounts()
    with serving({"bucket/f.bin": bytes(range(100))}) as server:
        server.RequestHandlerClass, server.headers = _HeaderHandler, []
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        yield server
    forget_accounts()


@pytest.fixture
def google(monkeypatch, tmp_path):
    """A bucket with one object, and an account that may read it."""
    forget_accounts()
    with serving_bucket(tmp_path) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        storage = environment.server.storage
        facts = {"name": "f.bin", "size": "100", "md5Hash": "abc==", "generation": "1"}
        storage.create_file("my-bucket", "f.bin", bytes(range(100)), facts)
        yield environment
    forget_accounts()


def read_s3(**account):
    store = Store(allow_http=True, retries=ONCE, account=Account(**account))
    return store.read("s3://bucket/f.bin", 3, 2)


def read_gs(**account):
    store = Store(allow_http=True, retries=ONCE, account=Account(**account))
    return store.read("gs://my-bucket/f.bin", 3, 2)


def set_keys(monkeypatch):
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


# s3://


def test_the_requester_pays_where_that_is_said(s3, monkeypatch):
    set_keys(monkeypatch)
    assert read_s3(s3_requester_pays=True) == bytes([3, 4])
    assert s3.headers[-1]["x-amz-request-payer"] == "requester"
    assert "x-amz-request-payer" in s3.headers[-1]["Authorization"]
    read_s3()
    assert "x-amz-request-payer" not in s3.headers[-1]


def test_requests_are_signed_for_the_region_that_is_said(s3, monkeypatch):
    set_keys(monkeypatch)
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    read_s3()
    assert "/eu-west-3/s3/" in s3.headers[-1]["Authorization"]
    read_s3(s3_region="us-west-2")
    assert "/us-west-2/s3/" in s3.headers[-1]["Authorization"]


def test_an_anonymous_request_to_s3_is_not_signed_though_there_are_keys(s3, monkeypatch):
    set_keys(monkeypatch)
    assert read_s3(anonymous=True) == bytes([3, 4])
    assert "Authorization" not in s3.headers[-1]


def test_the_keys_of_a_profile_are_used(s3, tmp_path, monkeypatch):
    pytest.importorskip("boto3", reason="needs boto3, of the extra 'aws'")
    (tmp_path / "credentials").write_text(
        "[mine]\naws_access_key_id = AKIDPROFILE\naws_secret_access_key = s3cret\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("AWS_PROFILE", "mine")
    read_s3(s3_region="us-west-2")
    assert "Credential=AKIDPROFILE/" in s3.headers[-1]["Authorization"]
    assert "/us-west-2/s3/" in s3.headers[-1]["Authorization"]


@pytest.mark.usefixtures("s3")
def test_a_profile_that_is_not_there_is_told(monkeypatch):
    pytest.importorskip("boto3", reason="needs boto3, of the extra 'aws'")
    monkeypatch.setenv("AWS_PROFILE", "mispelt")
    with pytest.raises(FetchError, match=r"profile \(mispelt\) could not be found"):
        read_s3()


@pytest.mark.usefixtures("s3")
def test_aws_files_that_are_broken_are_told(tmp_path):
    pytest.importorskip("boto3", reason="needs boto3, of the extra 'aws'")
    (tmp_path / "config").write_text("no section\n", encoding="utf-8")
    with pytest.raises(FetchError, match="Unable to parse config file"):
        read_s3()


def test_without_any_keys_requests_are_not_signed(s3):
    read_s3()
    assert "Authorization" not in s3.headers[-1]


def test_a_refusal_says_that_somebody_may_have_to_pay(s3):
    s3.fail_next("bucket/f.bin", 403)
    with pytest.raises(FetchError, match="where the requester pays for the bucket: --s3_request"):
        read_s3()


def test_a_bucket_elsewhere_says_which_flag_names_its_region(s3):
    s3.fail_next("bucket/f.bin", 301)
    with pytest.raises(FetchError, match="in another region: --s3_region"):
        read_s3()


# gs://


def test_a_service_account_asks_for_a_token_to_read_storage(google):
    assert read_gs() == bytes([3, 4])
    assert google.scopes == ["https://www.googleapis.com/auth/devstorage.read_only"]
    assert google.server.asked[-1][2]["Authorization"] == "Bearer a"


def test_threads_that_come_together_share_one_token(google):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: read_gs(), range(16)))
    assert found == [bytes([3, 4])] * 16
    assert len(google.scopes) == 1


def test_the_project_that_pays_is_named_to_google(google):
    google.server.payer = "my-payer"
    with pytest.raises(FetchError, match="the requester pays for this bucket: --billing_project"):
        read_gs()
    assert read_gs(billing_project="my-payer") == bytes([3, 4])
    assert google.server.asked[-1][2]["x-goog-user-project"] == "my-payer"


def test_an_anonymous_request_to_google_asks_for_no_token(google):
    assert read_gs(anonymous=True) == bytes([3, 4])
    assert google.scopes == []
    assert "Authorization" not in google.server.asked[-1][2]


def test_a_file_of_credentials_that_is_not_there_is_an_error(google, monkeypatch, tmp_path):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "gone.json"))
    with pytest.raises(FetchError, match="GOOGLE_APPLICATION_CREDENTIALS names no file"):
        read_gs()
    assert google.server.asked == []


@pytest.mark.usefixtures("google")
def test_an_object_of_google_that_was_written_anew_is_stale():
    store = Store(allow_http=True, retries=ONCE)
    ranges = [ByteRange(3, 2)]
    info = store.info("gs://my-bucket/f.bin")
    assert info == FileInfo(100, '"abc=="')
    assert store.read_ranges("gs://my-bucket/f.bin", ranges, info) == [bytes([3, 4])]
    (found,) = store.read_ranges("gs://my-bucket/f.bin", ranges, FileInfo(100, '"other"'))
    assert isinstance(found, StaleIndexError)


# Both


@pytest.mark.parametrize(
    "more", [{"billing_project": "p"}, {"s3_requester_pays": True}],
)
def test_nobody_pays_without_an_account(more):
    with pytest.raises(OptionError, match="needs an account that pays"):
        Account(anonymous=True, **more)


@pytest.mark.usefixtures("s3")
def test_a_process_makes_one_client_of_a_bucket(monkeypatch):
    makes, number = accounts._s3, iter(range(99))

    def make(*arguments):
        next(number)
        time.sleep(0.05)  # long enough for the other threads to come
        return makes(*arguments)

    monkeypatch.setattr(accounts, "_s3", make)
    client = accounts.Client("s3", "bucket", Account(), True, 5.0)  # noqa: FBT003 -- a tuple
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: accounts.open_client(client), range(32)))
    assert len({id(one) for one in made}) == next(number) == 1
