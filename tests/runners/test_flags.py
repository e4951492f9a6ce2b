"""Flag text -> values."""

import argparse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rasteret_beam.errors import OptionError
from rasteret_beam.runners import flags


@pytest.mark.parametrize("text", ["a,b,c", "a b c", "a;b;c", " a, b ;; c,", "a\tb\nc"])
def test_names_are_separated_by_commas_semicolons_or_spaces(text):
    assert flags.listed(text) == ("a", "b", "c")


@pytest.mark.parametrize("text", [None, "", " ,; "])
def test_no_name_is_an_empty_list(text):
    assert flags.listed(text) == ()


def test_pairs_are_read_in_their_order():
    assert list(flags.pairs("--bands", "red=0, nir=3", flags.index).items()) == [
        ("red", 0), ("nir", 3),
    ]  # fmt: skip


def test_a_value_may_hold_an_equals_sign():
    found = flags.pairs("--url_rewrite", "https://h/=https://o/?x=1", str)
    assert found == {"https://h/": "https://o/?x=1"}


@pytest.mark.parametrize("text", [None, ""])
def test_no_pair_is_an_empty_map(text):
    assert flags.pairs("--bands", text, str) == {}


@pytest.mark.parametrize("text", ["red", "red=", "=0", "red=0,red=1"])
def test_what_is_no_pair_is_refused(text):
    with pytest.raises(OptionError, match=r"--bands has .*expected NAME=VALUE with each name once"):
        flags.pairs("--bands", text, flags.index)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("A00:A03", ("A00", "A01", "A02", "A03")),
        ("B9:B11", ("B9", "B10", "B11")),
        ("B08:B10", ("B08", "B09", "B10")),
        ("B1:B1", ("B1",)),
        ("SCL;A00:A01 B8A", ("SCL", "A00", "A01", "B8A")),
        ("eo:red", ("eo:red",)),
        ("B02_10m:B02_11m", ("B02_10m:B02_11m",)),
        (None, ()),
    ],
)
def test_bands_may_be_ranges(text, names):
    assert flags.band_names("--bands", text) == names


@given(
    start=st.integers(0, 9_999), length=st.integers(1, 300), stem=st.sampled_from(["A", "B_"]),
)
def test_a_range_has_every_number_once(start, length, stem):
    stop = start + length - 1
    width = len(str(stop))
    names = flags.band_names("--bands", f"{stem}{start:0{width}d}:{stem}{stop:0{width}d}")
    assert [int(name.removeprefix(stem)) for name in names] == list(range(start, stop + 1))
    assert {len(name) for name in names} == {len(stem) + width}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A63:A00", "the lower number first"),
        ("A0:A99999999999", "65536 at most"),
        ("A00:B63", "expected a range like A00:A63"),
        ("A00:63", "expected a range like A00:A63"),
        ("A00:", "expected a range like A00:A63"),
        (":A00", "expected a range like A00:A63"),
        ("A00:A01:A02", "expected a range like A00:A63"),
        ("A1:A03", "as many digits"),
        ("A00:A0", "as many digits"),
    ],
)
def test_what_is_no_range_is_refused(text, message):
    with pytest.raises(OptionError, match=f"--bands has '{text}'.*{message}"):
        flags.band_names("--bands", text)


def test_indexes_may_be_ranges_too():
    assert flags.band_indexes("--bands", "A00:A02=1:3; QA=0") == {
        "A00": 1, "A01": 2, "A02": 3, "QA": 0,
    }  # fmt: skip
    assert flags.band_indexes("--bands", None) == {}


@pytest.mark.parametrize("text", ["A0:A2=0", "A0:A2=0:1", "A0=0:2", "A0:A2=0:2,A1=7"])
def test_names_and_indexes_come_in_pairs(text):
    with pytest.raises(OptionError, match="expected one each, like A00:A63=0:63"):
        flags.band_indexes("--bands", text)


@pytest.mark.parametrize("text", ["red=x", "red=-1"])
def test_what_is_no_index_of_a_band_is_refused(text):
    with pytest.raises(OptionError, match="is no index"):
        flags.band_indexes("--bands", text)


def _switch(*argv):
    parser = argparse.ArgumentParser()
    parser.add_argument("--dry", **flags.SWITCH)
    return parser.parse_args(argv).dry


