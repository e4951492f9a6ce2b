"""Options class, metadata, README, defaults and help are one truth."""

import dataclasses
import json
import re

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from google.cloud import dataflow_v1beta3 as service
from google.protobuf import json_format

from rasteret_beam.runners import flags, launch
from templates import kinds
from templates.make import HERE, templates, texts
from templates.metadata import default_text, metadata_of, spec_of
from templates.parameters import PIPELINES

TEMPLATES = {template.name: template for template in templates()}
PARAMETERS = [
    (name, parameter["name"])
    for name in TEMPLATES
    for parameter in json.loads((HERE / name / "metadata.json").read_text("utf-8"))["parameters"]
]
VALUES = {
    kinds.OUTPUT_FOLDER.regex: (["gs://b/out", "gs://b/a b/"], ["", "gs://", "/out", "s3://b/o"]),
    kinds.PLACE.regex: (
        ["gs://b/c", "s3://b/c", "https://h/c.parquet", "http://h/c", "file:///c", "/data/c"],
        ["", "gs://", "c", "ftp://h/c", "gs://b/c\nd", "/"],
    ),
    kinds.PLACE_ELSEWHERE.regex: (
        ["gs://b/*.parquet", "s3://b/p.csv", "https://h/p"],
        ["", "/p", "file:///p", "b/p", "gs:/b/p"],
    ),
    kinds.FILES_OR_TABLE.regex: (
        ["gs://b/*.parquet", "bq://p.d.t", "https://h/p"], ["", "/p", "p.d.t", "bq:/p.d.t"],
    ),
    kinds.FOLDER_OR_TABLE.regex: (
        ["gs://b/out", "bq://p.d.t", "bq://p:d.t"], ["", "bq://t", "bq://d.t", "s3://b/o", "p.d.t"],
    ),
    kinds.TABLE.regex: (["bq://p.d.t", "bq://p:d.t"], ["", "bq://d.t", "p.d.t", "gs://b/out"]),
    kinds.COLUMNS.regex: (["id", "id,name", "id; _b c"], ["", "id,", "4x", "a.b", "a b,,c"]),
    kinds.WEB_ADDRESS.regex: (["https://h/v1", "http://h"], ["", "h/v1", "gs://b", "https://"]),
    kinds.SUBSCRIPTION.regex: (
        ["projects/p/subscriptions/s"], ["p/s", "projects/p/topics/t", "projects/p/subscriptions/"],
    ),
    kinds.TOPIC.regex: (
        ["projects/p/topics/t"], ["t", "projects/p/subscriptions/s", "projects//topics/t"],
    ),
    kinds.BOOLEAN.regex: (["true", "false"], ["", "True", "1", "yes", "truefalse"]),
    kinds.INTEGER.regex: (["0", "64", "-1"], ["", "1.5", "1,000", "+1", "x"]),
    kinds.FLOAT.regex: (["0", "20.5", "-1", "1e-3"], ["", ".5", "1.", "1,5", "01", "nan"]),
    kinds.BYTES.regex: (
        ["1000", "20GB", "1.5GiB", "1.5 GiB", "3B", "2k"], ["", "GB", "1e9", "-1", "1 PB", "1.GB"],
    ),
    kinds.COLUMN.regex: (
        ["x", "lon_4326", "a b", "a.b", "4x", "x-1", "länge"], ["", " x", "x ", "a\nb"],
    ),
    kinds.TABLE_COLUMN.regex: (["x", "lon_4326", "_a"], ["", "4x", "a b", "a-b", "a.b", "x;y"]),
    kinds.CRS.regex: (
        ["EPSG:4326", "4326", "32631", "OGC:CRS84", "none"], ["", "EPSG:", "epsg:4326", "WGS84"],
    ),
    kinds.BANDS.regex: (
        ["B04", "B04,B08", "B04, B08", "B04;B08 SCL", "A00:A63", "A00:A03;SCL"],
        ["", ",B04", "B04,,B08", "B04;", "B04|B08", "B04\nB08"],
    ),
    kinds.NAMES.regex: (["a", "sentinel-2-l2a;cop-dem"], ["", "a,", "a/b", "a=b"]),
    kinds.NAME.regex: (["sentinel-2-l2a", "aef/v1-annual"], ["", "a b", "a,b", "a\n"]),
    kinds.GOOGLE_PROJECT.regex: (
        ["my-project", "example.com:my-project"], ["", "short", "My-project", "a_project"],
    ),
    kinds.HOSTS.regex: (["h.example.com", "*.a.org;bucket", "127.0.0.1:8000"], ["", "a/b", "a;"]),
    kinds.SCHEMES.regex: (["https", "gs;s3", "https, gs"], ["", "ftp", "https://", "gs,,s3"]),
    kinds.PAIRS.regex: (
        ["red=0", "red=0,nir=3", "A00:A63=0:63", "https://a/=s3://b/;c=d"],
        ["", "red", "red=", "=0", "red=0,", "red=0,nir"],
    ),
    kinds.BBOX.regex: (
        ["10,49,11,50", "-10.5;49;11;50", "-1 -2 3.5 4", "1, 2, 3, 4"],
        ["", "1,2,3", "1,2,3,4,5", "a,b,c,d", "1,2,3,", "1.,2,3,4"],
    ),
    kinds.DATES.regex: (
        ["2024-01-01/2024-02-01", "2024/2025", "2024-01-01T00:00:00Z/2024-01-02T00:00:00+02:00"],
        ["", "2024-01-01", "2024-01-01,2024-02-01", "now/2024", "a/b"],
    ),
    kinds.JSON_OBJECT.regex: (['{"a": {"lt": 20}}', "{}"], ["", "[1]", "a=b", "{"]),
    kinds.TEXT.regex: (["platform == 'S2A'", r"_(\d{8})"], ["", "a\nb"]),
}
"""Good and bad values of every pattern but those of choices."""

