"""A collection in a few lines: text on a terminal, a table in a notebook, a dict in code."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rasteret_beam.collection.catalog import Dataset

_BANDS_SHOWN = 5
_CRS_SHOWN = 3
_RULE = "\N{BOX DRAWINGS LIGHT HORIZONTAL}"


class DescribeResult:
    """What ``describe()`` found; shows itself as text or HTML."""

    __slots__ = ("_data", "_rows", "_title")

    def __init__(self, title: str, rows: Sequence[tuple[str, str]], data: dict[str, Any]) -> None:
        """Holds a summary.

        Args:
            title: First line.
            rows: (property, value) as shown.
            data: The values themselves.
        """
        self._title, self._rows, self._data = title, tuple(rows), data

    @property
    def data(self) -> dict[str, Any]:
        """The values, as a dict of the caller's own."""
        return dict(self._data)

    def __getitem__(self, key: str) -> Any:  # noqa: ANN401 -- values of several types
        """Gives one value."""
        return self._data[key]

    def __contains__(self, key: object) -> bool:
        """Tells whether there is such a value."""
        return key in self._data

    def __repr__(self) -> str:
        """Gives the summary as text, one property a line."""
        width = max(len("Property"), *(len(name) for name, _ in self._rows))
        rule = _RULE * width, _RULE * max(len(value) for _, value in self._rows)
        lines = [("Property", "Value"), rule, *self._rows]
        return "\n".join([self._title, "", *(f"  {n:<{width}}  {v}" for n, v in lines), ""])

    def _repr_html_(self) -> str:
        """The summary as an HTML table, for notebooks."""
        cell = "style='text-align:left;padding:4px 12px 4px 0'"
        rows = "".join(
            f"<tr><th {cell}>{html.escape(name)}</th><td {cell}>{html.escape(value)}</td></tr>"
            for name, value in self._rows
        )
        title = html.escape(self._title)
        return f"<table><caption {cell}><b>{title}</b></caption><tbody>{rows}</tbody></table>"

    def _repr_mimebundle_(self, **_wanted: object) -> dict[str, str]:
        """Both, for whoever asks which it is to be."""
        return {"text/plain": repr(self), "text/html": self._repr_html_()}


def summarise(facts: dict[str, Any]) -> DescribeResult:
    """Gives the summary of a collection.

    Args:
        facts: ``name``, ``records``, ``bands``, ``bounds``, ``crs`` (EPSG codes); and
            ``dates``, ``source`` where they are known.
    """
    rows = [
        ("Records", str(facts["records"])),
        ("Bands", _shown(facts["bands"], _BANDS_SHOWN)),
        ("CRS", _crs(facts["crs"])),
        ("Bounds", _bounds(facts["bounds"])),
    ]
    if "dates" in facts:
        rows.append(("Dates", _dates(facts["dates"])))
    if "source" in facts:
        rows.append(("Source", facts["source"]))
    return DescribeResult(f"Collection: {facts['name']}", rows, facts)


def compare(facts: dict[str, Any], known: Dataset) -> DescribeResult:
    """Gives the summary of a collection beside what the catalogue says of its source.

    Args:
        facts: As for ``summarise``.
        known: The dataset of its source.
    """
    bands, all_bands = facts["bands"], list(known.band_map)
    missing = sorted(set(all_bands) - set(bands))
    there = f"missing: {', '.join(missing)}" if missing else f"{len(bands)}/{len(all_bands)}"
    dates = _dates(facts["dates"]) if "dates" in facts else "-"
    if "dates" in facts and known.temporal_range is not None:
        dates += f"  (source: {_dates(known.temporal_range)})"
    rows = [
        ("Records", str(facts["records"])),
        ("Bands", f"{_shown(bands, _BANDS_SHOWN)} ({there})"),
        ("CRS", _crs(facts["crs"])),
        ("Bounds", _bounds(facts["bounds"])),
        ("Dates", dates),
        ("Source", f"{facts['source']} ({known.name})"),
        ("Coverage", known.spatial_coverage or "-"),
        ("Auth", "required" if known.requires_auth else "none"),
    ]
    if known.license:
        rows.append(("License", known.license))
    catalog = {
        "name": known.name,
        "all_bands": all_bands,
        "temporal_range": known.temporal_range,
        "spatial_coverage": known.spatial_coverage,
        "requires_auth": known.requires_auth,
        "license": known.license,
    }
    return DescribeResult(f"Collection: {facts['name']}", rows, {**facts, "catalog": catalog})


def _shown(names: Sequence[str], limit: int) -> str:
    if not names:
        return "-"
    rest = f" (+{len(names) - limit} more)" if len(names) > limit else ""
    return ", ".join(names[:limit]) + rest


def _crs(codes: Sequence[int]) -> str:
    return _shown([f"EPSG:{code}" for code in codes], _CRS_SHOWN)


def _bounds(bounds: Sequence[float] | None) -> str:
    return "-" if bounds is None else f"({', '.join(f'{side:.4f}' for side in bounds)})"


def _dates(dates: Sequence[str | None]) -> str:
    return " .. ".join(date or "?" for date in dates)
