"""Flags on how files are read, the same for every pipeline."""

import argparse
from collections.abc import Callable

from rasteret_beam.collection.catalog import find_dataset
from rasteret_beam.runners import flags
from rasteret_beam.storage import Account, RetryPolicy, Store
from rasteret_beam.storage.signing import SIGNERS, signer_named

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
    add("--anonymous", **flags.SWITCH, help="Read buckets without credentials, where there are "
        "some")
    add("--billing_project", help="Google project that pays for requests to gs:// buckets whose "
        "requesters pay")
    add("--s3_region", help="Region of the s3:// buckets (default: the dataset's, AWS_REGION, or "
        "us-east-1)")
    add("--s3_requester_pays", **flags.SWITCH, help="Pay for requests to s3:// buckets whose "
        "requesters pay")
    add("--signer", help=f"What signs addresses as they are read: {' | '.join(SIGNERS)} "
        "(default: the dataset's)")


def store_of(
    options: argparse.Namespace,
    freshness: str = "etag",
    url_rewrite: str | None = None,
    dataset: str | None = None,
) -> Store:
    """Gives the store that the flags describe.

    Args:
        options: The flags.
        freshness: As ``Store`` has it.
        url_rewrite: Prefixes of addresses and what to read from instead.
        dataset: Id of a known dataset, which fills in its region and its signer. That its
            readers pay is for a person to say: ``--s3_requester_pays``.

    Raises:
        OptionError: A flag has a value that cannot work.
    """
    known = find_dataset(dataset or "")
    signer = options.signer or (known.signer if known else None)
    return Store(
        allow_http=options.allow_http,
        retries=RetryPolicy(attempts=options.attempts, timeout_seconds=options.timeout_seconds),
        freshness=freshness,
        allow_schemes=flags.listed(options.allow_schemes) or None,
        allow_hosts=flags.listed(options.allow_hosts) or None,
        account=Account(
            anonymous=options.anonymous,
            billing_project=options.billing_project,
            s3_region=options.s3_region or (known.region if known else None),
            s3_requester_pays=options.s3_requester_pays,
        ),
        url_rewrite=tuple(flags.pairs("--url_rewrite", url_rewrite, str).items()),
        signer=signer_named(signer) if signer else None,
    )
