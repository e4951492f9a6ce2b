"""A view -> the Parquet files of a collection that stands on its own."""

from __future__ import annotations

import contextlib
import datetime as dt
import re
import uuid
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from rasteret_beam.companion.arrow_schema import with_geoarrow
from rasteret_beam.companion.part_writer import PartWriter
from rasteret_beam.errors import CollectionError, OptionError, OutputError, RasteretBeamError
from rasteret_beam.indexing.parts import geo_metadata
from rasteret_beam.schema import BBOX, REQUIRED_COLUMNS
from rasteret_beam.storage import redact
from rasteret_beam.storage.addresses import local_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rasteret_beam.companion.views import View

_BATCH_ROWS = 512
_DERIVED = ("year", "month")
_OWN_FILE = re.compile(
    r"([^/=]+=[^/]*/)*(part-\d+\.parquet|\.part-[0-9a-f-]+|_(common_)?metadata)",
)
_WKB_HEADER_BYTES = 5
_WKB_NAMES = (
    "", "Point", "LineString", "Polygon", "MultiPoint", "MultiLineString", "MultiPolygon",
    "GeometryCollection",
)  # fmt: skip


def export(view: View, uri: str, partition_by: Sequence[str], told: dict[str, str]) -> None:
    """Writes a view as a collection; of its rows only some are ever in memory.

    Files are written under hidden names; when all are complete they get their own, and
    those of an earlier export go.

    Args:
        view: The records.
        uri: The folder; empty, or a collection to replace.
        partition_by: Columns whose values name folders; ``year`` and ``month`` are taken
            from ``datetime`` where there are no such columns.
        told: Schema-level metadata; what the rows' schema has already stays.

    Raises:
        OptionError: Something else is in the folder, or a column is not there.
        CollectionError: The rows cannot be read.
        OutputError: The folder cannot be written.
    """
    _check_partitions(view, partition_by)
    filesystem, folder = _filesystem(uri)
    with _write_errors(uri):
        earlier = _earlier_files(filesystem, folder, uri)
        folders, geometry_types = _survey(view, partition_by)
        schema = _stored_schema(view.schema, told, geometry_types)
        writer = PartWriter(filesystem, folder, schema, folders, uuid.uuid4().hex)
        try:
            for batch in view.batches(batch_rows=_BATCH_ROWS):
                writer.write(_with_dates(_stored(batch, view), folders))
            finals = writer.finish()
        except BaseException:
            writer.abandon()
            raise
        _remove(filesystem, folder, set(earlier) - set(finals))


@contextlib.contextmanager
def _write_errors(uri: str) -> Iterator[None]:
    """Names the folder in what goes wrong with it; what is read has errors of its own."""
    try:
        yield
    except OSError as error:
        if isinstance(error, RasteretBeamError):
            raise
        msg = f"{redact(uri)}: cannot be written: {error}"
        raise OutputError(msg) from error


def _check_partitions(view: View, partition_by: Sequence[str]) -> None:
    names = view.schema.names
    unknown = [name for name in partition_by if name not in (*names, *_DERIVED)]
    if unknown:
        msg = f"partition_by={list(partition_by)}: no column {unknown} in {names}"
        raise OptionError(msg)
    nested = [
        name for name in partition_by
        if name in names and pa.types.is_nested(view.schema.field(name).type)
    ]  # fmt: skip
    if nested:
        msg = f"partition_by={list(partition_by)}: {nested} hold no single values"
        raise OptionError(msg)


def _filesystem(uri: str) -> tuple[pafs.FileSystem, str]:
    path = local_path(uri)
    if path is not None:
        return pafs.LocalFileSystem(), str(path.absolute())
    try:
        filesystem, folder = pafs.FileSystem.from_uri(uri)
    except (pa.ArrowException, OSError) as error:
        msg = f"{redact(uri)}: cannot be written to: {error}"
        raise OptionError(msg) from error
    return filesystem, folder.rstrip("/")


