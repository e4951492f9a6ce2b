"""What holds for every raster and every set of points, against the slow and obvious way."""

import collections
import dataclasses
import datetime as dt
import itertools
import tempfile

import numpy as np
import oracle
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import Scene, make_collection, run

from rasteret_beam import points
from rasteret_beam.elements import Geotransform, PointBatch
from rasteret_beam.fetching import jobs, merging
from rasteret_beam.options import SampleOptions
from rasteret_beam.planning import Planner, planner
from rasteret_beam.points import PointColumns, to_points
from rasteret_beam.sampling import reading

BLOCK = 8 * 16
"""Pixels along a block of 8 x 8 tiles of 16 x 16: where seams between batches lie."""

NODATA = {"int16": ("-9999", -9999), "uint8": ("0", 0), "float32": ("nan", np.nan)}
few = settings(max_examples=30, deadline=None)
some = settings(max_examples=60, deadline=None)


@st.composite
def rasters(draw, *, least=20, most=60, tiles=((16, 16), (16, 32), (48, 16), (32, 32))):
    """A scene of random pixels, much or little of them nodata, and its geotransform."""
    rows, cols = draw(st.integers(least, most)), draw(st.integers(least, most))
    dtype = draw(st.sampled_from(sorted(NODATA)))
    text, nodata = NODATA[dtype]
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    pixels = rng.integers(1, 200, (1, rows, cols)).astype(dtype)
    pixels[rng.random(pixels.shape) < draw(st.sampled_from([0.0, 0.5, 0.9, 0.99]))] = nodata
    scale_x, scale_y = draw(st.sampled_from([(1.0, -1.0), (1.0, 1.0), (1.0, -3.0), (3.0, 1.0)]))
    transform = Geotransform(scale_x, draw(st.sampled_from([0.0, -7.3])), scale_y, 5.1)
    scene = Scene(
        name="a", pixels=pixels, epsg=None, origin=(transform.origin_x, transform.origin_y),
        scale=(scale_x, scale_y), tile=draw(st.sampled_from(tiles)), nodata=text,
    )
    return scene, transform


def positions(*, least, most):
    """Positions on the pixel grid in eighths of a pixel, so that ties and edges happen."""
    eighths = st.integers(least * 8, most * 8).map(lambda n: n / 8)
    return st.lists(st.tuples(eighths, eighths), min_size=1, max_size=30)


def world(transform, found):
    """Columns x and y of (row, col) positions."""
    return {
        "x": [transform.origin_x + col * transform.scale_x for _, col in found],
        "y": [transform.origin_y + row * transform.scale_y for row, _ in found],
    }


def sampled(scenes, table, bands=("B1",), *, mutate=None, **options):
    with tempfile.TemporaryDirectory() as folder:
        collection = make_collection(folder, scenes, mutate=mutate)
        return run(collection, table, bands, crs="none", **options)


def multiset(result):
    """Every row as text (NaN equals NaN), with how often it is there."""
    return collections.Counter(map(repr, result.samples.to_pylist()))


def expected_value(scene, transform, x, y, radius):
    pixels, nodata = scene.pixels[0], NODATA[scene.pixels.dtype.name][1]
    return oracle.fallback(
        pixels, transform, x, y, nodata=nodata, max_distance_pixels=radius,
    )


def same(found, expected):
    return np.array_equal(
        np.array(found, np.float64), np.array(expected, np.float64), equal_nan=True,
    )


def check_against_oracle(scene, transform, table, radius):
    """Values and neighbourhoods of all points, and no row for those outside."""
    options = {"max_distance_pixels": radius}
    if radius:
        options["return_neighbourhood"] = "always"
    rows = {
        row["point_index"]: row for row in sampled([scene], table, **options).samples.to_pylist()
    }
    for number, (x, y) in enumerate(zip(table["x"], table["y"], strict=True)):
        expected = expected_value(scene, transform, x, y, radius)
        assert (number in rows) == (expected is not None), (x, y)
        if expected is None:
            continue
        assert same(rows[number]["value"], expected), (x, y)
        if radius:
            window = oracle.neighbourhood(scene.pixels[0], transform, x, y, radius)
            assert same(rows[number]["neighbourhood_values"], window), (x, y)


