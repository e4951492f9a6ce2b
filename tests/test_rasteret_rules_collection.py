"""Section 1 of rasteret's rules: what a collection's Parquet holds, and how it is read."""

import datetime as dt
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scenes import Scene, centre, make_collection, ramp, run, sample

from rasteret_beam.collection import (
    CollectionQuery,
    available_bands,
    list_fragments,
    read_fragment,
)
from rasteret_beam.companion import Collection
from rasteret_beam.errors import BandNotFoundError, CollectionError
from rasteret_beam.grid import crs
from rasteret_beam.local import sample_points
from rasteret_beam.options import SampleOptions
from rasteret_beam.points import PointColumns

DEGREES = {"epsg": 4326, "origin": (0.0, 40.0), "scale": (1.0, -1.0)}
POINT = {"x": [5.5], "y": [30.5]}  # the pixel (9, 5), 905 in a ramp
S2 = "sentinel-2-l2a"


def scene(name="a", value=None, year=None, **options):
    """A ramp, or a scene of one value."""
    n_bands = options.pop("n_bands", 1)
    pixels = ramp(40, 40, bands=n_bands)
    if value is not None:
        pixels = np.full_like(pixels, value)
    when = None if year is None else dt.datetime(year, 1, 1)  # noqa: DTZ001 -- UTC, as stored
    return Scene(name=name, pixels=pixels, when=when, **{**DEGREES, **options})


def with_column(path, name, column):
    """Replaces or adds a column."""
    table = pq.read_table(path)
    at = table.schema.get_field_index(name)
    if at < 0:
        table = table.append_column(name, column)
    else:
        table = table.set_column(at, pa.field(name, column.type), column)
    pq.write_table(table, path)
    return path


def without(path, *names):
    pq.write_table(pq.read_table(path).drop_columns(list(names)), path)
    return path


def with_metadata(path, change, band="B1"):
    """Changes the dict of one band's metadata in every row; its Arrow type is inferred anew."""
    name = f"{band}_metadata"
    structs = pq.read_table(path)[name].to_pylist()
    for struct in structs:
        change(struct)
    return without(with_column(path, name, pa.array(structs)), f"{band}_tiff")


def values(rows):
    return {row["record_id"]: row["value"] for row in rows}


def read(path, bands=("B1",), **options):
    return sample(path, POINT, bands, crs="EPSG:4326", **options)


def attempt(path, bands=("B1",), **options):
    """(value by record, messages of dead letters)."""
    result = run(path, POINT, bands, crs="EPSG:4326", **options)
    return values(result.samples.to_pylist()), [letter.msg for letter in result.dead_letters]


def records(path, data_source=None):
    query = CollectionQuery(path, ("B1",), data_source=data_source)
    return [r for f in list_fragments(query) for r, _ in read_fragment(query, f) if r is not None]


# Columns that must be there


@pytest.mark.parametrize("name", ["id", "datetime", "geometry", "assets", "bbox"])
def test_rule_1_five_columns_are_required(tmp_path, name):
    path = without(make_collection(tmp_path, [scene()]), name)
    with pytest.raises(CollectionError, match=rf"missing required columns: \['{name}'\]"):
        read(path)


def test_rule_1_a_path_that_is_not_there_is_named(tmp_path):
    with pytest.raises(CollectionError, match=r"Parquet not found at .*nowhere"):
        read(str(tmp_path / "nowhere"))


def test_rule_1_a_bbox_must_be_a_struct(tmp_path):
    path = make_collection(tmp_path, [scene()])
    with_column(path, "bbox", pa.array([[0.0, 0.0, 40.0, 40.0]]))
    with pytest.raises(CollectionError, match="'bbox' must be a struct of xmin, ymin, xmax, ymax"):
        read(path)


def test_rule_1_the_geometry_may_be_null_and_of_null_type(tmp_path):
    path = with_column(make_collection(tmp_path, [scene()]), "geometry", pa.nulls(1))
    assert values(read(path)) == {"a": 905.0}


def test_rule_1_other_columns_are_ignored(tmp_path):
    path = with_column(make_collection(tmp_path, [scene()]), "platform", pa.array([["x"]]))
    assert values(read(path)) == {"a": 905.0}


def test_rule_1_a_collection_that_rasteret_wrote_needs_none_of_our_columns(tmp_path):
    path = without(make_collection(tmp_path, [scene()]), "B1_tiff", "crs", "proj:projjson")
    assert values(read(path)) == {"a": 905.0}


