"""``--plan_only`` and budgets as a user gives them; ``_run`` as machines find it."""

import json
import pathlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fakes import serving
from planned_scenes import BANDS, asked, serve
from scenes import Scene, grid_points, ramp

SCENE = Scene(name="a", pixels=ramp(100, 100, bands=2))
WORKERS = ("--direct_running_mode", "multi_processing", "--direct_num_workers", "2")


@pytest.fixture
def server(tmp_path):
    with serving({}) as server:
        serve(server, tmp_path, [SCENE], 3)
        columns = grid_points(SCENE, [(1, 2), (20, 30), (20, 31), (99, 99)])
        columns["x"] += [0.0, None]
        columns["y"] += [0.0, None]
        pq.write_table(pa.table(columns), tmp_path / "points.parquet")
        yield server


def _flags(tmp_path, *more):
    return (
        "--collection", tmp_path / "collection.parquet", "--points", tmp_path / "points.parquet",
        "--bands", ",".join(BANDS), "--points_crs", "EPSG:32631", "--allow_http",
        "--output", tmp_path / "out", "--error_threshold", 0.2, *more,
    )  # fmt: skip


def _read(tmp_path, name):
    return json.loads((tmp_path / "out" / "_run" / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "more", [(), ("--join", "partitioned"), ("--mode", "resume"), WORKERS],
)
def test_a_plan_reads_no_raster_and_tells_what_a_run_will_count(
    tmp_path, server, sample, capsys, more,
):
    assert sample(*_flags(tmp_path, "--plan_only", *more)) == 0
    assert asked(server) == (0, 0)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["_run"]
    told = capsys.readouterr().err
    assert "Points    6 read, 4 covered, 1 unmatched, 1 invalid" in told
    assert f"no price is known for {server.url}" in told
    plan = _read(tmp_path, "plan.json")
    assert sample(*_flags(tmp_path)) == 0
    counters = _read(tmp_path, "summary.json")["counters"]
    assert plan["tiles"]["planned"] == counters["tiles_planned"] == 6
    assert (plan["requests"], plan["bytes"]) == asked(server)
    assert (counters["requests"], counters["bytes_fetched"]) == asked(server)
    assert plan["hosts"][0]["host"] == server.url
    page = (tmp_path / "out" / "_run" / "plan.html").read_text(encoding="utf-8")
    assert server.url in page


@pytest.mark.usefixtures("server")
def test_a_plan_leaves_an_earlier_output_as_it_was(tmp_path, sample):
    assert sample(*_flags(tmp_path)) == 0
    before = {p: p.read_bytes() for p in (tmp_path / "out").rglob("*.parquet")}
    assert before
    assert sample(*_flags(tmp_path, "--plan_only")) == 0
    assert {p: p.read_bytes() for p in (tmp_path / "out").rglob("*.parquet")} == before


def test_a_plan_says_whether_the_budget_holds(tmp_path, server, sample, capsys):
    limits = ("--max_tiles", "5", "--max_bytes", "1.5GiB")
    assert sample(*_flags(tmp_path, "--plan_only", *limits)) == 0
    told = capsys.readouterr().err
    assert "max_tiles IS EXCEEDED: 6 planned, 5 allowed" in told
    assert "max_bytes holds" in told
    assert [limit["holds"] for limit in _read(tmp_path, "plan.json")["budget"]] == [False, True]
    assert asked(server) == (0, 0)


@pytest.mark.parametrize("more", [(), WORKERS])
def test_a_run_over_its_budget_is_refused_in_one_line_before_it_reads(
    tmp_path, server, sample, capfd, more,
):
    assert sample(*_flags(tmp_path, "--max_tiles", "5", *more)) == 2
    assert asked(server) == (0, 0)
    told = capfd.readouterr().err.strip().splitlines()
    assert told[-1].startswith("error: Over the budget, nothing was read: 6 tiles planned, 5")
    # A worker process prints its own traceback, before this; the launcher adds none.
    assert more or len(told) == 1
    summary = _read(tmp_path, "summary.json")
    assert (summary["state"], summary["exit_code"]) == ("REFUSED", 2)
    assert summary["error"]["name"] == "BudgetError"
    assert list((tmp_path / "out").rglob("*.parquet")) == []


def test_a_budget_that_the_plan_holds_changes_nothing(tmp_path, server, sample):
    assert sample(*_flags(tmp_path, "--max_tiles", "6", "--max_requests", "6")) == 0
    assert pq.read_table(tmp_path / "out").num_rows == 4 * len(BANDS) + 2
    assert server.requests


@pytest.mark.usefixtures("server")
def test_worker_processes_are_refused_in_one_line_too(tmp_path, sample, capfd):
    table = pq.read_table(tmp_path / "points.parquet").append_column("value", [[1.0] * 6])
    pq.write_table(table, tmp_path / "points.parquet")
    assert sample(*_flags(tmp_path, *WORKERS)) == 2
    last = capfd.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert "value" in last


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (("--max_tiles", "many"), "--max_tiles has 'many': 'many' is no whole number"),
        (("--max_bytes", "-1"), "--max_bytes has '-1': '-1' is no number of bytes"),
        (("--max_requests", "1.5"), "--max_requests has '1.5'"),
        (("--plan_only", "--prices", "gone.json"), "gone.json"),
    ],
)
@pytest.mark.usefixtures("server")
def test_a_limit_that_is_none_is_refused(tmp_path, sample, capsys, wrong, message):
    assert sample(*_flags(tmp_path, *wrong)) == 2
    assert message in capsys.readouterr().err.strip().splitlines()[-1]
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("server")
def test_a_plan_uses_the_prices_it_is_given(tmp_path, sample, capsys):
    entry = {
        "name": "Test", "hosts": ["http://127.0.0.1:*"], "per_10000_requests": 20000,
        "per_gib_same_region": 0, "per_gib_other_region": 0, "per_gib_internet": 0,
        "as_of": "2026-01-01",
    }  # fmt: skip
    (tmp_path / "prices.json").write_text(json.dumps({"currency": "CHF", "prices": [entry]}))
    assert sample(*_flags(tmp_path, "--plan_only", "--prices", tmp_path / "prices.json")) == 0
    n_requests = _read(tmp_path, "plan.json")["requests"]
    assert f"requests CHF {n_requests * 2:.2f}" in capsys.readouterr().err


