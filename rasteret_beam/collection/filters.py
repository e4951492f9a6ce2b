"""Which records: rasteret's filters, as expressions that a Parquet scan pushes down."""

from __future__ import annotations

import ast
import dataclasses
import datetime as dt
import io
import operator
import re
import tokenize
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rasteret_beam.collection.boxes import geometry_boxes
from rasteret_beam.errors import CollectionError, OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_BBOX_NUMBERS = 4
_FRACTION = re.compile(r"\.(\d+)")
_PARTIAL_DATE = re.compile(r"\d{4}(-\d{2})?")
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_KEYWORDS = {"AND": "and", "OR": "or", "NOT": "not", "IN": "in", "IS": "is", "NULL": "None",
             "TRUE": "True", "FALSE": "False", "null": "None", "true": "True", "false": "False"}


@dataclasses.dataclass(frozen=True, slots=True)
class Filters:
    """Conditions that a record must meet, all of them; rasteret's ``subset`` and ``where``.

    Attributes:
        date_range: (start, end), both inclusive instants: an end of ``2024-01-31`` is
            that day's midnight. Records without a datetime are dropped.
        bbox: (xmin, ymin, xmax, ymax) in EPSG:4326; closed overlap, touching counts.
        geometries: WKB, GeoJSON dicts, shapely objects or bbox tuples in EPSG:4326, one
            or several; a record must overlap the bbox of one of them.
        cloud_cover_lt: Strictly below this percentage of ``eo:cloud_cover``; records
            without one are dropped.
        split: A split's name, or several.
        split_column: The column that names splits.
        where: A condition on any column, as text (``eo:cloud_cover < 20 and
            platform == 'S2A'``) or as a pyarrow expression.
    """

    date_range: tuple[str, str] | None = None
    bbox: tuple[float, float, float, float] | None = None
    geometries: Any = None
    cloud_cover_lt: float | None = None
    split: str | Sequence[str] | None = None
    split_column: str = "split"
    where: Any = None

    def __post_init__(self) -> None:
        """Checks what can be checked without a collection; rasteret's messages.

        Raises:
            OptionError: A value that cannot work.
        """
        if self.date_range is not None:
            start, end = (parse_instant(text) for text in _pair(self.date_range))
            if start > end:
                msg = f"Invalid date range: {self.date_range}; expected start <= end"
                raise OptionError(msg)
        if self.bbox is not None:
            check_bbox(self.bbox)
        cloud = self.cloud_cover_lt
        is_number = isinstance(cloud, (int, float)) and not isinstance(cloud, bool)
        if cloud is not None and not (is_number and 0 <= cloud <= 100):  # noqa: PLR2004 -- percent
            msg = f"Invalid cloud_cover_lt={cloud!r}: must be between 0 and 100."
            raise OptionError(msg)
        names = self.split if isinstance(self.split, (str, list, tuple)) else ()
        if self.split is not None and (
            not names or not all(isinstance(name, str) for name in names)
        ):
            msg = (
                "Invalid split filter. Use a split name or sequence of split names; "
                f"got {self.split!r}"
            )
            raise OptionError(msg)
        if isinstance(self.where, str):
            parse_where(self.where)

    def expression(self, schema: pa.Schema) -> pc.Expression | None:
        """Gives the condition as an expression over a collection's schema.

        Raises:
            CollectionError: The collection lacks a column that a filter names.
        """
        terms: list[pc.Expression] = []
        if self.date_range is not None:
            kind = _column(schema, "datetime", "Collection has no datetime column").type
            low, high = (_instant_scalar(text, kind) for text in self.date_range)
            terms += [pc.field("datetime") >= low, pc.field("datetime") <= high]
        if self.bbox is not None:
            terms.append(_overlaps(schema, self.bbox))
        if self.geometries is not None:
            terms.append(_overlaps_common(schema, self.boxes()))
        if self.cloud_cover_lt is not None:
            _column(schema, "eo:cloud_cover", "Collection has no cloud cover data")
            terms.append(pc.field("eo:cloud_cover") < self.cloud_cover_lt)
        if self.split is not None:
            text = f"Collection has no split column: {self.split_column!r}"
            _column(schema, self.split_column, text)
            names = [self.split] if isinstance(self.split, str) else list(self.split)
            terms.append(pc.field(self.split_column).isin(names))
        if self.where is not None:
            parsed = self.where
            if isinstance(parsed, str):
                parsed = parse_where(parsed, schema)
            terms.append(parsed)
        if not terms:
            return None
        condition = terms[0]
        for term in terms[1:]:
            condition &= term
        return condition

    def boxes(self) -> np.ndarray:
        """Gives the bboxes of the geometries that have one, float64, shape (n, 4).

        Raises:
            OptionError: No geometry, or what is none.
        """
        return geometry_boxes(self.geometries)


