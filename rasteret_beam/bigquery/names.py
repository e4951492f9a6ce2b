"""Names of tables and columns as BigQuery has them."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, NamedTuple

from rasteret_beam.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SCHEME = "bq://"
"""What a table's address begins with, where a folder's could stand too."""

MOST_LETTERS = 300
REFUSED_PREFIXES = (
    "_TABLE_", "_FILE_", "_PARTITION", "_ROW_TIMESTAMP", "__ROOT__", "_COLIDENTIFIER",
    "_CHANGE_SEQUENCE_NUMBER", "_CHANGE_TYPE", "_CHANGE_TIMESTAMP",
)  # fmt: skip
"""Of column names, in upper or lower case."""

_TABLE = re.compile(
    # Projects of organisations may have a domain before a colon.
    r"(?P<project>(?:[a-z0-9.-]+:)?[a-z0-9-]+)[.:](?P<dataset>\w+)\.(?P<table>[\w$@ -]+)",
)
_REFUSED_LETTER = re.compile(r"[^0-9A-Za-z_]")


class TableName(NamedTuple):
    """The name of a table.

    Attributes:
        project: Its project.
        dataset: Its dataset.
        table: Its name there.
    """

    project: str
    dataset: str
    table: str

    @classmethod
    def parse(cls, text: str) -> TableName:
        """Reads ``project.dataset.table``, with ``bq://`` or without.

        Raises:
            OptionError: It is none.

        >>> TableName.parse("bq://my-project.samples.april")
        TableName(project='my-project', dataset='samples', table='april')
        """
        found = _TABLE.fullmatch(text.removeprefix(SCHEME))
        if not found:
            msg = f"{text!r} names no BigQuery table, expected bq://project.dataset.table"
            raise OptionError(msg)
        return cls(**found.groupdict())

    @property
    def path(self) -> str:
        """The name as BigQuery's storage API has it."""
        return f"projects/{self.project}/datasets/{self.dataset}/tables/{self.table}"

    def __str__(self) -> str:
        """Gives ``project.dataset.table``."""
        return f"{self.project}.{self.dataset}.{self.table}"


def safe_names(names: Sequence[str]) -> list[str]:
    """Gives each column a name that every table can have.

    Letters, digits and underscores stay as they are, all else becomes an underscore, and
    accents go. Names that are good keep theirs; where two others would be one, in upper
    or lower case, the later gets a number.

    Args:
        names: The columns.

    Returns:
        Their names, in the same order.

    >>> safe_names(["eo:cloud_cover", "B04", "b04", "2024", "_PARTITIONTIME"])
    ['eo_cloud_cover', 'B04', 'b04_2', '_2024', 'c_PARTITIONTIME']
    """
    found: dict[int, str] = {}
    taken: set[str] = set()
    # Good names first: no other may take one away.
    for at, name in enumerate(names):
        if name == _safe(name) and name.casefold() not in taken:
            found[at] = name
            taken.add(name.casefold())
    for at, name in enumerate(names):
        if at not in found:
            found[at] = _free(_safe(name), taken)
            taken.add(found[at].casefold())
    return [found[at] for at in range(len(names))]


def _safe(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name)
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    plain = _REFUSED_LETTER.sub("_", plain)
    if not plain or plain[0].isdigit():
        plain = "_" + plain
    if plain.upper().startswith(REFUSED_PREFIXES):
        plain = "c" + plain
    return plain[:MOST_LETTERS]


def _free(name: str, taken: Iterable[str]) -> str:
    number, free = 1, name
    while free.casefold() in taken:
        number += 1
        ending = f"_{number}"
        free = name[: MOST_LETTERS - len(ending)] + ending
    return free
