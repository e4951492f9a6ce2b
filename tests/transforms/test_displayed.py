"""A runner's page shows the options of transforms, and no secrets."""

import inspect

import apache_beam as beam
import pytest
from apache_beam.transforms.display import DisplayData

import rasteret_beam
from rasteret_beam import (
    Filters,
    ReadPoints,
    SampleNearest,
    SampleOptions,
    SamplePoints,
    Store,
    WriteSamples,
)

TRANSFORMS = [
    found for _, found in inspect.getmembers(rasteret_beam, inspect.isclass)
    if issubclass(found, beam.PTransform)
]  # fmt: skip


def _shown(transform):
    return {item.key: item.value for item in DisplayData.create_from(transform).items}


def test_options_are_shown_and_those_within_options():
    shown = _shown(SamplePoints(
        collection="gs://bucket/collection",
        options=SampleOptions(("B04", "B08"), match="latest"),
        filters=Filters(date_range=("2024-01-01", "2024-02-01"), cloud_cover_lt=20.0),
        refresh_seconds=float("inf"),
    ))  # fmt: skip
    assert shown.items() >= {
        "collection": "gs://bucket/collection",
        "options.bands": "B04, B08",
        "options.match": "latest",
        "options.max_distance_pixels": 0,
        "filters.date_range": "2024-01-01, 2024-02-01",
        "filters.cloud_cover_lt": "20.0",
        "refresh_seconds": "inf",
    }.items()
    assert "filters.bbox" not in shown


def test_what_has_no_value_that_can_be_shown_is_left_out():
    with beam.Pipeline() as pipeline:
        kept = pipeline | beam.Create([])
        assert "kept" not in _shown(WriteSamples(folder="samples", kept=kept))


def test_credentials_are_not_shown():
    store = Store(
        allow_hosts=("https://me:secret@host",),
        url_rewrite=(("https://a/", "https://b/?sig=secret&path="),),
    )
    shown = _shown(ReadPoints(pattern="https://host/points.csv?sig=secret", store=store))
    assert shown["pattern"] == "https://host/points.csv?REDACTED"
    assert "secret" not in str(shown)


def test_what_is_long_is_cut():
    bands = tuple(f"B{number}" for number in range(10_000))
    shown = _shown(SampleNearest(options=SampleOptions(bands)))["options.bands"]
    assert shown.startswith("B0, B1, ")
    assert shown.endswith("…")
    assert len(shown) < 1000


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_every_public_transform_shows_its_options(transform):
    if "__init__" in vars(transform):
        assert transform.display_data is not beam.PTransform.display_data
