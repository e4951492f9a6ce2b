"""Settings of every test."""

from hypothesis import settings

# A slow machine is no failure.
settings.register_profile("plain", deadline=None)
settings.load_profile("plain")
