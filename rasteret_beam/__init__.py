"""Pixel values of cloud-hosted COGs for millions of points, on Apache Beam.

The transforms, in the order data flows: ``ReadPoints`` (or ``BatchPoints``),
``ReadCollection``, ``PlanTiles``, ``FetchTiles``, ``SampleNearest``, ``FallbackRing``,
``WriteSamples`` (or ``ToRows``); ``SamplePoints`` composes them. ``ReadPointsFromBigQuery``
and ``WriteSamplesToBigQuery`` are for tables in place of files. ``BuildCollection``
(``ListItems``, ``IndexItems``, ``WriteCollection``) makes what they read,
``ExportCollection`` copies what of it meets filters, and ``Collection`` holds it in a
notebook.

``PlanTilesByCell`` plans from collections too large to hold, ``WatchCollection`` and
``PlanTilesOfNewest`` from one that changes while points arrive; ``SamplePoints`` takes what
it needs of them. For messages there are ``DecodeMessages``, ``IntoWindows``,
``BatchMessages`` and ``EncodeSamples``. ``SummarizePlan`` and ``WritePlan`` tell what a run
would read, ``WriteDeadLetters`` what it could not. ``ReadEarlierRun`` is for going on from
a run that was killed, ``ReadDeadLetters`` for running again what failed.
"""

from rasteret_beam.collection import CollectionQuery
from rasteret_beam.collection.filters import Filters
from rasteret_beam.companion import Collection
from rasteret_beam.elements import (
    DeadLetter,
    PointBatch,
    Record,
    SampleBatch,
    TileBatch,
    TileBlockKey,
    TilePoints,
)
from rasteret_beam.errors import (
    BandNotFoundError,
    BudgetError,
    CollectionError,
    CrsError,
    OptionError,
    PointsError,
    RasteretBeamError,
    ReplayError,
)
from rasteret_beam.forecast.budget import Budget
from rasteret_beam.indexing.files import FileSource
from rasteret_beam.indexing.items import AssetRef, Item
from rasteret_beam.indexing.stac import StacReading
from rasteret_beam.indexing.stac_api import StacSearch
from rasteret_beam.indexing.stac_files import StacFiles
from rasteret_beam.indexing.tables import RecordTable
from rasteret_beam.messages import MessageReader
from rasteret_beam.options import SampleOptions
from rasteret_beam.points import PointColumns
from rasteret_beam.storage import Account, PlanetaryComputer, RetryPolicy, Signer, Store
from rasteret_beam.transforms.build_collection import BuildCollection
from rasteret_beam.transforms.export_collection import ExportCollection
from rasteret_beam.transforms.fallback_ring import FallbackRing
from rasteret_beam.transforms.fetch_tiles import FetchTiles
from rasteret_beam.transforms.index_items import IndexItems
from rasteret_beam.transforms.into_windows import IntoWindows
from rasteret_beam.transforms.list_items import ListItems
from rasteret_beam.transforms.messages import BatchMessages, DecodeMessages, EncodeSamples
from rasteret_beam.transforms.plan_tiles import PlanTiles
from rasteret_beam.transforms.plan_tiles_by_cell import PlanTilesByCell
from rasteret_beam.transforms.read_collection import ReadCollection
from rasteret_beam.transforms.read_dead_letters import ReadDeadLetters
from rasteret_beam.transforms.read_earlier_run import ReadEarlierRun
from rasteret_beam.transforms.read_points import ReadPoints
from rasteret_beam.transforms.read_points_from_bigquery import ReadPointsFromBigQuery
from rasteret_beam.transforms.refresh_collection import PlanTilesOfNewest, WatchCollection
from rasteret_beam.transforms.rows import BatchPoints, ToRows
from rasteret_beam.transforms.sample_nearest import SampleNearest
from rasteret_beam.transforms.sample_points import SamplePoints
from rasteret_beam.transforms.summarize_plan import SummarizePlan, WritePlan
from rasteret_beam.transforms.write_collection import WriteCollection
from rasteret_beam.transforms.write_samples import WriteDeadLetters, WriteSamples
from rasteret_beam.transforms.write_samples_to_bigquery import WriteSamplesToBigQuery

__version__ = "0.1.0"

__all__ = [
    "Account",
    "AssetRef",
    "BandNotFoundError",
    "BatchMessages",
    "BatchPoints",
    "Budget",
    "BudgetError",
    "BuildCollection",
    "Collection",
    "CollectionError",
    "CollectionQuery",
    "CrsError",
    "DeadLetter",
    "DecodeMessages",
    "EncodeSamples",
    "ExportCollection",
    "FallbackRing",
    "FetchTiles",
    "FileSource",
    "Filters",
    "IndexItems",
    "IntoWindows",
    "Item",
    "ListItems",
    "MessageReader",
    "OptionError",
    "PlanTiles",
    "PlanTilesByCell",
    "PlanTilesOfNewest",
    "PlanetaryComputer",
    "PointBatch",
    "PointColumns",
    "PointsError",
    "RasteretBeamError",
    "ReadCollection",
    "ReadDeadLetters",
    "ReadEarlierRun",
    "ReadPoints",
    "ReadPointsFromBigQuery",
    "Record",
    "RecordTable",
    "ReplayError",
    "RetryPolicy",
    "SampleBatch",
    "SampleNearest",
    "SampleOptions",
    "SamplePoints",
    "Signer",
    "StacFiles",
    "StacReading",
    "StacSearch",
    "Store",
    "SummarizePlan",
    "TileBatch",
    "TileBlockKey",
    "TilePoints",
    "ToRows",
    "WatchCollection",
    "WriteCollection",
    "WriteDeadLetters",
    "WritePlan",
    "WriteSamples",
    "WriteSamplesToBigQuery",
]
