"""Files by URI for libraries that want a file object or a filesystem."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.fs as pafs

from rasteret_beam.errors import FetchError
from rasteret_beam.storage.addresses import local_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rasteret_beam.elements import FileInfo
    from rasteret_beam.storage.store import Store

HEADER_BYTES = 32 * 1024
"""First read of a file: holds the header and tile tables of most COGs."""

_BLOCK_BYTES = 128 * 1024
_PREFETCH_GAP_BYTES = 1024 * 1024
_MAX_PREFETCH_BYTES = 64 * 1024 * 1024
_MAX_READ_BYTES = 1024 * 1024 * 1024


class BeyondHeadError(Exception):
    """More of a file is needed than its first bytes."""


class HeadFile(io.BytesIO):
    """The first bytes of a file, as a file: a read beyond them is refused, not cut short."""

    def __init__(self, head: bytes, size: int) -> None:
        """Opens the bytes.

        Args:
            head: The file's first bytes.
            size: Of the whole file, in bytes.
        """
        super().__init__(head)
        self._length, self._size = len(head), size

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Moves to a position of the whole file."""
        if whence == io.SEEK_END:
            return super().seek(max(self._size + offset, 0))
        return super().seek(offset, whence)

    def read(self, size: int | None = -1) -> bytes:
        """Reads up to ``size`` bytes.

        Raises:
            BeyondHeadError: They are not among the first.
        """
        at = self.tell()
        end = self._size if size is None or size < 0 else min(at + size, self._size)
        if end > max(at, self._length):
            raise BeyondHeadError
        return super().read(size)


class RangeFile(io.RawIOBase):
    """A read-only file over ranged reads, remembering what it read.

    Attributes:
        info: The file's size and ETag.
    """

    def __init__(
        self,
        store: Store,
        uri: str,
        *,
        first_read_bytes: int = HEADER_BYTES,
        head: tuple[bytes, FileInfo] | None = None,
    ) -> None:
        """Opens the file with one read, or with what ``Store.read_start`` gave of it.

        Raises:
            FetchError: Not found or not allowed.
        """
        super().__init__()
        self._store, self._uri, self._at = store, uri, 0
        data, self.info = store.read_start(uri, first_read_bytes) if head is None else head
        self._blocks: list[tuple[int, bytes]] = [(0, data)]

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Gives the position, in bytes."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Moves to a position; beyond the end is allowed, as in plain files."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.info.size}[whence]
        self._at = max(base + offset, 0)
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Reads up to ``size`` bytes, fewer only at the end.

        Raises:
            FetchError: The bytes cannot be had, or more than 1 GiB is asked for.
        """
        rest = max(self.info.size - self._at, 0)
        wanted = rest if size is None or size < 0 else min(size, rest)
        if wanted == 0:
            return b""
        if wanted > _MAX_READ_BYTES:
            msg = f"A read of {wanted} bytes is more than a file's tables can need"
            raise FetchError(msg)
        data = self._known(wanted)
        if data is None:
            length = min(max(wanted, _BLOCK_BYTES), rest)
            block = self._store.read(self._uri, self._at, length)
            # The first block keeps the header; of the rest only the newest is kept.
            self._blocks = [self._blocks[0], (self._at, block)]
            data = block[:wanted]
        self._at += wanted
        return data

    def prefetch(self, spans: Sequence[tuple[int, int]]) -> None:
        """Reads what will be asked for with one request, where it lies close together.

        Args:
            spans: (offset, length), in bytes.

        Raises:
            FetchError: The bytes cannot be had.
        """
        known = len(self._blocks[0][1])
        beyond = [(offset, length) for offset, length in spans if offset + length > known]
        start = min((offset for offset, _ in beyond), default=0)
        end = min(max((offset + length for offset, length in beyond), default=0), self.info.size)
        wanted = sum(length for _, length in beyond)
        if 0 < end - start <= min(wanted + _PREFETCH_GAP_BYTES, _MAX_PREFETCH_BYTES):
            block = self._store.read(self._uri, start, end - start)
            self._blocks = [self._blocks[0], (start, block)]

    def _known(self, wanted: int) -> bytes | None:
        for start, block in self._blocks:
            if start <= self._at and self._at + wanted <= start + len(block):
                return block[self._at - start : self._at - start + wanted]
        return None

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 -- io's own signature
        """Fills a buffer; the number of bytes read."""
        view = memoryview(buffer)
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)


class _Handler(pafs.FileSystemHandler):
    """pyarrow's filesystem face over ``Store``; read-only."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Handler) and self._store == other._store

    def __hash__(self) -> int:
        return hash(self._store)

    def get_type_name(self) -> str:
        return "rasteret_beam"

    def get_file_info(self, paths: list[str]) -> list[pafs.FileInfo]:
        return [_arrow_info(path, self._store.info(path)) for path in paths]

    def open_input_file(self, path: str) -> pa.PythonFile:
        return pa.PythonFile(RangeFile(self._store, path, first_read_bytes=1), mode="r")

    open_input_stream = open_input_file

    def normalize_path(self, path: str) -> str:
        return path


def _refused(name: str) -> object:
    def method(self: _Handler, *_args: object, **_kwargs: object) -> None:
        msg = f"{type(self).__name__}.{name}: this filesystem only reads"
        raise PermissionError(msg)

    return method


for _name in (
    "create_dir", "delete_dir", "delete_dir_contents", "delete_root_dir_contents",
    "delete_file", "move", "copy_file", "open_output_stream", "open_append_stream",
    "get_file_info_selector",
):  # fmt: skip
    setattr(_Handler, _name, _refused(_name))
_Handler.__abstractmethods__ = frozenset()


def _arrow_info(path: str, info: FileInfo | None) -> pafs.FileInfo:
    if info is None:
        return pafs.FileInfo(path, pafs.FileType.NotFound)
    return pafs.FileInfo(path, pafs.FileType.File, size=info.size)


def arrow_filesystem(store: Store, uri: str) -> tuple[pafs.FileSystem, str]:
    """Gives the filesystem through which pyarrow reads a URI, and the path in it."""
    path = local_path(uri)
    if path is not None:
        return pafs.LocalFileSystem(), str(path)
    return pafs.PyFileSystem(_Handler(store)), uri
