"""BigQuery as far as its documentation tells: tables, load jobs over Parquet, read sessions.

The REST API is served over HTTP and the storage API over gRPC, to Google's own clients.
What a load accepts is written down here a second time, from BigQuery's documents, so that
our files and schemas are held against something else than our own idea of them.
"""

import concurrent.futures
import contextlib
import http.server
import json
import re
import threading
import time

import grpc
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from google.cloud.bigquery_storage_v1 import types

from rasteret_beam.transforms import _bigquery_clients

PROJECT, DATASET, LOCATION = "my-project", "samples", "europe-west4"
_REFUSED = (
    "_table_", "_file_", "_partition", "_row_timestamp", "__root__", "_colidentifier",
    "_change_sequence_number", "_change_type", "_change_timestamp",
)  # fmt: skip
_CLUSTERABLE = {"BIGNUMERIC", "BOOL", "DATE", "DATETIME", "GEOGRAPHY", "INT64", "NUMERIC",
                "STRING", "TIMESTAMP"}  # fmt: skip


class RefusedError(Exception):
    """A load that BigQuery would refuse."""


def parquet_types(column):
    """The types that a Parquet leaf can be loaded as."""
    logical = json.loads(column.logical_type.to_json())
    kind, physical = logical["Type"], column.physical_type
    if kind == "Timestamp":
        # What becomes of a time without a zone the documents leave open.
        fits = logical["timeUnit"] in ("milliseconds", "microseconds")
        return {"TIMESTAMP"} if fits and logical["isAdjustedToUTC"] else set()
    if kind == "Decimal":
        digits, scale = logical["precision"] - logical["scale"], logical["scale"]
        fits = {"NUMERIC"} if digits <= 29 and scale <= 9 else set()
        return fits | ({"BIGNUMERIC"} if digits <= 38 and scale <= 38 else set())
    if kind == "Time":
        return {"TIME"} if logical["timeUnit"] == "microseconds" else set()
    if kind == "Int" and physical == "INT64" and not logical["isSigned"]:
        return set()
    named = {"String": {"STRING", "GEOGRAPHY"}, "Date": {"DATE"}, "Int": {"INT64"}}
    plain = {
        "BOOLEAN": {"BOOL"}, "INT32": {"INT64"}, "INT64": {"INT64"}, "FLOAT": {"FLOAT64"},
        "DOUBLE": {"FLOAT64"}, "BYTE_ARRAY": {"BYTES", "GEOGRAPHY"},
        "FIXED_LEN_BYTE_ARRAY": {"BYTES"},
    }  # fmt: skip
    return plain[physical] if kind == "None" else named.get(kind, set())


def leaves(fields, path=()):
    """(path, type) of every leaf of a schema; a list is told as Parquet has it."""
    for field in fields:
        here = (*path, field["name"])
        if field["mode"] == "REPEATED":
            here = (*here, "list", "element")
        if field["type"] == "RECORD":
            yield from leaves(field["fields"], here)
        else:
            yield ".".join(here), field["type"]


def check_names(fields):
    names = [field["name"] for field in fields]
    bad = [
        name for name in names
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,299}", name)
        or name.lower().startswith(_REFUSED)
    ]  # fmt: skip
    if bad or len({name.lower() for name in names}) < len(names):
        msg = f"Invalid field names {bad or names}"
        raise RefusedError(msg)
    for field in fields:
        check_names(field.get("fields", []))


def has_null_in_a_list(value):
    if isinstance(value, list):
        return any(one is None or has_null_in_a_list(one) for one in value)
    return isinstance(value, dict) and any(map(has_null_in_a_list, value.values()))


def load_file(path, fields, source=None):
    """The rows of a file, if it can be loaded into a table with these fields."""
    file = pq.ParquetFile(source or path)
    wanted = dict(leaves(fields))
    columns = [file.schema.column(at) for at in range(len(file.schema))]
    if {column.path for column in columns} != set(wanted):
        msg = f"{path} has {[column.path for column in columns]}, the schema {list(wanted)}"
        raise RefusedError(msg)
    for column in columns:
        if wanted[column.path] not in parquet_types(column):
            msg = f"{column.path}: {column.logical_type} does not load as {wanted[column.path]}"
            raise RefusedError(msg)
    rows = file.read().to_pylist()
    for row in rows:
        nulls = [name for name, value in row.items() if has_null_in_a_list(value)]
        if nulls:
            msg = f"{nulls}: an array cannot have a null element"
            raise RefusedError(msg)
        for field in fields:
            if field["type"] == "GEOGRAPHY" and row[field["name"]] is not None:
                point = shapely.from_wkb(row[field["name"]])
                if abs(point.y) > 90 or abs(point.x) > 180:
                    msg = f"{point} is not on Earth"
                    raise RefusedError(msg)
    return rows


