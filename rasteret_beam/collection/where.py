"""Conditions on columns -> Arrow expressions, that mean of null what SQL does."""

from __future__ import annotations

import datetime as dt
import functools
import operator
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from rasteret_beam.arrow_types import comparable, without_views
from rasteret_beam.collection.condition import (
    Among,
    Column,
    Comparison,
    Is,
    Joined,
    Not,
    read_condition,
)
from rasteret_beam.collection.instants import instant_scalar, parse_instant
from rasteret_beam.errors import CollectionError, OptionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rasteret_beam.collection.condition import Condition, Value

_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def parse_where(text: str, schema: pa.Schema) -> pc.Expression:
    """Gives a condition as an expression; where it does not hold, this is false or null.

    Args:
        text: The condition, as ``read_condition`` knows it.
        schema: The columns that it may name.

    Raises:
        OptionError: It cannot be read as one.
        CollectionError: A column is not there, or is of another type than its value.
    """
    return _Builder(text, schema).build(read_condition(text), negated=False)


class _Builder:
    def __init__(self, text: str, schema: pa.Schema) -> None:
        self._text, self._schema = text, schema

    def build(self, condition: Condition, *, negated: bool) -> pc.Expression:
        """Carries ``not`` down to where Arrow's meaning of null is not SQL's."""
        if isinstance(condition, Not):
            return self.build(condition.condition, negated=not negated)
        if isinstance(condition, Joined):
            terms = [self.build(one, negated=negated) for one in condition.conditions]
            join = operator.and_ if condition.every != negated else operator.or_
            return functools.reduce(join, terms)
        if isinstance(condition, Comparison):
            found = self._comparison(condition)
            return ~found if negated else found
        if isinstance(condition, Among):
            return self._among(condition, negated=negated)
        if isinstance(condition, Is):
            return self._is(condition, negated=negated)
        flag = self._flag(condition)
        return ~flag if negated else flag

    def _among(self, condition: Among, *, negated: bool) -> pc.Expression:
        field, kind = self._field(condition.column)
        found = field.isin(self._set(condition, kind))
        # Of null SQL does not know whether it is among them; Arrow says no.
        return field.is_valid() & ~found if negated else found

    def _is(self, condition: Is, *, negated: bool) -> pc.Expression:
        if condition.value is None:
            field, _ = self._field(condition.column)
            return field.is_valid() if negated else field.is_null()
        flag = self._flag(condition.column)
        if negated:
            return flag.is_null() | (~flag if condition.value else flag)
        return flag if condition.value else ~flag

    def _comparison(self, condition: Comparison) -> pc.Expression:
        left = self._side(condition.left, condition.right)
        return _COMPARISONS[condition.sign](left, self._side(condition.right, condition.left))

    def _side(self, side: Column | Value, other: Column | Value) -> pc.Expression:
        if isinstance(side, Column):
            return self._field(side)[0]
        if not isinstance(other, Column):
            msg = f"{side!r} is compared with {other!r}: neither is a column"
            raise TypeError(msg)
        return pc.scalar(self._typed(other, self._field(other)[1], side))

    def _set(self, condition: Among, kind: pa.DataType) -> pa.Array:
        typed = [self._typed(condition.column, kind, value) for value in condition.values]
        if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            return pa.array([float(scalar.as_py()) for scalar in typed])
        if not pa.types.is_integer(kind):
            return pa.array(typed)
        # A number that such a column cannot hold is none of its values; Arrow would cut it.
        low, high = _range_of(kind)
        numbers = [scalar.as_py() for scalar in typed]
        return pa.array([int(n) for n in numbers if n % 1 == 0 and low <= n <= high], kind)

    def _typed(self, column: Column, kind: pa.DataType, value: Value) -> pa.Scalar:
        """A value as a column's type compares with it."""
        expected, fits = _expected(kind)
        if not isinstance(value, fits) or isinstance(value, bool) != (fits is bool):
            raise self._misfit(column, kind, expected, value)
        try:
            if pa.types.is_timestamp(kind):
                return instant_scalar(str(value), kind)
            if pa.types.is_date(kind):
                when = parse_instant(str(value))
                if when.time() != dt.time():
                    raise self._misfit(column, kind, "a day", value)
                return pa.scalar(when.date(), kind)
            return pa.scalar(value)
        except OptionError as error:
            raise self._misfit(column, kind, "YYYY-MM-DD or RFC 3339", value) from error
        except OverflowError as error:
            raise self._misfit(column, kind, "a number of 64 bits", value) from error

    def _flag(self, column: Column) -> pc.Expression:
        field, kind = self._field(column)
        if not pa.types.is_boolean(kind):
            name = ".".join(column.path)
            msg = f"where={self._text!r}: column {name!r} is {kind}, and so neither true nor false"
            raise CollectionError(msg)
        return field

    def _field(self, column: Column) -> tuple[pc.Expression, pa.DataType]:
        name, *members = column.path
        if name not in self._schema.names:
            columns = self._schema.names
            msg = f"where={self._text!r} names column {name!r}; its columns are {columns}"
            raise CollectionError(msg)
        kind = self._schema.field(name).type
        for member in members:
            at = kind.get_field_index(member) if pa.types.is_struct(kind) else -1
            if at < 0:
                msg = f"where={self._text!r} names {'.'.join(column.path)!r}; {name!r} is {kind}"
                raise CollectionError(msg)
            kind = kind.field(at).type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        return comparable(kind, name, *members), without_views(kind)

    def _misfit(
        self, column: Column, kind: pa.DataType, expected: str, value: Value,
    ) -> CollectionError:
        name = ".".join(column.path)
        return CollectionError(
            f"where={self._text!r}: column {name!r} is {kind}; expected {expected}, got {value!r}",
        )


def _expected(kind: pa.DataType) -> tuple[str, Any]:
    """What a column of a type is compared with, in words and in Python."""
    if pa.types.is_boolean(kind):
        return "true or false", bool
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "a number", (int, float)
    if pa.types.is_null(kind):
        return "a value", (str, int, float)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return "a quoted date or time", str
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "quoted text", str
    return "nothing that can be written here; give a pyarrow expression", ()


def _range_of(kind: pa.DataType) -> tuple[int, int]:
    bits = kind.bit_width
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if pa.types.is_signed_integer(kind) else (
        0, (1 << bits) - 1,
    )
