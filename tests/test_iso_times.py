"""Times in ISO 8601 text are what later Pythons read, on the oldest too."""

import datetime as dt
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rasteret_beam.iso_times import _as_python_writes, read_date, read_time

NOON = "2024-01-31T12:00:00"


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("2024-01-31", "2024-01-31"), ("20240131", "2024-01-31"),
        ("2024-01-31T12", NOON), ("2024-01-31 12:00", NOON), ("20240131T120000", NOON),
        (f"{NOON}.5", f"{NOON}.500000"), (f"{NOON},25", f"{NOON}.250000"),
        (f"{NOON}.123456789Z", f"{NOON}.123456+00:00"), (f"{NOON}z", f"{NOON}+00:00"),
        (f"{NOON}+02", f"{NOON}+02:00"), (f"{NOON}-0330", f"{NOON}-03:30"),
        (f"{NOON} +00:00", f"{NOON}+00:00"), ("20240131T1200Z", f"{NOON}+00:00"),
        (f"{NOON}+00:00:30", f"{NOON}+00:00:30"),
    ],
)  # fmt: skip
def test_forms_of_iso_8601_become_the_one_that_every_python_reads(text, plain):
    # Python has always read what it writes: what is equal to that needs no later Python.
    assert _as_python_writes(text) == plain
    assert read_time(text) == dt.datetime.fromisoformat(plain)


@pytest.mark.parametrize(
    "text",
    ["", "soon", "2024-0131", "2024-13-01", "2024-01-31T", f"{NOON}.Z.", f"{NOON}+2",
     f"{NOON}+01:00Z", "2024-01-31T25:00:00", "٢٠٢٤-01-31"],
)  # fmt: skip
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ValueError, match=r"isoformat|must be in|month|match"):
        read_time(text)


@given(st.datetimes(timezones=st.none() | st.timezones()), st.sampled_from("T "))
def test_what_python_writes_is_read_back(time, between):
    assert read_time(time.isoformat(between)).isoformat() == time.isoformat()


def test_a_date_with_a_time_is_no_date():
    assert read_date("20240131") == read_date("2024-01-31") == dt.date(2024, 1, 31)
    with pytest.raises(ValueError, match="isoformat"):
        read_date(NOON)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="the later Pythons are the judges")
@given(
    st.from_regex(
        r"\A20\d\d-?[01]\d-?[0-3]\d"
        r"([T ][0-2]\d(:?[0-5]\d(:?[0-5]\d([.,]\d{1,9})?)?)?(Z|[+-][01]\d(:?[0-5]\d)?)?)?\Z",
        alphabet="0123456789-:+.,TZ ",
    )
)
def test_what_later_pythons_read_is_read_the_same(text):
    try:
        expected = dt.datetime.fromisoformat(text)
    except ValueError:
        with pytest.raises(ValueError, match=r".*"):
            read_time(text)
    else:
        assert read_time(text) == expected
        assert read_time(text).tzinfo == expected.tzinfo
