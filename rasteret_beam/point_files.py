"""Points files -> tables of rows: Parquet, GeoParquet, CSV, GeoJSON."""

from __future__ import annotations

import contextlib
import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import shapely

from rasteret_beam.errors import FetchError, PointsError
from rasteret_beam.grid import crs
from rasteret_beam.points import BATCH_ROWS, EXTENSION_METADATA, EXTENSION_NAME, to_points
from rasteret_beam.storage import redact
from rasteret_beam.storage.files import arrow_filesystem

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rasteret_beam.elements import DeadLetter, PointBatch
    from rasteret_beam.points import PointColumns
    from rasteret_beam.storage import Store

_GEOJSON_COLUMN = "geometry"
_BATCH_BYTES = 32 * 1024 * 1024
_MOST_ROWS = 1 << 18
_CSV_COLUMN_ERROR = re.compile(r"In CSV column #(\d+)")


class PointsPiece(NamedTuple):
    """A part of a points input that is read in one go.

    Attributes:
        uri: The file.
        row_group: Row group of a Parquet file; None for a whole file of another kind.
        first_index: ``point_index`` of its first row in the whole input.
        n_rows: Its number of rows.
        schema: The whole input's schema, as an Arrow IPC message.
    """

    uri: str
    row_group: int | None
    first_index: int
    n_rows: int
    schema: bytes


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


def inspect_file(store: Store, uri: str) -> PointsFile:
    """Counts a file's rows and reads its schema.

    Raises:
        PointsError: The format is not known, or the file is not of its format.
    """
    kind = _format(uri)
    with _as_points_error(uri):
        if kind == "parquet":
            filesystem, path = arrow_filesystem(store, uri)
            with pq.ParquetFile(path, filesystem=filesystem) as file:
                groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
                counts = tuple(group.num_rows for group in groups)
                return PointsFile(uri, counts, _pack(file.schema_arrow))
        if kind == "csv":
            schema, n_rows = _inspect_csv(store, uri)
        else:
            table = _read_geojson(store, uri)
            schema, n_rows = table.schema, table.num_rows
        return PointsFile(uri, (n_rows,), _pack(schema))


def number_files(files: Sequence[PointsFile]) -> list[PointsPiece]:
    """Numbers the rows of all files, in the order of their URIs.

    Args:
        files: Every file of the input, in any order.

    Returns:
        Pieces that cover every row once. Files that hold no rows keep one piece, so
        that an empty input still has a schema.

    Raises:
        PointsError: The files' columns have types that cannot be one.
    """
    ordered = sorted(files)
    schemas = [pa.ipc.read_schema(pa.BufferReader(file.schema)) for file in ordered]
    try:
        unified = pa.unify_schemas(schemas, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        msg = f"The points files do not share a schema: {error}"
        raise PointsError(msg) from error
    packed = _pack(unified.with_metadata(schemas[0].metadata))
    pieces: list[PointsPiece] = []
    first_index = 0
    for file in ordered:
        grouped = _format(file.uri) == "parquet"
        for group, n_rows in enumerate(file.row_counts):
            pieces.append(
                PointsPiece(file.uri, group if grouped else None, first_index, n_rows, packed),
            )
            first_index += n_rows
    return pieces or [PointsPiece(ordered[0].uri, None, 0, 0, packed)]


def read_piece(
    store: Store, piece: PointsPiece, columns: PointColumns,
) -> Iterator[tuple[PointBatch, list[DeadLetter]]]:
    """Reads one piece in batches.

    Args:
        store: How files are read.
        piece: What to read.
        columns: Where the points are.

    Yields:
        Each batch, and dead letters for rows whose point is broken (they stay in the
        batch, without coordinates, so that every row can be accounted for).

    Raises:
        PointsError: The table holds no points as far as can be told.
    """
    schema = pa.ipc.read_schema(pa.BufferReader(piece.schema))
    first_index = piece.first_index
    with _as_points_error(piece.uri):
        for rows in _read_rows(store, piece, schema):
            yield to_points(rows, columns, first_index, piece.uri)
            first_index += rows.num_rows
        if first_index == piece.first_index:
            yield to_points(_empty(schema), columns, first_index, piece.uri)


def _format(uri: str) -> str:
    name = uri.partition("?")[0].lower().removesuffix(".gz")
    for kind, suffixes in (
        ("parquet", (".parquet", ".geoparquet", ".pq")),
        ("csv", (".csv", ".tsv")),
        ("geojson", (".geojson", ".json", ".geojsonl", ".ndjson", ".geojsons", ".jsonl")),
    ):
        if name.endswith(suffixes):
            return kind
    msg = (
        f"{redact(uri)}: not a points file by its name; expected .parquet, .geoparquet, .csv, "
        ".geojson or newline-delimited .geojsonl"
    )
    raise PointsError(msg)


@contextlib.contextmanager
def _as_points_error(uri: str):  # type: ignore[no-untyped-def]  # noqa: ANN202 -- contextmanager's own
    try:
        yield
    except (pa.ArrowException, FetchError, OSError, UnicodeDecodeError) as error:
        msg = f"{redact(uri)}: cannot be read as points: {error}"
        raise PointsError(msg) from error


def _pack(schema: pa.Schema) -> bytes:
    return bytes(schema.serialize())


def _empty(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.nulls(0, f.type) for f in schema], schema=schema)


