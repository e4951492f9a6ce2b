"""Conditions on columns: what they choose is what SQL would, and the rest is refused."""

import datetime as dt
import decimal

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rasteret_beam.collection.filters import Filters
from rasteret_beam.collection.where import parse_where
from rasteret_beam.errors import CollectionError, OptionError

TABLE = pa.table({
    "row": list(range(6)),
    "platform": ["S2A", "S2B", "A", None, "it's", ""],
    "flag": [True, False, None, None, True, False],
    "n": [5, 6, None, 5, -1, 0],
    "f": [1.5, None, 5.0, -1.0, 0.0, 6.0],
})
TYPES = pa.table({
    "row": [0, 1, 2],
    "day": pa.array([dt.date(2024, 1, 1), dt.date(2024, 1, 2), None]),
    "when": pa.array([1704067200000000, 1706659201000000, None], pa.timestamp("us", "UTC")),
    "small": pa.array([5, 6, None], pa.uint8()),
    "single": pa.array([0.5, 1.5, None], pa.float32()),
    "price": [decimal.Decimal("1.50"), decimal.Decimal("2.00"), None],
    "word": pa.array(["a", "b", None]).dictionary_encode(),
    "large": pa.array(["a", "b", None], pa.large_string()),
    "nothing": pa.nulls(3),
    "member": [{"n": 1, "s": "x"}, {"n": 2, "s": None}, None],
    "class": ["x", "y", None],
    "eo:cloud_cover": [1.5, 20.0, None],
    "view:off-nadir": [1, 2, None],
    "list": [[1], [2], None],
})


def chosen(text, table=TABLE):
    condition = parse_where(text, table.schema)
    return ds.dataset(table).to_table(["row"], filter=condition)["row"].to_pylist()


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("platform in ('S2A')", [0]),
        ("platform not in ('S2A')", [1, 2, 4, 5]),
        ("platform in ('S2A',)", [0]),
        ("platform in ['S2A', 'A']", [0, 2]),
        ("n in (5)", [0, 3]),
        ("flag is true", [0, 4]),
        ("flag IS NOT True", [1, 2, 3, 5]),
        ("flag is false", [1, 5]),
        ("flag and n = 5", [0]),
        ("not flag", [1, 5]),
        ("platform = 'it''s'", [4]),
        ('platform == "it\'s"', [4]),
        ("platform in ('', 'A')", [2, 5]),
        (r"platform = '\x41'", []),
        ("n <> 5", [1, 4, 5]),
        ("5 < n", [1]),
        ("(n) = (5)", [0, 3]),
        ("n = f or -1 = n", [4]),
    ],
)
def test_a_condition_means_what_it_says(text, rows):
    assert chosen(text) == rows


numbers = st.sampled_from(["5", "6", "-1", "0", "1.5", "-1.5", "5e0"])
words = st.sampled_from(["'S2A'", "'A'", "''", "'it''s'", "'S'"])
signs = st.sampled_from(["=", "==", "!=", "<>", "<", "<=", ">", ">="])
predicates = st.one_of(
    st.tuples(st.sampled_from(["n", "f"]), signs, numbers),
    st.tuples(numbers, signs, st.sampled_from(["n", "f"])),
    st.tuples(st.just("n"), signs, st.just("f")),
    st.tuples(st.just("platform"), signs, words),
    st.tuples(
        st.sampled_from(["n", "f"]), st.sampled_from(["in", "not in", "NOT IN"]),
        st.lists(numbers, min_size=1, max_size=3).map(lambda some: f"({', '.join(some)})"),
    ),
    st.tuples(
        st.just("platform"), st.sampled_from(["in", "not in"]),
        st.lists(words, min_size=1, max_size=3).map(lambda some: f"({', '.join(some)})"),
    ),
    st.tuples(
        st.sampled_from(["n", "f", "platform", "flag"]),
        st.sampled_from(["is null", "is not null"]),
    ),
    st.tuples(
        st.just("flag"),
        st.sampled_from(["", "is true", "is not true", "is false", "is not false", "= true"]),
    ),
).map(" ".join)
conditions = st.recursive(
    predicates,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["and", "or", "OR"]), inner).map(" ".join),
        inner.map("not {}".format), inner.map("({})".format),
    ),
    max_leaves=6,
)  # fmt: skip


