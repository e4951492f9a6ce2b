"""The streaming pipeline as a user gives it: flags and messages in, files and messages out."""

import json
import time

import apache_beam as beam
import pyarrow.parquet as pq
import pytest
from dataflow import compiled, script
from fake_pubsub import pubsub
from scenes import Scene, centre, make_collection, ramp
from streams import played, prism, without_run

from rasteret_beam import BandNotFoundError, OptionError, PointsError
from rasteret_beam.runners import launch

SCENE = Scene(name="a", pixels=ramp(64, 64))
SUBSCRIPTION = "projects/my-project/subscriptions/points"
TOPIC = "projects/my-project/topics/samples"
TABLE = "bq://my-project.samples.april"
TO_TABLE = {
    "input_subscription": SUBSCRIPTION, "output": None, "output_table": TABLE,
    "temp_location": "gs://my-bucket/temp",
}  # fmt: skip
LOCAL = "apache_beam.runners.direct.direct_runner.BundleBasedDirectRunner"
LOCAL_FLAGS = ("--runner=DirectRunner",)
MODULE = script("sample_points_streaming")


def _message(row, col, **more):
    x, y = centre(SCENE, row, col)
    return json.dumps({"x": x, "y": y, **more}).encode()


def _options(place, *flags, **given):
    given = {"collection": f"{place}/collection.parquet", "bands": "B1",
             "points_crs": "EPSG:32631", **given}  # fmt: skip
    words = [f"--{name}={value}" for name, value in given.items() if value is not None]
    options = launch.parse([*words, *flags], MODULE.SamplePointsStreamingOptions)
    return options, options.view_as(MODULE.SamplePointsStreamingOptions)


@pytest.fixture
def place(tmp_path):
    make_collection(tmp_path, [SCENE])
    return tmp_path


def _play(place, *steps, flags=None, **given):
    options, ours = _options(place, *(flags or prism()), output=place / "out", **given)
    with beam.Pipeline(options=options) as pipeline:
        MODULE.sample_messages(pipeline | played(*steps), ours)


def test_each_window_has_files_and_late_points_theirs(place):
    _play(
        place, (1, _message(1, 2, id=1)), (2, _message(3, 4, id=2)), 70,
        (3, _message(5, 6, id=3)), (71, _message(7, 8, id=4)),
        id_column="id", window_seconds=60, allowed_lateness_seconds=600, refresh_seconds=0,
    )  # fmt: skip
    found = {
        without_run(path.name): sorted(
            tuple(row.values())
            for row in pq.read_table(path, columns=["point_index", "value"]).to_pylist()
        )
        for path in (place / "out").glob("*.parquet")
    }  # fmt: skip
    first = "samples-1970-01-01T00.00.00Z-1970-01-01T00.01.00Z"
    second = "samples-1970-01-01T00.01.00Z-1970-01-01T00.02.00Z"
    assert found == {
        f"{first}-00000-of-00001.parquet": [(1, 102.0), (2, 304.0)],
        f"{first}-pane-1-00000-of-00001.parquet": [(3, 506.0)],
        f"{second}-00000-of-00001.parquet": [(4, 708.0)],
    }


def test_a_job_that_is_started_anew_adds_to_the_window_that_an_earlier_one_was_drained_in(place):
    for at, data in ((1, b"boo"), (31, b"foo")):
        _play(
            place, (at, _message(at, 2, id=at)), (at, data), flags=LOCAL_FLAGS, id_column="id",
            window_seconds=60, refresh_seconds=0, dead_letters=place / "dead",
        )
    rows = pq.read_table(place / "out").select(["point_index", "value"]).to_pylist()
    assert sorted(tuple(row.values()) for row in rows) == [(1, 102.0), (31, 3102.0)]
    letters = [json.loads(path.read_text()) for path in (place / "dead").glob("*.jsonl")]
    assert sorted(json.loads(letter["element"])["data"] for letter in letters) == ["boo", "foo"]


def test_a_columns_time_decides_the_window_and_broken_messages_become_dead_letters(place):
    _play(
        place, (1, _message(1, 2, t="1970-01-01T00:02:05Z")), (2, b"boo"),
        time_column="t", window_seconds=60, refresh_seconds=0, dead_letters=place / "dead",
    )  # fmt: skip
    (path,) = (place / "out").glob("*.parquet")
    assert path.name.startswith("samples-1970-01-01T00.02.00Z")
    (letters,) = (place / "dead").glob("*.jsonl")
    assert json.loads(letters.read_text())["stage"] == "DecodeMessages"


