"""The companion's Collection: what it opens, keeps, reads and samples."""

import datetime as dt
import pickle
import warnings

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import shapely
from fakes import serving
from scene_row import box, ids, scene
from scenes import RASTERET_SCHEMA, Scene, grid_points, make_collection, ramp

from rasteret_beam.companion import Collection
from rasteret_beam.errors import BandNotFoundError, CollectionError, OptionError, PointsError
from rasteret_beam.storage import Store

UTM = {"geometry_crs": 32631}


def monthly(number, **changes):
    """A scene of two bands, a month after the one before."""
    when = dt.datetime(2023, 11 + number, 1) if number < 2 else None  # noqa: DTZ001 -- UTC
    return scene(number, **{"pixels": ramp(40, 40, bands=2) + number, "when": when, **changes})


SCENES = [monthly(number) for number in range(3)]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Three records: November, December, and one without a date."""
    return make_collection(tmp_path_factory.mktemp("three"), SCENES)


@pytest.fixture
def table(path):
    return pq.read_table(path)


def pickled(collection):
    return pickle.loads(pickle.dumps(collection))  # noqa: S301 -- our own


# Opening


def test_a_path_that_is_not_there_is_named(tmp_path):
    with pytest.raises(CollectionError, match=r"Parquet not found at .*nowhere"):
        Collection.from_parquet(tmp_path / "nowhere")


def test_parquet_without_a_required_column_is_refused(table, tmp_path):
    pq.write_table(table.drop_columns(["assets"]), tmp_path / "a.parquet")
    with pytest.raises(CollectionError, match=r"missing required columns: .'assets'"):
        Collection.from_parquet(tmp_path / "a.parquet")


def test_opening_a_folder_reads_the_footer_of_its_first_file_only(table, tmp_path):
    pq.write_table(table, tmp_path / "part-0.parquet")
    (tmp_path / "part-1.parquet").write_bytes(b"no Parquet")
    opened = Collection.from_parquet(tmp_path)
    assert opened.bands == ["B1", "B2"]
    with pytest.raises(CollectionError, match="cannot be read"):
        len(opened)


def test_a_remote_file_is_filtered_through_the_store(path):
    with open(path, "rb") as file, serving({"a.parquet": file.read()}) as server:  # noqa: PTH123
        store = Store(allow_http=True, allow_schemes=("http", "file"))
        opened = Collection.from_parquet(f"{server.url}/a.parquet", store=store)
        view = opened.subset(bbox=box(1))
        assert ids(view) == ids(pickled(view)) == ["s1"]
        points = grid_points(SCENES[1], [(0, 0)])
        assert view.sample_points(points, ["B1"], **UTM).num_rows == 1


def test_a_folder_whose_first_hive_key_is_null_opens(table, tmp_path):
    for name in ("split=__HIVE_DEFAULT_PARTITION__", "split=train"):
        (tmp_path / name).mkdir()
        pq.write_table(table, tmp_path / name / "part-0.parquet")
    assert len(Collection.from_parquet(tmp_path).select_split("train")) == 3


def test_the_name_is_the_callers_else_the_files_else_the_paths(table, tmp_path):
    pq.write_table(table.replace_schema_metadata({"name": "told"}), tmp_path / "a.parquet")
    assert Collection.from_parquet(tmp_path / "a.parquet", "mine").name == "mine"
    assert Collection.from_parquet(tmp_path / "a.parquet").name == "told"
    pq.write_table(table.replace_schema_metadata(None), tmp_path / "b.parquet")
    assert Collection.from_parquet(tmp_path / "b.parquet").name == "b"


def test_dates_and_source_come_from_the_schema(table, tmp_path):
    told = {"date_range": "2023-01-01T00:00:00,2023-12-31T00:00:00", "data_source": "naip"}
    pq.write_table(table.replace_schema_metadata(told), tmp_path / "a.parquet")
    opened = Collection.from_parquet(tmp_path / "a.parquet")
    assert opened.end_date == dt.datetime(2023, 12, 31)  # noqa: DTZ001 -- as stored
    assert opened.data_source == "naip"
    assert opened.describe()["dates"] == ("2023-01-01", "2023-12-31")


@pytest.mark.parametrize(
    "wrap",
    [
        lambda t: t,
        lambda t: t.combine_chunks().to_batches()[0],
        lambda t: t.to_reader(),
        ds.dataset,
        Collection.from_arrow,
    ],
    ids=["table", "batch", "reader", "dataset", "capsule"],
)
def test_any_arrow_data_is_taken(table, wrap):
    assert ids(Collection.from_arrow(wrap(table))) == ["s0", "s1", "s2"]


def _with_views(table):
    """The same rows, with text as DataFusion and Polars write it."""
    def views(kind):
        if pa.types.is_struct(kind):
            return pa.struct([field.with_type(views(field.type)) for field in kind])
        return pa.string_view() if pa.types.is_string(kind) else kind

    fields = [field.with_type(views(field.type)) for field in table.schema]
    return pa.Table.from_pylist(table.to_pylist(), pa.schema(fields))


@pytest.mark.parametrize("given", ["file", "dataset", "table"])
def test_text_may_come_as_views(table, tmp_path, given):
    rows = _with_views(table)
    path = tmp_path / "views.parquet"
    pq.write_table(rows, path)
    assert ds.dataset(path).schema.field("id").type == pa.string_view()
    found = (
        Collection.from_parquet(str(path)) if given == "file"
        else Collection.from_arrow(rows if given == "table" else ds.dataset(path))
    )  # fmt: skip
    one = found.where("id = 's1' and collection = 'collection'")
    assert one.to_table().to_pylist() == table.slice(1, 1).to_pylist()
    assert one.sample_points(grid_points(SCENES[1], [(0, 0)]), ["B1"], **UTM).num_rows == 1


def test_a_reader_can_be_read_more_than_once(table):
    made = Collection.from_arrow(table.to_reader())
    assert [len(made), len(made)] == [3, 3]


def test_a_dataset_keeps_its_own_filter(table):
    made = Collection.from_arrow(ds.dataset(table).filter(pc.field("id") != "s0"))
    assert ids(made) == ["s1", "s2"]
    assert ids(made.where("id != 's1'")) == ["s2"]
    assert ids(pickled(made)) == ["s1", "s2"]


def test_what_is_no_arrow_data_is_refused():
    with pytest.raises(TypeError, match="list is no Arrow data"):
        Collection.from_arrow([1, 2])


def test_rows_without_headers_are_refused_unless_they_are_enough(table):
    bare = table.drop_columns([n for n in table.column_names if n.endswith("_metadata")])
    with pytest.raises(CollectionError, match="No '\\*_metadata' columns"):
        Collection.from_arrow(bare)
    assert len(Collection.from_arrow(bare, require_band_metadata=False)) == 3


def test_headers_must_have_what_a_read_needs(table):
    wrong = table.append_column("x_metadata", pa.array([{"dtype": "uint8"}] * 3))
    with pytest.raises(CollectionError, match=r"missing required metadata fields: .*tile_offsets"):
        Collection.from_arrow(wrong)
    text = table.append_column("x_metadata", pa.array(["a"] * 3))
    with pytest.raises(CollectionError, match="must be a struct"):
        Collection.from_arrow(text)


def test_dates_of_arrow_data_are_datetimes(table):
    with pytest.raises(TypeError, match="start_date must be a datetime"):
        Collection.from_arrow(table, start_date="2024-01-01")


def test_the_data_source_of_arrow_data_is_what_the_rows_say(table):
    assert Collection.from_arrow(table).data_source == "collection"
    told = table.replace_schema_metadata({"data_source": "naip"})
    assert Collection.from_arrow(told).data_source == "naip"


# Filters


def test_a_filter_leaves_the_collection_as_it_was(collection):
    assert ids(collection.subset(bbox=box(0))) == ["s0"]
    assert len(collection) == 3


def test_filters_add_up(collection):
    dated = collection.subset(date_range=("2023", "2024"))
    assert ids(dated) == ["s0", "s1"]
    assert ids(dated.where(pc.field("id") != "s0")) == ["s1"]
    assert ids(dated.where("id = 's0'").subset(bbox=box(1))) == []


def test_subset_without_a_filter_is_refused(collection):
    with pytest.raises(OptionError, match="No filters provided"):
        collection.subset()


def test_a_filter_on_a_column_that_is_not_there_is_refused_at_once(collection):
    with pytest.raises(CollectionError, match="no split column"):
        collection.select_split("train")
    with pytest.raises(OptionError, match="zz"):
        collection.where(pc.field("zz") > 1)
    with pytest.raises(CollectionError, match="'zz'"):
        collection.where("zz > 1")
    with pytest.raises(OptionError, match="does not fit"):
        collection.where(pc.field("id") > 1)
    with pytest.raises(OptionError, match="does not fit"):
        collection.where(1)


@pytest.mark.parametrize("spell", [
    lambda b: shapely.box(*b),
    lambda b: [shapely.box(*b)],
    lambda b: shapely.box(*b).wkb,
    lambda b: shapely.box(*b).__geo_interface__,
    lambda b: b,
    lambda b: pa.array([shapely.box(*b).wkb, None]),
    lambda b: pa.chunked_array([[shapely.box(*b).wkb]]),
], ids=["shapely", "list", "wkb", "geojson", "bbox", "arrow", "chunked"])  # fmt: skip
def test_geometries_are_spelled_in_many_ways(collection, spell):
    assert ids(collection.subset(geometries=spell(box(1)))) == ["s1"]


def test_geometries_between_records_keep_none_of_them(collection):
    # The box around both geometries overlaps every record.
    both = collection.subset(geometries=[box(0), box(2)])
    assert ids(both) == ["s0", "s2"]
    assert len(both) == both.to_table().num_rows == 2
    assert both.bounds == collection.bounds
    assert both.head(1, ["id"]).to_pydict() == {"id": ["s0"]}
    assert ids(both.subset(geometries=[box(1), box(2)])) == ["s2"]


def test_ten_thousand_geometries_are_filtered_by(collection):
    rng = np.random.default_rng(1)
    away = [tuple(p) for p in np.column_stack([rng.uniform(4, 5, (10000, 2))] * 2)]
    assert ids(collection.subset(geometries=[*away, box(1)])) == ["s1"]


# Rows


def test_arrow_libraries_take_a_collection_as_a_table(collection):
    assert pa.table(collection).equals(collection.to_table())
    assert pa.RecordBatchReader.from_stream(collection).read_all().num_rows == 3
    assert pa.record_batch(collection).num_rows == 3
    assert pa.schema(collection).names == collection.to_table().schema.names


def test_a_collection_without_records_is_a_table_all_the_same(table):
    none = Collection.from_arrow(table).where("id = 'x'")
    assert pa.table(none).schema == Collection.from_arrow(table).to_table().schema
    assert pa.record_batch(none).num_rows == 0
    assert len(none.head()) == 0
    assert none.bounds is None
    assert "dates" not in none.describe()


def test_columns_come_as_asked_for(collection):
    found = collection.subset(geometries=box(0)).to_table(["datetime", "id"])
    assert found.column_names == ["datetime", "id"]
    with pytest.raises(CollectionError, match=r"no column .'zz'"):
        collection.to_table(["zz"])


def test_footprints_say_that_they_are_wkb_in_longitude_and_latitude(table):
    bare = table.schema.field("geometry").remove_metadata()
    schema = table.schema.set(table.schema.get_field_index("geometry"), bare)
    made = Collection.from_arrow(table.cast(schema))
    for found in (made.to_table(), made.to_reader(), next(iter(made))):
        told = found.schema.field("geometry").metadata
        assert told[b"ARROW:extension:name"] == b"geoarrow.wkb"
        assert b"CRS84" in told[b"ARROW:extension:metadata"]


def test_a_reader_gives_the_types_it_is_asked_for(collection):
    wanted = pa.schema([("id", pa.large_string())])
    assert collection.to_reader(["id"], wanted).read_all().schema == wanted
    every = pa.schema([pa.field("id", pa.int64())])
    with pytest.raises(CollectionError, match="requested types"):
        collection.__arrow_c_stream__(every.__arrow_c_schema__())


def test_head_gives_the_first_rows(collection):
    assert collection.head(2, ["id"]).to_pydict() == {"id": ["s0", "s1"]}
    assert collection.head(0).num_rows == 0
    assert collection.head().num_rows == 3
    with pytest.raises(OptionError, match="n >= 0, got -1"):
        collection.head(-1)


def test_batches_are_iterated(collection):
    assert sum(batch.num_rows for batch in collection) == 3
    assert [b.schema.names for b in collection.to_batches(["id"])] == [["id"]]


def test_a_view_survives_pickling(collection, table):
    for made in (collection, Collection.from_arrow(table, name="x")):
        view = made.where("id != 's0'").subset(geometries=[box(0), box(2)])
        again = pickled(view)
        assert ids(again) == ["s2"]
        assert again.name == made.name


# Records


def test_a_record_has_the_names_of_rasterets_accessor(collection):
    record = collection.get_first_record()
    assert (record.id, record.crs, record.cloud_cover) == ("s0", 32631, 0)
    assert repr(record) == "RecordView(id='s0', datetime=2023-11-01 00:00:00, cloud=?)"
    assert record.datetime == dt.datetime(2023, 11, 1)  # noqa: DTZ001 -- UTC, as stored
    assert record.bbox == [*collection.where("id = 's0'").bounds]
    assert record.geometry.equals(shapely.from_wkb(record.footprint))
    assert record.available_bands == record.bands == ["B1", "B2"]
    assert record.assets["B2"]["band_index"] == 1
    assert record.band_metadata("B1")["tile_width"] == 16
    assert record.band_metadata("B9") is None
    assert record.collection == "collection"


def test_a_record_with_nulls_is_read(table):
    rows = table.to_pylist()
    rows[0].update(bbox=None, geometry=None, datetime=None, collection=None, **{"proj:epsg": None})
    nulls = pa.Table.from_pylist(rows, schema=table.schema)
    record = Collection.from_arrow(nulls, data_source="mine").get_first_record()
    assert (record.bbox, record.geometry, record.datetime, record.crs) == ([], None, None, None)
    assert record.collection == "mine"
    assert not record.intersects((-180, -90, 180, 90))


def test_a_records_code_may_be_a_float_and_missing_as_pandas_holds_one(table):
    at = table.column_names.index("proj:epsg")
    codes = table.set_column(at, "proj:epsg", pa.array([32631.0, float("nan"), 32631.0]))
    records = Collection.from_arrow(codes).iterate_records()
    assert [record.crs for record in records] == [32631, None, 32631]


def test_a_record_intersects_by_bbox_touching_included(collection):
    record = collection.get_first_record()
    xmin, ymin, xmax, ymax = record.bbox
    assert record.intersects((xmax, ymax, xmax + 1, ymax + 1))
    assert not record.intersects((np.nextafter(xmax, 9), ymin, 9.0, ymax))
    beside = shapely.Polygon([(xmin - 1, ymin), (xmin, ymax + 1), (xmax, ymax + 1)])
    assert record.intersects(beside)  # a triangle whose bbox overlaps where it does not


def test_records_come_with_the_headers_that_are_asked_for(collection):
    (*_, last) = collection.iterate_records(["B2"])
    assert last.id == "s2"
    assert last.band_metadata("B1") is None
    assert last.bands == ["B2"]


def test_there_is_no_first_record_of_none(collection):
    with pytest.raises(CollectionError, match="No raster records found"):
        collection.where("id = 'x'").get_first_record()


def test_a_record_samples_itself_alone(table):
    two = Collection.from_arrow(pa.concat_tables([table[:1]] * 2))
    points = grid_points(SCENES[0], [(3, 4)])
    assert two.sample_points(points, ["B1"], **UTM).num_rows == 2
    assert two.get_first_record().sample_points(points, ["B1"], **UTM)["value"].to_pylist() == [304]


# Sampling


def test_samples_have_rasterets_schema_and_the_points_own_columns(collection):
    points = grid_points(SCENES[0], [(3, 4)]) | {"status": ["mine"]}
    found = collection.sample_points(points, ["B2", "B1"], **UTM)
    assert pa.schema(list(found.schema)[:10]) == RASTERET_SCHEMA
    assert found.column_names[10:] == ["x", "y", "status"]
    assert found["band"].to_pylist() == ["B2", "B1"]
    assert found["value"].to_pylist() == [10304, 304]


def test_samples_come_record_by_record_then_band_then_point(tmp_path):
    made = [monthly(n, name=name, origin=SCENES[0].origin, when=dt.datetime(2023, 1 + n, 1))  # noqa: DTZ001
            for n, name in enumerate("cab")]  # fmt: skip
    opened = Collection.from_parquet(make_collection(tmp_path, made))
    points = grid_points(made[0], [(9, 9), (0, 0)])
    found = opened.sample_points(points, ["B2", "B1"], **UTM)
    keys = found.select(["record_id", "band", "point_index"]).to_pylist()
    expected = [(r, b, p) for r in "cab" for b in ("B2", "B1") for p in (0, 1)]
    assert [tuple(key.values()) for key in keys] == expected
    latest = opened.sample_points(points, ["B1"], match="latest", **UTM)
    assert latest["record_id"].to_pylist() == ["b", "b"]


def test_points_are_spelled_in_many_ways(collection):
    pandas = pytest.importorskip("pandas")
    x, y = 3.0005, 41.5495
    point = shapely.Point(x, y)
    lonlat = {"lon": [x], "lat": [y]}
    spelled = [
        (lonlat, 4326), (pa.table(lonlat), "EPSG:4326"), (pandas.DataFrame(lonlat), "OGC:CRS84"),
        (pa.record_batch(lonlat), 4326), (pa.table(lonlat).to_reader(), 4326),
        (ds.dataset(pa.table(lonlat)), 4326),
        (point, "auto"), ([point], "auto"), (point.wkb, "auto"), ([point.wkb], "auto"),
        (point.__geo_interface__, "auto"), (pa.array([point.wkb]), "auto"),
    ]  # fmt: skip
    values = [
        collection.sample_points(points, ["B1"], geometry_crs=crs)["value"].to_pylist()
        for points, crs in spelled
    ]
    assert values == [values[0]] * len(spelled)
    assert len(values[0]) == 1


@pytest.mark.parametrize("spell", [lambda p: p, lambda p: p.wkb, lambda p: p.__geo_interface__])
def test_none_in_a_list_is_no_point_and_keeps_its_place(collection, spell):
    point = shapely.Point(3.0005, 41.5495)
    with pytest.warns(RuntimeWarning, match=r"1 point\(s\) without usable coordinates"):
        found = collection.sample_points([None, spell(point)], ["B1"])
    assert found["point_index"].to_pylist() == [1]


def test_coordinates_of_each_raster_need_no_crs(collection):
    points = grid_points(SCENES[1], [(5, 6)])
    with pytest.raises(PointsError, match="geometry_crs"):
        collection.sample_points(points, ["B1"])
    # They are compared with bboxes as they are, as in rasteret: here none holds them.
    assert collection.sample_points(points, ["B1"], geometry_crs=None).num_rows == 0


@pytest.mark.parametrize("points", [[(3.0, 41.5)], 5, [5]])
def test_what_is_no_points_is_refused(collection, points):
    with pytest.raises(TypeError, match="neither a table nor geometries"):
        collection.sample_points(points, ["B1"])


def test_columns_of_what_is_no_table_are_refused(collection):
    with pytest.raises(TypeError, match="no table"):
        collection.sample_points(shapely.Point(3, 41), ["B1"], x_column="x", y_column="y")


def test_unknown_bands_and_filters_are_refused(collection):
    points = grid_points(SCENES[0], [(0, 0)])
    with pytest.raises(BandNotFoundError, match=r"Band\(s\) not found: \['B9'\].*'B1', 'B2'"):
        collection.sample_points(points, ["B9"], **UTM)
    with pytest.raises(TypeError, match="clouds"):
        collection.sample_points(points, ["B1"], clouds=20, **UTM)
    with pytest.raises(OptionError, match="match must be"):
        collection.sample_points(points, ["B1"], match="some", **UTM)


def test_filters_choose_records_not_points(collection):
    points = grid_points(SCENES[0], [(0, 0), (39, 39)])
    xmin, _, _, ymax = collection.get_first_record().bbox
    corner = (xmin, ymax - 1e-6, xmin + 1e-6, ymax)
    assert collection.sample_points(points, ["B1"], bbox=corner, **UTM).num_rows == 2
    assert collection.sample_points(points, ["B1"], geometries=[box(1)], **UTM).num_rows == 0
    assert collection.sample_points(points, ["B1"], where="id = 's1'", **UTM).num_rows == 0


def test_no_points_give_no_rows_in_the_full_schema(collection):
    none = pa.table({"x": pa.array([], pa.float64()), "y": pa.array([], pa.float64())})
    found = collection.sample_points(none, ["B1"], **UTM)
    assert (found.num_rows, found.column_names[-2:]) == (0, ["x", "y"])


def test_what_could_not_be_read_is_a_warning(tmp_path):
    made = [monthly(0), monthly(1, origin=SCENES[0].origin)]
    opened = Collection.from_parquet(make_collection(tmp_path, made))
    (tmp_path / "s1.tif").unlink()
    points = grid_points(made[0], [(0, 0)])
    with pytest.warns(RuntimeWarning, match=r"\(1 failure\(s\)\).*s1\.tif") as caught:
        assert opened.sample_points(points, ["B1"], **UTM)["record_id"].to_pylist() == ["s0"]
    # Beside it pyproj may tell of what is deprecated in NumPy.
    own = [one.filename for one in caught if one.category is RuntimeWarning]
    assert own == [__file__]
    with pytest.raises(CollectionError, match="No point samples resolved"):
        opened.where("id = 's1'").sample_points(points, ["B1"], **UTM)


def test_what_is_wrong_with_records_that_hold_no_point_is_no_warning(tmp_path):
    def break_one(rows):
        rows[1]["B1_metadata"] = None

    path = make_collection(tmp_path, SCENES, mutate=break_one)
    opened = Collection.from_parquet(path)
    around = grid_points(SCENES[0], [(0, 0)]), grid_points(SCENES[2], [(0, 0)])
    points = {axis: around[0][axis] + around[1][axis] for axis in ("x", "y")}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert opened.sample_points(points, ["B1"], **UTM).num_rows == 2
    on_it = {axis: points[axis] + grid_points(SCENES[1], [(0, 0)])[axis] for axis in ("x", "y")}
    with pytest.warns(RuntimeWarning, match="record 's1'"):
        assert opened.sample_points(on_it, ["B1"], **UTM).num_rows == 2


# Choosing records by where the points are


def read_records(collection, points, monkeypatch, **options):
    """Ids of the records that sampling read."""
    from rasteret_beam.companion import sampling  # noqa: PLC0415 -- to look inside

    seen = []
    original = sampling.local.sample_records
    monkeypatch.setattr(
        sampling.local, "sample_records",
        lambda records, *rest: seen.extend(records) or original(records, *rest),
    )
    collection.sample_points(points, ["B1"], **options)
    return [record.info.record_id for record in seen]


def test_only_records_near_the_points_are_read(collection, monkeypatch):
    points = grid_points(SCENES[1], [(0, 0)])
    assert read_records(collection, points, monkeypatch, **UTM) == ["s1"]


def test_longitudes_beyond_180_choose_records_wrapped(tmp_path):
    made = Scene(name="e", pixels=ramp(16, 16), epsg=32601, origin=(500000.0, 100000.0))
    opened = Collection.from_parquet(make_collection(tmp_path, [made]))
    for lon in (-176.9995, 183.0005):
        points = {"lon": [lon], "lat": [0.9041]}
        assert opened.sample_points(points, ["B1"], geometry_crs=4326).num_rows == 1


@pytest.mark.parametrize(
    ("points", "crs"),
    [
        ({"x": [1.0], "y": [2.0]}, None),
        ({"x": [1.0], "y": [2.0]}, "+proj=longlat +R=1560800 +no_defs"),  # Europa
        ({"x": [9e6], "y": [9e6]}, "+proj=geos +h=35785831 +lon_0=0 +sweep=y +ellps=WGS84"),
    ],
    ids=["each raster's", "another body's", "beside the disk"],
)
def test_points_without_a_place_on_earth_choose_no_records(collection, points, crs, monkeypatch):
    found = read_records(collection, points, monkeypatch, geometry_crs=crs)
    assert found == ["s0", "s1", "s2"]


def test_points_without_coordinates_are_passed_over(collection):
    points = grid_points(SCENES[0], [(0, 0), (1, 1)])
    points["x"][0] = float("nan")
    with pytest.warns(RuntimeWarning, match="1 point.* without usable coordinates; .*point 0"):
        rows = collection.sample_points(points, ["B1"], **UTM)
    assert rows["point_index"].to_pylist() == [1]
    points["x"] = [None, None]
    with pytest.warns(RuntimeWarning, match="2 point"):
        rows = collection.sample_points(points, ["B1"], **UTM)
    assert rows.num_rows == 0


def test_a_million_records_open_and_filter_without_being_read(table, tmp_path):
    one = table.select(["id", "datetime", "geometry", "assets", "bbox", "B1_metadata"])[:1]
    n_rows = 1_000_000
    west = np.linspace(-170, 170, n_rows)
    sides = [pa.array(west), pa.array(np.zeros(n_rows)), pa.array(west + 0.0001),
             pa.array(np.ones(n_rows))]  # fmt: skip
    bbox = pa.StructArray.from_arrays(sides, ["xmin", "ymin", "xmax", "ymax"])
    many = one.take(pa.array(np.zeros(n_rows, np.int64)))
    many = many.set_column(4, "bbox", bbox)
    pq.write_table(many, tmp_path / "many.parquet", row_group_size=50_000)
    started = dt.datetime.now(dt.timezone.utc)
    opened = Collection.from_parquet(tmp_path / "many.parquet")
    few = opened.subset(bbox=(10.0, 0.0, 10.01, 1.0)).subset(geometries=[(10, 0, 10.001, 1)])
    assert len(opened) == n_rows
    assert 0 < len(few) < 10
    # Ten times what it takes.
    assert dt.datetime.now(dt.timezone.utc) - started < dt.timedelta(seconds=5)
