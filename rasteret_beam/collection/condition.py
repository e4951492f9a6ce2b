"""Text of a condition on columns -> what it says; SQL's meaning, or a refusal."""

from __future__ import annotations

import re
from typing import NamedTuple, NoReturn

from rasteret_beam.errors import OptionError

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<text>'(?:[^']|'')*'|"(?:[^"]|"")*")
    |(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))
    |(?P<name>[^\W\d][\w-]*(?::[\w-]+)+|[^\W\d]\w*)
    |(?P<sign><=|>=|<>|!=|==|[=<>()\[\],.+-])
    |(?P<end>$)
    )""",
    re.VERBOSE,
)
_WORDS = frozenset({"and", "or", "not", "in", "is", "null", "none", "true", "false"})
_CONSTANTS = {"null": None, "none": None, "true": True, "false": False}
_COMPARISONS = {"=": "==", "==": "==", "!=": "!=", "<>": "!=", "<": "<", "<=": "<=", ">": ">",
                ">=": ">="}  # fmt: skip
_CLOSING = {"(": ")", "[": "]"}

Value = str | float | bool


class Column(NamedTuple):
    """A column, or a member of a struct; as a condition: that it is true."""

    path: tuple[str, ...]


class Comparison(NamedTuple):
    """Two sides, one a column at least; ``sign`` is Python's."""

    sign: str
    left: Column | Value
    right: Column | Value


class Among(NamedTuple):
    """A column is one of some values."""

    column: Column
    values: tuple[Value, ...]


class Is(NamedTuple):
    """A column is null, true or false; this is never unknown."""

    column: Column
    value: bool | None


class Not(NamedTuple):
    """What another condition is not."""

    condition: Condition


class Joined(NamedTuple):
    """All of some conditions, or any of them."""

    every: bool
    conditions: tuple[Condition, ...]


Condition = Column | Comparison | Among | Is | Not | Joined


def read_condition(text: str) -> Condition:
    """Reads a condition; nothing in it is ever executed.

    Comparisons (``= == != <> < <= > >=``), ``in (…)``, ``not in (…)``, ``is [not] null``,
    ``is [not] true`` and ``false``, ``and``, ``or``, ``not``, brackets, numbers, quoted
    text (a quote in it is written twice), true and false. Columns are written as they
    are (``eo:cloud_cover``), struct members with a dot (``bbox.xmin``).

    Args:
        text: The condition.

    Returns:
        What it says.

    Raises:
        OptionError: It is none of these.

    >>> read_condition("fold in ('a')")
    Among(column=Column(path=('fold',)), values=('a',))
    """
    try:
        return _Reader(text).whole()
    except RecursionError:
        msg = f"where={text[:40]!r}… is no condition: its brackets are too deep to read"
        raise OptionError(msg) from None


