"""Section 2 of rasteret's rules: which records a filter keeps."""

import datetime as dt
import pathlib
import pickle
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import shapely
import shapely.geometry
from scenes import Scene, make_collection, ramp

from rasteret_beam.collection import CollectionQuery, list_fragments, read_fragment
from rasteret_beam.collection.filters import Filters
from rasteret_beam.collection.instants import parse_instant
from rasteret_beam.errors import CollectionError, OptionError

ROOT = pathlib.Path(__file__).parents[1]


def box(xmin, ymin, xmax, ymax):
    return {"xmin": xmin, "ymin": ymin, "xmax": xmax, "ymax": ymax}


ROWS = {
    "id": ["a", "b", "c", "d"],
    "datetime": pa.array(
        [
            dt.datetime(2024, 1, 1),  # noqa: DTZ001 -- UTC, as stored
            dt.datetime(2024, 1, 31),  # noqa: DTZ001 -- UTC, as stored
            dt.datetime(2024, 1, 31, 0, 0, 0, 1),  # noqa: DTZ001 -- UTC, as stored
            None,
        ],
        pa.timestamp("us"),
    ),
    "bbox": [box(0, 0, 10, 10), box(10, 10, 20, 20), box(20, 0, 30, 10), None],
    "eo:cloud_cover": [0.0, 20.0, 99.5, None],
    "split": ["train", "test", "val", None],
    "fold": ["x", "x", "y", "y"],
}
"""What the records of ``collection`` are told apart by."""


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """Four records of one file."""
    folder = tmp_path_factory.mktemp("filters")
    made = Scene(name="a", pixels=ramp(20, 20), epsg=4326, origin=(0.0, 20.0), scale=(1.0, -1.0))
    one = pq.read_table(make_collection(folder, [made]))
    table = pa.concat_tables([one] * 4)
    for name, column in ROWS.items():
        array = column if isinstance(column, pa.Array) else pa.array(column)
        at = table.schema.get_field_index(name)
        table = (
            table.append_column(name, array) if at < 0 else table.set_column(at, name, array)
        )
    pq.write_table(table, folder / "four.parquet")
    return str(folder / "four.parquet")


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A collection without cloud cover and splits."""
    return make_collection(tmp_path_factory.mktemp("bare"), [Scene(name="a", pixels=ramp(20, 20))])


def kept(path, **filters):
    """The ids of the records that a filter keeps, a record without a bbox as well."""
    query = CollectionQuery(path, ("B1",), Filters(**filters))
    found = ""
    for fragment in list_fragments(query):
        for record, letters in read_fragment(query, fragment):
            found += record.info.record_id if record else letters[0].element[15]
    return found


def test_rule_2_without_filters_every_record_is_kept(collection):
    assert kept(collection) == "abcd"


# Cloud cover


@pytest.mark.parametrize(
    ("limit", "expected"), [(0, ""), (20, "a"), (20.0001, "ab"), (99.5, "ab"), (100, "abc")],
)
def test_rule_2_cloud_cover_is_strictly_below_the_limit_and_never_null(collection, limit, expected):
    assert kept(collection, cloud_cover_lt=limit) == expected


@pytest.mark.parametrize("limit", [-0.1, 100.5, float("nan"), "20"])
def test_rule_2_a_cloud_cover_limit_is_a_number_from_0_to_100(limit):
    words = rf"Invalid cloud_cover_lt=.*{limit}.*: must be between 0 and 100\."
    with pytest.raises(OptionError, match=words):
        Filters(cloud_cover_lt=limit)


def test_rule_2_a_collection_without_cloud_cover_says_so(bare):
    with pytest.raises(CollectionError, match="Collection has no cloud cover data"):
        kept(bare, cloud_cover_lt=20)


# Dates


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("2024-01-01", "2024-01-31", "ab"),  # the end is the day's first instant
        ("2024-01-01", "2024-01-31T00:00:00.000001", "abc"),
        ("2024-01-01T00:00:00", "2024-01-01T00:00:00", "a"),
        ("2024-01-01T00:00:00.000001", "2024-02", "bc"),
        ("2024", "2024", "a"),  # a year is its first instant
        ("2023", "2025", "abc"),
        ("2024-01", "2024-02", "abc"),
        ("2024-01-01T00:00:00Z", "2024-01-31T00:00:00Z", "ab"),
    ],
)
def test_rule_2_dates_are_inclusive_instants_and_never_null(collection, start, end, expected):
    assert kept(collection, date_range=(start, end)) == expected


UTC = dt.timezone.utc


@pytest.mark.parametrize(
    "end",
    [
        dt.date(2024, 1, 31), dt.datetime(2024, 1, 31), np.datetime64("2024-01-31"),  # noqa: DTZ001
        dt.datetime(2024, 1, 31, 2, tzinfo=dt.timezone(dt.timedelta(hours=2))),
        np.datetime64("2024-01-31T00:00:00", "ns"),
    ],
)  # fmt: skip
def test_rule_2_dates_may_be_pythons(collection, end):
    assert kept(collection, date_range=("2024", end)) == "ab"
    assert kept(collection, date_range=(end, dt.datetime(2025, 1, 1, tzinfo=UTC))) == "bc"


def test_rule_2_dates_may_be_pandas_and_workers_need_no_pandas(collection):
    pandas = pytest.importorskip("pandas")
    dates = pandas.Timestamp("2024-01-01"), pandas.Timestamp("2024-01-31", tz="UTC")
    assert kept(collection, date_range=dates) == "ab"
    assert b"pandas" not in pickle.dumps(Filters(date_range=dates))
    with pytest.raises(OptionError, match="NaT"):
        Filters(date_range=(pandas.NaT, dates[1]))


@pytest.mark.parametrize("bbox", [5, (None,) * 4, ("a", 1, 2, 3)])
def test_rule_2_a_bbox_is_of_numbers(bbox):
    with pytest.raises(OptionError, match="Invalid bbox format"):
        Filters(bbox=bbox)


def test_rule_2_dates_select_from_datetimes_with_a_zone_too(collection, tmp_path):
    table = pq.read_table(collection)
    at = table.schema.get_field_index("datetime")
    zoned = table["datetime"].cast(pa.timestamp("ns", "UTC"))
    pq.write_table(table.set_column(at, "datetime", zoned), tmp_path / "zoned.parquet")
    assert kept(str(tmp_path / "zoned.parquet"), date_range=("2024-01-01", "2024-01-31")) == "ab"


@pytest.mark.parametrize(
    "dates",
    [
        ("2024-02", "2024-01"), ("", "2024"), ("2024", ""), ("2024",), ("soon", "later"), "24", 24,
        (dt.date(2024, 2, 1), "2024-01"), ("2024", None), (2024, 2025), (np.datetime64("NaT"), ""),
    ],
)  # fmt: skip
def test_rule_2_dates_that_make_no_range_are_refused(dates):
    with pytest.raises(OptionError, match="Invalid date range"):
        Filters(date_range=dates)


def test_rule_2_a_date_with_an_offset_is_that_instant_in_utc():
    found = parse_instant("2024-01-01T01:00:00+02:00")
    assert found == dt.datetime(2023, 12, 31, 23)  # noqa: DTZ001 -- UTC, as stored


# Places


@pytest.mark.parametrize(
    ("bbox", "expected"),
    [
        ((10, 10, 10, 10), "ab"),  # a corner that two bboxes touch
        ((20, 5, 25, 6), "c"),
        ((10, 5, 20, 6), "ac"),  # an edge of each
        ((-5, -5, 0, 0), "a"),
        ((11, 0, 19, 9), ""),
        ((-180, -90, 180, 90), "abc"),
        ((2, 2, 3, 3), "a"),  # inside a record
    ],
)
def test_rule_2_bboxes_that_touch_overlap_and_null_never_does(collection, bbox, expected):
    assert kept(collection, bbox=bbox) == expected


@pytest.mark.parametrize("bbox", [(0, 0, 10), (0, 0, 10, 10, 10), ()])
def test_rule_2_a_bbox_has_four_numbers(bbox):
    with pytest.raises(OptionError, match="Invalid bbox format"):
        Filters(bbox=bbox)


@pytest.mark.parametrize("bbox", [(10, 0, 0, 10), (0, 10, 10, 0), (170, 0, -170, 10)])
def test_rule_2_a_bbox_runs_from_least_to_most(bbox):
    with pytest.raises(OptionError, match="Invalid bbox coordinates"):
        Filters(bbox=bbox)


A, C = shapely.box(1, 1, 2, 2), shapely.box(21, 1, 22, 2)


def test_rule_2_geometries_keep_what_any_of_them_overlaps(collection):
    assert kept(collection, geometries=[A]) == "a"
    assert kept(collection, geometries=[A, C]) == "ac"
    assert kept(collection, geometries=[shapely.Point(50, 50)]) == ""


def test_rule_2_of_a_geometry_only_the_bbox_counts(collection):
    around = shapely.LineString([(-5, 5), (-5, 25), (15, 25)])  # touches no record
    assert kept(collection, geometries=[around]) == "ab"


@pytest.mark.parametrize(
    "spelled", [shapely.to_wkb(A), shapely.geometry.mapping(A), A], ids=["WKB", "GeoJSON", "shape"],
)
def test_rule_2_geometries_are_wkb_geojson_or_shapes(collection, spelled):
    assert kept(collection, geometries=[spelled]) == "a"


def test_rule_2_an_empty_geometry_overlaps_nothing_and_harms_no_other(collection):
    assert kept(collection, geometries=[shapely.Point()]) == ""
    assert kept(collection, geometries=[shapely.Point(), A, shapely.Polygon()]) == "a"


MANY_GEOMETRIES = """
import sys
import shapely
from rasteret_beam.collection import CollectionQuery, list_fragments, read_fragment
from rasteret_beam.collection.filters import Filters

