"""Scenes in a row, each 2 km east of the one before."""

from scenes import Scene, ramp


def scene(number, **changes):
    """The scene at a place in the row."""
    origin = (500000.0 + 2000 * number, 4600000.0)
    return Scene(**{"name": f"s{number}", "pixels": ramp(40, 40), "origin": origin, **changes})


def box(number):
    """The inside of a scene's bbox."""
    return 3.0005 + 0.024 * number, 41.549, 3.001 + 0.024 * number, 41.55


def ids(collection):
    """The ids of a collection's records, in their order."""
    return collection.to_table(["id"])["id"].to_pylist()
