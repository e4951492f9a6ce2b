"""What is known of every file -> pieces of one input: its rows' numbers, its columns."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from rasteret_beam.arrow_types import without_views
from rasteret_beam.errors import PointsError
from rasteret_beam.point_files.csv_tables import BEYOND_FLOATS
from rasteret_beam.point_files.kinds import CSV, PARQUET, kind_of
from rasteret_beam.points import PointColumns, locate
from rasteret_beam.storage import redact

if TYPE_CHECKING:
    from collections.abc import Sequence


class PointsPiece(NamedTuple):
    """A part of a points input that is read in one go.

    Attributes:
        uri: The file.
        row_group: Row group of a Parquet file; None for a whole file of another kind.
        first_index: ``point_index`` of its first row in the whole input.
        n_rows: Its number of rows.
        schema: The columns of its rows, in the whole input's types, as an Arrow IPC message.
        columns: Where in its rows the points are, and their CRS.
    """

    uri: str
    row_group: int | None
    first_index: int
    n_rows: int
    schema: bytes
    columns: PointColumns


class PointsFile(NamedTuple):
    """What must be known of one file before rows can be numbered across files.

    Attributes:
        uri: The file.
        row_counts: Rows by row group; one number for files without row groups.
        schema: Its schema, as an Arrow IPC message.
    """

    uri: str
    row_counts: tuple[int, ...]
    schema: bytes


def number_files(files: Sequence[PointsFile], columns: PointColumns) -> list[PointsPiece]:
    """Numbers the rows of all files, in the order of their URIs.

    Each file has its points in a place of its own: its CRS and its column of geometries are
    what its own metadata says. All other columns are those of all files.

    Args:
        files: Every file of the input, in any order.
        columns: Where the points are, as far as it is told for all files.

    Returns:
        Pieces that cover every row once. Files that hold no rows keep one piece, so
        that an empty input still has a schema.

    Raises:
        PointsError: The files' columns have types that cannot be one, or a file holds no
            points as far as can be told.
    """
    ordered = sorted(files)
    schemas = [pa.ipc.read_schema(pa.BufferReader(file.schema)) for file in ordered]
    unified = _unified(ordered, schemas)
    places = [
        locate(schema, columns, file.uri) for file, schema in zip(ordered, schemas, strict=True)
    ]
    # Another file's geometries are no column of this one.
    shared = {
        name for schema, place in zip(schemas, places, strict=True)
        for name in schema.names if name != place.geometry_column
    }  # fmt: skip
    pieces: list[PointsPiece] = []
    first_index = 0
    for file, place in zip(ordered, places, strict=True):
        mine = [f for f in unified if f.name in shared or f.name == place.geometry_column]
        packed = bytes(pa.schema(mine).serialize())
        grouped = kind_of(file.uri) == PARQUET
        # A Parquet file may have no row group at all.
        for group, n_rows in enumerate(file.row_counts or (0,)):
            at = group if grouped else None
            pieces.append(PointsPiece(file.uri, at, first_index, n_rows, packed, place))
            first_index += n_rows
    return pieces


def _unified(files: Sequence[PointsFile], schemas: Sequence[pa.Schema]) -> pa.Schema:
    """The columns of all files, each of one type."""
    found: dict[str, dict[pa.DataType, PointsFile]] = {}
    n_without_null: Counter[str] = Counter()
    beyond: set[str] = set()
    for file, schema in zip(files, schemas, strict=True):
        twice = [name for name, n_columns in Counter(schema.names).items() if n_columns > 1]
        if twice:
            msg = f"{redact(file.uri)}: several columns are named {twice}; rename them"
            raise PointsError(msg)
        for field in schema:
            n_without_null[field.name] += not field.nullable
            if BEYOND_FLOATS in (field.metadata or {}):
                beyond.add(field.name)
            # Of files with one type, one that says it counts before one whose texts look so.
            of_type = found.setdefault(field.name, {})
            kind = without_views(field.type)
            if kind not in of_type or _is_guessed(of_type[kind]):
                of_type[kind] = file
    return pa.schema([
        pa.field(
            name, _common_type(name, of_type, name in beyond), n_without_null[name] < len(files),
        )
        for name, of_type in found.items()
    ])  # fmt: skip


def _is_guessed(file: PointsFile) -> bool:
    """Whether the types of a file are only what its texts look like."""
    return kind_of(file.uri) == CSV


def _common_type(
    name: str, files: dict[pa.DataType, PointsFile], beyond_floats: bool,  # noqa: FBT001 -- its caller's only
) -> pa.DataType:
    """The type that holds a column's values in every file.

    Texts of a CSV that look like numbers in one file, and do not in another, are texts; so
    are whole numbers that would not be the same among floats.
    """
    as_text = [pa.string() if _is_guessed(file) else kind for kind, file in files.items()]
    for kinds in (list(files), as_text):
        try:
            columns = [pa.schema([(name, kind)]) for kind in kinds]
            common = pa.unify_schemas(columns, promote_options="permissive").field(0).type
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            continue
        if not (beyond_floats and pa.types.is_floating(common)):
            return common
    told = ", ".join(f"{kind} in {redact(file.uri)}" for kind, file in files.items())
    msg = f"The points files do not share a schema: column {name!r} is {told}; give it one type"
    raise PointsError(msg)
