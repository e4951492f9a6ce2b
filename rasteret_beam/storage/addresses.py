"""What an address means: local or not, a pattern or not, and how it is told to people.

Web addresses and ``file://`` are escaped, and may have a query. In gs:// and s3:// all that
follows the bucket is the key, letter by letter, as listings and catalogues tell it:
``s3://b/a%20b.tif`` is not ``s3://b/a b.tif``, and ``?`` and ``#`` are letters.
"""

from __future__ import annotations

import logging
import os
import pathlib
import re
import urllib.parse
from typing import TYPE_CHECKING

from rasteret_beam.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

# Clients escape an address anew, so that a secret may come back in another spelling.
_USER = re.compile(
    r"(?i)(://|%(?:25)*3a%(?:25)*2f%(?:25)*2f)[^/?#]*(?:@|%(?:25)*40)",
)
# Keys have no query. What looks like one that signs may have been meant as one.
_QUERY_OF_KEY = re.compile(r"(?is)(?:\?|%(?:25)*3f)[^/=%]*(?:=|%(?:25)*3d).+")
_QUERY = re.compile(r"(?is)(?:\?|%(?:25)*3f).+")
_FRAGMENT = re.compile(r"(?s)#.*")
_QUERY_IN_TEXT = re.compile(r"(?i)(?:\?|%(?:25)*3f)[^\s\"'<>)]+")
_USER_IN_TEXT = re.compile(r"(?i)(://|%(?:25)*3a%(?:25)*2f%(?:25)*2f)[^/?#\s]*(?:@|%(?:25)*40)")
_REMOTE = re.compile(r"(?i)://|%(?:25)*3a%(?:25)*2f%(?:25)*2f")


def local_path(uri: str) -> pathlib.Path | None:
    """Gives the path of a local file, or None for another kind of URI."""
    if uri[:7].lower() == "file://":
        return pathlib.Path(urllib.parse.unquote(urllib.parse.urlsplit(uri).path))
    return None if "://" in uri else pathlib.Path(uri)


def is_bucket(uri: str) -> bool:
    """Tells whether a URI is of an object in a bucket."""
    return uri.startswith(("gs://", "s3://"))


def output_folder(uri: str) -> str:
    """Gives a folder to write to as Beam's filesystems name it: they know no ``file://``.

    Raises:
        OptionError: It names another machine.
    """
    if uri[:7].lower() != "file://":
        return uri
    if urllib.parse.urlsplit(uri).netloc.lower() not in ("", "localhost"):
        msg = f"{uri!r} is a folder of another machine, expected a path, or file:///path"
        raise OptionError(msg)
    return str(local_path(uri))


def is_hidden(name: str) -> bool:
    """Tells whether readers of a folder pass over a file of it.

    Args:
        name: The file's name in the folder, with those of the folders between.

    >>> is_hidden("_run/part-0.parquet"), is_hidden("a/.tmp"), is_hidden("a/b_c")
    (True, True, False)
    """
    return any(part.startswith((".", "_")) for part in name.split("/"))


def place(address: str) -> str:
    """Gives the one spelling of a place: local ones in full, without links, or ``file://``.

    >>> place("gs://Bucket/a/"), place("file:///a/./b/../c/")
    ('gs://Bucket/a', '/a/c')
    """
    path = local_path(address)
    return address.rstrip("/") if path is None else os.path.realpath(path)


def split_root(uri: str) -> tuple[str, str]:
    """Parts an address into scheme with host or bucket, and path as it is spelled there.

    A web address's query is in neither; a local path has no root.

    >>> split_root("s3://b/a%20b?1.tif"), split_root("https://h/a%20b.tif?sig=x")
    (('s3://b', '/a%20b?1.tif'), ('https://h', '/a%20b.tif'))
    """
    if is_bucket(uri):
        scheme, _, rest = uri.partition("://")
        bucket, slash, key = rest.partition("/")
        return f"{scheme}://{bucket}", slash + key
    path = local_path(uri)
    if path is not None:
        return "", str(path) if "://" in uri else uri
    parts = urllib.parse.urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc}", parts.path


def plain_path(uri: str) -> str:
    """Gives an address's path as people read it: that of a web address is unescaped.

    >>> plain_path("s3://b/a%20b.tif"), plain_path("https://h/a%20b.tif?sig=x")
    ('/a%20b.tif', '/a b.tif')
    """
    path = split_root(uri)[1]
    return urllib.parse.unquote(path) if _is_escaped(uri) else path


