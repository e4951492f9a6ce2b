"""Times how fast COGs are indexed over HTTP, by us, by rasteret and by a plain tifffile loop.

A server in a process of its own answers each request after a latency, like an object store
nearby. Every row runs in a fresh process; runs are interleaved, so that a machine that
slows down slows all of them: ratios are what to look at. All must find equal tile offsets,
else the run fails.

    python tests/rasteret_env.py && python tests/benchmarks/headers.py --files 2000 --runs 3
"""

import argparse
import asyncio
import concurrent.futures
import contextlib
import hashlib
import io
import json
import os
import pathlib
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
import zlib

sys.path.extend(str(folder) for folder in pathlib.Path(__file__).resolve().parents[:2])
import rasteret_env
import serving

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
EPSG, ORIGIN, PIXEL_METRES = 32631, (499_980.0, 4_600_020.0), 10.0
BLOCK_BYTES = 16 * 1024
COMPARED_FILES = 20
POOL_THREADS = 32


# The server: files in memory, in a process of its own.


async def serve(folder, latency_seconds):
    """Serves ``/{stem}/{anything}`` from each TIFF in a folder; tells its port first."""
    files = {f"/{path.stem}": memoryview(path.read_bytes()) for path in folder.glob("*.tif")}
    await serving.serve(lambda path: files.get(path.rpartition("/")[0]), latency_seconds)


