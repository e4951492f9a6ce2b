"""What a plan says: prices, budgets, lines for a terminal, a page."""

import html.parser
import json

import pytest

from rasteret_beam.elements import PlanCounts
from rasteret_beam.errors import BudgetError, FetchError, OptionError
from rasteret_beam.forecast import prices
from rasteret_beam.forecast.budget import Budget
from rasteret_beam.forecast.page import plan_page
from rasteret_beam.forecast.prices import packaged
from rasteret_beam.forecast.report import plan_facts, plan_text
from rasteret_beam.forecast.summary import HostTotals, HotTile, PlanSummary, merge
from rasteret_beam.storage import Store

GIB = 1024**3
HOSTILE = "</td><script>alert(1)</script><img src=https://evil.example/x onerror=alert(1)>\x1b[2J"
SUMMARY = PlanSummary(
    counts=PlanCounts(1000, 1, 9, 990),
    tiles=50_000, sparse=7, refused=3, requests=20_000, n_bytes=10 * GIB,
    hosts={"gs://data": HostTotals(50_000, 20_000, 10 * GIB)},
    points_per_tile={3: 99, 800: 1},
    hottest=(HotTile(800, "scene", "gs://data/a.tif", 4, 2),),
)  # fmt: skip
JOB = {"collection": "gs://data/index", "bands": ["B04", "B08"]}


def _facts(summary=SUMMARY, budget=None):
    return plan_facts(summary, JOB, packaged(), budget or Budget())


# Prices


def test_an_estimate_is_requests_and_bytes_times_their_prices():
    price = packaged().price_of("gs://data")
    found = _facts()["estimate"]
    assert found["requests"] == pytest.approx(2 * price.per_10000_requests)
    assert found["transfer"]["internet"] == pytest.approx(10 * price.per_gib_internet)
    assert found["transfer"]["other_region"] == pytest.approx(10 * price.per_gib_other_region)
    assert found["transfer"]["same_region"] == 0


def test_each_packaged_price_has_a_date_and_a_source():
    for price in packaged().prices:
        if price.hosts != ("file://",):
            assert price.source.startswith("https://")
            assert len(price.as_of.split("-")) == 3


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("file://", "Local files"),
        ("gs://bucket", "Google"),
        ("https://storage.googleapis.com", "Google"),
        ("s3://bucket", "Amazon"),
        ("https://sentinel-cogs.s3.us-west-2.amazonaws.com", "Amazon"),
        ("https://s3.eu-central-1.amazonaws.com", "Amazon"),
        ("https://pub-1.r2.dev", "Cloudflare"),
    ],
)
def test_a_host_has_the_price_of_its_vendor(host, name):
    assert packaged().price_of(host).name.startswith(name)


@pytest.mark.parametrize(
    "host",
    ["https://example.org", "https://storage.googleapis.com.evil.example", "http://10.0.0.1:80"],
)
def test_a_host_that_no_price_fits_is_told_and_not_guessed(host):
    summary = PlanSummary(hosts={host: HostTotals(1, 10_000, GIB)})
    found = _facts(summary)["estimate"]
    assert (found["requests"], found["unpriced_hosts"]) == (0, [host])
    assert f"no price is known for {host}" in plan_text(_facts(summary))


def _table(tmp_path, **changes):
    entry = {
        "name": "Ours", "hosts": ["gs://*"], "per_10000_requests": 1, "per_gib_same_region": 2,
        "per_gib_other_region": 3, "per_gib_internet": 4, **changes,
    }  # fmt: skip
    path = tmp_path / "prices.json"
    text = json.dumps({"currency": "EUR", "prices": [{k: v for k, v in entry.items() if v != ""}]})
    path.write_text(text)
    return str(path)


def test_a_table_of_ones_own_replaces_the_packaged_one(tmp_path):
    table = prices.load(_table(tmp_path), Store())
    facts = plan_facts(SUMMARY, JOB, table, Budget())
    assert facts["estimate"]["transfer"] == {
        "same_region": 20.0, "other_region": 30.0, "internet": 40.0,
    }  # fmt: skip
    assert "€2.00" in plan_text(plan_facts(
        SUMMARY, JOB, prices.load(_table(tmp_path, as_of="2026-01-01"), Store()), Budget(),
    ))  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"per_gib_internet": ""}, "'per_gib_internet' is missing"),
        ({"per_gib_internet": -1}, "is -1.0, expected 0 or above"),
        ({"per_gib_internet": "dear"}, "could not convert"),
        ({"hosts": 3}, "not iterable"),
    ],
)
def test_what_is_no_price_table_is_refused(tmp_path, changes, message):
    with pytest.raises(OptionError, match=f"prices.json: no price table: .*{message}"):
        prices.load(_table(tmp_path, **changes), Store())


