"""Tiles in: a block's points -> which bytes to read -> decoded tiles, each read once."""
