"""Flags on how files are read: the same for every pipeline, and each does something."""

import argparse

import pytest

from rasteret_beam.errors import OptionError
from rasteret_beam.runners import launch, store_flags
from rasteret_beam.storage import Account, PlanetaryComputer, RetryPolicy, Store


def parsed(*words):
    parser = argparse.ArgumentParser()
    store_flags.declare(lambda *names, **more: launch.add_flag(parser, *names, **more))
    return parser.parse_args(words)


def test_without_flags_a_store_is_the_default():
    assert store_flags.store_of(parsed()) == Store()


def test_every_flag_has_its_field():
    flags = parsed(
        "--allow_http", "--allow_schemes", "https,file", "--allow_hosts", "*.a.org, my-bucket",
        "--attempts", "7", "--timeout_seconds", "1.5", "--billing_project", "p",
        "--s3_region", "eu-west-3", "--s3_requester_pays", "--signer", "planetary_computer",
    )  # fmt: skip
    assert store_flags.store_of(flags, "size", "https://a/=s3://a/;https://b/=s3://b/") == Store(
        allow_http=True,
        retries=RetryPolicy(attempts=7, timeout_seconds=1.5),
        freshness="size",
        allow_schemes=("https", "file"),
        allow_hosts=("*.a.org", "my-bucket"),
        account=Account(billing_project="p", s3_region="eu-west-3", s3_requester_pays=True),
        url_rewrite=(("https://a/", "s3://a/"), ("https://b/", "s3://b/")),
        signer=PlanetaryComputer(),
    )
    assert store_flags.store_of(parsed("--anonymous")).account.anonymous


def test_a_dataset_fills_in_its_region_and_signer_but_pays_for_nothing():
    landsat = store_flags.store_of(parsed(), dataset="earthsearch/landsat-c2-l2")
    assert landsat == Store(account=Account(s3_region="us-west-2"))
    assert store_flags.store_of(parsed(), dataset="pc/nasadem").signer == PlanetaryComputer()
    elsewhere = store_flags.store_of(parsed("--s3_region", "eu-west-3"), dataset="earthsearch/naip")
    assert elsewhere.account.s3_region == "eu-west-3"
    assert store_flags.store_of(parsed(), dataset="sentinel-2-l2a") == Store()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--attempts", "0"), "attempts is 0, expected 1 or more"),
        (("--timeout_seconds", "-1"), "timeout_seconds is -1.0, expected above 0"),
        (("--allow_schemes", "ftp"), "allow_schemes has 'ftp'"),
        (("--signer", "mine"), "signer is 'mine', expected one of planetary_computer"),
        (("--anonymous", "--billing_project", "p"), "billing_project needs an account that pays"),
    ],
)
def test_a_flag_that_cannot_work_is_refused(words, message):
    with pytest.raises(OptionError, match=message):
        store_flags.store_of(parsed(*words))
