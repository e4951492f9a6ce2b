"""A sampling job that went well and has no sample: what was probably meant otherwise."""

import argparse
from collections.abc import Mapping

from rasteret_beam.storage import redact

_FILTERS = ("date_range", "bbox", "cloud_cover_lt", "where")


def nothing_sampled(options: argparse.Namespace, counts: Mapping[str, int]) -> list[str]:
    """Tells why no point has a sample, as far as counters know.

    Args:
        options: Those of ``sample_points.py``.
        counts: The job's counters.

    Returns:
        A sentence for each reason; none where a point has a sample.
    """
    if counts.get("points_with_rows"):
        return []
    told = []
    if not counts.get("records_read"):
        told.append(_no_records(options))
    if not counts.get("points_read"):
        told.append(_no_points(options))
    elif counts.get("points_invalid") == counts["points_read"]:
        told.append(f"none of the {counts['points_read']:,} points has coordinates")
    elif counts.get("records_read"):
        told.append(_no_match(options, counts))
    return told


def _no_records(options: argparse.Namespace) -> str:
    given = [
        f"--{name} {getattr(options, name)}" for name in _FILTERS
        if getattr(options, name) is not None
    ]
    if not given:
        return f"--collection {redact(options.collection)} has no records"
    hint = ""
    if options.bbox:
        hint = "; --bbox is xmin,ymin,xmax,ymax: longitudes first and third, in EPSG:4326"
    return f"no record meets {' and '.join(given)}{hint}"


def _no_points(options: argparse.Namespace) -> str:
    if options.replay:
        return f"--replay {redact(options.replay)} names none of these points"
    if options.points_query:
        return "--points_query gives no rows"
    return f"--points {redact(options.points)} has no rows"


def _no_match(options: argparse.Namespace, counts: Mapping[str, int]) -> str:
    """Points and records there are; records may also lack what is asked of them."""
    records = f"the records ({counts['records_read']:,} read)"
    lacking = [
        f"{counts[name]:,} {words}"
        for name, words in (("records_failed", "are unusable"), ("bands_missing", "lack a band"))
        if counts.get(name)
    ]
    if lacking:
        return f"no point has a sample; of {records} {' and '.join(lacking)}"
    crs = f"--points_crs {options.points_crs}" if options.points_crs else "the CRS of their file"
    return (
        f"no point lies in any of {records}: are x and y swapped, is {crs} that of the points, and "
        "are the records of the place that was meant?"
    )
