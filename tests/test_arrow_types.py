"""Views of text and bytes, wherever they stand, become text and bytes of the same values."""

import pyarrow as pa
import pytest

from rasteret_beam.arrow_types import rows_without_views, without_views

TEXT, BYTES, NUMBER = pa.string_view(), pa.binary_view(), pa.int8()
VALUES = [
    (TEXT, pa.string(), ["a", None]),
    (BYTES, pa.binary(), [b"a" * 40, None]),
    (pa.struct({"a": TEXT, "n": NUMBER}), pa.struct({"a": pa.string(), "n": NUMBER}),
     [{"a": "x", "n": 1}, None]),
    (pa.list_(TEXT), pa.list_(pa.string()), [["x", None], None, []]),
    (pa.large_list(BYTES), pa.large_list(pa.binary()), [[b"x"], None]),
    (pa.list_(TEXT, 2), pa.list_(pa.string(), 2), [["x", "y"], ["z", None]]),
    (pa.map_(TEXT, pa.list_(TEXT)), pa.map_(pa.string(), pa.list_(pa.string())),
     [[("k", ["v"])], None]),
    (pa.list_(pa.struct({"a": pa.struct({"b": TEXT})})),
     pa.list_(pa.struct({"a": pa.struct({"b": pa.string()})})), [[{"a": {"b": "x"}}]]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "plain", "values"), VALUES, ids=[str(v[0]) for v in VALUES])
def test_values_stay_as_they_are(kind, plain, values):
    assert without_views(kind) == plain
    batch = pa.record_batch({"v": pa.array(values, kind)}).replace_schema_metadata({b"k": b"v"})
    found = rows_without_views(batch)
    assert found.schema == pa.schema({"v": plain})
    assert found.column(0).to_pylist() == batch.column(0).to_pylist()
    assert found.schema.metadata == {b"k": b"v"}


@pytest.mark.parametrize(
    "kind",
    [NUMBER, pa.list_view(NUMBER), pa.dictionary(NUMBER, pa.string()), pa.uuid(), pa.struct([]),
     pa.map_(pa.string(), NUMBER, keys_sorted=True), pa.list_(pa.field("element", NUMBER))],
    ids=str,
)  # fmt: skip
def test_other_types_stay_as_they_are(kind):
    assert without_views(kind).equals(kind, check_metadata=True)


def test_rows_without_views_are_not_copied():
    table = pa.table({"a": ["x"]})
    assert rows_without_views(table) is table
