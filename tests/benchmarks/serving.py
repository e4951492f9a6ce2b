"""Serves files with range requests, as an object store would: by nginx, else by ourselves.

A latency is held before each answer: by nginx's echo module where it is there, else by the
server below, which is one process of one thread.
"""

import asyncio
import collections
import contextlib
import json
import mmap
import os
import pathlib
import re
import resource
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import running

ECHO_MODULES = (
    "/usr/lib/nginx/modules/ngx_http_echo_module.so",
    "/usr/share/nginx/modules/ngx_http_echo_module.so",
)
_RANGE = re.compile(rb"\r\nrange: *bytes=(\d*)-(\d*)\r\n", re.IGNORECASE)

NGINX = """
daemon off; {user} {module}
worker_processes 2; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
    log_format sizes '$request_method $status $body_bytes_sent';
    access_log {folder}/access.log sizes;
    default_type image/tiff; sendfile on; tcp_nodelay on;
    keepalive_requests 10000000; open_file_cache max=1000;
    client_body_temp_path {folder}/temp; proxy_temp_path {folder}/temp;
    fastcgi_temp_path {folder}/temp; uwsgi_temp_path {folder}/temp; scgi_temp_path {folder}/temp;
    server {{ listen 127.0.0.1:{port} backlog=2048; root {root}; {location} }}
}}
"""
DELAYED = "location / {{ echo_sleep {seconds}; echo_exec @file; }} location @file {{ }}"


class Nginx:
    """A running nginx, and what its log tells of the requests."""

    def __init__(self, url, log, pid):
        self.url, self._log, self._pid = url, log, pid
        self.title = "nginx"

    def bind(self, cores):
        """Lets the server run on the first so many cores only; None for all."""
        bind(self._pid, cores)

    def stats(self):
        """Requests and bytes of bodies since the start."""
        time.sleep(0.1)  # A line is written when its answer is sent.
        lines = [line.split() for line in self._log.read_text().splitlines()]
        # Asks for a whole file are cut off by some clients, and still are requests.
        return {"requests": len(lines), "bytes": sum(int(line[2]) for line in lines)}


class Ours:
    """The server below, in a process of its own."""

    def __init__(self, url, pid):
        self.url, self._pid = url, pid
        self.title = "our own server"

    def bind(self, cores):
        bind(self._pid, cores)

    def stats(self):
        told = stats_of(self.url)
        return {"requests": told["requests"], "bytes": told["bytes"]}


def bind(pid, cores):
    """Lets a process and its children run on the first so many cores only; None for all."""
    allowed = sorted(os.sched_getaffinity(0))[:cores]
    for one in (pid, *running.descendants(pid)):
        os.sched_setaffinity(int(one), allowed)


