"""The scenes, points and collections that sampling is measured on.

Scenes are written once into a folder and kept. Each has few textures: its files hold the
same encoded tiles in different places, so that they are quickly written, and yet no two of
them give equal values.
"""

import concurrent.futures
import dataclasses
import datetime as dt
import itertools
import json
import os
import pathlib

import imagecodecs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyproj
from headers import tiff_header

VERSION = 6
DEFLATE, ZSTD = 8, 50000
NO_PREDICTOR, HORIZONTAL, FLOATING_POINT = 1, 2, 3
CLUSTERS, CLUSTER_PIXELS = 25, 150
PATCH_PIXELS = 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """Where some files of a scene lie: files of one place share their pixel grid."""

    name: str
    epsg: int
    left: float
    first_y: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scene:
    """A set of like files; each is one asset, of one band or of all of them (planar)."""

    side: int
    tile: int
    dtype: str
    compression: int
    predictor: int
    scale_x: float
    scale_y: float
    places: tuple[Place, ...]
    dates: int
    bands: tuple[str, ...]
    planar: bool = False
    nodata: str | None = None

    @property
    def tiles_across(self):
        return -(-self.side // self.tile)

    def files(self):
        """(file name, record id, place, number of the date, band or None for all)."""
        for place, date in itertools.product(self.places, range(self.dates)):
            record = f"{place.name}_{date_of(date):%Y%m%d}"
            for band in (None,) if self.planar else self.bands:
                file = f"{record}_{band}.tif" if band else f"{record}.tif"
                yield file, record, place, date, band


SCENES = {
    # Two Sentinel-2 tiles, six dates each: what Earth Search has as COGs.
    "s2": Scene(
        side=10_980, tile=1024, dtype="uint16", compression=DEFLATE, predictor=HORIZONTAL,
        scale_x=10.0, scale_y=-10.0, dates=6, bands=("B04", "B08"), nodata="0",
        places=(
            Place(name="T31TDF", epsg=32631, left=399_960.0, first_y=4_600_020.0),
            Place(name="T32TLL", epsg=32632, left=300_000.0, first_y=4_600_020.0),
        ),
    ),
    # An annual embedding: 64 planes, the first row in the south.
    "aef": Scene(
        side=4096, tile=1024, dtype="int8", compression=ZSTD, predictor=NO_PREDICTOR,
        scale_x=10.0, scale_y=10.0, dates=1, bands=tuple(f"A{n:02}" for n in range(64)),
        planar=True, nodata="-128",
        places=(Place(name="aef", epsg=32631, left=540_000.0, first_y=4_700_000.0),),
    ),
    # Four neighbouring cells of one degree.
    "dem": Scene(
        side=3600, tile=512, dtype="float32", compression=DEFLATE, predictor=FLOATING_POINT,
        scale_x=1 / 3600, scale_y=-1 / 3600, dates=1, bands=("DEM",),
        places=tuple(
            Place(name=f"N{north}E{east:03}", epsg=4326, left=float(east), first_y=north + 1.0)
            for north, east in itertools.product((46, 47), (7, 8))
        ),
    ),
}  # fmt: skip


def date_of(number):
    return dt.datetime(2024, 1, 5) + dt.timedelta(days=30 * number)  # noqa: DTZ001 -- UTC


# Scenes.


def make_scene(folder, name):
    """Writes a scene's files into ``folder/name``, if they are not there."""
    scene, target = SCENES[name], pathlib.Path(folder) / name
    made = target / "made.json"
    told = json.dumps([VERSION, str(scene)])
    if made.exists() and made.read_text() == told:
        return
    target.mkdir(parents=True, exist_ok=True)
    for old in target.iterdir():
        old.unlink()
    groups = itertools.groupby(scene.files(), key=lambda file: file[2])
    for number, (_, files) in enumerate(groups):
        textures = make_textures(scene, number)
        for shift, (file, _, place, _, _) in enumerate(files):
            write_file(target / file, scene, place, textures, 7 * shift)
    made.write_text(told)


def make_textures(scene, seed):
    """Encoded tiles: a plane's worth of them, and as many as make all planes differ."""
    n_tiles = max(scene.tiles_across**2, 67)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda n: encode(scene, texture(scene, (seed, n))), range(n_tiles)))


def texture(scene, seed):
    """Pixels of one tile: smooth land in patches, each with a noise of its own.

    Noise is chosen to compress as the real ones do: a Sentinel-2 tile to about 1.2 MB.
    """
    random = np.random.default_rng(seed)
    patches = scene.tile // PATCH_PIXELS

    def spread(values):
        return np.kron(values, np.ones((PATCH_PIXELS, PATCH_PIXELS), np.float32))

    noise = random.standard_normal((scene.tile, scene.tile), np.float32)
    if scene.dtype == "uint16":
        noise *= spread(random.choice([4, 12, 24, 55], (patches, patches)))
        land = spread(random.uniform(600, 3000, (patches, patches)))
        return (land + noise).clip(1, 10_000).astype(np.uint16)
    if scene.dtype == "int8":
        land = spread(20 + random.uniform(-60, 60, (patches, patches)))
        return (land + 2 * noise).clip(-127, 127).astype(np.int8)
    slopes = np.cumsum(np.cumsum(noise, 0) / 10, 1) / 10
    return (900 + slopes + 0.3 * noise).astype(np.float32)


def encode(scene, pixels):
    if scene.predictor == HORIZONTAL:
        pixels = imagecodecs.delta_encode(pixels, axis=1)
    elif scene.predictor == FLOATING_POINT:
        pixels = imagecodecs.floatpred_encode(pixels, axis=1)
    if scene.compression == DEFLATE:
        return imagecodecs.zlib_encode(pixels.tobytes(), level=6)
    return imagecodecs.zstd_encode(pixels.tobytes(), level=9)


