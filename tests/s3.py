"""An S3 API on this machine, by way of moto's server: signed requests and all."""

import contextlib

import pytest
import urllib3

KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "s3cret-of-the-account"}


@contextlib.contextmanager
def serving_s3(*buckets):
    """Serves empty buckets; gives the environment in which clients find and may use them."""
    moto = pytest.importorskip("moto.server", reason="needs moto[server], of the extra 'test'")
    boto3 = pytest.importorskip("boto3", reason="needs boto3, of the extra 'test'")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        url = f"http://{host}:{port}"
        # moto keeps buckets for as long as the process lives.
        urllib3.request("POST", f"{url}/moto-api/reset")
        client = boto3.client(
            "s3", endpoint_url=url, region_name="us-east-1",
            aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        )  # fmt: skip
        for bucket in buckets:
            client.create_bucket(Bucket=bucket)
        yield client, {"AWS_ENDPOINT_URL": url, "AWS_REGION": "us-east-1", **KEYS}
    finally:
        server.stop()
