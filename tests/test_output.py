"""Sample files: row groups, types, and GeoParquet."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
import shapely

from rasteret_beam import schema
from rasteret_beam.elements import RecordInfo, SampleBatch
from rasteret_beam.errors import OptionError
from rasteret_beam.options import SampleOptions
from rasteret_beam.output import FORMATS, SampleWriter, suffix_of

OPTIONS = SampleOptions(
    bands=("B1",), max_distance_pixels=1, return_neighbourhood="always", unmatched="emit",
)


def _batch(x, y, crs="EPSG:4326", columns=None):
    n_rows = len(x)
    samples = schema.make_samples(
        OPTIONS,
        schema.point_arrays(
            OPTIONS, np.arange(n_rows), (np.array(x, float), np.array(y, float)), crs, columns,
        ),
        record=RecordInfo("r", 0, 0, "c", 32631),
        band="B1",
        value=np.arange(n_rows, dtype=float),
        status_codes=None,
    )
    return SampleBatch(samples, crs)


def _written(output_format, *batches):
    file = io.BytesIO()
    writer = SampleWriter(file, output_format)
    for batch in batches:
        writer.write(batch)
    writer.close()
    return io.BytesIO(file.getvalue())


def test_small_batches_share_a_row_group():
    metadata = pq.read_metadata(_written("parquet", *[_batch([1.0] * 10, [2.0] * 10)] * 30))
    assert (metadata.num_rows, metadata.num_row_groups) == (300, 1)


def test_dictionaries_are_made_of_what_repeats():
    file = pq.read_metadata(_written("geoparquet", _batch(np.arange(2000.0), np.zeros(2000))))
    found = {}
    for number in range(file.num_columns):
        column = file.row_group(0).column(number)
        found[column.path_in_schema] = column.encodings
    in_dictionary = {name for name, told in found.items() if "RLE_DICTIONARY" in told}
    assert {"record_id", "band", "value", "status"} <= in_dictionary
    assert not {"point_index", "point_x", "point_y", "geometry"} & in_dictionary
    assert "DELTA_BINARY_PACKED" in found["point_index"]


def test_row_groups_stay_between_50_000_and_150_000_rows():
    batches = [_batch(np.zeros(70_000), np.zeros(70_000))] * 5
    metadata = pq.read_metadata(_written("parquet", *batches))
    sizes = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    assert sum(sizes) == 350_000
    assert all(size <= 150_000 for size in sizes)


def test_text_is_stored_as_plain_strings():
    table = pq.read_table(_written("parquet", _batch([1.0], [2.0])))
    for name in ("record_id", "collection", "band", "status"):
        assert table.schema.field(name).type == pa.string()


def test_geoparquet_names_its_geometry_crs_and_covering():
    found = pq.read_schema(_written("geoparquet", _batch([1.0], [2.0])))
    geo = json.loads(found.metadata[b"geo"])
    column = geo["columns"][geo["primary_column"]]
    assert (geo["version"], column["encoding"]) == ("1.1.0", "WKB")
    assert column["crs"]["id"] == {"authority": "OGC", "code": "CRS84"}
    assert column["covering"]["bbox"]["xmin"] == ["geometry_bbox", "xmin"]
    assert column["geometry_types"] == ["Point"]


def test_geometries_are_longitude_and_latitude_whatever_the_points_crs():
    batches = (_batch([500000.0], [4600000.0], "EPSG:32631"), _batch([3.0], [41.0]))
    table = pq.read_table(_written("geoparquet", *batches))
    points = shapely.from_wkb(table["geometry"].to_pylist())
    assert points[0].x == pytest.approx(3.0)
    assert points[0].y == pytest.approx(41.55, abs=0.01)
    assert (points[1].x, points[1].y) == (3.0, 41.0)
    assert table["geometry_bbox"][1].as_py() == {"xmin": 3.0, "ymin": 41.0, "xmax": 3.0, "ymax": 41}


def test_points_that_are_nowhere_on_earth_have_no_geometry():
    nan = float("nan")
    batches = (_batch([nan, 1.0], [1.0, float("inf")]), _batch([5.0], [6.0], crs=None))
    table = pq.read_table(_written("geoparquet", *batches))
    assert table["geometry"].to_pylist() == [None, None, None]
    assert table["geometry_bbox"].to_pylist() == [None, None, None]


def test_a_users_geometry_column_is_not_overwritten():
    columns = pa.record_batch({"geometry": ["mine"]})
    with pytest.raises(OptionError, match="geometry"):
        _written("geoparquet", _batch([1.0], [2.0], columns=columns))


def test_csv_holds_lists_as_json_and_bytes_as_hexadecimal():
    columns = pa.record_batch({"tags": [["a", "b"]], "raw": [b"\x01\xff"]})
    table = pacsv.read_csv(_written("csv", _batch([1.0], [2.0], columns=columns)))
    assert table["tags"].to_pylist() == ['["a", "b"]']
    assert table["raw"].to_pylist() == ["01ff"]


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_file_without_rows_has_every_column(output_format):
    file = _written(output_format, _batch([], []))
    table = pacsv.read_csv(file) if output_format == "csv" else pq.read_table(file)
    assert table.num_rows == 0
    assert {"point_index", "value", "status"} <= set(table.column_names)


def test_a_column_that_is_null_in_one_batch_takes_the_others_type():
    first = _batch([1.0], [2.0], columns=pa.record_batch({"n": pa.nulls(1)}))
    second = _batch([1.0], [2.0], columns=pa.record_batch({"n": [5]}))
    assert pq.read_table(_written("parquet", first, second))["n"].to_pylist() == [None, 5]


def test_an_unknown_format_is_refused_with_those_known():
    with pytest.raises(OptionError, match=r"one of .*'parquet'.* got 'xlsx'"):
        suffix_of("xlsx")
