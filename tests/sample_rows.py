"""Batches of finished sample rows, made by hand, and files of them without Beam."""

import io
import pickle

import numpy as np

from rasteret_beam import row_sums, schema
from rasteret_beam.elements import BlockRows, RecordInfo, SampleBatch, TileBlockKey
from rasteret_beam.options import SampleOptions
from rasteret_beam.output import Layout
from rasteret_beam.output.earlier import earlier_run
from rasteret_beam.output.formats import PLACED_FORMATS, TableWriter
from rasteret_beam.output.part_writer import PartWriter
from rasteret_beam.output.parts import read_part
from rasteret_beam.output.shard_files import plan_files, write_file
from rasteret_beam.row_sums import RowLabel
from rasteret_beam.schema import STATUS_CODES

OPTIONS = SampleOptions(bands=("B1", "B2"), unmatched="emit")
WINDOWS = SampleOptions(
    bands=("B1",), max_distance_pixels=1, return_neighbourhood="always", unmatched="emit",
)


def record(number=0):
    return RecordInfo(f"r{number}", number, 1_000_000 * number, "c", 32631)


def batch(
    x, y, *, index=None, of=None, band="B1", value=None, status=None, crs="EPSG:4326",
    columns=None, options=OPTIONS, block=None,
):
    """Rows of one band of one record; ``of`` None for points without one."""
    x, y = np.array(x, float), np.array(y, float)
    index = np.arange(len(x)) if index is None else np.asarray(index, np.int64)
    codes = None if status is None else np.array([STATUS_CODES[name] for name in status], np.int8)
    samples = schema.make_samples(
        options,
        schema.point_arrays(options, index, (x, y), crs, columns),
        record=of,
        band=band,
        value=np.arange(len(x), dtype=float) if value is None else np.array(value, float),
        status_codes=codes,
    )
    return SampleBatch(samples, crs, block=block)


def bands_of(x, y, *, of, bands, index=None, crs="EPSG:4326", columns=None, block=None):
    """Batches of some bands of a record over the memory of the same points, as sampling gives."""
    x, y = np.array(x, float), np.array(y, float)
    index = np.arange(len(x)) if index is None else np.asarray(index, np.int64)
    points = schema.point_arrays(OPTIONS, index, (x, y), crs, columns)
    found = []
    for number, band in enumerate(bands):
        value = index + number / 8
        samples = schema.make_samples(
            OPTIONS, points, record=of, band=band, value=value, status_codes=None,
        )
        found.append(SampleBatch(samples, crs, block=block))
    return found


def apart(one):
    """The same rows over memory of their own, as they come from another process."""
    return pickle.loads(pickle.dumps(one))  # noqa: S301 -- our own bytes


def block_of(number, *labels_and_indexes):
    """The sum of a block's rows: ((record, band), indexes) each."""
    sums, n_rows = 0, 0
    for (info, band), index in labels_and_indexes:
        label = RowLabel(info.record_id, info.datetime_us, info.collection, info.epsg, band)
        sums = row_sums.add(sums, row_sums.row_sum(label, row_sums.point_hashes(np.array(index))))
        n_rows += len(index)
    return BlockRows(TileBlockKey(number, 0, 0, 0), n_rows, sums)


class Parts:
    """Part files in memory."""

    def __init__(self):
        self.files = {}

    def write(self, *batches, run="run", with_lonlat=False):
        writer = PartWriter(with_lonlat=with_lonlat)
        for one in batches:
            writer.add(one)
        name, file = f"part-{len(self.files)}", io.BytesIO()
        part = writer.write(file, name, run)
        self.files[name] = file.getvalue()
        return part

    def open(self, name):
        return io.BytesIO(self.files[name])

    def earlier(self):
        return earlier_run(read_part(self.open(name), name) for name in self.files)

    def kept(self):
        """What counts of them where all is planned as it was."""
        earlier = self.earlier()
        return earlier.keep(rows for of in earlier.whole.values() for rows in of.values())


def files_of(parts, known, *, layout=None, output_format="parquet", kept=None, file_rows=None):
    """The bytes of each file of an output."""
    layout = layout or Layout()
    found = []
    for task in plan_files(known, kept, layout, file_rows):
        file = io.BytesIO()
        output = TableWriter(file, output_format)
        write_file(task, kept, parts.open, layout, output)
        output.close()
        found.append(file.getvalue())
    return found


def one_file(*batches, **how):
    """The file of some batches."""
    parts = Parts()
    lonlat = how.get("output_format") in PLACED_FORMATS
    (data,) = files_of(parts, [parts.write(*batches, with_lonlat=lonlat)], **how)
    return io.BytesIO(data)
