"""The Arrow-side companion: a collection to look at, filter, sample and copy, without Beam."""

from rasteret_beam.companion.collection import Collection
from rasteret_beam.companion.describe import DescribeResult
from rasteret_beam.companion.record_view import RecordView

__all__ = ["Collection", "DescribeResult", "RecordView"]
