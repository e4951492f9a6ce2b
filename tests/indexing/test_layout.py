"""How a collection is cut: folders, files, columns, whatever order rows come in."""

import datetime as dt
import pickle
import random

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rasteret_beam.grid.hilbert import hilbert_index
from rasteret_beam.indexing import layout as layouts
from rasteret_beam.indexing.layout import Shard, Sketch, cell_of, common_type, partition_of
from rasteret_beam.indexing.rows import IndexedItem

UNDATED = "year=__HIVE_DEFAULT_PARTITION__/month=__HIVE_DEFAULT_PARTITION__"
MEBIBYTE = 1024 * 1024


def utc(*parts):
    return dt.datetime(*parts)  # noqa: DTZ001 -- UTC, as stored


def indexed(name="a", when=None, lon=0.0, lat=0.0, n_bytes=1000, **more):
    told = {"columns": {}, "bands": ("B1",), **more}
    return IndexedItem(
        name, when, (lon, lat, lon, lat), n_bytes=n_bytes, packed=b"", **told,
    )


def sketch_of(items):
    sketch = Sketch()
    for item in items:
        sketch.add(item)
    return sketch


def layout_of(items, declared=None):
    return sketch_of(items).layout(declared)


def test_a_sketch_travels():
    sketch = sketch_of([indexed("a", utc(2024, 1, 1), columns={"p": pa.int8()})])
    assert pickle.loads(pickle.dumps(sketch)).layout() == sketch.layout()  # noqa: S301


# Folders


@pytest.mark.parametrize(
    ("when", "folder"),
    [
        (utc(2024, 5, 1), "year=2024/month=5"),
        (utc(1999, 12, 31, 23, 59), "year=1999/month=12"),
        (None, UNDATED),
    ],
)
def test_rows_are_partitioned_as_rasteret_does(when, folder):
    assert partition_of(when) == folder


def test_a_row_goes_into_the_folder_of_its_month():
    items = [indexed("a", utc(2024, 1, 1)), indexed("b", utc(2024, 2, 1)), indexed("c")]
    found = layout_of(items)
    folders = ["year=2024/month=1", "year=2024/month=2", UNDATED]
    assert [found.shard_of(item).folder for item in items] == folders


def test_a_collection_without_dates_has_no_folders():
    assert layout_of([indexed()]).shard_of(indexed()) == Shard("", 0)


# Files


def test_few_rows_share_a_file():
    items = [indexed(str(n), lon=n - 180.0) for n in range(360)]
    found = layout_of(items)
    assert {found.shard_of(item) for item in items} == {Shard("", 0)}


def test_rows_of_a_full_place_spread_over_files():
    items = [indexed(str(n), n_bytes=MEBIBYTE) for n in range(512)]
    found = layout_of(items)
    assert {found.shard_of(item).number for item in items} == {0, 1, 2, 3}


def test_equal_ids_at_one_place_share_a_file():
    items = [indexed(str(n), n_bytes=MEBIBYTE) for n in range(512)]
    found = layout_of(items)
    again = indexed("7", n_bytes=5)
    assert found.shard_of(again) == found.shard_of(items[7])


def test_files_are_numbered_in_each_folder():
    days = [utc(2024, month, 1) for month in (1, 2)]
    items = [indexed(str(n), day, n_bytes=MEBIBYTE) for day in days for n in range(256)]
    found = layout_of(items)
    assert sorted({found.shard_of(item) for item in items}) == [
        (f"year=2024/month={month}", number) for month in (1, 2) for number in (0, 1)
    ]


def test_many_small_rows_are_cut_by_their_number(monkeypatch):
    monkeypatch.setattr(layouts, "_FILE_ROWS", 10)
    items = [indexed(str(n), lon=n / 100) for n in range(100)]
    found = layout_of(items)
    assert {found.shard_of(item).number for item in items} == set(range(10))


_ROWS = st.lists(
    st.tuples(
        st.sampled_from([None, utc(2024, 1, 1), utc(2024, 2, 1)]),
        st.floats(-180, 180), st.floats(-90, 90), st.integers(1, 80 * MEBIBYTE),
    ),
    min_size=1, max_size=40,
)  # fmt: skip


@given(rows=_ROWS, seed=st.integers(0, 1000))
def test_a_layout_does_not_depend_on_the_order_of_merging(rows, seed):
    items = [indexed(f"{n}", *row, bands=(f"B{n % 12}",)) for n, row in enumerate(rows)]
    whole = layout_of(items)
    order = random.Random(seed)
    order.shuffle(items)
    sketches = [sketch_of(items[at : at + 7]) for at in range(0, len(items), 7)]
    while len(sketches) > 1:
        some = [sketches.pop(order.randrange(len(sketches))) for _ in range(2)]
        merged = Sketch()
        merged.merge(some)
        sketches.append(merged)
    assert sketches[0].layout() == whole


