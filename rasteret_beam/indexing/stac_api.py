"""Items of a STAC API, by search."""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
from typing import TYPE_CHECKING, Any

from rasteret_beam.errors import FetchError, OptionError, RasteretBeamError
from rasteret_beam.indexing.items import Item, ItemBatch, dead_letter
from rasteret_beam.indexing.stac import StacReading, instants_of
from rasteret_beam.storage import redact
from rasteret_beam.storage.addresses import redact_logs, redact_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pystac_client

    from rasteret_beam.elements import DeadLetter
    from rasteret_beam.storage import Store

_PAGE_ITEMS = 1000
_RETRIES = 5
_MONTHS = 12
_FIRST_IMAGES = dt.datetime(1972, 1, 1)  # noqa: DTZ001 -- UTC

Interval = tuple[str, str] | None
"""Start and end of a search, RFC 3339; None for all times."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StacSearch:
    """Items that a STAC API finds. Searched month by month, so that workers share it.

    Attributes:
        url: The API's landing page.
        collections: Ids of its collections.
        reading: Which items (its bbox and date range go to the API), and which of their
            assets are bands.
        query: Conditions on properties, like ``{"eo:cloud_cover": {"lt": 20}}``.
        max_items: Stop after this many; such a search is not shared.
        headers: Sent with each request, for APIs that need a key.

    Raises:
        OptionError: No collection, or ``max_items`` below 1.
    """

    url: str
    collections: tuple[str, ...]
    reading: StacReading = dataclasses.field(default_factory=StacReading)
    query: Mapping[str, Any] | None = None
    max_items: int | None = None
    headers: Mapping[str, str] | None = dataclasses.field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Checks the search."""
        if not self.collections:
            msg = f"collections is {self.collections!r}, expected ids like ('sentinel-2-l2a',)"
            raise OptionError(msg)
        if self.max_items is not None and self.max_items < 1:
            msg = f"max_items is {self.max_items}, expected 1 or more"
            raise OptionError(msg)

    def parts(self, store: Store) -> Iterator[Interval]:  # noqa: ARG002 -- its own client
        """Gives the search's intervals."""
        if self.reading.date_range is None:
            yield None
        elif self.max_items is not None:
            yield _spelled(*instants_of(self.reading.date_range))
        else:
            yield from _months(*instants_of(self.reading.date_range))

    def read(self, store: Store, part: Interval) -> Iterator[ItemBatch]:
        """Searches one interval, page by page.

        Raises:
            FetchError: The API cannot be searched.
            OptionError: Plain http:// without permission.
        """
        if self.url.startswith("http://") and not store.allow_http:
            msg = f"{redact(self.url)}: plain http:// needs allow_http"
            raise OptionError(msg)
        for page in self._pages(part):
            items: list[Item] = []
            letters: list[DeadLetter] = []
            for stac in page.get("features") or []:
                try:
                    items.append(dataclasses.replace(self.reading.item(stac), origin=self.url))
                except RasteretBeamError as error:
                    element = {"href": self.url, "item": str(stac.get("id"))}
                    letters.append(dead_letter(element, error))
            yield ItemBatch(items, letters)

    def _pages(self, part: Interval) -> Iterator[dict[str, Any]]:
        import requests  # noqa: PLC0415 -- only searches need it
        from pystac_client.errors import ClientTypeError  # noqa: PLC0415
        from pystac_client.exceptions import APIError  # noqa: PLC0415

        try:
            client = _client(self.url, tuple((self.headers or {}).items()))
            if not client.conforms_to("ITEM_SEARCH"):
                msg = (
                    f"{redact(self.url)}: is no STAC API that can be searched (it does not list "
                    "the conformance class item-search); read files and static catalogues with "
                    "StacFiles, --stac"
                )
                raise FetchError(msg)
            search = client.search(
                collections=list(self.collections),
                bbox=self.reading.bbox,
                datetime=None if part is None else "/".join(part),
                query=None if self.query is None else dict(self.query),
                max_items=self.max_items,
                limit=min(self.max_items or _PAGE_ITEMS, _PAGE_ITEMS),
            )
            yield from search.pages_as_dicts()
        except (APIError, ClientTypeError, requests.RequestException) as error:
            why = f"{type(error).__name__}: {redact_text(str(error))}"
            msg = f"{redact(self.url)}: the search failed: {why}"
            raise FetchError(msg) from None


@functools.lru_cache(maxsize=16)
def _client(url: str, headers: tuple[tuple[str, str], ...]) -> pystac_client.Client:
    """The process's client for an API; it asks for the landing page once."""
    import pystac_client  # noqa: PLC0415 -- only searches need it
    from pystac_client.stac_api_io import StacApiIO  # noqa: PLC0415
    from urllib3 import Retry  # noqa: PLC0415

    # It logs addresses, of which some are signed.
    redact_logs("urllib3.connectionpool", "urllib3.util.retry", "pystac_client.stac_api_io")
    retry = Retry(
        total=_RETRIES, backoff_factor=0.5, allowed_methods=None,
        status_forcelist=(408, 429, 500, 502, 503, 504), respect_retry_after_header=True,
    )  # fmt: skip
    return pystac_client.Client.open(
        url, stac_io=StacApiIO(headers=dict(headers), max_retries=retry),
    )


def _months(start: dt.datetime, end: dt.datetime) -> Iterator[tuple[str, str]]:
    """Calendar months that cover an interval.

    Items on a border, or of more than a month, are found more than once; of rows that
    are equal one is written. What is before Landsat or still to come is one interval each:
    a range that has no end would take a search for each month up to the year 9999.
    """
    now = dt.datetime.now(dt.timezone.utc).replace(tzinfo=None)
    while start <= end:
        if start > now:
            yield _spelled(start, end)
            return
        if start < _FIRST_IMAGES:
            after = _FIRST_IMAGES
        else:
            years, month = divmod(start.month, _MONTHS)
            after = dt.datetime(start.year + years, month + 1, 1)  # noqa: DTZ001 -- UTC
        yield _spelled(start, min(end, after))
        start = after


def _spelled(start: dt.datetime, end: dt.datetime) -> tuple[str, str]:
    return start.isoformat() + "Z", end.isoformat() + "Z"