def test_what_tells_of_a_late_message_is_written_with_its_time(place):
    _play(
        place, (1, b"boo"), 86_400, (2, b"late"), (3, _message(1, 2, t="east")),
        time_column="t", refresh_seconds=0, dead_letters=place / "dead",
    )  # fmt: skip
    window = "dead-letters-1970-01-01T00.00.00Z-1970-01-01T00.01.00Z-"
    files = list((place / "dead").glob(f"{window}*.jsonl"))
    letters = [json.loads(line) for path in files for line in path.read_text().splitlines()]
    held = sorted(json.loads(letter["element"])["data"] for letter in letters)
    assert held == sorted(["boo", "late", _message(1, 2, t="east").decode()])
    assert len(list((place / "dead").iterdir())) == len(files)


def test_a_point_whose_time_is_long_past_when_its_message_comes_is_a_dead_letter(place):
    came = 1_700_000_000
    steps = [
        # In time; too late by a millisecond; in seconds where milliseconds are meant.
        (came, _message(at, 2, id=at, t=t))
        for at, t in enumerate(((came - 140) * 1000, (came - 140) * 1000 - 1, came))
    ]
    _play(
        place, *steps, flags=LOCAL_FLAGS, time_column="t", id_column="id", window_seconds=60,
        allowed_lateness_seconds=100, refresh_seconds=0, dead_letters=place / "dead",
    )
    assert pq.read_table(place / "out")["point_index"].to_pylist() == [0]
    letters = [json.loads(line) for path in (place / "dead").glob("*.jsonl")
               for line in path.read_text().splitlines()]  # fmt: skip
    assert [letter["code"] for letter in letters] == ["LATE_POINT"] * 2
    told = {json.loads(letter["element"])["data"]: letter["msg"] for letter in letters}
    assert told.keys() == {data.decode() for _, data in steps[1:]}
    assert "1698300000 s before it came" in told[steps[2][1].decode()]


def test_what_tells_of_a_point_that_may_be_late_is_written_however_late(place):
    _play(
        place, (1, _message(1, 2)), 10 * 86_400, (2, json.dumps({"x": None, "y": 1}).encode()),
        flags=LOCAL_FLAGS, allowed_lateness_seconds=20 * 86_400, refresh_seconds=0,
        dead_letters=place / "dead",
    )  # fmt: skip
    (path,) = (place / "dead").glob("*.jsonl")
    assert "column 'x' is empty" in json.loads(path.read_text())["msg"]


def test_messages_come_from_pubsub_and_samples_go_there(place, monkeypatch):
    with pubsub(monkeypatch) as server:
        options, ours = _options(
            place, runner=LOCAL, input_subscription=SUBSCRIPTION, output_topic=TOPIC,
            id_column="id", window_seconds=1, refresh_seconds=0,
        )  # fmt: skip
        pipeline = beam.Pipeline(options=options)
        MODULE.build(pipeline, ours)
        result = pipeline.run()
        for number in range(20):
            server.send(_message(number, 3, id=number))
        ends = time.monotonic() + 60
        while len(server.published[TOPIC]) < 20 and time.monotonic() < ends:
            time.sleep(0.1)
        result.cancel()
        rows = [json.loads(data) for data in server.published[TOPIC]]
    assert sorted((row["point_index"], row["value"], row["status"]) for row in rows) == [
        (number, number * 100 + 3.0, "OK") for number in range(20)
    ]
    assert server.acknowledged == 20


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "--input_subscription and --input_topic"),
        ({"input_subscription": SUBSCRIPTION, "input_topic": TOPIC}, "Give one of"),
        ({"input_subscription": "points"}, "projects/"),
        ({"input_subscription": SUBSCRIPTION, "runner": "FnApiRunner"}, "reads no Pub/Sub"),
        ({"input_subscription": SUBSCRIPTION, "runner": "FnApiRunner", "points_crs": None},
         "--points_crs is required"),
        ({"input_subscription": SUBSCRIPTION, "output": None}, "give --output"),
        ({"input_subscription": SUBSCRIPTION, "output_topic": "samples"}, "projects/"),
        ({"input_subscription": SUBSCRIPTION, "output": TABLE}, "give it as --output_table"),
        ({"input_subscription": SUBSCRIPTION, "output_table": TABLE}, "--temp_location"),
        ({**TO_TABLE, "output_table": "p.april"}, "bq://project.dataset.table"),
        ({**TO_TABLE, "partition": "hour"}, "partition must be one of"),
        ({**TO_TABLE, "cluster_fields": "a,b,c,d,e"}, "BigQuery takes four"),
        ({**TO_TABLE, "window_seconds": 30}, "1500 for a table.*--output_topic"),
        ({"input_subscription": SUBSCRIPTION, "points_crs": None}, "--points_crs is required"),
        ({"input_subscription": SUBSCRIPTION, "time_attribute": "t", "time_column": "t"}, "one or"),
        ({"input_subscription": SUBSCRIPTION, "input_format": "avro"}, "need their schema"),
        ({"input_subscription": SUBSCRIPTION, "tile_cache": "much"}, "number of bytes"),
        ({"input_subscription": SUBSCRIPTION, "window_seconds": 0}, "expected more than 0"),
        ({"input_subscription": SUBSCRIPTION, "window_seconds": "inf"}, "at most a hundred years"),
        ({"input_subscription": SUBSCRIPTION, "window_seconds": 1e-7}, "at least 0.001"),
        ({"input_subscription": SUBSCRIPTION, "allowed_lateness_seconds": "inf"}, "hundred years"),
        ({"input_subscription": SUBSCRIPTION, "allowed_lateness_seconds": 1, "layout": "wide"},
         "several panes"),
        ({"input_subscription": SUBSCRIPTION, "allowed_lateness_seconds": 1,
          "max_distance_pixels": 1}, "fire more than once"),
        ({"input_subscription": SUBSCRIPTION, "join": "partitioned"},
         r"cell by cell.*--refresh_seconds 0\).*in each process$"),
        ({"input_subscription": SUBSCRIPTION, "refresh_seconds": -1}, r"expected 0 \(for never"),
        ({"input_subscription": SUBSCRIPTION, "refresh_seconds": "nan"}, "expected 0"),
        ({"input_subscription": SUBSCRIPTION, "id_column": "status"}, "collide"),
        ({"input_subscription": SUBSCRIPTION, "id_column": "point_index"}, "point_index"),
        ({"input_subscription": SUBSCRIPTION, "id_column": "B1", "layout": "wide"}, "'wide' gives"),
        ({"input_subscription": SUBSCRIPTION, "id_column": "geometry",
          "output_format": "geoparquet"}, "'geoparquet' gives"),
        ({**TO_TABLE, "id_column": "geog"}, "'bigquery' gives"),
    ],
)  # fmt: skip
def test_flags_that_cannot_work_are_refused(place, given, told):
    given = {"runner": "DirectRunner", "output": place / "out", **given}
    options, ours = _options(place, **given)
    with pytest.raises((OptionError, PointsError), match=told):
        MODULE.build(beam.Pipeline(options=options), ours)


