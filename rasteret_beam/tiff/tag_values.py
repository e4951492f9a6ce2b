"""Tags -> values of the type that the specification gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rasteret_beam.errors import MalformedTiffError, UnsupportedTiffError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rasteret_beam.tiff.tags import PlanarConfiguration, Predictor, Tag


class TagValues:
    """The tags of one image directory, checked as they are asked for.

    Whatever is asked for, a value of another type is a ``MalformedTiffError`` with the tag
    and the value.
    """

    def __init__(self, tags: Mapping[int, Any]) -> None:
        """Takes the tags as they were read."""
        self._tags = tags

    def __contains__(self, tag: Tag) -> bool:
        """Tells whether the file has a tag."""
        return tag in self._tags

    def get(self, tag: Tag) -> Any:  # noqa: ANN401 -- as it was read
        """Gives a value as it was read, or None."""
        return self._tags.get(tag)

    def integers(self, tag: Tag) -> tuple[int, ...]:
        """Gives whole numbers from 0 on; () where there is no such tag."""
        values = self._values(tag)
        if len(values) == 1 and type(values[0]) is int and values[0] >= 0:
            return (values[0],)
        try:
            numbers = tuple(int(v) for v in values)
        except (TypeError, ValueError, OverflowError):
            numbers = (-1,)
        if any(n < 0 or n != v for n, v in zip(numbers, values, strict=False)):
            found = values[0] if len(values) == 1 else values
            msg = f"{tag.name} is {found!r:.80}, expected a whole number"
            raise MalformedTiffError(msg)
        return numbers

    def optional_integer(self, tag: Tag) -> int | None:
        """Gives the first of them, or None."""
        return next(iter(self.integers(tag)), None)

    def integer(self, tag: Tag, default: int) -> int:
        """Gives the first of them, or what stands for a tag that is not there."""
        number = self.optional_integer(tag)
        return default if number is None else number

    def size(self, tag: Tag) -> int:
        """Gives a number of pixels; a tag that must be there."""
        number = self.optional_integer(tag)
        if not number or number >= 2**31:  # 0, missing, or no image anyone wrote
            msg = f"{tag.name} is {number}, expected 1 to 2147483647"
            raise MalformedTiffError(msg)
        return number

    def one_of(self, tag: Tag, enumeration: type[PlanarConfiguration | Predictor]) -> int:
        """Gives a choice that is read; 1 stands for a tag that is not there."""
        number = self.integer(tag, 1)
        if number not in list(enumeration):
            msg = f"{tag.name} is {number}, expected one of {[int(v) for v in enumeration]}"
            raise UnsupportedTiffError(msg)
        return number

    def table(self, tag: Tag) -> np.ndarray:
        """Gives file positions or lengths: int64, one dimension, from 0 on."""
        try:
            table = np.asarray(self._values(tag), np.int64)
        except (TypeError, ValueError, OverflowError) as error:
            msg = f"{tag.name} is no table of file positions: {error}"
            raise MalformedTiffError(msg) from error
        if table.ndim != 1 or (table < 0).any():
            msg = f"{tag.name} holds a position that is negative or beyond 2**63"
            raise MalformedTiffError(msg)
        return table

    def floats(self, tag: Tag) -> tuple[float, ...]:
        """Gives numbers; () where there is no such tag."""
        try:
            return tuple(float(v) for v in self._values(tag))
        except (TypeError, ValueError) as error:
            msg = f"{tag.name} holds what is no number: {error}"
            raise MalformedTiffError(msg) from error

    def _values(self, tag: Tag) -> Sequence[Any]:
        value: Any = self._tags.get(tag)
        if value is None:
            return ()
        return value if isinstance(value, (tuple, list, np.ndarray)) else (value,)  # type: ignore[return-value]