def test_rule_1_ids_are_not_checked_to_be_unique(tmp_path):
    path = make_collection(tmp_path, [scene("a"), scene("b")])
    with_column(path, "id", pa.array(["a", "a"]))
    assert [record.info.record_id for record in records(path)] == ["a", "a"]


# Assets and bands


def test_rule_1_bands_are_all_columns_that_end_in_metadata():
    names = ["id", "B1_metadata", "metadata", "foo_metadata", "B1_tiff", "_metadata_x"]
    assert available_bands(names) == ["B1", "foo"]


def test_rule_1_a_band_without_a_metadata_column_is_no_band(tmp_path):
    path = make_collection(tmp_path, [scene(n_bands=2)])
    without(path, "B2_metadata")
    with pytest.raises(BandNotFoundError, match=r"Band\(s\) not found: \['B2'\]"):
        read(path, ("B1", "B2"))


def test_rule_1_an_asset_may_be_plain_text(tmp_path):
    path = make_collection(tmp_path, [scene()])
    with_column(path, "assets", pa.array([{"B1": str(tmp_path / "a.tif")}]))
    assert values(read(path)) == {"a": 905.0}


ALTERNATES = ["s3", "aws", "https", "http", "cloudfront", "other"]


@pytest.mark.parametrize("first", ["href", *ALTERNATES, "links"])
def test_rule_1_an_address_is_looked_for_in_rasterets_order(tmp_path, first):
    order = ["href", *ALTERNATES, "links"]
    found = {
        name: {"href": str(tmp_path / ("a.tif" if name == first else "wrong.tif"))}
        for name in order[order.index(first) :]
    }
    # The order of the fields must not decide.
    alternate = {name: found[name] for name in reversed(ALTERNATES) if name in found}
    asset = {
        "alternate": alternate or None,
        "links": [{"href": None}, found["links"]],
        "href": found.get("href", {}).get("href"),
    }
    path = make_collection(tmp_path, [scene()])
    with_column(path, "assets", pa.array([{"B1": asset}]))
    assert values(read(path)) == {"a": 905.0}


def test_rule_1_an_asset_without_any_address_leaves_the_record_out(tmp_path):
    path = make_collection(tmp_path, [scene("a"), scene("b")])
    good = {"B1": {"href": str(tmp_path / "b.tif"), "links": []}}
    with_column(path, "assets", pa.array([{"B1": {"href": None, "links": []}}, good]))
    found, messages = attempt(path)
    assert found == {"b": 905.0}
    assert ["has no href" in message for message in messages] == [True]


def test_rule_1_band_index_counts_from_0(tmp_path):
    path = make_collection(tmp_path, [scene(n_bands=3, bands=("first", "second", "third"))])
    rows = read(path, ("first", "second", "third"))
    assert {row["band"]: row["value"] for row in rows} == {
        "first": 905.0, "second": 10905.0, "third": 20905.0,
    }


def aliased(tmp_path, band, key, *, collection=S2):
    """A collection with the band's metadata, and its asset under another key."""
    path = make_collection(tmp_path, [scene(bands=(band,))])
    with_column(path, "collection", pa.array([collection]))
    return with_column(path, "assets", pa.array([{key: {"href": str(tmp_path / "a.tif")}}]))


@pytest.mark.parametrize(("band", "key"), [("B04", "red"), ("red", "B04"), ("SCL", "scl")])
def test_rule_1_registered_sources_know_a_band_by_two_names(tmp_path, band, key):
    assert values(read(aliased(tmp_path, band, key), (band,))) == {"a": 905.0}


def test_rule_1_unknown_sources_know_no_second_name(tmp_path):
    found, messages = attempt(aliased(tmp_path, "B04", "red", collection="mine"), ("B04",))
    assert found == {}
    assert len(messages) == 1


def test_rule_1_the_bands_own_name_comes_before_its_second(tmp_path):
    path = make_collection(tmp_path, [scene(bands=("B04",))])
    with_column(path, "collection", pa.array([S2]))
    assets = {"red": {"href": "wrong.tif"}, "B04": {"href": str(tmp_path / "a.tif")}}
    with_column(path, "assets", pa.array([assets]))
    assert values(read(path, ("B04",))) == {"a": 905.0}


