"""Times planning alone: collections of 1e3 to 1e6 records against 1e6 points.

Collections are made up: Sentinel-2-like tiles all over the Earth (121 tiles x 2 bands, tables
of random sizes), laid out as ``BuildCollection`` would. Each run is a process of its own:
ReadPoints, the join that ``SamplePoints`` chooses, and a count fused to it.

    python tests/benchmarks/planning.py --folder DIR
"""

import argparse
import datetime as dt
import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyproj
import shapely
from apache_beam.metrics import Metrics
from apache_beam.metrics.metric import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions

from rasteret_beam import PointColumns, ReadPoints, SampleOptions, SamplePoints, schema
from rasteret_beam.indexing import parts
from rasteret_beam.indexing.layout import Layout, cell_of, partition_of
from rasteret_beam.transforms.sample_points import JOINS

BANDS = ("B04", "B08")
SIDE_PIXELS, PIXEL_METRES, TILE_PIXELS, TILES = 10_980, 10, 1024, 121
SIDE_METRES = SIDE_PIXELS * PIXEL_METRES
FIRST_DAY, DAYS = np.datetime64("2015-07-01T10:00:00", "us"), 3600
REGION = (5.0, 40.0, 15.0, 52.0)


class Places:
    """Where tiles lie: in every UTM zone, north and south, 21 down and 4 across."""

    def __init__(self):
        spots = [
            (hemisphere * 100 + zone, 300_000 + 100_000 * across, 100_000 + 400_000 * up)
            for zone in range(1, 61) for hemisphere in (326, 327)
            for up in range(21) for across in range(4)
        ]  # fmt: skip
        self.epsg, self.x, y = (np.array(values) for values in zip(*spots, strict=True))
        self.y = np.where(self.epsg // 100 == 327, 10_100_000 - y, y) + SIDE_METRES
        self.bbox = np.array([self._bbox(at) for at in range(len(spots))])
        self.cell = np.array([cell_of(tuple(bbox)) for bbox in self.bbox])

    def lonlat(self, at, across, down):
        """Longitude and latitude of places inside a tile, as shares of its sides."""
        back = pyproj.Transformer.from_crs(int(self.epsg[at]), 4326, always_xy=True)
        return back.transform(self.x[at] + across * SIDE_METRES, self.y[at] - down * SIDE_METRES)

    def _bbox(self, at):
        along = np.linspace(0, 1, 5)
        lon, lat = self.lonlat(at, *(side.reshape(-1) for side in np.meshgrid(along, along)))
        crosses = np.ptp(lon) > 180
        west, east = (-180.0, 180.0) if crosses else (lon.min(), lon.max())
        return west, lat.min(), east, lat.max()


def write_collection(folder, places, n_records):
    """Writes Parquet by year and month, rows by place, then date."""
    random = np.random.default_rng(1)
    n_places = min(len(places.epsg), n_records)
    of_place = np.linspace(0, len(places.epsg) - 1, n_places).astype(int)
    at = of_place[np.arange(n_records) % n_places]
    dates = -(-n_records // n_places)
    day = (np.arange(n_records) // n_places * DAYS + random.integers(0, DAYS, n_records)) // dates
    when = FIRST_DAY + day.astype("timedelta64[D]")
    found = parts.collection_schema(Layout(BANDS, pa.schema([]), None, {}, {}))
    options = parts.writer_options(found)
    month = when.astype("datetime64[M]")
    order = np.lexsort((when, places.cell[at], month))
    starts = np.flatnonzero(np.r_[True, np.diff(month[order]).astype(int) != 0])
    for rows in np.split(order, starts[1:]):
        home = folder / partition_of(when[rows[0]].astype(dt.datetime))
        home.mkdir(parents=True)
        table = make_rows(found, places, at[rows], when[rows], random)
        size = parts._ROW_GROUP_ROWS
        pq.write_table(table, home / "part-0.parquet", row_group_size=size, **options)


def make_rows(found, places, at, when, random):
    n_rows = len(at)
    name = np.char.add(np.char.add(at.astype(str), "_"), np.datetime_as_string(when, "D"))
    boxes = shapely.to_wkb(shapely.box(*places.bbox[at].T))
    columns = {
        "id": name,
        "datetime": when,
        "geometry": pa.array(boxes, pa.binary()),
        "bbox": pa.StructArray.from_arrays(
            [pa.array(side) for side in places.bbox[at].T], ["xmin", "ymin", "xmax", "ymax"],
        ),
        "assets": pa.StructArray.from_arrays(
            [
                pa.StructArray.from_arrays(
                    [
                        pa.array(np.char.add("gs://bucket/", np.char.add(name, f"_{band}.tif"))),
                        pa.array(np.zeros(n_rows, np.int64)),
                    ],
                    ["href", "band_index"],
                )
                for band in BANDS
            ],
            BANDS,
        ),
        "proj:epsg": places.epsg[at].astype(np.int32),
        "crs": np.char.add("EPSG:", places.epsg[at].astype(str)),
        "collection": np.full(n_rows, "planning"),
    }
    for band in BANDS:
        columns[f"{band}_metadata"] = metadata(places, at, random)
        columns[f"{band}_tiff"] = constants(
            schema.BAND_TIFF, n_rows, byte_order="little", bits_per_sample=16, nodata="0",
        )
    missing = pa.nulls(n_rows)
    return pa.table(
        [pa.array(columns.get(field.name, missing)).cast(field.type) for field in found],
        schema=found,
    )


def metadata(places, at, random):
    n_rows = len(at)
    counts = random.integers(300_000, 900_000, (n_rows, TILES))
    offsets = np.cumsum(counts, axis=1) + 2000 - counts
    scale = np.full(n_rows, float(PIXEL_METRES))
    transform = np.stack([scale, places.x[at], -scale, places.y[at]], axis=1)
    made = {"transform": lists(transform), "tile_offsets": lists(offsets),
            "tile_byte_counts": lists(counts)}  # fmt: skip
    told = {
        "image_width": SIDE_PIXELS, "image_height": SIDE_PIXELS, "tile_width": TILE_PIXELS,
        "tile_height": TILE_PIXELS, "dtype": "uint16", "predictor": 2, "compression": 8,
        "samples_per_pixel": 1, "planar_configuration": 1, "photometric": 1, "nodata": 0.0,
    }  # fmt: skip
    return constants(schema.BAND_METADATA, n_rows, made, **told)


def constants(kind, n_rows, made=None, **values):
    fields = [kind.field(at) for at in range(kind.num_fields)]
    arrays = [
        made[field.name] if made and field.name in made
        else pa.repeat(pa.scalar(values.get(field.name), field.type), n_rows)
        for field in fields
    ]  # fmt: skip
    return pa.StructArray.from_arrays(arrays, fields=fields)


def lists(rows):
    ends = np.arange(len(rows) + 1, dtype=np.int32) * rows.shape[1]
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(rows.reshape(-1)))


def write_points(path, places, n_points, *, region):
    """Points on tiles: of the whole Earth, or of a region."""
    random = np.random.default_rng(2)
    inside = np.arange(len(places.epsg))
    if region:
        west, south, east, north = REGION
        box = places.bbox
        inside = np.flatnonzero(
            (box[:, 0] > west) & (box[:, 2] < east) & (box[:, 1] > south) & (box[:, 3] < north),
        )
    whose = random.choice(inside, n_points)
    lon, lat = np.empty(n_points), np.empty(n_points)
    across, down = random.random((2, n_points))
    for at in np.unique(whose):
        mine = np.flatnonzero(whose == at)
        lon[mine], lat[mine] = places.lonlat(at, across[mine], down[mine])
    pq.write_table(pa.table({"lon": lon, "lat": lat}), path)


class Count(beam.DoFn):
    def __init__(self):
        self._elements = Metrics.counter("planning", "elements")

    def process(self, _):
        self._elements.inc()


def run(arguments):
    """One measurement, in this process; prints it as JSON."""
    flags = ["--runner=FnApiRunner"]
    if arguments.workers > 1:
        flags += ["--direct_running_mode=multi_processing",
                  f"--direct_num_workers={arguments.workers}"]  # fmt: skip
    started = time.perf_counter()
    pipeline = beam.Pipeline(options=PipelineOptions(flags))
    read = pipeline | ReadPoints(
        pattern=arguments.points_file, columns=PointColumns(crs="EPSG:4326"),
    )
    sample = SamplePoints(
        collection=arguments.collection, join=arguments.join,
        options=SampleOptions(bands=BANDS, match=arguments.match),
    )
    planned, _ = sample.plan(read.points)
    _ = planned | "Count" >> beam.ParDo(Count())
    joined = any("GroupByCell" in label for label in pipeline.applied_labels)
    result = pipeline.run()
    result.wait_until_finish()
    counters = result.metrics().query(MetricsFilter())["counters"]
    counts = {counter.key.metric.name: counter.committed for counter in counters}
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    status = pathlib.Path("/proc/self/status").read_text(encoding="utf-8")
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
    print(json.dumps({
        "join": "partitioned" if joined else "broadcast",
        "wall": time.perf_counter() - started,
        "cpu": sum(one.ru_utime + one.ru_stime for one in usage),
        "peak": peak, "worker": usage[1].ru_maxrss / 1024,
        "elements": counts.get("elements", 0),
        "points": counts.get("points_with_rows", 0),
    }))  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", help="Where collections and points are kept")
    parser.add_argument("--records", default="1000,10000,100000,1000000")
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--join", default="auto", choices=JOINS)
    parser.add_argument("--match", default="latest")
    parser.add_argument("--where", default="world,region")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--collection", help=argparse.SUPPRESS)
    parser.add_argument("--points_file", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.collection:
        run(arguments)
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(arguments.folder or temporary)
        folder.mkdir(exist_ok=True)
        places = Places()
        told = f"match={arguments.match}, {arguments.workers} worker(s)"
        print(f"{arguments.points:,} points, {told}")
        print(f"{'records':>9} {'where':7}{'join':12}{'wall s':>8}{'CPU s':>8}{'peak MB':>9}"
              f"{'worker MB':>11}{'blocks':>11}{'points':>11}")  # fmt: skip
        for n_records in map(int, arguments.records.split(",")):
            collection = folder / f"collection-{n_records}"
            if not collection.exists():
                write_collection(collection, places, n_records)
            for where in arguments.where.split(","):
                points = folder / f"points-{where}-{arguments.points}.parquet"
                if not points.exists():
                    write_points(points, places, arguments.points, region=where == "region")
                measure(arguments, n_records, where, collection, points)
    return 0


def measure(arguments, n_records, where, collection, points):
    command = [
        sys.executable, __file__, "--collection", str(collection), "--points_file", str(points),
        "--join", arguments.join, "--match", arguments.match, "--workers", str(arguments.workers),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 -- this script
    if done.returncode:
        print(f"{n_records:9,} {where:7}failed: {done.stderr.strip().splitlines()[-1:]}")
        return
    found = json.loads(done.stdout)
    print(
        f"{n_records:9,} {where:7}{found['join']:12}{found['wall']:8.1f}{found['cpu']:8.1f}"
        f"{found['peak']:9.0f}{found['worker']:11.0f}{found['elements']:11,}{found['points']:11,}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
