"""Reading only what points are near to: which rows, under which numbers, in which groups."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import Scene, file_item, index_table, ramp, write_scene

from rasteret_beam import collection
from rasteret_beam.collection import CollectionQuery, Near
from rasteret_beam.collection.distinct import alike
from rasteret_beam.collection.filters import Filters
from rasteret_beam.collection.survey import open_file

BANDS = ("B1",)
N_PLACES, N_DATES = 6, 5

sides = st.floats(-200, 200) | st.integers(-4, 4).map(float)
boxes = st.lists(st.tuples(sides, sides, sides, sides), max_size=20)
points = st.lists(st.tuples(sides, sides), max_size=20)


@given(points, boxes)
def test_near_never_misses_a_box_that_holds_a_point(points, boxes):
    lon, lat = np.array(points, np.float64).reshape(-1, 2).T
    found = Near(lon, lat).may_hold(np.array(boxes, np.float64).reshape(-1, 4))
    for box, may in zip(boxes, found, strict=True):
        holds = any(box[0] <= x <= box[2] and box[1] <= y <= box[3] for x, y in points)
        assert may or not holds


def test_near_leaves_out_what_is_far_from_every_point():
    near = Near(np.array([0.0, 100.0]), np.array([0.0, 50.0]))
    boxes = np.array([[10, 10, 20, 20], [101, 0, 102, 60], [np.nan, 0, 1, 1], [1, 0, 0, 1]])
    assert near.may_hold(boxes).tolist() == [False] * 4


values = st.sampled_from([
    None, {"a": 1, "b": [1.0, 2.0], "c": None}, {"a": 1, "b": [1.0], "c": {"d": "x"}},
    {"a": None, "b": None, "c": {"d": None}}, {"a": 1, "b": [], "c": {"d": "x"}},
])  # fmt: skip


@given(st.lists(st.tuples(values, st.sampled_from(["u", "v", None])), max_size=12))
def test_alike_tells_rows_apart_as_their_values_do(rows):
    kind = pa.struct([("a", pa.int32()), ("b", pa.list_(pa.float64())),
                      ("c", pa.struct([("d", pa.string())]))])  # fmt: skip
    structs, texts = ([row[at] for row in rows] for at in (0, 1))
    columns = [pa.array(structs, kind), pa.array(texts, pa.string())]
    kinds, first = alike(columns, len(rows))
    told = [repr((columns[0][at].as_py(), columns[1][at].as_py())) for at in range(len(rows))]
    assert len(set(told)) == len(first)
    assert [told[first[kind]] for kind in kinds] == told


@pytest.fixture(scope="module")
def uri(tmp_path_factory):
    """Six places, 3 degrees apart, five dates each; two files, row groups of four."""
    folder = tmp_path_factory.mktemp("near")
    scene = Scene(name="s", pixels=ramp(16, 16), epsg=4326, origin=(0.0, 10.0), scale=(0.05, -0.05))
    (row,) = index_table([file_item("s", write_scene(folder, scene))]).to_pylist()
    table = index_table([file_item("s", folder / "s.tif")])
    rows = []
    for number in range(N_PLACES * N_DATES):
        place, date = divmod(number, N_DATES)
        box = {k: v + (3 * place if k[0] == "x" else 0) for k, v in row["bbox"].items()}
        when = np.datetime64(f"2024-01-0{1 + date}", "us").item()
        rows.append({**row, "id": f"{place}-{date}", "bbox": box, "datetime": when})
    (folder / "c").mkdir()
    for part, few in enumerate((rows[::2], rows[1::2])):
        few_rows = pa.Table.from_pylist(few, schema=table.schema)
        pq.write_table(few_rows, folder / "c" / f"part-{part}.parquet", row_group_size=4)
    return str(folder / "c")


def _atlas(query, cell_bytes=1):
    surveys = [collection.survey_fragment(query, f)[0] for f in collection.list_fragments(query)]
    survey = collection.merge(surveys)
    return survey, collection.make_atlas(survey, cell_bytes, 2)


def _read(query, near=None, in_crs=None):
    found = collection.read_near(query, _atlas(query)[1], near, in_crs)
    return {one.record.info.record_id: one.ordinal for one in found}


def test_everything_is_read_in_scan_order(uri):
    query = CollectionQuery(uri, BANDS)
    told = _read(query)
    scanned = [
        record.info.record_id
        for fragment in collection.list_fragments(query)
        for record, _ in collection.read_fragment(query, fragment)
    ]
    assert sorted(told, key=told.get) == scanned
    assert len(told) == N_PLACES * N_DATES


def test_a_record_has_one_number_whatever_is_read_with_it(uri):
    everything = _read(CollectionQuery(uri, BANDS))
    near = Near(np.array([3.5, 9.1]), np.array([9.9, 9.9]))
    late = Filters(where="datetime >= '2024-01-03'")
    few = _read(CollectionQuery(uri, BANDS, late), near)
    assert few == {name: everything[name] for name in ("1-2", "1-3", "1-4", "3-2", "3-3", "3-4")}


def test_records_of_other_crs_are_left_out(uri):
    query = CollectionQuery(uri, BANDS)
    assert _read(query, in_crs=frozenset({"EPSG:32631"})) == {}
    assert len(_read(query, in_crs=frozenset({"EPSG:4326"}))) == N_PLACES * N_DATES


def test_row_groups_apart_from_the_points_stay_unread(uri):
    query = CollectionQuery(uri, BANDS)
    files = _atlas(query)[1].files
    near = Near(np.array([15.2]), np.array([9.9]))
    groups = [int(near.may_hold(file.boxes).sum()) for file in files]
    assert groups == [1, 1]
    assert [len(open_file(query.store, file.fragment).starts) - 1 for file in files] == [4, 4]


def test_a_survey_counts_what_meets_the_filters(uri):
    survey, _ = _atlas(CollectionQuery(uri, BANDS, Filters(where="id != '0-0'")))
    assert survey.n_records == N_PLACES * N_DATES - 1
    assert len(survey.distinct) == N_PLACES
    assert survey.records.sum() == survey.n_records


def test_cells_part_the_records(uri):
    survey, atlas = _atlas(CollectionQuery(uri, BANDS), cell_bytes=20_000)
    assert survey.weights.sum() > 60_000
    lon, lat = np.arange(N_PLACES) * 3 + 0.4, np.full(N_PLACES, 9.6)
    cells = collection.cell_numbers(atlas.cells(), lon, lat)
    assert len(set(cells.tolist())) > 2
    everywhere = collection.cell_numbers(
        atlas.cells(), np.array([-180.0, 180.0, 1e300]), np.array([-90.0, 90.0, -1e300]),
    )
    assert (everywhere >= 0).all()


def test_neighbours_in_time_share_a_group(uri):
    _, atlas = _atlas(CollectionQuery(uri, BANDS))
    days = [np.datetime64(f"2024-01-0{day}", "us").astype(int) for day in range(1, 6)]
    groups = [atlas.group_of(int(day), 7, 2) for day in days]
    assert groups == sorted(groups)
    assert len(set(groups)) == 2
    assert atlas.group_of(None, 6, 2) == atlas.group_of(None, 7, 2) > max(groups)
