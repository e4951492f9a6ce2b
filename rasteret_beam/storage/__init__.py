"""How bytes come: ranged reads by URI. The only place that knows URIs."""

from rasteret_beam.storage.store import Store, redact

__all__ = ["Store", "redact"]