@given(conditions)
def test_a_condition_chooses_what_sql_chooses(text):
    expected = duckdb.from_arrow(TABLE).filter(text).order("row").project("row").fetchall()
    assert chosen(text) == [row for (row,) in expected]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("day >= '2024-01-02'", [1]),
        ("day not in ('2024-01-01')", [1]),
        ("when < '2024-01-31'", [0]),
        ("when in ('2024-01-01')", [0]),
        ("small in (5.0, 300, 5.5, -1)", [0]),
        ("small not in (5.5)", [0, 1]),
        ("small < 300", [0, 1]),
        ("single in (0.5)", [0]),
        ("price in (1.5, 2)", [0, 1]),
        ("word = 'a'", [0]),
        ("word not in ('a')", [1]),
        ("large in ('a')", [0]),
        ("nothing = 'a' or nothing in (1)", []),
        ("nothing is null", [0, 1, 2]),
        ("member.n = 2", [1]),
        ("member.s is null", [1, 2]),
        ("class = 'x'", [0]),
        ("eo:cloud_cover < 20 and view:off-nadir = 1", [0]),
    ],
)
def test_values_are_compared_as_their_column_is(text, rows):
    assert chosen(text, TYPES) == rows


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("n is 5", "expected null, true or false, got '5'"),
        ("n is platform", "expected null, true or false"),
        ("n in 5", "expected values in brackets, got '5'"),
        ("n in ()", r"got '\)'"),
        ("n in (f)", "expected a number, quoted text, true or false, got 'f'"),
        ("n in (5, null)", "nothing is equal to null; write 'is null'"),
        ("n = null", "nothing is equal to null"),
        ("null != n", "nothing is equal to null"),
        ("1 < n < 9", "two comparisons in a row"),
        ("n = 5 is null", "got 'is'"),
        ("5 = 5", "names no column"),
        ("'n' = 5", "names no column"),
        ("'n'", "compared with nothing"),
        ("5 in (n)", "compared with nothing"),
        ("n between 1 and 2", "got 'between'"),
        ("platform like 'S%'", "got 'like'"),
        ("platform = 'S2' 'A'", "or the end"),
        ("platform = b'A'", "or the end"),
        ("n = 5 # or n = 6", "cannot read '# or"),
        ("n = 5 -- or n = 6", "got '-'"),
        ("n = 0x10", "cannot read '0x10'"),
        ("n = 5)", r"got '\)'"),
        ("abs(n) = 5", r"got '\('"),
        ("n = 'a", "cannot read"),
        ("n not 5", "expected 'in'"),
        ("", "got the end"),
        ("(" * 5000, "too deep"),
    ],
)
def test_what_is_no_condition_is_refused_before_a_collection_is_read(text, why):
    with pytest.raises(OptionError, match=why) as caught:
        Filters(where=text)
    assert str(caught.value).startswith("where=")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("row = 'a'", "column 'row' is int64; expected a number, got 'a'"),
        ("row in ('a')", "expected a number, got 'a'"),
        ("row = true", "expected a number, got True"),
        ("class in (5)", "column 'class' is string; expected quoted text, got 5"),
        ("class", "column 'class' is string, and so neither true nor false"),
        ("row is true", "column 'row' is int64, and so neither"),
        ("when = 'soon'", "expected YYYY-MM-DD or RFC 3339, got 'soon'"),
        ("day = '2024-01-01T05:00'", "expected a day"),
        ("row < 99999999999999999999", "64 bits"),
        ("list = 1", "pyarrow expression"),
        ("member.q = 1", "'member' is struct"),
        ("row.q = 1", "names 'row.q'; 'row' is int64"),
        ("zz = 1", "names column 'zz'; its columns are"),
    ],
)
def test_what_does_not_fit_its_column_is_refused(text, why):
    with pytest.raises(CollectionError, match=why):
        chosen(text, TYPES)