points = [shapely.Point(40 + n / 1000, 5) for n in range(20_000)]
filters = Filters(geometries=[*points, shapely.box(21, 1, 22, 2)])
query = CollectionQuery(sys.argv[1], ("B1",), filters)
for fragment in list_fragments(query):
    print(*(record.info.record_id for record, _ in read_fragment(query, fragment)))
"""
"""Run by itself: rasteret's way of doing this ends the process."""


def test_difference_many_geometries_do_not_overflow_the_stack(collection):
    command = [sys.executable, "-c", MANY_GEOMETRIES, collection]
    done = subprocess.run(  # noqa: S603 -- this very interpreter, on text of this file
        command, capture_output=True, text=True, check=False, cwd=ROOT,
    )
    assert (done.returncode, done.stdout.split()) == (0, ["c"]), done.stderr[:300]


# Splits


@pytest.mark.parametrize(
    ("split", "expected"),
    [("train", "a"), (["train"], "a"), (("val", "test"), "bc"), ("Train", ""), ("tr", "")],
)
def test_rule_2_splits_are_compared_whole_and_null_is_in_none(collection, split, expected):
    assert kept(collection, split=split) == expected


def test_rule_2_the_column_of_splits_may_have_another_name(collection):
    assert kept(collection, split="y", split_column="fold") == "cd"


