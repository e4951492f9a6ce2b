"""Points files -> point batches: Parquet, GeoParquet, CSV, GeoJSON."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import shapely

from rasteret_beam.elements import DeadLetter, PointBatch
from rasteret_beam.errors import FetchError, InvalidPointError, PointsError
from rasteret_beam.grid import crs
from rasteret_beam.schema import POINT_COLUMNS
from rasteret_beam.storage import redact
from rasteret_beam.storage.files import arrow_filesystem

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rasteret_beam.storage import Store

STAGE = "ReadPoints"
BATCH_ROWS = 65536
"""Rows of a point batch."""

NO_CRS = "none"
"""Spelling of "the coordinates are each raster's own": no transformation at all."""

_COORDINATE_PAIRS = (("x", "y"), ("lon", "lat"), ("longitude", "latitude"), ("lng", "lat"))
_GEOJSON_COLUMN = "geometry"
_EXTENSION_NAME = b"ARROW:extension:name"
_EXTENSION_METADATA = b"ARROW:extension:metadata"
_GEOARROW_POINT = "geoarrow.point"
_GEOARROW_WKB = ("geoarrow.wkb", "ogc.wkb")
_CSV_COLUMN_ERROR = re.compile(r"In CSV column #(\d+)")
_POINT_TYPE = 0


@dataclasses.dataclass(frozen=True, slots=True)
class PointColumns:
    """Where in a table the points are.

    Attributes:
        crs: CRS of the coordinates; None takes it from the file's metadata, which plain
            columns do not have; ``none`` means the coordinates are each raster's own.
        x_column: Column of x or longitude; by default the first of x/y, lon/lat,
            longitude/latitude, lng/lat that is there.
        y_column: Column of y or latitude; given together with ``x_column``.
        geometry_column: Column of WKB or GeoArrow points; by default the one that the
            file's metadata names.
    """

    crs: str | None = None
    x_column: str | None = None
    y_column: str | None = None
    geometry_column: str | None = None

    def __post_init__(self) -> None:
        """Checks that the choices fit together.

        Raises:
            PointsError: Only one of x and y, or both ways at once.
            CrsError: The CRS is none.
        """
        if (self.x_column is None) != (self.y_column is None):
            msg = f"x_column={self.x_column!r} and y_column={self.y_column!r}: give both or none"
            raise PointsError(msg)
        if self.x_column is not None and self.geometry_column is not None:
            msg = (
                f"geometry_column={self.geometry_column!r} and x_column={self.x_column!r}: "
                "give one or the other"
            )
            raise PointsError(msg)
        if self.crs is not None and self.crs.lower() != NO_CRS:
            crs.normalise(self.crs)


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


def to_points(
    rows: pa.RecordBatch, columns: PointColumns, first_index: int | np.ndarray, source: str,
) -> tuple[PointBatch, list[DeadLetter]]:
    """Finds the points in a table.

    Args:
        rows: The table.
        columns: Where the points are.
        first_index: ``point_index`` of the first row, or of every row.
        source: Name of the input, for messages.

    Returns:
        The points: rows with a null, NaN, infinite or empty point keep their place
        without coordinates. And dead letters for rows that hold something else than a
        point.

    Raises:
        PointsError: No columns that hold points, no CRS, or a reserved column name.
    """
    schema = rows.schema
    reserved = [name for name in POINT_COLUMNS if name in schema.names]
    if reserved:
        msg = (
            f"Input metadata columns collide with Rasteret output columns: {reserved}; "
            "rename them in the input"
        )
        raise PointsError(msg)
    index = first_index
    if isinstance(index, int):
        index = np.arange(index, index + rows.num_rows, dtype=np.int64)
    geometry = _geometry_field(schema, columns)
    if geometry is None:
        x, y, broken = _from_columns(rows, *_coordinate_columns(schema, columns))
        found_crs = None
    else:
        x, y, broken = _from_geometry(rows, geometry)
        found_crs = _metadata_crs(schema, geometry)
        keep = [name for name in schema.names if name != geometry]
        rows = rows.select(keep)
    points = pa.RecordBatch.from_arrays(
        [pa.array(index, pa.int64()), pa.array(x), pa.array(y), *rows.columns],
        schema=pa.schema(
            [
                ("point_index", pa.int64()), ("point_x", pa.float64()), ("point_y", pa.float64()),
                *(field.with_metadata(None) for field in rows.schema),
            ],
        ),
    )
    letters = [
        _dead_letter(source, int(index[row]), reason)
        for row, reason in broken
    ]
    return PointBatch(points, _points_crs(columns, found_crs, source)), letters


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
    """Rows of one piece in the input's schema, BATCH_ROWS at most at a time."""
    if piece.n_rows == 0:
        return
    if piece.row_group is not None:
        filesystem, path = arrow_filesystem(store, piece.uri)
        with pq.ParquetFile(path, filesystem=filesystem) as file:
            batches = file.iter_batches(BATCH_ROWS, row_groups=[piece.row_group])
            yield from (_conform(batch, schema) for batch in batches)
    elif _format(piece.uri) == "csv":
        types = {field.name: field.type for field in schema}
        with _open_csv(store, piece.uri, types) as reader:
            yield from (_conform(b, schema) for batch in reader for b in _cut(batch))
    else:
        table = _read_geojson(store, piece.uri)
        yield from (_conform(b, schema) for b in table.combine_chunks().to_batches(BATCH_ROWS))


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
        _EXTENSION_NAME: _GEOARROW_WKB[0].encode(),
        _EXTENSION_METADATA: json.dumps({"crs": declared}).encode(),
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


