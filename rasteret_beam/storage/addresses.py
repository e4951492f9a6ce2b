"""What an address means: local or not, a pattern or not, and how it is told to people."""

from __future__ import annotations

import logging
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
    return new + uri[len(old) :]


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
