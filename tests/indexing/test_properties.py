"""What an item says beside its bands: values and types, through to the written file."""

import datetime as dt
import decimal
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_tiff import write_tiff
from scenes import ramp

from rasteret_beam.indexing.headers import index_file
from rasteret_beam.indexing.items import AssetRef, Item
from rasteret_beam.indexing.layout import Sketch
from rasteret_beam.indexing.parts import collection_schema, write_part
from rasteret_beam.indexing.rows import make_row
from rasteret_beam.indexing.tables import RecordTable
from rasteret_beam.storage import Store

STORE = Store()
LARGE = 2**53 + 1


@pytest.fixture(scope="module")
def cog(tmp_path_factory):
    path = write_tiff(tmp_path_factory.mktemp("properties") / "a.tif", ramp(16, 16))
    return {str(path): index_file(STORE, str(path))}


def written(cog, values, declared=None):
    """Column p of a collection whose items have these values."""
    (href,) = cog
    items = [Item(str(n), {"B1": AssetRef(href)}, properties={"p": value})
             for n, value in enumerate(values)]  # fmt: skip
    return written_items(cog, items, None if declared is None else pa.schema([("p", declared)]))


def written_items(cog, items, declared=None):
    sketch, rows = Sketch(), []
    for item in items:
        row, letters, _ = make_row(item, cog)
        assert letters == []
        sketch.add(row)
        rows.append(row)
    told = Sketch()
    told.declare(declared or pa.schema([]))
    file = io.BytesIO()
    write_part(file, rows, collection_schema(sketch.layout(told.columns)))
    return pq.read_table(file)["p"]  # ids are in order, and all at one place


def through_a_table(cog, column):
    """Column p of a table, as the collection made of it has it."""
    (href,) = cog
    n_rows = len(column)
    rows = pa.table({
        "id": [str(n) for n in range(n_rows)], "datetime": pa.nulls(n_rows),
        "assets": [{"B1": href}] * n_rows, "p": column,
    })  # fmt: skip
    batch = RecordTable(table="t").batch(rows)
    assert batch.dead_letters == []
    return written_items(cog, batch.items, batch.columns)


# Values as JSON has them


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, None, -5], pa.int64()),
        ([1, 2.5], pa.float64()),
        ([True, None], pa.bool_()),
        (["a", None, ""], pa.string()),
        ([None], pa.string()),
        ([[1, 2], [], None], pa.list_(pa.field("element", pa.int64()))),
        ([{"a": 1, "b": "x"}], pa.struct([("a", pa.int64()), ("b", pa.string())])),
        ([[{"a": 1}]], pa.list_(pa.field("element", pa.struct([("a", pa.int64())])))),
    ],
)
def test_values_of_one_type_keep_it(cog, values, kind):
    found = written(cog, values)
    assert found.type == kind
    assert found.to_pylist() == values


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([1, "x", None], ["1", "x", None]),
        ([True, 1], ["true", "1"]),
        ([["a"], "x"], ['["a"]', "x"]),
        ([["a"], [1]], ['["a"]', "[1]"]),
        ([{"a": 1}, {"a": "x"}], ['{"a": 1}', '{"a": "x"}']),
        ([{"a": 1}, 2.5], ['{"a": 1}', "2.5"]),
    ],
)
def test_values_of_several_types_become_json_text(cog, values, texts):
    assert written(cog, values).to_pylist() == texts


def test_objects_of_different_members_have_all_of_them(cog):
    assert written(cog, [{"a": 1}, {"b": "x"}]).to_pylist() == [
        {"a": 1, "b": None}, {"a": None, "b": "x"},
    ]  # fmt: skip


@pytest.mark.parametrize(
    "value", [[1, "a"], {"a": [1, "x"]}, [{"a": 1}, {"a": "x"}]],
    ids=["list", "in object", "objects"],
)  # fmt: skip
def test_one_value_of_several_types_becomes_json_text(cog, value):
    assert [json.loads(text) for text in written(cog, [value]).to_pylist()] == [value]


@pytest.mark.parametrize("value", [{}, [{}], {"a": {}}])
def test_an_empty_object_can_be_written(cog, value):
    assert len(written(cog, [value])) == 1


@pytest.mark.parametrize("value", [2**63, 2**70, -(2**70)])
def test_a_large_integer_can_be_written(cog, value):
    assert len(written(cog, [value])) == 1


def test_a_large_integer_beside_a_fraction_can_be_written(cog):
    assert len(written(cog, [LARGE, 0.5])) == 2


