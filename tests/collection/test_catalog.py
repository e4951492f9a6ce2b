"""The catalogue: the same datasets as rasteret's, and which asset holds a band."""

import json
import subprocess

import pytest
import rasteret_env

from rasteret_beam.collection.bands import asset_keys, choose_assets
from rasteret_beam.collection.catalog import dataset_of, datasets, find_dataset
from rasteret_beam.errors import OptionError
from rasteret_beam.storage.signing import SIGNERS

S2, LANDSAT, NAIP = "earthsearch/sentinel-2-l2a", "earthsearch/landsat-c2-l2", "earthsearch/naip"
PYTHON, REASON = rasteret_env.find()
IDS = [
    S2, LANDSAT, NAIP, "earthsearch/cop-dem-glo-30", "earthsearch/cop-dem-glo-90",
    "pc/sentinel-2-l2a", "pc/io-lulc-annual-v02", "pc/alos-dem", "pc/nasadem", "pc/esa-worldcover",
    "pc/usda-cdl", "aef/v1-annual",
]  # fmt: skip
_PROGRAM = """
import dataclasses, json
from rasteret.catalog import DatasetRegistry
print(json.dumps([dataclasses.asdict(d) for d in DatasetRegistry.list()], default=str))
"""
_SAME = (
    "stac_api", "stac_collection", "record_table_uri", "index_uri", "collection_uri",
    "column_map", "href_column", "band_map", "band_index_map", "requires_auth",
)  # fmt: skip


def files(*keys, kind=None):
    return {key: {"href": f"s3://b/{key}", "type": kind} for key in keys}


# The datasets


def test_the_catalogue_has_rasterets_twelve_ids():
    assert list(datasets()) == IDS
    assert [dataset.id for dataset in datasets().values()] == IDS


@pytest.mark.skipif(PYTHON is None, reason=REASON)
def test_the_catalogues_facts_are_rasterets(tmp_path):
    command = [PYTHON, "-c", _PROGRAM]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)  # noqa: S603
    theirs = {entry["id"]: entry for entry in json.loads(told.stdout.splitlines()[-1])}
    assert sorted(theirs) == sorted(IDS)
    for name in _SAME:
        ours = {key: getattr(dataset, name) or None for key, dataset in datasets().items()}
        assert ours == {key: entry[name] or None for key, entry in theirs.items()}, name


@pytest.mark.parametrize(
    ("dataset_id", "band", "asset"),
    [
        (S2, "B8A", "nir08"), (S2, "B08", "nir"), (S2, "SCL", "scl"), (LANDSAT, "B5", "nir08"),
        (LANDSAT, "qa_pixel", "qa_pixel"), (NAIP, "NIR", "image"),
        ("earthsearch/cop-dem-glo-90", "DEM", "data"), ("pc/sentinel-2-l2a", "B04", "B04"),
        ("pc/nasadem", "DEM", "elevation"), ("pc/esa-worldcover", "MAP", "map"),
    ],
)  # fmt: skip
def test_bands_are_in_these_assets(dataset_id, band, asset):
    assert datasets()[dataset_id].band_map[band] == asset


def test_terms_of_access():
    assert [key for key, dataset in datasets().items() if dataset.requester_pays] == [LANDSAT, NAIP]
    assert datasets()[LANDSAT].url_rewrite_patterns == {
        "https://landsatlook.usgs.gov/data/": "s3://usgs-landsat/",
    }


def test_addresses_are_signed_where_a_signature_is_needed():
    named = {key: dataset.signer for key, dataset in datasets().items() if dataset.signer}
    assert named == {key: "planetary_computer" for key in IDS if key.startswith("pc/")}
    assert set(named.values()) <= set(SIGNERS)


def test_the_embeddings_are_a_table_of_64_samples():
    found = datasets()["aef/v1-annual"]
    assert list(found.band_index_map.values()) == list(range(64))
    assert list(found.band_index_map)[::63] == ["A00", "A63"]
    assert found.column_map["fid"] == "id"
    assert found.href_column == "path"


def test_samples_are_told_wherever_bands_share_an_asset():
    for dataset in datasets().values():
        shared = [b for b, key in dataset.band_map.items()
                  if list(dataset.band_map.values()).count(key) > 1]  # fmt: skip
        assert set(shared) <= set(dataset.band_index_map), dataset.id


def test_a_dataset_is_found_by_its_id_or_stac_collection():
    assert find_dataset("pc/sentinel-2-l2a").id == "pc/sentinel-2-l2a"
    assert find_dataset("sentinel-2-l2a").id == S2
    assert find_dataset("nasadem").id == "pc/nasadem"
    assert find_dataset("") is find_dataset("mine") is None


def test_an_unknown_id_is_refused_with_those_there_are():
    with pytest.raises(OptionError, match=r"'sentinel' is not in the catalogue; it has \['aef/v1"):
        dataset_of("sentinel")


# Names of bands


@pytest.mark.parametrize(
    ("band", "source", "keys"),
    [
        ("B04", S2, ["B04", "red"]), ("red", S2, ["red", "B04"]),
        ("B05", S2, ["B05", "rededge1"]), ("nir08", LANDSAT, ["nir08", "B5"]),
        ("B04", "", ["B04"]), ("x", S2, ["x"]), ("qa_pixel", LANDSAT, ["qa_pixel"]),
        ("image", NAIP, ["image", "R", "G", "B", "NIR"]),
    ],
)  # fmt: skip
def test_a_band_may_stand_under_these_keys(band, source, keys):
    assert list(asset_keys(band, source)) == keys


# Which assets are bands


def test_a_map_that_was_given_is_the_only_one():
    assert choose_assets(files("red", "nir"), {"R": "red", "X": "x"}, S2) == {"R": "red"}
    assert choose_assets(files("red"), {"X": "x"}, S2) == {}
    assert choose_assets(files("red"), {}, S2) == {}


def test_the_data_sources_map_goes_before_a_better_fit():
    assert choose_assets(files("red", "B01", "B02"), None, S2) == {"B04": "red"}


def test_the_map_that_fits_most_assets_is_inferred():
    landsat = files("red", "nir08", "swir16", "qa_pixel", "qa_radsat")
    assert choose_assets(landsat, None, "")["qa_radsat"] == "qa_radsat"
    assert choose_assets(landsat, None, "")["B5"] == "nir08"


def test_of_equal_fits_the_first_dataset_names_the_bands():
    assert choose_assets(files("red"), None, "") == {"B04": "red"}


def test_without_a_map_every_tiff_is_a_band():
    given = files("a", "b", kind="image/tiff; application=geotiff") | files("c", kind="text/plain")
    assert choose_assets(given, None, "mine") == {"a": "a", "b": "b"}
    assert choose_assets(files("a"), None, "mine") == {}


def test_assets_that_are_null_are_not_there():
    assert choose_assets({"red": None, "nir": {}}, None, S2) == {"B08": "nir"}
