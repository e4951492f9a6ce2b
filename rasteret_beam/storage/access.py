"""Which addresses may be read: those that content names are not those that a person names."""

from __future__ import annotations

import contextlib
import dataclasses
import fnmatch
import functools
import ipaddress
import re
import socket
import unicodedata
import urllib.parse

from rasteret_beam.errors import FetchError, OptionError
from rasteret_beam.storage.addresses import is_bucket, local_path, redact, split_root

SCHEMES = ("gs", "s3", "http", "https")
"""Kinds of remote addresses that are read; ``file`` stands for local ones."""

# What answers here hands out the machine's own credentials, or speaks for its cloud.
_FORBIDDEN_NETWORKS = tuple(
    ipaddress.ip_network(text)
    for text in (
        "169.254.0.0/16", "fe80::/10", "fd00:ec2::/32", "fd20:ce::/32",
        "100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32",
    )
)  # fmt: skip
_FORBIDDEN_NAMES = frozenset({
    "metadata", "metadata.google.internal", "metadata.goog", "instance-data",
    "instance-data.ec2.internal", "metadata.azure.internal", "metadata.azure.com",
    "metadata.tencentyun.com", "metadata.packet.net",
})  # fmt: skip
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_WILDCARD = re.compile(r"[*?\[]")

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclasses.dataclass(frozen=True, slots=True)
class Access:
    """What may be read.

    Attributes:
        allow_http: Whether plain ``http://`` is permitted.
        schemes: Schemes that content may name, ``file`` for local files; None for
            ``https``, ``gs``, ``s3``, ``http`` where that is permitted, and local files
            where the content itself is local.
        hosts: Patterns of hosts (buckets, for gs and s3) that content may name, like
            ``*.example.com``; None for any but metadata services and link-local
            addresses, which only a pattern without wildcards permits.
        named_by: Who names the addresses: None for the operator, ``local`` for content
            of a local file, ``remote`` for content that came from elsewhere.
    """

    allow_http: bool = False
    schemes: tuple[str, ...] | None = None
    hosts: tuple[str, ...] | None = None
    named_by: str | None = None

    @property
    def of_redirects(self) -> Access:
        """What an answer may lead to: it is content, whoever named the first address."""
        return self if self.named_by == "remote" else dataclasses.replace(self, named_by="remote")

    def check(self, uri: str, told: str | None = None) -> None:
        """Refuses what may not be read.

        Args:
            uri: The address.
            told: What to call it in the error, where it must not be told itself.

        Raises:
            FetchError: Content names it.
            OptionError: The operator does, and it cannot be read by anyone.
        """
        refusal = self.refusal(uri)
        if refusal is not None:
            msg = f"{redact(told or uri)}: {refusal}"
            raise OptionError(msg) if self.named_by is None else FetchError(msg)

    def refusal(self, uri: str) -> str | None:
        """Gives why an address may not be read, or None; tells nothing of its query."""
        return _refusal(self, uri) if self.named_by is None else _content_refusal(self, uri)

    def checks_peer(self, host: str) -> bool:
        """Tells whether it matters which machine answers for a host."""
        return self.named_by is not None and not self.lists(host)

    def lists(self, host: str) -> bool:
        """Tells whether the operator named this very host."""
        return any(
            not _WILDCARD.search(pattern) and plain_host(pattern) == plain_host(host)
            for pattern in self.hosts or ()
        )


def check_schemes(schemes: tuple[str, ...] | None) -> None:
    """Refuses what is no scheme that is read.

    Raises:
        OptionError: One is not.
    """
    known = (*SCHEMES, "file")
    unknown = [scheme for scheme in schemes or () if scheme not in known]
    if unknown:
        msg = f"allow_schemes has {unknown[0]!r}, expected some of {', '.join(known)}"
        raise OptionError(msg)


