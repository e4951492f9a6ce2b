"""Flag text -> values: lists, ranges, pairs, boxes, dates."""

import argparse
import json
import re
from collections.abc import Callable
from typing import Any, TypeVar

from rasteret_beam.errors import OptionError
from rasteret_beam.storage import addresses

_Value = TypeVar("_Value")

_NUMBERED = re.compile(r"(?P<stem>.*?)(?P<digits>[0-9]+)", re.ASCII)
_LONGEST_RANGE = 65_536
"""A TIFF cannot have more samples a pixel."""


def switch(text: str) -> bool:
    """Reads ``true`` or ``false``, as templates give them.

    Raises:
        ArgumentTypeError: It is neither.
    """
    if text.lower() not in ("true", "false"):
        msg = f"expected true or false, got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return text.lower() == "true"


def output_folder(text: str) -> str:
    """Reads a folder to write to, or a BigQuery table; ``file://`` is taken off.

    Raises:
        ArgumentTypeError: It is of another machine.
    """
    try:
        return addresses.output_folder(text)
    except OptionError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


SWITCH: dict[str, Any] = {
    "type": switch, "nargs": "?", "const": True, "default": False, "metavar": "true|false",
}  # fmt: skip
"""How ``add_argument`` adds a switch: bare, or with a value, as a template's launcher passes it."""


def listed(text: str | None) -> tuple[str, ...]:
    """Reads names separated by commas, semicolons or spaces.

    >>> listed("B04, B08;SCL")
    ('B04', 'B08', 'SCL')
    """
    return tuple(name for name in re.split(r"[,;\s]+", text or "") if name)


def pairs(flag: str, text: str | None, read: Callable[[str], _Value]) -> dict[str, _Value]:
    """Reads ``NAME=VALUE`` pairs, separated as in ``listed``.

    Raises:
        OptionError: A pair is none, a name is there twice, or a value cannot be read.

    >>> pairs("--bands", "red=0,nir=3", index)
    {'red': 0, 'nir': 3}
    """
    found: dict[str, _Value] = {}
    for part in listed(text):
        name, _, value = part.partition("=")
        if not name or not value or name in found:
            msg = f"{flag} has {part!r}, expected NAME=VALUE with each name once"
            raise OptionError(msg)
        try:
            found[name] = read(value)
        except ValueError as error:
            msg = f"{flag} has {part!r}: {error}"
            raise OptionError(msg) from error
    return found


def band_names(flag: str, text: str | None) -> tuple[str, ...]:
    """Reads names, and ranges of numbered ones, separated as in ``listed``.

    Raises:
        OptionError: A range that is none, or runs backwards.

    >>> band_names("--bands", "A00:A02;SCL")
    ('A00', 'A01', 'A02', 'SCL')
    """
    return tuple(name for part in listed(text) for name in _spelled_out(flag, part))


def band_indexes(flag: str, text: str | None) -> dict[str, int]:
    """Reads ``NAME=INDEX`` pairs, and ranges of them, separated as in ``listed``.

    Raises:
        OptionError: A pair or range is none, or a name is there twice.

    >>> band_indexes("--bands", "A00:A02=0:2,QA=9")
    {'A00': 0, 'A01': 1, 'A02': 2, 'QA': 9}
    """
    found: dict[str, int] = {}
    for part, value in pairs(flag, text, str).items():
        names, numbers = _spelled_out(flag, part), _spelled_out(flag, value)
        if len(names) != len(numbers) or found.keys() & names:
            msg = (
                f"{flag} has {part}={value}: {len(names)} names and {len(numbers)} indexes; "
                "expected one each, like A00:A63=0:63, and each name once"
            )
            raise OptionError(msg)
        for name, number_text in zip(names, numbers, strict=True):
            try:
                found[name] = index(number_text)
            except ValueError as error:
                msg = f"{flag} has {part}={value}: {error}"
                raise OptionError(msg) from error
    return found


