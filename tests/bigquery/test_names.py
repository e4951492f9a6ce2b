"""Column names that BigQuery takes, whatever points and bands are called."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rasteret_beam import OptionError
from rasteret_beam.bigquery import TableName, safe_names

CORPUS = [
    ("B04", "B04"),
    ("eo:cloud_cover", "eo_cloud_cover"),
    ("properties.site.id", "properties_site_id"),
    ("name with spaces", "name_with_spaces"),
    ("2024", "_2024"),
    ("", "_"),
    ("Température", "Temperature"),
    ("Höhe (m)", "Hohe__m_"),
    ("高度", "__"),
    ("a`b", "a_b"),
    ("_TABLE_SUFFIX", "c_TABLE_SUFFIX"),
    ("_file_name", "c_file_name"),
    ("_PARTITIONTIME", "c_PARTITIONTIME"),
    ("_Row_Timestamp", "c_Row_Timestamp"),
    ("__ROOT__x", "c__ROOT__x"),
    ("_ColIdentifier", "c_ColIdentifier"),
    ("_CHANGE_TYPE", "c_CHANGE_TYPE"),
    ("%TABLE_x", "c_TABLE_x"),
    ("_table", "_table"),
    ("x" * 301, "x" * 300),
]


@pytest.mark.parametrize(("name", "safe"), CORPUS)
def test_a_name_becomes_one_that_a_table_can_have(name, safe):
    assert safe_names([name]) == [safe]


def test_names_that_are_good_stay_whatever_the_others_are_called():
    assert safe_names(["a.b", "a:b", "a_b"]) == ["a_b_2", "a_b_3", "a_b"]


def test_names_that_differ_in_case_only_become_two():
    assert safe_names(["B8A", "b8a", "b8A_2"]) == ["B8A", "b8a_3", "b8A_2"]


def test_long_names_that_end_alike_stay_apart():
    first, second = safe_names(["x" * 400 + "1", "x" * 400 + "2"])
    assert first != second
    assert {len(first), len(second)} == {300}


@given(st.lists(st.text(st.sampled_from("aAbB_.:é01T-PARTION"), max_size=6), max_size=8))
def test_any_names_become_as_many_good_ones(names):
    found = safe_names(names)
    assert len({name.lower() for name in found}) == len(names)
    assert all(re.fullmatch(r"[A-Za-z_]\w{0,299}", name, re.ASCII) for name in found)
    assert not any(name.lower().startswith("_partition") for name in found)
    assert safe_names(found) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("bq://my-project.samples.april", ("my-project", "samples", "april")),
        ("my-project:samples.april", ("my-project", "samples", "april")),
        ("a.com:my-project.samples.t$2024", ("a.com:my-project", "samples", "t$2024")),
    ],
)  # fmt: skip
def test_a_table_is_named_as_google_names_it(text, found):
    assert TableName.parse(text) == found


@pytest.mark.parametrize("text", ["bq://samples.april", "gs://bucket/table", "", "bq://p.d.t.u/x"])
def test_what_names_no_table_is_refused_with_an_example(text):
    with pytest.raises(OptionError, match=r"bq://project\.dataset\.table"):
        TableName.parse(text)
