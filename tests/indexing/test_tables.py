"""Tables with a row an item: datetimes, names, assets, and which rows."""

import datetime as dt
import pathlib
import pickle

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from scenes import items_of

from rasteret_beam.errors import CollectionError, OptionError
from rasteret_beam.indexing.items import EVERY_SAMPLE, AssetRef
from rasteret_beam.indexing.stac import StacReading
from rasteret_beam.indexing.tables import RecordTable
from rasteret_beam.storage import Store

STORE = Store()
NOON = dt.datetime(2024, 1, 1, 12)  # noqa: DTZ001 -- UTC, as stored
BBOX = pa.struct([(side, pa.float64()) for side in ("xmin", "ymin", "xmax", "ymax")])


def table(*drop, **columns):
    """A table of as many rows as its columns have; ids i0, i1, ..."""
    n_rows = len(next(iter(columns.values()))) if columns else 1
    made = {
        "id": [f"i{n}" for n in range(n_rows)],
        "datetime": pa.nulls(n_rows),
        "assets": [{"B1": {"href": "s3://b/a.tif", "band_index": 0}}] * n_rows,
        **columns,
    }
    return pa.table({name: column for name, column in made.items() if name not in drop})


def batch(rows, **options):
    return RecordTable(table="t", **options).batch(rows)


def items(rows, **options):
    found = batch(rows, **options)
    assert found.dead_letters == []
    return found.items


def refusals(rows, **options):
    found = batch(rows, **options)
    return [item.id for item in found.items], [letter.msg for letter in found.dead_letters]


def assets(column, **reading):
    (item,) = items(table(assets=column), reading=StacReading(**reading))
    return dict(item.assets)


def write(path, rows):
    pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, path)
    return str(path)


def read(uri, **options):
    """Ids through the scan of a file or folder."""
    found, letters = items_of(RecordTable(table=str(uri), **options), STORE)
    assert letters == []
    return [item.id for item in found]


# Datetimes


def instants(column):
    return [item.datetime for item in items(table(datetime=column))]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Paris", "+05:30"])
def test_timestamps_are_instants_in_utc(unit, zone):
    column = pa.array([NOON, None], pa.timestamp(unit, zone))
    assert instants(column) == [NOON, None]


def test_nanoseconds_are_cut_to_microseconds():
    column = pa.array([1_704_067_200_123_456_789], pa.timestamp("ns", "UTC"))
    assert instants(column) == [dt.datetime(2024, 1, 1, 0, 0, 0, 123_456)]  # noqa: DTZ001


@pytest.mark.parametrize("kind", [pa.date32(), pa.date64()])
def test_days_are_their_midnight(kind):
    column = pa.array([dt.date(2024, 1, 1), None], kind)
    assert instants(column) == [NOON.replace(hour=0), None]


@pytest.mark.parametrize("kind", [pa.int16(), pa.int32(), pa.int64(), pa.uint16()])
def test_integers_are_years(kind):
    assert instants(pa.array([2024, None], kind)) == [NOON.replace(hour=0), None]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
@pytest.mark.parametrize(
    "text", ["2024-01-01T12:00:00Z", "2024-01-01T14:00:00+02:00", "2024-01-01T12:00:00.000Z"],
)
def test_text_with_an_offset_is_an_instant(kind, text):
    assert instants(pa.array([text, None], kind)) == [NOON, None]


@pytest.mark.parametrize("kind", [pa.timestamp("us", "UTC"), pa.timestamp("ns"), pa.string()])
def test_a_row_without_a_datetime_begins_when_its_interval_does(kind):
    starts = pa.array([NOON.replace(year=2020), NOON], pa.timestamp("us", "UTC"))
    rows = table(datetime=pa.nulls(2), start_datetime=starts.cast(kind))
    assert [item.datetime for item in items(rows)] == [NOON.replace(year=2020), NOON]
    late = StacReading(date_range=("2024-01-01", "2024-12-31"))
    assert [item.datetime for item in items(rows, reading=late)] == [NOON]


def test_a_column_of_nulls_has_no_datetimes():
    assert instants(pa.nulls(2)) == [None, None]


