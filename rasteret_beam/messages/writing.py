"""Sample rows -> messages: a JSON object each."""

from __future__ import annotations

import base64
import datetime as dt
import json
import math
from typing import TYPE_CHECKING

from rasteret_beam import schema

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa


def json_messages(samples: pa.Table) -> Iterator[bytes]:
    """Writes each row as a JSON object, its columns in their order.

    NaN and infinities, which JSON does not have, are null; times are RFC 3339 in UTC;
    bytes are base64.

    Args:
        samples: Sample rows.
    """
    for row in schema.plain(samples).to_pylist():
        yield json.dumps({name: _plain(value) for name, value in row.items()}).encode()


def _plain(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if isinstance(value, dt.datetime):
        naive = value if value.tzinfo is None else value.astimezone(dt.timezone.utc)
        return naive.replace(tzinfo=None).isoformat() + "Z"
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value