def _spelled_out(flag: str, part: str) -> list[str]:
    """Gives the names of a range; of what is none, the name itself, as of ``eo:red``."""
    first_text, colon, last_text = part.partition(":")
    first, last = _NUMBERED.fullmatch(first_text), _NUMBERED.fullmatch(last_text)
    if not colon or (first is None and first_text and last_text):
        return [part]
    if first is None or last is None or first["stem"] != last["stem"]:
        msg = f"{flag} has {part!r}, expected a range like A00:A63, of one name with two numbers"
        raise OptionError(msg)
    start, stop = int(first["digits"]), int(last["digits"])
    width = len(first["digits"])
    if last["digits"] != f"{stop:0{width}d}":
        msg = f"{flag} has {part!r}: write both numbers with as many digits, like A00:A63"
        raise OptionError(msg)
    if not start <= stop < start + _LONGEST_RANGE:
        msg = f"{flag} has {part!r}, expected the lower number first, and {_LONGEST_RANGE} at most"
        raise OptionError(msg)
    return [f"{first['stem']}{place:0{width}d}" for place in range(start, stop + 1)]


def index(text: str) -> int:
    """Reads a 0-based index.

    Raises:
        ValueError: It is none.
    """
    if not text.isdigit():
        msg = f"{text!r} is no index, expected 0 or above"
        raise ValueError(msg)
    return int(text)


def number(text: str) -> int:
    """Reads a whole number.

    Raises:
        ValueError: It is none.
    """
    if not (text.isascii() and text.isdigit()):
        msg = f"{text!r} is no whole number, expected 0 or above"
        raise ValueError(msg)
    return int(text)


def byte_count(text: str) -> int:
    """Reads a number of bytes, plain or like ``20GB`` or ``1.5 GiB``.

    Raises:
        ValueError: It is none.

    >>> byte_count("1000"), byte_count("2 KiB"), byte_count("1.5GB")
    (1000, 2048, 1500000000)
    """
    spelled = r"([0-9]+(?:\.[0-9]+)?)\s*(?:([KMGT])(i?))?B?"
    found = re.fullmatch(spelled, text.strip(), re.IGNORECASE)
    if not found:
        msg = f"{text!r} is no number of bytes, expected one like 20GB or 1.5GiB"
        raise ValueError(msg)
    amount, unit, binary = found.groups()
    power = " KMGT".index((unit or " ").upper())
    return round(float(amount) * (1024 if binary else 1000) ** power)


def limit(flag: str, text: str | None, read: Callable[[str], int]) -> int | None:
    """Reads a limit, or None where there is none.

    Raises:
        OptionError: It cannot be read.
    """
    if text is None:
        return None
    try:
        return read(text)
    except ValueError as error:
        msg = f"{flag} has {text!r}: {error}"
        raise OptionError(msg) from error


def bbox(text: str | None) -> tuple[float, float, float, float] | None:
    """Reads ``xmin,ymin,xmax,ymax``, separated as in ``listed``.

    Raises:
        OptionError: Not four numbers.
    """
    if not text:
        return None
    try:
        xmin, ymin, xmax, ymax = (float(part) for part in listed(text))
    except ValueError as error:
        msg = f"--bbox is {text!r}, expected xmin,ymin,xmax,ymax"
        raise OptionError(msg) from error
    return xmin, ymin, xmax, ymax


def date_range(text: str | None) -> tuple[str, str] | None:
    """Reads ``START/END``.

    Raises:
        OptionError: Not two dates.
    """
    if not text:
        return None
    parts = text.split("/")
    if len(parts) != 2:  # noqa: PLR2004 -- start and end
        msg = f"--date_range is {text!r}, expected START/END like 2024-01-01/2024-02-01"
        raise OptionError(msg)
    return parts[0], parts[1]


def json_object(flag: str, text: str | None) -> dict[str, Any] | None:
    """Reads a JSON object.

    Raises:
        OptionError: It is none.
    """
    if not text:
        return None
    try:
        value = json.loads(text)
    except ValueError as error:
        msg = f"{flag} is {text!r}, which is no JSON: {error}"
        raise OptionError(msg) from error
    if not isinstance(value, dict):
        msg = f"{flag} is {text!r}, expected a JSON object"
        raise OptionError(msg)
    return value
