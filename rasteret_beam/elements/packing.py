"""Record batches as bytes, as few as can be."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import pyarrow as pa

_WORTH_A_LOOK_ROWS = 1024
_WHOLE_BITS = (8, 16, 32, 64)


class Message(NamedTuple):
    """A record batch as an IPC message.

    Attributes:
        schema: Its schema; empty where ``data`` is a stream, which holds the schema.
        data: Its rows.
    """

    schema: bytes
    data: bytes


class Packed(NamedTuple):
    """A record batch as IPC messages.

    Attributes:
        n_rows: Its number of rows.
        constant: For each column, whether all its rows are alike.
        varying: The other columns.
        first_row: One row of the constant ones; None where there are none.
    """

    n_rows: int
    constant: list[bool]
    varying: Message
    first_row: Message | None


def pack(batch: pa.RecordBatch) -> Packed:
    """Gives a batch as bytes; a slice without its parent."""
    # What a record or band says is alike in all rows of a batch: a third of most batches.
    large = batch.num_rows >= _WORTH_A_LOOK_ROWS
    constant = [large and _is_constant(column) for column in batch.columns]
    alike = [at for at, same in enumerate(constant) if same]
    if not alike:
        return Packed(batch.num_rows, constant, _to_ipc(batch), None)
    varying = batch.select([at for at, same in enumerate(constant) if not same])
    first_row = _to_ipc(batch.select(alike).slice(0, 1))
    return Packed(batch.num_rows, constant, _to_ipc(varying), first_row)


def unpack(packed: Packed) -> pa.RecordBatch:
    """Gives the batch back."""
    varying = _from_ipc(packed.varying)
    if packed.first_row is None:
        return varying
    one, same = pa.array(np.zeros(packed.n_rows, np.int32)), _from_ipc(packed.first_row)
    sources = {True: iter(range(same.num_columns)), False: iter(range(varying.num_columns))}
    fields, arrays = [], []
    for constant in packed.constant:
        at, batch = next(sources[constant]), same if constant else varying
        fields.append(batch.schema.field(at))
        arrays.append(batch.column(at).take(one) if constant else batch.column(at))
    schema = pa.schema(fields, metadata=varying.schema.metadata)
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _is_constant(column: pa.Array) -> bool:
    if column.null_count:
        return bool(column.null_count == len(column))
    if pa.types.is_dictionary(column.type):
        column = column.indices
    if not (pa.types.is_primitive(column.type) and column.type.bit_width in _WHOLE_BITS):
        return False
    width = column.type.bit_width // 8
    raw = np.frombuffer(column.buffers()[1], f"i{width}", len(column), column.offset * width)
    return bool((raw == raw[0]).all())


def _to_ipc(batch: pa.RecordBatch) -> Message:
    # Most messages are of a few rows: there a stream costs several times the rows.
    schema = batch.schema.serialize().to_pybytes()
    if _read_schema(schema) is not None:
        return Message(schema, batch.serialize().to_pybytes())
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return Message(b"", sink.getvalue().to_pybytes())


def _from_ipc(message: Message) -> pa.RecordBatch:
    if message.schema:
        return pa.ipc.read_record_batch(pa.py_buffer(message.data), _read_schema(message.schema))
    with pa.ipc.open_stream(message.data) as reader:
        return reader.read_next_batch()


@functools.lru_cache(maxsize=256)
def _read_schema(data: bytes) -> pa.Schema | None:
    """The schema; None where it has dictionaries, which only streams hold."""
    schema = pa.ipc.read_schema(pa.py_buffer(data))
    return None if any(_has_dictionary(field.type) for field in schema) else schema


def _has_dictionary(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    if pa.types.is_dictionary(kind):
        return True
    return any(_has_dictionary(kind.field(at).type) for at in range(kind.num_fields))
