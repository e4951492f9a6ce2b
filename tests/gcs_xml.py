"""The XML interface of Google's storage, which the emulator lacks: what ranged reads speak."""

import contextlib
import email.utils
import functools
import html
import http.server
import re
import urllib.parse

from gcp_storage_emulator import server
from gcp_storage_emulator.exceptions import NotFound
from serving_thread import running

_RANGE = re.compile(r"bytes=(\d+)-(\d*)$")
_OBJECT = re.compile(r"/(?P<bucket>[-.\w]+)(?:/(?P<key>.*))?$")


class XmlHandler(server.RequestHandler):
    """The emulator's own answers, and those of the XML interface: GET, HEAD and lists."""

    def do_GET(self):  # noqa: N802 -- http.server's name
        if not self._xml("GET"):
            super().do_GET()

    def do_HEAD(self):  # noqa: N802 -- http.server's name
        if not self._xml("HEAD"):
            self.send_error(501)

    def _xml(self, method):
        """Answers a request of the XML interface; tells whether it was one."""
        parts = urllib.parse.urlsplit(self.path)
        found = _OBJECT.match(urllib.parse.unquote(parts.path))
        if not found or found["bucket"] in ("storage", "upload", "download", "batch", "b"):
            return False
        self.server.asked.append((method, self.path, self.headers))
        payer = self.server.payer
        if payer and self.headers.get("x-goog-user-project") != payer:
            self._answer(method, 400, b"<Error><Code>UserProjectMissing</Code></Error>")
        elif found["key"]:
            self._object(method, found["bucket"], found["key"])
        else:
            self._list(found["bucket"], urllib.parse.parse_qs(parts.query))
        return True

    def _object(self, method, bucket, key):
        try:
            facts = self.storage.get_file_obj(bucket, key)
            data = self.storage.get_file(bucket, key, show_error=False)
        except NotFound:
            self._answer(method, 404, b"<Error><Code>NoSuchKey</Code></Error>")
            return
        headers = {
            "ETag": f'"{facts["md5Hash"]}"',
            "Last-Modified": email.utils.formatdate(0, usegmt=True),
            "x-goog-generation": facts["generation"],
        }
        wanted = _RANGE.match(self.headers.get("Range", ""))
        if not wanted:
            self._answer(method, 200, data, headers)
            return
        first = int(wanted[1])
        last = min(int(wanted[2] or len(data)), len(data) - 1)
        if first > last:
            self._answer(method, 416, b"", {"Content-Range": f"bytes */{len(data)}"})
            return
        headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
        self._answer(method, 206, data[first : last + 1], headers)

    def _list(self, bucket, query):
        prefix = query.get("prefix", [""])[0]
        files, _ = self.storage.get_file_list(bucket, prefix=prefix)
        rows = "".join(
            f"<Contents><Key>{html.escape(file['name'])}</Key><Size>{file['size']}</Size>"
            f"<LastModified>1970-01-01T00:00:00.000Z</LastModified><ETag>e</ETag></Contents>"
            for file in files
        )
        body = f"<ListBucketResult><Name>{bucket}</Name>{rows}</ListBucketResult>"
        self._answer("GET", 200, body.encode(), {"Content-Type": "application/xml"})

    def _answer(self, method, status, body, headers=None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if method == "GET":
            self.wfile.write(body)


class _Server(http.server.HTTPServer):
    """The emulator behind one address, for both interfaces.

    Attributes:
        asked: (method, path with query, headers) of the XML interface's requests.
        payer: The project that must be named as paying, or None.
        storage: The emulator's own.
    """

    payer = None


@contextlib.contextmanager
def serving(bucket):
    """Serves an empty bucket."""
    storage = server.create_server("127.0.0.1", 0, in_memory=True, default_bucket=bucket)._storage
    found = _Server(("127.0.0.1", 0), functools.partial(XmlHandler, storage))
    found.asked, found.storage = [], storage
    with running(found):
        yield found
