"""What to run again: dead letters of an earlier run -> tiles, records and points."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from rasteret_beam.elements import stages
from rasteret_beam.errors import FetchError, ReplayError
from rasteret_beam.storage import redact
from rasteret_beam.storage.addresses import is_hidden
from rasteret_beam.storage.files import arrow_filesystem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rasteret_beam.storage import Store

WHOLE = -1
"""In place of a tile's number: everything of a record's band."""

_SUFFIXES = (".jsonl", ".jsonl.gz")
_WHOLE_FILE_CODES = ("STALE_INDEX",)
"""The file is another now: its tiles may be others too."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Replay:
    """What dead letters name. A few bytes a letter: there may be millions.

    Attributes:
        points: int64, ascending: ``point_index`` of rows that held no point.
        sources: uint64, shape (n_tiles,), ascending: ``source_digest`` of each tile's
            record and band.
        grids: int64, same shape: ``Grid.digest()`` of the grid that its number is of.
        tiles: int64, same shape: its number, or ``WHOLE``.
        bands: Names of the bands.
        n_letters: How many letters there were.
    """

    points: np.ndarray
    sources: np.ndarray
    grids: np.ndarray
    tiles: np.ndarray
    bands: frozenset[str]
    n_letters: int

    def tiles_of(self, record_id: str, band: str, grid: int) -> np.ndarray | None:
        """Gives what of a record's band is to run again.

        Args:
            record_id: The record.
            band: The band.
            grid: Digest of the grid that its pixels lie on now.

        Returns:
            int64, ascending: numbers of tiles; None for everything, also where tiles are
            named of another grid: those numbers tell nothing any more.
        """
        key = source_digest(record_id, band)
        mine = slice(*(int(np.searchsorted(self.sources, key, side)) for side in ("left", "right")))
        tiles = self.tiles[mine]
        if (tiles == WHOLE).any() or (self.grids[mine] != grid).any():
            return None
        return tiles


class _Named(NamedTuple):
    """What one letter names."""

    points: tuple[int, ...] = ()
    tiles: tuple[tuple[str, str, int, int], ...] = ()


def source_digest(record_id: str, band: str) -> np.uint64:
    """Gives a 64-bit number for a record's band, the same in every process."""
    text = repr((record_id, band)).encode()
    return np.uint64(int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big"))


def list_letters(store: Store, uri: str) -> list[str]:
    """Lists the files of dead letters.

    Args:
        store: How files are read.
        uri: What ``WriteDeadLetters`` wrote to; or one file, or a pattern.

    Raises:
        ReplayError: There is no file.
    """
    try:
        if uri.endswith(_SUFFIXES):
            return store.glob(uri)
        # JSON lines, but not those of hidden or unfinished folders.
        found = [
            file.uri for file in store.list_below(uri)
            if file.name.endswith(_SUFFIXES) and not is_hidden(file.name)
        ]  # fmt: skip
    except FetchError as error:
        msg = f"dead letters: {error}"
        raise ReplayError(msg) from error
    if not found:
        msg = f"{redact(uri)}: no dead letters (*.jsonl) below it: there is nothing to replay"
        raise ReplayError(msg)
    return found


def read_letters(store: Store, uri: str) -> Replay:
    """Reads one file of dead letters.

    Raises:
        ReplayError: It cannot be read, or holds what is no dead letter of sampling.
    """
    filesystem, path = arrow_filesystem(store, uri)
    named: list[_Named] = []
    try:
        with filesystem.open_input_stream(path) as stream:
            for number, line in enumerate(io.TextIOWrapper(stream, "utf-8"), 1):
                if line.strip():
                    named.append(_parsed(line, f"{redact(uri)}, line {number}"))
    except (pa.ArrowException, FetchError, OSError, UnicodeDecodeError) as error:
        msg = f"{redact(uri)}: cannot be read as dead letters: {error}"
        raise ReplayError(msg) from error
    return _replay(named)


def merge(replays: Iterable[Replay]) -> Replay:
    """Gives what several files of dead letters name together."""
    every = [_replay([]), *replays]
    n_letters = sum(one.n_letters for one in every)
    bands = frozenset().union(*(one.bands for one in every))
    columns = [
        np.concatenate([getattr(one, name) for one in every])
        for name in ("points", "sources", "grids", "tiles")
    ]
    return _ordered(columns[0], columns[1:], bands, n_letters)


def check(replay: Replay, bands: tuple[str, ...]) -> Replay:
    """Refuses a replay that would leave something out.

    Args:
        replay: What to run again.
        bands: What is sampled.

    Raises:
        ReplayError: There is nothing, or letters name other bands.
    """
    if not replay.n_letters:
        msg = "The dead letters are empty files: there is nothing to replay"
        raise ReplayError(msg)
    others = sorted(replay.bands - set(bands))
    if others:
        msg = (
            f"The dead letters name bands {others}, sampled are {list(bands)}: "
            "give the options of the run that left them"
        )
        raise ReplayError(msg)
    return replay


def _replay(named: list[_Named]) -> Replay:
    tiles = [tile for one in named for tile in one.tiles]
    sources = np.array([source_digest(record, band) for record, band, _, _ in tiles], np.uint64)
    numbers = np.array([tile[2:] for tile in tiles], np.int64).reshape(-1, 2)
    index = np.array([point for one in named for point in one.points], np.int64)
    bands = frozenset(tile[1] for tile in tiles)
    return _ordered(index, [sources, numbers[:, 0], numbers[:, 1]], bands, len(named))


def _ordered(
    index: np.ndarray, columns: list[np.ndarray], bands: frozenset[str], n_letters: int,
) -> Replay:
    sources, grids, tiles = columns
    order = np.lexsort((tiles, sources))
    sources, grids, tiles = sources[order], grids[order], tiles[order]
    return Replay(np.unique(index), sources, grids, tiles, bands, n_letters)


def _parsed(line: str, where: str) -> _Named:
    """What a line names."""
    try:
        letter = json.loads(line)
        stage, element = letter["stage"], json.loads(letter["element"])
        reader = _READERS.get(stage)
        if reader is not None:
            return reader(element, letter["code"])
    except (ValueError, TypeError, KeyError) as error:
        what = f"lacks {error}" if isinstance(error, KeyError) else error
        msg = f"{where}: no dead letter of sampling ({what}): {line.strip():.80}"
        raise ReplayError(msg) from error
    msg = (
        f"{where}: a dead letter of {stage!r}, expected one of {', '.join(_READERS)}; what could "
        "not be indexed is tried again by build_collection with --mode update"
    )
    raise ReplayError(msg)


def _tile(element: dict[str, Any], code: str) -> _Named:
    number, grid = (WHOLE, 0) if code in _WHOLE_FILE_CODES else (element["tile"], element["grid"])
    return _Named(tiles=tuple(_tiles(element, int(grid), int(number))))


def _record(element: dict[str, Any], _code: str) -> _Named:
    return _Named(tiles=tuple(_tiles(element, 0, WHOLE)))


def _point(element: dict[str, Any], _code: str) -> _Named:
    return _Named(points=(int(element["point_index"]),))


def _tiles(
    element: dict[str, Any], grid: int, number: int,
) -> Iterator[tuple[str, str, int, int]]:
    for band in element["bands"]:
        yield str(element["record_id"]), str(band), grid, number


_READERS: dict[str, Callable[[dict[str, Any], str], _Named]] = {
    stages.TILES: _tile, stages.RECORDS: _record, stages.POINTS: _point,
}  # fmt: skip