def test_rule_1_landsat_names_differ_from_sentinels(tmp_path):
    path = aliased(tmp_path, "B4", "red", collection="landsat-c2-l2")
    assert values(read(path, ("B4",))) == {"a": 905.0}


# Whose names: the data source


def test_rule_1_a_given_data_source_wins_over_the_collections(tmp_path):
    path = aliased(tmp_path, "B04", "red", collection="landsat-c2-l2")
    query = CollectionQuery(path, ("B04",), data_source=S2)
    result = sample_points(
        query, pa.table(POINT), PointColumns(crs="EPSG:4326"), SampleOptions(bands=("B04",)),
    )
    assert values(result.samples.to_pylist()) == {"a": 905.0}


def declared(path, source):
    """Sets the file's schema metadata."""
    table = pq.read_table(path)
    metadata = {**(table.schema.metadata or {}), b"data_source": source.encode()}
    pq.write_table(table.replace_schema_metadata(metadata), path)
    return path


def test_rule_1_the_files_data_source_wins_over_the_collection_column(tmp_path):
    path = declared(aliased(tmp_path, "B04", "red", collection="landsat-c2-l2"), S2)
    assert values(read(path, ("B04",))) == {"a": 905.0}


def test_rule_1_a_files_data_source_of_unknown_is_none(tmp_path):
    path = declared(aliased(tmp_path, "B04", "red"), "unknown")
    assert values(read(path, ("B04",))) == {"a": 905.0}


@pytest.mark.parametrize(
    ("given", "source", "expected"),
    [("given", "file", "given"), (None, "file", "file"), (None, "unknown", ""), (None, "", "")],
)
def test_rule_1_a_record_without_a_collection_is_of_the_data_source(
    tmp_path, given, source, expected,
):
    path = declared(without(make_collection(tmp_path, [scene()]), "collection"), source)
    (record,) = records(path, data_source=given)
    assert record.info.collection == expected


def test_rule_1_without_any_the_first_collection_names_the_data_source(tmp_path):
    path = make_collection(tmp_path, [scene("a"), scene("b")])
    with_column(path, "collection", pa.array(["first", None]))
    assert [record.info.collection for record in records(path)] == ["first", "first"]


# The transform


def transformed(tmp_path, values_):
    path = make_collection(tmp_path, [scene()])
    return with_metadata(path, lambda struct: struct.update(transform=values_))


def test_rule_1_transform_of_four_values_is_scale_and_origin_of_x_then_of_y(tmp_path):
    path = transformed(tmp_path, [0.5, 3.0, -0.25, 33.0])
    assert values(read(path)) == {"a": 1005.0}


def test_rule_1_transform_of_six_values_is_read_in_affine_order(tmp_path):
    path = transformed(tmp_path, [0.5, 0.0, 3.0, 0.0, -0.25, 33.0])
    assert values(read(path)) == {"a": 1005.0}


def test_rule_1_off_diagonals_that_are_rounding_noise_are_none(tmp_path):
    path = transformed(tmp_path, [0.5, 1e-12, 3.0, -1e-12, -0.25, 33.0])
    assert values(read(path)) == {"a": 1005.0}


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ([1.0, 0.5, 0.0, 0.0, -1.0, 40.0], "Rotated/sheared affine transforms are not supported"),
        ([1.0, 0.0, 0.0, 0.5, -1.0, 40.0], "(b=0.0, d=0.5)"),
        (None, "Transform is missing"),
        ([1.0, 0.0, -1.0], "Transform must have 4 or 6 values, got 3"),
        ([], "Transform must have 4 or 6 values, got 0"),
        ([1.0] * 9, "Transform must have 4 or 6 values, got 9"),
        (1.0, "Transform must be"),
    ],
)
def test_rule_1_other_transforms_are_refused_by_name(tmp_path, numbers, words):
    found, messages = attempt(transformed(tmp_path, numbers))
    assert found == {}
    assert [words in message for message in messages] == [True]


# The rest of a band's metadata


def test_rule_1_width_and_height_may_stand_for_image_width_and_height(tmp_path):
    def rename(struct):
        struct["width"], struct["height"] = struct.pop("image_width"), struct.pop("image_height")

    assert values(read(with_metadata(make_collection(tmp_path, [scene()]), rename))) == {"a": 905.0}


LAST_FIVE = (
    "nodata", "samples_per_pixel", "planar_configuration", "photometric", "extra_samples",
)


