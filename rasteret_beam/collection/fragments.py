"""The Parquet files of a collection, in scan order, with what their folders say."""

from __future__ import annotations

import pathlib
import urllib.parse
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from rasteret_beam.errors import CollectionError, CollectionNotFoundError, FetchError
from rasteret_beam.storage import redact
from rasteret_beam.storage.addresses import local_path
from rasteret_beam.storage.files import arrow_filesystem

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rasteret_beam.storage import Store

_NULL_FOLDER = "__HIVE_DEFAULT_PARTITION__"
_INT32_MAX = 2**31 - 1


class Fragment(NamedTuple):
    """One Parquet file of a collection.

    Attributes:
        uri: The file.
        number: Its place in the collection's scan order (sorted by path).
        keys: (column, value) that its hive folders give every row; int, text or None.
        data_source: Whose band names the collection uses, or "".
        n_bytes: Its size, as the listing says.
    """

    uri: str
    number: int
    keys: tuple[tuple[str, int | str | None], ...]
    data_source: str
    n_bytes: int = 0


def find_files(store: Store, uri: str) -> list[Fragment]:
    """Lists the files of a collection, by path.

    Args:
        store: How files are read.
        uri: A Parquet file or a folder of them, hive-partitioned or plain.

    Returns:
        The files, without a data source.

    Raises:
        CollectionNotFoundError: There is none.
    """
    path = local_path(uri)
    if path is not None and not path.exists():
        msg = f"Parquet not found at {uri}"
        raise CollectionNotFoundError(msg)
    info = None if path is not None and path.is_dir() else store.info(uri)
    is_folder = info is None
    sizes = {uri: 0 if info is None else info.size}
    if is_folder:
        sizes = {found: n for found, n in store.list_sizes(uri) if is_data_file(uri, found)}
    uris = list(sizes)
    if not uris:
        msg = f"Parquet not found at {redact(uri)}: no *.parquet file below it"
        raise CollectionNotFoundError(msg)
    keys = [_folder_keys(uri, found) for found in uris] if is_folder else [{}]
    numbers = {name for name in {n for k in keys for n in k} if _all_numbers(name, keys)}
    return [
        Fragment(found, number, tuple(_typed(given, numbers)), "", sizes[found])
        for number, (found, given) in enumerate(zip(uris, keys, strict=True))
    ]


def open_fragment(store: Store, fragment: Fragment) -> ds.Dataset:
    """Opens one file, with its folders' columns beside its own.

    Raises:
        CollectionError: It is not Parquet.
    """
    return open_fragments(store, [fragment])


def open_fragments(store: Store, fragments: Sequence[Fragment]) -> ds.Dataset:
    """Opens files as one dataset, with their folders' columns beside their own.

    Only the first file's footer is read; its columns are the dataset's.

    Raises:
        CollectionError: The first file is not Parquet.
    """
    texts = {name for f in fragments for name, value in f.keys if isinstance(value, str)}
    names = dict.fromkeys(name for f in fragments for name, _ in f.keys)
    fields = [pa.field(name, pa.string() if name in texts else pa.int32()) for name in names]
    kinds = {field.name: field.type for field in fields}
    file_format, files = ds.ParquetFileFormat(), []
    try:
        for fragment in fragments:
            filesystem, path = arrow_filesystem(store, fragment.uri)
            given = _partition(fragment, kinds)
            files.append(file_format.make_fragment(path, filesystem, partition_expression=given))
        own = files[0].physical_schema
        fields = [field for field in fields if field.name not in own.names]
        schema = pa.schema([*own, *fields], metadata=own.metadata)
        return ds.FileSystemDataset(files, schema, file_format, filesystem)
    except (pa.ArrowException, OSError, FetchError) as error:
        msg = f"{redact(fragments[0].uri)}: cannot be read as Parquet: {error}"
        raise CollectionError(msg) from error


def declared_source(store: Store, fragments: Sequence[Fragment]) -> str:
    """Gives a collection's data source: its schema's, else its first record's collection.

    rasteret's order; the ``collection`` column is read until a record has one.
    """
    for fragment in fragments:
        source = source_of(open_fragment(store, fragment))
        if source is not None:
            return source
    return ""


def source_of(dataset: ds.Dataset) -> str | None:
    """Gives the data source that a dataset declares; None where its rows could still tell.

    "" means that there is no column which could.
    """
    text = (dataset.schema.metadata or {}).get(b"data_source", b"").decode()
    if text not in ("", "unknown"):
        return text
    if "collection" not in dataset.schema.names:
        return ""
    named = pc.field("collection").is_valid() & (pc.field("collection") != "")
    first = dataset.scanner(columns=["collection"], filter=named).head(1)
    return str(first["collection"][0]) if first.num_rows else None


def path_below(folder: str, uri: str) -> Sequence[str]:
    """Gives the folders between a folder and a file in it, and the file's name."""
    path = local_path(folder)
    if path is None:
        return uri[len(folder.rstrip("/")) :].strip("/").split("/")
    # A local folder may be spelled otherwise than in the names of its files: ./c, c//d.
    return pathlib.PurePath(uri).relative_to(path).parts


def is_data_file(folder: str, uri: str) -> bool:
    """Tells a Parquet file of a collection from those in hidden or temporary folders."""
    parts = path_below(folder, uri)
    return parts[-1].endswith(".parquet") and not any(p.startswith((".", "_")) for p in parts)


def _partition(fragment: Fragment, kinds: dict[str, pa.DataType]) -> pc.Expression:
    given = pc.scalar(True)  # noqa: FBT003 -- a literal
    for name, value in fragment.keys:
        column = pc.field(name)
        given &= column.is_null() if value is None else column == pa.scalar(value, kinds[name])
    return given


def _folder_keys(folder: str, uri: str) -> dict[str, str]:
    """What the hive folders between a collection and one of its files say."""
    named = (part.split("=", 1) for part in path_below(folder, uri)[:-1] if "=" in part)
    return {name: urllib.parse.unquote(value) for name, value in named}


def _all_numbers(name: str, keys: Sequence[dict[str, str]]) -> bool:
    """Types are decided over all files; a folder of nulls alone says nothing."""
    values = {k[name] for k in keys if name in k} - {_NULL_FOLDER}
    if not values:
        return name in ("year", "month")
    return all(value.isdigit() and int(value) <= _INT32_MAX for value in values)


def _typed(given: dict[str, str], numbers: set[str]) -> Iterator[tuple[str, int | str | None]]:
    for name, value in given.items():
        if value == _NULL_FOLDER:
            yield name, None
        else:
            yield name, int(value) if name in numbers else value
