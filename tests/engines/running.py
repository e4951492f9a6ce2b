"""Engines started for tests, with worker processes of their own, and ended after them."""

import contextlib
import dataclasses
import json
import os
import pathlib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable

_MANAGERS, _SLOTS = 2, 2
_START_SECONDS = 120
_BEAM_WORKERS = "apache_beam.runners.worker.worker_pool_main"
_JOB_SERVER = "org.apache.beam.runners.flink.FlinkJobServerDriver"
_JOB_MANAGER = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
_TASK_MANAGER = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"

# Flink's own list for Java 17, which its start scripts give.
_OPENED = (
    "lang", "net", "io", "nio", "lang.reflect", "text", "time", "util", "util.concurrent",
    "util.concurrent.atomic", "util.concurrent.locks",
)  # fmt: skip
_JAVA = (
    "java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
    "--add-exports=java.base/sun.net.util=ALL-UNNAMED",
    "--add-exports=java.rmi/sun.rmi.registry=ALL-UNNAMED",
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
    *(f"--add-opens=java.base/java.{name}=ALL-UNNAMED" for name in _OPENED),
)  # fmt: skip

# Sizes that Flink's start scripts would reckon; heartbeats that miss a dead process soon.
_FLINK = {
    "jobmanager.rpc.address": "localhost",
    "taskmanager.host": "localhost",
    "taskmanager.numberOfTaskSlots": _SLOTS,
    "taskmanager.cpu.cores": 1,
    "taskmanager.memory.framework.heap.size": "128m",
    "taskmanager.memory.task.heap.size": "384m",
    "taskmanager.memory.framework.off-heap.size": "64m",
    "taskmanager.memory.task.off-heap.size": "64m",
    "taskmanager.memory.network.min": "256m",
    "taskmanager.memory.network.max": "256m",
    "taskmanager.memory.managed.size": "128m",
    "taskmanager.memory.jvm-metaspace.size": "256m",
    "taskmanager.memory.jvm-overhead.min": "64m",
    "taskmanager.memory.jvm-overhead.max": "64m",
    "cluster.evenly-spread-out-slots": "true",
    "cluster.registration.error-delay": 500,
    "heartbeat.interval": 1000,
    "heartbeat.timeout": 6000,
    "classloader.resolve-order": "parent-first",
    "restart-strategy.type": "fixed-delay",
    "restart-strategy.fixed-delay.attempts": 3,
    "restart-strategy.fixed-delay.delay": "1s",
}


@dataclasses.dataclass(frozen=True)
class Engine:
    """A running engine.

    Attributes:
        flags: What a pipeline is started with to run there.
        rest: Address of Flink's own web service; "" elsewhere.
        lose_manager: Kills a task manager of Flink's, and starts another; None elsewhere.
    """

    flags: tuple[str, ...]
    rest: str = ""
    lose_manager: Callable[[], None] | None = None

    def ask(self, path, method="GET"):
        """Gives what Flink's web service answers."""
        request = urllib.request.Request(f"{self.rest}{path}", method=method)  # noqa: S310
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return json.load(answer)


@contextlib.contextmanager
def prism(program, logs):
    """Runs Prism."""
    port = _free_port()
    command = [program, "-job_port", port, "-serve_http=false", "-log_kind=text"]
    with _workers(logs) as workers, _running(command, logs / "prism.log"):
        _wait_for(port, logs / "prism.log")
        yield Engine(_to(port, workers))


@contextlib.contextmanager
def flink(jars, logs):
    """Runs a Flink cluster of two task managers, and Beam's job server for it."""
    rpc, rest, jobs = _free_port(), _free_port(), _free_port()
    told = {**_FLINK, "jobmanager.rpc.port": rpc, "rest.port": rest, "io.tmp.dirs": logs,
            "state.checkpoints.dir": f"file://{logs}/checkpoints"}  # fmt: skip
    lines = "".join(f"{name}: {value}\n" for name, value in told.items())
    (logs / "flink-conf.yaml").write_text(lines, encoding="utf-8")

    def java(memory, *arguments):
        name = arguments[0].rpartition(".")[2]
        log = logs / f"{name}-{sum(1 for _ in logs.glob('*.log'))}.log"
        return stack.enter_context(
            _running([*_JAVA, f"-Xmx{memory}m", "-cp", f"{jars}/*", *arguments], log),
        )

    with contextlib.ExitStack() as stack:
        workers = stack.enter_context(_workers(logs))
        java(512, _JOB_MANAGER, "--configDir", logs, "--executionMode", "cluster")
        managers = [java(512, _TASK_MANAGER, "--configDir", logs) for _ in range(_MANAGERS)]

        def lose_manager():
            managers[0].kill()
            managers[0].wait()
            managers.append(java(512, _TASK_MANAGER, "--configDir", logs))
            del managers[0]

        java(
            1024, _JOB_SERVER, f"--flink-master=localhost:{rest}", "--job-host=localhost",
            f"--job-port={jobs}", "--artifact-port=0", "--expansion-port=0",
            f"--artifacts-dir={logs}/artifacts",
        )  # fmt: skip
        # The cluster has the jars already, and need not get them with every job.
        staged = next(pathlib.Path(jars).glob("slf4j-api-*.jar"))
        engine = Engine(
            (
                *_to(jobs, workers), f"--files_to_stage={staged}", f"--parallelism={_SLOTS}",
                # Else each stage starts workers of its own, and ends them while they are asked.
                "--environment_cache_millis=60000",
            ),
            f"http://localhost:{rest}", lose_manager,
        )  # fmt: skip
        _wait_for(jobs, logs)
        _until(lambda: len(engine.ask("/taskmanagers")["taskmanagers"]) == _MANAGERS, logs)
        yield engine


@contextlib.contextmanager
def _workers(logs):
    """A pool that starts a Python process for whoever asks; gives its port."""
    port = _free_port()
    command = [sys.executable, "-m", _BEAM_WORKERS, "--service_port", port]
    # It starts what is called python.
    path = f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with _running(command, logs / "workers.log", PATH=path):
        _wait_for(port, logs / "workers.log")
        yield port


@contextlib.contextmanager
def _running(command, log, **environment):
    with log.open("wb") as file:
        process = subprocess.Popen(  # noqa: S603
            [str(part) for part in command], stdout=file, stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
        )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _to(port, workers):
    return (
        "--runner=PortableRunner", f"--job_endpoint=localhost:{port}",
        "--environment_type=EXTERNAL", f"--environment_config=localhost:{workers}",
    )  # fmt: skip


def _free_port():
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


def _wait_for(port, log):
    _until(lambda: socket.create_connection(("localhost", port), 1).close() is None, log)


def _until(is_ready, log):
    ends = time.monotonic() + _START_SECONDS
    while time.monotonic() < ends:
        with contextlib.suppress(OSError, urllib.error.URLError):
            if is_ready():
                return
        time.sleep(0.2)
    msg = f"the engine did not start within {_START_SECONDS} s; see {log}"
    raise TimeoutError(msg)
