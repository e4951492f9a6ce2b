"""Times one sampling job through our pipeline, our path without Beam, and our peers.

Scenes are generated once and served by nginx with range requests (by a small server of
our own where there is no nginx). Each job runs in a process of its own, its imports
measured apart; runs of all jobs are interleaved, so that a machine that slows down slows
all of them: ratios are what to look at. All jobs of a task must give equal values, else
the bench fails. ``floor`` is what the work itself costs: see floor.py.

    python tests/benchmarks/sample_points.py                          # some ten minutes
    python tests/benchmarks/sample_points.py --tasks s2-1e6-uniform --runs 3 --other_runs 2
    python tests/benchmarks/sample_points.py --tasks s2-1e6-clusters-3x3 --jobs beam rasteret
    python tests/benchmarks/sample_points.py --tasks s2-1e5-uniform --latency_ms 30
    python tests/benchmarks/sample_points.py --tasks s2x5-1e5-uniform \
        --jobs 1-process 2-processes 1-process-1-core 2-processes-2-cores

One process of ours decodes in threads on all cores: so what a second worker process brings
is told by one bound to one core against two bound to two, each with the server on the same
cores, or one process would have its bytes served for nothing; the unbound ones are beside them.

A task is named scene-points-shape: scenes s2 (uint16, 24 files in two UTM zones), aef (int8,
64 planes of one file) and dem (float32, 4 files); s2x5 has each file under five dates.
Shapes are uniform and clusters (25); -3x3 adds the pixels around each point's.
"""

import argparse
import dataclasses
import importlib.util
import pathlib
import re
import statistics
import sys
import tempfile

import bars
import datasets
import digests
import floor
import running
import serving

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))
import rasteret_env