def test_text_that_utf_8_does_not_hold_can_be_written(cog):
    assert len(written(cog, [json.loads('"\\ud800"')])) == 1


_INTS = st.integers(-(2**52), 2**52)
_VALUES = st.none() | st.booleans() | _INTS | st.floats(allow_nan=False) | st.text(max_size=4)


@settings(max_examples=50)
@given(values=st.lists(_VALUES | st.lists(_INTS, max_size=2), min_size=1, max_size=5))
def test_any_plain_values_can_be_written_together(cog, values):
    assert len(written(cog, values)) == len(values)


# Types that a table declares


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1, None], pa.int8()),
        pa.array([2**63], pa.uint64()),
        pa.array([1.5], pa.float16()),
        pa.array([0.1, None], pa.float32()),
        pa.array(["a"], pa.large_string()),
        pa.array([b"\xff\x00"]),
        pa.array([b"ab"], pa.binary(2)),
        pa.array([decimal.Decimal("1.23")], pa.decimal128(9, 2)),
        pa.array([dt.date(2024, 1, 1)]),
        pa.array([1], pa.time64("us")),
        pa.array([1], pa.duration("us")),
        pa.array([1_704_067_200_000], pa.timestamp("ms")),
        pa.array([1_704_067_200_000_001], pa.timestamp("us", "UTC")),
        pa.array([1_704_067_200_000_001], pa.timestamp("us", "Europe/Paris")),
        pa.array([[1, None], None], pa.list_(pa.field("element", pa.int16()))),
        pa.array([[1, 2]], pa.list_(pa.field("element", pa.int16()), 2)),
        pa.array([{"a": 1, "b": None}], pa.struct([("a", pa.int8()), ("b", pa.large_string())])),
        pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int8())),
        pa.array([True, None]),
        pa.array([None], pa.int16()),
    ],
    ids=lambda column: str(column.type),
)
def test_a_tables_column_keeps_type_and_values(cog, column):
    found = through_a_table(cog, column)
    assert found.type == column.type or pa.types.is_map(column.type)
    assert found.to_pylist() == column.to_pylist()


def test_a_dictionary_is_stored_as_its_values(cog):
    found = through_a_table(cog, pa.array(["a", "b", "a"]).dictionary_encode())
    assert (found.type, found.to_pylist()) == (pa.string(), ["a", "b", "a"])


@pytest.mark.parametrize("zone", [None, "UTC"])
def test_nanoseconds_become_microseconds(cog, zone):
    found = through_a_table(cog, pa.array([1_704_067_200_123_456_789], pa.timestamp("ns", zone)))
    assert found.type == pa.timestamp("us", zone)
    assert found.cast(pa.int64()).to_pylist() == [1_704_067_200_123_456]


def test_nulls_alone_become_text(cog):
    found = through_a_table(cog, pa.nulls(2))
    assert (found.type, found.to_pylist()) == (pa.string(), [None, None])


@pytest.mark.parametrize("kind", [pa.string_view(), pa.binary_view()])
def test_a_view_is_stored_as_plain_text_or_bytes(cog, kind):
    assert through_a_table(cog, pa.array(["a"]).cast(kind)).type in (pa.string(), pa.binary())


def test_an_extension_is_stored_as_its_storage(cog):
    column = pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, None], pa.int8()))
    assert through_a_table(cog, column).to_pylist() == [1, None]


def test_a_uuid_is_stored_as_bytes(cog):
    column = pa.array([bytes(range(16))], pa.uuid())
    assert through_a_table(cog, column).to_pylist() == [bytes(range(16))]


# Types that an earlier collection, or another file, declares


@pytest.mark.parametrize(
    ("values", "declared"),
    [([10, 10.5], pa.int64()), ([1, "x"], pa.int64()), (["x", [1]], pa.list_(pa.int64())),
     (["x", 1], pa.large_string()), ([300], pa.int8())],
    ids=["fraction", "text", "list", "large text", "small"],
)  # fmt: skip
def test_values_that_a_declared_type_does_not_hold_are_kept(cog, values, declared):
    # The first case is worst: 10.5 becomes 10, and nobody is told.
    found = written(cog, values, declared).to_pylist()
    assert [str(value) for value in found] == [json.dumps(v) if isinstance(v, list) else str(v)
                                               for v in values] or found == values  # fmt: skip


def test_declared_text_takes_other_values_as_json(cog):
    assert written(cog, ["x", 1, [2]], pa.string()).to_pylist() == ["x", "1", "[2]"]


def test_declared_fractions_take_integers(cog):
    assert written(cog, [1, 2.5], pa.float64()).to_pylist() == [1.0, 2.5]