def _read_rows(store: Store, piece: PointsPiece, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Rows of one piece in the input's schema, some at a time."""
    if piece.n_rows == 0:
        return
    if piece.row_group is not None:
        filesystem, path = arrow_filesystem(store, piece.uri)
        with pq.ParquetFile(path, filesystem=filesystem) as file:
            rows = _rows_at_once(file.metadata.row_group(piece.row_group))
            batches = file.iter_batches(rows, row_groups=[piece.row_group])
            yield from (_conform(batch, schema) for batch in batches)
    elif _format(piece.uri) == "csv":
        types = {field.name: field.type for field in schema}
        with _open_csv(store, piece.uri, types) as reader:
            yield from (_conform(b, schema) for batch in reader for b in _cut(batch))
    else:
        table = _read_geojson(store, piece.uri)
        yield from (_conform(b, schema) for b in table.combine_chunks().to_batches(BATCH_ROWS))


def _rows_at_once(group: pq.RowGroupMetaData) -> int:
    """Rows of a batch: more than ``BATCH_ROWS`` where they are small.

    Each batch sends a message to each block of tiles that its points need; of points in no
    order, larger batches send fewer.
    """
    row_bytes = max(group.total_byte_size // max(group.num_rows, 1), 1)
    return min(max(_BATCH_BYTES // row_bytes, BATCH_ROWS), _MOST_ROWS)


def _cut(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    for start in range(0, batch.num_rows, BATCH_ROWS):
        yield batch.slice(start, BATCH_ROWS)


def _conform(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The rows with every column of the input, nulls where the file lacks one."""
    arrays = []
    for field in schema:
        at = batch.schema.get_field_index(field.name)
        if at < 0:
            arrays.append(pa.nulls(batch.num_rows, field.type))
        else:
            arrays.append(batch.column(at).cast(field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _inspect_csv(store: Store, uri: str) -> tuple[pa.Schema, int]:
    """The column types that fit every row; a column that starts as numbers may not stay so."""
    types: dict[str, pa.DataType] = {}
    while True:
        names: list[str] = []
        try:
            with _open_csv(store, uri, types) as reader:
                names = reader.schema.names
                return reader.schema, sum(batch.num_rows for batch in reader)
        except pa.ArrowInvalid as error:
            found = _CSV_COLUMN_ERROR.search(str(error))
            if not found or not names or names[int(found.group(1))] in types:
                raise
            types[names[int(found.group(1))]] = pa.string()


@contextlib.contextmanager
def _open_csv(store: Store, uri: str, types: dict[str, pa.DataType]):  # type: ignore[no-untyped-def]  # noqa: ANN202 -- contextmanager's own
    filesystem, path = arrow_filesystem(store, uri)
    delimiter = "\t" if uri.partition("?")[0].removesuffix(".gz").endswith(".tsv") else ","
    with filesystem.open_input_stream(path) as stream, pacsv.open_csv(
        stream,
        read_options=pacsv.ReadOptions(block_size=4 << 20),
        parse_options=pacsv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=pacsv.ConvertOptions(column_types=types, strings_can_be_null=False),
    ) as reader:
        yield reader


def _read_geojson(store: Store, uri: str) -> pa.Table:
    """Features as a table: properties, and the geometry as WKB in a column of its own.

    RFC 7946, a FeatureCollection, or one feature a line (RFC 8142 and plain).
    """
    filesystem, path = arrow_filesystem(store, uri)
    with filesystem.open_input_stream(path) as stream:
        text = stream.read().decode("utf-8-sig")
    try:
        features, declared = _features(text)
        rows = [dict(feature.get("properties") or {}) for feature in features]
    except (ValueError, AttributeError, TypeError) as error:
        msg = f"{redact(uri)}: not GeoJSON features: {error}"
        raise PointsError(msg) from error
    names = list(dict.fromkeys(name for row in rows for name in row))
    if _GEOJSON_COLUMN in names:
        msg = f"{redact(uri)}: a property is named {_GEOJSON_COLUMN!r}; rename it"
        raise PointsError(msg)
    columns = {name: pa.array([row.get(name) for row in rows]) for name in names}
    wkb = pa.array([_geojson_wkb(feature.get("geometry")) for feature in features], pa.binary())
    metadata = {
        EXTENSION_NAME: b"geoarrow.wkb",
        EXTENSION_METADATA: json.dumps({"crs": declared}).encode(),
    }
    fields = [pa.field(name, column.type) for name, column in columns.items()]
    fields.append(pa.field(_GEOJSON_COLUMN, pa.binary(), metadata=metadata))
    return pa.Table.from_arrays([*columns.values(), wkb], schema=pa.schema(fields))


def _features(text: str) -> tuple[list[dict[str, Any]], str]:
    try:
        parsed = json.loads(text)
    except ValueError:
        lines = [line.strip().lstrip("\x1e") for line in text.splitlines()]
        return [json.loads(line) for line in lines if line], crs.LONLAT
    if parsed.get("type") == "FeatureCollection":
        # The 2008 draft's "crs" member is still written.
        named = ((parsed.get("crs") or {}).get("properties") or {}).get("name")
        return list(parsed["features"]), crs.normalise(named) if named else crs.LONLAT
    if parsed.get("type") == "Feature":
        return [parsed], crs.LONLAT
    msg = f"expected a FeatureCollection or features, got type {parsed.get('type')!r}"
    raise ValueError(msg)


def _geojson_wkb(geometry: dict[str, Any] | None) -> bytes | None:
    """WKB of a point; of anything else bytes that are found to be no point later."""
    if geometry is None:
        return None
    if geometry.get("type") == "Point":
        try:
            x, y = (float(v) for v in geometry["coordinates"][:2])
        except (TypeError, ValueError, KeyError):
            return b"coordinates that are no numbers"
        return bytes(shapely.to_wkb(shapely.Point(x, y)))
    return f"a {geometry.get('type')}".encode()
