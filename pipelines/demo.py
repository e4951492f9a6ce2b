"""A tour on made-up scenes: indexes them, samples 100 000 points, and shows the result.

No network and no account: ``python pipelines/demo.py --folder demo-output``.
"""

import argparse
import base64
import datetime as dt
import html
import pathlib
import sys

import build_collection
import imagecodecs
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import sample_points
import tifffile

from rasteret_beam.grid import crs

N_POINTS = 100_000
SIDE_PIXELS, PIXEL_METRES = 1536, 20.0
ZONES = {"32TPT": (32632, 690_000.0, 5_270_000.0), "33TUN": (32633, 264_000.0, 5_270_000.0)}
DATES = ("20240512", "20240611", "20240701")
BANDS = {"B04": 0, "B08": 1}
LONLAT_BOX = (11.52, 47.25, 12.31, 47.59)
PICTURE_WIDTH, PICTURE_HEIGHT = 1200, 760
# A few stops of a perceptually even ramp, dark to light.
RAMP = np.array([(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)], float)


def fractal(random: np.random.Generator, size: int) -> np.ndarray:
    """Land-like noise between 0 and 1: octaves of smooth random fields."""
    field = np.zeros((size, size))
    for octave in range(2, 8):
        cells = 2**octave
        coarse = random.random((cells + 2, cells + 2))
        at = np.linspace(0, cells, size, endpoint=False)
        low, part = at.astype(int), at - at.astype(int)
        part = part * part * (3 - 2 * part)
        rows = coarse[low] * (1 - part)[:, None] + coarse[low + 1] * part[:, None]
        field += (rows[:, low] * (1 - part) + rows[:, low + 1] * part) / 2 ** (octave - 2)
    return (field - field.min()) / np.ptp(field)


def write_scenes(folder: pathlib.Path, random: np.random.Generator) -> None:
    """Writes one two-band GeoTIFF for each zone and date; clouds are nodata (0)."""
    folder.mkdir(parents=True, exist_ok=True)
    for zone, (epsg, x, y) in ZONES.items():
        land = fractal(random, SIDE_PIXELS)
        for number, date in enumerate(DATES):
            green = np.clip(land * (0.8 + 0.15 * number), 0, 1)
            red = 300 + 2200 * (1 - green) + random.normal(0, 40, land.shape)
            infrared = 800 + 3600 * green + random.normal(0, 60, land.shape)
            clouds = fractal(random, SIDE_PIXELS) > 0.78 - 0.03 * number
            bands = np.stack([red, infrared]).clip(1, 10_000).astype(np.uint16)
            bands[:, clouds] = 0
            keys = (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, epsg)
            scale = (PIXEL_METRES, PIXEL_METRES, 0.0)
            tags = [
                (33550, "d", 3, scale, True),
                (33922, "d", 6, (0.0, 0.0, 0.0, x, y, 0.0), True),
                (34735, "H", len(keys), keys, True),
                (42113, "s", 0, "0", True),
            ]
            tifffile.imwrite(
                folder / f"S2_{zone}_{date}.tif", bands, planarconfig="separate", tile=(256, 256),
                photometric="minisblack", compression="zlib", predictor=True, extratags=tags,
                metadata=None,
            )  # fmt: skip


def write_points(path: pathlib.Path, random: np.random.Generator) -> None:
    """Writes random points with a column of the user's own."""
    xmin, ymin, xmax, ymax = LONLAT_BOX
    table = {
        "lon": random.uniform(xmin, xmax, N_POINTS),
        "lat": random.uniform(ymin, ymax, N_POINTS),
        "plot": [f"plot-{number:06d}" for number in range(N_POINTS)],
    }
    pq.write_table(pa.table(table), path)


