"""Flags on how files are read, the same for every pipeline."""

import argparse
from collections.abc import Callable

from rasteret_beam.runners import flags
from rasteret_beam.storage import RetryPolicy, Store

_DEFAULT = RetryPolicy()


def declare(add: Callable[..., None]) -> None:
    """Adds the flags.

    Args:
        add: ``launch.add_flag`` of a parser.
    """
    add("--allow_http", **flags.SWITCH, help="Permit plain http:// addresses")
    add("--allow_schemes", help="Schemes that a collection or catalogue may name, separated by "
        "commas, of https, gs, s3, http, file (default: all but http, which needs --allow_http, "
        "and file, which only local ones may name)")
    add("--allow_hosts", help="Hosts and buckets that a collection or catalogue may name, "
        "separated by commas, like *.example.com (default: any but metadata services)")
    add("--attempts", type=int, default=_DEFAULT.attempts,
        help="Requests for one range of bytes at most, where a server fails for now")
    add("--timeout_seconds", type=float, default=_DEFAULT.timeout_seconds,
        help="Time that one request may take, from connecting to its last byte")


def store_of(options: argparse.Namespace, freshness: str = "etag") -> Store:
    """Gives the store that the flags describe.

    Raises:
        OptionError: A flag has a value that cannot work.
    """
    return Store(
        allow_http=options.allow_http,
        retries=RetryPolicy(attempts=options.attempts, timeout_seconds=options.timeout_seconds),
        freshness=freshness,
        allow_schemes=flags.listed(options.allow_schemes) or None,
        allow_hosts=flags.listed(options.allow_hosts) or None,
    )
