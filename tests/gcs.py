"""A bucket on this machine, and an account that may use it: Google's storage without a cloud."""

import base64
import contextlib
import http.server
import json
import urllib.parse

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from serving_thread import running

_TOKEN = json.dumps({"access_token": "a", "expires_in": 3600, "token_type": "Bearer"}).encode()


class Environment(dict):
    """What clients find a bucket by, and may use it with.

    Attributes:
        server: What ``gcs_xml`` serves it with.
        scopes: What each token was asked for.
    """


@contextlib.contextmanager
def serving_bucket(folder, bucket="my-bucket"):
    """Serves an empty bucket; gives the environment in which clients find and may use it."""
    pytest.importorskip(
        "gcp_storage_emulator.server", reason="needs gcp-storage-emulator, of the extra 'test'",
    )
    import gcs_xml  # noqa: PLC0415 -- needs the emulator

    with _serving_tokens() as (token_uri, scopes), gcs_xml.serving(bucket) as server:
        account = folder / "account.json"
        account.write_text(json.dumps(_account(token_uri)), encoding="utf-8")
        environment = Environment(
            STORAGE_EMULATOR_HOST=f"http://127.0.0.1:{server.server_address[1]}",
            GOOGLE_APPLICATION_CREDENTIALS=str(account),
        )
        environment.server, environment.scopes = server, scopes
        yield environment


def _account(token_uri):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return {
        "type": "service_account", "project_id": "my-project", "private_key_id": "k",
        "private_key": pem.decode(), "client_email": "a@my-project.iam.gserviceaccount.com",
        "client_id": "1", "token_uri": token_uri,
    }  # fmt: skip


@contextlib.contextmanager
def _serving_tokens():
    scopes = []

    class Tokens(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            claims = urllib.parse.parse_qs(body)["assertion"][0].split(".")[1]
            told = json.loads(base64.urlsafe_b64decode(claims + "=="))
            scopes.append(told.get("scope", ""))
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(_TOKEN)))
            self.end_headers()
            self.wfile.write(_TOKEN)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Tokens)
    with running(server):
        yield f"http://127.0.0.1:{server.server_address[1]}/token", scopes
