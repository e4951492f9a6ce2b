"""Why input was refused or could not be read: dead letters by their codes, an example each."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from rasteret_beam.transforms._metrics import LETTERS_OF

_TOLD_CAUSES = 3


class Cause(NamedTuple):
    """Dead letters of one code.

    Attributes:
        code: The status code.
        n_letters: How many there are.
        example: What one of them says, without secrets; "" where the runner has none.
    """

    code: str
    n_letters: int
    example: str


def causes_of(counts: Mapping[str, int], examples: Iterable[str]) -> list[Cause]:
    """Sorts out what stages told of their dead letters.

    Args:
        counts: The job's counters.
        examples: ``EXAMPLES``, of every stage.

    Returns:
        A cause for each code, the most frequent first.
    """
    found: dict[str, str] = {}
    for _, code, text in (example.split(" ", 2) for example in sorted(examples)):
        found.setdefault(code, text)
    causes = [
        Cause(code, count, found.get(code, "")) for name, count in counts.items()
        if (code := name.removeprefix(LETTERS_OF)) != name and count
    ]
    return sorted(causes, key=lambda cause: (-cause.n_letters, cause.code))


def causes_told(causes: Sequence[Cause]) -> list[str]:
    """Gives a line for each of the first few causes.

    >>> causes_told([Cause("FETCH_ERROR", 1200, "a.tif: tile 4: not found")])
    ['1,200 FETCH_ERROR, like: a.tif: tile 4: not found']
    """
    told = [
        f"{count:,} {code}" + (f", like: {example}" if example else "")
        for code, count, example in causes[:_TOLD_CAUSES]
    ]
    rest = causes[_TOLD_CAUSES:]
    if rest:
        told.append(f"and {', '.join(f'{cause.n_letters:,} {cause.code}' for cause in rest)}")
    return told