@contextlib.contextmanager
def serving(root, latency_ms, folder):
    """Gives a server of the files under ``root`` that lasts until the block ends."""
    nginx, module = find_nginx(), find_echo_module()
    if nginx and (not latency_ms or module):
        with running_nginx(nginx, module if latency_ms else None, root, latency_ms, folder) as it:
            yield it
        return
    lacking = "its echo module, which holds the latency" if nginx else "nginx"
    print(f"This machine lacks {lacking}: our own server answers, more slowly", file=sys.stderr)
    command = [sys.executable, __file__, str(root), str(latency_ms)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        try:
            yield Ours(f"http://127.0.0.1:{process.stdout.readline().strip()}", process.pid)
        finally:
            process.terminate()


def find_nginx():
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def find_echo_module():
    return next((path for path in ECHO_MODULES if pathlib.Path(path).exists()), None)


@contextlib.contextmanager
def running_nginx(nginx, module, root, latency_ms, folder):
    folder, port = pathlib.Path(folder), free_port()
    (folder / "access.log").touch()
    (folder / "nginx.conf").write_text(NGINX.format(
        folder=folder, port=port, root=pathlib.Path(root).resolve(),
        user="user root;" if os.getuid() == 0 else "",
        module=f"load_module {module};" if module else "",
        location=DELAYED.format(seconds=latency_ms / 1000) if module else "",
    ))  # fmt: skip
    command = [nginx, "-p", str(folder), "-c", str(folder / "nginx.conf")]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:  # noqa: S603
        try:
            wait_for(port, process)
            yield Nginx(f"http://127.0.0.1:{port}", folder / "access.log", process.pid)
        finally:
            process.terminate()


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def wait_for(port, process):
    for _ in range(100):
        if process.poll() is not None:
            msg = f"nginx ended with {process.returncode}"
            raise RuntimeError(msg)
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    msg = "nginx does not answer"
    raise RuntimeError(msg)


# Our own: one process, one thread.


class RangeServer(asyncio.Protocol):
    """Answers ranged GET and HEAD after a latency, in the order asked, also pipelined."""

    def __init__(self, find, stats, latency_seconds):
        self._find, self._stats, self._latency = find, stats, latency_seconds
        self._loop = asyncio.get_running_loop()
        self._unread, self._waiting = b"", collections.deque()

    def connection_made(self, transport):
        self._transport = transport
        self._stats["connections"] += 1

    def data_received(self, data):
        *heads, self._unread = (self._unread + data).split(b"\r\n\r\n")
        for head in heads:
            self._waiting.append(head + b"\r\n")
            # Timers that are due together may fire in any order: each takes the oldest.
            self._loop.call_later(self._latency, self._answer)

    def _answer(self):
        head = self._waiting.popleft()
        if self._transport.is_closing():
            return
        method, target, _ = head.split(b" ", 2)
        path = target.partition(b"?")[0].decode()
        if path == "/__stats":
            told = {**self._stats, "cpu_seconds": cpu_seconds()}
            self._send(b"200 OK", json.dumps(told).encode())
            return
        data = self._find(path)
        if data is None:
            self._send(b"404 Not Found", b"")
            return
        status, body, span = ranged(data, _RANGE.search(head))
        self._stats["requests"] += 1
        self._stats["bytes"] += 0 if method == b"HEAD" else len(body)
        self._send(status, body, span, with_body=method != b"HEAD")

    def _send(self, status, body, span=b"", *, with_body=True):
        head = (
            b"HTTP/1.1 %b\r\nContent-Length: %d\r\nAccept-Ranges: bytes\r\n"
            b'ETag: "one"\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n%b\r\n'
        ) % (status, len(body), span)
        self._transport.write(head + bytes(body) if with_body else head)


def ranged(data, wanted):
    """Status, body and Content-Range of an answer (RFC 9110, section 14)."""
    size = len(data)
    if wanted is None or wanted.groups() == (b"", b""):
        return b"200 OK", data, b""
    first, last = (int(g) if g else None for g in wanted.groups())
    if first is None:
        first, last = max(size - last, 0), size - 1
    last = size - 1 if last is None else min(last, size - 1)
    if first > last:
        unmet = b"Content-Range: bytes */%d\r\n" % size
        return b"416 Range Not Satisfiable", b"", unmet
    span = b"Content-Range: bytes %d-%d/%d\r\n" % (first, last, size)
    return b"206 Partial Content", data[first : last + 1], span


async def serve(find, latency_seconds):
    """Serves what ``find`` gives for a path; tells its port first."""
    stats = dict.fromkeys(("requests", "bytes", "connections"), 0)
    server = await asyncio.get_running_loop().create_server(
        lambda: RangeServer(find, stats, latency_seconds), "127.0.0.1", 0, backlog=2048,
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def stats_of(url):
    with urllib.request.urlopen(url + "/__stats", timeout=60) as answer:  # noqa: S310
        return json.load(answer)


def cpu_seconds():
    uses = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(use.ru_utime + use.ru_stime for use in uses)


def mapped(root):
    """Files under a folder by their path, in memory as far as they are asked for."""
    files = {}
    for path in pathlib.Path(root).rglob("*.tif"):
        with path.open("rb") as file:
            view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        files["/" + str(path.relative_to(root))] = view
    return files


if __name__ == "__main__":
    asyncio.run(serve(mapped(sys.argv[1]).get, float(sys.argv[2]) / 1000))
