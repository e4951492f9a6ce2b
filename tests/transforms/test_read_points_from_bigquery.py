"""Points out of a table or query, by Google's own clients and a server of BigQuery's APIs."""

import json

import apache_beam as beam
import google.auth
import grpc
import pyarrow as pa
import pytest
from bigquery_server import PROJECT, asked_by_our_clients
from collecting import collect
from google.auth.exceptions import DefaultCredentialsError
from google.cloud.bigquery_storage import BigQueryReadClient
from google.cloud.bigquery_storage_v1.services.big_query_read.transports import (
    BigQueryReadGrpcTransport,
)

from rasteret_beam import OptionError, PointColumns, PointsError, ReadPointsFromBigQuery
from rasteret_beam.bigquery import TableName
from rasteret_beam.bigquery.rows import row_hashes
from rasteret_beam.errors import OutputError
from rasteret_beam.transforms import _bigquery_clients
from rasteret_beam.transforms._bigquery_jobs import check_dataset

GEOGRAPHY = {
    b"ARROW:extension:name": b"google:sqlType:geography",
    b"ARROW:extension:metadata": b'{"encoding": "WKT"}',
}
"""What BigQuery says of a column of GEOGRAPHY."""

N_ROWS = 20
TABLE = f"bq://{PROJECT}.samples.plots"


def _plots(texts=None):
    texts = texts or [f"POINT({i} {i / 2})" for i in range(N_ROWS)]
    fields = [
        pa.field("plot", pa.string()), pa.field("geog", pa.string(), metadata=GEOGRAPHY),
        pa.field("number", pa.int64()), pa.field("seen", pa.timestamp("us", "UTC")),
    ]  # fmt: skip
    numbers = list(range(1000, 1000 + len(texts)))
    names = [f"plot {at}" for at in range(len(texts))]
    return pa.table([names, texts, numbers, numbers], schema=pa.schema(fields))


@pytest.fixture
def server(monkeypatch):
    with asked_by_our_clients(monkeypatch) as found, grpc.insecure_channel(found.target) as channel:
        client = BigQueryReadClient(transport=BigQueryReadGrpcTransport(channel=channel))
        monkeypatch.setattr(_bigquery_clients, "read_client", lambda: client)
        found.tables.tables["samples.plots"] = {"arrow": _plots(), "created": 0, "shape": {}}
        yield found


def _read(**how):
    with beam.Pipeline("FnApiRunner") as pipeline:
        read = pipeline | ReadPointsFromBigQuery(**how)
        points, letters = collect(read.points), collect(read.dead_letters)
    return points, letters


def _rows(points):
    return sorted((row for one in points for row in one.points.to_pylist()), key=str)


@pytest.mark.usefixtures("server")
def test_geography_is_found_by_itself_in_longitude_and_latitude():
    points, letters = _read(table=TABLE)
    assert letters == []
    assert {one.crs for one in points} == {"EPSG:4326"}
    rows = {row["plot"]: (row["point_x"], row["point_y"], row["number"]) for row in _rows(points)}
    assert rows == {f"plot {at}": (at, at / 2, 1000 + at) for at in range(N_ROWS)}
    assert "geog" not in points[0].points.schema.names


@pytest.mark.usefixtures("server")
def test_an_index_is_the_same_in_every_order_of_rows():
    first, second = (_rows(_read(table=TABLE)[0]) for _ in range(2))
    assert first == second
    assert len({row["point_index"] for row in first}) == N_ROWS


@pytest.mark.usefixtures("server")
def test_a_field_can_be_the_index():
    rows = _rows(_read(table=TABLE, index_field="number")[0])
    assert {row["point_index"]: row["plot"] for row in rows} == {
        1000 + at: f"plot {at}" for at in range(N_ROWS)
    }
    assert "number" not in rows[0]


def test_only_the_columns_that_are_wanted_are_asked_for(server):
    points, _ = _read(table=TABLE, kept=("plot",), index_field="number")
    assert [sorted(fields) for fields in server.reads.sessions] == [["geog", "number", "plot"]]
    assert points[0].points.schema.names == ["point_index", "point_x", "point_y", "plot"]


def test_a_query_is_read_as_the_table_that_holds_its_rows(server):
    server.tables.queries["SELECT 1"] = _plots(["POINT(7 8)"])
    (row,) = _rows(_read(query="SELECT 1", project=PROJECT)[0])
    assert (row["point_x"], row["point_y"]) == (7, 8)


def test_a_connection_that_breaks_loses_and_doubles_nothing(server):
    server.reads.breaks = 2
    assert len(_rows(_read(table=TABLE)[0])) == N_ROWS
    assert server.reads.breaks == 0


