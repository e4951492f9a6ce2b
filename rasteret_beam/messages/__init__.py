"""Messages of a queue: bytes -> rows of points, and sample rows -> bytes. No queue is known."""

from rasteret_beam.messages.reading import INDEX_FIELD, MESSAGE_FORMATS, MessageReader, MessageRow
from rasteret_beam.messages.writing import json_messages

__all__ = ["INDEX_FIELD", "MESSAGE_FORMATS", "MessageReader", "MessageRow", "json_messages"]
