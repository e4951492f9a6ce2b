"""What a person is told while a job runs and when it ends."""

from rasteret_beam.reporting import sample_summary

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
