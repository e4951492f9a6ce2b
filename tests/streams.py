"""Streams that tests play: what comes when, and engines that take them."""

import re

import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.test_stream import TestStream
from apache_beam.transforms.window import TimestampedValue
from engines.getting import NOT_ASKED_FOR, find_prism

LOCAL = PipelineOptions(["--runner", "DirectRunner", "--streaming"])
"""Beam's own player of TestStream: one process, and late elements may find their window open."""


def prism(**given):
    """Flags of Prism, a whole engine that fires late panes as Beam defines them."""
    program, why = find_prism()
    if program is None or NOT_ASKED_FOR:
        pytest.skip(NOT_ASKED_FOR or why)
    flags = {
        "runner": "PrismRunner", "prism_location": str(program), "environment_type": "LOOPBACK",
        **given,
    }  # fmt: skip
    return ["--streaming", *(f"--{name}={value}" for name, value in flags.items())]


def played(*steps, tags=None):
    """A TestStream: (time, element) comes at that time, a number is a watermark.

    With tags a step is (tag, step), and a watermark without one is that of all.
    """
    stream = TestStream(output_tags=set(tags or ())) if tags else TestStream()
    for step in steps:
        tag, what = step if tags and isinstance(step[0], str) else (None, step)
        if isinstance(what, tuple):
            stream.add_elements([TimestampedValue(what[1], what[0])], tag=tag)
        else:
            stream.advance_watermark_to(what, tag=tag)
    return stream.advance_watermark_to_infinity()


def without_run(name):
    """A file's name, without what it says of the run of a stream."""
    return re.sub(r"-[0-9a-f]{8}(?=-\d{5}-of-\d{5}|-[0-9a-f]{32}\.|$)", "", name)
