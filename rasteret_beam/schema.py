"""What is stored: column names and Arrow schemas, collection rows in, sample rows out."""

from __future__ import annotations

import enum
import functools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from rasteret_beam.errors import PointsError
from rasteret_beam.grid import crs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rasteret_beam.elements import RecordInfo
    from rasteret_beam.options import SampleOptions

POINT_COLUMNS = ("point_index", "point_x", "point_y")
"""Columns that every point batch begins with; the user's follow."""

METADATA_SUFFIX = "_metadata"
TIFF_SUFFIX = "_tiff"
REQUIRED_COLUMNS = ("id", "datetime", "geometry", "assets", "bbox")

BBOX = pa.struct([(name, pa.float64()) for name in ("xmin", "ymin", "xmax", "ymax")])

BAND_METADATA = pa.struct(
    [
        ("image_width", pa.int32()),
        ("image_height", pa.int32()),
        ("tile_width", pa.int32()),
        ("tile_height", pa.int32()),
        ("dtype", pa.string()),
        ("transform", pa.list_(pa.float64())),
        ("predictor", pa.int32()),
        ("compression", pa.int32()),
        ("tile_offsets", pa.list_(pa.int64())),
        ("tile_byte_counts", pa.list_(pa.int64())),
        ("pixel_scale", pa.list_(pa.float64())),
        ("tiepoint", pa.list_(pa.float64())),
        ("nodata", pa.float64()),
        ("samples_per_pixel", pa.int32()),
        ("planar_configuration", pa.int32()),
        ("photometric", pa.int32()),
        ("extra_samples", pa.list_(pa.int32())),
    ],
)
"""``{band}_metadata``, exactly as rasteret 0.4 writes it."""

BAND_TIFF = pa.struct(
    [
        ("byte_order", pa.string()),
        ("bits_per_sample", pa.int32()),
        ("jpeg_tables", pa.binary()),
        ("nodata", pa.string()),
        ("scale", pa.float64()),
        ("offset", pa.float64()),
        ("unit", pa.string()),
        ("calibrated_by", pa.string()),
        ("crs", pa.string()),
        ("file_size", pa.int64()),
        ("etag", pa.string()),
    ],
)
"""``{band}_tiff``: what rasteret's struct has no place for; rasteret ignores the column.

Scale, offset and unit are the file's, or the catalogue's where ``calibrated_by`` says so.
"""


class Status(enum.Enum):
    """How a row came by its value, or why it has none."""

    OK = "OK"
    FALLBACK = "FALLBACK"
    NODATA = "NODATA"
    OUT_OF_EXTENT = "OUT_OF_EXTENT"
    NO_RECORD = "NO_RECORD"
    BAND_MISSING = "BAND_MISSING"
    UNSUPPORTED = "UNSUPPORTED"
    FETCH_ERROR = "FETCH_ERROR"
    DECODE_ERROR = "DECODE_ERROR"
    STALE_INDEX = "STALE_INDEX"
    INVALID_POINT = "INVALID_POINT"


STATUSES = tuple(status.value for status in Status)
STATUS_CODES = {name: code for code, name in enumerate(STATUSES)}

SAMPLE_FIELDS = (
    *POINT_COLUMNS, "point_crs", "record_id", "datetime", "collection", "band", "value",
    "raster_crs",
)  # fmt: skip
"""Columns that all sample rows begin with; ours that are optional follow, then the user's."""

_TEXT = pa.dictionary(pa.int32(), pa.string())
_STATUS_NAMES = pa.array(STATUSES, pa.string())
# Repeated text as dictionaries: a hundredth of the cost of plain strings to build.
_DICTIONARIES = ("record_id", "collection", "band")