def parse_instant(text: str) -> dt.datetime:
    """Reads a date or time as an instant; what is left out is the earliest.

    Args:
        text: ``2024``, ``2024-01``, ``2024-01-31`` or RFC 3339; UTC without an offset.

    Returns:
        The instant, in UTC, without tzinfo.

    Raises:
        OptionError: No date.

    >>> parse_instant("2024"), parse_instant("2024-01-31T12:00:00+02:00")
    (datetime.datetime(2024, 1, 1, 0, 0), datetime.datetime(2024, 1, 31, 10, 0))
    """
    padded = text.strip().upper()
    if _PARTIAL_DATE.fullmatch(padded):
        padded = f"{padded}-01-01"[:10]
    try:
        padded = _FRACTION.sub(lambda found: f".{found[1]:0<6.6}", padded)
        instant = dt.datetime.fromisoformat(padded.replace("Z", "+00:00"))
    except ValueError as error:
        msg = f"Invalid date range: {text!r} is no date; expected YYYY-MM-DD or RFC 3339"
        raise OptionError(msg) from error
    if instant.tzinfo is not None:
        instant = instant.astimezone(dt.timezone.utc).replace(tzinfo=None)
    return instant


def parse_where(text: str, schema: pa.Schema | None = None) -> pc.Expression:
    """Reads a condition on columns; nothing in it is ever executed.

    Comparisons (``== != < <= > >=``, also ``=``), ``in``, ``not in``, ``is null``,
    ``and``, ``or``, ``not``, brackets, numbers, quoted text, true, false. Columns are
    written as they are (``eo:cloud_cover``), struct members with a dot (``bbox.xmin``).

    Args:
        text: The condition.
        schema: Where given, the columns it may name.

    Returns:
        The expression.

    Raises:
        OptionError: It cannot be read as one.
        CollectionError: A column is not there.
    """
    source, columns = _python_like(text)
    try:
        tree = ast.parse(source, mode="eval")
    except (SyntaxError, ValueError) as error:
        msg = f"where={text!r} is no condition: {error}"
        raise OptionError(msg) from error
    return _WhereBuilder(text, columns, schema).build(tree.body)


