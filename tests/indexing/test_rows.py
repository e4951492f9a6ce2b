"""Item + headers -> row: bands that cannot be used, CRSs, samples, footprints, packing."""

import datetime as dt
import json

import numpy as np
import pyarrow as pa
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from make_tiff import write_tiff
from scenes import ramp

from rasteret_beam.elements import Geotransform
from rasteret_beam.errors import FetchError, RasteretBeamError
from rasteret_beam.indexing.headers import index_file
from rasteret_beam.indexing.items import EVERY_SAMPLE, AssetRef, Item
from rasteret_beam.indexing.rows import make_row, pack, property_column
from rasteret_beam.storage import Store

STORE = Store()
TABLES = ("tile_offsets", "tile_byte_counts")
NOON = dt.datetime(2024, 1, 1, 12)  # noqa: DTZ001 -- UTC, as stored


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Files of several kinds, by name."""
    folder = tmp_path_factory.mktemp("rows")
    east = Geotransform(scale_x=10.0, origin_x=600_000.0, scale_y=-10.0, origin_y=4_000_000.0)
    kinds = {
        "one": {}, "zone34": {"epsg": 32634}, "bare": {"epsg": None}, "other": {"nodata": "7"},
        "planar": {"planar": True, "bands": 3}, "chunky": {"bands": 3},
        "east": {"geotransform": east},
    }  # fmt: skip
    found = {}
    for name, options in kinds.items():
        n_bands = options.pop("bands", 1)
        pixels = ramp(40, 24, bands=n_bands)
        found[name] = str(write_tiff(folder / f"{name}.tif", pixels, **options))
    (folder / "broken.tif").write_bytes(b"II*\0")
    return {**found, "broken": str(folder / "broken.tif"), "gone": str(folder / "gone.tif")}


def index(href):
    try:
        return index_file(STORE, href)
    except RasteretBeamError as error:
        return error


def row_of(made, bands, **more):
    """(row as a dict or None, dead letters); bands are name -> kind or (kind, sample)."""
    assets = {}
    for name, kind in bands.items():
        kind_name, sample = kind if isinstance(kind, tuple) else (kind, None)
        assets[name] = AssetRef(made[kind_name], sample)
    item = Item("a", assets, **{"datetime": NOON, **more})
    row, letters, _ = make_row(item, {ref.href: index(ref.href) for ref in assets.values()})
    return (None if row is None else row.row()), letters


# What a row says


def test_a_row_has_the_columns_of_the_contract(made):
    row, letters = row_of(made, {"r": "one"}, collection="c", properties={"gsd": 10})
    assert letters == []
    assert list(row) == [
        "id", "datetime", "geometry", "assets", "bbox", "proj:epsg", "crs", "proj:projjson",
        "collection", "gsd", "r_metadata", "r_tiff",
    ]  # fmt: skip
    assert (row["id"], row["datetime"], row["collection"], row["gsd"]) == ("a", NOON, "c", 10)


def test_an_asset_says_where_its_sample_is(made):
    row, _ = row_of(made, {"r": "one", "g": ("chunky", 2)})
    assert row["assets"] == {
        "r": {"href": made["one"], "band_index": 0}, "g": {"href": made["chunky"], "band_index": 2},
    }  # fmt: skip


def test_every_sample_becomes_a_band(made):
    row, _ = row_of(made, {EVERY_SAMPLE: "planar"})
    assert list(row["assets"]) == ["B1", "B2", "B3"]
    assert [asset["band_index"] for asset in row["assets"].values()] == [0, 1, 2]


def test_the_catalogues_calibration_goes_before_the_files(made):
    item = Item("a", {"r": AssetRef(made["one"], None, 2.0, None, "K")})
    row, *_ = make_row(item, {made["one"]: index(made["one"])})
    tiff = row.row()["r_tiff"]
    assert (tiff["scale"], tiff["offset"], tiff["unit"]) == (2.0, None, "K")


# Bands that cannot be used


@pytest.mark.parametrize("kind", ["broken", "gone", ("one", 1), ("chunky", None), ("chunky", 3)])
def test_one_bad_band_leaves_the_others(made, kind):
    row, (letter,) = row_of(made, {"r": "one", "bad": kind})
    assert "r_metadata" in row
    assert "bad_metadata" not in row
    assert sorted(row["assets"]) == ["bad", "r"]
    assert json.loads(letter.element)["bands"] == ["bad"]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (("one", 1), "Band bad=1: the file has samples 0 to 0"),
        (("chunky", -1), "Band bad=-1: the file has samples 0 to 2"),
        (("planar", None), "Band bad names none of the file's 3 samples; give its band_index"),
        ("gone", r"gone\.tif: FileNotFoundError"),
    ],
)
def test_a_dead_letter_says_what_would_be_right(made, kind, message):
    row, (letter,) = row_of(made, {"bad": kind})
    assert row is None
    assert message.replace("\\", "") in letter.msg


def test_no_band_at_all_gives_no_row(made):
    row, letters = row_of(made, {"a": "broken", "b": "gone"})
    assert row is None
    assert len(letters) == 2


def test_bands_of_one_bad_file_share_a_dead_letter(made):
    _, (letter,) = row_of(made, {"r": "one", "a": ("broken", 0), "b": ("broken", 1)})
    assert json.loads(letter.element) == {"id": "a", "href": made["broken"], "bands": ["a", "b"]}


def test_a_bad_file_of_unknown_bands_names_none(made):
    row, (letter,) = row_of(made, {EVERY_SAMPLE: "broken"})
    assert row is None
    assert json.loads(letter.element) == {"id": "a", "href": made["broken"]}


def test_what_failed_keeps_its_code(made):
    files = {made["one"]: index(made["one"]), "s3://b/x": FetchError("x")}
    item = Item("a", {"r": AssetRef(made["one"]), "x": AssetRef("s3://b/x")})
    _, (letter,), _ = make_row(item, files)
    assert letter.code == FetchError("x").code


# Samples


def test_planar_samples_have_tile_tables_of_their_own(made):
    row, _ = row_of(made, {"b": ("planar", 1), "a": ("planar", 0)})
    whole = index(made["planar"])
    assert len(row["a_metadata"]["tile_offsets"]) == 6  # 40 x 24 pixels in tiles of 16 x 16
    assert set(row["a_metadata"]["tile_offsets"]).isdisjoint(row["b_metadata"]["tile_offsets"])
    assert (row["b_metadata"]["tile_offsets"] == whole.bands[1].metadata["tile_offsets"]).all()


def test_chunky_samples_share_their_tiles(made):
    row, _ = row_of(made, {"b": ("chunky", 1), "a": ("chunky", 0)})
    assert (row["a_metadata"]["tile_offsets"] == row["b_metadata"]["tile_offsets"]).all()
    assert len(row["a_metadata"]["tile_offsets"]) == 6


# CRSs


def crs_columns(row):
    return row["proj:epsg"], row["crs"], row["proj:projjson"]


def test_the_headers_crs_is_the_records(made):
    row, _ = row_of(made, {"r": "bare", "g": "zone34"})
    assert crs_columns(row) == (32634, "EPSG:32634", None)


def test_a_declared_crs_wins_where_no_header_agrees(made):
    row, letters = row_of(made, {"r": "one"}, crs="EPSG:32635")
    assert letters == []
    assert crs_columns(row)[0] == 32635
    assert row["r_tiff"]["crs"] == "EPSG:32633"


def test_without_a_crs_a_record_has_none(made):
    row, _ = row_of(made, {"r": "bare"})
    assert crs_columns(row) == (None, None, None)


def test_a_crs_without_a_code_is_kept_as_projjson(made):
    from rasteret_beam.grid import crs  # noqa: PLC0415 -- here alone

    mine = crs.normalise("+proj=laea +lat_0=40 +lon_0=9 +ellps=GRS80")
    row, _ = row_of(made, {"r": "bare"}, crs=mine)
    assert crs_columns(row) == (None, None, mine)


def test_a_band_of_another_crs_is_a_dead_letter(made):
    row, (letter,) = row_of(made, {"r": "one", "g": "zone34"})
    assert crs_columns(row)[0] == 32633
    assert [name for name in row if name.endswith("_metadata")] == ["r_metadata"]
    assert "Band g is in EPSG:32634, its record in EPSG:32633" in letter.msg


def test_a_declared_crs_chooses_the_bands_that_agree(made):
    row, (letter,) = row_of(made, {"r": "one", "g": "zone34"}, crs="EPSG:32634")
    assert crs_columns(row)[0] == 32634
    assert json.loads(letter.element)["bands"] == ["r"]


def test_bands_that_agree_with_nobody_leave_the_first(made):
    row, (letter,) = row_of(made, {"r": "one", "g": "zone34"}, crs="EPSG:32635")
    assert crs_columns(row)[0] == 32635
    assert json.loads(letter.element)["bands"] == ["g"]


def test_a_band_without_a_crs_fits_any(made):
    row, letters = row_of(made, {"r": "one", "g": "bare"})
    assert letters == []
    assert {"r_metadata", "g_metadata"} <= set(row)


# Footprints


def test_the_footprint_is_that_of_the_files(made):
    row, _ = row_of(made, {"r": "one"})
    outline = shapely.from_wkb(row["geometry"])
    assert row["bbox"]["xmin"] == pytest.approx(outline.bounds[0], abs=1e-6)
    assert 14 < row["bbox"]["xmin"] < row["bbox"]["xmax"] < 16


def test_files_at_two_places_join_their_footprints(made):
    both, _ = row_of(made, {"r": "one", "g": "east"})
    boxes = [row_of(made, {"r": kind})[0]["bbox"] for kind in ("one", "east")]
    assert both["bbox"]["xmin"] == boxes[0]["xmin"]
    assert both["bbox"]["xmax"] == boxes[1]["xmax"]


def test_files_that_cannot_be_used_have_no_footprint(made):
    row, _ = row_of(made, {"r": "one", "g": "gone", "z": "zone34"})
    assert row["bbox"] == row_of(made, {"r": "one"})[0]["bbox"]


# Packing


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner,
                                                                max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(
    properties=st.dictionaries(st.text(max_size=5).map("p:".__add__), _JSON, max_size=4),
    offsets=st.lists(st.integers(0, 2**62), max_size=5),
    box=st.tuples(*[st.floats(-180, 180)] * 4),
)
def test_packed_rows_give_back_what_went_in(properties, offsets, box):
    row = {
        "id": "a", "datetime": NOON, "assets": {"r": {"href": "x", "band_index": 0}},
        "bbox": dict(zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)), **properties,
    }  # fmt: skip
    tables = {name: np.array(offsets, np.int64) for name in TABLES}
    packed = pack({**row, "r_metadata": tables, "r_tiff": {"etag": "e"}}, ("r",), typed=False)
    given_back = packed.row()
    metadata = given_back.pop("r_metadata")
    assert all(metadata[name].tolist() == offsets for name in TABLES)
    assert given_back.pop("r_tiff") == {"etag": "e"}
    assert given_back == row
    assert (packed.id, packed.bbox, set(packed.columns)) == ("a", box, set(properties))


def test_a_packed_row_tells_types_of_its_properties(made):
    told = {"i": 1, "f": 1.5, "s": "x", "b": True, "n": None, "l": [1], "d": {"a": "x"}}
    item = Item("a", {"r": AssetRef(made["one"])}, NOON, properties=told)
    row, *_ = make_row(item, {made["one"]: index(made["one"])})
    assert row.columns == {
        "i": pa.int64(), "f": pa.float64(), "s": pa.string(), "b": pa.bool_(), "n": pa.null(),
        "l": pa.list_(pa.int64()), "d": pa.struct([("a", pa.string())]),
    }  # fmt: skip


def test_a_packed_row_is_as_large_as_its_tile_tables():
    row = {"id": "a", "datetime": None, "bbox": dict.fromkeys(("xmin", "ymin", "xmax", "ymax"), 0)}
    sizes = [
        pack({**row, "r_metadata": dict.fromkeys(TABLES, tiles)}, ("r",), typed=False).n_bytes
        for tiles in (np.arange(0), np.arange(1000))
    ]
    assert sizes[1] - sizes[0] == 16_000


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("gsd", "gsd"), ("qa_metadata", "qa_metadata_property"), ("x_tiff", "x_tiff_property"),
        ("year", None), ("month", None), ("id", None), ("crs", None), ("geometry", None),
    ],
)  # fmt: skip
def test_properties_have_columns_of_their_own(name, column):
    assert property_column(name) == column
