"""A collection that changes while it is used: what it is now, looked at on a schedule."""

from __future__ import annotations

import hashlib
import pickle
import threading
import time
import weakref
from typing import TYPE_CHECKING

from rasteret_beam.collection.fragments import list_data_files
from rasteret_beam.collection.records import list_fragments, read_fragment
from rasteret_beam.errors import RasteretBeamError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rasteret_beam.collection.query import CollectionQuery
    from rasteret_beam.elements import DeadLetter, Record


_READS = 3
"""How often a collection is read, at most, that changes meanwhile."""


class Snapshot:
    """The records of a collection at one time.

    Attributes:
        digest: ``collection_digest`` of before they were read.
        records: The records that can be used.
        letters: For each record that was read, what of it cannot be used.
    """

    __slots__ = ("__weakref__", "digest", "letters", "records")

    def __init__(
        self, digest: str, records: list[Record], letters: list[list[DeadLetter]],
    ) -> None:
        """Holds what they are."""
        self.digest, self.records, self.letters = digest, records, letters


def collection_digest(query: CollectionQuery) -> str:
    """Lists a collection's files; gives what changes when one comes, goes or changes.

    No record is read, and no file of a folder is asked for.

    Raises:
        CollectionError: There is none.
        FetchError: It cannot be listed.
    """
    digest = hashlib.blake2b(digest_size=16)
    for file in list_data_files(query.store, query.uri):
        digest.update(repr((file.uri, file.info)).encode())
    return digest.hexdigest()


def query_digest(query: CollectionQuery) -> str:
    """Gives a name to what is asked for. Take it once: equal queries may have several."""
    return hashlib.blake2b(pickle.dumps(query), digest_size=16).hexdigest()


def read_snapshot(query: CollectionQuery, name: str, digest: str) -> Snapshot:
    """Reads the records, once in each process while somebody holds them.

    Args:
        query: Which records.
        name: ``query_digest`` of it (filters can hold what cannot be compared).
        digest: ``collection_digest``.

    Raises:
        CollectionError: Not there, or not a collection.
        BandNotFoundError: A band that no record has.
    """
    with _reading:
        held = _snapshots.get((name, digest))
        if held is None:
            records: list[Record] = []
            letters: list[list[DeadLetter]] = []
            for fragment in list_fragments(query):
                for record, found in read_fragment(query, fragment):
                    letters.append(found)
                    if record is not None:
                        records.append(record)
            held = _snapshots[name, digest] = Snapshot(digest, records, letters)
        return held


class Newest:
    """The newest records of a collection, no older than some time. Thread-safe.

    Looks when somebody asks, so a collection that nobody needs costs nothing. One thread
    looks and reads; the others go on with what there was. What cannot be read leaves
    the old records in place until the next look.
    """

    def __init__(
        self,
        query: CollectionQuery,
        name: str,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Reads nothing yet.

        Args:
            query: Which records.
            name: ``query_digest`` of it.
            seconds: Time between two looks.
            clock: Gives seconds.
        """
        self._query, self._name, self._seconds, self._clock = query, name, seconds, clock
        self._held: Snapshot | None = None
        self._due = float("-inf")
        self._lock = threading.Lock()

    def records(self) -> tuple[Snapshot, RasteretBeamError | OSError | None]:
        """Gives the records; and why the look that was due failed, to who made it.

        Raises:
            CollectionError: There never was a collection.
            BandNotFoundError: Nor one with a band.
        """
        held = self._held
        # Only who comes first has to wait for records.
        if held is not None and (
            self._clock() < self._due or not self._lock.acquire(blocking=False)
        ):
            return held, None
        if held is None:
            self._lock.acquire()
        try:
            return self._look()
        finally:
            self._lock.release()

    def _look(self) -> tuple[Snapshot, RasteretBeamError | OSError | None]:
        if self._held is not None and self._clock() < self._due:
            return self._held, None
        try:
            digest = collection_digest(self._query)
            if self._held is None or digest != self._held.digest:
                self._held = self._read(digest)
        except (RasteretBeamError, OSError) as error:
            if self._held is None:
                raise
            self._due = self._clock() + self._seconds
            return self._held, error
        self._due = self._clock() + self._seconds
        return self._held, None

    def _read(self, digest: str) -> Snapshot:
        """Reads the records; again where files came, went or changed meanwhile.

        A collection's files get their names one after the other, so the records may be of
        two states. Where none was named meanwhile, the next look finds what was wanting.
        """
        for _ in range(_READS - 1):
            before = digest
            try:
                snapshot = read_snapshot(self._query, self._name, before)
                digest = collection_digest(self._query)
                if digest == before:
                    return snapshot
            except (RasteretBeamError, OSError):
                digest = collection_digest(self._query)
                if digest == before:
                    raise
        return read_snapshot(self._query, self._name, digest)


def newest_of(query: CollectionQuery, name: str, seconds: float) -> Newest:
    """Gives the process's own, shared by all who hold it.

    Args:
        query: Which records.
        name: ``query_digest`` of it.
        seconds: Time between two looks.
    """
    with _making:
        found = _newest.get((name, seconds))
        if found is None:
            found = _newest[name, seconds] = Newest(query, name, seconds)
        return found


_snapshots: weakref.WeakValueDictionary[tuple[str, str], Snapshot] = weakref.WeakValueDictionary()
_newest: weakref.WeakValueDictionary[tuple[str, float], Newest] = weakref.WeakValueDictionary()
_reading, _making = threading.Lock(), threading.Lock()
