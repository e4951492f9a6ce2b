"""What a person is told when a job ends; failures above the tolerated share among it."""

import pytest

from rasteret_beam.reporting import BUILD_SHARES, SAMPLE_SHARES, complaints, sample_summary

SOUND = {"points_read": 8, "points_with_rows": 8, "rows_written": 8, "samples_ok": 8}


def test_rows_that_failed_or_are_nodata_are_told_with_the_others():
    counts = {
        **SOUND, "rows_written": 8522, "samples_ok": 5982, "samples_fallback": 12,
        "samples_failed": 2528,
    }  # fmt: skip
    last = sample_summary(counts, 1.0).splitlines()[-1]
    assert last == "Samples   5,982 of their own pixel, 12 of a pixel near it, 2,528 failed"
    last = sample_summary({**SOUND, "samples_nodata": 3}, 1.0).splitlines()[-1]
    assert last == "Samples   8 of their own pixel, 3 nodata"


def test_a_run_whose_samples_are_all_sound_ends_with_its_rows():
    assert sample_summary(SOUND, 1.0).splitlines()[-1].startswith("Rows      8 written")


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
