"""The floor: what the work costs when nothing but the work is done.

Unique tiles, each fetched once in merged ranges and decoded whole by the fastest decoder
into a buffer that is used again; predictors undone on rows that are needed; one gather a
tile; rows as Arrow batches of the ten columns, with everything shared that can be. The
planning is one sort a grid. No Beam, no shuffle, no faults, no other formats than those of
the bench.
"""

import collections
import concurrent.futures
import functools
import os
import threading
import time

import digests
import imagecodecs
import numpy as np
import obstore
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pyproj
from obstore.store import HTTPStore

DEFLATE, ZSTD = 8, 50000
HORIZONTAL, FLOATING_POINT = 2, 3
GAP_BYTES, REQUEST_BYTES = 1024, 8 * 1024 * 1024
FEW_ROWS = 0.7


def inflate_by_isal(data, buffer):
    from isal import isal_zlib  # noqa: PLC0415 -- need not be installed

    return isal_zlib.decompress(data, bufsize=len(buffer))


def inflate_by_libdeflate(data, buffer):
    return imagecodecs.deflate_decode(data, out=buffer)


def unzstd(data, buffer):
    return imagecodecs.zstd_decode(data, out=buffer)


DECODERS = {
    "isal": (DEFLATE, inflate_by_isal),
    "libdeflate": (DEFLATE, inflate_by_libdeflate),
    "zstd": (ZSTD, unzstd),
}


def fastest_decoder(compression, tiles, decoded_bytes, rounds=5):
    """Name and milliseconds a tile of the decoder that is fastest here, taken in turns."""
    found, buffer = {}, bytearray(decoded_bytes)
    for name, (kind, decode) in DECODERS.items():
        if kind != compression:
            continue
        try:
            decode(tiles[0], buffer)
        except ImportError:
            continue
        found[name] = []
    for _ in range(rounds):
        for name, times in found.items():
            started = time.thread_time()
            for tile in tiles:
                DECODERS[name][1](tile, buffer)
            times.append(1000 * (time.thread_time() - started) / len(tiles))
    best = {name: min(times) for name, times in found.items()}
    return min(best.items(), key=lambda one: one[1])


class Timers:
    """CPU seconds of threads, by what they did."""

    def __init__(self):
        self.seconds, self._lock = collections.Counter(), threading.Lock()

    def add(self, **seconds):
        with self._lock:
            self.seconds.update(seconds)


def run(spec):
    """Gives the digest, the tiles that are needed, and CPU seconds by step."""
    timers = Timers()
    started = time.thread_time()
    assets, plans = plan(spec)
    timers.add(plan=time.thread_time() - started)
    store = HTTPStore.from_url(spec["server"], client_options={"allow_http": True})
    work = [
        (asset, plans[asset["grid"]], request)
        for asset in assets
        if asset["grid"] in plans
        for request in requests_of(asset, plans[asset["grid"]])
    ]
    one = functools.partial(run_request, store, DECODERS[spec["decoder"]][1], timers)
    # No more threads than keep the cores busy and the latency hidden.
    threads = (os.cpu_count() or 1) * (16 if spec["latency_ms"] else 2)
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        digest = digests.add(pool.map(one, work))
    tiles = [tile for _, _, request in work for tile in request]
    parts = dict(timers.seconds)
    return {
        "digest": digest, "tiles": len(tiles), "tile_bytes": sum(t[2] for t in tiles),
        "least_requests": len(work), "parts": parts,
    }  # fmt: skip


# Planning.


