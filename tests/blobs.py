"""Azure's storage on this machine: blobs for those with a token, which it gives to anyone."""

import contextlib
import datetime as dt
import json

import pytest
from fakes import FileHandler, serving

from rasteret_beam.storage import PlanetaryComputer, connections, signing

SECRET = "s3cret"  # noqa: S105 -- what no test may find told


class _Handler(FileHandler):
    """Answers for blobs as a proxy does, which is asked by whole addresses."""

    def serve(self, method):
        host, _, rest = self.path.removeprefix("http://").partition("/")
        if not host:
            self.server.keys.append(self.headers["Ocp-Apim-Subscription-Key"])
            number = len(self.server.keys)
            until = dt.datetime.now(dt.timezone.utc) + self.server.lasts
            told = {"token": f"se=x&sig={SECRET}{number}", "msft:expiry": f"{until:%FT%TZ}"}
            body = json.dumps(told).encode() if self.server.gives_tokens else b"{}"
            self.server.note(method, self.path, None)
            self.answer(method, 200, body)
        elif f"sig={SECRET}" not in rest:
            self.answer(method, 403, b"")
        else:
            self.path = f"/{rest}"
            super().serve(method)


@contextlib.contextmanager
def serving_azure(monkeypatch, files):
    """Serves files by container and name, whatever the account.

    Attributes of what it gives, beside those of a ``RangeServer``:
        keys: The subscription key that came with each request for a token, or None.
        gives_tokens: Whether there are any.
        lasts: How long a token does.
        signer: Asks this server for them.
    """
    monkeypatch.delenv("PC_SDK_SUBSCRIPTION_KEY", raising=False)
    signing._token_of.cache_clear()
    with serving(files) as server:
        server.RequestHandlerClass = _Handler
        server.keys, server.gives_tokens, server.lasts = [], True, dt.timedelta(hours=1)
        server.signer = PlanetaryComputer(f"{server.url}/token")
        monkeypatch.setenv("http_proxy", server.url)
        monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
        connections.pool_of.cache_clear()
        yield server
    connections.pool_of.cache_clear()


def blob(name="f.tif", account="account", container="container"):
    """Address of a blob, as a catalogue has it."""
    return f"http://{account}.blob.core.windows.net/{container}/{name}"


@pytest.fixture
def azure(monkeypatch):
    """Serves one blob of bytes that count."""
    with serving_azure(monkeypatch, {"container/f.tif": bytes(range(100))}) as server:
        yield server
