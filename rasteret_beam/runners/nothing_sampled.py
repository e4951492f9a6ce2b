"""A sampling job that went well and has no sample: what was probably meant otherwise."""

import argparse

from rasteret_beam.runners.told import Told
from rasteret_beam.storage import redact

_FILTERS = ("date_range", "bbox", "cloud_cover_lt", "where")


def nothing_sampled(options: argparse.Namespace, told: Told) -> list[str]:
    """Tells why no point has a sample, as far as counters and extents know.

    Args:
        options: Those of ``sample_points.py``.
        told: What the stages told.

    Returns:
        A sentence for each reason; none where a point has a sample.
    """
    counts, reasons = told.counts, list[str]()
    if counts.get("points_with_rows"):
        return []
    if not counts.get("records_read"):
        reasons.append(_no_records(options))
    if not counts.get("points_read"):
        reasons.append(_no_points(options))
    elif counts.get("points_unmatched") and counts.get("records_read"):
        reasons.append(_no_match(options, told))
    return reasons


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


def _no_match(options: argparse.Namespace, told: Told) -> str:
    """Points and records there are; records may also lack what is asked of them."""
    counts = told.counts
    records = f"the records ({counts['records_read']:,} read)"
    lacking = [
        f"{counts[name]:,} {words}"
        for name, words in (("records_failed", "are unusable"), ("bands_missing", "lack a band"))
        if counts.get(name)
    ]
    if lacking:
        return f"no point has a sample; of {records} {' and '.join(lacking)}"
    crs = f"--points_crs {options.points_crs}" if options.points_crs else "the CRS of their file"
    asked = (
        f"are x and y swapped, is {crs} that of the points, and are the records of the place that "
        "was meant?"
    )
    where = ""
    if told.points and told.records:
        where = f": points span {told.points}, records {told.records}"
        beside = not told.points.meets(told.records)
        if beside and told.points.turned().meets(told.records):
            asked = "are x and y swapped?"
    return f"no point lies in any of {records}{where}: {asked}"