# The oracle


@given(raster=rasters(), found=positions(least=-2, most=62), radius=st.integers(0, 6))
@some
def test_values_fallbacks_and_neighbourhoods_are_those_of_the_whole_image(raster, found, radius):
    scene, transform = raster
    check_against_oracle(scene, transform, world(transform, found), radius)


@given(
    raster=rasters(least=BLOCK + 2, most=BLOCK + 30, tiles=[(16, 16)]),
    found=positions(least=BLOCK - 8, most=BLOCK + 8),
    radius=st.integers(1, 6),
)
@some
def test_they_are_across_seams_of_blocks_too(raster, found, radius):
    scene, transform = raster
    check_against_oracle(scene, transform, world(transform, found), radius)


@given(
    raster=rasters(least=BLOCK + 2, most=BLOCK + 30, tiles=[(16, 16), (16, 32)]),
    along=st.lists(st.integers(0, BLOCK * 8), min_size=1, max_size=20),
    radius=st.integers(1, 6),
)
@few
def test_they_are_along_a_whole_seam(raster, along, radius):
    scene, transform = raster
    found = [(n / 8, BLOCK - 0.5) for n in along] + [(BLOCK + 0.5, n / 8) for n in along]
    check_against_oracle(scene, transform, world(transform, found), radius)