def test_a_switch_is_bare_or_has_a_value_as_launchers_give_it():
    assert (_switch(), _switch("--dry"), _switch("--dry=true")) == (False, True, True)
    assert (_switch("--dry=false"), _switch("--dry", "True")) == (False, True)


@pytest.mark.parametrize("value", ["yes", "1", ""])
def test_a_switch_that_is_neither_is_refused(value, capsys):
    with pytest.raises(SystemExit):
        _switch(f"--dry={value}")
    assert f"expected true or false, got {value!r}" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["-1", "1.0", "x", "+1"])
def test_what_is_no_index_is_refused(value):
    with pytest.raises(OptionError, match="is no index, expected 0 or above"):
        flags.pairs("--bands", f"red={value}", flags.index)


def test_a_digit_that_is_no_number_is_refused():
    with pytest.raises(OptionError):
        flags.pairs("--bands", "red=\u00b2", flags.index)


@given(box=st.tuples(*[st.floats(allow_nan=False, allow_infinity=False)] * 4))
def test_a_bbox_is_four_numbers(box):
    assert flags.bbox(",".join(map(repr, box))) == box


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [("0", 0), ("1500", 1500), ("2k", 2000), ("2KiB", 2048), (" 1.5 GB ", 1_500_000_000),
     ("1 TiB", 1024**4), ("3B", 3)],
)  # fmt: skip
def test_bytes_are_read_in_any_unit(text, n_bytes):
    assert flags.byte_count(text) == n_bytes


@pytest.mark.parametrize("text", ["", "-1", "1e9", "GB", "1 PB", "one", "1.GB", "\u00b2"])
def test_what_is_no_number_of_bytes_is_refused(text):
    with pytest.raises(OptionError, match=r"--max_bytes has .*expected one like 20GB"):
        flags.limit("--max_bytes", text, flags.byte_count)


@pytest.mark.parametrize("text", ["", "-1", "1.0", "1,000", "\u00b2"])
def test_what_is_no_whole_number_is_refused(text):
    with pytest.raises(OptionError, match=r"--max_tiles has .* is no whole number"):
        flags.limit("--max_tiles", text, flags.number)


def test_no_limit_is_none():
    assert flags.limit("--max_tiles", None, flags.number) is None
    assert flags.limit("--max_tiles", "0", flags.number) == 0


@pytest.mark.parametrize("text", [" 1, -2,3.5 ,4e1", "1;-2;3.5;40", "1 -2 3.5 40"])
def test_a_bbox_is_separated_as_names_are(text):
    assert flags.bbox(text) == (1.0, -2.0, 3.5, 40.0)


@pytest.mark.parametrize("text", ["1,2,3", "1,2,3,4,5", "a,b,c,d", "1/2/3/4", ",,,"])
def test_what_is_no_bbox_is_refused(text):
    with pytest.raises(OptionError, match="expected xmin,ymin,xmax,ymax"):
        flags.bbox(text)


def test_a_date_range_is_two_texts():
    assert flags.date_range("2024-01-01/2024-02-01") == ("2024-01-01", "2024-02-01")
    assert flags.date_range("2024-01-01T00:00:00+02:00/2024")[1] == "2024"


@pytest.mark.parametrize("text", ["2024-01-01", "2024/01/01", "2024-01-01,2024-02-01"])
def test_what_is_no_date_range_is_refused(text):
    with pytest.raises(OptionError, match="expected START/END"):
        flags.date_range(text)


def test_an_object_is_read_as_json():
    assert flags.json_object("--query", '{"eo:cloud_cover": {"lt": 20}}') == {
        "eo:cloud_cover": {"lt": 20},
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "is no JSON"), ("[1]", "expected a JSON object"), ("5", "expected a JSON object")],
)
def test_what_is_no_object_is_refused(text, message):
    with pytest.raises(OptionError, match=message):
        flags.json_object("--query", text)


@pytest.mark.parametrize("read", [flags.bbox, flags.date_range])
@pytest.mark.parametrize("text", [None, ""])
def test_what_is_not_given_is_none(read, text):
    assert read(text) is None
    assert flags.json_object("--query", text) is None