@pytest.mark.parametrize("more", [(), WORKERS])
@pytest.mark.usefixtures("server")
def test_an_output_that_cannot_be_written_is_a_failure_told_in_one_line(
    tmp_path, sample, capfd, more,
):
    (tmp_path / "out").write_text("a file where the folder should be")
    assert sample(*_flags(tmp_path, "--plan_only", *more)) == 1
    last = capfd.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert "the output cannot be written" in last
    assert (tmp_path / "out").read_text() == "a file where the folder should be"


@pytest.mark.usefixtures("server")
def test_readers_of_the_output_pass_over_the_folder_of_the_run(tmp_path, sample):
    assert sample(*_flags(tmp_path)) == 0
    rows = pq.read_table(tmp_path / "out").num_rows
    (tmp_path / "out" / "_run" / "odd.parquet").write_bytes(b"no Parquet")
    assert pq.read_table(tmp_path / "out").num_rows == rows


@pytest.mark.usefixtures("server")
def test_a_summary_ends_every_run(tmp_path, sample):
    assert sample(*_flags(tmp_path)) == 0
    told = _read(tmp_path, "summary.json")
    assert told["identities"]["points"] == {
        "points_read": 6, "points_invalid": 1, "points_unmatched": 1, "points_with_rows": 4,
        "holds": True,
    }  # fmt: skip
    # What happened never is told all the same.
    assert {"tiles_failed", "records_failed"} <= set(told["counters"])
    assert told["options"]["bands"] == "B1,B2"
    assert (told["state"], told["exit_code"], told["pipeline"]) == ("DONE", 0, "sample_points")


def test_a_build_ends_with_a_summary_too(tmp_path, build):
    (tmp_path / "bad.tif").write_bytes(b"no TIFF")
    assert build("--inputs", tmp_path / "bad.tif", "--output", tmp_path / "out") == 1
    told = _read(tmp_path, "summary.json")
    assert (told["pipeline"], told["exit_code"]) == ("build_collection", 1)
    assert told["identities"]["files"] == {
        "files_seen": 1, "files_indexed": 0, "files_unchanged": 0, "files_failed": 1,
        "holds": True,
    }  # fmt: skip
    assert told["complaints"]


def test_a_flag_that_is_refused_writes_nothing(tmp_path, build):
    assert build("--output", tmp_path / "out") == 2
    assert not pathlib.Path(tmp_path / "out").exists()
