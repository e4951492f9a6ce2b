"""Points that the output could not take are refused as they come."""

import numpy as np
import pyarrow as pa
import pytest

from rasteret_beam.elements import PointBatch
from rasteret_beam.errors import OptionError, OutputError
from rasteret_beam.output import Layout
from rasteret_beam.transforms.check_columns import _CheckFn


def _points(**columns):
    own = {"point_index": np.arange(2), "point_x": np.zeros(2), "point_y": np.zeros(2)}
    return PointBatch(pa.record_batch(own | columns), "EPSG:4326")


def _passes(batch, output_format):
    (found,) = _CheckFn(output_format, Layout()).process(batch)
    return found is batch


@pytest.mark.parametrize("tags", [[[1, None], []], [[True], [None]]])
def test_a_null_that_bigquery_has_no_form_for_is_refused_and_others_pass(tags):
    batch = _points(site=["a", None], scores=[[1.0, None], None], tags=tags)
    assert _passes(batch, "parquet")
    with pytest.raises(OutputError, match="'tags' has a null in a list"):
        _passes(batch, "bigquery")
    assert _passes(_points(scores=[[1.0, None], None], tags=[[1], None]), "bigquery")


def test_every_schema_is_looked_at():
    check = _CheckFn("geoparquet", Layout())
    list(check.process(_points(site=["a", "b"])))
    with pytest.raises(OptionError, match="geometry"):
        list(check.process(_points(geometry=["a", "b"])))
