"""Memory that is freed is used again."""

import platform
import subprocess
import sys

import pytest

_N_TIMES, _N_ARRAYS, _PAGES = 50, 10, 250

_COUNT = f"""
import resource
import numpy as np
from rasteret_beam import memory
{{prepare}}
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range({_N_TIMES}):
    [np.ones({_PAGES} * resource.getpagesize(), np.uint8) for _ in range({_N_ARRAYS})]
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(prepare):
    """Counts page faults of a process of its own that makes some arrays again and again."""
    command = [sys.executable, "-c", _COUNT.format(prepare=prepare)]
    done = subprocess.run(command, check=True, capture_output=True)  # noqa: S603 -- our own text
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="what is kept is up to glibc")
def test_the_pages_of_a_freed_arrays_are_those_of_the_next_ones():
    once = _N_ARRAYS * _PAGES
    assert _faults("memory.keep_freed()") < 2 * once
    assert _faults("") > 10 * once