def check_rewrites(rewrites: Sequence[tuple[str, str]]) -> None:
    """Refuses prefixes that no address has.

    Raises:
        OptionError: One is not of a remote address, or leads to nothing.
    """
    for old, new in rewrites:
        if "://" not in old or not new:
            msg = (
                f"url_rewrite has {redact(old)!r} -> {redact(new)!r}, expected prefixes of "
                "addresses, like https://a.org/ -> s3://a/"
            )
            raise OptionError(msg)


def rewritten(uri: str, rewrites: Sequence[tuple[str, str]]) -> str:
    """Gives an address as it is to be read: the longest prefix that fits is replaced.

    >>> rewritten("https://a.org/x.tif", [("https://a.org/", "s3://a/")])
    's3://a/x.tif'
    """
    fitting = [pair for pair in rewrites if uri.startswith(pair[0])]
    if not fitting:
        return uri
    old, new = max(fitting, key=lambda pair: len(pair[0]))
    return with_prefix(uri, old, new)


def with_prefix(uri: str, old: str, new: str) -> str:
    """Gives an address with another beginning, and its end as it is spelled there.

    >>> with_prefix("https://a.org/x%20y.tif?v=1", "https://a.org/", "s3://a/")
    's3://a/x y.tif'
    """
    rest = uri[len(old) :]
    if _is_escaped(old) and not _is_escaped(new):
        rest = urllib.parse.unquote(re.split("[?#]", rest, maxsplit=1)[0])
    elif _is_escaped(new) and not _is_escaped(old):
        rest = urllib.parse.quote(rest, safe="/:=,@")
    return new + rest


def _is_escaped(uri: str) -> bool:
    return uri.lower().startswith(("http://", "https://", "file://"))


def has_wildcard(pattern: str) -> bool:
    """Tells whether a URI is a pattern (a query's ``?`` is none)."""
    if local_path(pattern) is None:
        parts = urllib.parse.urlsplit(pattern)
        if parts.scheme in ("http", "https"):
            return "*" in parts.path
    elif pathlib.Path(pattern).exists():
        return False
    return any(sign in pattern for sign in "*?[")


def redact(uri: str) -> str:
    """Takes credentials out of a URI for messages: user, password, query.

    However they are spelled: also where the whole URI was escaped once more.

    >>> redact("https://me:secret@host/f.tif?sig=secret")
    'https://host/f.tif?REDACTED'
    """
    if not _REMOTE.search(uri):
        return uri
    if is_bucket(uri) and not _REMOTE.search(uri, len("gs://")):
        return _QUERY_OF_KEY.sub("?REDACTED", _USER.sub(r"\1", uri))
    bare = _FRAGMENT.sub("", _USER.sub(r"\1", uri))
    return _QUERY.sub("?REDACTED", bare)


def redact_text(text: str) -> str:
    """Takes credentials out of the addresses in a text that another library made.

    >>> redact_text("Max retries exceeded with url: /search?token=secret (reset)")
    'Max retries exceeded with url: /search?REDACTED (reset)'
    """
    return _QUERY_IN_TEXT.sub("?REDACTED", _USER_IN_TEXT.sub(r"\1", text))


def redact_logs(*names: str) -> None:
    """Takes credentials out of what libraries log, here and from now on.

    Args:
        names: Of their loggers.
    """
    for name in names:
        logger = logging.getLogger(name)
        if _redact_record not in logger.filters:
            logger.addFilter(_redact_record)


def _redact_record(record: logging.LogRecord) -> bool:
    record.msg, record.args = redact_text(record.getMessage()), ()
    return True


def fixed_folder(pattern: str) -> str:
    """Gives what stands before a pattern's first wildcard, up to a folder's end."""
    head = re.split(r"[*?\[]", pattern, maxsplit=1)[0]
    return head[: head.rfind("/") + 1]


def matching(pattern: str, names: Sequence[str]) -> list[str]:
    """Gives names that match as local files would: ``*`` stays in a folder, ``**/`` does not."""
    tokens = re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]+\])", pattern)
    spelled = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    regex = "".join(
        spelled.get(token) or (token.replace("[!", "[^") if token[:1] == "[" else re.escape(token))
        for token in tokens
    )
    return [name for name in names if re.fullmatch(regex, name)]
