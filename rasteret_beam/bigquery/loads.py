"""What one load job is told: files, table, partitions, and an identity that a retry shares."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING, Any

from rasteret_beam.bigquery.loadable import GEOGRAPHY_COLUMN
from rasteret_beam.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rasteret_beam.bigquery.names import TableName

WRITE_DISPOSITIONS = {
    "truncate": "WRITE_TRUNCATE", "append": "WRITE_APPEND", "empty": "WRITE_EMPTY",
}  # fmt: skip
PARTITIONS = ("day", "month", "year", "none")
PARTITION_COLUMN = "datetime"
MOST_CLUSTER_FIELDS = 4

_CLUSTER_FIELDS = {
    "long": ("record_id", "band", GEOGRAPHY_COLUMN, "point_index"),
    "wide": (GEOGRAPHY_COLUMN, "record_id", "point_index"),
    "array": (GEOGRAPHY_COLUMN, "record_id", "point_index"),
}
_OF_THE_TABLE = ("timePartitioning", "rangePartitioning", "clustering")
_CLUSTERS = {
    "BIGNUMERIC", "BOOL", "DATE", "DATETIME", "GEOGRAPHY", "INT64", "NUMERIC", "STRING",
    "TIMESTAMP",
}  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How samples get into a table.

    Attributes:
        table: The table; it is made where there is none, its dataset is not.
        write_disposition: ``truncate`` takes the place of all rows; ``append`` adds, but the
            same files once only; ``empty`` refuses a table that has rows.
        partition: Of ``datetime`` (UTC): ``day``, ``month`` or ``year`` each, or ``none``.
        cluster_fields: Up to four columns; by default those that the layout is mostly
            looked up by.

    Raises:
        OptionError: A choice that does not exist, or too many cluster fields.
    """

    table: TableName
    write_disposition: str = "truncate"
    partition: str = "day"
    cluster_fields: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Checks the choices."""
        for name, value, choices in (
            ("write_disposition", self.write_disposition, WRITE_DISPOSITIONS),
            ("partition", self.partition, PARTITIONS),
        ):
            if value not in choices:
                msg = f"{name} must be one of {', '.join(choices)}, got {value!r}"
                raise OptionError(msg)
        if len(self.cluster_fields or ()) > MOST_CLUSTER_FIELDS:
            msg = f"cluster_fields has {list(self.cluster_fields or ())}; BigQuery takes four"
            raise OptionError(msg)

    def configuration(
        self,
        uris: Sequence[str],
        fields: Sequence[Mapping[str, Any]],
        layout: str,
        existing: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        """Gives a load job's configuration, as BigQuery's API has it.

        Args:
            uris: The files.
            fields: ``table_fields`` of them.
            layout: ``long``, ``wide`` or ``array``.
            existing: The table, as the API tells of it; None where there is none. It keeps
                its own partitions and clusters: a load that wants others is refused.

        Raises:
            OptionError: A cluster field is no column, or of a type that cannot be one.
        """
        shape = self._shape(fields, layout)
        if existing is not None:
            shape = {name: existing[name] for name in _OF_THE_TABLE if name in existing}
        load: dict[str, Any] = {
            "sourceUris": list(uris),
            "sourceFormat": "PARQUET",
            # Without it a list is a record of a list of records.
            "parquetOptions": {"enableListInference": True},
            "schema": {"fields": [dict(field) for field in fields]},
            "createDisposition": "CREATE_IF_NEEDED",
            "writeDisposition": WRITE_DISPOSITIONS[self.write_disposition],
            **shape,
        }
        if self.write_disposition == "append":
            load["schemaUpdateOptions"] = ["ALLOW_FIELD_ADDITION", "ALLOW_FIELD_RELAXATION"]
        return {"load": load}

    def job_id(self, files: Sequence[tuple[str, str]], run: str) -> str:
        """Gives a load job's name, the same for every retry.

        BigQuery runs a job of one name once. Rows that are appended have a name of their
        own whoever brings them, so that a whole run that is repeated adds nothing; else the
        name is of the run too: what it replaces may have changed since.

        Args:
            files: What tells each from all others: (name, checksum), or of a stream, whose
                runs may add the same rows, (address, size).
            run: Name of this run.
        """
        of = "" if self.write_disposition == "append" else run
        text = json.dumps([str(self.table), self.write_disposition, of, sorted(files)])
        return f"rasteret_beam_{hashlib.blake2b(text.encode(), digest_size=16).hexdigest()}"

    def _shape(self, fields: Sequence[Mapping[str, Any]], layout: str) -> dict[str, Any]:
        shape: dict[str, Any] = {}
        if self.partition != "none":
            shape["timePartitioning"] = {
                "type": self.partition.upper(), "field": PARTITION_COLUMN,
            }  # fmt: skip
        types = {field["name"]: field["type"] for field in fields if field["mode"] != "REPEATED"}
        names = self.cluster_fields
        if names is None:
            names = tuple(name for name in _CLUSTER_FIELDS[layout] if name in types)
        unfit = [name for name in names if types.get(name) not in _CLUSTERS]
        if unfit:
            able = [name for name, kind in types.items() if kind in _CLUSTERS]
            msg = f"cluster_fields has {unfit}, which cannot be one; these can: {able}"
            raise OptionError(msg)
        if names:
            shape["clustering"] = {"fields": list(names)}
        return shape
