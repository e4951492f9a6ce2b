"""What the stages of a job told, through Beam's metrics, when it has ended."""

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from apache_beam.metrics.metric import MetricsFilter
from apache_beam.runners.runner import PipelineResult

from rasteret_beam.transforms._extents import LAT, LON, MICRO, POINTS, RECORDS
from rasteret_beam.transforms._metrics import EXAMPLES, LIVE, NAMESPACE


class Box(NamedTuple):
    """An extent in degrees."""

    xmin: float
    ymin: float
    xmax: float
    ymax: float

    def __str__(self) -> str:
        """Gives both spans."""
        return f"lon {self.xmin:.4f}..{self.xmax:.4f}, lat {self.ymin:.4f}..{self.ymax:.4f}"

    def turned(self) -> "Box":
        """Gives it with x and y swapped."""
        return Box(self.ymin, self.xmin, self.ymax, self.xmax)

    def meets(self, other: "Box") -> bool:
        """Tells whether they overlap, touching included."""
        return (
            self.xmin <= other.xmax and other.xmin <= self.xmax
            and self.ymin <= other.ymax and other.ymin <= self.ymax
        )  # fmt: skip


class Told(NamedTuple):
    """What the stages told.

    Attributes:
        counts: Their counters.
        examples: ``EXAMPLES`` of dead letters.
        points: Where points without a sample are, if whole batches have none.
        records: Where the records are then.
    """

    counts: Counter[str]
    examples: frozenset[str] = frozenset()
    points: Box | None = None
    records: Box | None = None


def told_of(result: PipelineResult) -> Told:
    """Reads a job's metrics; those that its runner does not have are left out."""
    told = result.metrics().query(MetricsFilter().with_namespace(NAMESPACE))
    counts: Counter[str] = Counter(dict.fromkeys(LIVE, 0))
    for counter in told["counters"]:
        counts[counter.key.metric.name] += counter.committed or counter.attempted or 0
    examples: set[str] = set()
    for found in told.get("string_sets", ()):
        if found.key.metric.name == EXAMPLES:
            examples |= set(found.committed or found.attempted or ())
    spans: dict[str, tuple[int, int]] = {}
    for found in told.get("distributions", ()):
        span = found.committed or found.attempted
        if span is not None and span.count:
            low, high = spans.get(found.key.metric.name, (span.min, span.max))
            spans[found.key.metric.name] = min(low, span.min), max(high, span.max)
    return Told(counts, frozenset(examples), _box(spans, POINTS), _box(spans, RECORDS))


def _box(spans: Mapping[str, tuple[int, int]], what: str) -> Box | None:
    if what + LON not in spans or what + LAT not in spans:
        return None
    (xmin, xmax), (ymin, ymax) = spans[what + LON], spans[what + LAT]
    return Box(xmin / MICRO, ymin / MICRO, xmax / MICRO, ymax / MICRO)