@given(rows=_ROWS)
def test_every_row_has_one_file_of_bounded_size(rows):
    items = [indexed(f"{n}", *row) for n, row in enumerate(rows)]
    found = layout_of(items)
    sizes = {}
    for item in items:
        shard = found.shard_of(item)
        assert shard.folder == ("" if found.dates is None else partition_of(item.datetime))
        sizes[shard] = sizes.get(shard, 0) + item.n_bytes
    numbers = {shard.folder: {s.number for s in sizes if s.folder == shard.folder}
               for shard in sizes}  # fmt: skip
    ends = dict.fromkeys(numbers, 0)
    for (folder, _), (first, n_files) in found.shards.items():
        key = "" if found.dates is None else folder
        ends[key] = max(ends[key], first + n_files)
    assert all(max(numbers[folder]) < ends[folder] for folder in numbers)


@given(rows=_ROWS)
def test_places_that_share_a_file_fit_in_it(rows):
    found = sketch_of([indexed(f"{n}", *row) for n, row in enumerate(rows)])
    shares, lonely = {}, {}
    for key, (first, n_files) in found.layout().shards.items():
        n_bytes = found._sizes[key][1]
        if n_files == 1:
            shares[key[0], first] = shares.get((key[0], first), 0) + n_bytes
            lonely[key[0], first] = lonely.get((key[0], first), 0) + 1
        else:
            assert n_bytes / n_files <= 1.25 * layouts._FILE_BYTES
    for shard, n_bytes in shares.items():
        # A place alone may have half a file more: rounding gives it one.
        limit = 1.5 if lonely[shard] == 1 else 1.0
        assert n_bytes <= limit * layouts._FILE_BYTES


def test_no_row_has_no_layout():
    found = Sketch().layout()
    assert (found.bands, found.dates, found.shards) == ((), None, {})


# What is known of all rows


def test_bands_are_in_the_order_in_which_items_have_them():
    items = [indexed(bands=("red", "green", "blue")), indexed(bands=("red", "nir"))]
    assert layout_of(items).bands == ("red", "green", "nir", "blue")


def test_bands_of_one_place_are_in_natural_order():
    items = [indexed(bands=(band,)) for band in ("B10", "B2", "SCL", "B1", "B8A", "B8")]
    assert layout_of(items).bands == ("B1", "B2", "B8", "B8A", "B10", "SCL")


def test_dates_are_the_first_and_the_last():
    days = [utc(2024, 1, day) for day in (5, 3, 9)]
    items = [indexed(str(n), day) for n, day in enumerate([*days, None])]
    assert layout_of(items).dates == (days[1], days[2])


# Columns


@pytest.mark.parametrize(
    ("first", "second", "common"),
    [
        (pa.int64(), pa.int64(), pa.int64()),
        (pa.int8(), pa.int64(), pa.int64()),
        (pa.int64(), pa.float64(), pa.float64()),
        (pa.null(), pa.int8(), pa.int8()),
        (pa.string(), pa.int64(), pa.string()),
        (pa.bool_(), pa.int64(), pa.string()),
        (pa.list_(pa.null()), pa.list_(pa.int64()), pa.list_(pa.int64())),
        (pa.list_(pa.string()), pa.list_(pa.int64()), pa.string()),
        (pa.list_(pa.int64()), pa.string(), pa.string()),
        (pa.struct([("a", pa.int64())]), pa.struct([("b", pa.string())]),
         pa.struct([("a", pa.int64()), ("b", pa.string())])),
        (pa.struct([("a", pa.int64())]), pa.struct([("a", pa.string())]), pa.string()),
        (pa.timestamp("us"), pa.string(), pa.string()),
        (pa.string(), pa.large_string(), pa.large_string()),
    ],
)  # fmt: skip
def test_types_have_a_common_type(first, second, common):
    assert common_type(first, second).equals(common)
    if not pa.types.is_struct(first):
        assert common_type(second, first).equals(common)


_LEAVES = st.sampled_from([
    pa.null(), pa.bool_(), pa.int8(), pa.int64(), pa.float32(), pa.float64(), pa.string(),
    pa.timestamp("us"), pa.timestamp("us", "UTC"), pa.date32(),
])  # fmt: skip
_JSON_TYPES = st.sampled_from([pa.null(), pa.bool_(), pa.int64(), pa.float64(), pa.string()])
_NESTED = st.recursive(
    _JSON_TYPES,
    lambda kind: kind.map(pa.list_)
    | st.dictionaries(st.sampled_from("ab"), kind, min_size=1, max_size=2).map(
        lambda fields: pa.struct(sorted(fields.items())),
    ),
    max_leaves=3,
)  # fmt: skip


