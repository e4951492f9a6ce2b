"""What the flags of ``pipelines/sample_points.py`` do not say of themselves."""

from rasteret_beam.bigquery.loads import PARTITIONS, WRITE_DISPOSITIONS
from rasteret_beam.output import FORMATS, LAYOUTS
from rasteret_beam.runners.resuming import MODES
from templates import kinds, parameters
from templates.kinds import one_of
from templates.parameters import Parameter, Template

TEMPLATE = Template(
    name="sample_points",
    title="Sample COGs at points",
    description=(
        "Reads the pixel values of cloud-hosted GeoTIFFs at millions of points, and writes a row "
        "for each point, record and band. Each tile is read once."
    ),
    options="SamplePointsOptions",
    parameters={
        "collection": Parameter("Collection", kinds.PLACE, "Input"),
        "points": Parameter("Points", kinds.FILES_OR_TABLE, "Input"),
        "bands": Parameter("Bands", kinds.BANDS, "Input"),
        "output": Parameter("Output folder or table", kinds.FOLDER_OR_TABLE, "Output"),
        **parameters.POINTS,
        **parameters.SAMPLING,
        "output_format": Parameter("Format", one_of(*FORMATS), "Output"),
        "layout": Parameter("Layout", one_of(*LAYOUTS), "Output"),
        "mode": Parameter("Mode", one_of(*MODES), "Output"),
        "dead_letters": Parameter("Dead letters", kinds.OUTPUT_FOLDER, "Output"),
        "replay": Parameter("Replay dead letters", kinds.INPUT_FOLDER, "Input"),
        "plan_only": Parameter("Plan only", kinds.BOOLEAN, "Budget"),
        "max_tiles": Parameter("Most tiles", kinds.INTEGER, "Budget"),
        "max_bytes": Parameter("Most bytes", kinds.BYTES, "Budget"),
        "max_requests": Parameter("Most requests", kinds.INTEGER, "Budget"),
        "prices": Parameter("Price table", kinds.INPUT_FILE, "Budget"),
        **parameters.READING,
        "points_query": Parameter("Query of points", kinds.TEXT, "BigQuery"),
        "index_field": Parameter("Column of point_index", kinds.TABLE_COLUMN, "BigQuery"),
        "point_columns": Parameter("Columns of points", kinds.COLUMNS, "BigQuery"),
        "write_disposition": Parameter(
            "A table that is there", one_of(*WRITE_DISPOSITIONS), "BigQuery",
        ),
        "partition": Parameter("Partitions", one_of(*PARTITIONS), "BigQuery"),
        "cluster_fields": Parameter("Clustered by", kinds.COLUMNS, "BigQuery"),
        **parameters.STORE,
    },
    left_out={"error_threshold": parameters.NOBODY_WAITS},
    example={
        "collection": "gs://my-bucket/collection",
        "points": "gs://my-bucket/points/*.parquet",
        "bands": "B04;B08",
        "points_crs": "EPSG:4326",
        "output": "gs://my-bucket/samples",
        "dead_letters": "gs://my-bucket/dead-letters",
    },
)
