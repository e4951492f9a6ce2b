"""Runs jobs in fresh processes, and watches what they take."""

import contextlib
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
WATCH_SECONDS = 0.1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Machine:
    """Where jobs run: the interpreters, and the version of the library."""

    library: pathlib.Path = REPOSITORY
    rasteret_python: str | None = None


def run_job(spec, machine, server=None, timeout_seconds=None):
    """Runs a job; gives what it measured, and what the server and /proc saw of it.

    Raises:
        RuntimeError: It failed, with the end of what it said.
    """
    command, paths = [sys.executable], [HERE, machine.library]
    if spec["job"] == "rasteret":
        command, paths = [machine.rasteret_python, "-P"], [HERE]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
    before = server.stats() if server else {}
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(  # noqa: S603
            [*command, str(HERE / "jobs.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
            cwd=folder, env=environment,
        )  # fmt: skip
        children = {}
        watcher = threading.Thread(target=watch, args=(process, children), daemon=True)
        watcher.start()
        try:
            out, _ = process.communicate(json.dumps(spec), timeout=timeout_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            msg = f"{spec['job']} took more than {timeout_seconds} s"
            raise RuntimeError(msg) from None
        watcher.join()
        errors.seek(0)
        said = errors.read()[-3000:]
    if process.returncode:
        msg = f"{spec['job']} ended with {process.returncode}:\n{said}"
        raise RuntimeError(msg)
    measured = json.loads(out.rpartition("\n")[2])
    after = server.stats() if server else {}
    measured |= {name: after[name] - before[name] for name in after}
    return {**measured, "children_mb": list(children.values())}


def watch(process, children):
    """Notes the peak memory of each of a process's descendants, as they live."""
    while process.poll() is None:
        for pid in descendants(process.pid):
            with contextlib.suppress(OSError, IndexError):
                status = pathlib.Path(f"/proc/{pid}/status").read_text()
                children[pid] = int(status.partition("VmHWM:")[2].split()[0]) / 1024
        time.sleep(WATCH_SECONDS)


def descendants(pid):
    found = []
    with contextlib.suppress(OSError):
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += [child, *descendants(child)]
    return found
