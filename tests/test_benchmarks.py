"""The benchmark that nothing else runs still runs: it looks into SamplePoints."""

import pathlib
import subprocess
import sys

PLANNING = pathlib.Path(__file__).parent / "benchmarks/planning.py"


def test_planning_is_timed(tmp_path):
    done = subprocess.run(  # noqa: S603 -- this interpreter and our own script
        [sys.executable, PLANNING, "--folder", tmp_path, "--records", "50", "--points", "300"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    rows = [line.split() for line in done.stdout.splitlines()]
    found = [(row[1], row[2], int(row[-1])) for row in rows if row[:1] == ["50"]]
    assert [row[:2] for row in found] == [("world", "broadcast"), ("region", "broadcast")]
    assert sum(row[2] for row in found) > 0
