"""A bounded round of each fuzz target, the same in every run; ``run.py`` goes on for longer."""

import pathlib
import re
import subprocess
import sys

import pytest

RUN = pathlib.Path(__file__).parent / "run.py"
EXAMPLES = {"tiles": 1500, "headers": 1500}
PEAK_MB = 600


@pytest.mark.parametrize("target", EXAMPLES)
def test_only_our_own_errors_come_out_of_damaged_bytes(target):
    # In a process of its own: a decoder that crashes must not take the other tests with it.
    done = subprocess.run(  # noqa: S603 -- this interpreter and our own script
        [sys.executable, str(RUN), target, "--examples", str(EXAMPLES[target])],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    examples, peak_mb = map(int, re.search(r"(\d+) examples, peak (\d+) MB", done.stdout).groups())
    assert examples >= EXAMPLES[target]
    assert peak_mb < PEAK_MB
