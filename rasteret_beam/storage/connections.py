"""Connections to web servers: kept open, bounded in time, and to machines that may be asked.

urllib3 makes and keeps the connections (TLS, proxies, which of them were dropped). What
is sent and read over them is plain ``http.client``: urllib3's own requests take twice the
CPU, and would hide redirects, retries and slow answers.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import io
import ssl
import time
import urllib.request
from typing import TYPE_CHECKING, Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util.proxy import connection_requires_http_tunnel

from rasteret_beam.errors import FetchError
from rasteret_beam.once import made_once
from rasteret_beam.storage.access import is_forbidden
from rasteret_beam.storage.pacing import MAX_CONCURRENT

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

_CONNECT_SECONDS = 5.0
_HOSTS_KEPT = 65_536  # more than any job asks
_DRAINED_BYTES = 64 * 1024


class TimedOutError(TimeoutError):
    """An attempt took longer than it may."""


class _TimedReader(io.RawIOBase):
    """A socket's bytes until a deadline: a trickle that never ends is cut off too."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock, self._deadline = sock, deadline
        # Counts as a reader, so that the socket outlives a connection that lets it go.
        self._raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:  # noqa: ANN401 -- io's own signature
        self._sock.settimeout(_left(self._deadline))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _TimedSocket:
    """What ``http.client`` wants of a socket to read an answer."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock, self._deadline = sock, deadline

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_TimedReader(self._sock, self._deadline))


class _CheckedPeer:
    """Refuses machines that content may not name, whatever their names resolve to."""

    def _new_conn(self: Any) -> socket.socket:
        sock: socket.socket = super()._new_conn()  # type: ignore[misc]
        # Through a proxy the peer is the proxy, which the operator named.
        address = str(sock.getpeername()[0])
        if self.proxy is None and is_forbidden(address):
            sock.close()
            msg = (
                f"{self.host} is the machine {address}, a metadata service or link-local "
                f"address, named by content; --allow_hosts {self.host} would allow it"
            )
            raise FetchError(msg)
        return sock


class _CheckedHTTPConnection(_CheckedPeer, HTTPConnection):
    pass


class _CheckedHTTPSConnection(_CheckedPeer, HTTPSConnection):
    pass


class _Exchange:
    """Requests over the connections of a pool; a mixin of urllib3's pools."""

    def ask(
        self: Any, method: str, url: str, headers: Mapping[str, str], deadline: float,
    ) -> Exchanged:
        """Sends a request and reads the head of its answer.

        Args:
            method: GET or HEAD.
            url: The whole address, escaped.
            headers: What to send.
            deadline: ``time.monotonic`` of the end of the attempt.

        Raises:
            OSError, http.client.HTTPException, urllib3.exceptions.HTTPError: It failed.
        """
        scheme, _, rest = url.partition("://")
        tunnel = connection_requires_http_tunnel(self.proxy, self.proxy_config, scheme)
        # A proxy that is asked for plain http gets the whole address, others the path.
        target = url if self.proxy and not tunnel else "/" + rest.partition("/")[2]
        more = self.proxy_headers if self.proxy and not tunnel else {}
        connection = self._get_conn()
        try:
            if connection.is_closed:
                connection.timeout = min(_CONNECT_SECONDS, _left(deadline))
                if self.proxy and tunnel:
                    self._prepare_proxy(connection)
                else:
                    connection.connect()
            connection.sock.settimeout(_left(deadline))
            connection.putrequest(method, target, skip_accept_encoding=True)
            for name, value in (*headers.items(), *more.items()):
                connection.putheader(name, value)
            connection.endheaders()
            connection.response_class = functools.partial(_response, deadline)
            response = http.client.HTTPConnection.getresponse(connection)
        except BaseException:
            connection.close()
            self._put_conn(connection)
            raise
        return Exchanged(self, connection, response)


class Exchanged:
    """An answer whose body is still to be read; used in a ``with``, which ends it."""

    def __init__(self, pool: Any, connection: Any, response: http.client.HTTPResponse) -> None:  # noqa: ANN401 -- a mixin's
        """Holds the answer, and where its connection goes back to."""
        self._pool, self._connection, self.response = pool, connection, response

    def __enter__(self) -> http.client.HTTPResponse:
        """Gives the answer."""
        return self.response

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """Keeps the connection where little is left to read; else the rest would take time."""
        response = self.response
        rest = response.length if not response.chunked else None
        answered = error is None or isinstance(error, FetchError)
        if not response.isclosed() and answered and rest is not None and rest <= _DRAINED_BYTES:
            with contextlib.suppress(OSError, http.client.HTTPException):
                response.read()
        if not response.isclosed():
            self._connection.close()
            response.close()
        self._pool._put_conn(self._connection)  # noqa: SLF001 -- the pool's own connection


class _HTTPPool(_Exchange, HTTPConnectionPool):
    pass


class _HTTPSPool(_Exchange, HTTPSConnectionPool):
    pass


class _CheckedHTTPPool(_Exchange, HTTPConnectionPool):
    ConnectionCls = _CheckedHTTPConnection


class _CheckedHTTPSPool(_Exchange, HTTPSConnectionPool):
    ConnectionCls = _CheckedHTTPSConnection


@made_once(maxsize=_HOSTS_KEPT)
def pool_of(scheme: str, host: str, port: int | None, *, check_peer: bool) -> Any:  # noqa: ANN401 -- a pool with ``ask``
    """Gives the process's connections to a host.

    The environment's proxies are honoured, as they are when a host is first asked.

    Args:
        scheme: ``http`` or ``https``.
        host: Its name.
        port: Its port; None for the scheme's own.
        check_peer: Whether the machine that answers is looked at before it is asked.
    """
    proxy = None
    if not urllib.request.proxy_bypass(host):
        proxies = urllib.request.getproxies()
        proxy = proxies.get(scheme) or proxies.get("all")
    return _manager(proxy, check_peer, scheme).connection_from_host(host, port, scheme)


@made_once(maxsize=16)
def _manager(proxy: str | None, check_peer: bool, scheme: str) -> urllib3.PoolManager:  # noqa: FBT001 -- a cache key
    options: dict[str, Any] = {
        "num_pools": _HOSTS_KEPT, "maxsize": MAX_CONCURRENT,
        "ssl_context": _tls() if scheme == "https" else None,
    }  # fmt: skip
    manager = urllib3.PoolManager(**options)
    if proxy is not None:
        address = proxy if "://" in proxy else f"http://{proxy}"
        user = urllib3.util.parse_url(address).auth
        headers = urllib3.make_headers(proxy_basic_auth=user) if user else None
        manager = urllib3.ProxyManager(address, proxy_headers=headers, **options)
    manager.pool_classes_by_scheme = (
        {"http": _CheckedHTTPPool, "https": _CheckedHTTPSPool} if check_peer
        else {"http": _HTTPPool, "https": _HTTPSPool}
    )  # fmt: skip
    return manager


@made_once(maxsize=1)
def _tls() -> ssl.SSLContext:
    """One for all connections: to read the system's certificates takes milliseconds."""
    return ssl.create_default_context()


def _response(deadline: float, sock: Any, **options: Any) -> http.client.HTTPResponse:  # noqa: ANN401 -- http.client's
    return http.client.HTTPResponse(_TimedSocket(sock, deadline), **options)  # type: ignore[arg-type]


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        msg = "the attempt took too long"
        raise TimedOutError(msg)
    return left