@pytest.mark.parametrize("text", ["2024-01-01T12:00:00", "2024-01-01", "soon"])
def test_text_that_is_no_instant_is_a_dead_letter_of_its_row(text):
    good = "2024-01-01T12:00:00Z"
    ids, (message,) = refusals(table(datetime=pa.array([text, good])))
    assert ids == ["i1"]
    assert f"datetime is {text!r}, expected RFC 3339 with an offset" in message


@pytest.mark.parametrize("value", [20240101, 1_704_067_200_000])
def test_a_number_that_is_no_year_is_a_dead_letter_of_its_row(value):
    ids, (message,) = refusals(table(datetime=pa.array([value, 2024])))
    assert ids == ["i1"]
    assert f"datetime is {value}, expected a year" in message


@pytest.mark.parametrize("column", [pa.array([2024.0]), pa.array([True]), pa.array([b"2024"])])
def test_other_types_are_no_datetime(column):
    with pytest.raises(CollectionError, match=r"datetime is \w+, expected a timestamp"):
        instants(column)


@pytest.mark.parametrize("kind", [pa.dictionary(pa.int32(), pa.string()), pa.string_view()])
def test_text_may_be_encoded(kind):
    column = pa.array(["2024-01-01T12:00:00Z"]).cast(kind)
    assert instants(column) == [NOON]


# Names


def test_a_source_column_is_known_under_another_name_and_kept():
    rows = table("id", fid=[7])
    (item,) = items(rows, column_map={"fid": "id"})
    assert item.id == "7"
    assert item.properties == {"fid": 7}


def test_a_name_that_is_taken_is_left_as_it_is():
    (item,) = items(table(fid=[7]), column_map={"fid": "id", "nowhere": "crs"})
    assert item.id == "i0"


@pytest.mark.parametrize("name", ["id", "datetime", "assets"])
def test_a_missing_column_is_named_with_what_there_is(name):
    with pytest.raises(CollectionError, match=rf"no column \['{name}'\]; it has \["):
        batch(table(name))


def test_a_missing_column_of_addresses_is_named():
    with pytest.raises(CollectionError, match=r"no column \['path'\]"):
        batch(table("assets"), href_column="path")


@pytest.mark.parametrize("kind", [pa.int64(), pa.uint8(), pa.string(), pa.large_string()])
def test_ids_become_text(kind):
    (item,) = items(table(id=pa.array([12]).cast(kind)))
    assert item.id == "12"


def test_a_null_id_is_a_dead_letter_and_the_others_stay():
    ids, (message,) = refusals(table(id=["a", None, "b"]))
    assert ids == ["a", "b"]
    assert "Its id is null" in message


def test_columns_of_the_contract_and_of_stac_are_no_properties():
    names = ("geometry", "bbox", "proj:epsg", "links", "stac_version", "year")
    more = {name: [None] for name in names}
    (item,) = items(table(collection=["c"], gsd=[10], **more))
    assert item.properties == {"gsd": 10}
    assert item.collection == "c"


def test_a_column_that_would_be_taken_for_a_band_keeps_its_value():
    found = batch(table(qa_metadata=["x"], B1_tiff=["y"]))
    assert found.columns.names == ["qa_metadata_property", "B1_tiff_property"]
    assert found.items[0].properties == {"qa_metadata": "x", "B1_tiff": "y"}


@pytest.mark.parametrize(
    ("columns", "crs"),
    [
        ({"proj:code": ["EPSG:32633"]}, "EPSG:32633"),
        ({"proj:epsg": [32633]}, "EPSG:32633"),
        ({"crs": ["EPSG:32633"]}, "EPSG:32633"),
        ({"crs": [32633]}, "EPSG:32633"),
        ({"proj:code": [None], "proj:epsg": [32634]}, "EPSG:32634"),
        ({}, None),
    ],
)
def test_a_row_may_declare_its_crs(columns, crs):
    (item,) = items(table(**columns))
    assert item.crs == crs


def test_a_code_may_be_a_float():
    (item,) = items(table(**{"proj:epsg": [32633.0]}))
    assert item.crs == "EPSG:32633"