@given(kinds=st.lists(_LEAVES, min_size=2, max_size=5), seed=st.integers(0, 99))
def test_a_columns_type_does_not_depend_on_the_order_of_rows(kinds, seed):
    shuffled = kinds.copy()
    random.Random(seed).shuffle(shuffled)
    found = [layout_of([indexed(columns={"p": k}) for k in ks]).columns for ks in (kinds, shuffled)]
    assert found[0].equals(found[1])


def _told(kind):
    """A type as text, whatever the order of members."""
    if pa.types.is_struct(kind):
        fields = (kind.field(at) for at in range(kind.num_fields))
        return "{" + ", ".join(sorted(f"{f.name}: {_told(f.type)}" for f in fields)) + "}"
    return f"[{_told(kind.value_type)}]" if pa.types.is_list(kind) else str(kind)


@given(kinds=st.lists(_NESTED, min_size=2, max_size=4), seed=st.integers(0, 99))
def test_a_nested_columns_type_does_not_depend_on_the_order_of_rows(kinds, seed):
    shuffled = kinds.copy()
    random.Random(seed).shuffle(shuffled)
    found = [layout_of([indexed(columns={"p": k}) for k in ks]).columns for ks in (kinds, shuffled)]
    assert _told(found[0].field("p").type) == _told(found[1].field("p").type)


def test_the_members_of_a_column_do_not_depend_on_the_order_of_rows():
    kinds = [pa.struct([(name, pa.int64())]) for name in "ab"]
    found = [
        layout_of([indexed(columns={"p": kind}) for kind in order]).columns
        for order in (kinds, kinds[::-1])
    ]
    assert found[0].equals(found[1])


def test_numbers_text_and_bytes_together_are_text_in_any_order():
    kinds = [pa.int64(), pa.string(), pa.binary()]
    found = [
        layout_of([indexed(columns={"p": kind}) for kind in order]).columns.field("p").type
        for order in (kinds, kinds[::-1])
    ]
    assert found == [pa.string(), pa.string()]


def test_columns_are_in_order_of_their_names():
    items = [indexed(columns={"b": pa.int64()}), indexed(columns={"a": pa.string()})]
    assert layout_of(items).columns.names == ["a", "b"]


def test_a_declared_type_holds_where_values_tell_none():
    items = [indexed(columns={"p": pa.null(), "q": pa.float64()})]
    declared = pa.schema([("p", pa.int8()), ("r", pa.float32())])
    assert layout_of(items, declared).columns == pa.schema(
        [("p", pa.int8()), ("q", pa.float64()), ("r", pa.float32())],
    )


@pytest.mark.parametrize(
    ("kind", "stored"),
    [
        (pa.struct([]), pa.string()), (pa.list_(pa.string_view()), pa.list_(pa.string())),
        (pa.struct({"a": pa.list_(pa.struct([])), "b": pa.int8()}), pa.string()),
        (pa.null(), pa.string()), (pa.dictionary(pa.int8(), pa.string()), pa.string()),
        (pa.dictionary(pa.int8(), pa.int64()), pa.int64()), (pa.json_(), pa.string()),
        (pa.decimal128(5, 2), pa.decimal128(5, 2)), (pa.large_string(), pa.large_string()),
    ],
)  # fmt: skip
def test_what_a_type_is_stored_as(kind, stored):
    items = [indexed(columns={"p": pa.null()})]
    assert layout_of(items, pa.schema([("p", kind)])).columns.field("p").type == stored


# Places


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_the_curve_visits_every_cell_once_and_steps_to_a_neighbour(order):
    side = 2**order
    cells = {}
    for col in range(side):
        for row in range(side):
            lon, lat = -180 + 360 * (col + 0.5) / side, -90 + 180 * (row + 0.5) / side
            cells[hilbert_index(lon, lat, order)] = col, row
    assert sorted(cells) == list(range(4**order))
    steps = [
        abs(cells[n][0] - cells[n + 1][0]) + abs(cells[n][1] - cells[n + 1][1])
        for n in range(4**order - 1)
    ]
    assert set(steps) == {1}


@given(lon=st.floats(-1e9, 1e9), lat=st.floats(-1e9, 1e9), order=st.integers(1, 12))
def test_places_off_the_earth_have_a_cell(lon, lat, order):
    assert 0 <= hilbert_index(lon, lat, order) < 4**order


def test_a_bbox_is_at_its_centre():
    assert cell_of((0.0, 0.0, 20.0, 10.0), 5) == hilbert_index(10.0, 5.0, 5)


@pytest.mark.parametrize("kind", [pa.int64(), pa.null(), pa.float64()])
def test_cloud_cover_is_a_double_as_rasterets(kind):
    columns = layout_of([indexed(columns={"eo:cloud_cover": kind})]).columns
    assert columns == pa.schema([("eo:cloud_cover", pa.float64())])
