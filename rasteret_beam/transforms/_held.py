"""What a bundle holds of many windows: what to let go of, where it is too much together."""

from collections.abc import Mapping
from typing import TypeVar

_Key = TypeVar("_Key")


def fullest(sizes: Mapping[_Key, int]) -> list[_Key]:
    """Gives the largest of several things, as many as make half of all together.

    One alone would hardly make room where a thousand small ones are held, and all would
    cut up those that have just begun.

    >>> fullest({"a": 1, "b": 5, "c": 3})
    ['b']
    """
    left = sum(sizes.values()) / 2
    found: list[_Key] = []
    for key in sorted(sizes, key=sizes.__getitem__, reverse=True):
        if left <= 0:
            break
        found.append(key)
        left -= sizes[key]
    return found