def check_shape(load):
    types_of = {field["name"]: field["type"] for field in load["schema"]["fields"]}
    partition = load.get("timePartitioning")
    if partition and types_of.get(partition["field"]) not in ("TIMESTAMP", "DATE", "DATETIME"):
        msg = f"The field specified for partitioning cannot be found: {partition}"
        raise RefusedError(msg)
    names = load.get("clustering", {}).get("fields", [])
    if len(names) > 4 or not {types_of.get(name) for name in names} <= _CLUSTERABLE:
        msg = f"Clustering by {names} is not possible"
        raise RefusedError(msg)


class Tables:
    """The tables and jobs of a project.

    Attributes:
        tables: By ``dataset.table``: fields, rows, and what else is told of one.
        jobs: By name, as the API tells of them.
        failures: Reasons for which the next load jobs fail, first come first.
        on_insert: Called with the name of each job that is to be inserted.
        queries: Rows of queries, by their text.
        open: Opens a source of a load; None for files.
    """

    def __init__(self):
        self.tables, self.jobs, self.queries = {}, {}, {}
        self.failures, self.on_insert = [], lambda _: None
        self.open = lambda _: None
        self._lock = threading.Lock()

    def insert(self, job):
        """Runs a job; None where there is one of its name."""
        name = job["jobReference"]["jobId"]
        self.on_insert(name)
        with self._lock:
            if name in self.jobs:
                return None
            job["jobReference"].setdefault("location", LOCATION)
            job["status"] = {"state": "DONE"}
            try:
                if "load" in job["configuration"]:
                    self._load(job["configuration"]["load"])
                else:
                    self._query(job["configuration"]["query"])
            except RefusedError as error:
                reason, _, message = str(error).partition("|")
                told = {"reason": reason if message else "invalid", "message": message or reason}
                job["status"] |= {"errorResult": told, "errors": [told]}
            now = str(round(time.time() * 1000))
            job["statistics"] = {"creationTime": now, "startTime": now, "endTime": now}
            self.jobs[name] = job
            return job

    def _load(self, load):
        if self.failures:
            msg = f"{self.failures.pop(0)}|Try again"
            raise RefusedError(msg)
        fields = load["schema"]["fields"]
        check_names(fields)
        check_shape(load)
        if not load["parquetOptions"]["enableListInference"]:
            raise RefusedError("lists are records")  # noqa: EM101, TRY003
        rows = [row for uri in load["sourceUris"] for row in load_file(uri, fields, self.open(uri))]
        key = "{datasetId}.{tableId}".format(**load["destinationTable"])
        known = self.tables.get(key)
        shape = {n: load[n] for n in ("timePartitioning", "clustering") if n in load}
        if known and known["shape"] != shape:
            raise RefusedError("Incompatible table partitioning specification")  # noqa: EM101, TRY003
        if known and load["writeDisposition"] == "WRITE_EMPTY" and known["rows"]:
            raise RefusedError("duplicate|Already Exists")  # noqa: EM101, TRY003
        if known and load["writeDisposition"] == "WRITE_APPEND":
            rows = known["rows"] + rows
        created = known["created"] if known else time.time()
        self.tables[key] = {"fields": fields, "rows": rows, "shape": shape, "created": created}

    def _query(self, query):
        key = f"_anonymous.q{len(self.tables)}"
        self.tables[key] = {"arrow": self.queries[query["query"]], "created": 0, "shape": {}}
        query["destinationTable"] = {
            "projectId": PROJECT, "datasetId": "_anonymous", "tableId": key.split(".")[1],
        }  # fmt: skip

    def describe(self, key):
        """A table as the API tells of it; None where there is none."""
        table = self.tables.get(key)
        if table is None:
            return None
        dataset, name = key.split(".")
        fields = table.get("fields") or [
            {"name": f.name, "type": "GEOGRAPHY" if f.metadata else "STRING", "mode": "NULLABLE"}
            for f in table["arrow"].schema
        ]
        return {
            "tableReference": {"projectId": PROJECT, "datasetId": dataset, "tableId": name},
            "schema": {"fields": fields}, "creationTime": str(round(table["created"] * 1000)),
            **table["shape"],
        }  # fmt: skip