def is_forbidden(address: str) -> bool:
    """Tells whether an IP address is a metadata service's, or link-local."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return any(
        one in network for one in _spellings(found) for network in _FORBIDDEN_NETWORKS
        if one.version == network.version
    )  # fmt: skip


def plain_host(host: str) -> str:
    """Gives one spelling of a host: lower case, plain digits, no dot at its end.

    >>> plain_host("0xA9FEA9FE"), plain_host("[::ffff:a9fe:a9fe]"), plain_host("Host.Org.")
    ('169.254.169.254', '::ffff:169.254.169.254', 'host.org')
    """
    name = unicodedata.normalize("NFKC", urllib.parse.unquote(host))
    name = name.replace("\u3002", ".").strip("[]").rstrip(".").lower()
    with contextlib.suppress(ValueError):
        found = ipaddress.ip_address(name.partition("%")[0])
        mapped = getattr(found, "ipv4_mapped", None)
        return f"::ffff:{mapped}" if mapped else str(found)
    # What a resolver takes for an address: one number, hexadecimal, octal, few parts.
    if re.fullmatch(r"[0-9a-fx.]+", name):
        with contextlib.suppress(OSError):
            return socket.inet_ntoa(socket.inet_aton(name))
    return name


def _refusal(access: Access, uri: str) -> str | None:
    """Why nobody can read an address, or None."""
    if local_path(uri) is not None:
        return None
    parts = _split(uri)
    if parts is None:
        return "is no address"
    if parts.scheme not in SCHEMES:
        return f"scheme {parts.scheme!r} is not one of {', '.join(SCHEMES)}"
    if parts.scheme == "http" and not access.allow_http:
        return "plain http:// needs allow_http (--allow_http)"
    return None if parts.hostname else "names no host"


@functools.lru_cache(maxsize=4096)
def _content_refusal(access: Access, uri: str) -> str | None:
    """Why content may not name an address, or None."""
    why = _refusal(access, uri)
    if why is not None:
        return why
    if local_path(uri) is not None:
        return _local_refusal(access)
    parts = urllib.parse.urlsplit(uri)
    if access.schemes is not None and parts.scheme not in access.schemes:
        return f"scheme {parts.scheme!r} is not one of --allow_schemes ({','.join(access.schemes)})"
    # A bucket's name is no host's: nothing is resolved, and case matters.
    is_web = not is_bucket(uri)
    host = plain_host(parts.hostname or "") if is_web else split_root(uri)[0][len("gs://") :]
    return _host_refusal(access, host, is_web=is_web)


def _local_refusal(access: Access) -> str | None:
    allowed = access.named_by == "local" if access.schemes is None else "file" in access.schemes
    if allowed:
        return None
    return "a local file, named by content; --allow_schemes with 'file' would allow it"


def _host_refusal(access: Access, host: str, *, is_web: bool) -> str | None:
    if access.lists(host):
        return None
    if is_web and (host in _FORBIDDEN_NAMES or is_forbidden(host)):
        return (
            f"{host} is a metadata service or link-local address, named by content; "
            f"--allow_hosts {host} would allow it"
        )
    if access.hosts is None or any(
        fnmatch.fnmatchcase(host.lower(), pattern.lower()) for pattern in access.hosts
    ):
        return None
    return f"host {host} is not one of --allow_hosts ({','.join(access.hosts)})"


def _split(uri: str) -> urllib.parse.SplitResult | None:
    try:
        parts = urllib.parse.urlsplit(uri)
        _ = parts.port
    except ValueError:
        return None
    return parts


def _spellings(found: _Address) -> list[_Address]:
    """An address, and the IPv4 address inside one of IPv6."""
    if isinstance(found, ipaddress.IPv4Address):
        return [found]
    inner = [found.ipv4_mapped, found.sixtofour, *(found.teredo or ())]
    number = int(found)
    if found in _NAT64 or number >> 32 == 0:
        inner.append(ipaddress.IPv4Address(number & 0xFFFFFFFF))
    return [found, *(one for one in inner if one is not None)]