READERS = {
    ("sample_points", "bands"): lambda text: flags.band_names("--bands", text),
    ("build_collection", "bands"): None,  # any pair is one for --band_map, too
    ("sample_points_streaming", "bands"): lambda text: flags.band_names("--bands", text),
    "max_bytes": flags.byte_count,
    "tile_cache": flags.byte_count,
    "bbox": flags.bbox,
    "date_range": flags.date_range,
    "query": lambda text: flags.json_object("--query", text),
    "band_map": lambda text: flags.pairs("--band_map", text, str),
    "column_map": lambda text: flags.pairs("--column_map", text, str),
    "url_rewrite": lambda text: flags.pairs("--url_rewrite", text, str),
}
"""How a pipeline reads a flag, where its type is more than argparse's."""


def _metadata(name):
    text = (HERE / name / "metadata.json").read_text(encoding="utf-8")
    return json.loads(text)


def _parameter(name, parameter):
    (found,) = [p for p in _metadata(name)["parameters"] if p["name"] == parameter]
    return found


def _values(parameter):
    (regex,) = parameter["regexes"]
    if parameter["paramType"] == "ENUM":
        good = [option["value"] for option in parameter["enumOptions"]]
        return good, ["", good[0].upper(), good[0] + good[-1], " " + good[0]]
    return VALUES[regex]


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_files_are_what_the_options_class_says(name):
    for file, text in texts(TEMPLATES[name]).items():
        assert (HERE / name / file).read_text(encoding="utf-8") == text, "run `make template`"


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_flag_is_a_parameter_or_left_out_for_a_reason(name):
    template = TEMPLATES[name]
    parameters = {parameter["name"] for parameter in _metadata(name)["parameters"]}
    assert parameters | template.left_out.keys() == template.flags.keys()
    assert not parameters & template.left_out.keys()


