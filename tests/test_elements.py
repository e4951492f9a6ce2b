"""Elements travel as they are, and as small as they can."""

import pickle

import numpy as np
import pyarrow as pa
import pytest
from apache_beam import coders
from hypothesis import given
from hypothesis import strategies as st

from rasteret_beam import PointBatch, SampleBatch
from rasteret_beam.elements import (
    POINT_DTYPE,
    Batch,
    Geotransform,
    Grid,
    PlannedPoints,
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


COORDINATES = {
    "degrees": lambda rng, n: rng.uniform(-180, 180, n),
    "whole": lambda rng, n: rng.integers(-3, 70_000, n).astype(float),
    "far apart": lambda rng, n: rng.choice([0.0, 2.0**40], n),
    "beyond what floats count": lambda rng, n: rng.choice([2.0**60, 2.0**60 + 256], n),
    "zeros of both signs": lambda rng, n: rng.choice([0.0, -0.0, 1.0], n),
    "no numbers": lambda rng, n: rng.choice([np.nan, np.inf, -np.inf, 3.0], n),
}
INDEXES = {
    "rows": lambda rng, n: np.arange(n) + rng.integers(2**40),
    "hashes": lambda rng, n: rng.integers(-(2**63), 2**63 - 1, n),
    "one": lambda rng, n: np.full(n, rng.integers(9)),
}


@given(
    n_points=st.sampled_from([0, 1, 255, 256, 1000]),
    index=st.sampled_from(sorted(INDEXES)),
    kinds=st.tuples(*[st.sampled_from(sorted(COORDINATES))] * 4),
    columns=st.lists(st.sampled_from(["x", "y", "other", "text", "null", "list"]), max_size=4),
    seed=st.integers(0, 999),
)
def test_planned_points_arrive_bit_by_bit(n_points, index, kinds, columns, seed):
    rng = np.random.default_rng(seed)
    points = np.empty(n_points, POINT_DTYPE)
    points["point_index"] = INDEXES[index](rng, n_points)
    for name, kind in zip(POINT_DTYPE.names[1:], kinds, strict=True):
        points[name] = COORDINATES[kind](rng, n_points)
    of = {
        "x": pa.array(points["x"]), "y": pa.array(points["y"]),
        "other": pa.array(rng.random(n_points)),
        "text": pa.array(["a"] * n_points, pa.string()), "null": pa.nulls(n_points, pa.float64()),
        "list": pa.array([[1.0]] * n_points, pa.list_(pa.float64())),
    }  # fmt: skip
    table = None
    if columns:
        names = [f"{name}_{at}" for at, name in enumerate(columns)]
        table = pa.RecordBatch.from_arrays([of[name] for name in columns], names=names)
    found = pickle.loads(pickle.dumps(PlannedPoints(points, table, "EPSG:4326", None)))  # noqa: S301 -- ours
    assert found.points.tobytes() == points.tobytes()
    if table is None:
        assert found.columns is None
    else:
        assert found.columns.schema.equals(table.schema, check_metadata=True)
        assert repr(found.columns.to_pydict()) == repr(table.to_pydict())


@pytest.mark.parametrize("change", [
    lambda field: field.with_nullable(nullable=False),
    lambda field: field.with_metadata({"k": "v"}),
])
def test_columns_that_say_more_than_their_numbers_arrive_as_they_were(change):
    points = np.zeros(1000, POINT_DTYPE)
    points["x"] = np.arange(1000) / 3
    schema = pa.schema([change(pa.field("lon", pa.float64()))], metadata={"of": "the table"})
    columns = pa.RecordBatch.from_arrays([pa.array(points["x"])], schema=schema)
    for table in (columns, columns.replace_schema_metadata(None)):
        found = pickle.loads(pickle.dumps(PlannedPoints(points, table, None, None)))  # noqa: S301 -- ours
        assert found.columns.equals(table, check_metadata=True)


def test_a_point_with_its_own_coordinate_columns_is_shuffled_in_few_bytes():
    points = np.zeros(N_ROWS, POINT_DTYPE)
    points["point_index"] = np.arange(N_ROWS) + 2**40
    points["x"], points["y"] = np.random.default_rng(1).random((2, N_ROWS))
    points["row_float"] = np.arange(N_ROWS) % 1024 + 70_000
    columns = pa.record_batch({"lon": points["x"], "lat": points["y"]})
    size = len(pickle.dumps(PlannedPoints(points, columns, "EPSG:4326", None)))
    assert size < N_ROWS * (2 + 8 + 8 + 2 + 1) + 2000


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
