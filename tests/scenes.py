"""Small collections made on the spot: pixels in, COGs and a Parquet index out, no Beam."""

import dataclasses
import datetime as dt
import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tifffile

from rasteret_beam.collection import CollectionQuery
from rasteret_beam.collection.filters import Filters
from rasteret_beam.indexing.in_process import index_items
from rasteret_beam.indexing.items import EVERY_SAMPLE, AssetRef, Item
from rasteret_beam.local import sample_points
from rasteret_beam.options import SampleOptions
from rasteret_beam.points import PointColumns

RASTERET_SCHEMA = pa.schema(
    [
        pa.field("point_index", pa.int64(), nullable=False),
        pa.field("point_x", pa.float64(), nullable=False),
        pa.field("point_y", pa.float64(), nullable=False),
        pa.field("point_crs", pa.int32()),
        pa.field("record_id", pa.string(), nullable=False),
        pa.field("datetime", pa.timestamp("us")),
        pa.field("collection", pa.string(), nullable=False),
        pa.field("band", pa.string(), nullable=False),
        pa.field("value", pa.float64(), nullable=False),
        pa.field("raster_crs", pa.int32()),
    ],
)
"""The columns of ``rasteret.sample_points``, as rasteret 0.4.1 gives them."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """One file of a test collection.

    Attributes:
        name: File stem, and so the record's id.
        pixels: Shape (band, row, col).
        when: Acquisition time, or None.
        epsg: Projected EPSG code, 4326, or None for no CRS.
        origin: (x, y) of the outer corner of pixel (0, 0).
        scale: (x, y) size of a pixel, y negative where north is up.
        tile: (rows, cols) of a tile.
        nodata: Text of GDAL_NODATA, or None.
        bands: Band names, by default B1 .. Bn.
        tiff: More arguments for ``tifffile.imwrite``.
    """

    name: str
    pixels: np.ndarray
    when: dt.datetime | None = None
    epsg: int | None = 32631
    origin: tuple[float, float] = (500000.0, 4600000.0)
    scale: tuple[float, float] = (10.0, -10.0)
    tile: tuple[int, int] = (16, 16)
    nodata: str | None = None
    bands: tuple[str, ...] | None = None
    tiff: dict = dataclasses.field(default_factory=dict)


def write_scene(folder, scene):
    """Writes the scene's GeoTIFF; gives its path."""
    path = pathlib.Path(folder) / f"{scene.name}.tif"
    (sx, sy), (x, y) = scene.scale, scene.origin
    matrix = (sx, 0, 0, x, 0, sy, 0, y, 0, 0, 0, 0, 0, 0, 0, 1)
    extra = [(34264, "d", 16, tuple(float(v) for v in matrix), True)]
    if scene.epsg is not None:
        model, key = (2, 2048) if scene.epsg == 4326 else (1, 3072)
        keys = (1, 1, 0, 3, 1024, 0, 1, model, 1025, 0, 1, 1, key, 0, 1, scene.epsg)
        extra.append((34735, "H", len(keys), keys, True))
    if scene.nodata is not None:
        extra.append((42113, "s", 0, scene.nodata, True))
    options = {"compression": "zlib", "planarconfig": "separate", "photometric": "minisblack"}
    options.update(scene.tiff)
    pixels = scene.pixels
    if options["planarconfig"] == "contig":
        pixels = np.moveaxis(pixels, 0, -1)
    if scene.pixels.shape[0] == 1:
        pixels = scene.pixels[0]
        options.pop("planarconfig")
    tifffile.imwrite(path, pixels, tile=scene.tile, extratags=extra, metadata=None, **options)
    return str(path)


def make_collection(folder, scenes, *, name="collection", mutate=None):
    """Writes the scenes and their index; gives the path of the collection.

    Args:
        folder: Where to.
        scenes: The scenes, in scan order.
        name: Name of the Parquet file, and the records' ``collection``.
        mutate: Changes the index's rows (a list of dicts) before they are written.
    """
    items = []
    for scene in scenes:
        bands = None if scene.bands is None else {b: i for i, b in enumerate(scene.bands)}
        items.append(file_item(scene.name, write_scene(folder, scene), bands, scene.when))
    table = index_table(items, name=name)
    if mutate is not None:
        rows = table.to_pylist()
        mutate(rows)
        table = pa.Table.from_pylist(rows, schema=table.schema)
    path = pathlib.Path(folder) / f"{name}.parquet"
    pq.write_table(table, path)
    return str(path)


def file_item(name, href, bands=None, when=None):
    """An item of one file; every sample is a band where none are named."""
    wanted = bands or {EVERY_SAMPLE: None}
    return Item(name, {band: AssetRef(str(href), at) for band, at in wanted.items()}, when)


def items_of(source, store):
    """The items of a source, and the dead letters of what in it is none."""
    batches = [batch for part in source.parts(store) for batch in source.read(store, part)]
    return (
        [item for batch in batches for item in batch.items],
        [letter for batch in batches for letter in batch.dead_letters],
    )


def index_table(items, *, store=None, name="collection"):
    """The collection of items that can all be used, as a table."""
    table, letters = index_items(items, store=store, name=name)
    assert letters == []
    return table


def sample(collection, points, bands=("B1",), *, crs="EPSG:32631", filters=None, **options):
    """Samples without Beam: points are a dict of columns or a table; sorted rows as dicts."""
    return rows_of(run(collection, points, bands, crs=crs, filters=filters, **options).samples)


def run(collection, points, bands=("B1",), *, crs="EPSG:32631", filters=None, **options):
    """Samples without Beam; the whole ``LocalResult``."""
    table = points if isinstance(points, pa.Table) else pa.table(points)
    query = CollectionQuery(collection, tuple(bands), filters or Filters())
    columns = crs if isinstance(crs, PointColumns) else PointColumns(crs=crs)
    return sample_points(query, table, columns, SampleOptions(bands=tuple(bands), **options))


def rows_of(table):
    """Rows as dicts, in the order (point, record, band)."""
    key = lambda row: (row["point_index"], row["record_id"] or "", row["band"] or "")  # noqa: E731
    return sorted(table.to_pylist(), key=key)


def centre(scene, row, col):
    """World coordinates of a pixel's centre."""
    (sx, sy), (x, y) = scene.scale, scene.origin
    return x + (col + 0.5) * sx, y + (row + 0.5) * sy


def grid_points(scene, pixels):
    """Columns x and y of the centres of (row, col) pixels."""
    xy = [centre(scene, row, col) for row, col in pixels]
    return {"x": [p[0] for p in xy], "y": [p[1] for p in xy]}


def ramp(rows, cols, *, bands=1, dtype="uint16"):
    """Pixels that are all different: band * 10000 + row * 100 + col."""
    band, row, col = np.indices((bands, rows, cols))
    return (band * 10000 + row * 100 + col).astype(dtype)
