"""Fuzzes for as long as wanted: ``python tests/fuzz/run.py tiles --seconds 600``.

Prints what fails, as small as hypothesis can make it, and the peak memory. The case that
runs is in a file, for the one that takes the process down.
"""

import argparse
import pathlib
import pickle
import re
import sys
import tempfile
import time

sys.path[:0] = [str(pathlib.Path(__file__).parents[1]), str(pathlib.Path(__file__).parents[2])]

from fuzz.targets import TARGETS  # noqa: E402 -- found by the path above
from hypothesis import HealthCheck, Phase, given, seed, settings  # noqa: E402

_ROUND = 1000
_SLOW_SECONDS = 5


def fuzz(name, *, seconds=None, examples=None, first_seed=0):
    """Runs rounds of examples, each with a seed of its own; gives how many examples ran."""
    strategy, check = TARGETS[name]
    last = pathlib.Path(tempfile.gettempdir()) / f"fuzz-{name}.pickle"
    started, done = time.monotonic(), 0

    def is_over():
        over_time = seconds is not None and time.monotonic() - started >= seconds
        return over_time or (examples is not None and done >= examples)

    def one(case):
        nonlocal done
        done += 1
        if is_over():
            return
        last.write_bytes(pickle.dumps(case))
        begun = time.monotonic()
        check(case)
        assert time.monotonic() - begun < _SLOW_SECONDS, "too slow"

    number = first_seed
    while not is_over():
        size = _ROUND if examples is None else min(_ROUND, examples - done)
        chosen = settings(
            max_examples=size, deadline=None, database=None,
            suppress_health_check=list(HealthCheck), phases=(Phase.generate, Phase.shrink),
        )
        seed(number)(chosen(given(strategy())(one)))()
        number += 1
    return done


def _peak_mb():
    status = pathlib.Path("/proc/self/status")
    if not status.exists():
        return 0
    return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="utf-8"))[1]) // 1024


def main():
    """Fuzzes by the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--examples", type=int)
    parser.add_argument("--seed", type=int, default=0, help="of the first round")
    asked = parser.parse_args()
    done = fuzz(
        asked.target, seconds=asked.seconds, examples=asked.examples, first_seed=asked.seed,
    )
    print(f"{done} examples, peak {_peak_mb()} MB")


if __name__ == "__main__":
    main()
