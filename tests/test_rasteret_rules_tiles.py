"""Section 3.5 of rasteret's rules, and where we differ: which tiles are read, and how."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fakes import serving
from make_tiff import ASCII, make_tiff
from scenes import Scene, file_item, index_table, make_collection, ramp, rows_of, run, sample

from rasteret_beam.collection import CollectionQuery
from rasteret_beam.elements import Geotransform
from rasteret_beam.errors import MalformedTiffError
from rasteret_beam.indexing.headers import index_file
from rasteret_beam.local import sample_points
from rasteret_beam.options import SampleOptions
from rasteret_beam.points import PointColumns
from rasteret_beam.storage import Store, ranges
from rasteret_beam.tiff.tags import Compression

DEGREES = Geotransform(scale_x=1.0, origin_x=0.0, scale_y=-1.0, origin_y=48.0)
"""One pixel a degree; images here are 48 x 48 pixels: 3 x 3 tiles of 16 x 16."""

GDAL_METADATA = 42112


def at(*pixels):
    """Columns x and y of the centres of (row, col) pixels."""
    return {"x": [col + 0.5 for _, col in pixels], "y": [47.5 - row for row, _ in pixels]}


def tiff(pixels, **options):
    return make_tiff(pixels, epsg=4326, geotransform=DEGREES, **options)


def index(folder, href, *, store=None, bands=None, mutate=None):
    """Writes a collection of one file; gives its path."""
    table = index_table([file_item("a", href, bands)], store=store)
    if mutate is not None:
        rows = table.to_pylist()
        mutate(rows[0])
        table = pa.Table.from_pylist(rows, schema=table.schema)
    pq.write_table(table, folder / "collection.parquet")
    return str(folder / "collection.parquet")


def collect(folder, pixels, *, bands=None, mutate=None, **options):
    """Writes a file and its collection."""
    (folder / "a.tif").write_bytes(tiff(pixels, **options))
    return index(folder, str(folder / "a.tif"), bands=bands, mutate=mutate)


def values(rows):
    return {row["point_index"]: row["value"] for row in rows}


def run_lonlat(collection, pixels, bands=("B1",), **options):
    return run(collection, at(*pixels), bands, crs="EPSG:4326", **options)


def tiles_asked_for(server):
    """The byte ranges that were asked for while sampling."""
    return server.ranges("a.tif")


def sample_served(folder, data, pixels, bands=("B1",), *, mutate=None):
    """Samples a file behind a web server; gives rows by point and band, and the requests."""
    store = Store(allow_http=True)
    with serving({"a.tif": data}) as server:
        collection = index(folder, server.uri("a.tif"), store=store, mutate=mutate)
        server.requests.clear()
        query = CollectionQuery(collection, bands, store=store)
        result = sample_points(
            query, pa.table(at(*pixels)), PointColumns(crs="EPSG:4326"), SampleOptions(bands=bands),
        )
        rows = {(r["point_index"], r["band"]): r["value"] for r in rows_of(result.samples)}
        return rows, tiles_asked_for(server)


# Section 3.5: one read for all that need it


def test_rule_3_5_points_in_one_tile_read_it_once(tmp_path):
    found, asked = sample_served(tmp_path, tiff(ramp(48, 48)), [(1, 2), (15, 15), (0, 0)])
    assert found == {(0, "B1"): 102.0, (1, "B1"): 1515.0, (2, "B1"): 0.0}
    assert len(asked) == 1


def test_rule_3_5_tiles_without_points_are_not_read(tmp_path):
    _, asked = sample_served(tmp_path, tiff(ramp(48, 48)), [(1, 2)])
    ((first, last),) = asked
    # Of a tile that is not compressed, only the row of the pixel.
    assert last - first + 1 == 16 * 2


def test_rule_3_5_bands_that_share_their_tiles_read_them_once(tmp_path):
    data = tiff(ramp(48, 48, bands=3))
    found, asked = sample_served(tmp_path, data, [(1, 2)], ("B1", "B2", "B3"))
    assert found == {(0, "B1"): 102.0, (0, "B2"): 10102.0, (0, "B3"): 20102.0}
    assert len(asked) == 1


@pytest.mark.parametrize(("gap_bytes", "n_requests"), [(1024, 1), (1025, 2)])
def test_rule_3_5_tiles_up_to_1024_bytes_apart_share_a_request(tmp_path, gap_bytes, n_requests):
    data = tiff(ramp(48, 48), tile_gap_bytes=gap_bytes)
    found, asked = sample_served(tmp_path, data, [(15, 2), (0, 18)])
    assert found == {(0, "B1"): 1502.0, (1, "B1"): 18.0}
    assert len(asked) == n_requests


def test_difference_a_merged_request_has_a_maximum(tmp_path, monkeypatch):
    monkeypatch.setattr(ranges, "MAX_REQUEST_BYTES", 1024)
    pixels = [(row, col) for col in (2, 18, 34) for row in (0, 15)] + [(16, 2), (31, 2)]
    found, asked = sample_served(tmp_path, tiff(ramp(48, 48)), pixels)
    assert list(found.values()) == [2.0, 1502.0, 18.0, 1518.0, 34.0, 1534.0, 1602.0, 3102.0]
    assert [last - first + 1 for first, last in asked] == [1024, 1024]


# Section 3.5: planes, samples and grids


@pytest.mark.parametrize("planar", [True, False])
def test_rule_3_5_each_band_has_its_own_sample(tmp_path, planar):
    collection = collect(tmp_path, ramp(48, 48, bands=3), planar=planar)
    rows = run_lonlat(collection, [(17, 33)], ("B3", "B1")).samples.to_pylist()
    assert {row["band"]: row["value"] for row in rows} == {"B1": 1733.0, "B3": 21733.0}


def test_rule_3_5_bands_of_one_record_may_have_grids_of_their_own(tmp_path):
    fine = Scene(name="fine", pixels=ramp(40, 40), bands=("B1",))
    coarse = Scene(
        name="coarse", pixels=ramp(20, 20) + np.uint16(5), scale=(20.0, -20.0), bands=("B2",),
    )

    def join(rows):
        for name in ("B2_metadata", "B2_tiff"):
            rows[0][name] = rows[1][name]
        rows[0]["assets"]["B2"] = rows[1]["assets"]["B2"]
        del rows[1]

    collection = make_collection(tmp_path, [fine, coarse], mutate=join)
    rows = sample(collection, {"x": [500035.0], "y": [4599945.0]}, ("B1", "B2"))
    assert {row["band"]: row["value"] for row in rows} == {"B1": 503.0, "B2": 206.0}


def test_difference_two_names_of_one_sample_both_give_its_value(tmp_path):
    collection = collect(tmp_path, ramp(48, 48), bands={"B1": 0, "grey": 0})
    rows = run_lonlat(collection, [(1, 2)], ("B1", "grey")).samples.to_pylist()
    assert {row["band"]: row["value"] for row in rows} == {"B1": 102.0, "grey": 102.0}


@pytest.mark.parametrize("planar", [True, False], ids=["planar", "chunky"])
def test_difference_a_band_without_a_band_index_is_told_apart_by_none(tmp_path, planar):
    def forget(row):
        row["assets"]["B2"]["band_index"] = None

    collection = collect(tmp_path, ramp(48, 48, bands=2), planar=planar, mutate=forget)
    result = run_lonlat(collection, [(1, 2)], ("B1", "B2"))
    assert [(r["band"], r["value"]) for r in result.samples.to_pylist()] == [("B1", 102.0)]
    (letter,) = result.dead_letters
    assert "its asset needs a band_index" in letter.msg


def test_rule_3_5_scale_and_offset_are_not_applied(tmp_path):
    text = (
        '<GDALMetadata><Item name="SCALE" sample="0" role="scale">0.5</Item>'
        '<Item name="OFFSET" sample="0" role="offset">100</Item></GDALMetadata>'
    )
    collection = collect(tmp_path, ramp(48, 48), tags={GDAL_METADATA: (ASCII, text)})
    assert values(run_lonlat(collection, [(1, 2)]).samples.to_pylist()) == {0: 102.0}


# Section 3.5: tile tables


@pytest.mark.parametrize("name", ["tile_offsets", "tile_byte_counts"])
def test_rule_3_5_a_band_without_a_tile_table_gives_no_row(tmp_path, name):
    def forget(row):
        row["B1_metadata"][name] = None

    result = run_lonlat(collect(tmp_path, ramp(48, 48), mutate=forget), [(1, 2)])
    assert result.samples.num_rows == 0
    assert [f"{name} is missing" in letter.msg for letter in result.dead_letters] == [True]


def test_rule_3_5_tables_of_different_lengths_give_no_row(tmp_path):
    def cut(row):
        row["B1_metadata"]["tile_byte_counts"].pop()

    result = run_lonlat(collect(tmp_path, ramp(48, 48), mutate=cut), [(1, 2)])
    assert result.samples.num_rows == 0
    assert ["9 tile_offsets but 8" in letter.msg for letter in result.dead_letters] == [True]


def test_rule_3_5_tables_that_end_early_lose_only_the_tiles_behind_their_end(tmp_path):
    def cut(row):
        for name in ("tile_offsets", "tile_byte_counts"):
            row["B1_metadata"][name] = row["B1_metadata"][name][:4]

    result = run_lonlat(collect(tmp_path, ramp(48, 48), mutate=cut), [(1, 2), (40, 40)])
    assert values(result.samples.to_pylist()) == {0: 102.0}


# Differences: what rasteret fails on


@pytest.mark.parametrize(("nodata", "value"), [("7", 7.0), (None, 0.0)])
def test_difference_a_sparse_tile_holds_nodata_or_else_0(tmp_path, nodata, value):
    data = tiff(ramp(48, 48), sparse=[4], nodata=nodata)
    found, asked = sample_served(tmp_path, data, [(1, 2), (17, 17)])
    assert found == {(0, "B1"): 102.0, (1, "B1"): value}
    assert len(asked) == 1


def test_difference_a_sparse_tile_is_never_asked_for(tmp_path):
    found, asked = sample_served(tmp_path, tiff(ramp(48, 48), sparse=[4]), [(17, 17)])
    assert found == {(0, "B1"): 0.0}
    assert asked == []


@pytest.mark.parametrize("dtype", ["uint16", "int32", "float32", "float64"])
@pytest.mark.parametrize("with_tiff_column", [True, False])
def test_difference_big_endian_files_give_right_values(tmp_path, dtype, with_tiff_column):
    collection = collect(tmp_path, ramp(48, 48, dtype=dtype), byte_order=">")
    if not with_tiff_column:  # as rasteret's own index is
        table = pq.read_table(collection)
        pq.write_table(table.drop_columns(["B1_tiff"]), collection)
    assert values(run_lonlat(collection, [(17, 33)]).samples.to_pylist()) == {0: 1733.0}


def test_difference_nan_in_lerc_stays_nan(tmp_path):
    pixels = ramp(48, 48, dtype="float32")
    pixels[0, 1, 2] = np.nan
    collection = collect(tmp_path, pixels, compression=Compression.LERC)
    found = values(run_lonlat(collection, [(1, 2), (1, 3)]).samples.to_pylist())
    assert np.isnan(found[0])
    assert found[1] == 103.0


def test_difference_jpeg_tiles_are_read(tmp_path):
    pixels = np.full((1, 48, 48), 100, np.uint8)
    collection = collect(tmp_path, pixels, compression=Compression.JPEG, jpeg_tables=True)
    found = values(run_lonlat(collection, [(17, 33)]).samples.to_pylist())
    assert abs(found[0] - 100) <= 1


def test_difference_one_broken_tile_loses_only_its_points(tmp_path):
    collection = collect(
        tmp_path, ramp(48, 48), compression=Compression.ADOBE_DEFLATE, streams={4: b"not deflate"},
    )
    result = run_lonlat(collection, [(1, 2), (17, 17), (40, 40)], unmatched="emit")
    found = {r["point_index"]: (r["status"], r["value"]) for r in result.samples.to_pylist()}
    assert found == {0: ("OK", 102.0), 1: ("DECODE_ERROR", None), 2: ("OK", 4040.0)}
    (letter,) = result.dead_letters
    assert (letter.code, json.loads(letter.element)["tile"]) == ("DECODE_ERROR", 4)


def test_difference_one_tile_beyond_the_file_loses_only_its_points(tmp_path):
    def beyond(row):
        row["B1_metadata"]["tile_offsets"][4] = 10**9

    collection = collect(tmp_path, ramp(48, 48), mutate=beyond)
    result = run_lonlat(collection, [(1, 2), (17, 17)])
    assert values(result.samples.to_pylist()) == {0: 102.0}
    assert [letter.code for letter in result.dead_letters] == ["FETCH_ERROR"]


def test_difference_a_missing_file_loses_only_its_record(tmp_path):
    scenes = [Scene(name="a", pixels=ramp(40, 40)), Scene(name="b", pixels=ramp(40, 40))]
    collection = make_collection(tmp_path, scenes)
    (tmp_path / "a.tif").unlink()
    result = run(collection, {"x": [500005.0], "y": [4599995.0]})
    assert [row["record_id"] for row in result.samples.to_pylist()] == ["b"]
    assert [letter.code for letter in result.dead_letters] == ["FETCH_ERROR"]


def test_difference_one_bad_band_loses_only_its_own_rows(tmp_path):
    def spoil(row):
        row["B2_metadata"]["compression"] = 999

    collection = collect(tmp_path, ramp(48, 48, bands=2), planar=True, mutate=spoil)
    result = run_lonlat(collection, [(1, 2)], ("B1", "B2"), unmatched="emit")
    found = {r["band"]: (r["status"], r["value"]) for r in result.samples.to_pylist()}
    assert found == {"B1": ("OK", 102.0), "B2": ("UNSUPPORTED", None)}
    assert ["Unsupported TIFF compression: 999" in x.msg for x in result.dead_letters] == [True]


def test_difference_a_file_with_a_tag_of_type_undefined_is_indexed(tmp_path):
    icc_profile, undefined = 34675, 7
    collection = collect(tmp_path, ramp(48, 48), tags={icc_profile: (undefined, b"profile")})
    assert values(run_lonlat(collection, [(1, 2)]).samples.to_pylist()) == {0: 102.0}


def test_difference_one_bad_header_names_its_own_fault(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"II*\0")
    with pytest.raises(MalformedTiffError):
        index_file(Store(), str(tmp_path / "a.tif"))
