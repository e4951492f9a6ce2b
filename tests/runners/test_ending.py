"""How a run's end is judged and written down."""

import collections
import datetime as dt
import json

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

import rasteret_beam
from rasteret_beam.errors import BudgetError, OptionError
from rasteret_beam.reporting import SAMPLE_IDENTITIES, SAMPLE_SHARES, Identity
from rasteret_beam.runners.causes import Cause, causes_told
from rasteret_beam.runners.ending import Ending, Report
from rasteret_beam.runners.run_summary import options_given
from rasteret_beam.runners.told import Told

STARTED = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.timezone.utc)
SOUND = {
    "points_read": 10, "points_with_rows": 7, "points_unmatched": 3, "points_invalid": 0,
    "tiles_planned": 4, "tiles_fetched": 3, "tiles_sparse": 1,
}  # fmt: skip


class _Ours:
    def __init__(self, output):
        self.output, self.dead_letters = output, None


@pytest.fixture
def ending(tmp_path):
    report = Report(
        lambda _counts, _seconds: "the end", SAMPLE_SHARES, 0.5, name="sample_points",
        identities=SAMPLE_IDENTITIES,
    )  # fmt: skip
    flags = ["--runner=FnApiRunner", "--job_name=one"]
    return Ending(PipelineOptions(flags), _Ours(str(tmp_path / "out")), report, STARTED)


def _written(tmp_path):
    names = [path.name for path in (tmp_path / "out" / "_run").iterdir()]
    assert names == ["summary.json"]
    return json.loads((tmp_path / "out" / "_run" / "summary.json").read_text())


def test_a_sound_run_ends_with_0_and_all_its_facts(tmp_path, ending):
    assert ending.after_end(Told(collections.Counter(SOUND)), "DONE", 90.25) == 0
    told = _written(tmp_path)
    assert (told["pipeline"], told["state"], told["exit_code"]) == ("sample_points", "DONE", 0)
    assert (told["started"], told["ended"]) == (
        "2026-01-02T03:04:05.000Z", "2026-01-02T03:05:35.250Z",
    )  # fmt: skip
    assert (told["seconds"], told["version"]) == (90.25, rasteret_beam.__version__)
    assert told["counters"] == SOUND
    assert told["identities"]["points"] == {
        "points_read": 10, "points_invalid": 0, "points_unmatched": 3, "points_with_rows": 7,
        "holds": True,
    }  # fmt: skip
    assert told["options"] == {"runner": "FnApiRunner", "job_name": "one"}
    assert (told["complaints"], told["error"], told["manifest"]) == ([], None, None)
    assert (told["warnings"], told["causes"]) == ([], [])


@pytest.mark.parametrize(("name", "what"), [
    ("points_read", "points"), ("points_invalid", "points"), ("tiles_sparse", "tiles"),
])  # fmt: skip
def test_numbers_that_do_not_add_up_fail_the_run(tmp_path, ending, capsys, name, what):
    counts = collections.Counter({**SOUND, name: SOUND[name] + 1})
    assert ending.after_end(Told(counts), "DONE", 1.0) == 1
    assert f"FAILED    {what} do not add up: " in capsys.readouterr().err
    told = _written(tmp_path)
    assert {k: v["holds"] for k, v in told["identities"].items()} == {
        "points": what != "points", "tiles": what != "tiles",
    }  # fmt: skip
    assert (told["exit_code"], len(told["complaints"])) == (1, 1)


def test_failures_above_the_threshold_are_complaints(tmp_path, ending):
    counts = collections.Counter({**SOUND, "tiles_fetched": 0, "tiles_failed": 3})
    assert ending.after_end(Told(counts), "DONE", 1.0) == 1
    assert "3 of 4 tiles failed (75.00 %)" in _written(tmp_path)["complaints"][0]


def test_a_complaint_is_followed_by_its_causes(tmp_path, ending, capsys):
    counts = collections.Counter({
        **SOUND, "tiles_fetched": 0, "tiles_failed": 3, "dead_letters_DECODE_ERROR": 1,
        "dead_letters_FETCH_ERROR": 2, "dead_letters_STALE_INDEX": 0,
    })  # fmt: skip
    examples = ["1f FETCH_ERROR b.tif: gone", "0a FETCH_ERROR a.tif: not found", "9 DECODE_ERROR x"]
    assert ending.after_end(Told(counts, frozenset(examples)), "DONE", 1.0) == 1
    told = capsys.readouterr().err.splitlines()
    at = next(at for at, line in enumerate(told) if line.startswith("FAILED    3 of 4 tiles"))
    assert told[at + 1 :] == [
        "          2 FETCH_ERROR, like: a.tif: not found",
        "          1 DECODE_ERROR, like: x",
        "          --dead_letters DIR would have them all",
    ]
    assert _written(tmp_path)["causes"] == [
        {"code": "FETCH_ERROR", "n_letters": 2, "example": "a.tif: not found"},
        {"code": "DECODE_ERROR", "n_letters": 1, "example": "x"},
    ]