# Assets


def test_assets_are_structs_with_a_sample():
    found = assets([{"r": {"href": "s3://b/a", "band_index": 3}, "n": {"href": "s3://b/b"}}])
    assert found == {"r": AssetRef("s3://b/a", 3), "n": AssetRef("s3://b/b")}


def test_assets_are_texts():
    assert assets([{"r": "s3://b/a"}]) == {"r": AssetRef("s3://b/a")}


@pytest.mark.parametrize("kind", [pa.string(), pa.struct([("href", pa.string())])])
def test_assets_are_maps(kind):
    value = "s3://b/a" if kind == pa.string() else {"href": "s3://b/a"}
    column = pa.array([[("r", value), ("n", None)]], pa.map_(pa.string(), kind))
    assert assets(column) == {"r": AssetRef("s3://b/a")}


def test_an_asset_that_is_null_is_not_there():
    rows = table(assets=[{"r": {"href": "s3://b/r"}}, {"n": {"href": "s3://b/n"}}])
    assert [sorted(item.assets) for item in items(rows)] == [["r"], ["n"]]


@pytest.mark.parametrize("value", [None, {}])
def test_a_row_without_assets_is_a_dead_letter(value):
    column = pa.array([{"r": "s3://b/a"}, value], pa.struct([("r", pa.string())]))
    ids, (message,) = refusals(table(assets=column))
    assert ids == ["i0"]
    assert "Its assets are None" in message or "It has no asset with an href" in message


def test_an_asset_of_null_members_is_not_there():
    # As polars and DuckDB write an asset that a row does not have.
    column = [{"r": {"href": "s3://b/r", "band_index": 0}, "n": {"href": None, "band_index": None}}]
    assert list(assets(column)) == ["r"]


@pytest.mark.parametrize("asset", [{"href": "s3://b/a"}, {"name": "r", "href": "s3://b/a"}])
def test_assets_of_another_shape_are_refused(asset):
    ids, messages = refusals(table(assets=[[asset]]))
    assert ids == []
    assert len(messages) == 1


def test_a_band_map_chooses_among_the_assets():
    column = [{"red": "s3://b/r", "nir": "s3://b/n"}]
    assert assets(column, band_map={"B04": "red"}) == {"B04": AssetRef("s3://b/r")}


def test_the_rows_own_sample_goes_before_the_options():
    column = [{"r": {"href": "s3://b/a", "band_index": 1}}]
    assert assets(column, band_index_map={"r": 5}) == {"r": AssetRef("s3://b/a", 1)}


def test_an_option_tells_the_sample_where_the_row_does_not():
    assert assets([{"r": "s3://b/a"}], band_index_map={"r": 5}) == {"r": AssetRef("s3://b/a", 5)}


def test_addresses_are_rewritten():
    found = assets([{"r": "https://h/a"}], url_rewrite_patterns={"https://h/": "s3://b/"})
    assert found["r"].href == "s3://b/a"


def test_stacs_own_assets_are_told_apart_by_their_types():
    tiff = {"href": "./a.tif", "type": "image/tiff; application=geotiff", "roles": ["data"]}
    column = [{"lai": tiff, "thumb": {"href": "t.png", "type": "image/png", "roles": None}}]
    rows = table(assets=column, bbox=[{"xmin": 0.0, "ymin": 0.0, "xmax": 1.0, "ymax": 1.0}],
                 **{"proj:code": ["EPSG:32633"], "type": ["Feature"]})  # fmt: skip
    (item,) = RecordTable(table="t").batch(rows, "s3://b/t/items.parquet").items
    assert {band: asset.href for band, asset in item.assets.items()} == {"lai": "s3://b/t/a.tif"}
    assert (item.crs, item.properties) == ("EPSG:32633", {})


def test_stacs_own_assets_are_named_as_the_catalogue_does():
    column = [{"red": {"href": "s3://b/r", "type": "image/tiff"}}]
    (item,) = items(table(assets=column, collection=["sentinel-2-l2a"]))
    assert list(item.assets) == ["B04"]


