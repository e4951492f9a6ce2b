"""Coders of the elements that group: keys need bytes that are equal for equal keys."""

import struct

from apache_beam import coders

from rasteret_beam.elements import TileBlockKey

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


coders.registry.register_coder(TileBlockKey, TileBlockKeyCoder)