def test_what_is_no_point_is_a_dead_letter_and_stays_without_coordinates(server):
    texts = ["POINT(1 2)", "LINESTRING(0 0, 1 1)", None, "POINT EMPTY"]
    server.tables.tables["samples.plots"]["arrow"] = _plots(texts)
    points, letters = _read(table=TABLE, index_field="number")
    told = {json.loads(letter.element)["point_index"]: letter.msg for letter in letters}
    assert sorted(told) == [1001, 1002, 1003]
    assert "LineString" in told[1001]
    assert "null" in told[1002]
    assert "an empty Point" in told[1003]
    x = {row["point_index"]: row["point_x"] for row in _rows(points)}
    assert x[1000] == 1
    assert all(x[at] != x[at] for at in (1001, 1002, 1003))


def test_an_empty_table_gives_its_schema(server):
    server.tables.tables["samples.plots"]["arrow"] = _plots().slice(0, 0)
    (batch,), _ = _read(table=TABLE)
    assert batch.points.num_rows == 0
    assert batch.points.schema.names[3:] == ["plot", "number", "seen"]


def test_text_in_a_geometry_column_is_wkt_where_its_crs_is_given(server):
    plain = _plots().replace_schema_metadata(None)
    plain = plain.set_column(1, "shape", plain["geog"].cast(pa.string()))
    server.tables.tables["samples.plots"]["arrow"] = plain
    columns = PointColumns(geometry_column="shape", crs="EPSG:32631")
    points, _ = _read(table=TABLE, columns=columns)
    assert {one.crs for one in points} == {"EPSG:32631"}
    assert sorted(row["point_x"] for row in _rows(points)) == list(range(N_ROWS))


@pytest.mark.usefixtures("server")
def test_a_table_that_is_not_there_is_told_by_its_name():
    with pytest.raises(PointsError, match=r"my-project\.samples\.nowhere.*Not found"):
        _read(table=f"{PROJECT}.samples.nowhere")


def test_credentials_that_are_not_there_are_told(monkeypatch):
    def default(*_, **__):
        msg = "no credentials were found"
        raise DefaultCredentialsError(msg)

    monkeypatch.delenv("BIGQUERY_EMULATOR_HOST", raising=False)
    monkeypatch.setattr(google.auth, "default", default)
    with pytest.raises(PointsError, match=r"samples\.plots cannot be read: no credentials"):
        _read(table=TABLE)
    with pytest.raises(OutputError, match=r"p\.d\.t: the table cannot be written: no cred"):
        check_dataset(TableName("p", "d", "t"), "a-project-of-nobody")


@pytest.mark.usefixtures("server")
def test_columns_that_are_not_there_are_told_with_those_that_are():
    with pytest.raises(PointsError, match=r"\['nowhere'\].*'plot'"):
        _read(table=TABLE, kept=("nowhere",))


def test_a_row_without_an_index_has_its_hash_and_a_dead_letter_and_harms_no_other(server):
    table = _plots()
    numbers = [None if at == 3 else number for at, number in enumerate(table["number"].to_pylist())]
    at = table.schema.get_field_index("number")
    server.tables.tables["samples.plots"]["arrow"] = table.set_column(
        at, "number", pa.array(numbers, pa.int64()),
    )
    points, letters = _read(table=TABLE, index_field="number")
    rows = {row["plot"]: row for row in _rows(points)}
    assert len(rows) == N_ROWS
    assert rows["plot 4"]["point_index"] == 1004
    assert rows["plot 4"]["point_x"] == 4.0
    assert rows["plot 3"]["point_x"] == 3.0
    assert rows["plot 3"]["point_index"] > N_ROWS + 1000
    (letter,) = letters
    assert "index_field 'number' is null" in letter.msg


@pytest.mark.usefixtures("server")
def test_an_index_of_text_is_refused():
    with pytest.raises(PointsError, match="'plot' is string"):
        _read(table=TABLE, index_field="plot")


@pytest.mark.parametrize("how", [{}, {"table": TABLE, "query": "SELECT 1"}, {"query": "SELECT 1"}])
def test_one_input_is_needed_and_a_query_needs_a_project(how):
    with pytest.raises(OptionError):
        ReadPointsFromBigQuery(**how)


def test_a_rows_number_does_not_depend_on_the_order_of_columns_but_on_every_value():
    rows = pa.record_batch({"a": ["x", "x", None], "b": [1.5, None, 1.5], "c": [[1], [1], [1]]})
    other = rows.select(["c", "b", "a"])
    assert row_hashes(rows).tolist() == row_hashes(other).tolist()
    assert len(set(row_hashes(rows).tolist())) == 3
    assert row_hashes(rows).min() >= 0