# One column of addresses


def test_every_sample_of_an_address_is_a_band():
    (item,) = items(table("assets", path=["s3://b/a.tif"]), href_column="path")
    assert item.assets == {EVERY_SAMPLE: AssetRef("s3://b/a.tif")}
    assert item.properties == {"path": "s3://b/a.tif"}


def test_named_samples_of_an_address_are_bands():
    reading = StacReading(band_index_map={"A00": 0, "A01": 1},
                          url_rewrite_patterns={"s3://b/": "https://h/"})  # fmt: skip
    (item,) = items(table("assets", path=["s3://b/a.tif"]), href_column="path", reading=reading)
    assert item.assets == {
        "A00": AssetRef("https://h/a.tif", 0), "A01": AssetRef("https://h/a.tif", 1),
    }  # fmt: skip


def test_assets_go_before_a_column_of_addresses():
    (item,) = items(table(path=["s3://b/other.tif"]), href_column="path")
    assert item.assets["B1"].href == "s3://b/a.tif"


def test_a_row_without_an_address_is_a_dead_letter_and_the_others_stay():
    ids, messages = refusals(table("assets", path=["s3://b/a", None, ""]), href_column="path")
    assert ids == ["i0"]
    assert "Its path is None, expected an address" in messages[0]
    assert len(messages) == 2


def test_relative_addresses_are_relative_to_the_table():
    in_assets = table(assets=[{"B1": "a.tif"}])
    in_a_column = table("assets", path=["a.tif"])
    source = RecordTable(table="t", href_column="path")
    found = [source.batch(rows, "s3://b/t/x.parquet").items[0] for rows in (in_assets, in_a_column)]
    assert found[0].assets["B1"].href == found[1].assets[EVERY_SAMPLE].href == "s3://b/t/a.tif"


# Which rows


def boxes(*values):
    return pa.array([None if v is None else dict(zip(BBOX.names, v, strict=True)) for v in values],
                    BBOX)  # fmt: skip


NEAR, FAR = (0.0, 0.0, 1.0, 1.0), (5.0, 5.0, 6.0, 6.0)


def test_a_bbox_chooses_rows(tmp_path):
    path = write(tmp_path / "t.parquet", table(bbox=boxes(NEAR, FAR)))
    assert read(path, reading=StacReading(bbox=(1.0, 1.0, 2.0, 2.0))) == ["i0"]


@pytest.mark.parametrize("column", [[[0.0, 0.0, 1.0, 1.0], [5.0, 5.0, 6.0, 6.0]]])
def test_a_bbox_may_be_a_list(tmp_path, column):
    path = write(tmp_path / "t.parquet", table(bbox=column))
    assert read(path, reading=StacReading(bbox=(1.0, 1.0, 2.0, 2.0))) == ["i0"]


def test_a_table_without_a_bbox_keeps_its_rows(tmp_path):
    path = write(tmp_path / "t.parquet", table(x=[1, 2]))
    assert read(path, reading=StacReading(bbox=(1.0, 1.0, 2.0, 2.0))) == ["i0", "i1"]


def test_rows_without_a_bbox_are_kept_by_the_scan_as_by_the_reading(tmp_path):
    rows, reading = table(bbox=boxes(NEAR, None)), StacReading(bbox=(0.0, 0.0, 1.0, 1.0))
    in_memory = [item.id for item in items(rows, reading=reading)]
    assert in_memory == ["i0", "i1"]
    assert read(write(tmp_path / "t.parquet", rows), reading=reading) == in_memory


@pytest.mark.parametrize("bbox", [(0.0, 0.0, 1.0, 1.0), (5.0, 5.0, 6.0, 6.0)])
def test_a_bbox_of_other_members_keeps_its_rows(tmp_path, bbox):
    rows, reading = table(bbox=[{"minx": 0.0, "maxx": 1.0}] * 2), StacReading(bbox=bbox)
    assert read(write(tmp_path / "t.parquet", rows), reading=reading) == ["i0", "i1"]
    assert [item.id for item in items(rows, reading=reading)] == ["i0", "i1"]


