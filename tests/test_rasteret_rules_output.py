"""Section 3.8 of rasteret's rules: the columns of the output, and what becomes of errors."""

import datetime as dt
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from scenes import RASTERET_SCHEMA, Scene, grid_points, make_collection, ramp, run, sample

from rasteret_beam.errors import PointsError
from rasteret_beam.points import PointColumns

SCENE = Scene(name="a", pixels=ramp(40, 40))
LONLAT = Scene(name="a", pixels=ramp(40, 40), epsg=4326, origin=(0.0, 40.0), scale=(1.0, -1.0))
POINT = grid_points(SCENE, [(3, 4)])

NEIGHBOURHOOD = pa.field("neighbourhood_values", pa.list_(pa.float64()))


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    return make_collection(tmp_path_factory.mktemp("output"), [SCENE])


def wkb_table(geometry, **others):
    """Points in a column of plain WKB."""
    blobs = [shapely.to_wkb(shapely.Point(POINT["x"][0], POINT["y"][0]))]
    return {geometry: pa.array(blobs, pa.binary()), **others}


def by_wkb(name):
    return PointColumns(crs="EPSG:32631", geometry_column=name)


# The schema


def test_rule_3_8_columns_types_order_and_nullability_are_rasterets(collection):
    result = run(collection, wkb_table("where"), crs=by_wkb("where"))
    assert result.samples.schema.equals(RASTERET_SCHEMA)


def test_rule_3_8_neighbourhood_values_come_after_them(collection):
    result = run(
        collection, wkb_table("where", plot=["p"]), crs=by_wkb("where"), max_distance_pixels=1,
        return_neighbourhood="if_center_nodata",
    )
    expected = [*RASTERET_SCHEMA, NEIGHBOURHOOD, pa.field("plot", pa.string())]
    assert result.samples.schema.equals(pa.schema(expected))


def test_rule_3_8_the_users_columns_follow_in_input_order_x_and_y_too(collection):
    table = {"zone": [7], **POINT, "a": ["plot"]}
    result = run(collection, table)
    assert result.samples.column_names == [*RASTERET_SCHEMA.names, "zone", "x", "y", "a"]
    (row,) = result.samples.to_pylist()
    assert (row["zone"], row["x"], row["a"]) == (7, POINT["x"][0], "plot")


def test_rule_3_8_the_geometry_column_is_not_repeated(collection):
    result = run(collection, wkb_table("where", name=["n"]), crs=by_wkb("where"))
    assert result.samples.column_names == [*RASTERET_SCHEMA.names, "name"]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([None, dt.date(2024, 1, 1)]),
        pa.array([[1, 2], None]),
        pa.array([{"a": 1, "b": "x"}, None]),
        pa.array(["x", "y"]).dictionary_encode(),
        pa.array([None, None]),
        pa.array([b"\x00", b"\x01"], pa.large_binary()),
        pa.array([1, None], pa.uint8()),
        pa.array([0, 1000], pa.timestamp("ns", "UTC")),
    ],
    ids=lambda column: str(column.type),
)
def test_rule_3_8_the_users_columns_keep_their_types_and_values(collection, column):
    table = pa.table({**grid_points(SCENE, [(3, 4), (35, 36)]), "own": column})
    samples = run(collection, table).samples.sort_by("point_index")
    assert samples.schema.field("own").type == column.type
    assert samples["own"].to_pylist() == column.to_pylist()


def test_rule_3_8_the_users_columns_are_taken_by_point_index(tmp_path):
    scenes = [Scene(name=name, pixels=ramp(40, 40)) for name in "ab"]
    pixels = [(3, 4), (99, 99), (35, 36), (3, 5)]
    table = {**grid_points(SCENE, pixels), "plot": ["p0", "p1", "p2", "p3"]}
    rows = sample(make_collection(tmp_path, scenes), table)
    found = [(row["point_index"], row["plot"]) for row in rows]
    assert found == [(0, "p0"), (0, "p0"), (2, "p2"), (2, "p2"), (3, "p3"), (3, "p3")]


def test_difference_a_status_is_the_only_column_that_emit_adds(collection):
    result = run(
        collection, {**POINT, "plot": ["p"]}, max_distance_pixels=1,
        return_neighbourhood="always", unmatched="emit",
    )
    names = [*RASTERET_SCHEMA.names, "neighbourhood_values", "status", "x", "y", "plot"]
    assert result.samples.column_names == names
    assert result.samples.schema.field("status").type == pa.string()


