"""STAC items -> items: addresses, datetimes, CRSs, filters; which assets are bands."""

import datetime as dt

import pytest

from rasteret_beam.errors import OptionError, RasteretBeamError, RecordError
from rasteret_beam.indexing.stac import (
    StacReading,
    declared_crs,
    instants_of,
    resolve,
    span_of,
)
from rasteret_beam.indexing.stac_api import StacSearch

COG = "image/tiff; application=geotiff; profile=cloud-optimized"
READING = StacReading()


def utc(*parts):
    return dt.datetime(*parts)  # noqa: DTZ001 -- UTC, as stored


def stac(**members):
    """A STAC item of one asset that the catalogue knows."""
    return {
        "type": "Feature", "stac_version": "1.0.0", "id": "a", "collection": "sentinel-2-l2a",
        "bbox": [0, 0, 1, 1], "properties": {"datetime": "2024-01-31T10:11:12Z"},
        "assets": {"red": {"href": "s3://b/red.tif"}}, **members,
    }  # fmt: skip


def item(**members):
    return READING.item(stac(**members))


def properties(**values):
    return item(properties={"datetime": None, **values})


def dated(text):
    span = span_of({"datetime": text})
    assert span is None or span[0] == span[1]
    return span and span[0]


# What an item keeps


def test_an_item_keeps_id_collection_datetime_and_asset():
    found = item()
    assert (found.id, found.collection) == ("a", "sentinel-2-l2a")
    assert found.datetime == utc(2024, 1, 31, 10, 11, 12)
    assert {band: asset.href for band, asset in found.assets.items()} == {"B04": "s3://b/red.tif"}


def test_properties_become_columns_as_they_are():
    told = {"eo:cloud_cover": 12.5, "title": "x", "s2:tile": {"a": [1]}, "view:azimuth": None}
    assert properties(**told).properties == told


def test_datetime_and_crs_are_no_properties():
    found = properties(gsd=10, **{"proj:code": "EPSG:32633", "proj:epsg": 32633})
    assert found.properties == {"gsd": 10}


def test_the_item_is_not_changed():
    given = stac()
    READING.item(given)
    assert given == stac()


@pytest.mark.parametrize("bad", [None, "", 5])
def test_an_item_without_an_id_is_refused(bad):
    with pytest.raises(RecordError, match="needs an id"):
        item(id=bad)


def test_an_item_may_lack_properties_and_collection():
    found = READING.item({"id": "a", "assets": {"red": {"href": "s3://b/x.tif"}}})
    assert (found.datetime, found.collection, found.crs) == (None, None, None)


@pytest.mark.parametrize(
    "members",
    [
        {"properties": "x"}, {"assets": ["x"]}, {"collection": ["x"]}, {"bbox": [1]},
        {"bbox": ["a", 1, 2, 3]},
    ],
    ids=["properties", "assets", "collection", "short bbox", "text in bbox"],
)  # fmt: skip
def test_members_of_the_wrong_type_are_refused_as_a_record(members):
    with pytest.raises(RasteretBeamError):
        item(**members)


# When


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2024-01-31T10:11:12Z", utc(2024, 1, 31, 10, 11, 12)),
        ("2024-01-31T10:11:12.5Z", utc(2024, 1, 31, 10, 11, 12, 500_000)),
        ("2024-01-31T10:11:12.123456789Z", utc(2024, 1, 31, 10, 11, 12, 123_456)),
        ("2024-01-31T01:00:00+02:00", utc(2024, 1, 30, 23)),
        ("2024-01-31T23:30:00-01:00", utc(2024, 2, 1, 0, 30)),
        ("2024-01-31T10:11:12", utc(2024, 1, 31, 10, 11, 12)),
        ("2024-01-31", utc(2024, 1, 31)),
        (None, None),
    ],
)
def test_datetimes_are_instants_in_utc_without_tzinfo(text, instant):
    assert dated(text) == instant


def test_the_letters_of_a_datetime_may_be_small():
    assert dated("2024-01-31t10:11:12z") == utc(2024, 1, 31, 10, 11, 12)