@contextlib.contextmanager
def running_server(folder, latency_ms):
    """Gives the address of a server that lasts until the block ends."""
    command = [
        sys.executable, __file__, "--serve", str(folder), "--latency_ms", str(latency_ms),
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.terminate()


# The files.


def write_files(folder):
    """Two files whose headers are what counts; all tiles are the same few bytes of zeros.

    ``s2``: a Sentinel-2 band, 121 tiles of 1024: its header and tables fit any first read.
    ``big``: 40000 x 40000 in 24649 tiles of 256: its tables are 197 kB.
    """
    write_cog(folder / "s2.tif", side=10_980, tile=1024)
    write_cog(folder / "big.tif", side=40_000, tile=256)


def write_cog(path, *, side, tile):
    """Writes the tags that GDAL would, in its order: header, directory, values, tiles."""
    encoded = zlib.compress(bytes(tile * tile * 2))
    n_tiles = (-(-side // tile)) ** 2
    names = ("WGS 84 / UTM zone 31N|", "WGS 84|")
    keys = [
        (1024, 0, 1, 1), (1025, 0, 1, 1), (1026, 34737, len(names[0]), 0),
        (2049, 34737, len(names[1]), len(names[0])), (2054, 0, 1, 9102),
        (3072, 0, 1, EPSG), (3076, 0, 1, 9001),
    ]  # fmt: skip
    directory = [1, 1, 0, len(keys), *(number for key in keys for number in key)]
    tags = {
        256: ("H", [side]), 257: ("H", [side]), 258: ("H", [16]), 259: ("H", [8]),
        262: ("H", [1]), 277: ("H", [1]), 284: ("H", [1]), 317: ("H", [2]),
        322: ("H", [tile]), 323: ("H", [tile]), 324: ("I", [0] * n_tiles),
        325: ("I", [len(encoded)] * n_tiles), 339: ("H", [1]),
        33550: ("d", [PIXEL_METRES, PIXEL_METRES, 0.0]), 33922: ("d", [0.0] * 3 + [*ORIGIN, 0.0]),
        34735: ("H", directory), 34737: ("s", "".join(names).encode() + b"\0"),
        42113: ("s", b"0\0"),
    }  # fmt: skip
    tiles_at = len(tiff_header(tags))
    tags[324] = ("I", [tiles_at + number * len(encoded) for number in range(n_tiles)])
    path.write_bytes(tiff_header(tags) + encoded * n_tiles)


def tiff_header(tags):
    """A little-endian classic TIFF's header, its only directory, and what that points to."""
    entries, values = b"", b""
    values_at = 8 + 2 + 12 * len(tags) + 4
    for code, (kind, content) in tags.items():
        data = content if kind == "s" else struct.pack(f"<{len(content)}{kind}", *content)
        number = {"s": 2, "H": 3, "I": 4, "d": 12}[kind]
        entries += struct.pack("<HHI", code, number, len(content))
        if len(data) <= 4:
            entries += data.ljust(4, b"\0")
        else:
            entries += struct.pack("<I", values_at + len(values))
            values += data + bytes(len(data) % 2)
    return struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4) + values


# The rows. Each runs in a process of its own and gives tile offsets by file.


def ours_by_file(urls, options):
    """The package's function for one file, in a thread pool; no Beam, nothing written."""
    from rasteret_beam.indexing.headers import index_file  # noqa: PLC0415
    from rasteret_beam.storage import Store  # noqa: PLC0415

    store = Store(allow_http=True)

    def one(url):
        return index_file(store, url).bands[0].metadata["tile_offsets"]

    return timed(lambda: in_threads(one, urls, options["threads"]))


def ours_through_beam(urls, options):
    """pipelines/build_collection.py on a list of URLs, local runner; Parquet written."""
    import build_collection  # noqa: PLC0415 -- a script

    listed, output = (pathlib.Path(options["folder"]) / name for name in ("list.txt", "ours"))
    listed.write_text("\n".join(urls))
    flags = ["--inputs", str(listed), "--output", str(output), "--allow_http"]
    measured = timed(lambda: build_collection.run([*flags, "--runner", "FnApiRunner"]))
    if measured["result"] != 0:
        msg = f"build_collection.py ended with {measured['result']}"
        raise RuntimeError(msg)
    return {**measured, "result": offsets_of(output)}


def rasteret_builder(urls, options):
    """rasteret.build_from_table on a table of URLs, max_concurrent as it comes; Parquet too."""
    import pyarrow as pa  # noqa: PLC0415
    import rasteret  # noqa: PLC0415
    from rasteret.fetch import cog  # noqa: PLC0415

    # Plain http:// is for benchmarks only; its clients have no public switch for it.
    cog._OBSTORE_CLIENT_OPTIONS["allow_http"] = True
    ring = ((3.0, 40.0), (4.0, 40.0), (4.0, 41.0), (3.0, 41.0), (3.0, 40.0))
    square = struct.pack("<BIII10d", 1, 3, 1, 5, *(side for corner in ring for side in corner))
    table = pa.table({
        "id": [stem(url) for url in urls],
        "datetime": pa.array([1_700_000_000_000_000] * len(urls), pa.timestamp("us")),
        "geometry": [square] * len(urls),
        "assets": [{"B1": {"href": url}} for url in urls],
    })
    output = pathlib.Path(options["folder"]) / "theirs"
    measured = timed(lambda: rasteret.build_from_table(
        table, name="b", workspace_dir=str(output), enrich_cog=True, band_codes=["B1"],
    ))  # fmt: skip
    return {**measured, "result": offsets_of(output / "b_records")}


def tifffile_loop(urls, _options):
    """tifffile on blocks of 16 KiB by HTTP range requests, one file after another."""
    read = tifffile_reader()
    return timed(lambda: {stem(url): read(url) for url in urls})


def tifffile_pool(urls, _options):
    """tifffile on blocks of 16 KiB, as in the loop, in 32 threads."""
    read = tifffile_reader()
    return timed(lambda: in_threads(read, urls, POOL_THREADS))


def tifffile_reader():
    import requests  # noqa: PLC0415
    import tifffile  # noqa: PLC0415

    local = threading.local()

    def read(url):
        if not hasattr(local, "session"):
            local.session = requests.Session()
        with tifffile.TiffFile(BlockFile(local.session, url)) as tiff:
            tags = {tag.code: tag.value for tag in tiff.pages[0].tags}
        return tags[324]

    return read


class BlockFile(io.RawIOBase):
    """A file over range requests that keeps the blocks it read, as fsspec's does."""

    def __init__(self, session, url):
        super().__init__()
        self._session, self._url, self._at, self._blocks = session, url, 0, {}
        self._size = 1
        self._block(0)

    def readable(self):
        return True

    def seekable(self):
        return True

    def tell(self):
        return self._at

    def seek(self, offset, whence=io.SEEK_SET):
        self._at = offset + {io.SEEK_CUR: self._at, io.SEEK_END: self._size}.get(whence, 0)
        return self._at

    def readinto(self, buffer):
        end = min(self._at + len(buffer), self._size)
        if end <= self._at:
            return 0
        first, last = self._at // BLOCK_BYTES, (end - 1) // BLOCK_BYTES
        data = b"".join(self._block(number) for number in range(first, last + 1))
        start = self._at - first * BLOCK_BYTES
        buffer[: end - self._at] = data[start : start + end - self._at]
        count, self._at = end - self._at, end
        return count

    def _block(self, number):
        if number not in self._blocks:
            wanted = f"bytes={number * BLOCK_BYTES}-{(number + 1) * BLOCK_BYTES - 1}"
            answer = self._session.get(self._url, headers={"Range": wanted}, timeout=60)
            answer.raise_for_status()
            self._blocks[number] = answer.content
            self._size = int(answer.headers["Content-Range"].rpartition("/")[2])
        return self._blocks[number]


def in_threads(one, urls, threads):
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        return dict(zip(map(stem, urls), pool.map(one, urls), strict=True))


def timed(job):
    started, before = time.perf_counter(), serving.cpu_seconds()
    result = job()
    wall = time.perf_counter() - started
    return {"wall": wall, "cpu": serving.cpu_seconds() - before, "result": result}


def offsets_of(folder):
    """Tile offsets by record id, from a Collection's Parquet files."""
    import pyarrow.dataset as pads  # noqa: PLC0415

    files = sorted(str(path) for path in pathlib.Path(folder).rglob("*.parquet"))
    columns = {"id": pads.field("id"), "offsets": pads.field("B1_metadata", "tile_offsets")}
    table = pads.dataset(files).to_table(columns=columns)
    return dict(zip(table["id"].to_pylist(), table["offsets"], strict=True))


def stem(url):
    return pathlib.PurePosixPath(urllib.parse.urlsplit(url).path).stem


# The comparison.

ROWS = {
    "by_file": ours_by_file,
    "beam": ours_through_beam,
    "rasteret": rasteret_builder,
    "loop": tifffile_loop,
    "pool": tifffile_pool,
}


def rows_of(arguments):
    """(title, row, threads, share of the files) of what is to be run."""
    rows = [
        (f"rasteret_beam, {threads} threads", "by_file", threads, 1)
        for threads in arguments.threads
    ]
    rows.append(("rasteret_beam, pipeline", "beam", None, 1))
    if arguments.rasteret_python:
        rows.append(("rasteret", "rasteret", None, 1))
    rows += [("tifffile, 32 threads", "pool", None, 1), ("tifffile, loop", "loop", None, 20)]
    return [row for row in rows if row[1] in arguments.rows]


def run_row(row, threads, urls, arguments):
    """Runs a row in a new process; gives what it measured and what the server saw of it."""
    server = urls[0].rsplit("/", 2)[0]
    python, flags = sys.executable, []
    environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{REPOSITORY}/pipelines"}
    if row == "rasteret":
        python, flags = arguments.rasteret_python, ["-P"]
        environment.pop("PYTHONPATH")
    with tempfile.TemporaryDirectory() as folder:
        job = {"row": row, "urls": urls, "options": {"folder": folder, "threads": threads}}
        before, started = serving.stats_of(server), time.perf_counter()
        done = subprocess.run(  # noqa: S603
            [python, *flags, __file__, "--row", "-"], input=json.dumps(job), text=True,
            cwd=folder, env=environment, capture_output=True, check=False,
        )  # fmt: skip
        total, after = time.perf_counter() - started, serving.stats_of(server)
    if done.returncode:
        msg = f"{row} failed:\n{done.stderr[-3000:]}"
        raise RuntimeError(msg)
    measured = json.loads(done.stdout.rpartition("\n")[2])
    if measured["files"] != len(urls):
        msg = f"{row} indexed {measured['files']} of {len(urls)} files"
        raise RuntimeError(msg)
    seen = {name: after[name] - before[name] for name in before}
    return {**measured, "start": total - measured["wall"], "server": seen}


def run_child():
    """Runs one row, as the job on standard input says."""
    job = json.load(sys.stdin)
    measured = ROWS[job["row"]](job["urls"], job["options"])
    found = measured.pop("result")
    digests = {name: digest(found[name]) for name in sorted(found)[:COMPARED_FILES]}
    print("\n" + json.dumps({**measured, "files": len(found), "digests": digests}), end="")


def digest(offsets):
    """Of numbers, whatever holds them."""
    values = offsets.as_py() if hasattr(offsets, "as_py") else offsets
    return hashlib.sha256(json.dumps([int(value) for value in values]).encode()).hexdigest()


def compare(scene, n_files, url, arguments):
    """Runs all rows of one scene, interleaved; prints their medians and what they do."""
    urls = [f"{url}/{scene}/scene_{number:05}.tif" for number in range(n_files)]
    rows = rows_of(arguments)
    found = {row[0]: [] for row in rows}
    for run in range(arguments.runs):
        for title, row, threads, share in rows:
            part = urls[: max(n_files // share, min(n_files, COMPARED_FILES))]
            found[title].append(run_row(row, threads, part, arguments))
            print(f"  {scene} run {run + 1}: {title}", file=sys.stderr, flush=True)
    check([measured for runs in found.values() for measured in runs])
    print(f"\n{scene}: {n_files} files, {arguments.latency_ms} ms latency, {arguments.runs} runs")
    heads = ("files", "wall s", "files/s", "CPU s", "CPU ms/file", "req/file", "kB/file",
             "connections", "server busy", "start s", "x rasteret")  # fmt: skip
    print(f"{'':30}" + "".join(f"{head:>12}" for head in heads))
    table = {title: medians(runs) for title, runs in found.items()}
    peer = table.get("rasteret", {}).get("files/s")
    for title, row in table.items():
        cells = [f"{row[head]:>12{form_of(head)}}" for head in heads[:-1]]
        ratio = f"{row['files/s'] / peer:.2f}" if peer else "-"
        print(f"{title:30}" + "".join(cells) + f"{ratio:>12}")
    print("wall and CPU: without the start, which is the interpreter, imports and reading back")
    for _, row, *_ in {row[1]: row for row in rows}.values():
        print(f"{row:>10}: {ROWS[row].__doc__}")


def check(runs):
    """All rows must tell the same of the same files."""
    first = max((measured["digests"] for measured in runs), key=len)
    for measured in runs:
        if not measured["digests"].items() <= first.items() or not measured["digests"]:
            msg = f"The rows disagree: {measured['digests']}\nand {first}"
            raise RuntimeError(msg)


def medians(runs):
    every = [
        {
            "files": run["files"],
            "wall s": run["wall"],
            "files/s": run["files"] / run["wall"],
            "CPU s": run["cpu"],
            "CPU ms/file": 1000 * run["cpu"] / run["files"],
            "req/file": run["server"]["requests"] / run["files"],
            "kB/file": run["server"]["bytes"] / run["files"] / 1000,
            "connections": run["server"]["connections"],
            "server busy": run["server"]["cpu_seconds"] / run["wall"],
            "start s": run["start"],
        }
        for run in runs
    ]
    return {name: statistics.median(run[name] for run in every) for name in every[0]}


def form_of(head):
    if head == "server busy":
        return ".0%"
    return ".0f" if head in ("files", "files/s", "connections") else ".2f"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--files", type=int, default=2000)
    add("--big_files", type=int, default=200, help="Files whose tile tables are large")
    add("--latency_ms", type=float, default=30.0)
    add("--runs", type=int, default=3)
    add("--threads", type=int, nargs="+", default=[64], help="Of our function for one file")
    add("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    add("--rasteret_python", default=rasteret_env.find()[0])
    add("--serve", type=pathlib.Path, help=argparse.SUPPRESS)
    add("--row", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        asyncio.run(serve(arguments.serve, arguments.latency_ms / 1000))
    elif arguments.row:
        run_child()
    else:
        if not arguments.rasteret_python:
            print(f"rasteret: not run; {rasteret_env.find()[1]}")
        with tempfile.TemporaryDirectory() as folder:
            write_files(pathlib.Path(folder))
            with running_server(folder, arguments.latency_ms) as url:
                compare("s2", arguments.files, url, arguments)
                compare("big", arguments.big_files, url, arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