class _Reader:
    """Reads from left to right; the words bind as in SQL: not, and, or."""

    def __init__(self, text: str) -> None:
        self._text, self._at, place = text, 0, 0
        self._tokens: list[tuple[str, str]] = []
        while not self._tokens or self._tokens[-1][0] != "end":
            found = _TOKEN.match(text, place)
            if found is None:
                self._refuse(f"cannot read {text[place:].strip()!r:.40}")
            kind, place = str(found.lastgroup), found.end()
            word = found.group(kind)
            if kind == "name" and word.lower() in _WORDS:
                kind, word = "word", word.lower()
            self._tokens.append((kind, word))

    def whole(self) -> Condition:
        condition = self._any()
        if self._tokens[self._at][0] != "end":
            self._miss("'and', 'or' or the end")
        return condition

    def _any(self) -> Condition:
        terms = [self._every()]
        while self._takes("or"):
            terms.append(self._every())
        return terms[0] if len(terms) == 1 else Joined(every=False, conditions=tuple(terms))

    def _every(self) -> Condition:
        terms = [self._one()]
        while self._takes("and"):
            terms.append(self._one())
        return terms[0] if len(terms) == 1 else Joined(every=True, conditions=tuple(terms))

    def _one(self) -> Condition:
        if self._takes("not"):
            return Not(self._one())
        left: Column | Value
        if self._takes("("):
            inner = self._any()
            self._needs(")")
            if not isinstance(inner, Column):
                return inner
            left = inner
        else:
            left = self._side()
        sign = _COMPARISONS.get(self._tokens[self._at][1])
        if sign is not None:
            self._at += 1
            return self._comparison(sign, left, self._side())
        if not isinstance(left, Column):
            self._refuse(f"{left!r} is compared with nothing")
        if self._takes("is"):
            negated = self._takes("not")
            condition: Condition = Is(left, self._constant())
            return Not(condition) if negated else condition
        negated = self._takes("not")
        if self._takes("in"):
            condition = Among(left, self._values())
            return Not(condition) if negated else condition
        if negated:
            self._miss("'in'")
        return left

    def _comparison(
        self, sign: str, left: Column | Value, right: Column | Value,
    ) -> Comparison:
        if not isinstance(left, Column) and not isinstance(right, Column):
            self._refuse(f"{left!r} {sign} {right!r} names no column (without quotes)")
        if self._tokens[self._at][1] in _COMPARISONS:
            self._refuse("two comparisons in a row; join them with 'and'")
        return Comparison(sign, left, right)

    def _side(self) -> Column | Value:
        """A column or a value; also in brackets."""
        kind, word = self._tokens[self._at]
        if kind == "name":
            return self._column()
        if word == "(":
            self._at += 1
            side = self._side()
            self._needs(")")
            return side
        if kind != "number" and word not in (*_CONSTANTS, "-", "+") and kind != "text":
            self._miss("a column or a value")
        return self._value()

    def _column(self) -> Column:
        path: list[str] = []
        while not path or self._takes("."):
            kind, word = self._tokens[self._at]
            if kind != "name":
                self._miss("a name")
            path.append(word)
            self._at += 1
        return Column(tuple(path))

    def _value(self) -> Value:
        sign = -1 if self._takes("-") else 1
        signed = sign < 0 or self._takes("+")
        kind, word = self._tokens[self._at]
        self._at += 1
        if kind == "number":
            return sign * (int(word) if word.isdigit() else float(word))
        if kind == "text" and not signed:
            return word[1:-1].replace(word[0] * 2, word[0])
        if word in ("true", "false") and kind == "word" and not signed:
            return bool(_CONSTANTS[word])
        self._at -= 1
        if kind == "word" and word in _CONSTANTS:
            self._refuse("nothing is equal to null; write 'is null' or 'is not null'")
        return self._miss("a number, quoted text, true or false")

    def _values(self) -> tuple[Value, ...]:
        opening = self._tokens[self._at][1]
        if not (self._takes("(") or self._takes("[")):
            self._miss("values in brackets")
        values = [self._value()]
        # A comma at the end is how Python writes one value.
        while self._takes(",") and self._tokens[self._at][1] != _CLOSING[opening]:
            values.append(self._value())
        self._needs(_CLOSING[opening])
        return tuple(values)

    def _constant(self) -> bool | None:
        kind, word = self._tokens[self._at]
        if kind != "word" or word not in _CONSTANTS:
            self._miss("null, true or false")
        self._at += 1
        return _CONSTANTS[word]

    def _takes(self, word: str) -> bool:
        kind, found = self._tokens[self._at]
        there = found == word and kind in ("word", "sign")
        self._at += there
        return there

    def _needs(self, word: str) -> None:
        if not self._takes(word):
            self._miss(repr(word))

    def _miss(self, wanted: str) -> NoReturn:
        kind, word = self._tokens[self._at]
        found = "the end" if kind == "end" else repr(word)
        self._refuse(f"expected {wanted}, got {found}")

    def _refuse(self, why: str) -> NoReturn:
        msg = (
            f"where={self._text!r} is no condition: {why}; expected like: "
            "eo:cloud_cover < 20 and platform = 'S2A'"
        )
        raise OptionError(msg)