def _geometry_field(schema: pa.Schema, columns: PointColumns) -> str | None:
    """The column of geometries, in rasteret's order of preference."""
    if columns.geometry_column is not None:
        if columns.geometry_column not in schema.names:
            msg = (
                f"geometry_column={columns.geometry_column!r} not found in table columns. "
                f"Available columns: {schema.names}"
            )
            raise PointsError(msg)
        return columns.geometry_column
    if columns.x_column is not None:
        return None
    primary = _geo_metadata(schema).get("primary_column")
    if primary in schema.names:
        return str(primary)
    tagged = [field.name for field in schema if _extension(field).startswith("geoarrow.")]
    if len(tagged) > 1:
        msg = f"Multiple GeoArrow geometry columns found: {tagged}; name one as geometry_column"
        raise PointsError(msg)
    return tagged[0] if tagged else None


def _coordinate_columns(schema: pa.Schema, columns: PointColumns) -> tuple[str, str]:
    if columns.x_column is not None and columns.y_column is not None:
        pair = (columns.x_column, columns.y_column)
        missing = [name for name in pair if name not in schema.names]
        if missing:
            msg = (
                f"Missing point coordinate columns: {missing}. "
                f"Available columns: {schema.names}"
            )
            raise PointsError(msg)
        return pair
    for pair in _COORDINATE_PAIRS:
        if set(pair) <= set(schema.names):
            return pair
    msg = (
        "Unsupported table input for point sampling. Provide geometry_column (WKB/GeoArrow point "
        f"column) or x_column/y_column. Available columns: {schema.names}"
    )
    raise PointsError(msg)


def _from_columns(
    rows: pa.RecordBatch, x_column: str, y_column: str,
) -> tuple[np.ndarray, np.ndarray, list[tuple[int, str]]]:
    broken: list[tuple[int, str]] = []
    x, y = (_numbers(rows, name, broken) for name in (x_column, y_column))
    return x, y, sorted(broken)


def _numbers(rows: pa.RecordBatch, name: str, broken: list[tuple[int, str]]) -> np.ndarray:
    column = rows.column(rows.schema.get_field_index(name))
    try:
        numbers = pc.cast(column, pa.float64(), safe=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            msg = f"Column {name!r} of type {column.type} holds no coordinates"
            raise PointsError(msg) from error
        return _parsed(column.to_pylist(), name, broken)
    return np.asarray(pc.fill_null(numbers, float("nan")).to_numpy(zero_copy_only=False))


def _parsed(texts: list[str | None], name: str, broken: list[tuple[int, str]]) -> np.ndarray:
    values = np.full(len(texts), np.nan)
    for row, text in enumerate(texts):
        try:
            values[row] = float(text) if text else np.nan
        except ValueError:
            broken.append((row, f"column {name!r} holds {text!r}, expected a number"))
    return values


def _from_geometry(
    rows: pa.RecordBatch, name: str,
) -> tuple[np.ndarray, np.ndarray, list[tuple[int, str]]]:
    field, column = rows.schema.field(name), rows.column(rows.schema.get_field_index(name))
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if pa.types.is_struct(column.type) or pa.types.is_fixed_size_list(column.type):
        return (*_from_native(column), [])
    if not (pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)):
        msg = (
            f"Geometry column {name!r} of type {field.type} holds neither WKB nor GeoArrow points; "
            "write geometries with ST_AsWKB"
        )
        raise PointsError(msg)
    return _from_wkb(column)


