"""What a person sees: a progress line, a closing summary, and whether it went well."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_KIB = 1024
_SAMPLE_SUMMARY = """\
Records   {records_read} read, {records_failed} unusable, {bands_missing} without a band
Points    {points_read} read, {points_with_rows} sampled, {points_unmatched} unmatched, \
{points_invalid} invalid
Tiles     {tiles_planned} planned, {tiles_fetched} read ({bytes_fetched}), {cached}\
{tiles_sparse} sparse, {tiles_failed} failed
Rows      {rows_written} written in {seconds} s ({rate} points/s)"""
_SAMPLE_COUNTERS = (
    "records_read", "records_failed", "bands_missing",
    "points_read", "points_with_rows", "points_unmatched", "points_invalid",
    "tiles_planned", "tiles_fetched", "tiles_sparse", "tiles_failed",
    "rows_written",
)  # fmt: skip
_SAMPLES = (
    ("samples_ok", "of their own pixel"),
    ("samples_fallback", "of a pixel near it"),
    ("samples_nodata", "nodata"),
    ("samples_failed", "failed"),
)
"""What becomes of samples: counters, and words for them."""

_BUILD_SUMMARY = """\
Items     {items_read} read, {items_refused} refused, {items_failed} without a usable band
Files     {files_seen} seen, {files_indexed} indexed, {files_unchanged} unchanged, \
{files_failed} failed
Records   {records_written} written, {duplicates_dropped} twice, {items_kept} kept in {seconds} s"""
_BUILD_COUNTERS = (
    "items_read", "items_refused", "items_failed", "items_kept",
    "files_seen", "files_indexed", "files_failed", "files_unchanged",
    "records_written", "duplicates_dropped",
)  # fmt: skip


class Share(NamedTuple):
    """What failed of what was tried.

    Attributes:
        what: Name for messages.
        failed: Counter of failures.
        tried: Counter of all.
    """

    what: str
    failed: str
    tried: str


class Identity(NamedTuple):
    """Counters that must add up: nothing is lost between them.

    Attributes:
        what: Name for messages.
        whole: Counter of all.
        parts: Counters of what became of them.
    """

    what: str
    whole: str
    parts: tuple[str, ...]

    def holds(self, counts: Mapping[str, int]) -> bool:
        """Tells whether the parts are the whole."""
        return counts.get(self.whole, 0) == sum(counts.get(part, 0) for part in self.parts)

    def told(self, counts: Mapping[str, int]) -> str:
        """Gives the numbers as an equation."""
        parts = " + ".join(f"{counts.get(part, 0):,} {part}" for part in self.parts)
        sign = "=" if self.holds(counts) else "is not"
        return f"{counts.get(self.whole, 0):,} {self.whole} {sign} {parts}"


SAMPLE_IDENTITIES = (
    Identity("points", "points_read", ("points_invalid", "points_unmatched", "points_with_rows")),
    Identity(
        "tiles", "tiles_planned",
        ("tiles_fetched", "tiles_cached", "tiles_sparse", "tiles_failed"),
    ),
)
BUILD_IDENTITIES = (
    Identity("files", "files_seen", ("files_indexed", "files_unchanged", "files_failed")),
)
SAMPLE_SHARES = (
    Share("tiles", "tiles_failed", "tiles_planned"),
    Share("records", "records_failed", "records_read"),
    Share("points", "points_invalid", "points_read"),
    Share("messages", "messages_failed", "messages_read"),
)
BUILD_SHARES = (
    Share("files", "files_failed", "files_seen"),
    Share("items", "items_refused", "items_read"),
    Share("bands of sound files", "bands_failed", "bands_seen"),
)


def progress_line(counts: Mapping[str, int], seconds: float) -> str:
    """Gives one line on a job under way.

    >>> progress_line({"points_read": 5000, "tiles_fetched": 12, "bytes_fetched": 2048}, 2.0)
    '5,000 points (2,500/s)  12 tiles  2.0 KiB  0 rows'
    """
    points = counts.get("points_read", 0)
    parts = []
    if points:
        parts.append(f"{points:,} points ({points / max(seconds, 1e-3):,.0f}/s)")
    if counts.get("files_seen"):
        parts.append(f"{counts['files_seen']:,} files")
    else:
        parts.append(f"{counts.get('tiles_fetched', 0):,} tiles")
        parts.append(human_bytes(counts.get("bytes_fetched", 0)))
        parts.append(f"{counts.get('rows_written', 0):,} rows")
    return "  ".join(parts)


def sample_summary(counts: Mapping[str, int], seconds: float) -> str:
    """Gives the closing lines of a sampling job."""
    tell = {name: f"{counts.get(name, 0):,}" for name in _SAMPLE_COUNTERS}
    cached = counts.get("tiles_cached", 0)
    tell["cached"] = f"{cached:,} read before, " if cached else ""
    tell["bytes_fetched"] = human_bytes(counts.get("bytes_fetched", 0))
    tell["seconds"] = f"{seconds:.1f}"
    tell["rate"] = f"{counts.get('points_read', 0) / max(seconds, 1e-3):,.0f}"
    return _SAMPLE_SUMMARY.format_map(tell) + _samples_told(counts)


def _samples_told(counts: Mapping[str, int]) -> str:
    """A line on samples that are not simply their pixel's value; nothing where all are."""
    (own, sound), *others = _SAMPLES
    told = [f"{counts[name]:,} {words}" for name, words in others if counts.get(name)]
    if not told:
        return ""
    return "\nSamples   " + ", ".join([f"{counts.get(own, 0):,} {sound}", *told])