def test_a_price_table_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(FetchError, match=r"gone\.json"):
        prices.load(str(tmp_path / "gone.json"), Store())


# Budgets


def test_a_budget_passes_a_plan_of_exactly_its_limits():
    Budget(max_tiles=50_000, max_bytes=10 * GIB, max_requests=20_000).check(SUMMARY)
    Budget().check(SUMMARY)


def test_a_broken_budget_names_what_was_planned_and_allowed():
    with pytest.raises(BudgetError) as error:
        Budget(max_tiles=49_999, max_requests=5, max_bytes=10 * GIB).check(SUMMARY)
    assert "50,000 tiles planned, 49,999 allowed (max_tiles)" in str(error.value)
    assert "20,000 requests planned, 5 allowed" in str(error.value)
    assert "bytes planned" not in str(error.value)


def test_a_limit_of_zero_is_a_limit():
    assert Budget(max_tiles=0)
    assert not Budget()
    Budget(max_tiles=0).check(PlanSummary())


# What a person sees


def test_a_terminal_is_told_every_number():
    told = plan_text(_facts(budget=Budget(max_tiles=50_000, max_bytes=GIB)))
    for fact in (
        "bands B04, B08", "1,000 read, 990 covered, 9 unmatched, 1 invalid",
        "50,000 planned, 49,990 to read, 7 sparse, 3 refused", "p50 3, p99 3, max 800",
        "20,000 after merging, 10.0 GiB", "gs://data", "800 points in tile 4 of scene",
        "requests <$0.01", "$1.20 over the internet", "an estimate from list prices",
        "max_tiles holds", "max_bytes IS EXCEEDED: 10.0 GiB planned, 1.0 GiB allowed",
    ):  # fmt: skip
        assert fact in told
    assert all(line[:10].strip() or line.startswith(" " * 10) for line in told.splitlines())


def test_names_cannot_command_a_terminal():
    summary = PlanSummary(hottest=(HotTile(1, HOSTILE, HOSTILE, 1, 1),))
    assert "\x1b" not in plan_text(_facts(summary))


class _Tags(html.parser.HTMLParser):
    """The tags of a page, and the addresses that they load."""

    def __init__(self):
        super().__init__()
        self.tags, self.loads = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.loads += [v for name, v in attrs if name in ("src", "href", "srcset", "action")]
        assert not any(name.startswith("on") for name, _ in attrs)


def _tags(page):
    parser = _Tags()
    parser.feed(page)
    return parser


def test_a_page_loads_nothing_and_runs_nothing():
    hosts = {f"https://{HOSTILE}{number}": HostTotals(1, 1, 1) for number in range(100)}
    hot = tuple(HotTile(n, HOSTILE, HOSTILE, n, 1) for n in range(10, 0, -1))
    facts = plan_facts(
        merge([SUMMARY, PlanSummary(hosts=hosts, hottest=hot)]),
        {HOSTILE: [HOSTILE]}, packaged(), Budget(max_tiles=1),
    )  # fmt: skip
    page = plan_page(facts)
    found = _tags(page)
    assert found.loads == []
    assert not {"script", "img", "link", "iframe", "object"} & set(found.tags)
    assert "@import" not in page
    assert "url(" not in page
    assert "&lt;script&gt;" in page
    assert len(page.encode()) < 2_000_000


def test_a_page_of_long_names_stays_small():
    hot = tuple(HotTile(n, "x" * 10**6, "y" * 10**6, n, 1) for n in range(10, 0, -1))
    hosts = {"https://" + "z" * 10**6 + str(n): HostTotals(1, 1, 1) for n in range(5)}
    assert len(plan_page(_facts(PlanSummary(hottest=hot, hosts=hosts))).encode()) < 2_000_000


def test_a_page_tells_what_the_plan_holds():
    page = plan_page(_facts(budget=Budget(max_requests=1)))
    for fact in ("50,000", "20,000", "10.0 GiB", "gs://data/a.tif", "max_requests IS EXCEEDED",
                 "cloud.google.com/storage/pricing", "7</b>"):  # fmt: skip
        assert fact in page


def test_facts_survive_json():
    facts = _facts(budget=Budget(max_tiles=5))
    assert json.loads(json.dumps(facts)) == facts
    assert plan_page(json.loads(json.dumps(facts))) == plan_page(facts)