@pytest.mark.parametrize(("name", "parameter"), PARAMETERS)
def test_a_parameter_says_what_its_flag_does(name, parameter):
    flag, found = TEMPLATES[name].flags[parameter], _parameter(name, parameter)
    assert found["helpText"] == flag.help
    assert found.get("defaultValue", "") == default_text(flag.default)
    assert found["isOptional"] is (parameter not in TEMPLATES[name].options_class.REQUIRED)
    # What a form gives for the default is the default.
    if default_text(flag.default):
        parsed = launch.parse([f"--{parameter}={found['defaultValue']}"], PipelineOptions)
        given = getattr(parsed.view_as(TEMPLATES[name].options_class), parameter)
        assert given == flag.default


@pytest.mark.parametrize(("name", "parameter"), PARAMETERS)
def test_a_choice_is_named_in_the_help(name, parameter):
    found = _parameter(name, parameter)
    told = [option["value"] for option in found.get("enumOptions", [])]
    assert all(re.search(rf"\b{value}\b", found["helpText"]) for value in told)


@pytest.mark.parametrize(("name", "parameter"), PARAMETERS)
def test_a_pattern_takes_good_values_and_refuses_bad_ones(name, parameter):
    found = _parameter(name, parameter)
    good, bad = _values(found)
    (regex,) = found["regexes"]
    assert [value for value in good if not re.fullmatch(regex, value)] == []
    assert [value for value in bad if re.fullmatch(regex, value)] == []
    # RE2's dialect, too: Google's services read patterns with it.
    whole = pc.match_substring_regex(pa.array([*good, *bad]), f"^(?:{regex})$").to_pylist()
    assert whole == [True] * len(good) + [False] * len(bad)


@pytest.mark.parametrize(("name", "parameter"), PARAMETERS)
def test_the_pipeline_reads_what_the_pattern_takes(name, parameter):
    read = READERS.get((name, parameter), READERS.get(parameter))
    for value in _values(_parameter(name, parameter))[0]:
        parsed = launch.parse([f"--{parameter}={value}"], PipelineOptions)
        given = getattr(parsed.view_as(TEMPLATES[name].options_class), parameter)
        assert given is not None
        if read is not None:
            assert read(given) is not None


@pytest.mark.parametrize("name", TEMPLATES)
def test_defaults_and_examples_meet_their_patterns(name):
    for parameter in _metadata(name)["parameters"]:
        (regex,) = parameter["regexes"]
        example = TEMPLATES[name].example.get(parameter["name"])
        for value in (parameter.get("defaultValue"), example):
            assert value is None or re.fullmatch(regex, value), parameter["name"]


@pytest.mark.parametrize("name", TEMPLATES)
def test_an_example_gives_all_that_is_required(name):
    assert set(TEMPLATES[name].options_class.REQUIRED) <= TEMPLATES[name].example.keys()


@pytest.mark.parametrize("name", TEMPLATES)
def test_dataflow_knows_every_field(name):
    # Refuses fields that the service does not have.
    metadata = json_format.ParseDict(_metadata(name), service.TemplateMetadata.pb()())
    assert [p.name for p in metadata.parameters] == [p for n, p in PARAMETERS if n == name]
    spec = json_format.ParseDict(spec_of(TEMPLATES[name], "image:1"), service.ContainerSpec.pb()())
    assert (spec.image, spec.sdk_info.language) == ("image:1", service.SDKInfo.Language.PYTHON)


def test_every_folder_with_a_template_has_a_pipeline():
    assert {"sample_points", "sample_points_streaming", "build_collection"} == TEMPLATES.keys()
    assert all((PIPELINES / f"{name}.py").is_file() for name in TEMPLATES)


def test_a_flag_that_a_template_does_not_know_is_refused():
    template = TEMPLATES["sample_points"]
    known = {name: told for name, told in template.parameters.items() if name != "bands"}
    with pytest.raises(ValueError, match=r"does not know: \['bands'\]"):
        metadata_of(dataclasses.replace(template, parameters=known))


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("sample_points", "its midnight"), ("sample_points_streaming", "its midnight"),
        ("build_collection", "all of it"),
    ],
)
def test_help_tells_what_a_day_means_at_the_end_of_a_date_range(name, end):
    # rasteret has both rules: one for filters, one for searches.
    assert _parameter(name, "date_range")["helpText"].endswith(f"an end that is a day is {end}")
