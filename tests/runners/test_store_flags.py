"""Flags on how files are read: the same for every pipeline, and each does something."""

import argparse

import pytest

from rasteret_beam.errors import OptionError
from rasteret_beam.runners import launch, store_flags
from rasteret_beam.storage import RetryPolicy, Store


def parsed(*words):
    parser = argparse.ArgumentParser()
    store_flags.declare(lambda *names, **more: launch.add_flag(parser, *names, **more))
    return parser.parse_args(words)


def test_without_flags_a_store_is_the_default():
    assert store_flags.store_of(parsed()) == Store()


def test_every_flag_has_its_field():
    flags = parsed(
        "--allow_http", "--allow_schemes", "https,file", "--allow_hosts", "*.a.org, my-bucket",
        "--attempts", "7", "--timeout_seconds", "1.5",
    )  # fmt: skip
    assert store_flags.store_of(flags, "size") == Store(
        allow_http=True,
        retries=RetryPolicy(attempts=7, timeout_seconds=1.5),
        freshness="size",
        allow_schemes=("https", "file"),
        allow_hosts=("*.a.org", "my-bucket"),
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--attempts", "0"), "attempts is 0, expected 1 or more"),
        (("--timeout_seconds", "-1"), "timeout_seconds is -1.0, expected above 0"),
        (("--allow_schemes", "ftp"), "allow_schemes has 'ftp'"),
    ],
)
def test_a_flag_that_cannot_work_is_refused(words, message):
    with pytest.raises(OptionError, match=message):
        store_flags.store_of(parsed(*words))
