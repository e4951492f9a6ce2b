"""The same work by others, each as its experts would write it.

Each function imports what it needs and gives the function that is measured. The peers
without an index open the files and read their headers; they make arrays of values and no
rows, which is in their favour.
"""

import os
import threading
from typing import NamedTuple

import digests

# As TiTiler's documentation and GDAL's own recommend for COGs over HTTP.
GDAL_SETTINGS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".tif",
    "GDAL_INGESTED_BYTES_AT_OPEN": "32768",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_HTTP_MULTIPLEX": "YES",
    "GDAL_HTTP_MULTIRANGE": "YES",
    "GDAL_HTTP_VERSION": "2",
    "GDAL_BAND_BLOCK_CACHE": "HASHSET",
    "GDAL_CACHEMAX": "200",
    "VSI_CACHE": "TRUE",
    "VSI_CACHE_SIZE": "5000000",
}


def rasteret(spec):
    """rasteret.sample_points on the very same collection, with ``bbox=``."""
    import pyarrow.compute as pc  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415
    import rasteret as theirs  # noqa: PLC0415
    from obstore.store import HTTPStore  # noqa: PLC0415
    from rasteret.cloud import ObstoreBackend  # noqa: PLC0415

    # Plain http:// is for benchmarks only: their own clients refuse it.
    store = HTTPStore.from_url(spec["server"], client_options={"allow_http": True})
    backend = ObstoreBackend(store, url_prefix=spec["server"])
    options = {}
    if spec["radius"]:
        options = {"max_distance_pixels": spec["radius"], "return_neighbourhood": "always"}

    def run():
        points = pq.read_table(spec["points"])
        spans = [pc.min_max(points[name]).as_py() for name in ("x", "y")]
        bbox = tuple(span[end] for end in ("min", "max") for span in spans)
        table = theirs.load(spec["collection"]).sample_points(
            points, list(spec["bands"]), x_column="x", y_column="y", geometry_crs=4326,
            bbox=bbox, backend=backend, **options,
        )  # fmt: skip
        return {"digest": digests.of_table(table)}

    return run


def rasterio_blocks(spec):
    """rasterio: each block that holds points read once, in a thread pool."""
    os.environ.update(GDAL_SETTINGS)
    import concurrent.futures  # noqa: PLC0415

    import datasets  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415
    import rasterio  # noqa: PLC0415
    from rasterio.windows import Window  # noqa: PLC0415

    threads = (os.cpu_count() or 1) * (16 if spec["latency_ms"] else 2)

    def run():
        points, local = Points(spec), threading.local()

        def opened(url):
            if getattr(local, "url", None) != url:
                local.url, local.file = url, rasterio.open(url)
            return local.file

        def one(work):
            url, band = work
            file = opened(url)
            height, width = file.block_shapes[0]
            plan = points.on_grid(
                file.crs.to_epsg(), file.transform, file.shape, (height, width),
            )
            total = digests.EMPTY
            for tile_row, tile_col, index, row, col in plan:
                window = Window(
                    tile_col * width, tile_row * height,
                    min(width, file.width - tile_col * width),
                    min(height, file.height - tile_row * height),
                )  # fmt: skip
                values = file.read(band, window=window)[row, col].astype(np.float64)
                total = digests.add([total, digests.of_arrays(index, values)])
            return total

        scene = datasets.SCENES[spec["scene"]]
        bands = range(1, len(scene.bands) + 1) if scene.planar else (1,)
        work = [(url, band) for url in urls_of(spec) for band in bands]
        with concurrent.futures.ThreadPoolExecutor(threads) as pool:
            return {"digest": digests.add(pool.map(one, work))}

    return run


