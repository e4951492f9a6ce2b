"""Elements travel as they are, and as small as they can."""

import pickle

import numpy as np
import pyarrow as pa
import pytest
from apache_beam import coders

from rasteret_beam import PointBatch, SampleBatch
from rasteret_beam.elements import (
    Batch,
    Geotransform,
    Grid,
    RecordInfo,
    Source,
    Sources,
    TileLayout,
)
from rasteret_beam.transforms import _coders  # noqa: F401 -- registers them

N_ROWS = 5000

COLUMNS = {
    "varying": pa.array(range(N_ROWS), pa.int64()),
    "constant": pa.array(np.full(N_ROWS, 7, np.int32)),
    "when": pa.array(np.full(N_ROWS, 3, np.int64)).cast(pa.timestamp("us")),
    "nan": pa.array(np.full(N_ROWS, np.nan)),
    "zeros_of_both_signs": pa.array([0.0, -0.0] * (N_ROWS // 2)),
    "one_text": pa.DictionaryArray.from_arrays(np.zeros(N_ROWS, np.int32), ["a"]),
    "texts": pa.DictionaryArray.from_arrays(np.arange(N_ROWS, dtype=np.int32) % 2, ["a", "b"]),
    "plain_text": pa.array(["x"] * N_ROWS),
    "all_null": pa.nulls(N_ROWS, pa.string()),
    "untyped": pa.nulls(N_ROWS),
    "some_null": pa.array([None, 1] * (N_ROWS // 2)),
    "lists": pa.array([[1.0]] * N_ROWS),
    "flags": pa.array([True] * N_ROWS),
    "texts_in_a_struct": pa.StructArray.from_arrays(
        [pa.DictionaryArray.from_arrays(np.zeros(N_ROWS, np.int32), ["a"])], ["text"],
    ),
    "extension": pa.ExtensionArray.from_storage(
        pa.uuid(), pa.array([b"0123456789abcdef"] * N_ROWS, pa.binary(16)),
    ),
    "wide": pa.array([b"0123456789abcdef"] * N_ROWS, pa.binary(16)),
}


def _travelled(batch):
    return pickle.loads(pickle.dumps(PointBatch(batch, "EPSG:4326"))).points  # noqa: S301 -- ours


@pytest.mark.parametrize("rows", [(0, N_ROWS), (13, 2000), (7, 3), (5, 0)], ids=str)
@pytest.mark.parametrize("names", [[name] for name in COLUMNS] + [list(COLUMNS)], ids=",".join)
def test_a_batch_arrives_as_it_was(names, rows):
    fields = [pa.field(n, COLUMNS[n].type, nullable=n != "constant") for n in names]
    schema = pa.schema(fields, metadata={"k": "v"})
    batch = pa.RecordBatch.from_arrays([COLUMNS[n] for n in names], schema=schema).slice(*rows)
    arrived = _travelled(batch)
    assert arrived.schema.equals(batch.schema, check_metadata=True)
    assert repr(arrived.to_pydict()) == repr(batch.to_pydict())
    arrived.validate(full=True)


def test_signs_of_zero_survive():
    arrived = _travelled(pa.record_batch({"x": COLUMNS["zeros_of_both_signs"]}))
    assert np.signbit(arrived.column(0).to_numpy())[:4].tolist() == [False, True, False, True]


def test_what_is_alike_in_all_rows_is_sent_once():
    alike = {name: COLUMNS[name] for name in ("constant", "when", "nan", "one_text", "all_null")}
    assert len(pickle.dumps(PointBatch(pa.record_batch(alike), None))) < N_ROWS


def test_a_batch_tells_its_size_without_being_pickled(monkeypatch):
    batch = SampleBatch(pa.record_batch({"x": COLUMNS["varying"]}), None)
    coder = coders.registry.get_coder(Batch)
    assert type(coder) is type(coders.registry.get_coder(SampleBatch))
    monkeypatch.setattr(SampleBatch, "__reduce__", None)
    assert coder.estimate_size(batch) >= 8 * N_ROWS


def test_sources_are_unpickled_once():
    grid = Grid(10, 10, 16, 16, Geotransform(1.0, 0.0, -1.0, 0.0), None)
    layout = TileLayout(16, 16, "float32", 1, 1, nodata=float("nan"))
    source = Source(RecordInfo("r", 0, None, "", None), "a.tif", 0, layout, ("B",), (0,), (0,))
    packed = pickle.dumps(Sources(grid, (source,)))
    first, second = pickle.loads(packed), pickle.loads(packed)  # noqa: S301 -- ours
    assert first is second
    assert (first.grid, first.items[0].href) == (grid, "a.tif")