# The values


def test_rule_3_8_point_index_counts_input_rows_from_0_over_chunks(collection):
    chunk = pa.table(POINT)
    table = pa.concat_tables([chunk, chunk, chunk])
    assert table["x"].num_chunks == 3
    assert [row["point_index"] for row in sample(collection, table)] == [0, 1, 2]


def test_rule_3_8_coordinates_are_the_original_ones_in_the_points_crs(tmp_path):
    scene = Scene(name="a", pixels=np.ones((1, 400, 400), np.uint8), tile=(128, 128))
    x, y = 3.0123456789012345, 41.5432109876543
    (row,) = sample(make_collection(tmp_path, [scene]), {"x": [x], "y": [y]}, crs="EPSG:4326")
    assert (row["point_x"], row["point_y"], row["point_crs"]) == (x, y, 4326)
    assert row["raster_crs"] == 32631


def test_rule_3_8_datetimes_are_the_records_to_the_microsecond(tmp_path):
    when = dt.datetime(2024, 2, 29, 23, 59, 59, 999999)  # noqa: DTZ001 -- UTC, as stored
    scene = Scene(name="a", pixels=ramp(40, 40), when=when)
    (row,) = sample(make_collection(tmp_path, [scene]), POINT)
    assert row["datetime"] == when


def test_rule_3_8_datetimes_before_1970_and_none_at_all_are_kept(tmp_path):
    old = dt.datetime(1909, 9, 9, 9, 9, 9)  # noqa: DTZ001 -- UTC, as stored
    scenes = [
        Scene(name="a", pixels=ramp(40, 40), when=old), Scene(name="b", pixels=ramp(40, 40)),
    ]
    rows = sample(make_collection(tmp_path, scenes), POINT)
    assert [row["datetime"] for row in rows] == [old, None]


def test_rule_3_8_the_collection_is_the_records_own(tmp_path):
    def rename(rows):
        rows[0]["collection"], rows[1]["collection"] = "one", "two"

    scenes = [Scene(name=name, pixels=ramp(40, 40)) for name in "ab"]
    rows = sample(make_collection(tmp_path, scenes, mutate=rename), POINT)
    assert [row["collection"] for row in rows] == ["one", "two"]


def test_rule_3_8_records_of_one_id_give_a_row_each(tmp_path):
    def same_id(rows):
        rows[1]["id"] = "a"

    scenes = [
        Scene(name="a", pixels=np.full((1, 40, 40), 1, np.uint8)),
        Scene(name="b", pixels=np.full((1, 40, 40), 2, np.uint8)),
    ]
    rows = sample(make_collection(tmp_path, scenes, mutate=same_id), POINT)
    assert sorted((row["record_id"], row["value"]) for row in rows) == [("a", 1.0), ("a", 2.0)]


def test_rule_3_8_one_row_for_each_point_record_and_band(tmp_path):
    scenes = [Scene(name=name, pixels=ramp(40, 40, bands=2)) for name in "abc"]
    rows = sample(
        make_collection(tmp_path, scenes), grid_points(SCENE, [(3, 4), (35, 36)]), ("B1", "B2"),
    )
    keys = {(row["point_index"], row["record_id"], row["band"]) for row in rows}
    assert len(rows) == len(keys) == 2 * 3 * 2


# Names that are taken


@pytest.mark.parametrize("name", [n for n in RASTERET_SCHEMA.names if n != "point_index"])
def test_rule_3_8_a_users_column_named_like_an_output_column_is_refused(collection, name):
    words = rf"Input metadata columns collide with Rasteret output columns: .*{name}"
    with pytest.raises(PointsError, match=words):
        run(collection, {**POINT, name: [1]})


def test_rule_3_8_a_users_column_point_index_is_refused(collection):
    with pytest.raises(PointsError, match=r"collide.*point_index"):
        run(collection, {**POINT, "point_index": [1]})


def test_rule_3_8_neighbourhood_values_is_taken_only_when_it_is_wanted(collection):
    table = {**POINT, "neighbourhood_values": ["mine"]}
    (row,) = sample(collection, table)
    assert row["neighbourhood_values"] == "mine"
    with pytest.raises(PointsError, match="neighbourhood_values"):
        sample(collection, table, max_distance_pixels=1, return_neighbourhood="always")


