"""Dead letters run again: with the first run's rows they are a clean run's."""

import collections
import datetime as dt
import itertools
import json
import pathlib
import pickle
import tempfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from replays import union
from scenes import Scene, make_collection

from rasteret_beam import replaying
from rasteret_beam.collection import CollectionQuery
from rasteret_beam.elements import DeadLetter
from rasteret_beam.errors import ReplayError
from rasteret_beam.local import sample_points
from rasteret_beam.options import SampleOptions
from rasteret_beam.points import PointColumns
from rasteret_beam.storage import Store

BANDS = ("B1", "B2")
SIDE, TILE = 64, 16
GONE = 10**9
OPTIONS = [
    {"match": match, "unmatched": unmatched, **window}
    for match, unmatched, window in itertools.product(
        ("all", "latest"), ("emit", "omit"),
        ({}, {"max_distance_pixels": 3},
         {"max_distance_pixels": 2, "return_neighbourhood": "always"},
         {"max_distance_pixels": 2, "return_neighbourhood": "if_center_nodata"}),
    )
]  # fmt: skip


def _scenes(random):
    """Dates of one grid, chunky and planar; a neighbour; one grid that is half a pixel off."""
    places = [(0.0, 0.0)] * 3 + [(400.0, 0.0), (5.0, -5.0)]
    for number, (x, y) in enumerate(places):
        pixels = random.integers(1, 9, (2, SIDE, SIDE)).astype(np.uint16)
        pixels[random.random(pixels.shape) < 0.4] = 0
        planar = "contig" if random.random() < 0.5 else "separate"
        yield Scene(
            name=f"s{number}", pixels=pixels, nodata="0", bands=BANDS, tile=(TILE, TILE),
            origin=(500000.0 + x, 4600000.0 + y), tiff={"planarconfig": planar},
            when=dt.datetime(2024, 1, 1 + int(random.integers(0, 4))),  # noqa: DTZ001
        )


def _spoil_tiles(rows, random):
    """Tables that lead beyond the end of the file, for some tiles; bands share chunky ones."""
    for row in rows:
        lost = random.random(len(row["B1_metadata"]["tile_offsets"])) < 0.25
        for band in BANDS:
            if band == "B2" and row["B1_metadata"]["planar_configuration"] == 2:
                lost = random.random(len(lost)) < 0.25
            table = row[f"{band}_metadata"]["tile_offsets"]
            row[f"{band}_metadata"]["tile_offsets"] = np.where(lost, GONE, table).tolist()


def _spoil_records(rows, random, kinds):
    for row in rows:
        kind = random.choice(kinds)
        if kind == "unsupported":
            row["B1_metadata"]["compression"] = 7777
        elif kind == "crs":
            row["crs"], row["proj:epsg"] = "nonsense", None
        elif kind == "missing":
            row["B2_metadata"] = None
        elif kind == "no bbox":
            row["bbox"] = None


def _tables(random):
    """Points on the scenes and around, as text, some of them none; broken rows, and mended."""
    x, y = 500000 + random.uniform(-100, 1200, 120), 4600000 - random.uniform(-100, 800, 120)
    texts = [[str(v) for v in axis] for axis in (x, y)]
    for at in random.choice(120, 6, replace=False):
        texts[0][at] = "nan"
    broken = [list(axis) for axis in texts]
    for at in random.choice(120, 12, replace=False):
        broken[1][at] = "north"
    names = [f"p{i}" for i in range(120)]
    return [pa.table({"x": found[0], "y": found[1], "name": names}) for found in (broken, texts)]


def _run(collection, table, options, only=None):
    query = CollectionQuery(collection, BANDS)
    columns, options = PointColumns(crs="EPSG:32631"), SampleOptions(bands=BANDS, **options)
    result = sample_points(query, table, columns, options, only)
    counts = result.counts
    assert counts.points_read == sum(counts[1:])
    return result


