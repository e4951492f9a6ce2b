"""When failures end a job with exit code 1: the tolerated share, at its edges."""

import pytest

from rasteret_beam.errors import OptionError
from rasteret_beam.reporting import BUILD_SHARES, SAMPLE_SHARES, complaints
from rasteret_beam.runners.launch import Report


def _tiles(failed, planned, threshold):
    return complaints({"tiles_failed": failed, "tiles_planned": planned}, SAMPLE_SHARES, threshold)


@pytest.mark.parametrize("threshold", [0.0, 0.01, 1.0])
def test_nothing_planned_or_nothing_failed_is_no_failure(threshold):
    assert complaints({}, SAMPLE_SHARES + BUILD_SHARES, threshold) == []
    assert _tiles(0, 5, threshold) == []


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_sparse_tiles_are_no_failures(threshold):
    counts = {"tiles_planned": 4, "tiles_sparse": 4, "tiles_failed": 0}
    assert complaints(counts, SAMPLE_SHARES, threshold) == []


def test_at_0_one_failure_of_many_is_too_much():
    assert len(_tiles(1, 10**9, 0.0)) == 1


def test_at_1_nothing_is_too_much():
    assert _tiles(7, 7, 1.0) == []


@pytest.mark.parametrize(
    ("failed", "planned", "threshold"), [(1, 10, 0.1), (1, 4, 0.25), (29, 100, 0.29)],
)
def test_as_much_as_is_tolerated_is_tolerated_and_one_more_is_not(failed, planned, threshold):
    assert _tiles(failed, planned, threshold) == []
    assert len(_tiles(failed + 1, planned, threshold)) == 1


@pytest.mark.parametrize("share", SAMPLE_SHARES + BUILD_SHARES, ids=lambda share: share.what)
def test_every_kind_of_failure_is_held_against_its_own_total(share):
    counts = {share.failed: 2, share.tried: 10}
    (told,) = complaints(counts, SAMPLE_SHARES + BUILD_SHARES, 0.1)
    assert f"2 of 10 {share.what} failed (20.00 %)" in told


@pytest.mark.parametrize("threshold", [-0.001, 1.001, float("nan"), float("inf")])
def test_what_is_no_share_is_refused(threshold):
    with pytest.raises(OptionError, match="expected 0 to 1"):
        Report(lambda *_: "", SAMPLE_SHARES, threshold)
