"""One job in a process of its own: what it gives, and what it takes.

Reads a job as JSON from standard input, and writes what was measured to standard output.
A job is a function that imports what it needs and gives the function that is measured.
"""

import json
import os
import pathlib
import resource
import sys
import time

import digests


def floor_job(spec):
    import floor  # noqa: PLC0415 -- imports are measured apart, for every job

    return lambda: floor.run(spec)


def beam_job(spec):
    """Our pipeline; ends in the digest, fused with what makes the samples."""
    import beam_jobs  # noqa: PLC0415

    return lambda: {"digest": beam_jobs.digest(spec)}


def beam_parquet_job(spec):
    """Our pipeline; ends in Parquet files, whose digest is made when all is measured."""
    import beam_jobs  # noqa: PLC0415
    import pyarrow.dataset as pads  # noqa: PLC0415

    folder = str(pathlib.Path.cwd() / "samples")

    def written():
        samples = pads.dataset(folder)
        columns = [name for name in digests.COLUMNS if name in samples.schema.names]
        batches = samples.to_batches(columns=columns, batch_size=65_536)
        return {"digest": digests.add(map(digests.of_batch, batches))}

    def run():
        beam_jobs.write(spec, folder)
        return {"later": written}

    return run


def shuffle_job(spec):
    """What of our pipeline is the runner's: see skew.py."""
    import beam_jobs  # noqa: PLC0415

    return lambda: {"shuffled": beam_jobs.shuffle(spec)}


def local_job(spec):
    """Our path without Beam, whose result is one table."""
    import pyarrow.parquet as pq  # noqa: PLC0415

    from rasteret_beam import CollectionQuery, PointColumns, Store  # noqa: PLC0415
    from rasteret_beam.local import sample_points  # noqa: PLC0415
    from rasteret_beam.options import SampleOptions  # noqa: PLC0415

    options = SampleOptions(bands=tuple(spec["bands"]), **window_options(spec))
    query = CollectionQuery(spec["collection"], options.bands, store=Store(allow_http=True))

    def run():
        points = pq.read_table(spec["points"])
        result = sample_points(query, points, PointColumns(crs="EPSG:4326"), options)
        return {"digest": digests.of_table(result.samples)}

    return run


def rasteret_job(spec):
    import peers  # noqa: PLC0415

    return peers.rasteret(spec)


def rasterio_job(spec):
    import peers  # noqa: PLC0415

    return peers.rasterio_blocks(spec)


def async_tiff_job(spec):
    import peers  # noqa: PLC0415

    return peers.async_tiff(spec)


def build_job(spec):
    """Not measured: makes the collection that all others read."""
    import datasets  # noqa: PLC0415

    def run():
        target = spec["collection"]
        datasets.build_collection(spec["scene"], spec["server"], target, spec["repeats"])
        return {}

    return run


def index_job(spec):
    """Not measured: makes a collection of a table's items."""
    import apache_beam as beam  # noqa: PLC0415

    from rasteret_beam import BuildCollection, RecordTable  # noqa: PLC0415

    def run():
        with beam.Pipeline("FnApiRunner") as pipeline:
            _ = pipeline | BuildCollection(
                source=RecordTable(table=spec["table"]), folder=spec["collection"],
            )
        return {}

    return run


JOBS = {
    "floor": floor_job,
    "beam": beam_job,
    "beam-parquet": beam_parquet_job,
    "1-process": beam_job,
    "2-processes": beam_job,
    "1-process-1-core": beam_job,
    "2-processes-2-cores": beam_job,
    "shuffle": shuffle_job,
    "local": local_job,
    "rasteret": rasteret_job,
    "rasterio": rasterio_job,
    "async-tiff": async_tiff_job,
    "build": build_job,
    "index": index_job,
}


def window_options(spec):
    radius = spec.get("radius", 0)
    if not radius:
        return {}
    return {"max_distance_pixels": radius, "return_neighbourhood": "always"}


def cpu_seconds():
    """Of this process and of its children that have ended."""
    uses = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(use.ru_utime + use.ru_stime for use in uses)


def peak_mb():
    """Most memory this process had since its peak was last reset."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def main():
    spec = json.loads(sys.stdin.read())
    if spec.get("cores"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: spec["cores"]])
    started, before = time.perf_counter(), cpu_seconds()
    run = JOBS[spec["job"]](spec)
    imports = {"import_wall": time.perf_counter() - started, "import_cpu": cpu_seconds() - before}
    idle = peak_mb()
    # The peak counts from here on, and includes what the imports hold.
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    started, before = time.perf_counter(), cpu_seconds()
    result = run()
    later = result.pop("later", dict)
    measured = {
        "wall": time.perf_counter() - started, "cpu": cpu_seconds() - before,
        "peak_mb": peak_mb(), "idle_mb": idle, **imports, **result,
    }  # fmt: skip
    measured |= later()
    print("\n" + json.dumps(measured), end="", flush=True)
    # Threads of some peers do not survive the interpreter's end.
    os._exit(0)


if __name__ == "__main__":
    main()
