"""What the companion's Collection takes as arguments, and what it says of others."""

import datetime as dt

import pyarrow as pa
import pytest
import shapely
from scene_row import box, ids, scene
from scenes import make_collection

from rasteret_beam.errors import OptionError, PointsError

SCENES = [
    scene(number, when=when)
    for number, when in enumerate([dt.datetime(2023, 11, 1), dt.datetime(2023, 12, 1)])  # noqa: DTZ001 -- UTC
]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return make_collection(tmp_path_factory.mktemp("two"), SCENES)


def test_dates_may_be_pythons(collection):
    dates = dt.date(2023, 12, 1), dt.datetime(2024, 1, 1, tzinfo=dt.timezone.utc)
    assert ids(collection.subset(date_range=dates)) == ["s1"]


def test_a_geodataframe_is_read_in_its_own_crs(collection):
    geopandas = pytest.importorskip("geopandas")
    frame = geopandas.GeoDataFrame(
        {"plot": ["a"]}, geometry=[shapely.Point(3.0005, 41.5495)], crs=4326,
    )
    there = collection.sample_points(frame, ["B1"])
    assert there["plot"].to_pylist() == ["a"]
    metres = collection.sample_points(frame.to_crs(32631), ["B1"])
    assert (metres["value"], metres["point_crs"].to_pylist()) == (there["value"], [32631])


def test_records_are_filtered_by_a_geodataframe_in_its_own_crs(collection):
    geopandas = pytest.importorskip("geopandas")
    frame = geopandas.GeoDataFrame(
        {"plot": ["a", "b"]}, geometry=[shapely.box(*box(1)), None], crs=4326,
    ).to_crs(32631)
    assert ids(collection.subset(geometries=frame)) == ["s1"]
    assert ids(collection.subset(geometries=frame.geometry)) == ["s1"]
    bare = geopandas.GeoSeries([shapely.box(*box(1))])
    assert ids(collection.subset(geometries=bare)) == ["s1"]


@pytest.mark.parametrize("spell", [lambda: pa.table({"name": [b""]}), lambda: 5, object])
def test_what_holds_no_geometries_is_refused_as_a_filter(collection, spell):
    with pytest.raises(OptionError, match=r"geometries is of type .*column of them"):
        collection.subset(geometries=spell())


def test_points_without_a_sample_have_a_row_with_a_status_where_asked_for(collection):
    points = {"lon": [3.0005, 9.0, None], "lat": [41.5495, 9.0, 1.0]}
    found = collection.sample_points(points, ["B1"], geometry_crs=4326, unmatched="emit")
    told = dict(zip(found["point_index"].to_pylist(), found["status"].to_pylist(), strict=True))
    assert told == {0: "OK", 1: "NO_RECORD", 2: "INVALID_POINT"}
    first = collection.get_first_record().sample_points(
        points, ["B1"], geometry_crs=4326, unmatched="emit",
    )
    assert first["status"].to_pylist() == found["status"].to_pylist()
    omitted = collection.sample_points(points, ["B1"], geometry_crs=4326)
    assert omitted.num_rows == 1
    assert "status" not in omitted.column_names


def test_a_keyword_that_nobody_knows_is_named_with_those_that_are(collection):
    with pytest.raises(TypeError, match=r"^sample_points\(\) .*'unmatch'.* date_range, bbox"):
        collection.sample_points({"x": [0.0], "y": [0.0]}, ["B1"], geometry_crs=4326, unmatch=1)


@pytest.mark.parametrize("bands", ["B1", []])
def test_bands_that_are_no_list_of_names_are_refused(collection, bands):
    with pytest.raises(OptionError, match=r"expected names like \['B04', 'B08'\]"):
        collection.sample_points({"x": [0.0], "y": [0.0]}, bands, geometry_crs=4326)


def test_points_without_columns_are_refused_and_those_without_rows_are_no_samples(collection):
    with pytest.raises(PointsError, match="of type dict have no columns"):
        collection.sample_points({}, ["B1"], geometry_crs=4326)
    none = collection.sample_points({"lon": [], "lat": []}, ["B1"], geometry_crs=4326)
    assert none.num_rows == 0
    assert none.column_names[-2:] == ["lon", "lat"]
