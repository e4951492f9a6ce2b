"""Some of the rows of a dataset: conditions that a scan applies, nothing read before it."""

from __future__ import annotations

import contextlib
import dataclasses
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from rasteret_beam.collection.boxes import box_tree, overlap_mask
from rasteret_beam.collection.fragments import stored_schema
from rasteret_beam.errors import CollectionError, OptionError, RasteretBeamError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import shapely

    from rasteret_beam.collection.filters import Filters

_BATCH_ROWS = 1024
_FILES_AHEAD = 4
_SIDES = ("xmin", "ymin", "xmax", "ymax")

Columns = list[str] | dict[str, pc.Expression]
"""Names of columns, or name -> expression."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class View:
    """Rows of a dataset that meet every condition so far.

    Attributes:
        data: Where the rows are.
        label: What to call it in messages.
        condition: What the scan pushes down, or None.
        boxes: Arrays of bboxes, float64, shape (n_boxes, 4); a row's bbox must overlap
            one of each array. One term a box would overflow Arrow's stack.
    """

    data: pa.Table | ds.Dataset
    label: str
    condition: pc.Expression | None = None
    boxes: tuple[np.ndarray, ...] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles files by name, and rows in memory by value."""
        return View, (_portable(self.data), self.label, self.condition, self.boxes)

    @property
    def schema(self) -> pa.Schema:
        """Columns of the rows."""
        return self.data.schema

    def narrowed(self, filters: Filters) -> View:
        """Gives the rows that also meet filters.

        Raises:
            CollectionError: A filter's column is not there.
            OptionError: A condition does not fit its column.
        """
        boxes = () if filters.geometries is None else (filters.boxes(),)
        added = filters.expression(stored_schema(self.dataset()))
        if added is None:
            return self
        try:
            self.dataset().scanner(columns=[], filter=added)
        except (pa.ArrowException, TypeError) as error:
            msg = f"{self.label}: the condition {added} does not fit: {error}"
            raise OptionError(msg) from error
        both = added if self.condition is None else self.condition & added
        return dataclasses.replace(self, condition=both, boxes=self.boxes + boxes)

    def dataset(self) -> ds.Dataset:
        """Gives the dataset itself, every row of it."""
        return ds.dataset(self.data) if isinstance(self.data, pa.Table) else self.data

    def pushed_down(self) -> ds.Dataset:
        """Gives the dataset under the condition; ``boxes`` are left to the reader."""
        dataset = self.dataset()
        return dataset if self.condition is None else dataset.filter(self.condition)

    def projected(self, columns: Columns | None = None) -> pa.Schema:
        """Gives the schema of some columns.

        Raises:
            CollectionError: One is not there.
        """
        if columns is None:
            return self.schema
        missing = [name for name in columns if name not in self.schema.names]
        if missing and not isinstance(columns, dict):
            msg = f"{self.label}: no column {missing}; its columns are {self.schema.names}"
            raise CollectionError(msg)
        return self.dataset().scanner(columns=columns).projected_schema

    def batches(
        self,
        columns: Columns | None = None,
        batch_rows: int = _BATCH_ROWS,
        files_ahead: int = _FILES_AHEAD,
    ) -> Iterator[pa.RecordBatch]:
        """Reads rows in scan order, some at a time.

        Args:
            columns: Names of columns, or name -> expression; all by default.
            batch_rows: Rows of a batch, at most.
            files_ahead: How many files are read beside the one that is wanted.

        Yields:
            Batches in ``projected``; batches without rows are left out.

        Raises:
            CollectionError: A column is not there, or a file cannot be read.
        """
        wanted = list(self.projected(columns).names)
        scanned: Columns = wanted if columns is None else columns
        if self.boxes and isinstance(scanned, dict):
            scanned = {**scanned, "bbox": pc.field("bbox")}
        elif self.boxes and "bbox" not in scanned:
            scanned = [*scanned, "bbox"]
        trees = [box_tree(boxes) for boxes in self.boxes]
        with self.read_errors():
            scanner = self.pushed_down().scanner(
                columns=scanned, batch_size=batch_rows, batch_readahead=2,
                fragment_readahead=files_ahead,
            )  # fmt: skip
            for batch in scanner.to_batches():
                rows = batch
                if trees:
                    keep = _overlapping(batch.column("bbox"), trees)
                    rows = batch.filter(pa.array(keep)).select(wanted)
                if rows.num_rows:
                    yield rows

    def n_rows(self) -> int:
        """Counts the rows; from the files' footers where there is no condition.

        Raises:
            CollectionError: A file cannot be read.
        """
        if self.boxes:
            return sum(batch.num_rows for batch in self.batches({}))
        with self.read_errors():
            return int(self.pushed_down().count_rows())

    @contextlib.contextmanager
    def read_errors(self) -> Iterator[None]:
        """Names the view in what goes wrong while its rows are read.

        Raises:
            CollectionError: A file cannot be read.
        """
        try:
            yield
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, RasteretBeamError):
                raise
            msg = f"{self.label}: cannot be read: {error}"
            raise CollectionError(msg) from error


def _overlapping(column: pa.StructArray, trees: list[shapely.STRtree]) -> np.ndarray:
    sides = [pc.struct_field(column, side) for side in _SIDES]
    bboxes = np.stack([side.to_numpy(zero_copy_only=False) for side in sides], axis=1)
    keep = np.ones(len(column), bool)
    for tree in trees:
        keep &= overlap_mask(bboxes, tree)
    return keep


def _portable(data: pa.Table | ds.Dataset) -> pa.Table | ds.Dataset:
    """Datasets in memory, and those with a filter of their own, do not pickle."""
    if isinstance(data, pa.Table):
        return data
    try:
        pickle.dumps(data)
    except (TypeError, ValueError):
        return data.to_table()
    return data