def sample_schema(options: SampleOptions, columns: pa.Schema | None) -> pa.Schema:
    """Gives the schema of sample batches: rasteret's columns, then the user's.

    Text is dictionary-encoded here; ``plain`` gives rasteret's own types.
    """
    # Rows that only say why there is no sample have no record, band or value.
    optional = options.with_status
    fields = [
        pa.field("point_index", pa.int64(), nullable=False),
        pa.field("point_x", pa.float64(), nullable=optional),
        pa.field("point_y", pa.float64(), nullable=optional),
        pa.field("point_crs", pa.int32()),
        pa.field("record_id", _TEXT, nullable=optional),
        pa.field("datetime", pa.timestamp("us")),
        pa.field("collection", _TEXT, nullable=optional),
        pa.field("band", _TEXT, nullable=optional),
        pa.field("value", pa.float64(), nullable=optional),
        pa.field("raster_crs", pa.int32()),
    ]
    if options.with_neighbourhood:
        fields.append(pa.field("neighbourhood_values", pa.list_(pa.float64())))
    if options.with_status:
        fields.append(pa.field("status", _TEXT))
    return pa.schema([*fields, *(columns or ())])


def has_status(samples: pa.Schema) -> bool:
    """Tells whether a sample schema's ``status`` is ours; without ours the user may bring one."""
    at = samples.get_field_index("status")
    if at < 0 or not pa.types.is_dictionary(samples.field(at).type):
        return False
    # Where rows say why there is no sample, and nowhere else, points may lack coordinates.
    return bool(samples.field("point_x").nullable)


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """Gives the schema as it is stored: text as plain strings."""
    texts = (*_DICTIONARIES, "status") if has_status(schema) else _DICTIONARIES
    return pa.schema(
        [field.with_type(pa.string()) if field.name in texts else field for field in schema],
    )


def plain(samples: pa.Table) -> pa.Table:
    """Gives sample rows in rasteret's types: text as plain strings."""
    return samples.cast(plain_schema(samples.schema))


def user_columns(points: pa.Schema) -> pa.Schema:
    """Gives the columns of a point batch that the user brought."""
    return pa.schema([field for field in points if field.name not in POINT_COLUMNS])


def check_collisions(points: pa.Schema, options: SampleOptions) -> None:
    """Refuses user columns that the output has under the same name.

    Raises:
        PointsError: A name is taken.
    """
    check_names(user_columns(points).names, options)


def check_names(columns: Iterable[str], options: SampleOptions) -> None:
    """Refuses names of user columns that the output has already.

    Raises:
        PointsError: A name is taken.
    """
    taken = {field.name for field in sample_schema(options, None)}
    both = [name for name in columns if name in taken]
    if both:
        msg = (
            f"Input metadata columns collide with Rasteret output columns: {both}; "
            "rename them in the input"
        )
        raise PointsError(msg)


class PointArrays(NamedTuple):
    """What sample rows say of their points, made once for all records and bands.

    Attributes:
        schema: ``sample_schema`` of the rows.
        columns: ``point_index``, ``point_x``, ``point_y``, ``point_crs``.
        user_columns: The user's columns.
    """

    schema: pa.Schema
    columns: tuple[pa.Array, ...]
    user_columns: tuple[pa.Array, ...]

    def take(self, rows: np.ndarray) -> PointArrays:
        """Gives some of the points, by int64 indexes."""
        at = pa.array(rows)
        return PointArrays(
            self.schema,
            tuple(column.take(at) for column in self.columns),
            tuple(column.take(at) for column in self.user_columns),
        )


def point_arrays(
    options: SampleOptions,
    point_index: np.ndarray,
    xy: tuple[np.ndarray, np.ndarray],
    point_crs: str | None,
    columns: pa.RecordBatch | None,
) -> PointArrays:
    """Gives the columns that sample rows share with their points.

    Args:
        options: Decides which columns rows have.
        point_index: int64, shape (n_points,).
        xy: float64, shape (n_points,) each, input coordinates.
        point_crs: CRS of the input coordinates, or None.
        columns: The user's columns, n_points rows, or None.
    """
    return PointArrays(
        sample_schema(options, None if columns is None else columns.schema),
        (
            pa.array(point_index, pa.int64()),
            *(pa.array(axis, pa.float64()) for axis in xy),
            _constant(crs.epsg(point_crs), len(point_index), pa.int32()),
        ),
        () if columns is None else tuple(columns.columns),
    )