@pytest.mark.parametrize("text", ["", "yesterday", "2024-13-01T00:00:00Z"])
def test_a_datetime_that_is_none_is_refused(text):
    with pytest.raises(RecordError, match="is no RFC 3339 date"):
        dated(text)


def test_an_item_without_a_datetime_begins_when_its_interval_does_and_keeps_the_ends():
    told = {"start_datetime": "2024-01-01T01:00:00+01:00", "end_datetime": "2024-12-31T00:00:00Z"}
    found = properties(**told)
    assert found.datetime == utc(2024, 1, 1)
    assert found.properties == told
    assert properties(datetime="2024-06-01T00:00:00Z", **told).datetime == utc(2024, 6, 1)
    assert properties(end_datetime="2024-12-31T00:00:00Z").datetime == utc(2024, 12, 31)


def test_an_end_of_an_interval_that_is_no_date_is_refused():
    with pytest.raises(RecordError, match="end_datetime 'soon' is no RFC 3339 date"):
        properties(start_datetime="2024-01-01T00:00:00Z", end_datetime="soon")


@pytest.mark.parametrize(("date_range", "wanted"), [
    (("2023-06-01", "2024-01-01"), True), (("2024-03-01", "2024-03-31"), True),
    (("2024-12-31", "2025-12-31"), True), (("2023-01-01", "2023-12-31"), False),
    (("2025-01-01", "2025-12-31"), False),
])  # fmt: skip
def test_of_an_interval_some_of_its_time_must_be_in_the_date_range(date_range, wanted):
    year = utc(2024, 1, 1), utc(2024, 12, 31)
    assert StacReading(date_range=date_range).wants(None, year) is wanted


def test_an_end_that_is_a_day_is_all_of_it():
    start, end = instants_of(("2024-01-01", "2024-01-31"))
    assert start == utc(2024, 1, 1)
    assert end == utc(2024, 1, 31, 23, 59, 59, 999_999)


def test_an_end_that_is_an_instant_stays_one():
    assert instants_of(("2024-01-01", "2024-01-31T00:00:00Z"))[1] == utc(2024, 1, 31)


def test_one_day_is_a_range():
    start, end = instants_of(("2024-01-31", "2024-01-31"))
    assert start < end


@pytest.mark.parametrize(
    ("end", "last_day"), [("2024", utc(2024, 12, 31)), ("2024-02", utc(2024, 2, 29))],
)
def test_an_end_that_is_a_month_or_year_is_all_of_it(end, last_day):
    # pystac_client's rule, and so rasteret's for an API.
    assert instants_of(("2024", end))[1].date() == last_day.date()


@pytest.mark.parametrize("end", ["9999", "9999-12", "9999-12-31"])
def test_a_range_that_has_no_end_is_spelled_as_the_year_9999(end):
    reading = StacReading(date_range=("2020-01-01", end))
    assert instants_of(reading.date_range) == (
        utc(2020, 1, 1), utc(9999, 12, 31, 23, 59, 59, 999_999),
    )
    assert reading.wants(None, (utc(2262, 4, 12),) * 2)


def test_a_date_range_may_be_of_pythons_dates_and_a_last_day_is_all_of_it():
    reading = StacReading(date_range=(dt.datetime(2024, 1, 1), dt.date(2024, 1, 31)))  # noqa: DTZ001
    assert instants_of(reading.date_range) == instants_of(("2024-01-01", "2024-01-31"))


def test_a_search_without_an_end_is_no_search_of_each_month_to_come():
    reading = StacReading(date_range=("1900-01-01", "9999-12-31"))
    found = list(StacSearch(url="x", collections=("c",), reading=reading).parts(None))
    assert [start for start, _ in found[1:]] == [end for _, end in found[:-1]]
    assert (found[0][0], found[-1][1]) == ("1900-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z")
    assert found[1] == ("1972-01-01T00:00:00Z", "1972-02-01T00:00:00Z")
    # Some 650 of this century and the last; 97 000 otherwise.
    assert len(found) < 2000


