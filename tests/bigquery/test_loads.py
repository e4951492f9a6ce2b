"""What a load job is told, and what it is called."""

import pytest
from google.cloud import bigquery

from rasteret_beam import OptionError
from rasteret_beam.bigquery import Load, TableName

TABLE = TableName("my-project", "samples", "april")
FIELDS = [
    {"name": name, "type": kind, "mode": "NULLABLE"}
    for name, kind in [
        ("point_index", "INT64"), ("record_id", "STRING"), ("datetime", "TIMESTAMP"),
        ("band", "STRING"), ("value", "FLOAT64"), ("geog", "GEOGRAPHY"),
    ]
]  # fmt: skip
FILES = [("samples-0", "abc"), ("samples-1", "def")]


def _configured(existing=None, layout="long", **how):
    load = Load(table=TABLE, **how)
    return load.configuration(["gs://bucket/a"], FIELDS, layout, existing)


def test_googles_own_client_reads_the_configuration_as_it_is_meant():
    config = bigquery.LoadJobConfig.from_api_repr(_configured(write_disposition="append"))
    assert config.source_format == "PARQUET"
    assert config.parquet_options.enable_list_inference
    assert config.write_disposition == "WRITE_APPEND"
    assert config.time_partitioning.field == "datetime"
    assert config.time_partitioning.type_ == "DAY"
    assert config.clustering_fields == ["record_id", "band", "geog", "point_index"]
    assert config.schema[-1] == bigquery.SchemaField("geog", "GEOGRAPHY")
    assert "ALLOW_FIELD_ADDITION" in config.schema_update_options


def test_a_table_that_is_there_keeps_its_partitions_and_clusters():
    theirs = {"timePartitioning": {"type": "MONTH", "field": "datetime"}, "etag": "x"}
    load = _configured(existing=theirs)["load"]
    assert load["timePartitioning"] == theirs["timePartitioning"]
    assert "clustering" not in load
    assert "etag" not in load


def test_a_sparse_series_can_have_a_partition_a_month_or_none():
    assert _configured(partition="month")["load"]["timePartitioning"]["type"] == "MONTH"
    assert "timePartitioning" not in _configured(partition="none")["load"]


def test_a_wide_table_is_clustered_by_place_first():
    load = _configured(layout="wide")["load"]
    assert load["clustering"]["fields"] == ["geog", "record_id", "point_index"]


@pytest.mark.parametrize("fields", [("value",), ("nowhere",)])
def test_a_cluster_field_that_cannot_be_one_is_refused(fields):
    with pytest.raises(OptionError, match="these can: "):
        _configured(cluster_fields=fields)


@pytest.mark.parametrize(
    "how",
    [{"write_disposition": "merge"}, {"partition": "hour"}, {"cluster_fields": tuple("abcde")}],
)
def test_a_choice_that_does_not_exist_is_refused(how):
    with pytest.raises(OptionError, match=next(iter(how))):
        Load(table=TABLE, **how)


def test_appended_rows_have_one_job_whoever_brings_them():
    load = Load(table=TABLE, write_disposition="append")
    assert load.job_id(FILES, "run 1") == load.job_id(FILES[::-1], "run 2")
    assert load.job_id(FILES, "run 1") != load.job_id([("samples-0", "other"), FILES[1]], "run 1")
    other = Load(table=TABLE._replace(table="may"), write_disposition="append")
    assert load.job_id(FILES, "run 1") != other.job_id(FILES, "run 1")


def test_each_run_that_replaces_has_a_job_of_its_own():
    load = Load(table=TABLE)
    assert load.job_id(FILES, "run 1") == load.job_id(FILES, "run 1")
    assert load.job_id(FILES, "run 1") != load.job_id(FILES, "run 2")
