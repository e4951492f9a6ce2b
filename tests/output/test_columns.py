"""The user's columns: any name is fine but those that the output gives."""

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from sample_rows import OPTIONS, WINDOWS, batch, one_file, record

from rasteret_beam import schema
from rasteret_beam.errors import OptionError
from rasteret_beam.options import SampleOptions
from rasteret_beam.output import FORMATS, Layout
from rasteret_beam.output.columns import check_columns, check_output, user_names

BANDS = ("B1", "B2")
UNDERLINED = ("_lon", "_lat", "_place", "_unit")


@pytest.mark.parametrize("layout", ["long", "wide", "array"])
@pytest.mark.parametrize("output_format", FORMATS)
def test_columns_with_an_underline_are_the_users(output_format, layout):
    columns = pa.record_batch({name: [f"my {name}"] for name in UNDERLINED})
    check_columns(columns.schema.names, output_format, Layout(layout, BANDS))
    rows = batch([1.0], [2.0], of=record(), columns=columns)
    file = one_file(rows, output_format=output_format, layout=Layout(layout, BANDS))
    table = pacsv.read_csv(file) if output_format == "csv" else pq.read_table(file)
    assert {name: table[name].to_pylist() for name in UNDERLINED} == {
        name: [f"my {name}"] for name in UNDERLINED
    }
    assert not [name for name in table.schema.names if name.startswith("rasteret_beam:")]


@pytest.mark.parametrize(("output_format", "layout", "name"), [
    ("parquet", "wide", "B2"), ("parquet", "wide", "band_statuses"), ("csv", "array", "values"),
    ("csv", "wide", "neighbourhood_values"), ("parquet", "wide", "B1_neighbourhood_values"),
    ("geoparquet", "long", "geometry"), ("geoparquet", "wide", "geometry_bbox"),
    ("bigquery", "long", "Geog"), ("parquet", "long", "rasteret_beam:place"),
])  # fmt: skip
def test_names_that_the_output_gives_are_refused(output_format, layout, name):
    with pytest.raises(OptionError, match=rf"Columns \['{name}'\] .*rename them"):
        check_columns(["site", name], output_format, Layout(layout, BANDS))


def test_names_of_other_formats_and_layouts_are_the_users():
    names = ["geometry", "geog", "values", "B1", "neighbourhood_values", "status"]
    check_columns(names, "parquet", Layout("long", BANDS))


@pytest.mark.parametrize("options", [OPTIONS, WINDOWS, SampleOptions(bands=("B1",))])
def test_columns_of_samples_that_are_not_ours_are_the_users(options):
    columns = pa.schema({"site": pa.string(), "values": pa.int64()})
    assert user_names(schema.sample_schema(options, columns)) == ["site", "values"]
    assert user_names(schema.sample_schema(options, None)) == []


def test_the_users_status_and_neighbourhoods_are_the_users():
    columns = pa.schema({"neighbourhood_values": pa.string(), "status": pa.string()})
    found = user_names(schema.sample_schema(SampleOptions(bands=("B1",)), columns))
    assert found == ["neighbourhood_values", "status"]


@pytest.mark.parametrize(("output_format", "band"), [
    ("parquet", "status"), ("csv", "datetime"), ("parquet", "point_index"), ("csv", "record_id"),
    ("parquet", "band_statuses"), ("parquet", "band"), ("csv", "B1_neighbourhood_values"),
    ("geoparquet", "geometry"), ("geoparquet", "geometry_bbox"), ("bigquery", "GEOG"),
    ("bigquery", "Status"), ("parquet", "rasteret_beam:place"),
])  # fmt: skip
def test_a_band_whose_column_would_take_the_place_of_another_is_refused(output_format, band):
    with pytest.raises(OptionError, match=rf"Bands \['{band}'\] .*give layout 'array' or 'long'"):
        check_output(output_format, Layout("wide", ("B1", band)))
    for layout in ("long", "array"):
        check_output(output_format, Layout(layout, ("B1", band)))


def test_a_band_keeps_names_that_no_other_column_of_its_rows_has():
    bands = ("value", "geometry", "geog", "Status", "B1", "neighbourhood_values")
    check_output("csv", Layout("wide", bands))
    rows = [batch([1.0], [2.0], of=record(), band=b, value=[n]) for n, b in enumerate(bands)]
    (row,) = pq.read_table(one_file(*rows, layout=Layout("wide", bands))).to_pylist()
    assert [row[band] for band in bands] == [0, 1, 2, 3, 4, 5]
    assert row["status"] == "OK"
