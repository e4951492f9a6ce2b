"""What a dead letter's ``stage`` may be: part of a stored format, which a replay reads."""

POINTS = "ReadPoints"
"""Rows that hold no point, however they came: from files, BigQuery, or a PCollection."""

MESSAGES = "DecodeMessages"
"""Messages that hold no point."""

RECORDS = "ReadCollection"
"""Records, and bands of theirs, that cannot be used; by either join."""

REFRESH = "WatchCollection"
"""A collection that could not be looked at again."""

TILES = "FetchTiles"
"""Tiles that could not be read or decoded."""

ITEMS = "BuildCollection"
"""Items and files that could not be indexed."""
