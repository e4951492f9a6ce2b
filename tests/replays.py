"""The rows of a run and of its replay, put together as the README says."""

FAILURES = ("FETCH_ERROR", "DECODE_ERROR", "STALE_INDEX", "UNSUPPORTED", "BAND_MISSING")
"""Statuses of rows that a replay has again, right or not."""


def union(first, replay, *, match="all"):
    """Rows as dicts: the replay's, and those of the first run that it says nothing of.

    A row without a record is all there is of its point: it gives way to any other, and
    any other to it. With ``latest`` a point has one row a band.
    """
    key = _latest_key if match == "latest" else _key
    again = {key(row) for row in replay}
    points = {row["point_index"] for row in replay}
    alone = {row["point_index"] for row in replay if row["record_id"] is None}
    kept = [
        row for row in first
        if row.get("status") not in FAILURES
        and key(row) not in again
        and row["point_index"] not in alone
        and not (row["record_id"] is None and row["point_index"] in points)
    ]  # fmt: skip
    return kept + list(replay)


def _key(row):
    return row["point_index"], row["record_id"], row["band"]


def _latest_key(row):
    return row["point_index"], row["band"]
