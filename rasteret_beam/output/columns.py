"""Names of columns that an output gives itself, and that no band or user's column may have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from rasteret_beam import schema
from rasteret_beam.errors import OptionError
from rasteret_beam.output.formats import added_names, check_format
from rasteret_beam.output.parts import RESERVED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rasteret_beam.output.layouts import Layout

_NEIGHBOURHOOD = pa.field("neighbourhood_values", pa.list_(pa.float64()))


def check_output(output_format: str, layout: Layout) -> None:
    """Refuses what is no format or layout, or has a column named like one of its bands.

    Args:
        output_format: One of ``output.FORMATS``.
        layout: What a row is.

    Raises:
        OptionError: No such format or layout, no bands where they are needed, or a band
            whose column would take the place of another.
    """
    check_format(output_format)
    layout.check()
    beside, of_format = layout.names_beside_bands, added_names(output_format)
    if not beside:
        return
    # To BigQuery names are the same in upper and lower case.
    same = str.lower if output_format == "bigquery" else str
    ours = {same(name) for name in beside}
    taken = [
        band for band in layout.bands
        if same(band) in ours or band.lower() in of_format or band.startswith(RESERVED)
    ]  # fmt: skip
    if taken:
        msg = (
            f"Bands {taken} have names that other columns of layout {layout.name!r} and "
            f"output_format {output_format!r} have; give layout 'array' or 'long', where bands "
            "are no columns"
        )
        raise OptionError(msg)


def check_columns(names: Iterable[str], output_format: str, layout: Layout) -> None:
    """Refuses columns of the user's that a format or layout gives.

    ``schema.check_collisions`` refuses those of the samples themselves.

    Args:
        names: The user's columns.
        output_format: One of ``output.FORMATS``.
        layout: What a row is.

    Raises:
        OptionError: A name is taken.
    """
    names, of_format = list(names), added_names(output_format)
    for owner, taken in (
        (f"layout {layout.name!r}", [name for name in names if name in layout.added_names]),
        # To BigQuery names are the same in upper and lower case.
        (f"output_format {output_format!r}", [n for n in names if n.lower() in of_format]),
        ("parts of an output", [name for name in names if name.startswith(RESERVED)]),
    ):
        if taken:
            msg = f"Columns {taken} have names that {owner} gives; rename them in the input"
            raise OptionError(msg)


def user_names(samples: pa.Schema) -> list[str]:
    """Gives the user's columns of a ``schema.sample_schema``."""
    ours = len(schema.SAMPLE_FIELDS)
    names = samples.names[ours:]
    if len(samples) > ours and samples.field(ours) == _NEIGHBOURHOOD:
        names = names[1:]
    return names[1:] if schema.has_status(samples) else names
