"""Types of the fields of rows, which Beam must know before there is a row."""

import datetime as dt
from collections.abc import Sequence
from typing import Any, Optional

import apache_beam as beam
import pyarrow as pa
from apache_beam.typehints.row_type import RowTypeConstraint
from apache_beam.typehints.schemas import named_fields_from_element_type
from apache_beam.utils.timestamp import Timestamp

from rasteret_beam import schema
from rasteret_beam.errors import PointsError
from rasteret_beam.options import SampleOptions

_PYTHON = (
    (pa.types.is_integer, int),
    (pa.types.is_floating, float),
    (pa.types.is_timestamp, Timestamp),
    (pa.types.is_list, Sequence[float]),
    (pa.types.is_dictionary, str),
)


def sample_row(
    options: SampleOptions, points: Any, without: Sequence[str | None],  # noqa: ANN401 -- a type hint
) -> RowTypeConstraint:
    """Gives the type of rows of samples: their columns, then those of their points.

    Args:
        options: Decides which columns there are.
        points: Type of the rows that points come in.
        without: Fields of those that do not stay.

    Raises:
        PointsError: The points have no schema, a row within a row, or a field that the
            samples have under the same name.
    """
    fields = [(field.name, _python(field)) for field in schema.sample_schema(options, None)]
    kept = [(name, kind) for name, kind in _fields_of(points) if name not in without]
    schema.check_names([name for name, _ in kept], options)
    fields += kept
    return RowTypeConstraint.from_fields(fields)


def beam_row(row: beam.Row) -> beam.Row:
    """Gives a row with times as Beam's timestamps; such without a zone are UTC."""
    return beam.Row(**{name: _beam_value(value) for name, value in row.as_dict().items()})


def _beam_value(value: Any) -> Any:  # noqa: ANN401 -- any value
    if not isinstance(value, dt.datetime):
        return value
    zoned = value if value.tzinfo else value.replace(tzinfo=dt.timezone.utc)
    return Timestamp.from_utc_datetime(zoned.astimezone(dt.timezone.utc))


def _python(field: pa.Field) -> Any:  # noqa: ANN401 -- a type hint
    kind: Any = next(python for is_kind, python in _PYTHON if is_kind(field.type))
    return Optional[kind] if field.nullable else kind


def _fields_of(points: Any) -> list[tuple[str, Any]]:  # noqa: ANN401 -- a type hint
    try:
        fields = named_fields_from_element_type(points)
    except (TypeError, ValueError) as error:
        msg = f"Points come as rows with a schema, got {points}: map them to fields first"
        raise PointsError(msg) from error
    nested = [name for name, kind in fields if "Row" in str(kind)]
    if nested:
        msg = f"Points have rows within rows: {nested}; map them to fields of their own first"
        raise PointsError(msg)
    return list(fields)