class _Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_POST(self):
        size = int(self.headers["Content-Length"])
        job = self.server.tables.insert(json.loads(self.rfile.read(size)))
        error = {"error": {"code": 409, "message": "Already Exists", "errors": []}}
        self._answer(error if job is None else job, 409 if job is None else 200)

    def do_GET(self):
        parts = self.path.partition("?")[0].split("/projects/")[1].split("/")
        tables, found = self.server.tables, None
        if parts[1] == "jobs":
            found = tables.jobs.get(parts[2])
        elif parts[1] == "queries":
            found = {"jobComplete": True, "jobReference": tables.jobs[parts[2]]["jobReference"],
                     "schema": {"fields": []}, "totalRows": "0"}  # fmt: skip
        elif len(parts) == 3:
            found = {"datasetReference": {"projectId": parts[0], "datasetId": parts[2]},
                     "location": LOCATION} if parts[2] == DATASET else None  # fmt: skip
        else:
            found = tables.describe(f"{parts[2]}.{parts[4]}")
        error = {"error": {"code": 404, "message": f"Not found: {self.path}", "errors": []}}
        self._answer(found or error, 200 if found else 404)

    def _answer(self, body, code):
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class _Reads(grpc.GenericRpcHandler):
    """Read sessions: rows in another order each time, in some streams of small messages."""

    def __init__(self, tables):
        self.tables, self.sessions, self.breaks = tables, [], 0
        self._streams = {}

    def service(self, details):
        if details.method.endswith("/CreateReadSession"):
            return grpc.unary_unary_rpc_method_handler(
                self._create, types.CreateReadSessionRequest.deserialize,
                types.ReadSession.serialize,
            )
        return grpc.unary_stream_rpc_method_handler(
            self._read, types.ReadRowsRequest.deserialize, types.ReadRowsResponse.serialize,
        )

    def _create(self, request, context):
        wanted = request.read_session
        _, _, _, dataset, _, name = wanted.table.split("/")
        known = self.tables.tables.get(f"{dataset}.{name}")
        if known is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Not found: Table {wanted.table}")
        table = known["arrow"]
        fields = list(wanted.read_options.selected_fields) or table.column_names
        number = len(self.sessions)
        order = np.random.default_rng(number).permutation(table.num_rows)
        table = table.select([n for n in table.column_names if n in fields]).take(pa.array(order))
        self.sessions.append(fields)
        parts = np.array_split(np.arange(table.num_rows), 3) if table.num_rows else []
        names = [f"session-{number}/streams/{at}" for at in range(len(parts))]
        for stream, part in zip(names, parts, strict=True):
            self._streams[stream] = table.slice(int(part[0]), len(part)) if len(part) else None
        schema = table.schema.serialize().to_pybytes()
        return types.ReadSession(
            name=f"session-{number}", arrow_schema={"serialized_schema": schema},
            streams=[{"name": stream} for stream in names],
        )

    def _read(self, request, context):
        rows = self._streams[request.read_stream]
        for at in range(request.offset, rows.num_rows if rows else 0, 2):
            if at and self.breaks:
                self.breaks -= 1
                context.abort(grpc.StatusCode.UNAVAILABLE, "the server goes away")
            (part,) = rows.slice(at, 2).combine_chunks().to_batches()
            yield types.ReadRowsResponse(
                row_count=part.num_rows,
                arrow_record_batch={"serialized_record_batch": part.serialize().to_pybytes()},
            )


class BigQueryServer:
    """Both APIs on this machine.

    Attributes:
        tables: What is there.
        reads: The read sessions so far.
        address: Of the REST API.
        target: Of the storage API.
    """

    def __init__(self):
        self.tables = Tables()
        self.reads = _Reads(self.tables)
        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._http.tables = self.tables
        self.address = f"http://127.0.0.1:{self._http.server_address[1]}"
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()
        self._grpc = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
        self._grpc.add_generic_rpc_handlers((self.reads,))
        self.target = f"127.0.0.1:{self._grpc.add_insecure_port('127.0.0.1:0')}"
        self._grpc.start()

    def close(self):
        self._http.shutdown()
        self._http.server_close()
        self._grpc.stop(None)


@contextlib.contextmanager
def asked_by_our_clients(monkeypatch):
    """Gives a server that this process's clients for jobs and tables go to."""
    server = BigQueryServer()
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", server.address)
    _bigquery_clients.job_client.cache_clear()
    yield server
    server.close()
    _bigquery_clients.job_client.cache_clear()
