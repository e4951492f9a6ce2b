"""Times the same sampling job through Beam, without Beam, and through rasterio.

All must give equal values, else the run fails. Ratios are what to look at: rounds are
interleaved, so that a machine that slows down slows all of them.

    python tests/benchmarks/sample_points.py --points 100000 --rounds 3
"""

import argparse
import concurrent.futures
import importlib.util
import pathlib
import resource
import statistics
import sys
import tempfile
import time

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tifffile

from rasteret_beam import (
    BuildCollection,
    CollectionQuery,
    FileSource,
    PointColumns,
    ReadPoints,
    SampleOptions,
    SamplePoints,
    WriteSamples,
)
from rasteret_beam.local import sample_points

SIDE_PIXELS, TILE_PIXELS = 5490, 512
CRS = "EPSG:32631"
ORIGIN, PIXEL_METRES = (500_000.0, 4_600_000.0), 10.0
BANDS = ("B1",)


def write_scenes(folder, dates):
    """Sentinel-2-like scenes: uint16, Deflate, predictor 2; smooth land and sensor noise."""
    random = np.random.default_rng(7)
    coarse = random.random((60, 60))
    land = np.kron(coarse, np.ones((SIDE_PIXELS // 60 + 1,) * 2))[:SIDE_PIXELS, :SIDE_PIXELS]
    keys = (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32631)
    tags = [
        (33550, "d", 3, (PIXEL_METRES, PIXEL_METRES, 0.0), True),
        (33922, "d", 6, (0.0, 0.0, 0.0, *ORIGIN, 0.0), True),
        (34735, "H", len(keys), keys, True),
    ]
    paths = []
    for date in range(dates):
        pixels = (800 + 2000 * land + random.normal(0, 60, land.shape)).astype(np.uint16)
        path = folder / f"scene-{date:02d}.tif"
        tifffile.imwrite(
            path, pixels, tile=(TILE_PIXELS, TILE_PIXELS), compression="zlib", predictor=True,
            extratags=tags, metadata=None,
        )  # fmt: skip
        paths.append(str(path))
    return paths


def write_points(path, n_points):
    random = np.random.default_rng(11)
    extent = SIDE_PIXELS * PIXEL_METRES
    table = {
        "x": ORIGIN[0] + random.uniform(0, extent, n_points),
        "y": ORIGIN[1] - random.uniform(0, extent, n_points),
    }
    pq.write_table(pa.table(table), path)


def through_beam(folder, _paths):
    with beam.Pipeline("FnApiRunner") as pipeline:
        read = pipeline | ReadPoints(
            pattern=str(folder / "points.parquet"), columns=PointColumns(crs=CRS),
        )
        sampled = read.points | SamplePoints(
            collection=str(folder / "collection"), options=SampleOptions(bands=BANDS),
        )
        _ = sampled.samples | WriteSamples(folder=str(folder / "samples"))
    return digest(pq.read_table(folder / "samples"))


def without_beam(folder, _paths):
    result = sample_points(
        CollectionQuery(str(folder / "collection"), BANDS),
        pq.read_table(folder / "points.parquet"),
        PointColumns(crs=CRS),
        SampleOptions(bands=BANDS),
    )
    return digest(result.samples)


def through_rasterio(folder, paths):
    """The peer as its experts write it: whole blocks, each once, files in a thread pool."""
    import rasterio  # noqa: PLC0415 -- a peer that need not be installed
    from rasterio.windows import Window  # noqa: PLC0415

    table = pq.read_table(folder / "points.parquet")
    x, y = table["x"].to_numpy(), table["y"].to_numpy()
    row = np.floor((y - ORIGIN[1]) / -PIXEL_METRES).astype(int)
    col = np.floor((x - ORIGIN[0]) / PIXEL_METRES).astype(int)
    tile = row // TILE_PIXELS * 10_000 + col // TILE_PIXELS
    order = np.argsort(tile, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(tile[order]) != 0])
    groups = np.split(order, starts[1:])

    def one(path):
        values = np.empty(len(x))
        with rasterio.open(path) as file:
            for group in groups:
                top = row[group[0]] // TILE_PIXELS * TILE_PIXELS
                left = col[group[0]] // TILE_PIXELS * TILE_PIXELS
                block = file.read(1, window=Window(left, top, TILE_PIXELS, TILE_PIXELS))
                values[group] = block[row[group] - top, col[group] - left]
        return values

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        found = list(pool.map(one, paths))
    return sum(float((v * (np.arange(len(v)) + 1)).sum()) for v in found), len(x) * len(paths)


def digest(samples):
    """A sum that depends on every value and on whose it is."""
    index = samples["point_index"].to_numpy() + 1
    return float((samples["value"].to_numpy() * index).sum()), samples.num_rows


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--dates", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    jobs = {"rasteret_beam, Beam": through_beam, "rasteret_beam, no Beam": without_beam}
    if importlib.util.find_spec("rasterio"):
        jobs["rasterio blocks"] = through_rasterio
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        paths = write_scenes(folder, arguments.dates)
        write_points(folder / "points.parquet", arguments.points)
        with beam.Pipeline("FnApiRunner") as pipeline:
            _ = pipeline | BuildCollection(
                source=FileSource(inputs=tuple(paths)), folder=str(folder / "collection"),
            )
        wall, cpu, digests = {}, {}, {}
        for _ in range(arguments.rounds):
            for title, job in jobs.items():
                started, before = time.perf_counter(), cpu_seconds()
                digests[title] = job(folder, paths)
                wall.setdefault(title, []).append(time.perf_counter() - started)
                cpu.setdefault(title, []).append(cpu_seconds() - before)
    first = next(iter(digests.values()))
    if not all(np.allclose(d, first, rtol=1e-12) for d in digests.values()):
        print(f"The jobs disagree: {digests}")
        return 1
    base = statistics.median(cpu["rasteret_beam, Beam"])
    print(f"{arguments.points:,} points x {arguments.dates} files, {arguments.rounds} rounds")
    print(f"{'':24}{'wall s':>9}{'CPU s':>9}{'CPU ratio':>11}")
    for title in jobs:
        used = statistics.median(cpu[title])
        print(f"{title:24}{statistics.median(wall[title]):9.2f}{used:9.2f}{used / base:11.2f}")
    return 0


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    sys.exit(main())
