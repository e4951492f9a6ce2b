"""Requests and bytes by host -> an estimate of their cost, from one dated table."""

from __future__ import annotations

import dataclasses
import fnmatch
import functools
import json
import pathlib
from typing import TYPE_CHECKING, Any

from rasteret_beam.errors import OptionError
from rasteret_beam.storage import redact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rasteret_beam.forecast.summary import HostTotals
    from rasteret_beam.storage import Store

_PACKAGED = pathlib.Path(__file__).with_name("prices.json")
_MAX_TABLE_BYTES = 1024 * 1024
_GIB = 1024**3
_RATES = (
    "per_10000_requests", "per_gib_same_region", "per_gib_other_region", "per_gib_internet",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What reading from some hosts costs.

    Attributes:
        name: Whose price it is.
        hosts: Patterns of ``scheme://host`` (or bucket), with ``*``.
        per_10000_requests: Of ranged reads.
        per_gib_same_region: Of data read from the region that holds it.
        per_gib_other_region: From another region of the same cloud.
        per_gib_internet: From anywhere else.
        as_of: Date of the price, or None.
        source: Address of the vendor's price page, or None.
        note: What to know of these prices, or "".
    """

    name: str
    hosts: tuple[str, ...]
    per_10000_requests: float
    per_gib_same_region: float
    per_gib_other_region: float
    per_gib_internet: float
    as_of: str | None
    source: str | None
    note: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class PriceTable:
    """Prices; the first one whose pattern fits a host is the host's.

    Attributes:
        currency: Of all prices.
        note: What they leave out.
        prices: In the order they are tried.
    """

    currency: str
    note: str
    prices: tuple[Price, ...]

    def price_of(self, host: str) -> Price | None:
        """Gives the price of a host, or None where the table has none."""
        for price in self.prices:
            if any(fnmatch.fnmatchcase(host, pattern) for pattern in price.hosts):
                return price
        return None


def load(path: str | None, store: Store) -> PriceTable:
    """Reads a price table: a file of the user's, or the packaged one.

    Raises:
        OptionError: The file is no price table; the message says what it lacks.
        FetchError: The file cannot be read.
    """
    if path is None:
        return packaged()
    data, _ = store.read_start(path, _MAX_TABLE_BYTES)
    return _parsed(data.decode("utf-8", "replace"), redact(path))


@functools.lru_cache(maxsize=1)
def packaged() -> PriceTable:
    """Gives the table that comes with this package."""
    return _parsed(_PACKAGED.read_text(encoding="utf-8"), _PACKAGED.name)


def _parsed(text: str, name: str) -> PriceTable:
    try:
        table = json.loads(text)
        prices = tuple(_price(entry) for entry in table["prices"])
        return PriceTable(str(table["currency"]), str(table.get("note", "")), prices)
    except KeyError as error:
        msg = f"{name}: no price table: {error} is missing; the packaged prices.json has all keys"
        raise OptionError(msg) from error
    except (ValueError, TypeError, AttributeError) as error:
        msg = f"{name}: no price table: {error}; expected JSON like the packaged prices.json"
        raise OptionError(msg) from error


def _price(entry: Mapping[str, Any]) -> Price:
    rates = {name: float(entry[name]) for name in _RATES}
    for name, rate in rates.items():
        if not 0 <= rate < float("inf"):
            msg = f"{name} of {entry['name']!r} is {rate}, expected 0 or above"
            raise ValueError(msg)
    hosts = entry["hosts"]
    if isinstance(hosts, str):
        hosts = [hosts]
    return Price(
        name=str(entry["name"]),
        hosts=tuple(str(host) for host in hosts),
        as_of=entry.get("as_of"),
        source=entry.get("source"),
        note=str(entry.get("note", "")),
        **rates,
    )


def estimate(hosts: Mapping[str, HostTotals], table: PriceTable) -> dict[str, Any]:
    """Estimates what reading costs: requests, and the transfer of their bytes.

    Where workers stand next to the data is not known here, so transfer has three
    prices: of the same region, of another one, and over the internet.

    Args:
        hosts: What is read from each host.
        table: The prices.

    Returns:
        As JSON has it: totals, the prices that were used, and hosts without any.
    """
    used: dict[str, dict[str, Any]] = {}
    unpriced = []
    for host, totals in sorted(hosts.items()):
        price = table.price_of(host)
        if price is None:
            unpriced.append(host)
            continue
        gib = totals.n_bytes / _GIB
        row = used.setdefault(
            price.name,
            {
                "name": price.name, "as_of": price.as_of, "source": price.source,
                "note": price.note,
                "requests": 0.0, "same_region": 0.0, "other_region": 0.0, "internet": 0.0,
            },
        )  # fmt: skip
        row["requests"] += totals.requests / 10_000 * price.per_10000_requests
        row["same_region"] += gib * price.per_gib_same_region
        row["other_region"] += gib * price.per_gib_other_region
        row["internet"] += gib * price.per_gib_internet
    rows = list(used.values())
    return {
        "currency": table.currency,
        "note": table.note,
        "requests": sum(row["requests"] for row in rows),
        "transfer": {
            where: sum(row[where] for row in rows)
            for where in ("same_region", "other_region", "internet")
        },
        "prices": rows,
        "unpriced_hosts": unpriced,
    }