def plan(spec):
    """Assets by grid, and for each grid that has points their order and tiles."""
    points = pq.read_table(spec["points"]).combine_chunks()
    lon, lat = points["x"].to_numpy(), points["y"].to_numpy()
    columns = ["id", "datetime", "bbox", "proj:epsg", "assets"]
    columns += [f"{band}_metadata" for band in spec["bands"]]
    table = pads.dataset(spec["collection"], partitioning="hive").to_table(columns=columns)
    assets, boxes = [], {}
    for number in range(table.num_rows):
        row = table.slice(number, 1)
        hrefs = row["assets"][0].as_py()
        for band in spec["bands"]:
            struct = row[f"{band}_metadata"][0]
            fixed = {
                name: struct[name].as_py()
                for name in ("image_width", "image_height", "tile_width", "tile_height",
                             "dtype", "transform", "predictor", "compression")
            }  # fmt: skip
            grid = (row["proj:epsg"][0].as_py(), *fixed["transform"], *list(fixed.values())[:4])
            boxes[grid] = tuple(row["bbox"][0].as_py().values())
            assets.append({
                **fixed, "grid": grid, "band": band, "id": row["id"][0].as_py(),
                "datetime": row["datetime"][0],
                "path": hrefs[band]["href"].removeprefix(spec["server"] + "/"),
                "offsets": struct["tile_offsets"].values.to_numpy(),
                "lengths": struct["tile_byte_counts"].values.to_numpy(),
            })  # fmt: skip
    plans = {grid: GridPlan(grid, box, lon, lat) for grid, box in boxes.items()}
    return assets, {grid: one for grid, one in plans.items() if len(one.starts)}


