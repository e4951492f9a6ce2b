"""URIs -> ranged reads: local paths, gs://, s3://, http(s)://."""

from __future__ import annotations

import concurrent.futures
import copy
import dataclasses
import glob
import os
from typing import TYPE_CHECKING, TypeVar

from rasteret_beam.elements import FileInfo
from rasteret_beam.errors import FetchError
from rasteret_beam.once import made_once
from rasteret_beam.storage import buckets, local_files, web
from rasteret_beam.storage.access import Access, check_schemes
from rasteret_beam.storage.accounts import Account
from rasteret_beam.storage.addresses import (
    check_rewrites,
    fixed_folder,
    has_wildcard,
    is_bucket,
    local_path,
    matching,
    redact,
    rewritten,
    split_root,
)
from rasteret_beam.storage.answers import (
    UNKNOWN_SIZE,
    Answer,
    BeyondEndError,
    Listed,
    check_fresh,
    check_freshness,
    whole,
)
from rasteret_beam.storage.pacing import MAX_CONCURRENT, Outcome, RetryPolicy, pace_of
from rasteret_beam.storage.ranges import ByteRange, coalesce
from rasteret_beam.storage.signing import Signer, check_signer, signed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_Found = TypeVar("_Found")


@dataclasses.dataclass(slots=True)
class Tally:
    """What reads took beyond their plan; given to ``Store.read_ranges``, which adds to it.

    Attributes:
        retried: Requests beyond the first for a range, since the first failed for now.
    """

    retried: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Store:
    """Reads files by URI. Small enough to pickle: clients open where they are used.

    Attributes:
        allow_http: Whether plain ``http://`` is permitted, for addresses and for the
            endpoints of s3:// and gs:// stand-ins (``AWS_ENDPOINT_URL``,
            ``STORAGE_EMULATOR_HOST``).
        retries: How often a request is made, and how long that may take.
        freshness: What of a file must be as the index says: ``etag`` (and size; of local
            files the size alone), ``size`` for mirrors that change ETags, or ``none``.
        allow_schemes: Schemes that content may name, ``file`` for local files; see
            ``Access``.
        allow_hosts: Patterns of hosts and buckets that content may name; see ``Access``.
        account: In whose name buckets are asked, and who pays.
        url_rewrite: Prefixes of addresses, and what to read from instead.
        signer: Signs addresses, after that, as each request is made; None where none
            needs a signature.
        named_by: Who names the addresses; ``guarded`` sets it.

    Raises:
        OptionError: A value that cannot work.
    """

    allow_http: bool = False
    retries: RetryPolicy = dataclasses.field(default_factory=RetryPolicy)
    freshness: str = "etag"
    allow_schemes: tuple[str, ...] | None = None
    allow_hosts: tuple[str, ...] | None = None
    account: Account = dataclasses.field(default_factory=Account)
    # Anybody's own, and what is written into addresses: neither is for other eyes.
    url_rewrite: tuple[tuple[str, str], ...] = dataclasses.field(default=(), repr=False)
    signer: Signer | None = dataclasses.field(default=None, repr=False)
    named_by: str | None = None

    def __post_init__(self) -> None:
        """Checks every value."""
        check_freshness(self.freshness)
        check_schemes(self.allow_schemes)
        check_rewrites(self.url_rewrite)
        check_signer(self.signer)

    def guarded(self, origin: str) -> Store:
        """Gives a store for addresses that content names.

        Args:
            origin: Where the content is: local content may name local files, other
                content may not.
        """
        named_by = "remote" if local_path(origin) is None else "local"
        return dataclasses.replace(self, named_by=named_by)

    def read(self, uri: str, offset: int, length: int) -> bytes:
        """Reads one range whole.

        Raises:
            FetchError: Not found, not allowed, or fewer bytes than asked for.
        """
        (data,) = self.read_ranges(uri, [ByteRange(offset, length)])
        if isinstance(data, FetchError):
            raise data
        return bytes(data)

    def read_ranges(
        self,
        uri: str,
        ranges: Sequence[ByteRange],
        expected: FileInfo | None = None,
        tally: Tally | None = None,
    ) -> list[memoryview | FetchError]:
        """Reads ranges of one file, near ones together.

        A range beyond the file's end does not fail its neighbours.

        Args:
            uri: The file.
            ranges: What to read, in any order.
            expected: The file's size and ETag when it was indexed; bytes of a file that
                has changed since are a ``StaleIndexError``. None to take any.
            tally: What counts the requests beyond those of ``coalesce(ranges)``.

        Returns:
            For each range its bytes, or why they could not be had. Ranges that were read
            together share memory, which is read-only.

        Raises:
            OptionError: An address that the operator named and nobody can read.
        """
        results: list[memoryview | FetchError] = [FetchError("not read")] * len(ranges)
        if expected is not None and local_path(uri) is not None:
            # When it was written tells too much: a copy has another time.
            expected = FileInfo(expected.size, None)
        requests = coalesce(ranges)
        answers = self._answers(uri, [request.span for request in requests])
        for request, answer in zip(requests, answers, strict=True):
            if tally is not None:
                tally.retried += answer.retried
            for index in request.wanted:
                wanted = ranges[index]
                results[index] = self._part(uri, answer.found, request.span, wanted, expected)
        return results

    def read_start(self, uri: str, length: int) -> tuple[bytes, FileInfo]:
        """Reads the first bytes of a file, fewer where it is shorter, and its facts.

        Raises:
            FetchError: Not found or not allowed.
        """
        answer = _raised(self._fetched(uri, ByteRange(0, length)))
        if answer.info.size == UNKNOWN_SIZE:
            msg = f"{redact(uri)}: the server does not tell the file's size"
            raise FetchError(msg)
        return bytes(answer.data), answer.info

    def info(self, uri: str) -> FileInfo | None:
        """Gives a file's facts, or None where there is no such file."""
        address = self._address(uri)
        path = local_path(address)
        if path is not None:
            return local_files.head(path)
        return _raised(self._paced(uri, address, self._head))

    def list_files(self, folder: str) -> list[str]:
        """Lists the files below a folder, at any depth, sorted by URI.

        Raises:
            FetchError: The folder cannot be listed (web servers have no listing).
        """
        return [file.uri for file in self.list_below(folder)]

    def list_sizes(self, folder: str) -> list[tuple[str, int]]:
        """Lists as ``list_files``, with the files' bytes."""
        return [(file.uri, file.info.size) for file in self.list_below(folder)]

    def list_below(self, folder: str) -> list[Listed]:
        """Lists as ``list_files``, with what the listing tells of the files.

        Raises:
            FetchError: The folder cannot be listed (web servers have no listing).
        """
        address = self._address(folder)
        path = local_path(address)
        if path is not None:
            return local_files.list_below(path)
        if not is_bucket(address):
            msg = f"{redact(folder)}: a web server has no listing; name the files one by one"
            raise FetchError(msg)
        return _raised(self._paced(
            folder, address, lambda place: buckets.list_below(place, self._way), sign=False,
        ))  # fmt: skip

    def glob(self, pattern: str) -> list[str]:
        """Expands a pattern; ``**`` crosses folders. A file of that very name gives itself.

        Raises:
            FetchError: Nothing matches, or a web address holds wildcards.
        """
        if not has_wildcard(pattern):
            return [pattern]
        path = local_path(pattern)
        if path is not None:
            matches = [p for p in glob.glob(str(path), recursive=True) if os.path.isfile(p)]  # noqa: PTH207, PTH113 -- pathlib's glob takes no absolute pattern
        else:
            names = self.list_files(fixed_folder(pattern))
            matches = [pattern] if pattern in names else matching(pattern, names)
        if not matches:
            msg = f"{redact(pattern)}: no file matches, and none has this very name"
            raise FetchError(msg)
        return sorted(matches)

    @property
    def _access(self) -> Access:
        return Access(self.allow_http, self.allow_schemes, self.allow_hosts, self.named_by)

    @property
    def _way(self) -> buckets.Way:
        return buckets.Way(self.account, self.allow_http, self.retries.timeout_seconds)

    def _answers(self, uri: str, spans: Sequence[ByteRange]) -> list[Outcome[Answer]]:
        """What requests gave, and how many more each took; many at a time."""
        if len(spans) < 2 or local_path(uri) is not None:  # noqa: PLR2004 -- several
            return [self._fetched(uri, span) for span in spans]
        return list(_requesters().map(lambda span: self._fetched(uri, span), spans))

    def _fetched(self, uri: str, span: ByteRange) -> Outcome[Answer]:
        """A range, less where the file ends before, or why there is nothing of it."""
        try:
            address = self._address(uri)
            path = local_path(address)
            if path is not None:
                return Outcome(local_files.fetch(path, *span), 0)
            return self._paced(uri, address, lambda place: self._get(place, span))
        except FetchError as error:
            return Outcome(error, 0)

    def _get(self, place: str, span: ByteRange) -> Answer:
        if is_bucket(place):
            return buckets.fetch(place, *span, self._way)
        timeout = self.retries.timeout_seconds
        return web.fetch(place, *span, access=self._access, timeout=timeout)

    def _head(self, place: str) -> FileInfo | None:
        if is_bucket(place):
            return buckets.head(place, self._way)
        return web.head(place, access=self._access, timeout=self.retries.timeout_seconds)

    def _address(self, uri: str) -> str:
        """Where a file is read from.

        Raises:
            FetchError: Not there: content names what it may not.
            OptionError: The operator names what nobody can read.
        """
        address = rewritten(uri, self.url_rewrite)
        self._access.check(address, told=uri)
        return address

    def _paced(
        self, uri: str, address: str, ask: Callable[[str], _Found], *, sign: bool = True,
    ) -> Outcome[_Found]:
        """Makes a request at its host's pace; errors say of which file.

        Signatures are made for each attempt: they may end while a host makes us wait.
        """
        scheme, _, host = split_root(address)[0].partition("://")
        pace = pace_of(f"{scheme}://{host.rpartition('@')[2].lower()}")
        outcome = pace.run(
            lambda: ask(self._signed(address) if sign else address), self.retries,
        )
        if isinstance(outcome.found, FetchError):
            return Outcome(_of_file(outcome.found, uri), outcome.retried)
        return outcome

    def _signed(self, address: str) -> str:
        if self.signer is None:
            return address
        place = signed(self.signer, address)
        if local_path(place) is not None:
            msg = f"the signer {type(self.signer).__name__} gave no remote address"
            raise FetchError(msg)
        refusal = self._access.refusal(place)
        if refusal is not None:
            msg = f"as it was signed: {refusal}"
            raise FetchError(msg)
        return place

    def _part(
        self,
        uri: str,
        found: Answer | FetchError,
        span: ByteRange,
        wanted: ByteRange,
        expected: FileInfo | None,
    ) -> memoryview | FetchError:
        """One of the ranges that were read together."""
        start = wanted.offset - span.offset
        try:
            if isinstance(found, BeyondEndError):
                # Where the file was cut since, that is why.
                check_fresh(FileInfo(found.size, None), expected, self.freshness)
            if isinstance(found, FetchError):
                return found
            check_fresh(found.info, expected, self.freshness)
            part = Answer(found.data[start : start + wanted.length], found.info)
            return whole(part, *wanted)
        except FetchError as error:
            return _of_file(error, uri)


@made_once(maxsize=1)
def _requesters() -> concurrent.futures.ThreadPoolExecutor:
    """The process's threads for the further requests of one read."""
    return concurrent.futures.ThreadPoolExecutor(MAX_CONCURRENT, "read-ranges")


def _raised(outcome: Outcome[_Found]) -> _Found:
    if isinstance(outcome.found, FetchError):
        raise outcome.found
    return outcome.found


def _of_file(error: FetchError, uri: str) -> FetchError:
    """The same error, but that it says of which file."""
    told = copy.copy(error)
    told.args = (f"{redact(uri)}: {error}",)
    return told
