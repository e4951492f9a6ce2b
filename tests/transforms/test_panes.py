"""Windows that a step cannot do with are refused when the pipeline is built."""

import apache_beam as beam
import pytest
from apache_beam.transforms.trigger import AccumulationMode, AfterCount, AfterWatermark
from apache_beam.transforms.window import FixedWindows, Sessions

from rasteret_beam import (
    CollectionQuery,
    DeadLetter,
    IndexItems,
    Item,
    OptionError,
    PlanTilesByCell,
    PointBatch,
    SampleBatch,
    SampleOptions,
    WriteCollection,
    WriteDeadLetters,
    WritePlan,
    WriteSamples,
)
from rasteret_beam.forecast.summary import PlanSummary
from rasteret_beam.indexing.rows import IndexedItem

ACCUMULATING = {
    "trigger": AfterWatermark(late=AfterCount(1)),
    "accumulation_mode": AccumulationMode.ACCUMULATING,
    "allowed_lateness": 60,
}
QUERY = CollectionQuery("nowhere", ("B1",))
REPEATED = {
    "samples": (SampleBatch, WriteSamples(folder="nowhere")),
    "dead letters": (DeadLetter, WriteDeadLetters(folder="nowhere")),
    "points by cell": (
        PointBatch, PlanTilesByCell(query=QUERY, options=SampleOptions(bands=("B1",))),
    ),
}
TOGETHER = {
    "items": (Item, IndexItems()),
    "rows": (IndexedItem, WriteCollection(folder="nowhere")),
    "plan": (PlanSummary, WritePlan(folder="nowhere")),
}


def _apply(kind, transform, windows):
    made = beam.Pipeline("FnApiRunner") | beam.Create([]).with_output_types(kind)
    _ = made | windows | transform


@pytest.mark.parametrize("what", REPEATED)
def test_panes_that_give_again_what_earlier_ones_gave_are_refused(what):
    with pytest.raises(OptionError, match="as IntoWindows does"):
        _apply(*REPEATED[what], beam.WindowInto(FixedWindows(10), **ACCUMULATING))


@pytest.mark.parametrize("what", REPEATED)
def test_windows_that_fire_once_may_accumulate(what):
    once = beam.WindowInto(FixedWindows(10), accumulation_mode=AccumulationMode.ACCUMULATING)
    _apply(*REPEATED[what], once)


@pytest.mark.parametrize("what", TOGETHER)
def test_windows_are_refused_where_all_must_come_together(what):
    with pytest.raises(OptionError, match="in the global window with its default trigger, got"):
        _apply(*TOGETHER[what], beam.WindowInto(Sessions(10)))
