"""Random collections on a web server, and random points, for plans to be held against."""

import datetime as dt
import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st
from scenes import Scene, file_item, index_table, write_scene

from rasteret_beam.points import PointColumns, to_points
from rasteret_beam.storage import Store

BANDS = ("B1", "B2")
STORE = Store(allow_http=True)
COLUMNS = PointColumns(crs="EPSG:32631")
_ORIGINS = ((500000.0, 4600000.0), (500300.0, 4599800.0))
_SIDE_METRES = 1200


@st.composite
def scene_lists(draw):
    """Up to four scenes: shared and own grids, planar and chunky, compressed and not."""
    return [draw(_scenes(number)) for number in range(draw(st.integers(1, 4)))]


@st.composite
def _scenes(draw, number):
    rows, cols = draw(st.sampled_from([(60, 60), (60, 60), (33, 70), (130, 90)]))
    dtype = draw(st.sampled_from(["uint8", "uint16", "float32"]))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    day = draw(st.none() | st.integers(1, 28))
    # A band that no record has would be refused.
    n_bands = draw(st.integers(1, 2)) if number else len(BANDS)
    return Scene(
        name=f"s{number}",
        pixels=random.integers(0, 200, (n_bands, rows, cols)).astype(dtype),
        when=day and dt.datetime(2024, 5, day),  # noqa: DTZ001 -- UTC, as stored
        origin=draw(st.sampled_from(_ORIGINS)),
        tile=draw(st.sampled_from([(16, 16), (32, 16), (64, 64)])),
        tiff={
            "compression": draw(st.sampled_from(["zlib", None])),
            "planarconfig": draw(st.sampled_from(["separate", "contig"])),
        },
    )


def point_tables():
    """Columns x and y: on scenes, beside them, and some that are no points."""
    return st.tuples(st.integers(1, 40), st.integers(0, 2**32 - 1)).map(_points)


def _points(drawn):
    n_points, seed = drawn
    random = np.random.default_rng(seed)
    x = _ORIGINS[0][0] + random.uniform(-100, _SIDE_METRES, n_points)
    y = _ORIGINS[0][1] - random.uniform(-100, _SIDE_METRES, n_points)
    x[random.random(n_points) < 0.05] = np.nan
    return {"x": x, "y": y}


def batches(table, size=15):
    """The points as planning takes them, a few in each batch."""
    rows = pa.RecordBatch.from_pydict(table)
    return [
        to_points(rows.slice(start, size), COLUMNS, start, "table")[0]
        for start in range(0, rows.num_rows, size)
    ]


def serve(server, folder, scenes, holes):
    """Puts scenes on a server, some of their tiles sparse; gives the collection's path."""
    folder = pathlib.Path(folder)
    items = []
    for scene in scenes:
        server.files[f"{scene.name}.tif"] = pathlib.Path(write_scene(folder, scene)).read_bytes()
        items.append(file_item(scene.name, server.uri(f"{scene.name}.tif"), None, scene.when))
    table = index_table(items, store=STORE)
    rows = table.to_pylist()
    random = np.random.default_rng(holes)
    for row in rows:
        for band in BANDS:
            metadata = row.get(f"{band}_metadata")
            for at in range(len(metadata["tile_offsets"]) if metadata else 0):
                if random.random() < 0.2:
                    metadata["tile_offsets"][at] = metadata["tile_byte_counts"][at] = 0
    path = folder / "collection.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    server.requests.clear()
    return str(path)


def asked(server):
    """(requests, bytes) that the server was asked for since the collection was made."""
    n_requests = n_bytes = 0
    for (_, wanted), times in server.requests.items():
        first, last = (int(number) for number in wanted.removeprefix("bytes=").split("-"))
        n_requests += times
        n_bytes += times * (last + 1 - first)
    return n_requests, n_bytes