class GridPlan:
    """The points on one grid, tile by tile, and what their rows share."""

    def __init__(self, grid, box, lon, lat):
        epsg, scale_x, left, scale_y, top, width, height, tile_width, tile_height = grid
        west, south, east, north = box
        here = np.flatnonzero((lon >= west) & (lon <= east) & (lat >= south) & (lat <= north))
        x, y = lon[here], lat[here]
        if epsg != 4326:
            x, y = pyproj.Transformer.from_crs(4326, epsg, always_xy=True).transform(x, y)
        row = np.floor((y - top) / scale_y).astype(np.int32)
        col = np.floor((x - left) / scale_x).astype(np.int32)
        inside = (row >= 0) & (row < height) & (col >= 0) & (col < width)
        if not inside.all():
            here, row, col = here[inside], row[inside], col[inside]
        across = -(-width // tile_width)
        tile = (row // tile_height * across + col // tile_width).astype(np.uint16)
        order = np.argsort(tile, kind="stable")
        tile, here = tile[order], here[order]
        self.row, self.col = row[order] % tile_height, col[order] % tile_width
        self.tile_width = tile_width
        self.flat = self.row * tile_width + self.col
        self.starts = np.flatnonzero(np.r_[True, np.diff(tile) != 0]) if len(tile) else tile
        self.stops = np.r_[self.starts[1:], len(tile)]
        self.tiles = tile[self.starts].tolist()
        n_most = int((self.stops - self.starts).max()) if len(tile) else 0
        self.index = here.astype(np.int64)
        self.shared = [pa.array(a) for a in (self.index, lon[here], lat[here])]
        self.point_crs = pa.array(np.full(n_most, 4326, np.int32))
        self.raster_crs = pa.array(np.full(n_most, epsg, np.int32))
        self.zeros = pa.array(np.zeros(n_most, np.int32))
        self._rows = {}

    def rows(self, number):
        """Rows of a tile that hold points, and for each point which of them."""
        if number not in self._rows:
            row = self.row[self.starts[number] : self.stops[number]]
            needed = np.zeros(int(row.max()) + 1, bool)
            needed[row] = True
            place = np.cumsum(needed, dtype=np.int32) - 1
            self._rows[number] = np.flatnonzero(needed), place[row]
        return self._rows[number]

    @functools.cached_property
    def positions(self):
        return {tile: number for number, tile in enumerate(self.tiles)}


def requests_of(asset, grid_plan):
    """The needed tiles as (number, offset, length), near ones together."""
    found = []
    for tile in sorted(grid_plan.tiles, key=asset["offsets"].__getitem__):
        offset, length = int(asset["offsets"][tile]), int(asset["lengths"][tile])
        if found:
            first, last = found[-1][0], found[-1][-1]
            near = offset - (last[1] + last[2]) <= GAP_BYTES
            if near and offset + length - first[1] <= REQUEST_BYTES:
                found[-1].append((tile, offset, length))
                continue
        found.append([(tile, offset, length)])
    return found


# Reading.


_BUFFERS = threading.local()


def run_request(store, decode, timers, work):
    asset, grid_plan, tiles = work
    first, last = tiles[0], tiles[-1]
    data = memoryview(obstore.get_range(
        store, asset["path"], start=first[1], end=last[1] + last[2],
    ))  # fmt: skip
    height, width, dtype = asset["tile_height"], asset["tile_width"], np.dtype(asset["dtype"])
    size = height * width * dtype.itemsize
    if not hasattr(_BUFFERS, "tile"):
        _BUFFERS.tile, _BUFFERS.values = bytearray(size), np.empty(0)
    buffer = _BUFFERS.tile
    total = digests.EMPTY
    for tile, offset, length in tiles:
        times = [time.thread_time()]
        start = offset - first[1]
        raw = decode(data[start : start + length], buffer)
        times.append(time.thread_time())
        number = grid_plan.positions[tile]
        pixels = np.frombuffer(raw, dtype).reshape(height, width)
        values = gather(pixels, asset, grid_plan, number)
        times.append(time.thread_time())
        batch = rows_of(values, asset, grid_plan, number)
        total = digests.add([total, digests.of_batch(batch)])
        times.append(time.thread_time())
        decoded, gathered, rows = np.diff(times).tolist()
        timers.add(decode=decoded, gather=gathered, rows=rows)
    return total


def gather(pixels, asset, grid_plan, number):
    """float64 values of a tile's points, its predictor undone where that matters."""
    span = slice(grid_plan.starts[number], grid_plan.stops[number])
    flat = grid_plan.flat[span]
    if asset["predictor"] not in (HORIZONTAL, FLOATING_POINT):
        return taken(pixels, flat, grid_plan)
    needed, place = grid_plan.rows(number)
    few = len(needed) < FEW_ROWS * len(pixels)
    if few:
        pixels = pixels[needed]
        flat = place * pixels.shape[1] + grid_plan.col[span]
    if asset["predictor"] == HORIZONTAL:
        if not pixels.flags.writeable:
            pixels = imagecodecs.delta_decode(pixels, axis=1)
        else:
            imagecodecs.delta_decode(pixels, axis=1, out=pixels)
        return taken(pixels, flat, grid_plan)
    # Byte planes, most significant first, as differences along the whole row.
    planes = pixels.view(np.uint8)
    planes = imagecodecs.delta_decode(planes, axis=1)
    width, size = pixels.shape[1], pixels.itemsize
    row, col = np.divmod(flat, width)
    parts = planes.reshape(len(pixels), size, width)[row, :, col]
    return np.ascontiguousarray(parts).view(pixels.dtype.newbyteorder(">"))[:, 0].astype(np.float64)


def taken(pixels, flat, grid_plan):
    """Pixels as float64, in this thread's buffers: new pages would cost more than the work."""
    n_most, count = len(grid_plan.zeros), len(flat)
    if len(_BUFFERS.values) < n_most:
        _BUFFERS.pixels, _BUFFERS.values = np.empty(n_most, pixels.dtype), np.empty(n_most)
    raw, values = _BUFFERS.pixels[:count], _BUFFERS.values[:count]
    np.take(pixels.reshape(-1), flat, out=raw, mode="clip")
    values[:] = raw
    return values


def rows_of(values, asset, grid_plan, number):
    """Rows in the ten columns, text as dictionaries, all but the values shared."""
    start, count = int(grid_plan.starts[number]), len(values)

    def text(value):
        codes = grid_plan.zeros.slice(0, count)
        return pa.DictionaryArray.from_arrays(codes, constant_text(value))

    index, x, y = (column.slice(start, count) for column in grid_plan.shared)
    return pa.RecordBatch.from_arrays(
        [
            index, x, y, grid_plan.point_crs.slice(0, count), text(asset["id"]),
            constant_time(asset["datetime"], len(grid_plan.zeros)).slice(0, count),
            text("s2"), text(asset["band"]), pa.array(values),
            grid_plan.raster_crs.slice(0, count),
        ],
        names=["point_index", "point_x", "point_y", "point_crs", "record_id", "datetime",
               "collection", "band", "value", "raster_crs"],
    )  # fmt: skip


@functools.lru_cache(maxsize=4096)
def constant_text(value):
    return pa.array([value])


@functools.lru_cache(maxsize=256)
def constant_time(value, count):
    return pa.repeat(value, count)