def _replay_of(letters, folder, n_files=3):
    """Through files, as a job leaves them."""
    found = []
    for number in range(n_files):
        path = f"{folder}/dead-letters-{number}.jsonl"
        with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123
            file.writelines(
                json.dumps(letter._asdict()) + "\n" for letter in letters[number::n_files]
            )
        found.append(path)
    listed = replaying.list_letters(Store(), folder)
    assert listed == found
    return replaying.merge(replaying.read_letters(Store(), path) for path in listed)


def _multiset(rows):
    return collections.Counter(map(repr, rows))


def _check(seed, options, kinds=("sound",), *, keyed=True):
    """A run with faults, a replay when all is mended, and a clean run."""
    random = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        sound = make_collection(folder, list(_scenes(random)))
        table = pq.read_table(sound)
        rows = table.to_pylist()
        _spoil_tiles(rows, random)
        _spoil_records(rows, random, kinds)
        spoilt = f"{folder}/spoilt.parquet"
        pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), spoilt)
        broken, points = _tables(random)
        first = _run(spoilt, broken, options)
        only = _replay_of(first.dead_letters, folder)
        again = _run(sound, points, options, only)
        clean = _run(sound, points, options)
    found = first.samples.to_pylist(), again.samples.to_pylist()
    together = union(*found, match=options["match"]) if keyed else found[0] + found[1]
    assert _multiset(together) == _multiset(clean.samples.to_pylist())
    # Points that never have coordinates are told again, and nothing else.
    assert again.dead_letters == clean.dead_letters
    assert {letter.stage for letter in clean.dead_letters} == {"ReadPoints"}
    return first, again, clean


seeds = st.integers(0, 2**32 - 1)
some = settings(max_examples=8, deadline=None)


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(map(str, o.values())))
@given(seed=seeds)
@some
def test_a_run_and_the_replay_of_its_tiles_and_points_are_a_clean_run(options, seed):
    first, _, _ = _check(seed, options)
    # No point may need the tiles that are broken.
    found = {letter.stage for letter in first.dead_letters} - {"FetchTiles"}
    assert found == {"ReadPoints"}


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(map(str, o.values())))
@given(seed=seeds)
@some
def test_so_are_they_where_records_are_mended_that_could_not_be_read(options, seed):
    _check(seed, options, ("sound", "unsupported", "crs"))


@pytest.mark.parametrize(
    "options", [o for o in OPTIONS if (o["match"], o["unmatched"]) != ("latest", "omit")],
    ids=lambda o: "-".join(map(str, o.values())),
)
@given(seed=seeds)
@some
def test_so_are_they_where_records_lacked_a_band_or_a_bbox(options, seed):
    _check(seed, options, ("sound", "missing", "no bbox"))


@pytest.mark.parametrize("match", ["all", "latest"])
@given(seed=seeds)
@some
def test_with_omit_and_without_windows_no_row_is_there_twice(match, seed):
    _check(seed, {"match": match, "unmatched": "omit"}, keyed=False)


@given(seed=seeds)
@some
def test_a_replay_of_a_replay_goes_on(seed):
    random = np.random.default_rng(seed)
    options = {"match": "all", "unmatched": "emit", "max_distance_pixels": 2}
    with tempfile.TemporaryDirectory() as folder:
        sound = make_collection(folder, list(_scenes(random)))
        table = pq.read_table(sound)
        paths = []
        rows = table.to_pylist()
        for number in range(2):
            # What fails in the second run failed in the first.
            paths.append(f"{folder}/{1 - number}.parquet")
            _spoil_tiles(rows, random)
            pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), paths[-1])
        _, points = _tables(random)
        found, only = [], None
        for number, path in enumerate([*reversed(paths), sound]):
            result = _run(path, points, options, only)
            rows = result.samples.to_pylist()
            found = union(found, rows) if number else rows
            home = pathlib.Path(folder) / f"letters{number}"
            home.mkdir()
            only = _replay_of(result.dead_letters, str(home))
        assert _multiset(found) == _multiset(_run(sound, points, options).samples.to_pylist())


