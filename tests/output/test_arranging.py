"""Rows decide the bytes: whoever wrote them, in whatever order, into however many parts."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_rows import WINDOWS, Parts, batch, block_of, files_of, record

from rasteret_beam.errors import OutputError
from rasteret_beam.output.parts import read_part
from rasteret_beam.output.shard_files import plan_files
from rasteret_beam.output.shards import cut_shards

KEYS = ("point_index", "record_id", "band")


def _rows(files):
    tables = [pq.read_table(io.BytesIO(data)) for data in files]
    return [row for table in tables for row in table.to_pylist()]


def _identities(files):
    return sorted(tuple(str(row[name]) for name in KEYS) for row in _rows(files))


@st.composite
def jobs(draw):
    """Batches of some records and bands over scattered points."""
    n_points = draw(st.integers(1, 40))
    random = np.random.default_rng(draw(st.integers(0, 99)))
    lon, lat = random.uniform(-180, 180, n_points), random.uniform(-90, 90, n_points)
    lon[random.random(n_points) < 0.1] = np.nan
    crs = draw(st.sampled_from(["EPSG:4326", None]))
    found = []
    for number in range(draw(st.integers(1, 3))):
        for band in ("B1", "B2"):
            mine = np.flatnonzero(random.random(n_points) < 0.7)
            cut = np.array_split(random.permutation(mine), draw(st.integers(1, 3)))
            found += [(lon[part], lat[part], part, record(number), band, crs) for part in cut]
    return found, random


def _batches(found):
    return [
        batch(x, y, index=index, of=of, band=band, crs=crs, value=index + 0.5)
        for x, y, index, of, band, crs in found
    ]


@settings(deadline=None, max_examples=60)
@given(jobs(), st.integers(1, 4), st.integers(5, 400))
def test_files_depend_on_the_rows_alone(job, n_parts, file_rows):
    found, random = job
    batches = _batches(found)
    parts = Parts()
    expected = files_of(parts, [parts.write(*batches)], file_rows=file_rows)
    other = Parts()
    shuffled = [batches[at] for at in random.permutation(len(batches))]
    known = [other.write(*shuffled[start::n_parts]) for start in range(n_parts)]
    assert files_of(other, known, file_rows=file_rows) == expected


@settings(deadline=None, max_examples=60)
@given(jobs(), st.integers(5, 400))
def test_every_row_is_in_one_file(job, file_rows):
    found, _ = job
    parts = Parts()
    files = files_of(parts, [parts.write(*_batches(found))], file_rows=file_rows)
    expected = sorted(
        (str(point), of.record_id, band) for _, _, index, of, band, _ in found for point in index
    )
    assert _identities(files) == expected


def test_a_crowded_cell_is_dealt_out_to_several_files():
    parts = Parts()
    rows = batch(np.full(1000, 5.0), np.full(1000, 5.0), of=record())
    files = files_of(parts, [parts.write(rows)], file_rows=300)
    sizes = [pq.read_metadata(io.BytesIO(data)).num_rows for data in files]
    assert len(sizes) == 4
    assert sum(sizes) == 1000
    assert min(sizes) > 150


def test_sparse_cells_share_files_up_to_the_limit():
    shards = cut_shards([dict.fromkeys(range(100), 10)], 95)
    spans = [(shard.first_cell, shard.last_cell) for shard in shards]
    assert spans[:2] == [(0, 8), (9, 17)]
    assert {shard.n_shards for shard in shards} == {len(shards)} == {12}


def test_rows_of_a_band_follow_each_other_newest_record_last():
    parts = Parts()
    batches = [
        batch([1.0, 2.0], [1.0, 1.0], of=record(number), band=band)
        for number in (1, 0) for band in ("B2", "B1")
    ]
    (data,) = files_of(parts, [parts.write(*batches)])
    found = [(row["record_id"], row["band"]) for row in _rows([data])]
    expected = [(r, b) for r in ("r0", "r1") for b in ("B1", "B2") for _ in range(2)]
    assert found == expected


def test_rows_without_a_record_come_last():
    parts = Parts()
    lost = batch([1.0], [1.0], index=[7], band=None, value=[np.nan], status=["NO_RECORD"])
    (data,) = files_of(parts, [parts.write(lost, batch([1.0], [1.0], of=record()))])
    assert [row["status"] for row in _rows([data])] == ["OK", "NO_RECORD"]


def test_mixed_batches_are_taken_apart():
    parts = Parts()
    one, two = batch([1.0], [1.0], of=record(0)), batch([1.0], [1.0], of=record(1), index=[1])
    table = pa.Table.from_batches([one.samples, two.samples]).unify_dictionaries()
    (mixed,) = table.combine_chunks().to_batches()
    both = type(one)(mixed, one.crs)
    other = Parts()
    assert files_of(parts, [parts.write(both)]) == files_of(other, [other.write(one, two)])


def _blocks():
    """Two blocks with two bands of one record each."""
    info, found = record(), []
    for number, index in enumerate(([0, 1, 2], [3, 4])):
        block = block_of(number, ((info, "B1"), index), ((info, "B2"), index))
        found.append([
            batch(np.array(index) * 1.0, np.zeros(len(index)), index=index, of=info, band=band,
                  block=block)
            for band in ("B1", "B2")
        ])  # fmt: skip
    return found


def test_a_block_is_done_when_all_its_rows_are_there():
    first, second = _blocks()
    parts = Parts()
    parts.write(first[0], second[0])
    assert not any(parts.kept().done.values())
    parts.write(first[1])
    assert parts.kept().is_done(first[0].block.key)
    assert not parts.kept().is_done(second[0].block.key)


def test_rows_that_are_there_twice_do_not_stand_for_others():
    first, _ = _blocks()
    parts = Parts()
    parts.write(first[0], first[0])
    assert not parts.kept().is_done(first[0].block.key)


def test_rows_whose_tile_could_not_be_read_are_not_done():
    info = record()
    block = block_of(0, ((info, "B1"), [0, 1]))
    failed = batch(
        [0.0, 1.0], [0.0, 0.0], of=info, block=block, value=[1.0, np.nan],
        status=["OK", "FETCH_ERROR"],
    )
    parts = Parts()
    parts.write(failed)
    assert not parts.kept().is_done(block.key)


def test_what_an_earlier_run_left_and_the_rest_give_the_files_of_a_clean_run():
    first, second = _blocks()
    lost = batch([9.0], [9.0], index=[9], band=None, value=[np.nan], status=["NO_RECORD"])
    clean = Parts()
    expected = files_of(clean, [clean.write(*first, *second, lost)])
    parts = Parts()
    parts.write(*first, second[1], lost, run="killed")
    kept = parts.kept()
    rest = parts.write(*second, lost, run="resumed")
    assert files_of(parts, [rest], kept=kept) == expected


def test_of_two_killed_runs_each_block_counts_once():
    first, second = _blocks()
    clean = Parts()
    expected = files_of(clean, [clean.write(*first, *second)])
    parts = Parts()
    parts.write(*first, second[0], run="a")
    parts.write(*first, *second, run="b")
    kept = parts.kept()
    assert kept.is_done(first[0].block.key)
    assert kept.is_done(second[0].block.key)
    assert files_of(parts, [], kept=kept) == expected


def test_a_block_whose_rows_are_planned_in_another_way_does_not_count():
    first, second = _blocks()
    parts = Parts()
    parts.write(*first, *second, run="killed")
    key, earlier = first[0].block.key, parts.earlier()
    # The same number of rows, of another record.
    other = block_of(0, ((record(1), "B1"), [0, 1, 2]), ((record(1), "B2"), [0, 1, 2]))
    kept = earlier.keep([other, second[0].block])
    assert (earlier.knows(key), earlier.has(first[0].block), earlier.has(other)) == (1, 1, 0)
    assert (kept.is_done(key), kept.is_done(second[0].block.key)) == (False, True)
    clean = Parts()
    anew = [
        batch([0.0, 1.0, 2.0], [0.0] * 3, of=record(1), band=band, block=other)
        for band in ("B1", "B2")
    ]
    expected = files_of(clean, [clean.write(*anew, *second)])
    assert files_of(parts, [parts.write(*anew, run="resumed")], kept=kept) == expected
    # Then the first block's rows are in none.
    assert not earlier.keep([second[0].block]).is_done(key)


@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_a_torn_part_is_refused(kept):
    parts = Parts()
    part = parts.write(batch([1.0], [1.0], of=record()))
    with pytest.raises(OutputError, match="no whole part"):
        read_part(io.BytesIO(parts.files[part.name][:kept]), part.name)


def test_a_part_says_of_itself_what_its_writer_knew():
    first, second = _blocks()
    parts = Parts()
    part = parts.write(*first, *second)
    assert read_part(parts.open(part.name), part.name) == part


def test_rows_with_wide_neighbourhoods_make_files_of_few_rows():
    rows = batch(np.linspace(0, 50, 3000), np.zeros(3000), of=record(), options=WINDOWS)
    at = rows.samples.schema.get_field_index("neighbourhood_values")
    around = pa.FixedSizeListArray.from_arrays(np.zeros(3000 * 16641), 16641).cast(
        pa.list_(pa.float64()),
    )
    rows = type(rows)(rows.samples.set_column(at, "neighbourhood_values", around), rows.crs)
    parts = Parts()
    part = parts.write(rows)
    assert read_part(parts.open(part.name), part.name).longest == 16641
    more = part._replace(cells=tuple((cell, -1, 100 * n) for cell, _, n in part.cells))
    assert len(list(plan_files([more], None, 2_000_000))) > 60
