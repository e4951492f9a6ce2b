"""Rows decide the bytes: whoever wrote them, in whatever order, into however many parts."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_rows import WINDOWS, Parts, bands_of, batch, block_of, files_of, record

from rasteret_beam.errors import OutputError
from rasteret_beam.output import Layout, shard_files
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


def _batches(found, columns_of=lambda _index: None):
    return [
        batch(
            x, y, index=index, of=of, band=band, crs=crs, value=index + 0.5,
            columns=columns_of(index),
        )
        for x, y, index, of, band, crs in found
    ]


def _texts(index):
    """Columns of some hundred bytes a point, a few of them thousands."""
    texts = [None if n % 7 == 0 else "word " * (n % 5 * (400 if n == 11 else 10)) for n in index]
    notes = pa.array(texts, pa.string())
    return pa.record_batch({
        "note": notes,
        "kind": notes.dictionary_encode(),
        "tags": pa.array([None if text is None else text.split() for text in texts],
                         pa.list_(pa.string())),
        "plot": pa.array(index, pa.int64()),
    })  # fmt: skip


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


def _cut_anew(found, random):
    """The same rows in other batches."""
    cut = []
    for x, y, index, *of in found:
        at = random.permutation(len(index))
        parts = np.array_split(at, random.integers(1, 4))
        cut += [(x[part], y[part], index[part], *of) for part in parts]
    return [cut[at] for at in random.permutation(len(cut))]


@settings(deadline=None, max_examples=60)
@given(jobs(), st.integers(1, 4), st.sampled_from(["long", "wide"]))
def test_files_of_wide_rows_depend_on_the_rows_alone(job, n_parts, layout):
    found, random = job
    batches = _batches(found, _texts)
    how = {"layout": Layout(layout, ("B1", "B2"))}
    parts, other = Parts(), Parts()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shard_files, "_FILE_BYTES", 8192)
        expected = files_of(parts, [parts.write(*batches)], **how)
        anew = _batches(_cut_anew(found, random), _texts)
        known = [other.write(*anew[start::n_parts]) for start in range(n_parts)]
        assert files_of(other, known, **how) == expected
    few = files_of(parts, [parts.write(*batches)], **how)
    assert len(few) == 1
    assert len(_rows(expected)) == len(_rows(few))


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
    shards = cut_shards(dict.fromkeys(range(100), 10), 95)
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
    more = part._replace(cells=tuple(c._replace(n_rows=100 * c.n_rows) for c in part.cells))
    assert len(list(plan_files([more], None, Layout()))) > 60


def _part_with_text(n_characters, times=1000):
    """What is known of a part of 3 million samples, whose points have a text each."""
    text = pa.record_batch({"note": pa.array(["x" * n_characters] * 3000)})
    rows = batch(np.linspace(0, 50, 3000), np.zeros(3000), of=record(), columns=text)
    part = Parts().write(rows)
    return part._replace(cells=tuple(
        cell._replace(n_rows=times * cell.n_rows, user_bytes=times * cell.user_bytes)
        for cell in part.cells
    ))  # fmt: skip


def _cuts(part, layout="long", bands=("B1",)):
    tasks = plan_files([part], None, Layout(layout, bands))
    return [(task.shard.first_cell, task.shard.last_cell) for task in tasks]


def test_rows_with_long_texts_make_files_of_few_rows():
    assert len(_cuts(_part_with_text(10))) == 2
    cuts = _cuts(_part_with_text(2000))
    # 6.2 GB in files of up to 512 MiB.
    assert 12 <= len(cuts) <= 14
    assert len(_cuts(_part_with_text(2000), "array", tuple("ABCD"))) == 3


@pytest.mark.parametrize("n_characters", [10, 60, 200])
def test_columns_that_are_not_wide_change_no_file(n_characters):
    part = _part_with_text(n_characters)
    bare = part._replace(cells=tuple(cell._replace(user_bytes=0) for cell in part.cells))
    assert sum(cell.user_bytes for cell in part.cells) == 3_000_000 * n_characters
    assert _cuts(part) == _cuts(bare)
    bands = tuple("ABCD")
    assert _cuts(part, "array", bands) == _cuts(bare, "array", bands)


def test_wide_rows_of_a_killed_run_that_do_not_count_change_no_file(monkeypatch):
    monkeypatch.setattr(shard_files, "_FILE_BYTES", 8192)
    blocks = [
        bands_of(
            5.0 * index, np.zeros(3), index=index, of=record(), bands=("B1", "B2"),
            block=block_of(number, ((record(), "B1"), index), ((record(), "B2"), index)),
            columns=pa.record_batch({"note": ["x" * (500 if number else 900)] * 3}),
        ) for number, index in enumerate(np.arange(12).reshape(4, 3))
    ]  # fmt: skip
    clean, parts = Parts(), Parts()
    expected = files_of(clean, [clean.write(*(one for block in blocks for one in block))])
    assert len(expected) > 1
    parts.write(*blocks[0], *(block[0] for block in blocks[1:]), run="killed")
    kept = parts.kept()
    rest = parts.write(*(one for block in blocks[1:] for one in block))
    assert files_of(parts, [rest], kept=kept) == expected