def picture(samples: pa.Table) -> np.ndarray:
    """Draws one dot a point, coloured by its newest value; grey where there is none."""
    image = np.full((PICTURE_HEIGHT, PICTURE_WIDTH, 3), 250, np.uint8)
    xmin, ymin, xmax, ymax = LONLAT_BOX
    col = (samples["point_x"].to_numpy() - xmin) / (xmax - xmin) * (PICTURE_WIDTH - 2)
    row = (ymax - samples["point_y"].to_numpy()) / (ymax - ymin) * (PICTURE_HEIGHT - 2)
    value = samples["value"].to_numpy()
    valid = samples["status"].to_numpy() == "OK"
    low, high = np.percentile(value[valid], [2, 98])
    share = np.clip((value - low) / (high - low), 0, 1)
    stops = np.linspace(0, 1, len(RAMP))
    colour = np.column_stack([np.interp(np.nan_to_num(share), stops, c) for c in RAMP.T])
    colour = np.where(valid[:, None], colour, 200).astype(np.uint8)
    for down in (0, 1):
        for across in (0, 1):
            image[row.astype(int) + down, col.astype(int) + across] = colour
    return image


def page(samples: pa.Table, image: np.ndarray) -> str:
    """A self-contained page: what was found, the picture, and some rows."""
    counts = pc.value_counts(samples["status"]).to_pylist()
    facts = ", ".join(f"{item['counts']:,} {item['values']}" for item in counts)
    names = ["point_index", "plot", "record_id", "datetime", "band", "value", "status"]
    head = "".join(f"<th>{name}</th>" for name in names)
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(row[name]))}</td>" for name in names) + "</tr>"
        for row in samples.select(names).slice(0, 12).to_pylist()
    )
    png = base64.b64encode(imagecodecs.png_encode(image)).decode()
    return (
        "<!doctype html><meta charset=utf-8><title>rasteret_beam demo</title>"
        "<style>body{font:15px system-ui;margin:2em auto;max-width:1240px;color:#222}"
        "td,th{padding:.2em .8em;text-align:left;border-bottom:1px solid #ddd}"
        "img{max-width:100%;border:1px solid #ddd}</style>"
        f"<h1>{samples.num_rows:,} samples of {N_POINTS:,} points</h1><p>{facts}.</p>"
        f'<img src="data:image/png;base64,{png}" alt="values at the points">'
        "<p>Near infrared (B08) of the newest scenes, dark to light; grey: cloud "
        "(nodata). The two scenes of a date lie in UTM zones 32 and 33.</p>"
        f"<table><tr>{head}</tr>{rows}</table>"
    )


def run(folder: pathlib.Path) -> int:
    """Makes, indexes, samples and shows; the exit code."""
    random = np.random.default_rng(20240701)
    scenes, points = folder / "scenes", folder / "points.parquet"
    collection, output = folder / "collection", folder / "samples"
    print(f"1. Writing {len(ZONES) * len(DATES)} scenes in two UTM zones to {scenes}")
    write_scenes(scenes, random)
    write_points(points, random)
    print(f"2. Indexing them into {collection}")
    named = ",".join(f"{name}={index}" for name, index in BANDS.items())
    code = build_collection.run([
        "--inputs", f"{scenes}/*.tif", "--output", str(collection),
        "--datetime_pattern", r"_(\d{8})", "--bands", named,
    ])  # fmt: skip
    if code:
        return code
    print(f"3. Sampling {N_POINTS:,} points of the newest scenes into {output}")
    code = sample_points.run([
        "--collection", str(collection), "--points", str(points), "--points_crs", crs.LONLAT,
        "--bands", ",".join(BANDS), "--date_range", "2024-07-01/2024-07-02",
        "--output", str(output),
        "--output_format", "geoparquet",
    ])  # fmt: skip
    if code:
        return code
    samples = pq.read_table(output)
    infrared = samples.filter(pc.field("band") == "B08")
    image = picture(infrared)
    (folder / "samples.png").write_bytes(imagecodecs.png_encode(image))
    (folder / "index.html").write_text(page(infrared, image), encoding="utf-8")
    print(f"4. Look at {folder / 'index.html'} (or samples.png); the rows are in {output}")
    return 0


def main() -> int:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("demo-output"))
    return run(parser.parse_args().folder)


if __name__ == "__main__":
    started = dt.datetime.now(dt.timezone.utc)
    code = main()
    print(f"Done in {(dt.datetime.now(dt.timezone.utc) - started).total_seconds():.1f} s")
    sys.exit(code)
