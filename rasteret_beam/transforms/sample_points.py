"""The whole job: points -> samples of a collection."""

import dataclasses
from typing import NamedTuple

import apache_beam as beam

from rasteret_beam.collection import CollectionQuery
from rasteret_beam.collection.filters import Filters
from rasteret_beam.elements import DeadLetter, PointBatch, SampleBatch
from rasteret_beam.options import SampleOptions
from rasteret_beam.storage import Store
from rasteret_beam.transforms._outputs import NamedOutputs
from rasteret_beam.transforms.fallback_ring import FallbackRing
from rasteret_beam.transforms.fetch_tiles import FetchTiles
from rasteret_beam.transforms.plan_tiles import PlanTiles
from rasteret_beam.transforms.read_collection import ReadCollection
from rasteret_beam.transforms.sample_nearest import SampleNearest


class SamplePointsResult(NamedTuple):
    """Samples, and what could not be had.

    Attributes:
        samples: Finished rows.
        dead_letters: Tiles that could not be read, in the windows of the points.
        unusable_records: Records, or bands of them, that could not be used, in the
            global window.
    """

    samples: beam.PCollection[SampleBatch]
    dead_letters: beam.PCollection[DeadLetter]
    unusable_records: beam.PCollection[DeadLetter]


@dataclasses.dataclass(eq=False, kw_only=True)
class SamplePoints(NamedOutputs):
    """Samples a collection at points: ReadCollection to FallbackRing in one transform.

    Input: ``PointBatch`` of ``ReadPoints`` or ``BatchPoints``. Output:
    ``SamplePointsResult``, one row per (point, record, band). Windows: those of the
    points; each tile is read once in each. Dead letters: tiles and records that cannot
    be read. Counters: those of its parts.

    Attributes:
        collection: URI of the collection.
        options: What to sample.
        filters: Conditions on the records.
        data_source: Whose band names to know; by default as the collection says.
        store: How files are read.
    """

    collection: str
    options: SampleOptions
    filters: Filters = dataclasses.field(default_factory=Filters)
    data_source: str | None = None
    store: Store = dataclasses.field(default_factory=Store)

    def expand(self, points: beam.PCollection[PointBatch]) -> SamplePointsResult:
        """The diagram of the README."""
        query = CollectionQuery(
            self.collection, self.options.bands, self.filters, self.data_source, self.store,
        )
        records, unusable = points.pipeline | "ReadCollection" >> ReadCollection(query=query)
        planned = points | "PlanTiles" >> PlanTiles(records=records, options=self.options)
        fetched = planned | "FetchTiles" >> FetchTiles(store=self.store)
        nearest = fetched.tiles | "SampleNearest" >> SampleNearest(options=self.options)
        sampled = nearest | "FallbackRing" >> FallbackRing(options=self.options)
        return SamplePointsResult(sampled, fetched.dead_letters, unusable)
