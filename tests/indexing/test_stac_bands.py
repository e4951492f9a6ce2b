"""STAC assets -> bands: which, under what names, at which sample, on what scale."""

import pytest

from rasteret_beam.errors import OptionError, RecordError
from rasteret_beam.indexing.items import AssetRef
from rasteret_beam.indexing.stac import StacReading

COG = "image/tiff; application=geotiff; profile=cloud-optimized"
CALIBRATED = {"scale": 0.0001, "offset": -0.1, "unit": "1"}


def assets(given, collection="", **reading):
    return StacReading(**reading).assets(given, collection, None)


def hrefs(given, collection="", **reading):
    return {band: asset.href for band, asset in assets(given, collection, **reading).items()}


def files(*keys, **more):
    return {key: {"href": f"s3://b/{key}", **more} for key in keys}


def calibration(asset, **reading):
    (found,) = assets({"red": {"href": "s3://b/r", **asset}}, "sentinel-2-l2a", **reading).values()
    return found[2:]


# Which assets are bands


def test_a_band_map_chooses_and_names():
    found = hrefs(files("red", "nir", "thumbnail"), band_map={"R": "red", "N": "nir", "X": "swir"})
    assert found == {"R": "s3://b/red", "N": "s3://b/nir"}


def test_a_band_map_that_fits_no_asset_is_refused():
    with pytest.raises(RecordError, match=r"None of \['swir'\] among its assets \['red'\]"):
        assets(files("red"), band_map={"S": "swir"})


def test_the_catalogue_names_bands_of_a_collection_it_knows():
    found = hrefs(files("red", "scl", "visual"), "sentinel-2-l2a")
    assert found == {"B04": "s3://b/red", "SCL": "s3://b/scl"}


def test_the_data_source_goes_before_the_items_collection():
    found = hrefs(files("red"), "other", data_source="earthsearch/landsat-c2-l2")
    assert found == {"B4": "s3://b/red"}


def test_a_collection_in_other_names_is_inferred():
    # The other catalogue that has this collection names its assets as the bands.
    found = hrefs(files("B04", "B08", "preview"), "sentinel-2-l2a")
    assert found == {"B04": "s3://b/B04", "B08": "s3://b/B08"}


def test_an_unknown_collection_is_inferred_from_asset_names():
    assert hrefs(files("red", "nir08", "qa_pixel", "x"), "mine") == {
        "B4": "s3://b/red", "B5": "s3://b/nir08", "qa_pixel": "s3://b/qa_pixel",
    }  # fmt: skip


def test_else_every_tiff_is_a_band_under_its_own_key():
    given = files("ndvi", "lai", type=COG) | files("thumb", type="image/png") | files("info")
    assert hrefs(given, "mine") == {"ndvi": "s3://b/ndvi", "lai": "s3://b/lai"}


@pytest.mark.parametrize("kind", ["image/tiff", COG, "image/vnd.stac.geotiff; profile=cloud"])
def test_media_types_of_tiffs(kind):
    assert list(assets(files("x", type=kind))) == ["x"]


def test_media_types_have_no_case():
    assert list(assets(files("x", type="image/TIFF"))) == ["x"]


def test_no_band_at_all_is_refused():
    with pytest.raises(RecordError, match="give a band_map"):
        assets(files("thumb", type="image/png"), "mine")


def test_no_asset_at_all_is_refused():
    with pytest.raises(RecordError, match="no asset with an href"):
        assets({}, "mine")


def test_an_asset_that_is_null_is_none():
    assert list(assets({"red": None, **files("nir")}, "sentinel-2-l2a")) == ["B08"]


def test_an_asset_may_be_its_address_alone():
    assert hrefs({"red": "s3://b/r"}, band_map={"R": "red"}) == {"R": "s3://b/r"}


@pytest.mark.parametrize("bad", [{}, {"href": None}, {"href": ""}, {"href": 5}, 5])
def test_an_only_asset_without_an_address_is_refused(bad):
    with pytest.raises(RecordError, match="no asset with an href"):
        assets({"red": bad}, band_map={"R": "red"})


