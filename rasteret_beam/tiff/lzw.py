"""LZW streams (TIFF 6.0, section 13) -> bytes, also by decoders that trust the stream."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import imagecodecs
import numpy as np

from rasteret_beam.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Callable

    Stored = bytes | memoryview

_CLEAR, _END, _FIRST_STRING = 256, 257, 258
_CLEAR_BITS = 9
_TABLE_SIZE = 5120
"""Strings that imagecodecs has room for; it refuses streams that make more."""

_WIDEST_BITS, _WORD_BITS = 12, 24
_STEPS = (64, 512, _TABLE_SIZE)
"""Codes that are looked at together, until the table is cleared."""

_LEAST_CLEARS, _BYTES_PER_CLEAR = 1000, 64
_FIRST_SOUND = (2026, 8, 16)
"""Versions of imagecodecs before it look for the string of such a code wherever memory points,
which can end the process; for Python 3.11 and 3.10 there are no later ones."""

# Its stub knows fewer kinds of bytes than it takes.
_lzw_decode: Callable[..., Any] = imagecodecs.lzw_decode

_IS_TRUSTING = tuple(int(part) for part in imagecodecs.__version__.split(".")[:3]) < _FIRST_SOUND


def decode(data: Stored, size: int) -> np.ndarray:
    """Decodes the first bytes of a stream.

    Args:
        data: The stream.
        size: How many bytes are wanted.

    Returns:
        uint8, shape (n_bytes,): fewer than ``size`` where the stream ends before.

    Raises:
        DecodeError: The stream is broken.
        RuntimeError: imagecodecs says that it is.
    """
    wrong = wrong_code(data) if _IS_TRUSTING else None
    sound = data if wrong is None else _ended(data, wrong.bit)
    found = np.asarray(_lzw_decode(sound, out=np.empty(size, np.uint8)))
    if wrong is not None and len(found) < size:
        msg = f"LZW code {wrong.code} follows a clear code, where only 0 to 255 can"
        raise DecodeError(msg)
    return found


class WrongCode(NamedTuple):
    """A code of a string, where there are no strings.

    Attributes:
        code: The code.
        bit: Where it begins.
    """

    code: int
    bit: int


def wrong_code(data: Stored) -> WrongCode | None:
    """Finds the first code behind a clear code that is of a string.

    Args:
        data: A stream, which begins with a clear code.

    Returns:
        The code; None where there is none.

    Raises:
        DecodeError: Codes are cleared so often that nothing is compressed.
    """
    bits = _Bits(data)
    at = _CLEAR_BITS
    for _ in range(_LEAST_CLEARS + len(data) // _BYTES_PER_CLEAR):
        first, behind = bits.until_clear(at)
        if first is not None and first >= _FIRST_STRING:
            return WrongCode(first, at)
        if behind is None:
            return None
        at = behind
    msg = f"LZW stream that clears its codes too often in its first {at // 8} bytes"
    raise DecodeError(msg)


def _is_old(data: Stored) -> bool:
    """Whether bits are in the order of old writers, who also widen codes one code later."""
    return len(data) > 1 and data[0] == 0 and data[1] & 1 == 1


def _ended(data: Stored, bit: int) -> bytearray:
    """The stream with the end code at a bit where it had another code of nine bits."""
    start = bit // 8
    found = bytearray(data[: start + _WORD_BITS // 8])
    is_old = _is_old(data)
    order: Literal["little", "big"] = "little" if is_old else "big"
    shift = bit % 8 if is_old else _WORD_BITS - _CLEAR_BITS - bit % 8
    word = int.from_bytes(found[start:].ljust(_WORD_BITS // 8, b"\0"), order)
    word = word & ~(((1 << _CLEAR_BITS) - 1) << shift) | _END << shift
    found[start:] = word.to_bytes(_WORD_BITS // 8, order)
    return found


class _Bits:
    """A stream as codes."""

    def __init__(self, data: Stored) -> None:
        """Puts bytes together by three, so that each code is within one number."""
        self._n_bits = 8 * len(data)
        self._is_old = _is_old(data)
        one = np.frombuffer(bytes(data) + bytes(2), np.uint8).astype(np.uint32)
        three = one[2:]
        self._words = (
            one[:-2] | one[1:-1] << 8 | three << 16 if self._is_old
            else one[:-2] << 16 | one[1:-1] << 8 | three
        )  # fmt: skip

    def until_clear(self, at: int) -> tuple[int | None, int | None]:
        """Reads codes from a bit on, where the table is empty.

        Returns:
            The first code, if there is one, and the bit behind the next clear code; None
            where the stream ends before, by its end code or its bytes.
        """
        ends, byte, shift, mask = _places(at % 8, is_old=self._is_old)
        words = self._words[at // 8 :]
        n_codes = int(np.searchsorted(ends, self._n_bits - at, side="right"))
        first = int(words[0] >> shift[0] & mask[0]) if n_codes else None
        done = 0
        for step in _STEPS:
            part = slice(done, min(step, n_codes))
            codes = words.take(byte[part]) >> shift[part] & mask[part]
            # The clear code and the end code differ in their last bit.
            stops = np.flatnonzero(codes >> 1 == _CLEAR >> 1)
            if len(stops):
                stop = int(stops[0])
                return first, None if codes[stop] == _END else at + int(ends[done + stop])
            done = step
        return first, None


@functools.cache
def _places(
    bit: int, *, is_old: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Where codes are behind a clear code that ends at a bit of a byte.

    The first one makes no string, every other one does; codes are widened when the table has
    511, 1023 and 2047 entries, or one more.

    Returns:
        Where each ends, in bits from there; its first byte; how its bytes are to be shifted,
        and what of them is to be kept.
    """
    n_strings = np.maximum(np.arange(_TABLE_SIZE - _FIRST_STRING) - 1, 0) + _FIRST_STRING
    widths = np.full(len(n_strings), _CLEAR_BITS)
    for width in range(_CLEAR_BITS, _WIDEST_BITS):
        widths += n_strings >= (1 << width) - 1 + is_old
    ends = np.cumsum(widths)
    starts = ends - widths + bit
    shift = starts % 8 if is_old else _WORD_BITS - starts % 8 - widths
    return ends, starts // 8, shift.astype(np.uint32), ((1 << widths) - 1).astype(np.uint32)
