"""Where the test data lies that is shared between projects, and is not in this one."""

from __future__ import annotations

import pathlib

import pytest

SHARED = pathlib.Path(__file__).resolve().parents[2] / "shared"
"""The folder ``shared`` next to the project's own."""

requires_shared = pytest.mark.skipif(
    not (SHARED / "malformed" / "cases.json").is_file(),
    reason="needs the folder 'shared' next to the project, with malformed/cases.json in it",
)
