"""How bytes come: ranged reads by URI. The only place that knows URIs."""

from rasteret_beam.storage.accounts import Account
from rasteret_beam.storage.addresses import redact
from rasteret_beam.storage.pacing import RetryPolicy
from rasteret_beam.storage.signing import PlanetaryComputer, Signer
from rasteret_beam.storage.store import Store, Tally

__all__ = [
    "Account", "PlanetaryComputer", "RetryPolicy", "Signer", "Store", "Tally", "redact",
]  # fmt: skip
