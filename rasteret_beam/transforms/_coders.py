"""Coders of the elements: keys have bytes that are equal for equal keys, batches a size."""

import pickle
import struct

from apache_beam import coders

from rasteret_beam.elements import Batch, PointBatch, SampleBatch, TileBlockKey

_KEY = struct.Struct(">4q")


class TileBlockKeyCoder(coders.Coder):
    """Four 64-bit integers. Keeps the type across worker processes, unlike RowCoder."""

    def encode(self, value: TileBlockKey) -> bytes:
        """Gives 32 bytes."""
        return _KEY.pack(*value)

    def decode(self, encoded: bytes) -> TileBlockKey:
        """Gives the key back."""
        return TileBlockKey(*_KEY.unpack(encoded))

    def is_deterministic(self) -> bool:
        """Equal keys have equal bytes."""
        return True

    def to_type_hint(self) -> type[TileBlockKey]:
        """The type this coder is for."""
        return TileBlockKey


class BatchCoder(coders.Coder):
    """Pickles; tells a batch's size without doing so, since Beam asks it of many elements."""

    def encode(self, value: Batch) -> bytes:
        """Gives the pickle."""
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)

    def decode(self, encoded: bytes) -> Batch:
        """Gives the batch back."""
        return pickle.loads(encoded)  # noqa: S301 -- our own bytes

    def estimate_size(self, value: Batch) -> int:
        """Gives the memory of its arrays."""
        return value.nbytes

    def to_type_hint(self) -> type[Batch]:
        """The type this coder is for."""
        return Batch


coders.registry.register_coder(TileBlockKey, TileBlockKeyCoder)
for batch in (Batch, PointBatch, SampleBatch):
    coders.registry.register_coder(batch, BatchCoder)
