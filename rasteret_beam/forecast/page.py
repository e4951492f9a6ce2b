"""``plan.json`` -> a page to look at, whole in itself: no script, nothing from elsewhere."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

from rasteret_beam.forecast.report import cost, host_text, limit_text, priced_text, printable
from rasteret_beam.reporting import human_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_MAX_HOSTS = 50
_MAX_TEXT = 300
_STYLE = """
:root{color-scheme:light dark;--ink:#1d2733;--soft:#5b6875;--line:#dde3e9;--paper:#fff;
--card:#f5f8fa;--fill:#21918c;--rest:#c9d3dc;--good:#1a7f4b;--bad:#b3261e}
@media(prefers-color-scheme:dark){:root{--ink:#e6ebf0;--soft:#9aa7b4;--line:#2c3742;
--paper:#12181e;--card:#1a222a;--rest:#3a4653;--good:#5fd097;--bad:#ff8a80}}
body{font:15px/1.5 system-ui,sans-serif;margin:2.5em auto;max-width:1080px;padding:0 1.2em;
color:var(--ink);background:var(--paper)}
h1{font-size:1.6em;margin:0}h2{font-size:1.1em;margin:2.2em 0 .6em}
p{color:var(--soft);margin:.4em 0}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(160px,1fr));gap:.8em;
margin:1.6em 0}
.card{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:.8em 1em}
.card b{display:block;font-size:1.5em;font-variant-numeric:tabular-nums}
.card span{color:var(--soft);font-size:.9em}
.bar{display:flex;height:12px;min-width:7em;border-radius:6px;overflow:hidden;background:var(--rest)}
.bar i{background:var(--fill)}.bar i+i{background:#fde725}.bar i+i+i{background:var(--bad)}
table{border-collapse:collapse;width:100%}
th,td{padding:.35em .8em .35em 0;text-align:left;border-bottom:1px solid var(--line);
overflow-wrap:anywhere}
th{color:var(--soft);font-weight:500}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.good{color:var(--good)}.bad{color:var(--bad);font-weight:600}
"""


def plan_page(plan: Mapping[str, Any]) -> str:
    """Gives the page; every name in it is escaped.

    Args:
        plan: What ``plan.json`` holds.
    """
    job = "".join(
        f"<p><b>{_text(name)}</b> {_text(_listed(value))}</p>"
        for name, value in plan["job"].items()
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        # Whatever a name smuggles in, the page loads nothing.
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
        "style-src 'unsafe-inline'\">"
        f"<title>Sampling plan</title><style>{_STYLE}</style>"
        f"<h1>Sampling plan</h1><p>From the index alone; no pixel was read.</p>{job}"
        f"{_cards(plan)}{_points(plan['points'])}{_budget(plan['budget'])}"
        f"{_estimate(plan['estimate'])}{_hosts(plan['hosts'])}{_tiles(plan)}</html>"
    )


def _cards(plan: Mapping[str, Any]) -> str:
    cards = (
        (f"{plan['records']:,}", "records serve a point"),
        (f"{plan['tiles']['planned']:,}", "tiles"),
        (f"{plan['requests']:,}", "requests after merging"),
        (human_bytes(plan["bytes"]), "to read"),
        (f"{plan['tiles']['sparse']:,}", "tiles are sparse: no request"),
    )
    inner = "".join(f'<div class="card"><b>{n}</b><span>{what}</span></div>' for n, what in cards)
    refused = plan["tiles"]["refused"]
    note = f"<p>{refused:,} tiles have an impossible size, and will fail.</p>" if refused else ""
    return f'<div class="cards">{inner}</div>{note}'


def _points(points: Mapping[str, int]) -> str:
    kinds = ("covered", "unmatched", "invalid")
    total = max(points["read"], 1)
    bar = "".join(f'<i style="width:{points[kind] / total:.4%}"></i>' for kind in kinds)
    told = ", ".join(f"{points[kind]:,} {kind}" for kind in kinds)
    return f'<h2>{points["read"]:,} points</h2><div class="bar">{bar}</div><p>{told}</p>'


def _budget(limits: Sequence[Mapping[str, Any]]) -> str:
    if not limits:
        return ""
    lines = "".join(
        f'<p class="{"good" if limit["holds"] else "bad"}">{_text(limit_text(limit))}</p>'
        for limit in limits
    )
    return f"<h2>Budget</h2>{lines}"


def _estimate(told: Mapping[str, Any]) -> str:
    currency = told["currency"]
    places = ("requests", "same_region", "other_region", "internet")
    rows = [
        [_text(row["name"]), *(_text(cost(row[place], currency)) for place in places),
         _text(row["as_of"] or ""), _text(row["source"] or "")]
        for row in told["prices"]
    ]  # fmt: skip
    heads = (
        "", "Requests", "Transfer, same region", "another region", "internet", "Price of", "Source",
    )  # fmt: skip
    said = (*priced_text(told), *(row["note"] for row in told["prices"]), told["note"])
    notes = "".join(f"<p>{_text(text)}</p>" for text in said if text)
    table = _table(heads, rows, numbers={1, 2, 3, 4}) if rows else ""
    return f"<h2>Estimate of cost</h2>{table}{notes}"


def _hosts(hosts: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        [_text(host_text(row["host"])), f"{row['tiles']:,}", f"{row['requests']:,}",
         human_bytes(row["bytes"])]
        for row in hosts[:_MAX_HOSTS]
    ]  # fmt: skip
    more = f"<p>and {len(hosts) - _MAX_HOSTS:,} more</p>" if len(hosts) > _MAX_HOSTS else ""
    table = _table(("Host", "Tiles", "Requests", "Bytes"), rows, numbers={1, 2, 3})
    return f"<h2>Hosts</h2>{table}{more}"


def _tiles(plan: Mapping[str, Any]) -> str:
    spread = plan["points_per_tile"]
    most = max(spread["max"], 1)
    rows = [
        [f"{row['points']:,}",
         f'<div class="bar"><i style="width:{row["points"] / most:.2%}"></i></div>',
         _text(row["record_id"]), str(int(row["tile"])), str(int(row["reads"])),
         _text(row["href"])]
        for row in plan["hottest_tiles"]
    ]  # fmt: skip
    heads = ("Points", "", "Record", "Tile", "Files and planes", "File")
    return (
        f"<h2>Hottest tiles</h2><p>Points in a tile: p50 {spread['p50']:,}, "
        f"p99 {spread['p99']:,}, max {spread['max']:,}</p>{_table(heads, rows, numbers={0, 3, 4})}"
    )


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: set[int]) -> str:
    """A table of cells that are HTML already."""
    kind = ['class="n"' if at in numbers else "" for at in range(len(heads))]
    head = "".join(f"<th {kind[at]}>{text}</th>" for at, text in enumerate(heads))
    body = "".join(
        "<tr>" + "".join(f"<td {kind[at]}>{cell}</td>" for at, cell in enumerate(row)) + "</tr>"
        for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _text(value: object) -> str:
    """Text that cannot be markup, cut where it is too long to read."""
    text = printable(str(value))
    return html.escape(text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}…")


def _listed(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