def test_a_date_range_chooses_rows(tmp_path):
    days = [dt.datetime(2024, 1, day, 12) for day in (1, 2, 3)]  # noqa: DTZ001
    path = write(tmp_path / "t.parquet", table(datetime=[*days, None]))
    reading = StacReading(date_range=("2024-01-02", "2024-01-02"))
    assert read(path, reading=reading) == ["i1", "i3"]


@pytest.mark.parametrize("where", ["eo:cloud_cover < 20 and ok", pc.field("eo:cloud_cover") < 20])
def test_a_condition_chooses_rows(tmp_path, where):
    path = write(tmp_path / "t.parquet", table(ok=[True] * 3, **{"eo:cloud_cover": [5, 50, None]}))
    assert read(path, where=where) == ["i0"]


def test_a_condition_and_a_bbox_both_count(tmp_path):
    path = write(tmp_path / "t.parquet", table(x=[1, 1, 2], bbox=boxes(NEAR, FAR, NEAR)))
    reading = StacReading(bbox=(0.0, 0.0, 1.0, 1.0))
    assert read(path, where="x == 1", reading=reading) == ["i0"]


def test_a_condition_that_is_none_is_refused_at_once():
    with pytest.raises(OptionError, match="no condition"):
        RecordTable(table="t", where="x <")


def test_a_condition_on_a_column_that_is_not_there_is_refused(tmp_path):
    path = write(tmp_path / "t.parquet", table(x=[1]))
    with pytest.raises(CollectionError, match="names column 'y'"):
        read(path, where="y == 1")


@pytest.mark.parametrize("where", ["x == 'a'", pc.field("y") == 1])
def test_a_condition_that_the_scan_refuses_is_a_collection_error(tmp_path, where):
    path = write(tmp_path / "t.parquet", table(x=[1]))
    with pytest.raises(CollectionError):
        read(path, where=where)


def test_a_condition_chooses_rows_of_a_table_with_views(tmp_path):
    path = write(tmp_path / "t.parquet", table(x=[1, 2], v=pa.array(["a", "b"], pa.string_view())))
    assert read(path, where="x == 1") == ["i0"]


@pytest.mark.parametrize(
    ("kind", "value"),
    [(pa.list_(pa.string_view()), ["a"]), (pa.struct({"a": pa.binary_view()}), {"a": b"b"})],
)
def test_views_may_stand_within_other_types(kind, value):
    rows = table(x=[1, 2], v=pa.array([value, value], kind))
    found, _ = items_of(RecordTable(table=rows, where="x == 1"), STORE)
    assert [item.properties["v"] for item in found] == [value]


# Files


def test_a_folder_gives_the_rows_of_its_files(tmp_path):
    write(tmp_path / "b.parquet", table(id=["b"]))
    write(tmp_path / "a.parquet", table(id=["a"]))
    assert read(tmp_path) == ["a", "b"]


def test_hive_folders_give_columns(tmp_path):
    write(tmp_path / "year=2024" / "platform=s2a" / "x.parquet", table())
    found, _ = items_of(RecordTable(table=str(tmp_path), where="platform == 's2a'"), STORE)
    assert [item.properties for item in found] == [{"platform": "s2a"}]
    assert read(tmp_path, where="year == 2023") == []


def test_a_table_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(CollectionError, match="Parquet not found"):
        read(tmp_path / "nowhere.parquet")


def test_a_file_that_is_no_parquet_is_refused(tmp_path):
    (tmp_path / "t.parquet").write_bytes(b"no")
    with pytest.raises(CollectionError, match="cannot be read as Parquet"):
        read(tmp_path / "t.parquet")


def test_two_columns_of_one_name_are_refused():
    rows = pa.Table.from_arrays([*table().columns, pa.array([1]), pa.array([2])],
                                [*table().column_names, "x", "x"])  # fmt: skip
    with pytest.raises(CollectionError):
        batch(rows)


def test_a_source_travels():
    source = RecordTable(table="t", column_map={"fid": "id"}, where="x == 1")
    assert pickle.loads(pickle.dumps(source)) == source  # noqa: S301