def test_rule_1_older_files_lack_the_last_five_fields(tmp_path):
    def age(struct):
        for name in LAST_FIVE:
            del struct[name]

    path = make_collection(tmp_path, [scene(value=7, nodata="7")])
    (row,) = read(with_metadata(path, age), max_distance_pixels=1, unmatched="emit")
    assert (row["value"], row["status"]) == (7.0, "OK")  # no nodata is known


def test_rule_1_the_last_five_fields_may_be_null(tmp_path):
    path = make_collection(tmp_path, [scene()])
    with_metadata(path, lambda struct: struct.update(dict.fromkeys(LAST_FIVE)))
    assert values(read(path)) == {"a": 905.0}


@pytest.mark.parametrize("how", ["null", "absent"])
@pytest.mark.parametrize(
    "name", ["tile_width", "tile_height", "dtype", "tile_offsets", "tile_byte_counts"],
)
def test_rule_1_five_fields_are_hard_required(tmp_path, name, how):
    def drop(struct):
        struct[name] = None
        if how == "absent":
            del struct[name]

    found, messages = attempt(with_metadata(make_collection(tmp_path, [scene()]), drop))
    assert found == {}
    assert [name in message for message in messages] == [True]


@pytest.mark.parametrize(("text", "stored"), [("7", 7.0), ("nan", np.nan), (None, None)])
def test_rule_1_nodata_is_one_double(tmp_path, text, stored):
    path = make_collection(tmp_path, [scene(value=7, nodata=text)])
    column = pq.read_table(path, columns=["B1_metadata"])["B1_metadata"]
    assert column.type.field("nodata").type == pa.float64()
    assert repr(column[0].as_py()["nodata"]) == repr(stored)


def test_rule_1_nodata_as_rasteret_stores_it_is_enough(tmp_path):
    path = without(make_collection(tmp_path, [scene(value=7, nodata="7")]), "B1_tiff")
    (row,) = read(path, unmatched="emit")
    assert (row["value"], row["status"]) == (7.0, "NODATA")


def test_rule_1_each_band_of_a_planar_file_has_a_table_of_its_own_plane(tmp_path):
    path = make_collection(tmp_path, [scene(n_bands=2)])
    tables = [
        pq.read_table(path)[f"B{band}_metadata"][0].as_py()["tile_offsets"] for band in (1, 2)
    ]
    assert [len(table) for table in tables] == [9, 9]
    assert set(tables[0]).isdisjoint(tables[1])
    rows = read(path, ("B1", "B2"))
    assert [row["value"] for row in rows] == [905.0, 10905.0]


def test_difference_a_table_of_all_planes_is_cut_by_band_index(tmp_path):
    path = make_collection(tmp_path, [scene(n_bands=2)])
    structs = [pq.read_table(path)[f"B{band}_metadata"][0].as_py() for band in (1, 2)]

    def join(struct):
        for name in ("tile_offsets", "tile_byte_counts"):
            struct[name] = structs[0][name] + structs[1][name]

    with_metadata(with_metadata(path, join, "B1"), join, "B2")
    assert [row["value"] for row in read(path, ("B1", "B2"))] == [905.0, 10905.0]


# The CRS


LAEA = crs.normalise("+proj=laea +lat_0=41.5 +lon_0=3 +datum=WGS84 +units=m")
CRS_COLUMNS = {
    "proj:code": pa.array(["EPSG:32631"]),
    "proj:epsg": pa.array([32632], pa.int32()),
    "crs": pa.array(["EPSG:32633"]),
    "proj:wkt2": pa.array([crs._parse("EPSG:32634").to_wkt()]),
    "proj:projjson": pa.array([crs._parse("EPSG:32635").to_json()]),
}


@pytest.mark.parametrize("first", range(5))
@pytest.mark.parametrize("how", ["absent", "null"])
def test_rule_1_the_crs_is_looked_for_in_rasterets_order(tmp_path, first, how):
    path = without(make_collection(tmp_path, [scene()]), "proj:epsg", "crs", "proj:projjson")
    for number, (name, column) in enumerate(CRS_COLUMNS.items()):
        if number >= first:
            with_column(path, name, column)
        elif how == "null":
            with_column(path, name, pa.nulls(1, column.type))
    (record,) = records(path)
    assert record.info.epsg == 32631 + first