def test_difference_status_is_taken_only_when_it_is_wanted(collection):
    table = {**POINT, "status": ["mine"]}
    (row,) = sample(collection, table)
    assert row["status"] == "mine"
    with pytest.raises(PointsError, match="status"):
        sample(collection, table, unmatched="emit")


@pytest.mark.parametrize("name", ["value", "band", "point_x"])
def test_rule_3_8_the_geometry_column_may_have_any_name(collection, name):
    (row,) = sample(collection, wkb_table(name), crs=by_wkb(name))
    assert (row["value"], row["band"]) == (304.0, "B1")


# Nothing found, and errors


@pytest.mark.parametrize("neighbourhood", ["off", "always"])
def test_difference_an_empty_result_keeps_the_users_columns(collection, neighbourhood):
    options = {} if neighbourhood == "off" else {"max_distance_pixels": 1}
    table = {"x": [0.0], "y": [0.0], "plot": pa.array(["p"]), "n": pa.array([1], pa.int8())}
    empty = run(collection, table, return_neighbourhood=neighbourhood, **options).samples
    full = run(collection, {**table, **POINT}, return_neighbourhood=neighbourhood, **options)
    assert (empty.num_rows, full.samples.num_rows) == (0, 1)
    assert empty.schema.equals(full.samples.schema)


def test_difference_a_collection_without_a_matching_record_still_has_the_schema(tmp_path):
    collection = make_collection(tmp_path, [SCENE], mutate=list.clear)
    result = run(collection, {**POINT, "plot": ["p"]})
    assert result.samples.column_names == [*RASTERET_SCHEMA.names, "x", "y", "plot"]
    assert result.counts.points_unmatched == 1


def test_difference_failures_are_dead_letters_that_name_record_and_bands(tmp_path):
    def spoil(rows):
        rows[0]["B1_metadata"]["transform"] = None

    scenes = [Scene(name=name, pixels=ramp(40, 40)) for name in "ab"]
    result = run(make_collection(tmp_path, scenes, mutate=spoil), POINT)
    assert [row["record_id"] for row in result.samples.to_pylist()] == ["b"]
    (letter,) = result.dead_letters
    assert json.loads(letter.element) == {"record_id": "a", "bands": ["B1"]}
    assert "Transform is missing" in letter.msg


def test_difference_when_every_record_fails_there_is_no_exception(tmp_path):
    collection = make_collection(tmp_path, [SCENE])
    (tmp_path / "a.tif").unlink()
    result = run(collection, POINT)
    assert result.samples.num_rows == 0
    assert [letter.code for letter in result.dead_letters] == ["FETCH_ERROR"]


def test_difference_emit_gives_every_point_a_row_that_says_why(tmp_path):
    table = {"x": [4.5, 50.5, None, 40.0], "y": [36.5, 0.5, 0.5, 0.5]}
    rows = sample(
        make_collection(tmp_path, [LONLAT]), table, crs="EPSG:4326", unmatched="emit",
    )
    statuses = [row["status"] for row in rows]
    assert statuses == ["OK", "NO_RECORD", "INVALID_POINT", "OUT_OF_EXTENT"]
    assert [row["value"] for row in rows] == [304.0, None, None, None]


def test_difference_counts_account_for_every_point(tmp_path):
    table = {"x": [4.5, 50.5, None, 40.0], "y": [36.5, 0.5, 0.5, 0.5]}
    counts = run(make_collection(tmp_path, [LONLAT]), table, crs="EPSG:4326").counts
    assert counts == (4, 1, 2, 1)
    assert counts.points_read == sum(counts[1:])


def test_rule_3_8_rows_of_a_timestamp_with_a_zone_are_utc(tmp_path):
    when = dt.datetime(2024, 1, 1, 12)  # noqa: DTZ001 -- UTC, as stored
    path = make_collection(tmp_path, [Scene(name="a", pixels=ramp(40, 40), when=when)])
    table = pq.read_table(path)
    at = table.schema.get_field_index("datetime")
    zoned = table["datetime"].cast(pa.timestamp("ms", "UTC"))
    pq.write_table(table.set_column(at, "datetime", zoned), path)
    result = run(path, POINT)
    assert result.samples.schema.field("datetime").type == pa.timestamp("us")
    assert result.samples["datetime"].to_pylist() == [when]
