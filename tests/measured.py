"""Runs commands one after another in one process of their own, each with its peak memory.

As a program: ``measured.py JOBS.json``, a list of [command, flag, ...]; prints a JSON line each.
"""

import contextlib
import importlib.util
import io
import json
import pathlib
import re
import subprocess
import sys
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parents[1]


class Measured(NamedTuple):
    """How a command ended: exit code, what it told a person, peak memory in MB."""

    code: int
    told: str
    peak_mb: int


def run_measured(folder, jobs):
    """Runs jobs: lists of a command's name and its flags."""
    path = pathlib.Path(folder) / "jobs.json"
    path.write_text(json.dumps([[str(word) for word in job] for job in jobs]), encoding="utf-8")
    done = subprocess.run(  # noqa: S603 -- this interpreter and our own script
        [sys.executable, __file__, str(path)],
        capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip
    found = [Measured(*json.loads(line)) for line in done.stdout.splitlines()]
    assert len(found) == len(jobs), done.stderr[-4000:]
    return found


def _command(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "pipelines" / f"{name}.py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.run


def _peak_mb():
    status = pathlib.Path("/proc/self/status").read_text(encoding="utf-8")
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) // 1024


def main():
    """Runs what the file names."""
    sys.path.insert(0, str(ROOT))
    commands = {}
    for name, *flags in json.loads(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8")):
        if name not in commands:
            commands[name] = _command(name)
        # The kernel forgets the peak of the job before.
        pathlib.Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        told = io.StringIO()
        with contextlib.redirect_stderr(told):
            try:
                code = commands[name](flags)
            except BaseException as error:  # noqa: BLE001 -- whatever it is must not go unseen
                code = repr(error)
        print(json.dumps([code, told.getvalue(), _peak_mb()]), flush=True)


if __name__ == "__main__":
    main()