def _from_native(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """GeoArrow points: a struct of x, y or pairs, null where there is none."""
    present = np.asarray(column.is_valid())
    if pa.types.is_struct(column.type):
        x, y = (pc.struct_field(column, axis) for axis in ("x", "y"))
    else:
        width = column.type.list_size
        flat = pc.list_flatten(column)
        x = y = pa.nulls(len(column), pa.float64())
        if len(flat) == present.sum() * width:
            table = np.full((len(column), width), np.nan)
            table[present] = flat.to_numpy(zero_copy_only=False).reshape(-1, width)
            return table[:, 0], table[:, 1]
    x, y = (np.asarray(v.to_numpy(zero_copy_only=False), np.float64) for v in (x, y))
    return np.where(present, x, np.nan), np.where(present, y, np.nan)


def _from_wkb(column: pa.Array) -> tuple[np.ndarray, np.ndarray, list[tuple[int, str]]]:
    blobs = np.array(column.to_pylist(), dtype=object)
    shapes = shapely.from_wkb(blobs, on_invalid="ignore")
    is_point = shapely.get_type_id(shapes) == _POINT_TYPE
    x, y = np.full(len(blobs), np.nan), np.full(len(blobs), np.nan)
    x[is_point], y[is_point] = shapely.get_x(shapes[is_point]), shapely.get_y(shapes[is_point])
    wrong = np.flatnonzero(~is_point & np.array([blob is not None for blob in blobs], bool))
    broken = []
    for row in wrong:
        found = f"a {shapes[row].geom_type}" if shapes[row] is not None else "no valid WKB"
        head = bytes(blobs[row])[:24]
        broken.append((int(row), f"geometry is {found} ({head!r}), expected a WKB Point"))
    return x, y, broken


def _extension(field: pa.Field) -> str:
    if isinstance(field.type, pa.BaseExtensionType):
        return str(field.type.extension_name)
    return (field.metadata or {}).get(_EXTENSION_NAME, b"").decode()


def _geo_metadata(schema: pa.Schema) -> dict[str, Any]:
    """GeoParquet's ``geo`` key, or nothing."""
    try:
        found = json.loads((schema.metadata or {}).get(b"geo", b"{}"))
    except ValueError as error:
        msg = f"The file's 'geo' metadata is no JSON: {error}"
        raise PointsError(msg) from error
    return found if isinstance(found, dict) else {}


def _metadata_crs(schema: pa.Schema, geometry: str) -> str | None:
    """The CRS that metadata gives a geometry column, normalised; None where none does."""
    column = _geo_metadata(schema).get("columns", {}).get(geometry)
    if isinstance(column, dict):
        # GeoParquet 1.1: no "crs" means OGC:CRS84, null means unknown.
        found = column.get("crs", crs.LONLAT)
        return None if found is None else crs.normalise_any(found)
    field = schema.field(geometry)
    raw = (field.metadata or {}).get(_EXTENSION_METADATA)
    if raw is None and isinstance(field.type, pa.ExtensionType):
        raw = field.type.__arrow_ext_serialize__()
    try:
        found = json.loads(raw or b"{}").get("crs")
    except (ValueError, AttributeError):
        found = None
    return None if found is None else crs.normalise_any(found)


def _points_crs(columns: PointColumns, found: str | None, source: str) -> str | None:
    if columns.crs is not None:
        return None if columns.crs.lower() == NO_CRS else crs.normalise(columns.crs)
    if found is None:
        msg = (
            f"{redact(source)}: the points' CRS is not in the file's metadata: give it as "
            "points_crs, like EPSG:4326 for longitude and latitude"
        )
        raise PointsError(msg)
    return found


def _dead_letter(source: str, index: int, reason: str) -> DeadLetter:
    error = InvalidPointError(f"{redact(source)}: point {index}: {reason}")
    element = json.dumps({"source": redact(source), "point_index": index})
    return DeadLetter(element, str(error), "", STAGE, error.code)
