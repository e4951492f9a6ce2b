"""Sample rows -> messages: a JSON object each."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rasteret_beam import schema
from rasteret_beam.json_values import json_values

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa


def json_messages(samples: pa.Table) -> Iterator[bytes]:
    """Writes each row as a JSON object, its columns in their order.

    Values are as ``json_values`` gives them, at any depth; bytes are base64.

    Args:
        samples: Sample rows.
    """
    table = schema.plain(samples)
    columns = [json_values(column) for column in table.columns]
    for row in zip(*columns, strict=True):
        yield json.dumps(dict(zip(table.column_names, row, strict=True))).encode()
