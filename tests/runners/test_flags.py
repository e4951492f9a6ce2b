"""Flag text -> values."""

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


def test_a_bbox_may_have_spaces():
    assert flags.bbox(" 1, -2,3.5 ,4e1") == (1.0, -2.0, 3.5, 40.0)


@pytest.mark.parametrize("text", ["1,2,3", "1,2,3,4,5", "a,b,c,d", "1 2 3 4", ",,,"])
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
