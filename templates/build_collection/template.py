"""What the flags of ``pipelines/build_collection.py`` do not say of themselves."""

from rasteret_beam.transforms.build_collection import MODES
from templates import kinds, parameters
from templates.kinds import one_of
from templates.parameters import Parameter, Template

TEMPLATE = Template(
    name="build_collection",
    title="Index COGs into a collection",
    description=(
        "Reads the headers of cloud-hosted GeoTIFFs, found by name, in STAC or in a table, and "
        "writes the collection that points are sampled from. One source is required."
    ),
    options="BuildCollectionOptions",
    parameters={
        "inputs": Parameter("Files", kinds.PLACE_ELSEWHERE, "Source"),
        "stac": Parameter("STAC files", kinds.PLACE_ELSEWHERE, "Source"),
        "stac_api": Parameter("STAC API", kinds.WEB_ADDRESS, "Source"),
        "table": Parameter("Table", kinds.PLACE_ELSEWHERE, "Source"),
        "dataset": Parameter("Known dataset", kinds.NAME, "Source"),
        "output": Parameter("Output folder", kinds.OUTPUT_FOLDER, "Output"),
        "mode": Parameter("Mode", one_of(*MODES), "Output"),
        "stac_collections": Parameter("STAC collections", kinds.NAMES, "Source"),
        "bbox": Parameter("Bounding box", kinds.BBOX, "Items"),
        "date_range": Parameter("Dates", kinds.DATES, "Items"),
        "query": Parameter("Conditions of a search", kinds.JSON_OBJECT, "Items"),
        "max_items": Parameter("Most items", kinds.INTEGER, "Items"),
        "where": Parameter("Condition on rows", kinds.TEXT, "Items"),
        "band_map": Parameter("Bands and asset keys", kinds.PAIRS, "Bands"),
        "bands": Parameter("Bands and samples", kinds.PAIRS, "Bands"),
        "column_map": Parameter("Columns and names", kinds.PAIRS, "Items"),
        "href_column": Parameter("Column of addresses", kinds.COLUMN, "Items"),
        "url_rewrite": Parameter("Rewritten addresses", kinds.PAIRS, "Reading"),
        "datetime_pattern": Parameter("Time in a file's name", kinds.TEXT, "Items"),
        "collection_name": Parameter("Name", kinds.NAME, "Output"),
        "data_source": Parameter("Data source", kinds.NAME, "Bands"),
        "dead_letters": Parameter("Dead letters", kinds.OUTPUT_FOLDER, "Output"),
        **parameters.STORE,
    },
    left_out={"error_threshold": parameters.NOBODY_WAITS},
    example={
        "inputs": "gs://my-bucket/scenes/*.tif",
        "bands": "B04=0;B08=1",
        "datetime_pattern": r"_(\d{8})",
        "output": "gs://my-bucket/collection",
        "dead_letters": "gs://my-bucket/dead-letters",
    },
)
