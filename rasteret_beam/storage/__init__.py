"""How bytes come: ranged reads by URI. The only place that knows URIs."""

from rasteret_beam.storage.addresses import redact
from rasteret_beam.storage.pacing import RetryPolicy
from rasteret_beam.storage.store import Store, Tally

__all__ = ["RetryPolicy", "Store", "Tally", "redact"]
