"""Instants as columns of any timestamp compare with them."""

import datetime as dt

import pyarrow as pa
import pytest

from rasteret_beam.collection.filters import Filters
from rasteret_beam.collection.instants import instant_scalar

KINDS = [pa.timestamp(unit, zone) for unit in ("s", "ms", "us", "ns") for zone in (None, "UTC")]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_dates_far_from_now_are_before_and_after_all_that_a_column_holds(kind):
    days = [dt.datetime(1700, 1, 1), dt.datetime(2024, 5, 1), dt.datetime(2262, 1, 1)]  # noqa: DTZ001 -- UTC
    table = pa.table({"datetime": pa.array(days, pa.timestamp("us")).cast(kind)})

    def kept(*dates):
        condition = Filters(date_range=dates).expression(table.schema)
        return [day.year for day in table.filter(condition)["datetime"].to_pylist()]

    assert kept("0001", "9999-12-31T23:59:59.999999Z") == [1700, 2024, 2262]
    assert kept("1500", "1600") == kept("2300", "9999") == []
    assert kept("2024-05-01", "9999") == [2024, 2262]
    where = Filters(where="datetime < '1600-01-01' or datetime >= '2262-01-01'")
    assert table.filter(where.expression(table.schema)).num_rows == 1


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_an_instant_is_the_same_in_every_unit(kind):
    found = instant_scalar("2024-01-31T12:00:00+02:00", kind)
    assert found.type == kind
    assert found.cast(pa.timestamp("us", kind.tz)).as_py().isoformat()[:19] == "2024-01-31T10:00:00"