def write_file(path, scene, place, textures, shift):
    """Writes tags as GDAL would, header first, and the tiles close behind each other."""
    per_plane = scene.tiles_across**2
    planes = len(scene.bands) if scene.planar else 1
    # A step of its own for each plane: 67 is prime, and no plane repeats another.
    tiles = [
        textures[(shift + number + 5 * plane) % len(textures)]
        for plane in range(planes)
        for number in range(per_plane)
    ]
    tags = {
        256: ("H", [scene.side]), 257: ("H", [scene.side]),
        258: ("H", [8 * np.dtype(scene.dtype).itemsize] * planes),
        259: ("H", [scene.compression]), 262: ("H", [1]), 277: ("H", [planes]),
        284: ("H", [2 if scene.planar else 1]), 317: ("H", [scene.predictor]),
        322: ("H", [scene.tile]), 323: ("H", [scene.tile]),
        324: ("I", [0] * len(tiles)), 325: ("I", [len(tile) for tile in tiles]),
    }  # fmt: skip
    if planes > 1:
        tags[338] = ("H", [0] * (planes - 1))
    tags[339] = ("H", [{"u": 1, "i": 2, "f": 3}[np.dtype(scene.dtype).kind]] * planes)
    tags |= georeference(scene, place)
    if scene.nodata is not None:
        tags[42113] = ("s", scene.nodata.encode() + b"\0")
    tags_bytes = len(tiff_header(tags))
    ends = np.cumsum([tags_bytes, *map(len, tiles)])
    tags[324] = ("I", ends[:-1].tolist())
    with path.open("wb") as file:
        file.write(tiff_header(tags))
        file.writelines(tiles)


def georeference(scene, place):
    """GeoTIFF tags; a south-up grid can only be told by a matrix."""
    model, code = (2, 2048) if place.epsg == 4326 else (1, 3072)
    keys = [1, 1, 0, 3, 1024, 0, 1, model, 1025, 0, 1, 1, code, 0, 1, place.epsg]
    if scene.scale_y < 0:
        return {
            33550: ("d", [scene.scale_x, -scene.scale_y, 0.0]),
            33922: ("d", [0.0] * 3 + [place.left, place.first_y, 0.0]),
            34735: ("H", keys),
        }
    matrix = [scene.scale_x, 0, 0, place.left, 0, scene.scale_y, 0, place.first_y, *[0] * 7, 1]
    return {34264: ("d", [float(number) for number in matrix]), 34735: ("H", keys)}


# Points.


def make_points(folder, name, n_points, shape):
    """Writes points in longitude and latitude as Parquet, if they are not there; gives its path.

    ``uniform`` over all pixels; or in ``clusters`` of a Gaussian spread, 25 in all.
    """
    path = pathlib.Path(folder) / f"points-{VERSION}-{name}-{n_points}-{shape}.parquet"
    if path.exists():
        return path
    scene = SCENES[name]
    random = np.random.default_rng([n_points, len(shape)])
    which = random.integers(len(scene.places), size=n_points)
    if shape == "uniform":
        pixels = random.uniform(0, scene.side, (n_points, 2))
    else:
        margin = 4 * CLUSTER_PIXELS
        centres = random.uniform(margin, scene.side - margin, (CLUSTERS, 2))
        cluster = random.integers(CLUSTERS, size=n_points)
        which = cluster % len(scene.places)
        pixels = centres[cluster] + random.normal(0, CLUSTER_PIXELS, (n_points, 2))
        pixels = pixels.clip(0, scene.side - 0.01)
    lon, lat = np.empty(n_points), np.empty(n_points)
    for number, place in enumerate(scene.places):
        here = which == number
        x = place.left + pixels[here, 0] * scene.scale_x
        y = place.first_y + pixels[here, 1] * scene.scale_y
        to_lonlat = pyproj.Transformer.from_crs(place.epsg, 4326, always_xy=True)
        lon[here], lat[here] = to_lonlat.transform(x, y)
    pq.write_table(pa.table({"x": lon, "y": lat}), path, row_group_size=250_000)
    return path


# Collections.


def item_table(name, url, repeats=1):
    """A table of items as ``RecordTable`` takes it: one a place and date.

    With repeats the same files stand for several dates: more work from no more disk.
    """
    scene, items = SCENES[name], {}
    for repeat, (file, record, _, date, band) in itertools.product(range(repeats), scene.files()):
        when = date_of(date + repeat * scene.dates)
        row = items.setdefault((record, repeat), {
            "id": f"{record}_{repeat}", "datetime": when, "assets": {},
        })  # fmt: skip
        href = f"{url}/{name}/{file}"
        if band is None:
            row["assets"] = {
                b: {"href": href, "band_index": n} for n, b in enumerate(scene.bands)
            }
        else:
            row["assets"][band] = {"href": href, "band_index": 0}
    return pa.Table.from_pylist(list(items.values()))


def build_collection(name, url, folder, repeats):
    """Indexes a scene's files through Beam, as any user would."""
    import apache_beam as beam  # noqa: PLC0415 -- slow, and only needed in a process of its own

    from rasteret_beam import BuildCollection, RecordTable, Store  # noqa: PLC0415

    with beam.Pipeline("FnApiRunner") as pipeline:
        _ = pipeline | BuildCollection(
            source=RecordTable(table=item_table(name, url, repeats)),
            folder=str(folder), name=name, store=Store(allow_http=True),
        )  # fmt: skip