DEFAULT_TASKS = (
    "s2-1e3-uniform", "s2-1e5-uniform", "s2-1e5-clusters", "aef-1e5-uniform", "dem-1e3-uniform",
)  # fmt: skip
DEFAULT_JOBS = ("floor", "beam", "local", "beam-parquet", "rasterio", "async-tiff", "rasteret")
PEERS = {"rasterio": "rasterio", "async-tiff": "async_tiff"}
REPEATED = ("floor", "beam")
EXTRA = {
    "1-process": {"processes": 1},
    "2-processes": {"processes": 2},
    "1-process-1-core": {"processes": 1, "cores": 1},
    "2-processes-2-cores": {"processes": 2, "cores": 2},
}
_TASK = re.compile(
    r"(?P<scene>\w+?)(x(?P<repeats>\d+))?-(?P<points>[0-9.e]+)"
    r"-(?P<shape>uniform|clusters)(-(?P<side>\d+)x(?P=side))?",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """What all jobs are to do."""

    name: str
    scene: str
    points: int
    shape: str
    repeats: int
    radius: int

    @classmethod
    def parse(cls, name):
        found = _TASK.fullmatch(name)
        if found is None or found["scene"] not in datasets.SCENES:
            msg = f"No task {name!r}: expected a name like s2-1e5-uniform or s2x5-1e6-clusters-3x3"
            raise argparse.ArgumentTypeError(msg)
        return cls(
            name=name, scene=found["scene"], points=int(float(found["points"])),
            shape=found["shape"], repeats=int(found["repeats"] or 1),
            radius=int(found["side"] or 1) // 2,
        )  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bench:
    """What the tasks share."""

    jobs: list
    machine: running.Machine
    server: object
    folder: pathlib.Path
    decoders: dict
    failures: list = dataclasses.field(default_factory=list)


def run_task(task, arguments, bench):
    """Runs the jobs of one task, interleaved; gives all that was measured, by job."""
    server, machine = bench.server, bench.machine
    collection = bench.folder / f"{task.scene}-{task.repeats}"
    spec = {
        "scene": task.scene, "repeats": task.repeats, "server": server.url,
        "collection": str(collection), "bands": datasets.SCENES[task.scene].bands,
        "latency_ms": arguments.latency_ms, "radius": task.radius,
        "points": str(datasets.make_points(arguments.folder, task.scene, task.points, task.shape)),
        "decoder": bench.decoders[task.scene][0],
    }  # fmt: skip
    if not collection.exists():
        running.run_job({**spec, "job": "build"}, machine)
    # These give no windows.
    without = {"floor", *PEERS} if task.radius else set()
    found = {job: [] for job in bench.jobs if job not in without}
    for number in range(arguments.runs):
        for job, runs in found.items():
            if job not in REPEATED and number >= arguments.other_runs:
                continue
            print(f"  {task.name} run {number + 1}: {job}", file=sys.stderr, flush=True)
            server.bind(EXTRA.get(job, {}).get("cores"))
            try:
                measured = running.run_job(
                    {**spec, **EXTRA.get(job, {}), "job": job}, machine, server,
                    arguments.timeout_seconds,
                )  # fmt: skip
            except RuntimeError as error:
                bench.failures.append(f"{task.name}: {job}")
                print(error, flush=True)
            else:
                runs.append(measured)
    return {job: runs for job, runs in found.items() if runs}


def check(found):
    """All jobs must have found the same."""
    made = [(job, run["digest"]) for job, runs in found.items() for run in runs]
    _, first = made[0]
    if not all(digests.agree(first, other) for _, other in made):
        msg = "The jobs disagree:\n" + "\n".join(f"{job:20} {digest}" for job, digest in made)
        raise RuntimeError(msg)
    return first[0]


HEADS = ("job", "wall s", "CPU s", "peak MB", "requests", "MB read", "samples/s",
         "CPU / floor", "wall / ours", "CPU / ours", "imports s")  # fmt: skip


def table_of(task, found):
    """Markdown: medians of the runs, and their ratios."""
    n_samples = check(found)
    ratios = {job: ratio_to(found, job) for job in found}
    runs = max(map(len, found.values()))
    lines = [
        f"**{task.name}**: {n_samples:,} samples, {runs} runs",
        "",
        "| " + " | ".join(HEADS) + " |",
        "| --- |" + " ---: |" * (len(HEADS) - 1),
    ]
    for job, measured in found.items():
        wall, cpu = median(measured, "wall"), median(measured, "cpu")
        cells = [
            f"{wall:.2f}", f"{cpu:.2f}", f"{statistics.median(map(peak_of, measured)):,.0f}",
            f"{median(measured, 'requests'):,.0f}", f"{median(measured, 'bytes') / 1e6:,.0f}",
            f"{n_samples / wall:,.0f}", ratios[job]("cpu", "floor"), ratios[job]("wall", "beam"),
            ratios[job]("cpu", "beam"), f"{median(measured, 'import_wall'):.1f}",
        ]  # fmt: skip
        lines.append(f"| {job} | " + " | ".join(cells) + " |")
    if "floor" in found:
        one = found["floor"][0]
        parts = ", ".join(f"{name} {seconds:.2f}" for name, seconds in one["parts"].items())
        rest = one["cpu"] - sum(one["parts"].values())
        text = (
            f"{one['tiles']:,} unique tiles of {one['tile_bytes'] / 1e6:,.0f} MB, "
            f"{one['least_requests']:,} merged requests. "
            f"CPU seconds of the floor: {parts}, fetch and the rest {rest:.2f}."
        )
        lines += ["", text]
    return "\n".join(lines) + "\n"


def ratio_to(found, job):
    """Ratios within a run, where both ran in it; their median."""

    def ratio(what, base):
        both = list(zip(found[job], found.get(base, []), strict=False))
        if not both or job == base:
            return "1" if job == base else "-"
        return f"{statistics.median(a[what] / b[what] for a, b in both):.2f}"

    return ratio


def median(runs, what):
    return statistics.median(run[what] for run in runs)


def peak_of(run):
    """Of all processes of a job together, each at its own peak."""
    return run["peak_mb"] + sum(run["children_mb"])


def available(jobs, machine):
    """The jobs that can run here; says why of the others."""
    kept = []
    for job in jobs:
        if job == "rasteret" and not machine.rasteret_python:
            print(f"rasteret is left out: {rasteret_env.find()[1]}")
        elif job in PEERS and not importlib.util.find_spec(PEERS[job]):
            print(f"{job} is left out: it is not installed (pip install -e '.[bench]')")
        else:
            kept.append(job)
    return kept


def measure_decoders(scenes):
    """The fastest whole-tile decoder for each scene, on tiles like its own, here and now."""
    found = {}
    for name in scenes:
        scene = datasets.SCENES[name]
        tiles = [datasets.encode(scene, datasets.texture(scene, (0, n))) for n in range(5)]
        size = scene.tile**2 * datasets.np.dtype(scene.dtype).itemsize
        found[name] = floor.fastest_decoder(scene.compression, tiles, size)
        print(f"fastest decoder of {name}: {found[name][0]}, {found[name][1]:.2f} ms a tile")
    return found


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--tasks", nargs="+", type=Task.parse, default=[Task.parse(name) for name in DEFAULT_TASKS])
    add("--jobs", nargs="+", choices=[*DEFAULT_JOBS, *EXTRA], default=list(DEFAULT_JOBS))
    add("--runs", type=int, default=3)
    add("--other_runs", type=int, default=1,
        help="How many of the runs have more in them than the floor and our pipeline")  # fmt: skip
    add("--latency_ms", type=float, default=0.0, help="Held before each answer")
    add("--timeout_seconds", type=float, default=1800, help="A job that takes longer fails")
    add("--folder", type=pathlib.Path, help="Where scenes are kept (5 GB)",
        default=pathlib.Path(tempfile.gettempdir()) / "rasteret-beam-bench")  # fmt: skip
    add("--output", type=pathlib.Path, help="The table's file; by default in the folder")
    add("--library", type=pathlib.Path, default=running.REPOSITORY,
        help="Another checkout of this repository, to measure its rasteret_beam")  # fmt: skip
    add("--rasteret_python", default=rasteret_env.find()[0])
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    machine = running.Machine(
        library=arguments.library.resolve(), rasteret_python=arguments.rasteret_python,
    )
    jobs = available(arguments.jobs, machine)
    scenes = sorted({task.scene for task in arguments.tasks})
    root = arguments.folder / "scenes"
    for name in scenes:
        datasets.make_scene(root, name)
    decoders, tables = measure_decoders(scenes), []
    with (
        tempfile.TemporaryDirectory() as name,
        serving.serving(root, arguments.latency_ms, name) as server,
    ):
        print(f"served by {server.title}, {arguments.latency_ms:g} ms latency", flush=True)
        bench = Bench(
            jobs=jobs, machine=machine, server=server, folder=pathlib.Path(name),
            decoders=decoders,
        )  # fmt: skip
        for task in arguments.tasks:
            found = run_task(task, arguments, bench)
            if found:
                tables.append(table_of(task, found))
                print("\n" + tables[-1], flush=True)
                print("\n".join(bars.lines(task.name, found)), flush=True)
    output = arguments.output or arguments.folder / "sample_points.md"
    output.write_text("\n".join(tables))
    print(f"written to {output}")
    for failure in bench.failures:
        print(f"FAILED {failure}")
    return 1 if bench.failures else 0


if __name__ == "__main__":
    sys.exit(main())
