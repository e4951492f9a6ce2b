"""Where a job reads and where it writes: what it reads must not be among what it writes."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from apache_beam.io.filesystems import FileSystems

from rasteret_beam.errors import OptionError
from rasteret_beam.output.formats import SUFFIXES, suffix_of
from rasteret_beam.storage import redact
from rasteret_beam.storage.addresses import fixed_folder, has_wildcard, local_path, matching, place

PARQUET, LETTERS = (".parquet",), (".jsonl", ".jsonl.gz")
TIFFS, STAC = (".tif", ".tiff"), (".json", ".geojson", ".ndjson", ".jsonl")
"""Endings of what is read of a folder."""

_SCHEMES = ("gs", "s3", "bq", "http", "https", "file", "hdfs", "azfs", "gcs")
_ONE_SLASH = re.compile(rf"({'|'.join(_SCHEMES)}):/([^/].*)?", re.IGNORECASE | re.DOTALL)
_EXTRAS = {"gs": "gcp", "s3": "aws", "azfs": "azure", "hdfs": "hadoop"}
"""What Beam can write to, and the extra of its package that it takes."""

_MEANT = {"gcs": "gs", "s3a": "s3", "s3n": "s3"}


class Source(NamedTuple):
    """What a flag names to read.

    Attributes:
        flag: The flag.
        value: A file, a pattern or a folder; None where it is not given.
        suffixes: Endings of the files that are read below a folder; none where a folder
            is not read.
    """

    flag: str
    value: str | None
    suffixes: tuple[str, ...] = ()


class Target(NamedTuple):
    """What a flag names to write to.

    Attributes:
        flag: The flag.
        value: A folder; None where it is not given.
        written: Names of files in it, with ``*`` and ``?``, that are written.
        replaced: Likewise, of files that go where they are there.
        owned: Endings of files that belong to it wherever below it they lie.
    """

    flag: str
    value: str | None
    written: tuple[str, ...]
    replaced: tuple[str, ...] = ()
    owned: tuple[str, ...] = ()


def samples_target(flag: str, folder: str | None, output_format: str) -> Target:
    """Gives the folder of samples; files of other formats go too, as of a run before."""
    name = "samples-?????-of-?????"
    every = tuple(name + suffix for suffix in SUFFIXES)
    return Target(flag, folder, (name + suffix_of(output_format),), every)


def letters_target(folder: str | None) -> Target:
    """Gives the folder of dead letters."""
    return Target("--dead_letters", folder, ("dead-letters-?????-of-?????.jsonl",))


def collection_target(folder: str) -> Target:
    """Gives the folder of a collection: all Parquet below it is read as its records."""
    names = ("part-*.parquet", "year=*/month=*/part-*.parquet")
    return Target("--output", folder, names, owned=PARQUET)


def check(sources: Sequence[Source], targets: Sequence[Target]) -> None:
    """Refuses flags that would have a job write into what it reads, or to no place at all.

    One folder in another is fine as long as no file of the one is taken for the other's:
    dead letters in the output, a collection's file or points beside it.

    Raises:
        OptionError: A target lies in a source, or a source in a target, in a way that
            harms; a target cannot be written to by its address; or an address has one
            slash where it needs two.
    """
    sources = [source for source in sources if source.value]
    targets = [target for target in targets if target.value]
    for source in sources:
        _check_slashes(source.flag, str(source.value))
    for target in targets:
        _check_slashes(target.flag, str(target.value))
        _check_scheme(target.flag, str(target.value))
        for source in sources:
            if _meet(source, target):
                refuse(source, target)


def refuse(source: Source, target: Target) -> None:
    """Says that a target is no place for a job with this source.

    Raises:
        OptionError: Always.
    """
    msg = (
        f"{target.flag} {redact(str(target.value))} would write into what {source.flag} "
        f"{redact(str(source.value))} reads; give {target.flag} a folder of its own"
    )
    raise OptionError(msg)


def is_replaced(target: Target, name: str) -> bool:
    """Tells whether a file goes, or is written over, when the target is written."""
    below = _below(place(name), place(str(target.value)))
    return below is not None and any(
        matching(pattern, [below]) for pattern in target.written + target.replaced
    )


def may_hold(source: Source, target: Target) -> bool:
    """Tells whether files of a pattern may lie in a target: a look at them would tell."""
    if not source.value or not target.value or not has_wildcard(source.value):
        return False
    return _below(place(target.value), _fixed(source.value)) is not None


def _meet(source: Source, target: Target) -> bool:
    address, folder = str(source.value), place(str(target.value))
    if has_wildcard(address):
        pattern, fixed = place(address), _fixed(address)
        written = [f"{folder}/{_example(name)}" for name in target.written]
        if matching(pattern, written):
            return True
        return pattern.endswith(target.owned) and _below(fixed, folder) is not None
    if is_replaced(target, address):
        return True
    inside = _below(place(address), folder)
    is_shared = bool(set(source.suffixes) & set(target.owned))
    if inside is not None and not _is_hidden(inside) and (
        is_shared or inside.endswith(target.owned)
    ):
        return True
    around = _below(folder, place(address))
    names = target.written + target.replaced
    return around is not None and not _is_hidden(around) and any(
        name.endswith(source.suffixes) for name in names
    )


def _fixed(pattern: str) -> str:
    # Without a folder of its own a pattern is of the one that the command is given in.
    return place(fixed_folder(pattern) or ".")


def _below(name: str, folder: str) -> str | None:
    """What of a name is below a folder; "" for the folder itself, None for what is not."""
    if name == folder:
        return ""
    top = folder.rstrip("/") + "/"
    return name.removeprefix(top) if name.startswith(top) else None


def _is_hidden(below: str) -> bool:
    """Readers of a folder pass such names over."""
    return any(part.startswith((".", "_")) for part in below.split("/"))


def _example(name: str) -> str:
    return re.sub(r"[*?]", "0", name)


def _check_slashes(flag: str, address: str) -> None:
    found = _ONE_SLASH.fullmatch(address)
    if found:
        scheme, rest = found[1].lower(), found[2] or ""
        meant = f"{_MEANT.get(scheme, scheme)}://{'/' if scheme == 'file' else ''}{rest}"
        msg = f"{flag} {redact(address)} has one slash after its scheme; {redact(meant)} was meant"
        raise OptionError(msg)


def _check_scheme(flag: str, address: str) -> None:
    """Refuses what none of Beam's filesystems can write."""
    if local_path(address) is not None:
        return
    scheme, _, rest = address.partition("://")
    try:
        FileSystems.get_filesystem(address)
    except (ValueError, OSError) as error:  # of a scheme, or of what it needs
        told = f"{flag} {redact(address)}: {scheme}://"
        if scheme in _EXTRAS:
            msg = f"{told} needs pip install 'apache-beam[{_EXTRAS[scheme]}]' to be written to"
            raise OptionError(msg) from error
        meant = _MEANT.get(scheme.lower(), scheme.lower())
        advice = f"; {redact(f'{meant}://{rest}')} was meant" if meant in _EXTRAS else ""
        msg = f"{told} cannot be written to, expected a local folder, gs:// or s3://{advice}"
        raise OptionError(msg) from error
