"""A plan's summary -> what it says: facts for machines, lines for a person."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from rasteret_beam.forecast.prices import estimate
from rasteret_beam.forecast.summary import LOCAL_HOST
from rasteret_beam.reporting import human_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rasteret_beam.forecast.budget import Budget
    from rasteret_beam.forecast.prices import PriceTable
    from rasteret_beam.forecast.summary import PlanSummary

PLAN_JSON, PLAN_HTML = "plan.json", "plan.html"
_POINTS = "{read} read, {covered} covered, {unmatched} unmatched, {invalid} invalid"
_TILES = (
    "{planned} planned, {with_bytes} to read, {sparse} sparse, {refused} refused; "
    "points in a tile: p50 {p50}, p99 {p99}, max {max}"
)
_TERMINAL_ROWS = 5
_CENT = 0.01
_SIGNS = {"USD": "$", "EUR": "€", "GBP": "£"}


def plan_facts(
    summary: PlanSummary, job: Mapping[str, Any], prices: PriceTable, budget: Budget,
) -> dict[str, Any]:
    """Gives what ``plan.json`` holds.

    Args:
        summary: What would be read.
        job: What the plan is of, like its bands; as JSON has it.
        prices: For the estimate of cost.
        budget: What is allowed.

    Returns:
        Numbers are exact but for ``estimate``, and ``p50`` and ``p99`` (rounded down
        by less than 2 %).
    """
    limits = [{**limit._asdict(), "holds": limit.holds} for limit in budget.limits(summary)]
    return {
        "job": dict(job),
        **summary.facts(),
        "estimate": estimate(summary.hosts, prices),
        "budget": limits,
    }


def plan_text(plan: Mapping[str, Any]) -> str:
    """Gives the lines that a terminal shows of ``plan.json``."""
    points, tiles, spread = plan["points"], plan["tiles"], plan["points_per_tile"]
    job = ", ".join(f"{name} {_told(value)}" for name, value in plan["job"].items())
    lines = [
        ("Plan", f"{job}; nothing was read" if job else "nothing was read"),
        ("Records", f"{plan['records']:,} serve a point"),
        ("Points", _POINTS.format_map({name: f"{n:,}" for name, n in points.items()})),
        ("Tiles", _TILES.format_map({name: f"{n:,}" for name, n in {**tiles, **spread}.items()})),
        ("Requests", f"{plan['requests']:,} after merging, {human_bytes(plan['bytes'])}"),
        *_columns("Hosts", plan["hosts"], _host_line),
        *_columns("Hottest", plan["hottest_tiles"], _tile_line),
        *_estimate_lines(plan["estimate"]),
        *_budget_lines(plan["budget"]),
    ]
    return "\n".join(f"{name:<10}{printable(text)}" for name, text in lines)


def cost(amount: float, currency: str) -> str:
    """Gives an amount of money; nothing less than a cent is told from another.

    >>> cost(0, "USD"), cost(0.001, "USD"), cost(1234.5, "EUR"), cost(3, "CHF")
    ('$0', '<$0.01', '€1,234.50', 'CHF 3.00')
    """
    sign = _SIGNS.get(currency, f"{currency} ")
    if not amount:
        return f"{sign}0"
    return f"<{sign}{_CENT}" if amount < _CENT else f"{sign}{amount:,.2f}"


def printable(text: str) -> str:
    r"""Takes out what could command a terminal; names come from elsewhere.

    >>> printable("a\x1b[2Jb\n")
    'a?[2Jb?'
    """
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", "?", text)


def host_text(host: str) -> str:
    """Gives what people call a host."""
    return "local files" if host == LOCAL_HOST else host


def limit_text(limit: Mapping[str, Any]) -> str:
    """Gives a sentence on one limit of a budget."""
    size = human_bytes if limit["what"] == "bytes" else "{:,}".format
    planned, allowed = size(limit["planned"]), size(limit["allowed"])
    verdict = "holds" if limit["holds"] else "IS EXCEEDED"
    return f"max_{limit['what']} {verdict}: {planned} planned, {allowed} allowed"


def estimate_text(told: Mapping[str, Any]) -> str:
    """Gives the estimate's totals in one line."""
    currency, transfer = told["currency"], told["transfer"]
    return (
        f"requests {cost(told['requests'], currency)}; transfer "
        f"{cost(transfer['same_region'], currency)} from the data's own region, "
        f"{cost(transfer['other_region'], currency)} from another, "
        f"{cost(transfer['internet'], currency)} over the internet"
    )


def priced_text(told: Mapping[str, Any]) -> Iterator[str]:
    """Tells whose prices an estimate rests on, and what has none."""
    dated = [f"{row['name']} as of {row['as_of']}" for row in told["prices"] if row["as_of"]]
    if dated:
        yield f"an estimate from list prices: {'; '.join(dated)}"
    if told["unpriced_hosts"]:
        yield f"no price is known for {_few(told['unpriced_hosts'])}"


def _estimate_lines(told: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if any(row["as_of"] for row in told["prices"]):
        yield "Estimate", estimate_text(told)
    for number, text in enumerate(priced_text(told)):
        first = not number and not any(row["as_of"] for row in told["prices"])
        yield "Estimate" if first else "", text


def _budget_lines(limits: list[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    for number, limit in enumerate(limits):
        yield "" if number else "Budget", limit_text(limit)


def _columns(name: str, rows: list[Any], line: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401 -- a function of a row
    for number, row in enumerate(rows[:_TERMINAL_ROWS]):
        yield "" if number else name, line(row)
    if len(rows) > _TERMINAL_ROWS:
        yield "", f"and {len(rows) - _TERMINAL_ROWS:,} more"


def _host_line(row: Mapping[str, Any]) -> str:
    return (
        f"{row['tiles']:>11,} tiles {row['requests']:>11,} requests "
        f"{human_bytes(row['bytes']):>10}  {host_text(row['host'])}"
    )


def _tile_line(row: Mapping[str, Any]) -> str:
    reads = "" if row["reads"] == 1 else f" (and {row['reads'] - 1} more of its bands)"
    return f"{row['points']:>11,} points in tile {row['tile']} of {row['record_id']}{reads}"


def _told(value: Any) -> str:  # noqa: ANN401 -- any JSON
    return _few(value) if isinstance(value, (list, tuple)) else str(value)


def _few(names: Sequence[object]) -> str:
    more = len(names) - _TERMINAL_ROWS
    shown = ", ".join(str(name) for name in names[:_TERMINAL_ROWS])
    return f"{shown} and {more:,} more" if more > 0 else shown
