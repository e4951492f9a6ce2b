"""Runs that would destroy what they read, or what another run left, are refused at their start."""

import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dataflow import script
from scenes import Scene, grid_points, write_scene

SCENE = Scene(name="s2_20240512", pixels=np.ones((1, 32, 32), np.uint16))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    (folder / "scenes").mkdir()
    write_scene(folder / "scenes", SCENE)
    pq.write_table(pa.table(grid_points(SCENE, [(1, 2), (20, 30)])), folder / "points.parquet")
    return folder


@pytest.fixture
def place(made, tmp_path, monkeypatch, build):
    shutil.copytree(made, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    assert build("--inputs", "scenes/*.tif", "--output", "collection") == 0
    return tmp_path / "work"


@pytest.fixture
def run(place, sample):
    """Samples with some flags; gives the exit code, and whether nothing in the place changed."""

    def run(**more):
        flags = {
            "collection": "collection", "points": "points.parquet", "bands": "B1",
            "points_crs": "EPSG:32631", "output": "samples", **more,
        }  # fmt: skip
        return unchanged(place, sample, *(w for n, v in flags.items() for w in (f"--{n}", v)))

    return run


def unchanged(place, command, *flags):
    before = _bytes(place)
    return command(*flags), _bytes(place) == before


def _bytes(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


REFUSED = (2, True)


def test_points_that_are_samples_of_the_output_stay(run, capsys):
    assert run()[0] == 0
    assert run(points="samples/*.parquet") == REFUSED
    assert "--output samples would write into what --points samples/*" in capsys.readouterr().err
    assert run(points="samples/samples-00000-of-00001.parquet") == REFUSED


def test_points_that_are_samples_of_another_format_stay(run, place):
    assert run(output_format="csv")[0] == 0
    assert run(points="samples/*.csv") == REFUSED
    (place / "csv").mkdir()
    (place / "csv" / "points.csv").write_text("x,y\n0,0\n")
    assert run(points="csv/*.csv", output="csv")[0] == 0


@pytest.mark.parametrize("output", ["collection", "./collection/", "collection/samples"])
def test_a_collection_is_no_place_for_its_samples(run, capsys, output):
    assert run(output=output) == REFUSED
    assert f"--output {output} would write into what --collection" in capsys.readouterr().err


@pytest.mark.parametrize("with_summary", [True, False])
@pytest.mark.parametrize("dated", [True, False])
def test_another_collection_is_no_place_for_samples_either(
    run, place, build, capsys, with_summary, dated,
):
    dates = ("--datetime_pattern", r"_(\d{8})") if dated else ()
    assert build("--inputs", "scenes/*.tif", "--output", "other", *dates) == 0
    if not with_summary:
        shutil.rmtree(place / "other" / "_run")
    assert run(output="other") == REFUSED
    assert "--output other holds a collection" in capsys.readouterr().err


def test_a_run_into_its_own_output_leaves_other_peoples_files(run, place):
    (place / "samples").mkdir()
    shutil.copy(place / "points.parquet", place / "samples" / "part-0.parquet")
    (place / "samples" / "notes.txt").write_text("mine")
    for _ in range(2):
        assert run(points="samples/part-0.parquet", dead_letters="samples/letters")[0] == 0
    assert (place / "samples" / "notes.txt").read_text() == "mine"
    assert (place / "samples" / "part-0.parquet").is_file()


def test_samples_may_be_written_where_a_build_was_refused(run, build):
    assert run()[0] == 0
    assert build("--inputs", "gone/*.tif", "--output", "empty") == 2
    assert run(output="empty")[0] == 0


def _leave_letter(place, sample):
    """A first run that leaves a letter."""
    table = {"x": ["here", "0"], "y": ["0", "0"]}
    pq.write_table(pa.table(table), place / "broken.parquet")
    flags = (
        "--collection", "collection", "--points", "broken.parquet", "--bands", "B1",
        "--points_crs", "EPSG:32631", "--output", "first", "--error_threshold", "1",
    )  # fmt: skip
    assert sample(*flags, "--dead_letters", "first/letters") == 0
    assert list((place / "first" / "letters").iterdir())


def test_a_replay_never_takes_the_place_of_the_run_whose_letters_it_reads(
    run, place, sample, capsys,
):
    _leave_letter(place, sample)
    again = {"points": "broken.parquet", "replay": "first/letters", "error_threshold": "1"}
    assert run(**again, output="first") == REFUSED
    assert "--output first holds the samples of another run" in capsys.readouterr().err
    assert run(**again, output="first", mode="resume") == REFUSED
    assert run(**again, dead_letters="first/../first/letters/") == REFUSED
    # Of its own it may be run as often as one likes.
    assert run(**again)[0] == 0
    assert run(**again)[0] == 0
    assert run(**again, mode="resume")[0] == 0


def test_a_collection_is_not_built_among_samples(run, place, build, capsys):
    assert run()[0] == 0
    assert unchanged(place, build, "--inputs", "scenes/*.tif", "--output", "samples") == REFUSED
    assert "--output samples holds samples" in capsys.readouterr().err


def test_a_collection_is_not_built_over_its_table(place, build, capsys):
    (place / "t").mkdir()
    table = {"id": ["a"], "href": [str(place / "scenes" / f"{SCENE.name}.tif")]}
    pq.write_table(pa.table(table), place / "t" / "part-0000.parquet")
    flags = ("--href_column", "href", "--bands", "B1=0", "--output")
    for source in ("t/part-0000.parquet", "t", "t/*.parquet"):
        assert unchanged(place, build, "--table", source, *flags, "t/") == REFUSED
        assert f"--output t/ would write into what --table {source} reads" in (
            capsys.readouterr().err
        )


MISTYPED = pytest.mark.parametrize(("flag", "address", "told"), [
    ("output", "gcs://b/x", "gs://b/x was meant"),
    ("output", "https://h/x", "https:// cannot be written to"),
    ("output", "gs:/b/x", "gs://b/x was meant"),
    ("dead_letters", "gcs://b/x", "gs://b/x was meant"),
])  # fmt: skip


@MISTYPED
def test_samples_to_a_mistyped_address_are_refused_in_one_line(run, capsys, flag, address, told):
    assert run(**{flag: address}) == REFUSED
    _check_one_line(capsys, f"error: --{flag} {address}", told)


@MISTYPED
def test_a_collection_to_a_mistyped_address_is_refused_in_one_line(
    place, build, capsys, flag, address, told,
):
    flags = {"inputs": "scenes/*.tif", "output": "built", flag: address}
    words = (word for name, value in flags.items() for word in (f"--{name}", value))
    capsys.readouterr()
    assert unchanged(place, build, *words) == REFUSED
    _check_one_line(capsys, f"error: --{flag} {address}", told)


def _check_one_line(capsys, start, told):
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(start)
    assert told in line


def test_a_streams_samples_do_not_become_records_either(place, capsys):
    flags = {
        "collection": "collection", "bands": "B1", "points_crs": "EPSG:32631",
        "input_subscription": "projects/my-project/subscriptions/s", "output": "collection/samples",
        "runner": "DirectRunner",
    }  # fmt: skip
    words = [word for name, value in flags.items() for word in (f"--{name}", value)]
    assert unchanged(place, script("sample_points_streaming").run, words) == REFUSED
    assert "would write into what --collection collection reads" in capsys.readouterr().err


def test_what_cannot_be_looked_at_stops_nobody(run, place):
    (place / "samples" / "_run").mkdir(parents=True)
    (place / "samples" / "_run" / "manifest.json").write_bytes(b"\xff no manifest")
    (place / "samples" / "_run" / "summary.json").write_text('["no summary"]')
    (place / "samples" / "part-0.parquet").write_text("no Parquet")
    assert run()[0] == 0