class _WhereBuilder:
    def __init__(self, text: str, columns: dict[str, str], schema: pa.Schema | None) -> None:
        self._text, self._columns, self._schema = text, columns, schema

    def build(self, node: ast.expr) -> pc.Expression:
        if isinstance(node, ast.BoolOp):
            built = [self.build(value) for value in node.values]
            combine = operator.and_ if isinstance(node.op, ast.And) else operator.or_
            result = built[0]
            for term in built[1:]:
                result = combine(result, term)
            return result
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return ~self.build(node.operand)
        if isinstance(node, ast.Compare):
            return self._comparison(node)
        if isinstance(node, (ast.Name, ast.Attribute)):
            return self._field(node)
        raise self._unreadable(node)

    def _comparison(self, node: ast.Compare) -> pc.Expression:
        left, result = node.left, None
        for op, right in zip(node.ops, node.comparators, strict=True):
            term = self._compare(left, op, right)
            result = term if result is None else result & term
            left = right
        return result

    def _compare(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> pc.Expression:
        if isinstance(op, (ast.Is, ast.IsNot)):
            term = self._field(left).is_null()
            return ~term if isinstance(op, ast.IsNot) else term
        if isinstance(op, (ast.In, ast.NotIn)):
            term = self._field(left).isin(self._value(right))
            return ~term if isinstance(op, ast.NotIn) else term
        return _COMPARISONS[type(op)](self._operand(left, right), self._operand(right, left))

    def _operand(self, node: ast.expr, other: ast.expr) -> Any:  # noqa: ANN401 -- a field or a value
        if isinstance(node, (ast.Name, ast.Attribute)):
            return self._field(node)
        value = self._value(node)
        if isinstance(value, str) and isinstance(other, ast.Name) and self._schema is not None:
            name = self._columns.get(other.id, other.id)
            kind = self._schema.field(name).type if name in self._schema.names else None
            if kind is not None and pa.types.is_timestamp(kind):
                return _instant_scalar(value, kind)
        return value

    def _field(self, node: ast.expr) -> pc.Expression:
        path: list[str] = []
        while isinstance(node, ast.Attribute):
            path.insert(0, node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            raise self._unreadable(node)
        name = self._columns.get(node.id, node.id)
        if self._schema is not None:
            _column(self._schema, name, f"where={self._text!r} names column {name!r}")
        return pc.field(name, *path)

    def _value(self, node: ast.expr) -> Any:  # noqa: ANN401 -- a literal
        try:
            value = ast.literal_eval(node)
        except ValueError as error:
            raise self._unreadable(node) from error
        return list(value) if isinstance(value, (tuple, set)) else value

    def _unreadable(self, node: ast.expr) -> OptionError:
        return OptionError(
            f"where={self._text!r}: {ast.unparse(node)!r} is neither a comparison nor a column; "
            "expected like: eo:cloud_cover < 20 and platform == 'S2A'",
        )


def _python_like(text: str) -> tuple[str, dict[str, str]]:
    """The condition with column names and SQL words as Python spells them."""
    columns: dict[str, str] = {}

    def name(match: re.Match[str]) -> str:
        if match.group("quoted") is not None:
            return match.group(0)
        alias = f"column_{len(columns)}_"
        columns[alias] = match.group("name")
        return alias

    pattern = r"(?P<quoted>'[^']*'|\"[^\"]*\")|(?P<name>[A-Za-z_][\w-]*(?::[\w-]+)+)"
    aliased = re.sub(pattern, name, text)
    words: list[tuple[int, str]] = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(aliased).readline):
            word = token.string
            if token.type == tokenize.NAME:
                word = _KEYWORDS.get(word, word)
            words.append((token.type, "==" if word == "=" else word))
    except (tokenize.TokenError, IndentationError) as error:
        msg = f"where={text!r} is no condition: {error}"
        raise OptionError(msg) from error
    return tokenize.untokenize(words).strip(), columns


def _pair(value: Sequence[str]) -> Sequence[str]:
    if len(value) != 2:  # noqa: PLR2004 -- start and end
        msg = f"Invalid date range: {value!r}; expected (start, end)"
        raise OptionError(msg)
    return value


def _instant_scalar(text: str, kind: pa.DataType) -> pa.Scalar:
    instant = parse_instant(text)
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        instant = instant.replace(tzinfo=dt.timezone.utc)
    return pa.scalar(instant, kind if pa.types.is_timestamp(kind) else None)


def check_bbox(bbox: Sequence[float]) -> None:
    """Refuses what is no bbox.

    Raises:
        OptionError: Not four finite numbers, or a minimum above its maximum.
    """
    if len(bbox) != _BBOX_NUMBERS or not np.isfinite(bbox).all():
        msg = f"Invalid bbox format: {bbox}; expected xmin, ymin, xmax, ymax"
        raise OptionError(msg)
    if bbox[0] > bbox[2] or bbox[1] > bbox[3]:
        msg = f"Invalid bbox coordinates: {bbox}; expected xmin <= xmax and ymin <= ymax"
        raise OptionError(msg)


def _overlaps(schema: pa.Schema, bbox: Sequence[float]) -> pc.Expression:
    kind = _column(schema, "bbox", "Collection has no bbox column").type
    if not pa.types.is_struct(kind):
        msg = (
            "bbox filtering requires a root-level 'bbox' struct with xmin/ymin/xmax/ymax "
            f"children, got {kind}"
        )
        raise CollectionError(msg)
    xmin, ymin, xmax, ymax = (float(v) for v in bbox)
    return (
        (pc.field("bbox", "xmax") >= xmin)
        & (pc.field("bbox", "xmin") <= xmax)
        & (pc.field("bbox", "ymax") >= ymin)
        & (pc.field("bbox", "ymin") <= ymax)
    )


def _overlaps_common(schema: pa.Schema, boxes: np.ndarray) -> pc.Expression:
    """What can overlap one of many boxes; ``overlaps_any`` looks at each.

    One term a box would overflow Arrow's stack in the thousands.
    """
    if not len(boxes):
        return pc.scalar(False)  # noqa: FBT003 -- a literal
    return _overlaps(schema, [*boxes[:, :2].min(axis=0), *boxes[:, 2:].max(axis=0)])


def _column(schema: pa.Schema, name: str, complaint: str) -> pa.Field:
    if name not in schema.names:
        msg = f"{complaint}; its columns are {schema.names}"
        raise CollectionError(msg)
    return schema.field(name)