@pytest.mark.parametrize("when", ["0001-01-01T00:00:00+02:00", "9999-12-31T23:00:00-02:00"])
def test_a_datetime_before_or_after_all_time_is_no_date(when):
    with pytest.raises(RecordError, match="no RFC 3339 date"):
        properties(datetime=when)


@pytest.mark.parametrize(
    "dates", [("2024-02-01", "2024-01-01"), ("2024",), ("x", "y"), ("2024-01-01", "..")],
)
def test_what_is_no_range_is_refused_at_once(dates):
    with pytest.raises(OptionError, match="Invalid date range"):
        StacReading(date_range=dates)


# Which items


BOX = (10.0, 10.0, 20.0, 20.0)


@pytest.mark.parametrize(
    ("bbox", "wanted"),
    [
        ([0, 0, 10, 10], True),  # touches
        ([20, 20, 30, 30], True),
        ([0, 0, 9.9, 30], False),
        ([12, 12, 13, 13], True),
        ([0, 0, 30, 30], True),
        ([0, 21, 30, 30], False),
        ([12, 12, -500, 13, 13, 9000], True),  # with heights
        ([12, 0, 0, 13, 9, 100], False),
        (None, True),
        ([], True),
    ],
)
def test_a_bbox_chooses_what_overlaps_it(bbox, wanted):
    assert StacReading(bbox=BOX).wants(bbox, None) is wanted


@pytest.mark.parametrize("box", [(171.0, 0.0, 172.0, 1.0), (-172.0, 0.0, -171.0, 1.0)])
def test_an_item_across_the_antimeridian_is_found_on_both_sides(box):
    assert StacReading(bbox=box).wants([170.0, -5.0, -170.0, 5.0], None)


def test_an_item_across_the_antimeridian_is_not_found_elsewhere():
    assert not StacReading(bbox=(0.0, 0.0, 1.0, 1.0)).wants([170.0, -5.0, -170.0, 5.0], None)


@pytest.mark.parametrize(
    ("when", "wanted"),
    [
        (utc(2024, 1, 1), True),
        (utc(2023, 12, 31, 23, 59, 59), False),
        (utc(2024, 1, 31, 23, 59, 59, 999_999), True),
        (utc(2024, 2, 1), False),
        (None, True),
    ],
)
def test_a_date_range_has_both_its_ends(when, wanted):
    span = when and (when, when)
    assert StacReading(date_range=("2024-01-01", "2024-01-31")).wants(None, span) is wanted


@pytest.mark.parametrize(
    "bbox", [(0, 0, 1), (2, 0, 1, 1), (0, 2, 1, 1), (0, 0, 1, float("nan"))],
)
def test_what_is_no_bbox_is_refused_at_once(bbox):
    with pytest.raises(OptionError, match="Invalid bbox"):
        StacReading(bbox=bbox)


# Where files are


@pytest.mark.parametrize(
    ("href", "base", "full"),
    [
        ("./b4.tif", "s3://b/items/a.json", "s3://b/items/b4.tif"),
        ("../b4.tif", "gs://b/items/x/a.json", "gs://b/items/b4.tif"),
        ("b4.tif", "https://h/i/a.json", "https://h/i/b4.tif"),
        ("b4.tif?s=1", "https://h/i/a.json?token=2", "https://h/i/b4.tif?s=1"),
        ("b4.tif", "/data/i/a.json", "/data/i/b4.tif"),
        ("../b4.tif", "/data/i/a.json", "/data/b4.tif"),
        ("b4.tif", "file:///data/a.json", "/data/b4.tif"),
        ("https://o/b4.tif?s=1", "s3://b/a.json", "https://o/b4.tif?s=1"),
        ("/data/b4.tif", "/other/a.json", "/data/b4.tif"),
        ("s3://b/a+b c%2Fd.tif", None, "s3://b/a+b c%2Fd.tif"),
    ],
)
def test_a_relative_address_is_relative_to_its_item(href, base, full):
    assert resolve(href, base).removeprefix("file://") == full