@given(
    raster=rasters(least=BLOCK + 2, most=BLOCK + 30, tiles=[(16, 16)]),
    found=positions(least=BLOCK - 8, most=BLOCK + 8),
    radius=st.integers(1, 6),
)
@few
def test_windows_are_listed_exactly_where_the_centre_is_nodata(raster, found, radius):
    scene, transform = raster
    table = world(transform, found)
    result = sampled(
        [scene], table, max_distance_pixels=radius, return_neighbourhood="if_center_nodata",
    )
    nodata = NODATA[scene.pixels.dtype.name][1]
    for row in result.samples.to_pylist():
        at = oracle.pixel_index(scene.pixels[0].shape, transform, row["point_x"], row["point_y"])
        pixel = scene.pixels[0][at]
        listed = row["neighbourhood_values"] is not None
        assert listed == oracle.is_nodata(pixel, nodata, pixel.dtype)
        if listed:
            assert same(row["neighbourhood_values"][len(row["neighbourhood_values"]) // 2], pixel)


@given(raster=rasters(least=BLOCK + 2, most=BLOCK + 30, tiles=[(16, 16)]), data=st.data())
@few
def test_bands_and_records_do_not_mix(raster, data):
    scene, transform = raster
    first, nodata = scene.pixels, NODATA[scene.pixels.dtype.name][1]
    flipped = np.concatenate([first[:, ::-1], first[:, :, ::-1]])
    other = Scene(
        name="b", pixels=np.ascontiguousarray(flipped), epsg=None, origin=scene.origin,
        scale=scene.scale, tile=scene.tile, nodata=scene.nodata,
    )
    both = Scene(
        name="a", pixels=np.concatenate([first, first[:, ::-1, ::-1]]), epsg=None,
        origin=scene.origin, scale=scene.scale, tile=scene.tile, nodata=scene.nodata,
    )
    table = world(transform, data.draw(positions(least=BLOCK - 6, most=BLOCK + 6)))
    result = sampled([both, other], table, ("B1", "B2"), max_distance_pixels=3)
    images = {(s.name, f"B{at + 1}"): s.pixels[at] for s in (both, other) for at in (0, 1)}
    for row in result.samples.to_pylist():
        expected = oracle.fallback(
            images[row["record_id"], row["band"]], transform, row["point_x"], row["point_y"],
            nodata=nodata, max_distance_pixels=3,
        )
        assert same(row["value"], expected)


# Order and batches


@pytest.mark.parametrize("match", ["all", "latest"])
@given(
    raster=rasters(least=BLOCK + 2, most=BLOCK + 20, tiles=[(16, 16)]),
    found=positions(least=BLOCK - 5, most=BLOCK + 5),
    order=st.randoms(use_true_random=False),
)
@few
def test_the_order_of_the_points_never_matters(match, raster, found, order):
    scene, transform = raster
    table = pa.table({**world(transform, found), "key": range(len(found))})
    shuffled = list(range(len(found)))
    order.shuffle(shuffled)
    options = {"match": match, "max_distance_pixels": 2, "return_neighbourhood": "always"}
    straight, mixed = (
        sampled([scene], t, **options) for t in (table, table.take(pa.array(shuffled)))
    )

    def without_index(result):
        return multiset(result._replace(samples=result.samples.drop_columns("point_index")))

    assert without_index(straight) == without_index(mixed)
    assert straight.counts == mixed.counts


@given(
    raster=rasters(least=BLOCK + 2, most=BLOCK + 20, tiles=[(16, 16)]),
    found=positions(least=BLOCK - 5, most=BLOCK + 5),
    batch_rows=st.integers(1, 10),
    radius=st.integers(0, 4),
)
@some
def test_points_in_batches_of_any_size_give_the_same_rows(raster, found, batch_rows, radius):
    scene, transform = raster
    table = {**world(transform, found), "key": [f"k{i}" for i in range(len(found))]}
    options = {"max_distance_pixels": radius, "unmatched": "emit"}
    if radius:
        options["return_neighbourhood"] = "if_center_nodata"
    whole = sampled([scene], table, **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(points, "BATCH_ROWS", batch_rows)
        cut = sampled([scene], table, **options)
    assert multiset(cut) == multiset(whole)
    assert cut.counts == whole.counts


@given(raster=rasters(), found=positions(least=-2, most=62), cuts=st.sets(st.integers(0, 30)))
@few
def test_batches_cut_anywhere_are_planned_to_the_same_tiles(raster, found, cuts):
    scene, transform = raster
    rows = pa.RecordBatch.from_pydict(world(transform, found))
    batch, _ = to_points(rows, PointColumns(crs="none"), 0, "table")
    with tempfile.TemporaryDirectory() as folder:
        options = SampleOptions(bands=("B1",))
        plan = Planner(_records(make_collection(folder, [scene])), options).plan
    edges = sorted({0, *(cut for cut in cuts if cut < len(found)), len(found)})
    pieces = [
        plan(PointBatch(batch.points.slice(start, stop - start), batch.crs))
        for start, stop in itertools.pairwise(edges)
    ]
    whole = plan(batch)
    assert _planned(pieces) == _planned([whole])
    totals = [sum(counts) for counts in zip(*(p.counts for p in pieces), strict=True)]
    assert totals == list(whole.counts)


def _records(path):
    from rasteret_beam.collection import (  # noqa: PLC0415 -- one helper's own business
        CollectionQuery,
        list_fragments,
        read_fragment,
    )

    query = CollectionQuery(path, ("B1",))
    return [
        record for fragment in list_fragments(query) for record, _ in read_fragment(query, fragment)
    ]


def _planned(plans):
    """For each block, its points and the tiles that any of them need."""
    found = collections.defaultdict(lambda: (set(), set()))
    for plan in plans:
        for key, message in plan.tiles:
            indexes, tiles = found[key]
            indexes.update(message.planned.points["point_index"].tolist())
            tiles.update(message.tile_ids.tolist())
    return dict(found)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (jobs, "BATCH_BYTES"),
        (merging, "MERGED_POINTS"),
        (planner, "RECORDS_PER_KEY"),
        (reading, "_WINDOW_CELLS_AT_ONCE"),
    ],
    ids=["tiles held together", "points held together", "records of a key", "pixels at once"],
)
@given(
    raster=rasters(least=BLOCK + 2, most=BLOCK + 20, tiles=[(16, 16)]),
    found=positions(least=BLOCK - 20, most=BLOCK + 5),
    radius=st.integers(0, 4),
    neighbourhood=st.sampled_from(["off", "if_center_nodata", "always"]),
)
@few
def test_limits_on_memory_change_no_row(module, name, raster, found, radius, neighbourhood):
    scene, transform = raster
    scenes = [scene, dataclasses.replace(scene, name="b", pixels=scene.pixels[:, ::-1].copy())]
    options = {"max_distance_pixels": radius}
    if radius:
        options["return_neighbourhood"] = neighbourhood
    wide = sampled(scenes, world(transform, found), **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, name, 1)
        narrow = sampled(scenes, world(transform, found), **options)
    assert multiset(narrow) == multiset(wide)


# Which record


@st.composite
def bboxes(draw, size):
    """A box with corners on whole units from 0 to a size."""
    x = sorted(draw(st.tuples(st.integers(0, size), st.integers(0, size))))
    y = sorted(draw(st.tuples(st.integers(0, size), st.integers(0, size))))
    return tuple(float(v) for v in (x[0], y[0], x[1], y[1]))


@pytest.mark.parametrize("match", ["all", "latest"])
@given(
    records=st.lists(
        st.tuples(bboxes(40), st.none() | st.integers(2020, 2023), st.booleans()),
        min_size=1, max_size=20,
    ),
    found=positions(least=-1, most=41),
)
@some
def test_every_point_gets_the_records_that_the_rules_give_it(match, records, found):
    table = {"x": [col for _, col in found], "y": [row for row, _ in found]}
    scenes = [
        Scene(
            name=f"r{number:02}", pixels=np.full((1, 40, 40), number, np.uint8), epsg=None,
            origin=(0.0, 0.0), scale=(1.0, 1.0),
            when=year and dt.datetime(year, 1, 1),  # noqa: DTZ001 -- UTC, as stored
        )
        for number, (_, year, _) in enumerate(records)
    ]

    def place(rows):
        for row, (bbox, _, indexed) in zip(rows, records, strict=True):
            row["bbox"] = dict(zip(("xmin", "ymin", "xmax", "ymax"), bbox, strict=True))
            if not indexed:
                row["B1_metadata"] = None

    result = sampled(scenes, table, match=match, mutate=place)
    expected = set()
    for index, (x, y) in enumerate(zip(table["x"], table["y"], strict=True)):
        holding = [
            (year, number) for number, (bbox, year, indexed) in enumerate(records)
            if indexed and bbox[0] <= x <= bbox[2] and bbox[1] <= y <= bbox[3]
        ]
        if match == "latest":
            # The stable sort keeps scan order among equals; none is older than any.
            holding = sorted(holding, key=lambda r: r[0] or 0, reverse=True)[:1]
        if 0 <= x < 40 and 0 <= y < 40:
            expected |= {(index, f"r{number:02}", float(number)) for _, number in holding}
    rows = result.samples.to_pylist()
    assert {(r["point_index"], r["record_id"], r["value"]) for r in rows} == expected
    assert len(rows) == len(expected)


# Accounting


@given(
    raster=rasters(),
    found=positions(least=-30, most=90),
    holes=st.sets(st.integers(0, 29)),
    radius=st.integers(0, 2),
)
@few
def test_every_point_is_accounted_for_once(raster, found, holes, radius):
    scene, transform = raster
    table = world(transform, found)
    for number in holes & set(range(len(found))):
        table["x"][number] = None
    table = {name: pa.array(column, pa.float64()) for name, column in table.items()}
    result = sampled([scene], table, unmatched="emit", max_distance_pixels=radius)
    counts = result.counts
    assert counts.points_read == len(found) == sum(counts[1:])
    assert sorted(result.samples["point_index"].to_pylist()) == list(range(len(found)))
    statuses = collections.Counter(result.samples["status"].to_pylist())
    assert statuses["INVALID_POINT"] == counts.points_invalid
    assert statuses["OUT_OF_EXTENT"] + statuses["NO_RECORD"] == counts.points_unmatched