def _letter(**changes):
    element = {"record_id": "a", "bands": ["B1"], "grid": 5, "tile": 7}
    element.update(changes.pop("element", {}))
    letter = DeadLetter(json.dumps(element), "gone", "", "FetchTiles", "FETCH_ERROR")
    return letter._replace(**changes)


@pytest.fixture
def replay_of(tmp_path):
    return lambda *letters: _replay_of(letters, str(tmp_path), 1)


def test_tiles_are_known_by_record_band_and_grid(replay_of):
    replay = replay_of(_letter(), _letter(element={"tile": 3, "bands": ["B1", "B2"]}))
    assert replay.tiles_of("a", "B1", 5).tolist() == [3, 7]
    assert replay.tiles_of("a", "B2", 5).tolist() == [3]
    assert replay.tiles_of("b", "B1", 5).tolist() == []
    assert replay.n_letters == 2


def test_numbers_of_another_grid_tell_nothing_and_all_of_the_band_runs_again(replay_of):
    assert replay_of(_letter()).tiles_of("a", "B1", 6) is None


def test_a_file_that_changed_since_it_was_indexed_runs_again_whole(replay_of):
    assert replay_of(_letter(code="STALE_INDEX")).tiles_of("a", "B1", 5) is None


def test_many_letters_take_few_bytes():
    letters = [
        replaying._Named(tiles=((f"record {n % 5000}", "B1", 5, n),)) for n in range(100_000)
    ]
    assert len(pickle.dumps(replaying._replay(letters))) < 25 * len(letters)


@pytest.mark.parametrize(("line", "told"), [
    ("{", "no dead letter of sampling"),
    ("[1]", "no dead letter of sampling"),
    ('{"stage": "FetchTiles", "code": "FETCH_ERROR"}', "lacks 'element'"),
    ('{"stage": "FetchTiles", "code": "X", "element": "{}"}', "lacks 'tile'"),
    ('{"stage": "ReadPoints", "code": "X", "element": "{\\"point_index\\": null}"}', "int()"),
    ('{"stage": "IndexItems", "code": "X", "element": "{}"}', "--mode update"),
])  # fmt: skip
def test_what_is_no_dead_letter_of_sampling_is_refused_by_line(tmp_path, line, told):
    good = json.dumps(_letter()._asdict())
    path = tmp_path / "dead-letters.jsonl"
    path.write_text(f"{good}\n{line}\n", encoding="utf-8")
    with pytest.raises(ReplayError, match="line 2") as error:
        replaying.read_letters(Store(), str(path))
    assert told in str(error.value)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "dead-letters.jsonl"
    path.write_bytes(b"\xff\xfe\n")
    with pytest.raises(ReplayError, match=r"dead-letters\.jsonl: cannot be read"):
        replaying.read_letters(Store(), str(path))


def test_a_folder_that_is_not_there_or_holds_no_letters_is_refused(tmp_path):
    with pytest.raises(ReplayError, match="no such folder"):
        replaying.list_letters(Store(), str(tmp_path / "gone"))
    (tmp_path / "_unfinished").mkdir()
    (tmp_path / "_unfinished" / "dead-letters.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(ReplayError, match="nothing to replay"):
        replaying.list_letters(Store(), str(tmp_path))


def test_letters_of_hidden_folders_are_passed_over_however_the_folder_is_spelled(
    tmp_path, monkeypatch,
):
    for name in ("_unfinished/a.jsonl", "b.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for spelled in (".", "./", f"file://{tmp_path}", "_unfinished/.."):
        (found,) = replaying.list_letters(Store(), spelled)
        assert found.endswith("b.jsonl")


def test_empty_files_and_letters_of_other_bands_are_refused(replay_of):
    with pytest.raises(ReplayError, match="nothing to replay"):
        replaying.check(replay_of(), ("B1",))
    with pytest.raises(ReplayError, match=r"\['B1'\], sampled are \['B2'\]"):
        replaying.check(replay_of(_letter()), ("B2",))
