"""Shows what crowded, sparse and lopsided jobs take in time and memory, at two sizes each.

Each runs through our pipeline in a process of its own, at a tenth of its size and at its
size: memory must stay below 4 GB, and nothing may grow faster than the job does.

    python tests/benchmarks/skew.py                       # full size, some twenty minutes
    python tests/benchmarks/skew.py --scale 0.1 --tasks one-tile tiles planes

The local runner keeps all that is shuffled in memory. The row ``flat`` tells the library's
memory from the runner's: the same points are planned and shuffled once more by a pipeline
that then reads no tile and only counts ("runner MB"), and what that takes more at the full
size than at the tenth is taken off before the two sizes are compared.
"""

import argparse
import dataclasses
import datetime as dt
import functools
import pathlib
import sys
import tempfile

import datasets
import digests
import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pyproj
import running
import serving
from datasets import Place, Scene

LIMIT_MB, GROWTH, FLAT = 4096, 11, 1.2
TILE, VALUES = 64, 251
CRS = 32631
PLACE = Place(name="T", epsg=CRS, left=200_000.0, first_y=5_000_000.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prepared:
    """A job that is ready to run, and what it must give where that is known."""

    spec: dict
    size: str
    expected: tuple | None = None
    control: dict | None = None


# Files whose tile t holds t % VALUES + 1 everywhere: what a row must say is plain.


def plain_file(folder, across, *, tile=TILE, place=PLACE):
    """Writes a square file of tiles; gives its scene and path."""
    scene = Scene(
        side=across * tile, tile=tile, dtype="uint8", compression=datasets.DEFLATE,
        predictor=datasets.NO_PREDICTOR, scale_x=10.0, scale_y=-10.0, places=(place,), dates=1,
        bands=("B1",),
    )  # fmt: skip
    path = folder / f"plain-{across}-{tile}.tif"
    if not path.exists():
        flat = (np.full((tile, tile), value + 1, np.uint8) for value in range(VALUES))
        datasets.write_file(path, scene, place, [datasets.encode(scene, one) for one in flat], 0)
    return scene, path


def index(folder, path, machine, change=None):
    """Indexes one file through our pipeline; ``change`` gives other rows of its only row."""
    table = pa.table({
        "id": ["r"], "datetime": pa.array([dt.datetime(2024, 1, 1)], pa.timestamp("us")),  # noqa: DTZ001
        "assets": [{"B1": {"href": str(path), "band_index": 0}}],
    })  # fmt: skip
    items, target = folder / "items.parquet", folder / "collection"
    pq.write_table(table, items)
    running.run_job({"job": "index", "table": str(items), "collection": str(target)}, machine)
    if change is not None:
        dataset = pads.dataset(target, partitioning="hive")
        rows = dataset.to_table().drop_columns(["year", "month"])
        changed = change(rows)
        target = folder / "changed.parquet"
        pq.write_table(changed, target, row_group_size=1000)
    return target


def write_points(folder, x, y):
    path = folder / "points.parquet"
    pq.write_table(pa.table({"x": x, "y": y}), path, row_group_size=250_000)
    return path


def in_tiles(tiles, across, random, corners=((PLACE.left, PLACE.first_y),)):
    """A random place inside each of these tiles, of files with these corners."""
    left, top = np.asarray(corners).T
    # Not on a pixel's edge, where a rounding would decide.
    inside = random.uniform(0.01, TILE - 0.01, (2, len(tiles)))
    x = left + (tiles % across * TILE + inside[0]) * 10.0
    return x, top - (tiles // across * TILE + inside[1]) * 10.0


def spec_of(collection, points, **more):
    return {
        "job": "beam", "collection": str(collection), "points": str(points), "bands": ["B1"],
        "radius": 0, "crs": f"EPSG:{CRS}", **more,
    }  # fmt: skip


# The tasks.


def one_tile(n, folder, machine, _):
    """All points in one tile"""
    scene, path = plain_file(folder, 1, tile=1024)
    random = np.random.default_rng(1)
    x = PLACE.left + random.uniform(0, scene.side * 10, n)
    y = PLACE.first_y - random.uniform(0, scene.side * 10, n)
    spec = spec_of(index(folder, path, machine), write_points(folder, x, y))
    return Prepared(spec=spec, size=f"{n:,} points", expected=(n, n, n * (n + 1) / 2, 0.0))


def tiles(n, folder, machine, _):
    """Tiles with one point each"""
    across = 32
    n_records = max(n // across**2, 1)
    scene, path = plain_file(folder, across)
    step = scene.side * scene.scale_x
    number = np.arange(n_records)
    # Side by side, 32 in a row: all of them fit into one UTM zone.
    corners = np.c_[PLACE.left + step * (number % 32), PLACE.first_y - step * (number // 32)]

    def change(rows):
        return copies(rows, n_records, [rows_moved(rows, *corner) for corner in corners.tolist()])

    collection = index(folder, path, machine, change)
    numbers = np.tile(np.arange(across**2), n_records)
    corners = np.repeat(corners, across**2, axis=0)
    x, y = in_tiles(numbers, across, np.random.default_rng(2), corners)
    expected = digests.of_arrays(np.arange(len(x)), (numbers % VALUES + 1).astype(float))
    spec = spec_of(collection, write_points(folder, x, y))
    return Prepared(spec=spec, size=f"{len(x):,} tiles, {n_records} records", expected=expected)


def one_record(n, folder, machine, _):
    """All tiles in one record, a point in each"""
    across = int(n**0.5)
    _, path = plain_file(folder, across)
    numbers = np.random.default_rng(3).permutation(across**2)
    x, y = in_tiles(numbers, across, np.random.default_rng(4))
    expected = digests.of_arrays(np.arange(len(x)), (numbers % VALUES + 1).astype(float))
    spec = spec_of(index(folder, path, machine), write_points(folder, x, y))
    return Prepared(spec=spec, size=f"{across**2:,} tiles", expected=expected)


def one_point(n, folder, machine, _):
    """All records over one point"""
    _, path = plain_file(folder, 2)
    collection = index(folder, path, machine, lambda rows: copies(rows, n, None))
    x, y = in_tiles(np.array([3]), 2, np.random.default_rng(5))
    spec = spec_of(collection, write_points(folder, x, y))
    return Prepared(spec=spec, size=f"{n:,} records", expected=(n, 4.0 * n, 4.0 * n, 0.0))


def planes(n, folder, machine, bench):
    """64 planar bands"""
    return on_scene("aef", n, folder, machine, bench)


def windows(n, folder, machine, bench):
    """Windows of radius 8, over 24 files"""
    return on_scene("s2", n, folder, machine, bench, radius=8)


def flat(n, folder, machine, bench):
    """Memory apart from the runner's, over 24 files"""
    prepared = on_scene("s2", n, folder, machine, bench)
    return dataclasses.replace(prepared, control={**prepared.spec, "job": "shuffle"})


def on_scene(name, n, folder, machine, bench, **more):
    datasets.make_scene(bench.root, name)
    spec = spec_of(
        folder / "collection", datasets.make_points(bench.folder, name, n, "uniform"),
        crs="EPSG:4326", **more,
    )  # fmt: skip
    spec |= {"bands": datasets.SCENES[name].bands, "scene": name, "server": bench.server.url}
    running.run_job({**spec, "job": "build", "repeats": 1}, machine)
    return Prepared(spec=spec, size=f"{n:,} points")


def copies(rows, count, moved):
    """Rows of as many records; each is the first one, or in its own place."""
    names = [f"r{number:06}" for number in range(count)]
    table = pa.concat_tables(moved or [rows] * count).combine_chunks()
    return table.set_column(rows.schema.get_field_index("id"), rows.schema.field("id"), [names])


def rows_moved(rows, left, top):
    """The row with its pixels elsewhere: its transform, and its box in degrees."""
    row = rows.to_pylist()[0]
    band = row["B1_metadata"]
    band["transform"][1::2] = left, top
    side = band["image_width"] * 10.0
    bounds = left, top - side, left + side, top
    row["bbox"] = dict(zip(row["bbox"], to_degrees().transform_bounds(*bounds), strict=True))
    return pa.Table.from_pylist([row], schema=rows.schema)


@functools.cache
def to_degrees():
    return pyproj.Transformer.from_crs(CRS, 4326, always_xy=True)


TASKS = {
    "one-tile": (one_tile, 10_000_000),
    "tiles": (tiles, 1_000_000),
    "one-record": (one_record, 1_000_000),
    "one-point": (one_point, 100_000),
    "planes": (planes, 1_000_000),
    "windows": (windows, 100_000),
    "flat": (flat, 10_000_000),
}


# The comparison.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bench:
    """What tasks on served scenes need."""

    folder: pathlib.Path
    root: pathlib.Path
    server: object


def run_task(name, scale, machine, bench):
    """Runs a task at a tenth of its size and at its size; gives the lines of both."""
    make, full = TASKS[name]
    found = []
    for n in (int(full * scale) // 10, int(full * scale)):
        with tempfile.TemporaryDirectory(dir=bench.folder) as folder:
            prepared = make(n, pathlib.Path(folder), machine, bench)
            print(f"  {name}: {prepared.size}", file=sys.stderr, flush=True)
            measured = running.run_job(prepared.spec, machine)
            control = running.run_job(prepared.control, machine) if prepared.control else None
        if prepared.expected and not digests.agree(prepared.expected, measured["digest"]):
            msg = f"{name} gave {measured['digest']}, expected {prepared.expected}"
            raise RuntimeError(msg)
        measured["runner_mb"] = control and control["peak_mb"]
        found.append((prepared.size, measured))
    return found


HEADS = ("task", "size", "rows", "wall s", "CPU s", "peak MB", "runner MB", "x CPU", "x MB")


def lines_of(name, found):
    """Markdown: growth is against the tenth, whose own costs include all that is fixed."""
    lines, (_, small) = [], found[0]
    for size, run in found:
        growth = "", ""
        if run is not small:
            growth = f"{run['cpu'] / small['cpu']:.1f}", f"{memory_growth(small, run):.2f}"
        runner = run["runner_mb"]
        cells = [
            TASKS[name][0].__doc__ if run is small else "", size, f"{run['digest'][0]:,}",
            f"{run['wall']:.1f}", f"{run['cpu']:.1f}", f"{run['peak_mb']:,.0f}",
            f"{runner:,.0f}" if runner else "-", *growth,
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def memory_growth(small, run):
    """Peak against the tenth's, without what the runner holds more, where that is known."""
    runner = run["runner_mb"] - small["runner_mb"] if run["runner_mb"] else 0
    return (run["peak_mb"] - runner) / small["peak_mb"]


def faults_of(name, found):
    (_, small), (size, run) = found
    if run["peak_mb"] > LIMIT_MB:
        yield f"{name}, {size}: {run['peak_mb']:,.0f} MB, at most {LIMIT_MB}"
    # CPU rather than wall, since a busy machine may stretch one of two runs.
    if run["cpu"] > GROWTH * small["cpu"]:
        yield f"{name}, {size}: {run['cpu']:.1f} s of CPU, {small['cpu']:.1f} s for a tenth"
    if run["runner_mb"] and memory_growth(small, run) > FLAT:
        yield f"{name}, {size}: {memory_growth(small, run):.2f} times the memory, at most {FLAT}"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    add("--scale", type=float, default=1.0, help="Of all sizes")
    add("--folder", type=pathlib.Path, help="Where scenes are kept (5 GB)",
        default=pathlib.Path(tempfile.gettempdir()) / "rasteret-beam-bench")  # fmt: skip
    add("--library", type=pathlib.Path, default=running.REPOSITORY,
        help="Another checkout of this repository, to measure its rasteret_beam")  # fmt: skip
    arguments = parser.parse_args()
    machine = running.Machine(library=arguments.library.resolve())
    root = arguments.folder / "scenes"
    root.mkdir(parents=True, exist_ok=True)
    lines = ["| " + " | ".join(HEADS) + " |", "| --- | --- |" + " ---: |" * (len(HEADS) - 2)]
    print("\n".join(lines))
    faults = []
    with tempfile.TemporaryDirectory() as name, serving.serving(root, 0, name) as server:
        bench = Bench(folder=arguments.folder, root=root, server=server)
        for task in arguments.tasks:
            try:
                found = run_task(task, arguments.scale, machine, bench)
            except RuntimeError as error:
                print(f"{task}: {error}", flush=True)
                faults.append(f"{task} did not end as it should")
                continue
            more = lines_of(task, found)
            print("\n".join(more), flush=True)
            lines += more
            faults += faults_of(task, found)
    (arguments.folder / "skew.md").write_text("\n".join(lines) + "\n")
    print("\n".join(f"FAILED {fault}" for fault in faults))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
