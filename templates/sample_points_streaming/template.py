"""What the flags of ``pipelines/sample_points_streaming.py`` do not say of themselves."""

from rasteret_beam.bigquery.loads import PARTITIONS
from rasteret_beam.messages import MESSAGE_FORMATS
from rasteret_beam.output import FORMATS, LAYOUTS
from templates import kinds, parameters
from templates.kinds import one_of
from templates.parameters import Parameter, Template

TEMPLATE = Template(
    name="sample_points_streaming",
    title="Sample COGs at points of a stream",
    description=(
        "Takes points from Pub/Sub, reads the pixel values of cloud-hosted GeoTIFFs at them, and "
        "writes rows to files, to Pub/Sub or to BigQuery. Each tile is read once a window."
    ),
    options="SamplePointsStreamingOptions",
    parameters={
        "collection": Parameter("Collection", kinds.PLACE, "Input"),
        "bands": Parameter("Bands", kinds.BANDS, "Input"),
        "input_subscription": Parameter("Subscription of points", kinds.SUBSCRIPTION, "Input"),
        "input_topic": Parameter("Topic of points", kinds.TOPIC, "Input"),
        "input_format": Parameter("Format of messages", one_of(*MESSAGE_FORMATS), "Input"),
        "input_schema": Parameter("Schema of messages", kinds.TEXT, "Input"),
        "id_column": Parameter("Column of ids", kinds.COLUMN, "Input"),
        "time_attribute": Parameter("Attribute of the time", kinds.TEXT, "Input"),
        "time_column": Parameter("Column of the time", kinds.COLUMN, "Input"),
        **parameters.POINTS,
        **parameters.SAMPLING,
        "window_seconds": Parameter("Seconds of a window", kinds.FLOAT, "Windows"),
        "allowed_lateness_seconds": Parameter("Seconds of lateness", kinds.FLOAT, "Windows"),
        "refresh_seconds": Parameter("Seconds between looks", kinds.FLOAT, "Reading"),
        "tile_cache": Parameter("Memory for tiles", kinds.BYTES, "Reading"),
        "output": Parameter("Output folder", kinds.OUTPUT_FOLDER, "Output"),
        "output_format": Parameter("Format", one_of(*FORMATS), "Output"),
        "layout": Parameter("Layout", one_of(*LAYOUTS), "Output"),
        "output_topic": Parameter("Topic for samples", kinds.TOPIC, "Output"),
        "output_table": Parameter("Table for samples", kinds.TABLE, "BigQuery"),
        "partition": Parameter("Partitions", one_of(*PARTITIONS), "BigQuery"),
        "cluster_fields": Parameter("Clustered by", kinds.COLUMNS, "BigQuery"),
        "dead_letters": Parameter("Dead letters", kinds.OUTPUT_FOLDER, "Output"),
        **parameters.READING,
        **parameters.STORE,
    },
    left_out={},
    example={
        "input_subscription": "projects/my-project/subscriptions/points",
        "points_crs": "EPSG:4326",
        "collection": "gs://my-bucket/collection",
        "bands": "B04;B08",
        "output": "gs://my-bucket/samples",
        "dead_letters": "gs://my-bucket/dead-letters",
    },
    streaming=True,
)
