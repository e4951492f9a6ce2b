"""Rows that share their points: stored with each point once, written like any others."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_rows import Parts, apart, bands_of, batch, block_of, files_of, record

from rasteret_beam.errors import OutputError
from rasteret_beam.output import Layout, part_writer
from rasteret_beam.output.arranging import chunks, gather
from rasteret_beam.output.part_writer import PartWriter
from rasteret_beam.output.parts import MAGIC, PLACE, read_blobs, read_part

BANDS = ("B1", "B2", "B3")


@st.composite
def frames(draw):
    """Batches over shared points: of some records, all bands or some, some points or all."""
    random = np.random.default_rng(draw(st.integers(0, 999)))
    found, start = [], 0
    for _ in range(draw(st.integers(1, 4))):
        n_points = draw(st.integers(1, 30))
        lon, lat = random.uniform(-3, 3, n_points), random.uniform(-3, 3, n_points)
        index = start + random.permutation(n_points)
        start += n_points
        columns = pa.record_batch({"plot": pa.array(index).cast("string")})
        for number in range(draw(st.integers(1, 3))):
            # A band in another file may have fewer points.
            cut, share = draw(st.integers(0, len(BANDS))), draw(st.sampled_from([1, 0.6]))
            for bands, kept in ((BANDS[:cut], 1), (BANDS[cut:], share)):
                mine = np.flatnonzero(random.random(n_points) < kept)
                found += bands_of(
                    lon[mine], lat[mine], index=index[mine], of=record(number), bands=bands,
                    columns=columns.take(pa.array(mine)),
                )  # fmt: skip
    return found, random


@settings(deadline=None, max_examples=60)
@given(
    frames(), st.sampled_from(["long", "wide", "array"]), st.integers(5, 400),
    st.sampled_from(["parquet", "geoparquet", "csv"]),
)  # fmt: skip
def test_files_do_not_tell_which_rows_shared_their_points(job, layout, file_rows, output_format):
    found, random = job
    how = {
        "layout": Layout(layout, BANDS[::-1]), "file_rows": file_rows,
        "output_format": output_format,
    }  # fmt: skip
    together, other = Parts(), Parts()
    placed = output_format == "geoparquet"
    expected = files_of(together, [together.write(*found, with_lonlat=placed)], **how)
    alone = [apart(found[at]) for at in random.permutation(len(found))]
    known = [other.write(*alone[start::2], with_lonlat=placed) for start in range(2)]
    assert files_of(other, known, **how) == expected


@settings(deadline=None, max_examples=60)
@given(frames(), st.integers(1, 50))
def test_points_are_cut_where_their_rows_would_be(job, n_rows):
    found, _ = job
    parts = Parts()
    part = parts.write(*found)
    rows = gather(list(read_blobs(parts.open(part.name), part.blobs)), found[0].samples.schema)
    place = np.repeat(rows.points[PLACE].to_numpy(), rows.n_samples)
    order = np.sort(place)
    n_chunks = max(round(len(order) / n_rows), 1)
    wanted = [order[len(order) * number // n_chunks] for number in range(1, n_chunks)]
    starts = sorted({int(np.searchsorted(order, place)) for place in wanted} - {0})
    sizes = [int(rows.n_samples[chunk].sum()) for chunk in chunks(rows, n_rows)]
    assert sizes == np.diff([0, *starts, len(order)]).tolist()


def test_rows_of_a_file_are_by_record_band_place_and_index():
    random = np.random.default_rng(5)
    lon, lat = random.uniform(0, 0.1, 200), random.uniform(0, 0.1, 200)
    index = random.permutation(200)
    parts = Parts()
    batches = [
        one for number in (1, 0)
        for one in bands_of(lon, lat, index=index, of=record(number), bands=BANDS[::-1])
    ]
    (data,) = files_of(parts, [parts.write(*batches)])
    found = pq.read_table(io.BytesIO(data), columns=["record_id", "band", "point_index"])
    part = read_part(parts.open("part-0"), "part-0")
    (run,) = read_blobs(parts.open("part-0"), part.blobs)
    place = dict(zip(
        run.points.column("point_index").to_pylist(), run.points.column(PLACE).to_pylist(),
        strict=True,
    ))  # fmt: skip
    assert len(set(place.values())) > 1
    keys = [(row["record_id"], row["band"], place[row["point_index"]], row["point_index"])
            for row in found.to_pylist()]  # fmt: skip
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys) == 200 * 6


def _runs(parts):
    return [
        run for name in parts.files
        for run in read_blobs(parts.open(name), read_part(parts.open(name), name).blobs)
    ]  # fmt: skip


def test_a_point_is_in_a_part_once_with_its_samples_by_time_and_band():
    parts = Parts()
    block = block_of(0, *(((record(n), band), [0, 1]) for n in (1, 0) for band in BANDS))
    x, y = [1.0, 2.0], [1.0, 1.0]
    first, *more = bands_of(x, y, of=record(1), bands=BANDS[::-1], block=block)
    columns = first.samples.columns
    for one in bands_of(x, y, of=record(0), bands=BANDS, block=block):
        samples = one.samples
        for at in range(4):
            samples = samples.set_column(at, samples.schema.field(at), columns[at])
        more.append(type(one)(samples, one.crs, block=block))
    parts.write(first, *more)
    (run,) = _runs(parts)
    assert (run.points.num_rows, run.samples.num_rows) == (2, 12)
    (unit,) = run.units
    assert [(lb.record_id, lb.band) for lb in unit.labels] == [
        (f"r{number}", band) for number in (0, 1) for band in BANDS
    ]
    assert unit.block == block.key
    assert parts.kept().is_done(block.key)


@pytest.mark.parametrize("layout", ["long", "wide"])
def test_of_a_killed_run_only_whole_blocks_count(layout):
    blocks = [
        bands_of(
            index, np.ones(3), index=index, of=record(), bands=BANDS,
            block=block_of(number, *(((record(), band), index) for band in BANDS)),
        ) for number, index in enumerate(np.arange(9).reshape(3, 3))
    ]  # fmt: skip
    how = {"layout": Layout(layout, BANDS)}
    clean, parts = Parts(), Parts()
    expected = files_of(clean, [clean.write(*blocks[0], *blocks[1], *blocks[2])], **how)
    parts.write(*blocks[0], *blocks[1][:2], *blocks[2], run="killed")
    kept = parts.kept()
    assert [kept.is_done(block[0].block.key) for block in blocks] == [True, False, True]
    assert files_of(parts, [parts.write(*blocks[1])], kept=kept, **how) == expected


@pytest.mark.parametrize("change", ["block", "crs", "copy", "again", "status"])
def test_rows_that_differ_in_more_than_their_samples_do_not_share(change):
    first, second = bands_of([1.0, 2.0], [1.0, 1.0], of=record(), bands=BANDS[:2])
    samples, crs, block = second.samples, second.crs, None
    if change == "block":
        block = block_of(0, ((record(), "B2"), [0, 1]))
    elif change == "crs":
        at = samples.schema.get_field_index("point_crs")
        other = pa.array([4258, 4258], pa.int32())
        samples, crs = samples.set_column(at, "point_crs", other), "EPSG:4258"
    elif change == "copy":
        samples = apart(second).samples
    elif change == "again":
        samples = first.samples
    else:
        samples = samples.drop_columns(["status"])
    second = type(second)(samples, crs, block=block)
    parts = Parts()
    part = parts.write(first, second)
    assert [len(unit.labels) for run in _runs(parts) for unit in run.units] == [1, 1]
    (data,) = files_of(parts, [part])
    assert pq.read_metadata(io.BytesIO(data)).num_rows == 4


def test_points_that_share_an_index_keep_their_samples_apart():
    parts = Parts()
    rows = bands_of([1.0, 1.0], [2.0, 2.0], index=[5, 5], of=record(), bands=BANDS)
    values = [pa.array([number, number + 10.0]) for number in range(3)]
    rows = [
        type(one)(one.samples.set_column(8, one.samples.schema.field("value"), value), one.crs)
        for one, value in zip(rows, values, strict=True)
    ]
    (data,) = files_of(parts, [parts.write(*rows)], layout=Layout("array", BANDS))
    assert pq.read_table(io.BytesIO(data))["values"].to_pylist() == [[0, 1, 2], [10, 11, 12]]


def test_a_part_is_worth_writing_before_it_is_full(monkeypatch):
    first, second, third = bands_of([1.0], [1.0], of=record(), bands=BANDS)
    other = batch([2.0], [2.0], of=record())
    monkeypatch.setattr(part_writer, "PART_BYTES", 1)
    writer = PartWriter(with_lonlat=False)
    assert not writer.is_worth_a_part
    writer.add(first)
    assert writer.is_worth_a_part
    assert not writer.is_full
    assert writer.goes_on(second)
    assert not writer.goes_on(other)
    monkeypatch.setattr(part_writer, "MOST_PART_BYTES", 1)
    assert writer.is_full
    writer.add(other)
    assert not writer.goes_on(third)


def test_a_block_goes_on_with_other_points_too():
    def of_block(column):
        rows, key = batch([1.0], [1.0], of=record()), block_of(column, ((record(), "B1"), [0]))
        return type(rows)(rows.samples, rows.crs, block=key)

    first, again, other = of_block(0), of_block(0), of_block(1)
    writer = PartWriter(with_lonlat=False)
    assert not writer.is_amid_block_of(first)
    writer.add(first)
    assert not writer.goes_on(again)
    assert writer.is_amid_block_of(again)
    assert not writer.is_amid_block_of(other)


def test_rows_of_no_block_go_on_with_their_points():
    first, second = bands_of([1.0], [1.0], of=record(), bands=BANDS[:2])
    writer = PartWriter(with_lonlat=False)
    writer.add(first)
    assert writer.is_amid_block_of(second)
    assert not writer.is_amid_block_of(batch([2.0], [2.0], of=record()))


def test_a_part_of_another_format_is_refused():
    parts = Parts()
    part = parts.write(batch([1.0], [1.0], of=record()))
    data = parts.files[part.name].replace(MAGIC, b"RB-PART1")
    with pytest.raises(OutputError, match="no whole part"):
        read_part(io.BytesIO(data), part.name)
