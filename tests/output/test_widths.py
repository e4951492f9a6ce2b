"""The bytes of values: of each by itself, whatever array they stand in."""

import numpy as np
import pyarrow as pa
import pytest

from rasteret_beam.output.widths import row_bytes, value_bytes

WORDS = ["a", None, "ccc", "", "ccc"]
LISTS = [["a", "bb"], None, [], ["ccc", None]]


@pytest.mark.parametrize("kind", [
    pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.binary_view(),
    pa.dictionary(pa.int8(), pa.string()), pa.dictionary(pa.uint32(), pa.large_string()),
], ids=str)  # fmt: skip
def test_text_has_the_bytes_of_its_letters_however_it_is_stored(kind):
    assert value_bytes(pa.array(WORDS).cast(kind)).tolist() == [1, 0, 3, 0, 3]


@pytest.mark.parametrize(("value", "kind", "expected"), [
    (1, pa.int16(), 2), (1, pa.float64(), 8), (True, pa.bool_(), 1), (1, pa.timestamp("us"), 8),
    (1, pa.decimal128(9), 16), (b"four", pa.binary(4), 4), (1, pa.date32(), 4),
], ids=str)  # fmt: skip
def test_what_has_one_size_has_it_but_for_nulls(value, kind, expected):
    assert value_bytes(pa.array([value, None], kind)).tolist() == [expected, 0]


@pytest.mark.parametrize("kind", [
    pa.list_(pa.string()), pa.large_list(pa.string()), pa.list_view(pa.string()),
    pa.large_list_view(pa.string()),
], ids=str)  # fmt: skip
def test_a_list_has_the_bytes_of_its_values(kind):
    assert value_bytes(pa.array(LISTS, kind)).tolist() == [3, 0, 0, 3]


def test_what_is_made_of_others_has_their_bytes():
    pairs = pa.array([[("a", 1), ("bb", 2)], None], pa.map_(pa.string(), pa.int32()))
    assert value_bytes(pairs).tolist() == [11, 0]
    fields = pa.array([{"a": 1, "b": "xx"}, None, {"a": None, "b": "y"}])
    assert value_bytes(fields).tolist() == [10, 0, 1]
    assert value_bytes(pa.array([[1, 2], None], pa.list_(pa.int8(), 2))).tolist() == [2, 0]
    runs = pa.RunEndEncodedArray.from_arrays([2, 3], ["ab", None])
    assert value_bytes(runs).tolist() == [2, 2, 0]
    assert value_bytes(pa.array(["{}", None], pa.json_())).tolist() == [2, 0]


def test_what_has_no_size_has_none():
    assert value_bytes(pa.nulls(2)).tolist() == [0, 0]
    number = pa.array([0], pa.int8()), pa.array([0], pa.int32())
    assert value_bytes(pa.UnionArray.from_dense(*number, [pa.array([1])])).tolist() == [0]
    assert row_bytes(pa.record_batch({})).tolist() == []


def test_a_slice_has_the_bytes_of_its_own_values():
    rows = pa.record_batch({"words": WORDS, "lists": [*LISTS, None], "n": [1, 2, None, 4, 5]})
    dictionary = rows.column("words").dictionary_encode()
    rows = rows.append_column("kind", dictionary)
    whole = row_bytes(rows)
    assert whole.tolist() == [1 + 3 + 8 + 1, 8, 6, 3 + 8, 6 + 8]
    parts = [row_bytes(rows.slice(start, 2)) for start in (0, 2, 4)]
    assert np.concatenate(parts).tolist() == whole.tolist()