def async_tiff(spec):
    """async-tiff: tiles fetched some at a time and decoded in its threads, numpy after that."""
    import asyncio  # noqa: PLC0415

    import numpy as np  # noqa: PLC0415
    from async_tiff import TIFF  # noqa: PLC0415
    from async_tiff.store import HTTPStore  # noqa: PLC0415

    at_once = (os.cpu_count() or 1) * (8 if spec["latency_ms"] else 2)
    few = 4

    async def read_file(store, points, turn, url):
        async with turn:
            tiff = await TIFF.open(url.removeprefix(spec["server"] + "/"), store=store)
        ifd = tiff.ifds[0]
        size = ifd.tile_height, ifd.tile_width
        plan = points.on_grid(
            epsg_of(ifd), transform_of(ifd), (ifd.image_height, ifd.image_width), size,
        )

        async def some(part):
            async with turn:
                tiles = await tiff.fetch_tiles([(col, row) for row, col, *_ in part], 0)
                total = digests.EMPTY
                for tile, (_, _, index, row, col) in zip(tiles, part, strict=True):
                    array = np.asarray(await tile.decode())
                    # (row, col, 1) where chunky, (band, row, col) where planar.
                    planes = array[..., 0][None] if array.shape[-1] == 1 else array
                    for pixels in planes:
                        values = pixels[row, col].astype(np.float64)
                        total = digests.add([total, digests.of_arrays(index, values)])
                return total

        step = 1 if ifd.samples_per_pixel > 1 else few
        parts = [plan[start : start + step] for start in range(0, len(plan), step)]
        return digests.add(await asyncio.gather(*map(some, parts)))

    async def read_all():
        store = HTTPStore.from_url(spec["server"], client_options={"allow_http": True})
        points, turn = Points(spec), asyncio.Semaphore(at_once)
        jobs = [read_file(store, points, turn, url) for url in urls_of(spec)]
        return digests.add(await asyncio.gather(*jobs))

    return lambda: {"digest": asyncio.run(read_all())}


def epsg_of(ifd):
    keys = ifd.geo_key_directory
    return keys.projected_type or keys.geographic_type


class Affine(NamedTuple):
    """x = a * col + c, y = e * row + f: the letters are those of rasterio's Affine."""

    a: float
    c: float
    e: float
    f: float


def transform_of(ifd):
    """Of GeoTIFF tags: a scale with one tie point, or a matrix."""
    if ifd.model_pixel_scale:
        scale_x, scale_y, _ = ifd.model_pixel_scale
        _, _, _, left, top, _ = ifd.model_tiepoint
        return Affine(scale_x, left, -scale_y, top)
    matrix = ifd.model_transformation
    return Affine(matrix[0], matrix[3], matrix[5], matrix[7])


def urls_of(spec):
    import datasets  # noqa: PLC0415

    files = [file for file, *_ in datasets.SCENES[spec["scene"]].files()]
    return [f"{spec['server']}/{spec['scene']}/{file}" for file in files * spec["repeats"]]


class Points:
    """Points, and their tiles on each pixel grid: worked out once a grid."""

    def __init__(self, spec):
        import pyarrow.parquet as pq  # noqa: PLC0415

        points = pq.read_table(spec["points"])
        self._lon, self._lat = points["x"].to_numpy(), points["y"].to_numpy()
        self._plans, self._lock = {}, threading.Lock()

    def on_grid(self, epsg, transform, shape, tile_shape):
        """(tile row, tile col, point index, row in tile, col in tile) of each tile."""
        key = epsg, transform, shape
        with self._lock:
            if key not in self._plans:
                self._plans[key] = self._plan(epsg, transform, shape, tile_shape)
            return self._plans[key]

    def _plan(self, epsg, transform, shape, tile_shape):
        import numpy as np  # noqa: PLC0415
        import pyproj  # noqa: PLC0415

        x, y = self._lon, self._lat
        if epsg != 4326:
            x, y = pyproj.Transformer.from_crs(4326, epsg, always_xy=True).transform(x, y)
        col = np.floor((x - transform.c) / transform.a)
        row = np.floor((y - transform.f) / transform.e)
        inside = (row >= 0) & (row < shape[0]) & (col >= 0) & (col < shape[1])
        index = np.flatnonzero(inside)
        row, col = row[inside].astype(np.int64), col[inside].astype(np.int64)
        tile_row, row = np.divmod(row, tile_shape[0])
        tile_col, col = np.divmod(col, tile_shape[1])
        tile = tile_row * (shape[1] // tile_shape[1] + 1) + tile_col
        order = np.argsort(tile, kind="stable")
        starts = np.flatnonzero(np.diff(tile[order], prepend=-1))
        return [
            (int(tile_row[part[0]]), int(tile_col[part[0]]), index[part], row[part], col[part])
            for part in np.split(order, starts[1:])
            if len(part)
        ]