def build_summary(counts: Mapping[str, int], seconds: float) -> str:
    """Gives the closing lines of an indexing job."""
    tell = {name: f"{counts.get(name, 0):,}" for name in _BUILD_COUNTERS}
    return _BUILD_SUMMARY.format_map({**tell, "seconds": f"{seconds:.1f}"})


def complaints(
    counts: Mapping[str, int], shares: tuple[Share, ...], threshold: float,
) -> list[str]:
    """Names every kind of failure that is above what was asked to be tolerated.

    Args:
        counts: The job's counters.
        shares: What to look at.
        threshold: Tolerated share of failures, 0 to 1.

    Returns:
        A sentence each; none where all went well enough.

    >>> complaints({"tiles_failed": 2, "tiles_planned": 10}, SAMPLE_SHARES, 0.01)
    ['2 of 10 tiles failed (20.00 %), more than the tolerated 1.00 %']
    """
    return [
        f"{told}, more than the tolerated {_percent(threshold)}"
        for told, share in _failures(counts, shares) if share > threshold
    ]


def tolerated(
    counts: Mapping[str, int], shares: tuple[Share, ...], threshold: float,
) -> list[str]:
    """Names every kind of failure that was asked to be tolerated; arguments as above.

    >>> tolerated({"tiles_failed": 2, "tiles_planned": 10}, SAMPLE_SHARES, 0.5)
    ['2 of 10 tiles failed (20.00 %), of 50.00 % tolerated']
    """
    return [
        f"{told}, of {_percent(threshold)} tolerated"
        for told, share in _failures(counts, shares) if share <= threshold
    ]


def _failures(
    counts: Mapping[str, int], shares: tuple[Share, ...],
) -> Iterator[tuple[str, float]]:
    """What failed, in words, and its share."""
    for what, failed, tried in shares:
        bad, total = counts.get(failed, 0), counts.get(tried, 0)
        if bad:
            share = bad / max(total, bad)
            yield f"{bad:,} of {total:,} {what} failed ({_percent(share)})", share


def _percent(share: float) -> str:
    return f"{share:.2%}".replace("%", " %")


def human_bytes(size: float) -> str:
    """Gives a size in the unit that suits it.

    >>> human_bytes(0), human_bytes(3 * 1024 * 1024)
    ('0 B', '3.0 MiB')
    """
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < _KIB:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= _KIB
    return f"{size:.1f} TiB"
