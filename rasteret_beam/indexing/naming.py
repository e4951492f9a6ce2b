"""What a record is called, and when it was taken: from a file's address."""

from __future__ import annotations

import datetime as dt
import pathlib
import re
from typing import TYPE_CHECKING

from rasteret_beam.errors import OptionError, RecordError
from rasteret_beam.storage.addresses import local_path, plain_path, split_root

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

_DATE_PARTS = ("year", "month", "day", "hour", "minute", "second")
_ODD_BYTES = re.compile("[\udc80-\udcff]")
_DIGIT_FORMATS = {
    4: "%Y", 6: "%Y%m", 7: "%Y%j", 8: "%Y%m%d", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M",
    14: "%Y%m%d%H%M%S",
}  # fmt: skip


def absolute_href(uri: str) -> str:
    """Gives a local path in full, so that a collection can be read from anywhere."""
    path = local_path(uri)
    return uri if path is None else str(path.absolute())


def is_text(name: str) -> bool:
    """Tells whether a name can be kept as text; a file's may be any bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def spelled_out(name: str) -> str:
    r"""Gives a name as text, with its odd bytes as ``\xe9``.

    >>> spelled_out("caf\udce9.tif")
    'caf\\xe9.tif'
    """
    name = _ODD_BYTES.sub(lambda byte: f"\\x{ord(byte[0]) & 0xff:02x}", name)
    return name.encode(errors="backslashreplace").decode()


def find_datetime(pattern: str, href: str) -> dt.datetime:
    r"""Finds an acquisition time in a file's address.

    Args:
        pattern: Regular expression, searched for in the file's name, then in the whole
            address. Named groups year, month, day, hour, minute, second; or else the
            digits of its groups (or of all it matches), as YYYY, YYYYMM, YYYYMMDD,
            YYYYDDD, YYYYMMDDHHMMSS.
        href: The address.

    Returns:
        The time, UTC, without tzinfo.

    Raises:
        RecordError: Nothing matches, or what matches is no date.

    >>> find_datetime(r"_(\d{8})T(\d{6})_", "s3://b/S2A_20240131T101112_B04.tif")
    datetime.datetime(2024, 1, 31, 10, 11, 12)
    """
    path = split_root(href)[1]
    found = re.search(pattern, path.rsplit("/", 1)[-1]) or re.search(pattern, path)
    if found is None:
        msg = f"datetime_pattern {pattern!r} matches nothing in {path!r}"
        raise RecordError(msg)
    try:
        if "year" in found.groupdict():
            parts = [found.groupdict().get(part) for part in _DATE_PARTS]
            defaults = (None, 1, 1, 0, 0, 0)
            numbers = [int(p) if p else d for p, d in zip(parts, defaults, strict=True)]
            return dt.datetime(*numbers)  # type: ignore[arg-type]  # noqa: DTZ001 -- naive is UTC
        text = "".join(g for g in found.groups() if g) if found.groups() else found.group(0)
        digits = re.sub(r"\D", "", text)
        return dt.datetime.strptime(digits, _DIGIT_FORMATS[len(digits)])  # noqa: DTZ007
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        msg = f"datetime_pattern {pattern!r} finds {found.group(0)!r} in {path!r}, which is no date"
        raise RecordError(msg) from error


def check_datetime_pattern(pattern: str) -> None:
    """Refuses what is no regular expression.

    Raises:
        OptionError: It does not compile.
    """
    try:
        re.compile(pattern)
    except re.error as error:
        msg = f"datetime_pattern {pattern!r} is no regular expression: {error}"
        raise OptionError(msg) from error


def record_ids(hrefs: Sequence[str], taken: Container[str] = ()) -> dict[str, str]:
    """Gives each file that shares a stem an id of its own.

    Args:
        hrefs: Different addresses of files with the same stem.
        taken: Ids that others have.

    Returns:
        href -> the stem where there is one file, else the stem after as many of its
        parent folders as tell the files apart, also from what is taken.

    >>> record_ids(["/a/2023/b4.tif", "/a/2024/b4.tif"])["/a/2024/b4.tif"]
    '2024/b4'
    """
    parts = {href: _stem_parts(href) for href in hrefs}
    longest = max(len(p) for p in parts.values())
    for depth in range(1, longest + 1):
        ids = {href: "/".join(p[-depth:]) for href, p in parts.items()}
        apart = len(set(ids.values())) == len(hrefs)
        if apart and not any(found in taken for found in ids.values()):
            return ids
    return {href: href for href in hrefs}


def could_be_id(record_id: str, href: str) -> bool:
    """Tells whether ``record_ids`` may have given a file this id.

    >>> could_be_id("2024/b4", "/a/2024/b4.tif"), could_be_id("4", "/a/2024/b4.tif")
    (True, False)
    """
    parts, given = _stem_parts(href), record_id.split("/")
    return record_id == href or parts[-len(given) :] == given


def stem(href: str) -> str:
    """Gives a file's name without its folders and its ending.

    >>> stem("https://host/a/scene.v1.tif?sig=x")
    'scene.v1'
    """
    return _stem_parts(href)[-1]


def _stem_parts(href: str) -> list[str]:
    pure = pathlib.PurePosixPath(plain_path(href))
    return [*(part for part in pure.parent.parts if part != "/"), pure.stem]