@pytest.mark.parametrize("base", ["https://h/i/a.json", "s3://h/i/a.json"])
def test_a_path_from_the_root_is_relative_to_the_server(base):
    assert resolve("/data/b4.tif", base) == base.replace("i/a.json", "data/b4.tif")


@pytest.mark.parametrize("folder", ["/data/run#1", "/data/what?"])
def test_a_local_folder_may_have_any_name(folder):
    assert resolve("b4.tif", f"{folder}/a.json") == f"{folder}/b4.tif"


def test_a_file_name_may_hold_a_colon():
    assert resolve("S2A:B04.tif", "s3://b/a.json") == "s3://b/S2A:B04.tif"
    assert resolve("b%204.tif", "s3://b/a#1?%20/a.json") == "s3://b/a#1?%20/b%204.tif"


@pytest.mark.parametrize(
    ("href", "full"),
    [
        ("?page=2", "https://h/v1/items?page=2"),
        ("next?u=a//b/../c", "https://h/v1/next?u=a//b/../c"),
        ("../b4.tif?to=https://x/y", "https://h/b4.tif?to=https://x/y"),
    ],
)
def test_a_query_is_no_part_of_a_path(href, full):
    assert resolve(href, "https://h/v1/items?page=1") == full


def test_a_local_files_name_may_have_a_question_mark():
    assert resolve("b?/./4.tif", "/d/a.json") == "/d/b?/4.tif"


def test_the_self_link_is_the_base_where_no_file_is():
    links = [{"rel": "root", "href": "x"}, {"rel": "self", "href": "https://h/i/a.json"}]
    found = item(links=links, assets={"red": {"href": "./r.tif"}})
    assert found.assets["B04"].href == "https://h/i/r.tif"


def test_the_file_it_was_read_from_goes_before_the_self_link():
    links = [{"rel": "self", "href": "https://old/a.json"}]
    found = READING.item(stac(links=links, assets={"red": {"href": "r.tif"}}), "s3://b/new/a.json")
    assert found.assets["B04"].href == "s3://b/new/r.tif"


def test_addresses_are_rewritten_after_they_are_resolved():
    reading = StacReading(url_rewrite_patterns={"https://h/": "s3://b/", "s3://b/": "gs://never/"})
    found = reading.item(stac(assets={"red": {"href": "r.tif"}}), "https://h/i/a.json")
    assert found.assets["B04"].href == "s3://b/i/r.tif"


# Which CRS


@pytest.mark.parametrize(
    ("values", "crs"),
    [
        ({"proj:code": "EPSG:32633", "proj:epsg": 32634}, "EPSG:32633"),
        ({"proj:epsg": 32634, "crs": "EPSG:32635"}, "EPSG:32634"),
        ({"proj:code": None, "proj:epsg": 32634}, "EPSG:32634"),
        ({"proj:code": "", "crs": "epsg:32635"}, "EPSG:32635"),
        ({"proj:code": "OGC:CRS84"}, "EPSG:4326"),
        ({"proj:epsg": "32633"}, "EPSG:32633"),
        ({}, None),
        ({"proj:epsg": None}, None),
    ],
)
def test_a_declared_crs_is_found_in_rasterets_order(values, crs):
    assert declared_crs(values) == crs


def test_wkt_and_projjson_of_a_known_crs_become_its_code():
    from pyproj import CRS  # noqa: PLC0415 -- here alone

    utm = CRS.from_epsg(32633)
    assert declared_crs({"proj:wkt2": utm.to_wkt()}) == "EPSG:32633"
    assert declared_crs({"proj:projjson": utm.to_json_dict()}) == "EPSG:32633"


def test_a_crs_alone_that_is_none_is_refused():
    with pytest.raises(RecordError, match="proj:code is 'FOO:1'"):
        declared_crs({"proj:code": "FOO:1"})


def test_a_crs_that_is_none_gives_way_to_the_next():
    assert declared_crs({"proj:code": "FOO:1", "proj:epsg": 32633}) == "EPSG:32633"
