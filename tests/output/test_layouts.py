"""Wide and array rows hold what long rows hold."""

import collections

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_rows import WINDOWS, batch, one_file, record

from rasteret_beam.errors import OptionError
from rasteret_beam.options import SampleOptions
from rasteret_beam.output import Layout
from rasteret_beam.schema import STATUSES

BANDS = ("B1", "B2", "B3")
STATES = ("OK", "FALLBACK", "NODATA", "FETCH_ERROR")


@st.composite
def long_rows(draw):
    """Batches, and what each (point, record) has by band."""
    random = np.random.default_rng(draw(st.integers(0, 99)))
    n_points = draw(st.integers(1, 12))
    lon, lat = random.uniform(-5, 5, n_points), random.uniform(-5, 5, n_points)
    batches, expected = [], collections.defaultdict(dict)
    for number in range(draw(st.integers(0, 2))):
        for band in BANDS:
            mine = np.flatnonzero(random.random(n_points) < 0.7)
            status = random.choice(STATES, len(mine))
            value = np.where(status == "FETCH_ERROR", np.nan, random.integers(0, 9, len(mine)))
            batches.append(batch(
                lon[mine], lat[mine], index=mine, of=record(number), band=band, value=value,
                status=status, columns=pa.record_batch({"plot": pa.array(mine).cast("string")}),
            ))  # fmt: skip
            for point, told, found in zip(mine, status, value, strict=True):
                expected[point, f"r{number}"][band] = (
                    None if told == "FETCH_ERROR" else found, str(told),
                )
    lost = np.flatnonzero(random.random(n_points) < 0.3)
    batches.append(batch(
        lon[lost], lat[lost], index=lost, band=None, value=np.full(len(lost), np.nan),
        status=["NO_RECORD"] * len(lost),
        columns=pa.record_batch({"plot": pa.array(lost).cast("string")}),
    ))  # fmt: skip
    for point in lost:
        expected[point, None] = {}
    return batches, expected


def _worst(told):
    return max((status for _, status in told.values()), key=STATUSES.index, default="NO_RECORD")


def _check(row, told, values):
    assert values == [told.get(band, (None,))[0] for band in BANDS]
    assert row["status"] == _worst(told)
    statuses = [told[band][1] if band in told else None for band in BANDS]
    same = not told or set(statuses) == {row["status"]}
    assert row["band_statuses"] == (None if same else statuses)
    assert row["plot"] == str(row["point_index"])


@settings(deadline=None, max_examples=60)
@given(long_rows())
def test_a_wide_row_has_a_column_for_each_band(rows):
    batches, expected = rows
    table = pq.read_table(one_file(*batches, layout=Layout("wide", BANDS)))
    found = {(row["point_index"], row["record_id"]): row for row in table.to_pylist()}
    assert len(found) == table.num_rows
    assert found.keys() == expected.keys()
    for key, row in found.items():
        _check(row, expected[key], [row[band] for band in BANDS])


@settings(deadline=None, max_examples=60)
@given(long_rows())
def test_an_array_row_has_the_bands_in_their_order(rows):
    batches, expected = rows
    table = pq.read_table(one_file(*batches, layout=Layout("array", BANDS)))
    assert table.schema.field("values").type == pa.list_(pa.float64(), 3)
    for row in table.to_pylist():
        _check(row, expected[row["point_index"], row["record_id"]], row["values"])


def test_columns_stand_in_a_fixed_order_and_the_users_are_last():
    columns = pa.record_batch({"plot": ["a"]})
    rows = batch([1.0], [2.0], of=record(), columns=columns)
    table = pq.read_table(one_file(rows, layout=Layout("wide", BANDS)))
    assert table.column_names == [
        "point_index", "point_x", "point_y", "point_crs", "record_id", "datetime", "collection",
        "raster_crs", "B1", "B2", "B3", "status", "band_statuses", "plot",
    ]  # fmt: skip


def test_points_that_share_an_index_keep_a_row_each():
    bands = [
        batch([1.0, 1.0], [2.0, 2.0], index=[5, 5], of=record(), band=band, value=[3, 4])
        for band in BANDS
    ]
    table = pq.read_table(one_file(*bands, layout=Layout("wide", BANDS)))
    assert table.num_rows == 2
    assert sorted(table["B1"].to_pylist()) == [3, 4]
    assert table["B1"].to_pylist() == table["B3"].to_pylist()


@pytest.mark.parametrize(("layout", "name"), [
    ("wide", "B1_neighbourhood_values"), ("array", "neighbourhood_values"),
])  # fmt: skip
def test_neighbourhoods_go_along(layout, name):
    rows = batch([1.0], [2.0], of=record(), options=WINDOWS)
    around = pa.array([[float(n) for n in range(9)]])
    at = rows.samples.schema.get_field_index("neighbourhood_values")
    samples = rows.samples.set_column(at, "neighbourhood_values", around)
    rows = type(rows)(samples, rows.crs)
    (found,) = pq.read_table(one_file(rows, layout=Layout(layout, ("B1",))))[name].to_pylist()
    assert (found if layout == "wide" else found[0]) == list(range(9))


def test_duckdb_reads_the_lists_of_an_array_layout(tmp_path):
    path = tmp_path / "samples.parquet"
    bands = [batch([1.0], [2.0], of=record(), band=band, value=[7]) for band in BANDS[:2]]
    path.write_bytes(one_file(*bands, layout=Layout("array", BANDS)).getvalue())
    found = duckdb.sql(f"select values from read_parquet('{path}')").fetchall()  # noqa: S608 -- a test's path
    assert [list(row[0]) for row in found] == [[7.0, 7.0, None]]


def test_a_band_that_was_not_announced_is_an_error():
    with pytest.raises(OptionError, match="B9"):
        one_file(batch([1.0], [2.0], of=record(), band="B9"), layout=Layout("wide", BANDS))


def test_layouts_are_checked():
    with pytest.raises(OptionError, match="got 'tall'"):
        Layout("tall").check()
    with pytest.raises(OptionError, match="needs the bands"):
        Layout("array").check()
    Layout("long").check()


@pytest.mark.parametrize("layout", ["long", "wide", "array"])
@pytest.mark.parametrize("status", [
    pa.array([3, 1]), pa.array(["sown", None]), pa.array(["sown", "cut"]).dictionary_encode(),
], ids=["numbers", "text", "dictionary"])  # fmt: skip
def test_a_status_that_the_user_brings_is_a_column_as_any_other(layout, status):
    # rasteret has no status, and so there is none of ours with `unmatched="omit"`.
    options = SampleOptions(bands=BANDS[:2], unmatched="omit")
    columns = pa.record_batch({"status": status, "neighbourhood_values": pa.array([7, 8])})
    if layout != "long":
        columns = columns.select(["status"])
    batches = [
        batch([1, 2], [3, 4], of=record(), band=band, columns=columns, options=options)
        for band in BANDS[:2]
    ]
    found = pq.read_table(one_file(*batches, layout=Layout(layout, BANDS[:2])))
    n_each = 2 if layout == "long" else 1
    plain = status.cast("string") if pa.types.is_dictionary(status.type) else status
    assert found["status"].to_pylist() == plain.to_pylist() * n_each
    assert "band_statuses" not in found.schema.names
    if layout == "long":
        assert found["neighbourhood_values"].to_pylist() == [7, 8, 7, 8]