@pytest.mark.parametrize("split", [[], 5, [1, 2], ["train", None], b"train"])
def test_rule_2_a_split_is_a_name_or_several(split):
    words = r"Invalid split filter\. Use a split name or sequence of split names"
    with pytest.raises(OptionError, match=words):
        Filters(split=split)


def test_rule_2_a_collection_without_the_split_column_says_so(bare):
    with pytest.raises(CollectionError, match="Collection has no split column: 'split'"):
        kept(bare, split="train")


# Conditions on any column, and several filters


def test_rule_2_where_takes_an_arrow_expression(collection):
    assert kept(collection, where=pc.field("eo:cloud_cover") >= 20) == "bc"
    assert kept(collection, where=pc.field("bbox", "xmin") == 20) == "c"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("eo:cloud_cover >= 20", "bc"),
        ("bbox.xmin == 20", "c"),
        ("fold == 'x' and not id = 'a'", "b"),
        ("split in ('train', 'val')", "ac"),
        ("split is null", "d"),
        ("datetime < '2024-01-31'", "a"),
    ],
)
def test_difference_where_takes_text_too(collection, text, expected):
    assert kept(collection, where=text) == expected


def test_rule_2_a_record_must_meet_every_filter(collection):
    assert kept(collection, cloud_cover_lt=50, bbox=(10, 0, 30, 10)) == "ab"
    assert kept(collection, cloud_cover_lt=50, bbox=(10, 0, 30, 10), split="test") == "b"
    everything = {"date_range": ("2024", "2025"), "geometries": [A], "where": "fold == 'x'"}
    assert kept(collection, **everything) == "a"
    assert kept(collection, **everything, split="test") == ""