def _earlier_files(filesystem: pafs.FileSystem, folder: str, uri: str) -> list[str]:
    """Files of a collection that is to be replaced; none in an empty folder."""
    if filesystem.get_file_info(folder).is_file:
        msg = f"{redact(uri)}: is a file; export to a folder"
        raise OptionError(msg)
    selector = pafs.FileSelector(folder, allow_not_found=True, recursive=True)
    found = [info.path for info in filesystem.get_file_info(selector) if info.is_file]
    foreign = [path for path in found if not _OWN_FILE.fullmatch(path[len(folder) + 1 :])]
    parts = [path for path in found if path.endswith(".parquet")]
    if not foreign and parts:
        names = pq.read_schema(parts[0], filesystem=filesystem).names
        foreign = [parts[0]] if set(REQUIRED_COLUMNS) - set(names) else []
    if foreign:
        msg = f"{redact(uri)}: holds {foreign[0]!r}, no collection; export to a folder of its own"
        raise OptionError(msg)
    return found


def _remove(filesystem: pafs.FileSystem, folder: str, paths: set[str]) -> None:
    """Deletes files, and the folders that are empty without them."""
    for path in paths:
        filesystem.delete_file(path)
    above = {path.rpartition("/")[0] for path in paths}
    above |= {parent.rpartition("/")[0] for parent in above}
    for parent in sorted(above, key=len, reverse=True):
        inside = parent.startswith(folder + "/")
        if inside and not filesystem.get_file_info(pafs.FileSelector(parent, allow_not_found=True)):
            filesystem.delete_dir(parent)


def _survey(view: View, partition_by: Sequence[str]) -> tuple[list[str], list[str]]:
    """Which columns can name folders, and the types of the footprints.

    A column that is null everywhere names none: readers cannot tell its type.
    """
    columns: dict[str, Any] = {}
    for name in partition_by:
        known = name in view.schema.names
        columns[name] = pc.is_valid(pc.field(name if known else "datetime"))
    kind = view.schema.field("geometry").type
    is_wkb = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    if is_wkb:
        columns["\0wkb"] = pc.binary_slice(pc.field("geometry"), 0, _WKB_HEADER_BYTES)
    valued: set[str] = set()
    headers: set[bytes | None] = set()
    for batch in view.batches(columns):
        valued |= {name for name in partition_by if pc.any(batch.column(name)).as_py()}
        if is_wkb:
            headers.update(pc.unique(batch.column("\0wkb")).to_pylist())
    types = {_wkb_name(header) for header in headers if header} - {""}
    return [name for name in partition_by if name in valued], sorted(types)


def _wkb_name(header: bytes) -> str:
    """The type as GeoParquet spells it; "" where there is none."""
    code = int.from_bytes(header[1:], "little" if header[0] else "big")
    extra, kind = divmod(code & 0xFFFF, 1000)
    name = _WKB_NAMES[kind] if kind < len(_WKB_NAMES) else ""
    has_z = extra in (1, 3) or bool(code & 0x80000000)
    return f"{name} Z" if name and has_z else name


def _stored_schema(found: pa.Schema, told: dict[str, str], geometry_types: list[str]) -> pa.Schema:
    at = found.get_field_index("bbox")
    if not pa.types.is_struct(found.field(at).type):
        found = found.set(at, pa.field("bbox", BBOX))
    added = {
        **told,
        "created": dt.datetime.now().isoformat(),  # noqa: DTZ005 -- local, as rasteret's
        "rasteret_collection_version": "1",
        "geo": geo_metadata(geometry_types),
    }
    both = {key.encode(): value.encode() for key, value in added.items()} | (found.metadata or {})
    return with_geoarrow(found).with_metadata(both)


def _stored(batch: pa.RecordBatch, view: View) -> pa.RecordBatch:
    """The rows with a bbox that is a struct."""
    at = batch.schema.get_field_index("bbox")
    column = batch.column(at)
    if pa.types.is_struct(column.type):
        return batch
    try:
        sides = [pc.list_element(column, side).cast(pa.float64()) for side in range(len(BBOX))]
    except pa.ArrowException as error:
        msg = f"{view.label}: bbox of type {column.type} does not hold four numbers: {error}"
        raise CollectionError(msg) from error
    struct = pa.StructArray.from_arrays(sides, fields=list(BBOX), mask=column.is_null())
    return batch.set_column(at, pa.field("bbox", BBOX), struct)


def _with_dates(batch: pa.RecordBatch, folders: Sequence[str]) -> pa.RecordBatch:
    for name, part in zip(_DERIVED, (pc.year, pc.month), strict=True):
        if name in folders and name not in batch.schema.names:
            batch = batch.append_column(name, part(batch.column("datetime")))
    return batch