@pytest.mark.parametrize("missing", [None, math.nan])
def test_rule_1_codes_may_be_floats_as_pandas_holds_them_where_some_are_missing(tmp_path, missing):
    path = make_collection(tmp_path, [scene(), scene(name="b")])
    path = without(path, "crs", "proj:projjson")
    with_column(path, "proj:epsg", pa.array([32631.0, missing]))
    assert [record.info.epsg for record in records(path)] == [32631, None]
    assert Collection.from_parquet(path).epsg == [32631]


def test_rule_1_proj_projjson_may_be_a_struct(tmp_path):
    path = without(make_collection(tmp_path, [scene()]), "proj:epsg", "crs", "proj:projjson")
    with_column(path, "proj:projjson", pa.array([crs.to_projjson("EPSG:4326")]))
    (record,) = records(path)
    assert record.info.epsg == 4326


def test_rule_1_a_declared_crs_wins_over_the_files_own(tmp_path):
    made = Scene(name="a", pixels=ramp(40, 40), epsg=32631)
    path = make_collection(tmp_path, [made])
    with_column(path, "proj:epsg", pa.array([32731], pa.int32()))
    x, y = centre(made, 9, 5)
    # As UTM south the same numbers lie elsewhere; the bbox in degrees must hold them there.
    lon, lat = crs.transform("EPSG:32731", "EPSG:4326", np.array([x]), np.array([y]))
    sides = {"xmin": lon[0] - 1, "ymin": lat[0] - 1, "xmax": lon[0] + 1, "ymax": lat[0] + 1}
    with_column(path, "bbox", pa.array([sides]))
    (row,) = sample(path, {"x": lon, "y": lat}, crs="EPSG:4326")
    assert (row["value"], row["raster_crs"]) == (905.0, 32731)


def test_rule_1_without_any_crs_column_there_is_no_crs(tmp_path):
    path = without(make_collection(tmp_path, [scene()]), "proj:epsg", "crs", "proj:projjson")
    (row,) = read(path)
    assert (row["value"], row["raster_crs"]) == (905.0, None)


def test_difference_a_crs_without_a_code_is_read_from_projjson(tmp_path):
    path = make_collection(
        tmp_path,
        [Scene(name="a", pixels=ramp(40, 40), epsg=None, origin=(0.0, 400.0))],
        mutate=lambda rows: rows[0].update(
            {"proj:projjson": LAEA, "bbox": {"xmin": 2.9, "ymin": 41.4, "xmax": 3.1, "ymax": 41.6}},
        ),
    )
    lon, lat = crs.transform(LAEA, "EPSG:4326", np.array([55.0]), np.array([305.0]))
    (row,) = sample(path, {"x": lon, "y": lat}, crs="EPSG:4326")
    assert (row["value"], row["raster_crs"]) == (905.0, None)


# Datetimes


def dated(tmp_path, column):
    path = make_collection(tmp_path, [scene("a", 1), scene("b", 2)])
    return with_column(path, "datetime", column)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "+00:00", "Etc/UTC"])
def test_rule_1_datetimes_are_timestamps_in_utc(tmp_path, unit, zone):
    instants = [dt.datetime(2024, 1, 1, 12), None]  # noqa: DTZ001 -- UTC, as stored
    column = pa.array(instants, pa.timestamp(unit, zone))
    rows = read(dated(tmp_path, column))
    assert [row["datetime"] for row in rows] == instants


def test_rule_1_nanoseconds_are_cut_to_microseconds(tmp_path):
    column = pa.array([1_577_836_800_000_001_999, None], pa.timestamp("ns"))
    rows = read(dated(tmp_path, column))
    expected = dt.datetime(2020, 1, 1, 0, 0, 0, 1)  # noqa: DTZ001 -- UTC, as stored
    assert [row["datetime"] for row in rows] == [expected, None]


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["2024-01-01", "2024-01-02"]),
        pa.nulls(2, pa.string()),
        pa.array([2024, 2025]),
        pa.array([dt.date(2024, 1, 1), None]),
    ],
    ids=["text", "text, all null", "years", "dates"],
)
def test_rule_1_other_types_of_datetimes_are_refused(tmp_path, column):
    with pytest.raises(CollectionError, match="datetime"):
        read(dated(tmp_path, column))


def test_rule_1_datetimes_of_another_zone_are_refused(tmp_path):
    column = pa.array([0, 1], pa.timestamp("us", "Europe/Paris"))
    with pytest.raises(CollectionError, match="Europe/Paris"):
        read(dated(tmp_path, column))