def test_causes_beyond_the_first_few_are_counted():
    causes = [Cause(code, 9, "") for code in "ABCDE"]
    assert causes_told(causes) == [
        "9 A", "9 B", "9 C", "and 9 D, 9 E",
    ]  # fmt: skip


def test_a_runner_that_says_failed_is_believed(tmp_path, ending):
    assert ending.after_end(Told(collections.Counter(SOUND)), "FAILED", 1.0) == 1
    assert _written(tmp_path)["state"] == "FAILED"


def test_a_refusal_is_written_down_with_its_reason(tmp_path, ending, capsys):
    error = BudgetError("Over the budget [while running 'A/B']")
    assert ending.after_error(error, 1.0) == 2
    assert capsys.readouterr().err == "error: Over the budget\n"
    told = _written(tmp_path)
    assert (told["state"], told["exit_code"]) == ("REFUSED", 2)
    assert told["error"] == {"name": "BudgetError", "text": "Over the budget"}
    assert (told["counters"], told["identities"]) == ({}, {})


def test_a_fault_is_written_down_without_secrets_and_left_to_the_caller(tmp_path, ending):
    assert ending.after_error(ZeroDivisionError("of https://u:pw@h/a?sig=secret"), 1.0) is None
    told = _written(tmp_path)
    assert (told["state"], told["exit_code"]) == ("FAILED", 1)
    assert told["error"]["name"] == "ZeroDivisionError"
    assert "pw" not in told["error"]["text"]
    assert "secret" not in told["error"]["text"]


def test_a_run_that_was_interrupted_is_cancelled(tmp_path, ending):
    assert ending.after_error(KeyboardInterrupt(), 1.0) is None
    assert (_written(tmp_path)["state"], _written(tmp_path)["exit_code"]) == ("CANCELLED", 130)


def test_the_manifest_is_named_where_there_is_one(tmp_path, ending):
    (tmp_path / "out" / "_run").mkdir(parents=True)
    (tmp_path / "out" / "_run" / "manifest.json").write_text("{}")
    ending.after_end(Told(collections.Counter(SOUND)), "DONE", 1.0)
    told = json.loads((tmp_path / "out" / "_run" / "summary.json").read_text())
    assert told["manifest"] == "manifest.json"


def test_an_output_that_cannot_be_written_costs_no_exit_code(tmp_path, ending, capsys):
    (tmp_path / "out").write_text("a file")
    assert ending.after_end(Told(collections.Counter(SOUND)), "DONE", 1.0) == 0
    assert "warning: no summary.json: " in capsys.readouterr().err


def test_options_are_told_without_secrets():
    given = options_given(PipelineOptions([
        "--s3_secret_access_key=hidden", "--s3_access_key_id=hidden", "--region=europe-west1",
        "--temp_location=https://me:hidden@host/t?sig=hidden", "--labels=a=1", "--labels=b=2",
    ]))  # fmt: skip
    assert "hidden" not in json.dumps(given)
    assert given["s3_secret_access_key"] == "REDACTED"  # noqa: S105 -- none is left
    assert given["temp_location"] == "https://host/t?REDACTED"
    assert (given["region"], given["labels"]) == ("europe-west1", ["a=1", "b=2"])


def test_an_identity_tells_its_numbers():
    identity = Identity("points", "read", ("good", "bad"))
    assert identity.told({"read": 5, "good": 3, "bad": 2}) == "5 read = 3 good + 2 bad"
    assert identity.told({"read": 5, "good": 3}) == "5 read is not 3 good + 0 bad"


@pytest.mark.parametrize("threshold", [-0.001, 1.001, float("nan"), float("inf")])
def test_a_threshold_that_is_no_share_is_refused(threshold):
    with pytest.raises(OptionError, match="expected 0 to 1"):
        Report(lambda _counts, _seconds: "", (), threshold)