def make_samples(
    options: SampleOptions,
    points: PointArrays,
    *,
    record: RecordInfo | None,
    band: str | None,
    value: np.ndarray,
    status_codes: np.ndarray | None,
) -> pa.RecordBatch:
    """Builds sample rows of one band of one record, or of points without one.

    Args:
        options: Decides which columns there are.
        points: The points, one a row; their columns are shared, not copied.
        record: The record, or None.
        band: Name of the band, or None.
        value: float64, shape (n_rows,).
        status_codes: int8, shape (n_rows,), index into ``STATUSES``; rows of a status
            that has no value get a null. None where all are OK.

    Returns:
        Rows in ``sample_schema``, their ``neighbourhood_values`` null.
    """
    n_rows, no_value = len(value), None
    if status_codes is not None:
        # A float64 of NaN is a value (a NaN pixel); what has no value is null.
        no_value = status_codes >= STATUS_CODES[Status.OUT_OF_EXTENT.value]
    record_id, when, collection, epsg = _record_columns(record, n_rows)
    arrays = [
        *points.columns,
        record_id,
        when,
        collection,
        _text(band, n_rows),
        pa.array(value, pa.float64(), mask=no_value),
        epsg,
    ]
    if options.with_neighbourhood:
        arrays.append(pa.nulls(n_rows, pa.list_(pa.float64())))
    if options.with_status:
        if status_codes is None:
            arrays.append(_dictionary(_zeros(n_rows), _STATUS_NAMES))
        else:
            arrays.append(status_column(status_codes))
    return pa.RecordBatch.from_arrays([*arrays, *points.user_columns], schema=points.schema)


@functools.lru_cache(maxsize=4)
def _record_columns(record: RecordInfo | None, n_rows: int) -> tuple[pa.Array, ...]:
    """What the bands of a record share: ``record_id``, ``datetime``, ``collection``, its CRS."""
    record_id, when, collection, epsg = (None,) * 4
    if record is not None:
        record_id, _, when, collection, epsg = record
    return (
        _text(record_id, n_rows),
        _constant(when, n_rows, pa.timestamp("us")),
        _text(collection, n_rows),
        _constant(epsg, n_rows, pa.int32()),
    )


def status_column(status_codes: np.ndarray) -> pa.DictionaryArray:
    """Gives the status column of rows with these codes."""
    codes = pa.array(status_codes, pa.int32())
    return _dictionary(codes, _STATUS_NAMES)


def lists(values: np.ndarray, present: np.ndarray) -> pa.Array:
    """Gives rows of a matrix as a list column, null where not present."""
    whole = bool(present.all())
    sizes = np.where(present, values.shape[1], 0)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    flat = values if whole else values[present]
    mask = None if whole else pa.array(~present)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat.reshape(-1)), mask=mask)


def _constant(value: int | None, n_rows: int, kind: pa.DataType) -> pa.Array:
    if value is None:
        return pa.nulls(n_rows, kind)
    storage = np.int64 if kind == pa.timestamp("us") else np.int32
    return pa.array(np.full(n_rows, value, storage)).cast(kind)


def _text(value: str | None, n_rows: int) -> pa.DictionaryArray:
    if value is None:
        return _dictionary(pa.nulls(n_rows, pa.int32()), pa.array([], pa.string()))
    return _dictionary(_zeros(n_rows), pa.array([value], pa.string()))


def _dictionary(indices: pa.Array, texts: pa.Array) -> pa.DictionaryArray:
    """A dictionary column, its indices known to be in bounds."""
    return pa.DictionaryArray.from_arrays(indices, texts, safe=False)


def _zeros(n_rows: int) -> pa.Array:
    """int32 zeros, the indices of a column that holds one text; all share one buffer."""
    return _zero_buffer(max(n_rows - 1, 1).bit_length()).slice(0, n_rows)


@functools.lru_cache(maxsize=64)
def _zero_buffer(bits: int) -> pa.Array:
    return pa.array(np.zeros(1 << bits, np.int32))
