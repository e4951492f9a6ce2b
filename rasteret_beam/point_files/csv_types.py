"""Texts of a CSV column -> the type whose values are written just so, else text."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

_TIMES = tuple(
    pa.timestamp(unit, zone) for unit in ("s", "ms", "us", "ns") for zone in (None, "UTC")
)
_KINDS = (pa.int64(), pa.float64(), pa.bool_(), pa.date32(), *_TIMES)
"""What a column may be; what is none of these is text."""

_DECIMAL = r"^(0|-?[1-9][0-9]{0,14}|-?(0|[1-9][0-9]{0,14})\.[0-9]+)([eE][-+][0-9]{2,})?$"
"""How programs write floats. 2e7, 007 and numbers of 16 places are rather somebody's ids."""
_NO_DIGITS = r"^-?[0.]*|\.|[eE].*$"
_MOST_EXACT = 2**53
"""Beyond it not every whole number is a float64."""


class ColumnType:
    """The type of a column, as far as its texts were seen.

    ``type`` is null where all were empty. A column of coordinates is of numbers wherever
    its texts can be read as such; of any other each value must be written as it would be
    again, so that no two texts become one.
    """

    def __init__(self, *, coordinates: bool) -> None:
        """Knows nothing yet."""
        self.type: pa.DataType = pa.null()
        self._coordinates = coordinates
        self._is_exact = True
        self._places: set[int] = set()
        self._padded: set[int] = set()

    @property
    def is_exact(self) -> bool:
        """Whether its whole numbers, if it has any, are all float64 too."""
        return self._is_exact

    def look(self, texts: pa.Array) -> None:
        """Takes more of the column's texts into account; null is none."""
        texts = texts.drop_null()
        if self.type == pa.string() or not len(texts):
            return
        kinds = _KINDS if self.type == pa.null() else (self.type,)
        if self.type == pa.int64() and self._is_exact:
            kinds = (pa.int64(), pa.float64())
        self.type = next((kind for kind in kinds if self._fits(texts, kind)), pa.string())

    def _fits(self, texts: pa.Array, kind: pa.DataType) -> bool:
        if kind != pa.float64():
            if not _are_written_so(texts, kind):
                return False
            if kind == pa.int64():
                ends = pc.min_max(pc.cast(texts, kind)).as_py()
                self._is_exact &= -_MOST_EXACT <= ends["min"] <= ends["max"] <= _MOST_EXACT
                self._places.add(0)
            return True
        if self._coordinates:
            return _are_numbers(texts)
        return _are_decimals(texts) and self._are_distinct(texts)

    def _are_distinct(self, texts: pa.Array) -> bool:
        """Whether decimals that are written otherwise are others: 1.10 is 1.1, 1.0 is 1."""
        texts = texts.filter(pc.invert(pc.match_substring(texts, "e", ignore_case=True)))
        point = pc.find_substring(texts, ".")
        after = pc.subtract(pc.subtract(pc.binary_length(texts), point), 1)
        places = pc.if_else(pc.less(point, 0), 0, after)
        ends = pc.and_(pc.ends_with(texts, "0"), pc.greater(places, 0))
        self._places.update(pc.unique(places).to_pylist())
        self._padded.update(pc.unique(places.filter(ends)).to_pylist())
        if self._padded - {1}:
            return len(self._places) == 1
        return not self._padded or 0 not in self._places


def as_types(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Gives texts as values of the columns' types."""
    columns = [
        _typed(column, schema.field(name).type)
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, batch.schema.names)


def _typed(texts: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_null(kind):
        return pa.nulls(len(texts))
    if pa.types.is_floating(kind):
        texts = pc.utf8_trim_whitespace(texts)
    return pc.cast(texts, kind)


def _are_written_so(texts: pa.Array, kind: pa.DataType) -> bool:
    try:
        written = pc.cast(pc.cast(texts, kind), pa.string())
    except pa.ArrowInvalid:
        return False
    if pa.types.is_boolean(kind):
        texts = pc.utf8_lower(texts)
    elif pa.types.is_timestamp(kind):
        texts = pc.replace_substring(texts, "T", " ")
    return bool(pc.all(pc.equal(written, texts)).as_py())


def _are_numbers(texts: pa.Array) -> bool:
    try:
        _typed(texts, pa.float64())
    except pa.ArrowInvalid:
        return False
    return True


def _are_decimals(texts: pa.Array) -> bool:
    """Whether floats have all the digits that the texts have."""
    if not pc.all(pc.match_substring_regex(texts, _DECIMAL)).as_py():
        return False
    written = pc.cast(pc.cast(texts, pa.float64()), pa.string())
    return bool(pc.all(pc.equal(_digits(written), _digits(texts))).as_py())


def _digits(texts: pa.Array) -> pa.Array:
    return pc.utf8_rtrim(pc.replace_substring_regex(texts, _NO_DIGITS, ""), "0")