@pytest.mark.parametrize("bad", [{"href": None}, {"type": COG}, {"href": ""}])
def test_an_asset_without_an_address_leaves_the_others(bad):
    found = hrefs({"red": {"href": "s3://b/r"}, "nir": bad}, "sentinel-2-l2a")
    assert found == {"B04": "s3://b/r"}


# Several bands of one asset


NAIP = {"R": "image", "G": "image", "B": "image", "NIR": "image"}


def test_bands_of_one_asset_have_their_samples():
    found = assets(files("image"), band_map=NAIP, band_index_map={"R": 0, "G": 1, "B": 2, "NIR": 3})
    assert {band: asset.band_index for band, asset in found.items()} == {
        "R": 0, "G": 1, "B": 2, "NIR": 3,
    }  # fmt: skip
    assert {asset.href for asset in found.values()} == {"s3://b/image"}


def test_the_catalogue_knows_the_samples_of_its_datasets():
    found = assets(files("image"), "naip")
    assert {band: asset.band_index for band, asset in found.items()} == {
        "R": 0, "G": 1, "B": 2, "NIR": 3,
    }  # fmt: skip


def test_bands_of_one_asset_need_their_samples():
    with pytest.raises(OptionError, match=r"no sample for \['G', 'B', 'NIR'\]"):
        StacReading(band_map=NAIP, band_index_map={"R": 0})


def test_bands_that_are_inferred_are_told_apart():
    # As it is, a file of one sample is indexed four times: as R, G, B and NIR.
    found = assets(files("image", type=COG), "mine")
    assert len({(asset.href, asset.band_index) for asset in found.values()}) == len(found)


def test_an_asset_of_one_band_needs_no_sample():
    assert assets(files("red"), "sentinel-2-l2a") == {"B04": AssetRef("s3://b/red")}


# Scale, offset, unit


def test_raster_bands_calibrate_as_stac_1_0_has_it():
    assert calibration({"raster:bands": [CALIBRATED]}) == (0.0001, -0.1, "1")


def test_bands_calibrate_as_stac_1_1_has_it():
    told = {"raster:scale": 0.0001, "raster:offset": -0.1, "unit": "1"}
    assert calibration({"bands": [told]}) == (0.0001, -0.1, "1")


def test_an_asset_calibrates_all_its_bands():
    assert calibration({"raster:scale": 2, "raster:offset": 3}) == (2.0, 3.0, None)


def test_a_band_goes_before_its_asset():
    found = calibration({"raster:scale": 2, "raster:offset": 3, "bands": [{"raster:scale": 5}]})
    assert found == (5.0, 3.0, None)


def test_each_sample_has_the_calibration_of_its_own():
    given = {"image": {"href": "s3://b/i", "raster:bands": [{"scale": 1}, {"scale": 2}, {}]}}
    found = assets(given, band_map=dict.fromkeys("abc", "image"),
                   band_index_map={"a": 1, "b": 0, "c": 2})  # fmt: skip
    assert {band: asset.scale for band, asset in found.items()} == {"a": 2.0, "b": 1.0, "c": None}


@pytest.mark.parametrize(
    "asset",
    [
        {}, {"raster:bands": []}, {"raster:bands": None}, {"raster:bands": ["x"]},
        {"bands": {"scale": 2}}, {"raster:bands": [{"scale": "2", "offset": None, "unit": ""}]},
        {"raster:bands": [{"scale": float("nan"), "offset": float("inf")}]},
        {"raster:bands": [{"scale": True}]},
    ],
)  # fmt: skip
def test_what_is_no_calibration_is_none(asset):
    assert calibration(asset) == (None, None, None)


def test_a_sample_beyond_the_bands_has_none():
    found = calibration({"raster:bands": [CALIBRATED]}, band_index_map={"B04": 3})
    assert found == (None, None, None)