@pytest.mark.parametrize("given", [{"join": "partitioned", "refresh_seconds": 0}, {}], ids=str)
def test_a_band_that_no_record_has_is_told_when_the_job_is_built(place, given):
    given = {"runner": "DirectRunner", "output": place / "out", **given}
    options, ours = _options(place, bands="B1,B01", input_subscription=SUBSCRIPTION, **given)
    with pytest.raises(BandNotFoundError, match=r"not found: \['B01'\]. Available bands: \['B1'\]"):
        MODULE.build(beam.Pipeline(options=options), ours)


def test_a_collection_that_is_not_there_yet_does_not_keep_a_job_from_being_built(place):
    options, ours = _options(
        place, collection=place / "later", input_subscription=SUBSCRIPTION, output=place / "out",
        runner="DirectRunner",
    )  # fmt: skip
    pipeline = beam.Pipeline(options=options)
    MODULE.build(pipeline, ours)
    assert "SamplePoints" in str(pipeline.to_runner_api())


def test_a_schema_in_a_file_names_the_columns_to_keep(place):
    fields = [{"name": n, "type": "double"} for n in ("x", "y")]
    fields.append({"name": "site", "type": ["null", "string"]})
    schema = {"type": "record", "name": "Point", "fields": fields}
    (place / "schema.avsc").write_text(json.dumps(schema))
    _play(
        place, (1, _message(1, 2, site="a", other=1)), input_schema=place / "schema.avsc",
        refresh_seconds=0,
    )
    (path,) = (place / "out").glob("*.parquet")
    (row,) = pq.read_table(path).to_pylist()
    assert (row["site"], row["value"]) == ("a", 102.0)
    assert "other" not in row


def test_dataflow_gets_a_streaming_job_whose_steps_have_our_names(place):
    job = compiled(
        "sample_points_streaming", "SamplePointsStreamingOptions",
        collection=f"{place}/collection.parquet", bands="B1", points_crs="EPSG:32631",
        input_subscription=SUBSCRIPTION, output="gs://my-bucket/out", output_topic=TOPIC,
        dead_letters="gs://my-bucket/dead",
    )
    names = {step.unique_name.split("/")[0] for step in job.graph.components.transforms.values()}
    assert {"ReadMessages", "DecodeMessages", "IntoWindows", "BatchMessages", "SamplePoints",
            "WriteSamples", "EncodeSamples", "WriteToPubSub",
            "WriteDeadLetters"} <= names  # fmt: skip
